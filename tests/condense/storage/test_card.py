"""The card's fields, as the hub reads them, and the artifact as `datasets` and torchvision read it."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import torchvision
from huggingface_hub import DatasetCard
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from condense.data.parametrizations.base import coder_of
from condense.recipe.method import Use
from condense.recipe.registry import load_registry
from condense.storage.artifact import load, save
from condense.storage.card import licence_id
from condense.storage.distilled import DistilledDataset

# `datasets` leaves metadata.csv open until it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Not in alphabetical order, with a slash, and one that YAML would take for a truth value.
NAMES = ("zebra", "T-shirt/top", "no", "ant: 'small'")
IPC = 4


def distilled(**changes: Any) -> DistilledDataset:
    """Four classes of four noisy images: red grows with the class, and the weights differ."""
    labels = torch.arange(len(NAMES)).repeat_interleave(IPC)
    draws = torch.Generator().manual_seed(3)
    images = torch.randint(0, 40, (len(labels), 3, 8, 8), generator=draws)
    images[:, 0] += (labels * 60)[:, None, None]
    fields: dict[str, Any] = {
        "images": images.to(torch.uint8),
        "labels": labels,
        "slots": torch.arange(IPC).repeat(len(NAMES)),
        "weights": torch.tensor([0.1, 0.2, 0.3, 0.4]).repeat(len(NAMES)),
        "classes": NAMES,
        "mean": (0.4, 0.1, 0.1),
        "std": (0.3, 0.1, 0.1),
        "ipc": IPC,
        "name": "wmdd-cifar10-4ipc",
        "method": "wmdd",
        "dataset": "cifar10",
        "licence": "MIT, copyright (c) 2017 Zalando SE",
    }
    return DistilledDataset(**(fields | changes))


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield
    gc.collect()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(distilled(), tmp_path / "d")
    return tmp_path / "d"


def test_the_fields_that_the_hub_filters_by(saved: Path) -> None:
    card = DatasetCard.load(saved / "README.md").data
    assert card.license == "mit"
    assert card.task_categories == ["image-classification"]
    assert card.size_categories == ["n<1K"]
    assert card.source_datasets == ["extended|cifar10"]
    assert card.tags == [
        *("dataset-distillation", "dataset-condensation", "condense"),
        *("ipc-4", "wmdd", "cifar10"),
    ]


def first_sentence(path: Path, **changes: Any) -> str:
    save(distilled(**changes), path)
    text = (path / "README.md").read_text(encoding="utf-8").partition("\n# ")[2].partition("\n\n")[2]
    return text.partition(".\n")[0].replace("\n", " ")


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("synthetic", "16 synthetic images that stand for the training images of `cifar10`,"),
        ("real", "16 real images from the training images of `cifar10`,"),
        ("crops", "16 images, put together from crops of the training images of `cifar10`,"),
        ("", "16 images that stand for the training images of `cifar10`,"),
    ],
)
def test_the_card_says_what_the_images_are(tmp_path: Path, origin: str, says: str) -> None:
    how = "chosen" if origin == "real" else "made"
    said = first_sentence(tmp_path / "d", origin=origin)
    assert said == f"{says} 4 for each of 4 classes, {how} by the method `wmdd`"
    assert load(tmp_path / "d").origin == origin


def test_a_mosaic_of_real_images_is_not_called_a_real_image(tmp_path: Path) -> None:
    use = Use(name="mosaic", options={"factor": 2})
    coder = coder_of(use, load_registry())
    held = {
        "labels": torch.arange(len(NAMES)).repeat_interleave(4 * IPC),
        "slots": torch.arange(4 * IPC).repeat(len(NAMES)),
        "weights": torch.full((len(NAMES) * 4 * IPC,), 1 / (4 * IPC)),
    }
    said = first_sentence(tmp_path / "d", origin="real", coder=coder, **held)
    assert said.startswith("16 images, each of 4 real ones from the training images of `cifar10`,")


@pytest.mark.parametrize(
    ("dataset", "sources", "tag"),
    [
        ("hf:owner/birds", ["extended|owner/birds"], "owner-birds"),
        ("hf:birds", ["extended|birds"], "birds"),
        ("hf:./birds", ["original"], None),
        ("folder:birds", ["original"], None),
        ("", ["original"], None),
    ],
)
def test_the_source_of_the_images(dataset: str, sources: list[str], tag: str | None, tmp_path: Path) -> None:
    save(distilled(dataset=dataset), tmp_path / "d")
    card = DatasetCard.load(tmp_path / "d" / "README.md").data
    assert card.source_datasets == sources
    assert (tag or "wmdd") == card.tags[-1]


def test_licences() -> None:
    assert licence_id("MIT, copyright (c) 2017 Zalando SE") == "mit"
    assert licence_id("CC BY-SA 3.0, copyright Yann LeCun") == "cc-by-sa-3.0"
    assert licence_id("Apache 2.0 or so") == "other"
    assert licence_id(" ") == "unknown"


def test_a_licence_that_the_hub_does_not_know_has_an_id(tmp_path: Path) -> None:
    save(distilled(licence="not for commercial use: ask (us)"), tmp_path / "d")
    card = DatasetCard.load(tmp_path / "d" / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "not-for-commercial-use-ask-us")
    assert "| Licence of the real images | not for commercial use: ask (us) |" in card.text


def pixels_of(images: Any) -> Tensor:
    return torch.stack([to_tensor(image) for image in images])


@pytest.mark.usefixtures("_own_cache")
def test_datasets_and_torchvision_agree_with_the_description(saved: Path) -> None:
    info = json.loads((saved / "distilled.json").read_text(encoding="utf-8"))
    names = [entry["name"] for entry in info["classes"]]
    assert tuple(names) == NAMES
    data = distilled()
    wanted = data.images.float() / 255
    # By its card, as from the hub, and as an imagefolder.
    by_card = datasets.load_dataset(str(saved), split="train")
    plain = datasets.load_dataset("imagefolder", data_dir=str(saved), split="train")
    for found in (by_card, plain):
        assert found["label"][:] == data.labels.tolist()
        assert [names[label] for label in found["label"]] == found["class"][:]
        assert torch.equal(torch.tensor(found["weight"][:]), data.weights)
        assert torch.equal(pixels_of(found["image"]), wanted)
    folder = torchvision.datasets.ImageFolder(str(saved / "images"))
    assert folder.targets == data.labels.tolist()
    assert folder.classes == [entry["folder"] for entry in info["classes"]]
    assert torch.equal(pixels_of(image for image, _ in folder), wanted)


@pytest.mark.usefixtures("_own_cache")
def test_a_network_learns_from_both(saved: Path) -> None:
    """The same network, from the same start, ends the same on both, and knows the classes."""
    plain = datasets.load_dataset("imagefolder", data_dir=str(saved), split="train")
    folder = torchvision.datasets.ImageFolder(str(saved / "images"))
    sources = [
        (pixels_of(plain["image"]), torch.tensor(plain["label"][:])),
        (pixels_of(image for image, _ in folder), torch.tensor(folder.targets)),
    ]
    ends = []
    for images, labels in sources:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, len(NAMES)))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
        assert network(images).argmax(1).tolist() == labels.tolist()
        ends.append(loss.item())
    assert ends[0] == ends[1] < 0.5


@pytest.mark.usefixtures("_own_cache")
def test_grey_images(tmp_path: Path) -> None:
    data = distilled()
    grey = dataclasses.replace(data, images=data.images[:, :1], mean=(0.5,), std=(0.5,))
    save(grey, tmp_path / "d")
    found = datasets.load_dataset(str(tmp_path / "d"), split="train")
    assert found[0]["image"].mode == "L"
    assert torch.equal(pixels_of(found["image"]), grey.images.float() / 255)
