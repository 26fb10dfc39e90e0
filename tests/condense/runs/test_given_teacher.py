"""Runs with a teacher that was given, by file or pretrained, and networks that do not take the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image

import condense
from condense.data.dataset import RealDataset
from condense.data.pixels import normalise
from condense.engine.teacher_check import Recorded
from condense.errors import ModelError
from condense.recipe.registry import Registry
from condense.runs.teachers import recorded
from condense.storage.files import write_json

MakeDataset = Callable[..., RealDataset]
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.5, 0.125)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A network of timm in a folder, with weights that want a normalisation of their own."""
    torch.manual_seed(0)
    made = timm.create_model("test_resnet", num_classes=3)
    made.pretrained_cfg |= {"mean": MEAN, "std": STD}
    folder = tmp_path / "nets" / "mine"
    timm.models.save_for_hf(made, folder, model_config={"num_classes": 3}, safe_serialization=True)
    return folder


def pretrained(net: Path) -> dict[str, Any]:
    return {"teacher.model": f"timm:local-dir:{net}", "teacher.model.pretrained": True, "teacher.epochs": 1}


def test_images_students_and_artifact_use_the_normalisation_of_pretrained_weights(
    net: Path, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, ...]] = []
    from condense.engine import evaluate

    accuracy = evaluate.accuracy

    def tested(network: Any, split: Any, dataset: RealDataset, runtime: Any) -> float:
        seen.append(dataset.mean)
        return accuracy(network, split, dataset, runtime)

    monkeypatch.setattr(evaluate, "accuracy", tested)
    settings = {**pretrained(net), "recover.lr": 10.0, "student.model": "convnet", "student.model.depth": 2}
    result = site.run(dataset="colour", name="pre", settings=settings, students=1, reference=False)
    assert (result.distilled.mean, result.distilled.std) == (MEAN, STD)
    manifest = json.loads((result.path / "distilled" / "distilled.json").read_text())
    assert (manifest["mean"], manifest["std"]) == (list(MEAN), list(STD))
    assert any("normalised as the teacher's pretrained weights want them" in note for note in result.notes)
    assert seen == [MEAN]
    # Steps as large as these drive pixels to the ends of the valid range, black and white, and no further.
    assert (int(result.distilled.images.min()), int(result.distilled.images.max())) == (0, 255)
    images, _, _ = condense.load(result.path)[0]
    pixels = result.distilled.images[0].float() / 255
    wanted = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(images, wanted)
    assert "mine" in (result.path / "distilled" / "distilled.json").read_text()
    assert str(net.parent) not in (result.path / "distilled" / "distilled.json").read_text()


def test_without_pretrained_weights_the_dataset_says_it_itself(net: Path, site: Any) -> None:
    settings = {**pretrained(net), "teacher.model.pretrained": False}
    result = site.run("wmdd", dataset="colour", settings=settings, students=0)
    assert result.distilled.mean == (0.5, 0.5, 0.5)


# A student that does not take the images.


def test_a_student_that_does_not_fit_is_found_before_anything_is_written(site: Any) -> None:
    with pytest.raises(ModelError, match=r"a ConvNet of depth 4 halves the image 4 times"):
        site.run(name="one", settings={"student.model": "convnet", "student.model.depth": 4})
    with pytest.raises(ModelError, match=r"the student 'timm:test_convnext' cannot look at images of 8x8"):
        site.run(name="one", settings={"student.model": "timm:test_convnext"})
    assert not (site.out / "one").exists()


def test_so_it_is_by_an_evaluation(copy: Any, site: Any) -> None:
    with pytest.raises(ModelError, match=r"the student 'timm:test_convnext' cannot look at images of 8x8"):
        condense.evaluate(
            copy.path, settings={"student.model": "timm:test_convnext"}, registry=site.registry, device="cpu"
        )


# What is known of a checkpoint.


def test_facts_lie_beside_the_weights_of_a_run(finished: Any) -> None:
    result, _ = finished
    found = recorded(result.path / "teacher.safetensors")
    assert found == Recorded(
        accuracy=result.teacher_accuracy,
        classes=("class 0", "class 1", "class 2"),
        mean=(0.5,),
        std=(0.25,),
    )


def test_facts_lie_beside_the_weights_on_a_shelf(site: Any, tmp_path: Path) -> None:
    result = site.run("wmdd", students=0, settings={"iterations": 1}, teachers=tmp_path / "shelf")
    (file,) = (tmp_path / "shelf").glob("*.safetensors")
    found = recorded(file)
    assert found is not None
    assert (found.accuracy, found.classes) == (result.teacher_accuracy, result.distilled.classes)


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", "no json", '{"accuracy": 91.2, "seconds": 3}', '{"accuracy": 0.9}'],
)
def test_a_file_beside_foreign_weights_may_hold_anything(content: str, tmp_path: Path) -> None:
    for name in ("weights", "run"):
        (tmp_path / f"{name}.json").write_text(content)
    assert recorded(tmp_path / "weights.pt") is None
    assert recorded(tmp_path / "teacher.safetensors") is None


