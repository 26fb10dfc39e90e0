"""The artifact: what is saved is loaded, others can read it, and what does not fit is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from condense.errors import DataError, StorageError
from condense.storage.artifact import load, save
from condense.storage.distilled import DistilledDataset

# Their alphabetical order is another; some are no file names, some mean something to Hugging Face.
NAMES = (
    "zebra",
    "T-shirt/top",
    "bullet train",
    "test",
    "Ünïcode ✓",
    "日本",
    'a,b "q"',
    "../up",
    "apple",
    "A",
)
NAMES += ("Apple", "Zebra", "val")


def make(
    *, channels: int = 1, ipc: int = 3, classes: tuple[str, ...] = NAMES, **changes: Any
) -> DistilledDataset:
    draw = torch.Generator().manual_seed(7)
    count = len(classes) * ipc
    weights = torch.rand(len(classes), ipc, generator=draw) + 0.1
    fields: dict[str, Any] = {
        "images": torch.randint(0, 256, (count, channels, 8, 12), generator=draw, dtype=torch.uint8),
        "labels": torch.arange(len(classes)).repeat_interleave(ipc),
        "slots": torch.arange(ipc).repeat(len(classes)),
        "weights": (weights / weights.sum(1, keepdim=True)).flatten(),
        "classes": classes,
        "mean": (0.1,) * channels,
        "std": (0.3,) * channels,
        "ipc": ipc,
    }
    return DistilledDataset(**(fields | changes))


def soft(**more: Any) -> DistilledDataset:
    data = make(**more)
    logits = torch.randn(len(data), len(data.classes), generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(
        data,
        soft_labels=logits,
        label_mode="soft",
        settings={
            "recipe": {"method": "wmdd", "ipc": data.ipc},
            "evaluation": {"protocol": {"name": "fkd", "temperature": 20.0}},
        },
        name="a: 'name' # \"here\"\n",
        method="wmdd",
        dataset="mini",
        teacher_hash="ab" * 32,
        licence="CC BY 4.0",
        source="https://example.org/images",
    )


def online(**more: Any) -> DistilledDataset:
    return dataclasses.replace(soft(**more), soft_labels=None, label_mode="online", teacher_bytes=1234)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_equal(one: DistilledDataset, other: DistilledDataset) -> None:
    assert one.png_images == other.png_images
    for field in dataclasses.fields(DistilledDataset):
        if field.name == "files":  # shared by datasets of the same images, and no content of its own
            continue
        before, after = getattr(one, field.name), getattr(other, field.name)
        if isinstance(before, torch.Tensor):
            assert before.dtype == after.dtype, field.name
            assert torch.equal(before, after), field.name
        else:
            assert before == after, field.name


# In memory


def test_items_are_normalised_images_labels_and_weights() -> None:
    data = make(channels=3)
    image, label, weight = data[5]
    expected = (data.images[5].double() / 255 - 0.1) / 0.3
    torch.testing.assert_close(image.double(), expected, rtol=0, atol=1e-6)
    assert (int(label), float(weight)) == (1, float(data.weights[5]))
    images, labels, weights = next(iter(DataLoader(data, batch_size=4)))
    assert (images.shape, images.dtype) == ((4, 3, 8, 12), torch.float32)
    assert (labels.dtype, weights.dtype) == (torch.int64, torch.float32)
    assert labels.tolist() == [0, 0, 0, 1]


def test_items_of_soft_labels_are_logits() -> None:
    data = soft()
    assert data.soft_labels is not None
    assert torch.equal(data[4][1], data.soft_labels[4])
    for label_mode in ("hard", "online"):
        assert int(dataclasses.replace(data, label_mode=label_mode, soft_labels=None)[4][1]) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"images": torch.zeros(39, 1, 8, 12)}, r"images must be \(n, C, H, W\) uint8"),
        ({"images": torch.zeros(39, 2, 8, 12, dtype=torch.uint8)}, "with 1 or 3 channels"),
        ({"images": torch.zeros(0, 1, 8, 12, dtype=torch.uint8)}, "n > 0"),
        ({"mean": (0.0, 0.0)}, "mean and std need 1 values each"),
        ({"std": (0.0,)}, r"std of pixels must lie between 0\.001 and 1"),
        ({"labels": torch.zeros(38, dtype=torch.int64)}, r"labels must be \(39,\) torch.int64, not \(38,\)"),
        ({"labels": torch.zeros(39)}, "labels must be"),
        ({"slots": torch.zeros(39)}, "slots must be"),
        ({"labels": torch.full((39,), 13)}, r"labels must lie in \[0, 13\)"),
        ({"slots": torch.full((39,), 3)}, r"slots must lie in \[0, 3\)"),
        ({"slots": torch.zeros(39, dtype=torch.int64)}, "ordered by class, then by slot"),
        ({"labels": torch.arange(13).repeat_interleave(3).flip(0)}, "ordered by class, then by slot"),
        ({"weights": torch.full((39,), 0.5)}, "class 'zebra' sum to 1.5"),
        ({"weights": torch.full((39,), torch.nan)}, "finite"),
        ({"weights": torch.tensor([2.0, -0.5, -0.5] * 13)}, "not negative"),
        ({"label_mode": "softly"}, "label mode 'softly' is none of hard, soft, online"),
        ({"label_mode": "soft"}, "belong to label mode 'soft' and to no other; .*'soft', and there are none"),
        (
            {"label_mode": "soft", "soft_labels": torch.zeros(39, 12)},
            r"soft labels must be \(39, 13\) torch.float32, not \(39, 12\)",
        ),
        ({"label_mode": "soft", "soft_labels": torch.zeros(39, 13).long()}, "soft labels must be"),
        ({"soft_labels": torch.zeros(39, 13)}, "the mode is 'hard', and there are some"),
        (
            {"label_mode": "online", "soft_labels": torch.zeros(39, 13)},
            "the mode is 'online', and there are some",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        make(**changes)


def test_every_class_needs_an_image() -> None:
    with pytest.raises(DataError, match="class 'extra' has no images"):
        dataclasses.replace(make(), classes=(*NAMES, "extra"))


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    data = soft()
    save(data, tmp_path / "d")
    files = contents(tmp_path / "d")
    images = sum(len(content) for name, content in files.items() if name.endswith(".png"))
    assert data.sizes() == {"images": images, "labels": len(files["labels.safetensors"]), "teacher": 0}
    assert json.loads(files["distilled.json"])["bytes"] == data.sizes()
    assert online().sizes() == {"images": images, "labels": 39, "teacher": 1234}
    assert make(ipc=1, classes=tuple(map(str, range(256)))).sizes()["labels"] == 256
    assert make(ipc=1, classes=tuple(map(str, range(257)))).sizes()["labels"] == 2 * 257


def test_how_to_train_is_read_from_the_settings() -> None:
    assert soft().protocol == {"name": "fkd", "temperature": 20.0}
    assert make().protocol == dataclasses.replace(make(), settings={"recipe": {}}).protocol == {}


# On disk


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("of", [make, soft, online])
def test_what_is_saved_is_loaded(tmp_path: Path, channels: int, of: Any) -> None:
    data = of(channels=channels)
    save(data, tmp_path / "run" / "distilled")
    assert_equal(load(tmp_path / "run" / "distilled"), data)
    assert_equal(load(tmp_path / "run"), data)


def test_classes_may_have_unequal_numbers_of_images_and_slots_may_be_missing(tmp_path: Path) -> None:
    data = DistilledDataset(
        images=torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1),
        labels=torch.tensor([0, 1, 1]),
        slots=torch.tensor([4, 0, 1_000]),
        weights=torch.tensor([1.0, 0.25, 0.75]),
        classes=("b", "a"),
        mean=(0.5,),
        std=(0.5,),
        ipc=1_001,
    )
    save(data, tmp_path / "d")
    assert_equal(load(tmp_path / "d"), data)


def test_the_same_dataset_gives_the_same_bytes(tmp_path: Path) -> None:
    save(soft(), tmp_path / "a")
    strided = soft()
    strided = dataclasses.replace(strided, images=strided.images.to(memory_format=torch.channels_last))
    save(strided, tmp_path / "b")
    save(load(tmp_path / "a"), tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_files_are_those_that_the_documentation_names(tmp_path: Path) -> None:
    save(make(ipc=1, classes=("b", "a")), tmp_path / "d")
    images = {"images/0-b/000.png", "images/1-a/000.png"}
    assert set(contents(tmp_path / "d")) == {*images, "metadata.csv", "distilled.json", "README.md"}
    save(soft(ipc=1, classes=("b", "a")), tmp_path / "d", overwrite=True)
    assert "labels.safetensors" in contents(tmp_path / "d")


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_imagefolder_agrees_on_labels_images_and_rows(tmp_path: Path, channels: int, mode: str) -> None:
    data = soft(channels=channels)
    save(data, tmp_path / "d")
    folder = ImageFolder(str(tmp_path / "d" / "images"))
    assert folder.targets == data.labels.tolist()
    logits = load_file(tmp_path / "d" / "labels.safetensors")["logits"]
    for row, (path, _) in enumerate(folder.samples):
        with Image.open(path) as image:
            assert image.mode == mode
            assert torch.equal(pil_to_tensor(image), data.images[row])
        assert torch.equal(logits[row], data.soft_labels[row])  # type: ignore[index]
        assert re.fullmatch(r"[a-z0-9/-]+\.png", str(Path(path).relative_to(tmp_path / "d" / "images")))


def test_metadata_has_a_row_for_each_image(tmp_path: Path) -> None:
    data = make()
    save(data, tmp_path / "d")
    with (tmp_path / "d" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", "label", "class", "slot", "weight"]
    assert [int(row["label"]) for row in rows] == data.labels.tolist()
    assert [int(row["slot"]) for row in rows] == data.slots.tolist()
    assert [row["class"] for row in rows] == [data.classes[label] for label in data.labels]
    assert torch.equal(torch.tensor([float(row["weight"]) for row in rows]), data.weights)
    files = {str(path.relative_to(tmp_path / "d")) for path in (tmp_path / "d").rglob("*.png")}
    assert {row["file_name"] for row in rows} == files


def test_no_folder_looks_like_a_split(tmp_path: Path) -> None:
    # Hugging Face makes splits of folders with these words, set apart by anything but letters, in their path.
    words = (
        "train",
        "training",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "evaluation",
    )
    save(make(ipc=1, classes=(*words, *(f"the {word} set" for word in words), "train_test")), tmp_path / "d")
    for path in contents(tmp_path / "d"):
        assert not set(words) & set(re.split(r"[^a-z]+", path)), path


def test_the_card_is_valid_whatever_the_names_hold(tmp_path: Path) -> None:
    save(soft(), tmp_path / "d")
    _, front, body = (tmp_path / "d" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["license"] == "cc-by-4.0"
    assert card["pretty_name"] == "a: 'name' # \"here\"\n"
    assert card["task_categories"] == ["image-classification"]
    assert "dataset-distillation" in card["tags"]
    assert "39 images that stand for" in body
    assert "temperature = 20.0\n" in body
    for licence, wanted in (("", "unknown"), ("MIT", "mit"), ("Ask: us", "other")):
        save(dataclasses.replace(make(), licence=licence), tmp_path / "d", overwrite=True)
        front = (tmp_path / "d" / "README.md").read_text(encoding="utf-8").split("---\n", 2)[1]
        assert yaml.safe_load(front)["license"] == wanted
    assert yaml.safe_load(front)["license_name"] == "ask-us"


@pytest.mark.thorough
def test_the_code_of_the_card_runs_without_condense(tmp_path: Path) -> None:
    save(make(), tmp_path / "grey and hard")
    save(soft(channels=3), tmp_path / "colour and soft")
    program = "import os, sys\n"
    for folder, channels in (("grey and hard", 1), ("colour and soft", 3)):
        card = (tmp_path / folder / "README.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
        code += f"assert data[0][0].shape == ({channels}, 8, 12)\n"
        program += f"os.chdir({str(tmp_path / folder)!r})\nexec({code!r}, {{}})\n"
    program += "assert not any(name.startswith('condense') for name in sys.modules)\n"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"loss after epoch \d+: \d", done.stdout)) == 2


def test_saving_spares_what_is_there(tmp_path: Path) -> None:
    save(make(), tmp_path / "d")
    with pytest.raises(StorageError, match="exists already"):
        save(make(), tmp_path / "d")
    save(make(channels=3), tmp_path / "d", overwrite=True)
    assert load(tmp_path / "d").images.shape[1] == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["d"]


def test_what_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        load(tmp_path / "none")
    with pytest.raises(StorageError, match="is not a distilled dataset"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StorageError, match=r"has no distilled dataset yet\. It was interrupted; continue"):
        load(tmp_path)
