"""Distilled datasets whose stored images hold several: samples, bytes, files, the card's code, and foreign forms."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import condense
from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder, Parametrization, coder_of
from condense.data.pixels import normalise
from condense.errors import DataError, OptionError, PluginError, StorageError
from condense.recipe.method import Use
from condense.recipe.registry import Registry, default_registry
from condense.recipe.specs import NoOptions, ParametrizationSpec
from condense.recipe.training import Augment
from condense.runtime import make_runtime
from condense.storage.artifact import load, save
from condense.storage.distilled import DistilledDataset
from condense.storage.encoding import encode_png
from condense.storage.grid import image_grid
from condense.storage.manifest import content_hash

CLASSES = ("b", "a", "c")
IPC = 2


class Negatives(Parametrization):
    """An image and its negative."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def encode(self, images: Tensor) -> Tensor:
        return images[::2]

    def decode(self, stored: Tensor) -> Tensor:
        return torch.stack([stored, -stored], dim=1).flatten(0, 1)


NEGATIVES = ParametrizationSpec(name="negatives", summary="x", images_per_stored=2, build=Negatives)


def mosaic(factor: int = 2) -> Coder:
    return coder_of(Use(name="mosaic", options={"factor": factor}), default_registry())


def made(coder: Coder, *, channels: int = 3, soft: bool = False, **changes: Any) -> DistilledDataset:
    """Six stored images of 8x8, with weights that differ for every image that they hold."""
    draws = torch.Generator().manual_seed(7)
    per_class = IPC * coder.images_per_stored
    weights = torch.rand(len(CLASSES), per_class, generator=draws) + 0.1
    count = len(CLASSES) * per_class
    fields: dict[str, Any] = {
        "images": torch.randint(
            0, 256, (len(CLASSES) * IPC, channels, 8, 8), generator=draws, dtype=torch.uint8
        ),
        "labels": torch.arange(len(CLASSES)).repeat_interleave(per_class),
        "slots": torch.arange(per_class).repeat(len(CLASSES)),
        "weights": (weights / weights.sum(1, keepdim=True)).flatten(),
        "classes": CLASSES,
        "mean": (0.3,) * channels,
        "std": (0.2,) * channels,
        "ipc": IPC,
        "coder": coder,
        "label_mode": "soft" if soft else "hard",
        "soft_labels": torch.randn(count, len(CLASSES), generator=draws) if soft else None,
    }
    return DistilledDataset(**(fields | changes))


def decoded(data: DistilledDataset) -> Tensor:
    return data.coder.decode(normalise(data.images, data.mean, data.std))


def test_samples_are_decoded_images() -> None:
    data = made(mosaic())
    wanted = decoded(data)
    assert (len(data.images), len(data), data.images_per_class) == (6, 24, 8)
    for index in (*range(24), -1):
        image, label, weight = data[index]
        torch.testing.assert_close(image, wanted[index])
        assert (label, weight) == (data.labels[index], data.weights[index])
    assert [int(label) for _, label, _ in data] == [0] * 8 + [1] * 8 + [2] * 8
    assert data.stored_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.stored_slots.tolist() == [0, 1] * 3