def test_the_teacher_of_another_run_must_know_the_classes_in_this_order(
    site: Any, make_dataset: MakeDataset, make_registry: Callable[..., Any], tmp_path: Path
) -> None:
    first = site.run(name="first", students=0, settings={"teacher.epochs": 6, "iterations": 1})
    file = first.path / "teacher.safetensors"
    taken = {"iterations": 1, "teacher.checkpoint": str(file)}
    again = site.run(name="again", students=0, settings=taken)
    assert again.teacher_accuracy == first.teacher_accuracy
    dataset = make_dataset()
    turned = replace(dataset, classes=("class 1", "class 2", "class 0"))
    other = type(site)(tmp_path / "other", make_registry(turned))
    with pytest.raises(ModelError, match=r"in another order: its output 0 is 'class 0', and class 0 of"):
        other.run(name="turned", students=0, settings=taken)


def test_a_teacher_that_an_evaluation_is_given_is_checked(copy: Any, site: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes((copy.path / "teacher.safetensors").read_bytes()[:-4] + bytes(4))
    write_json(
        file.with_suffix(".json"),
        {"accuracy": 1.0, "seconds": 1.0, "classes": ["class 2", "class 1", "class 0"]},
    )
    with pytest.raises(ModelError, match="learned the classes in another order"):
        condense.evaluate(copy.path, teacher=file, registry=site.registry, device="cpu", students=1)


def test_an_import_has_the_normalisation_of_the_teacher_and_undoes_that_of_the_dataset(
    net: Path, tmp_path: Path, make_registry: Callable[..., Registry], make_dataset: MakeDataset
) -> None:
    """The authors of a .pt know nothing of the teacher that labels their images here."""
    dataset = make_dataset(channels=3, name="colour")
    labels = torch.tensor([0, 1, 2])
    pixels = torch.randint(
        0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    torch.save((normalise(pixels, dataset.mean, dataset.std), labels), tmp_path / "images.pt")
    result = condense.import_distilled(
        tmp_path / "images.pt",
        dataset="colour",
        method="dm",
        settings=pretrained(net),
        out=tmp_path / "imported",
        registry=make_registry(dataset),
    )
    data = condense.load(result.path)
    assert (data.mean, data.std) == (MEAN, STD)
    assert torch.equal(data.images, pixels)


def test_a_plan_looks_at_images_as_the_teacher_does(tmp_path: Path) -> None:
    """Photographs in a folder get the size of the pretrained weights, in a run as in its plan."""
    made = timm.create_model("test_resnet", num_classes=2)
    made.pretrained_cfg |= {"input_size": (3, 96, 96)}
    folder = tmp_path / "nets" / "mine"
    timm.models.save_for_hf(made, folder, model_config={"num_classes": 2}, safe_serialization=True)
    for split, count in (("train", 3), ("val", 1)):
        for name in ("ant", "mole"):
            for row in range(count):
                file = tmp_path / "pets" / split / name / f"{row}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (300 + row, 280), (80 * row, 0, 0)).save(file)
    settings = {**pretrained(folder), "student.model": "convnet", "protocol.labels": "hard"}
    del settings["teacher.epochs"]  # nothing trains it
    found = condense.plan(
        method="random",
        dataset=f"folder:{tmp_path / 'pets'}",
        ipc=1,
        settings=settings,
        throughput="forward=1,backward=1",
    )
    assert found.counts.side == 96


def test_a_run_that_the_check_stopped_goes_on_with_a_note(site: Any, tmp_path: Path) -> None:
    file = site.run(name="first", students=0, settings={"teacher.epochs": 6, "iterations": 1}).path
    weights = tmp_path / "own.safetensors"
    weights.write_bytes((file / "teacher.safetensors").read_bytes())
    write_json(
        weights.with_suffix(".json"),
        {"accuracy": 1.0, "seconds": 1.0, "classes": ["class 2", "class 1", "class 0"]},
    )
    settings = {"teacher.checkpoint": str(weights), "iterations": 1}
    with pytest.raises(ModelError, match=r"--set teacher\.check=note"):
        site.run(name="doubtful", students=0, settings=settings)
    result = site.run(
        name="doubtful", students=0, settings={**settings, "teacher.check": "note"}, resume=True
    )
    assert "check" not in result.distilled.settings["recipe"]["teacher"]
    again = site.run(name="twice", students=0, settings={**settings, "teacher.check": "note"})
    assert torch.equal(again.distilled.images, result.distilled.images)
