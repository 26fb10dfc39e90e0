"""Distilled datasets that others published become artifacts, and students are trained on them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import condense
from condense.data.dataset import RealDataset
from condense.data.pixels import normalise
from condense.errors import CondenseError, DataError, OptionError
from condense.recipe.registry import Registry
from condense.runs.importing import ImportResult

# The classes of the tiny dataset are "class 0", "class 1" and "class 2"; its images are 8x8 and grey.
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])
IMAGES = torch.stack(
    [torch.full((1, 8, 8), 40 * row + int(label), dtype=torch.uint8) for row, label in enumerate(LABELS)]
)
# By class, in the order of the file.
ORDER = [1, 4, 2, 3, 0, 5]


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), make_dataset(channels=3, name="colour"))


@pytest.fixture
def take(tmp_path: Path, registry: Registry) -> Callable[..., ImportResult]:
    """Import a source for the tiny dataset."""

    def call(source: Path, **more: Any) -> ImportResult:
        given = {"dataset": "tiny", "method": "dm", "out": tmp_path / "runs", "registry": registry}
        return condense.import_distilled(source, **(given | more))

    return call


def tensors(folder: Path, content: Any = None) -> Path:
    file = folder / "res_DM_tiny.pt"
    torch.save(content or (IMAGES, LABELS), file)
    return file


def class_folders(folder: Path, form: str = "new{:03d}", side: int = 8) -> Path:
    for row, label in enumerate(LABELS.tolist()):
        file = folder / form.format(label) / f"class{label:03d}_id{row:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (int(IMAGES[row, 0, 0, 0]),) * 3).save(file)
    return folder


def check(result: ImportResult) -> None:
    data = condense.load(result.path)
    assert torch.equal(data.images, IMAGES[ORDER])
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.slots.tolist() == [0, 1] * 3
    assert data.weights.tolist() == [0.5] * 6
    assert data.classes == ("class 0", "class 1", "class 2")
    assert (data.mean, data.std, data.licence) == ((0.5,), (0.25,), "MIT")
    assert (data.method, data.dataset, data.ipc) == ("dm", "tiny", 2)


def test_a_file_of_tensors(take: Callable[..., ImportResult], tmp_path: Path) -> None:
    result = take(tensors(tmp_path))
    check(result)
    assert result.path == tmp_path / "runs" / "dm-tiny-2ipc"
    told = json.loads((result.path / "distilled.json").read_text())["settings"]["imported"]
    assert told["from"] == "res_DM_tiny.pt"
    assert list(result.notes) == told["notes"] == ["numbers from 2 to 202: taken as pixels of 0 to 255"]


def test_normalised_tensors_by_the_mean_of_the_dataset_or_another(
    take: Callable[..., ImportResult], tmp_path: Path
) -> None:
    own = take(tensors(tmp_path, (normalise(IMAGES, (0.5,), (0.25,)), LABELS)))
    check(own)
    assert "taken as normalised by mean 0.5 and deviation 0.25" in own.notes[-1]
    assert own.notes[-1].endswith("; if their authors normalised by others, name those with --mean and --std")
    others = (normalise(IMAGES, (0.3,), (0.2,)), LABELS)
    both = take(tensors(tmp_path, others), mean=(0.3,), std=(0.2,), name="b")
    check(both)
    assert both.notes[-1].endswith("taken as normalised by mean 0.3 and deviation 0.2")
    one = take(tensors(tmp_path, others), mean=(0.3,), name="c")
    assert "; if their authors normalised by others, name those with --std; " in one.notes[-1]


@pytest.mark.parametrize("form", ["new{:03d}", "{:05d}", "class {}", "{}-class-{}"])
@pytest.mark.parametrize("below", [".", "train"])
def test_class_folders(form: str, below: str, take: Callable[..., ImportResult], tmp_path: Path) -> None:
    form = form.replace("-{}", "-{0}").replace("{}-", "{0}-")
    class_folders(tmp_path / "syn" / below, form)
    check(take(tmp_path / "syn"))


def test_a_folder_of_mtt(take: Callable[..., ImportResult], tmp_path: Path) -> None:
    folder = tmp_path / "logged"
    folder.mkdir()
    for name, content in (("images_best", IMAGES), ("labels_best", LABELS), ("images_10", IMAGES * 0)):
        torch.save(content, folder / f"{name}.pt")
    check(take(folder))
    (folder / "images_best.pt").unlink()
    with pytest.raises(DataError, match=r"has files of tensors \(images_10\.pt, labels_best\.pt\); name one"):
        take(folder)


def test_soft_labels_stay_with_their_images(take: Callable[..., ImportResult], tmp_path: Path) -> None:
    logits = torch.full((6, 3), -1.0)
    logits[torch.arange(6), LABELS] = torch.arange(6.0)
    result = take(tensors(tmp_path, {"images": IMAGES, "labels": logits}), settings={"protocol.epochs": 1})
    data = condense.load(result.path)
    assert data.label_mode == data.protocol["labels"] == "soft"
    assert data.soft_labels is not None
    assert torch.equal(data.soft_labels, logits[ORDER])


def test_students_are_trained_on_it(
    take: Callable[..., ImportResult], tmp_path: Path, registry: Registry
) -> None:
    narrow = {"protocol.epochs": 1, "student.model": "convnet", "student.model.width": 8}
    narrow["student.model.depth"] = 2
    for name, content in (("hard", LABELS), ("soft", torch.eye(3)[LABELS] * 4)):
        result = take(tensors(tmp_path, (IMAGES, content)), settings=narrow, name=name)
        found = condense.evaluate(result.path, students=1, registry=registry)
        assert (found.score.label, found.config.evaluation.protocol.name) == ("dm", "dc")
        assert found.config.evaluation.protocol.labels == name
        assert 0 <= found.score.mean <= 1
    # The same images teach the same, whether others published them or a run made them.
    shutil.rmtree(tmp_path / "runs")
    made = condense.run(
        method="random",
        dataset="tiny",
        ipc=2,
        students=1,
        protocol="dc",
        settings=narrow,
        registry=registry,
        out=tmp_path / "made",
        reference=False,
    )
    torch.save((made.distilled.images, made.distilled.labels), tmp_path / "same.pt")
    again = condense.evaluate(take(tmp_path / "same.pt", settings=narrow).path, students=1, registry=registry)
    assert again.score.mean == made.accuracy


def test_classes_may_differ_in_number_but_not_lack_images(
    take: Callable[..., ImportResult], tmp_path: Path
) -> None:
    result = take(tensors(tmp_path, (IMAGES[:5], LABELS[:5])))
    assert result.notes[-1] == "classes have 1 to 2 images; ipc is the larger number"
    assert condense.load(result.path).weights.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    with pytest.raises(DataError, match="2 images per class were asked for, and there are 1 to 2"):
        take(tensors(tmp_path, (IMAGES[:5], LABELS[:5])), ipc=2)
    with pytest.raises(DataError, match="class 'class 2' has no images"):
        take(tensors(tmp_path, (IMAGES[1:5], LABELS[1:5])))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ipc": 3}, "3 images per class were asked for, and there are 2"),
        ({"dataset": "colour"}, "the images have 1 channel, and colour has 3"),
        ({"dataset": "tinny"}, "Did you mean 'tiny'"),
        ({"method": " "}, "the method needs a name of one line"),
        ({"settings": {"recover.lr": 1}}, "'recover.lr' has no effect on images of others"),
        ({"values": "zca"}, "values must be one of auto, bytes, unit, normalised"),
        ({"values": "unit", "mean": (0.5,)}, "mean and std have no effect on values=unit"),
        ({"mean": (0.5, 0.5)}, "mean needs 1 number, not 2"),
        ({"std": (0.0,)}, "std above 0"),
        ({"name": "a/b"}, "name 'a/b' must be one folder name"),
    ],
)
def test_what_does_not_fit_is_refused(
    changes: dict[str, Any], text: str, take: Callable[..., ImportResult], tmp_path: Path
) -> None:
    with pytest.raises(CondenseError, match=text):
        take(tensors(tmp_path), **changes)
    assert not (tmp_path / "runs").exists()


def test_sources_that_are_something_else(take: Callable[..., ImportResult], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none does not exist; wanted is a folder of class folders"):
        take(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has neither class folders nor a file of tensors"):
        take(tmp_path / "empty")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"a\.txt is neither a folder nor a file of tensors"):
        take(tmp_path / "a.txt")
    made = take(tensors(tmp_path))
    with pytest.raises(DataError, match=r"is an artifact of condense already: `condense evaluate"):
        take(made.path)
    with pytest.raises(CondenseError, match="exists already"):
        take(tensors(tmp_path))
    with pytest.raises(DataError, match=r"the images are 16x16, and tiny is looked at as 8x8"):
        take(class_folders(tmp_path / "large", side=16))
    with pytest.raises(DataError, match="the images are 8x6"):
        take(tensors(tmp_path, (IMAGES[..., :6], LABELS)))
    with pytest.raises(OptionError, match="have no effect: the images are files"):
        take(class_folders(tmp_path / "syn"), mean=(0.5,))


def test_images_that_hold_several_are_read_as_such(take: Callable[..., ImportResult], tmp_path: Path) -> None:
    """IDC's files: the images as they are stored, and the class of each."""
    soft = torch.eye(3)[LABELS] * 4 + torch.arange(6)[:, None]
    file = tensors(tmp_path, (IMAGES, soft))
    result = take(file, method="idc", settings={"parametrization": "mosaic"})
    data = condense.load(result.path)
    assert torch.equal(data.images, IMAGES[ORDER])
    assert (len(data), data.ipc, data.images_per_class) == (24, 2, 8)
    assert data.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert data.weights.tolist() == [1 / 8] * 24
    assert data.soft_labels is not None
    # All images in one have its label.
    assert torch.equal(data.soft_labels.argmax(dim=1), data.labels)
    assert torch.equal(data.soft_labels[::4], data.soft_labels[3::4])
    with pytest.raises(DataError, match="a mosaic of 9 x 9 images does not fit"):
        take(file, name="other", settings={"parametrization": "mosaic", "parametrization.factor": 9})