@pytest.mark.parametrize("kept", [True, False])
def test_the_feed_has_the_decoded_images(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are too many to be kept, and are decoded batch by batch."""
    if not kept:
        monkeypatch.setattr("condense.data.feed._DECODED_BYTES", 0)
    data = made(mosaic())
    feed, wanted = data.feed(make_runtime("cpu", "fp32")), decoded(data)
    assert (len(feed), feed.training_steps(5)) == (24, 5)
    tested = list(feed.test_batches(7))
    torch.testing.assert_close(torch.cat([batch.images for batch in tested]), wanted)
    assert torch.cat([batch.labels for batch in tested]).tolist() == data.labels.tolist()
    order = torch.Generator().manual_seed(1)
    trained = list(feed.training_batches(Augment(), 5, order))
    indices = torch.cat([batch.indices for batch in trained])
    assert sorted(indices.tolist()) == list(range(24))
    torch.testing.assert_close(torch.cat([batch.images for batch in trained]), wanted[indices])
    assert torch.equal(torch.cat([batch.labels for batch in trained]), data.labels[indices])


def test_what_is_stored_counts_in_bytes() -> None:
    """Hard labels are a byte for each file; soft labels are logits of the images that are decoded."""
    data = made(mosaic())
    images = sum(len(encode_png(image)) for image in data.images)
    assert data.sizes() == {"images": images, "labels": 6, "teacher": 0}
    assert 24 * 3 * 4 < made(mosaic(), soft=True).sizes()["labels"] < 24 * 3 * 4 + 200


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_an_artifact_comes_back(factor: int, soft: bool, tmp_path: Path) -> None:
    data = made(mosaic(factor), soft=soft)
    save(data, tmp_path / "d")
    found = load(tmp_path / "d")
    assert found.parametrization == data.parametrization
    for field in ("images", "labels", "slots", "weights", "soft_labels"):
        one, other = getattr(found, field), getattr(data, field)
        assert one is other is None or torch.equal(one, other)
    torch.testing.assert_close(torch.stack([image for image, _, _ in found]), decoded(data))


def test_files_hold_the_stored_images(tmp_path: Path) -> None:
    data = made(mosaic())
    save(data, tmp_path / "d")
    files = sorted((tmp_path / "d" / "images").rglob("*.png"))
    assert len(files) == 6
    for file, image in zip(files, data.images, strict=True):
        pixels = torch.tensor(list(Image.open(file).tobytes()), dtype=torch.uint8)
        assert torch.equal(pixels.view(8, 8, 3).permute(2, 0, 1), image)
    with (tmp_path / "d" / "metadata.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["slot"] for row in rows] == ["0", "1"] * 3
    for number, row in enumerate(rows):
        whole = sum(data.weights[4 * number : 4 * number + 4].tolist())
        assert float(row["weight"]) == pytest.approx(whole, rel=1e-6)
    info = json.loads((tmp_path / "d" / "distilled.json").read_text())
    assert info["parametrization"] == {"name": "mosaic", "options": {"factor": 2, "reduce": "fit"}}
    assert info["images_per_stored"] == 4
    assert [len(entry["weights"]) for entry in info["classes"]] == [8, 8, 8]


def test_an_artifact_from_before_is_stored_as_it_is(tmp_path: Path) -> None:
    data = made(coder_of(Use(name="identity"), default_registry()))
    save(data, tmp_path / "d")
    path = tmp_path / "d" / "distilled.json"
    info = json.loads(path.read_text())
    before = content_hash(tmp_path / "d")
    del info["parametrization"], info["images_per_stored"]
    path.write_text(json.dumps(info))
    found = load(tmp_path / "d")
    assert found.parametrization == Use(name="identity")
    assert torch.equal(found.images, data.images)
    assert content_hash(tmp_path / "d") == before


def test_the_content_includes_the_form(tmp_path: Path) -> None:
    """Equal files that are unfolded in other ways are other images."""
    save(made(mosaic()), tmp_path / "a")
    save(made(mosaic()), tmp_path / "b")
    path = tmp_path / "b" / "distilled.json"
    info = json.loads(path.read_text())
    info["parametrization"]["options"]["reduce"] = "sample"
    path.write_text(json.dumps(info))
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")


def card_code(folder: Path) -> str:
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    return str(code)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(("channels", "soft"), [(3, False), (1, True)])
def test_the_code_of_the_card_unfolds_what_the_host_decodes(
    factor: int, channels: int, soft: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(mosaic(factor), channels=channels, soft=soft)
    save(data, tmp_path / "d")
    card = (tmp_path / "d" / "README.md").read_text()
    held = factor**2
    assert f"| `mosaic(factor={factor},reduce=fit)`: each file holds {held} images to train on |" in card
    code = card_code(tmp_path / "d")
    [unfold] = re.findall(r"^def unfold.*?(?=\n\n)", code, flags=re.MULTILINE | re.DOTALL)
    assert len(unfold.splitlines()) <= 6
    monkeypatch.chdir(tmp_path / "d")
    (tmp_path / "code.py").write_text(code.replace("range(20)", "range(1)"))
    with torch.random.fork_rng(devices=[]):
        left = runpy.run_path(str(tmp_path / "code.py"))
    images, targets = left["data"].tensors
    torch.testing.assert_close(images, decoded(data))
    if soft:
        assert torch.equal(left["logits"][targets], data.soft_labels)
    else:
        assert torch.equal(targets, data.labels)


def test_a_picture_shows_what_is_stored() -> None:
    """As large as that of the same images stored as they are, but for the line that says so."""
    data = made(mosaic())
    plain = made(coder_of(Use(name="identity"), default_registry()), images=data.images)
    picture, usual = image_grid(data), image_grid(plain)
    assert picture.width == usual.width
    assert picture.height > usual.height
    assert (
        picture.crop((0, 0, usual.width, usual.height - 20)).tobytes()
        == usual.crop((0, 0, usual.width, usual.height - 20)).tobytes()
    )


@pytest.fixture
def foreign(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), parametrizations=[NEGATIVES])


def test_a_form_that_no_plugin_offers_is_refused(foreign: Registry, tmp_path: Path) -> None:
    data = made(coder_of(Use(name="negatives"), foreign))
    save(data, tmp_path / "d")
    text = r"/d are stored by the parametrization 'negatives'; install the plugin that decodes it \(unknown param"
    for read in (load, condense.load):
        with pytest.raises(PluginError, match=text):
            read(tmp_path / "d")
    found = load(tmp_path / "d", foreign)
    assert torch.equal(torch.stack([image for image, _, _ in found])[1::2], -decoded(data)[::2])


def test_the_card_of_a_form_without_lines_of_its_own_decodes_with_condense(
    foreign: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(coder_of(Use(name="negatives"), foreign), soft=True)
    save(data, tmp_path / "d")
    assert "by condense with a plugin that offers `negatives`" in (tmp_path / "d" / "README.md").read_text()
    monkeypatch.chdir(tmp_path / "d")
    monkeypatch.setattr(condense, "load", lambda path: load(path, foreign), raising=False)
    (tmp_path / "code.py").write_text(card_code(tmp_path / "d"))
    with torch.random.fork_rng(devices=[]):
        left = runpy.run_path(str(tmp_path / "code.py"))
    torch.testing.assert_close(left["data"].tensors[0], decoded(data))


def test_options_that_the_plugin_does_not_know_are_refused(tmp_path: Path) -> None:
    save(made(mosaic()), tmp_path / "d")
    path = tmp_path / "d" / "distilled.json"
    info = json.loads(path.read_text())
    info["parametrization"]["options"]["overlap"] = 1
    path.write_text(json.dumps(info))
    with pytest.raises(OptionError, match=r"'mosaic' of another version: unknown option 'mosaic\.overlap'"):
        load(tmp_path / "d")
    info["parametrization"]["options"] = {"factor": 3}
    path.write_text(json.dumps(info))
    with pytest.raises(StorageError, match=r"said to hold 4 images, where mosaic\(.*\) holds 9"):
        load(tmp_path / "d")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": torch.zeros(6, dtype=torch.int64)}, r"labels must be \(24,\)"),
        ({"slots": torch.arange(8).repeat(3) + 1}, r"slots must lie in \[0, 8\), as ipc is 2"),
        ({"soft_labels": torch.zeros(6, 3), "label_mode": "soft"}, r"soft labels must be \(24, 3\)"),
        ({"weights": torch.full((6,), 0.5)}, r"weights must be \(24,\)"),
    ],
)
def test_fields_for_stored_images_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        made(mosaic(), **changes)


def test_images_of_a_stored_image_stay_together() -> None:
    """Five images in one and three in the next are not two stored images of four."""
    data = made(mosaic())
    slots = data.slots.clone()
    with pytest.raises(DataError, match="must follow each other, in its class"):
        dataclasses.replace(
            data,
            ipc=3,
            slots=torch.where(slots >= 3, slots + 4, slots),
        )
