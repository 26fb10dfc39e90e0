"""Files of tensors as others write them: which part is what, and how numbers become pixels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from condense.data.pixels import normalise
from condense.data.tensor_file import TensorFile, read_tensor_file, to_pixels
from condense.errors import DataError

MEAN, STD = (0.49, 0.48, 0.45), (0.2, 0.25, 0.3)
IMAGES = torch.arange(4 * 3 * 8 * 8).reshape(4, 3, 8, 8).remainder(256).to(torch.uint8)
LABELS = torch.tensor([1, 1, 0, 0])


def read(path: Path, content: Any, classes: int = 2, **more: Any) -> TensorFile:
    torch.save(content, path)
    return read_tensor_file(path, classes, **more)


@pytest.mark.parametrize(
    "content",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS],
        {"images": IMAGES, "labels": LABELS},
        {"image_syn": torch.nn.Parameter(IMAGES.float()), "label_syn": LABELS, "lr": 0.1},
        {"x": IMAGES, "y": LABELS.float()},
        {"data": IMAGES, "targets": LABELS[:, None]},
        {"images": IMAGES.numpy(), "labels": LABELS.numpy()},
        {"data": [[IMAGES, LABELS]], "accs_all_exps": {"ConvNet": [np.float64(0.5), np.float32(0.25)]}},
    ],
    ids=["tuple", "list", "dict", "MTT", "x and y", "targets", "numpy", "DC"],
)
def test_images_and_labels_are_found(content: Any, tmp_path: Path) -> None:
    found = read(tmp_path / "a.pt", content)
    assert torch.equal(found.images.to(torch.uint8), IMAGES)
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.labels.dtype == torch.int64
    assert (found.soft_labels, found.notes) == (None, ())
    assert not found.images.requires_grad


def test_experiments(tmp_path: Path) -> None:
    content = {"data": [[IMAGES, LABELS], [IMAGES.flip(0), LABELS.flip(0)]]}
    first = read(tmp_path / "a.pt", content)
    assert first.labels.tolist() == [1, 1, 0, 0]
    assert first.notes == ("experiment 0 of 2 is taken; --experiment chooses another",)
    assert read(tmp_path / "a.pt", content, experiment=1).labels.tolist() == [0, 0, 1, 1]
    for number in (2, -1):
        with pytest.raises(DataError, match="holds 2 experiments, 0 to 1"):
            read(tmp_path / "a.pt", content, experiment=number)
    with pytest.raises(DataError, match="--experiment has no effect"):
        read(tmp_path / "a.pt", (IMAGES, LABELS), experiment=0)


def test_images_alone_have_labels_beside_them(tmp_path: Path) -> None:
    torch.save(LABELS, tmp_path / "labels_best.pt")
    assert read(tmp_path / "images_best.pt", IMAGES).labels.tolist() == [1, 1, 0, 0]
    with pytest.raises(DataError, match="holds images alone, and there is no file of labels beside it"):
        read(tmp_path / "images_5000.pt", IMAGES)
    with pytest.raises(DataError, match="holds images alone"):
        read(tmp_path / "data.pt", IMAGES)


def test_soft_labels(tmp_path: Path) -> None:
    logits = torch.tensor([[0.5, 3.0], [-1.0, 2.0], [4.0, 0.0], [1.0, 0.5]])
    found = read(tmp_path / "a.pt", (IMAGES, logits))
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.soft_labels is not None
    assert torch.equal(found.soft_labels, logits)
    assert "taken as logits" in found.notes[0]
    # Probabilities come back from their logarithms.
    found = read(tmp_path / "a.pt", (IMAGES, logits.softmax(1)))
    assert found.soft_labels is not None
    assert torch.allclose(found.soft_labels.softmax(1), logits.softmax(1), atol=1e-6)
    assert found.notes == ("soft labels: taken as probabilities",)
    # One-hot rows are hard labels.
    found = read(tmp_path / "a.pt", (IMAGES, torch.eye(2)[LABELS]))
    assert (found.labels.tolist(), found.soft_labels, found.notes) == ([1, 1, 0, 0], None, ())


class Harmful:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds more than tensors, and loading it could run code.*torch\.save"
    ):
        read(tmp_path / "a.pt", {"images": IMAGES, "labels": LABELS, "more": Harmful(tmp_path / "ran")})
    hidden = np.array([Harmful(tmp_path / "ran")], dtype=object)
    with pytest.raises(DataError, match="holds more than tensors"):
        read(tmp_path / "a.pt", {"images": hidden, "labels": LABELS})
    (tmp_path / "b.pt").write_bytes(pickle.dumps({"images": Harmful(tmp_path / "ran")}, protocol=2))
    with pytest.raises(DataError, match=r"b\.pt"):
        read_tensor_file(tmp_path / "b.pt", 2)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"images": IMAGES}, "has no images and labels under names that are known, but images; write it as"),
        ({"weights": IMAGES}, "but weights"),
        (7, "holds a int and not images and labels"),
        ((IMAGES, LABELS, 0.1), "holds a tuple"),
        ((IMAGES, "cat"), "are no tensors"),
        ((IMAGES[0], LABELS), r"the images are \(3, 8, 8\), not \(N, C, H, W\)"),
        ((IMAGES, LABELS[:3]), "holds 4 images and 3 labels"),
        ((IMAGES, LABELS + 1), "labels reach from 1 to 2, and the dataset has 2 classes, 0 to 1"),
        ((IMAGES, LABELS - 1), "labels reach from -1 to 0"),
        ((IMAGES, LABELS + 0.5), r"labels are whole numbers, and one is 1\.5"),
        (
            (IMAGES, torch.rand(4, 3)),
            r"labels are \(4, 3\); wanted are \(N,\) class numbers or \(N, 2\) soft",
        ),
        ((IMAGES, torch.full((4, 2), torch.nan)), "some soft labels are not finite"),
    ],
)
def test_what_is_something_else_is_refused(content: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=text):
        read(tmp_path / "a.pt", content)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"PK\x03\x04 cut off"])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pt "):
        read_tensor_file(tmp_path / "a.pt", 2)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES, "taken as pixels of 0 to 255"),
        (IMAGES.long(), "taken as pixels of 0 to 255"),
        (IMAGES.float(), "taken as pixels of 0 to 255"),
        (IMAGES.float() / 255, "taken as pixels of 0 to 1"),
        ((IMAGES.float() / 255).half(), "taken as pixels of 0 to 1"),
        (
            normalise(IMAGES, MEAN, STD),
            "taken as normalised by mean 0.49,0.48,0.45 and deviation 0.2,0.25,0.3",
        ),
    ],
    ids=["uint8", "int64", "float 255", "unit", "half", "normalised"],
)
def test_the_same_pixels_come_out_of_every_form(images: Tensor, said: str) -> None:
    pixels, how = to_pixels(images, MEAN, STD)
    assert torch.equal(pixels, IMAGES)
    assert said in how
    assert "clipped" not in how


def test_the_user_may_say_what_the_numbers_are() -> None:
    """Pixels of a dark image, and normalised numbers that happen to lie between 0 and 1."""
    dark = torch.full((1, 1, 8, 8), 3.0)
    assert int(to_pixels(dark, (0.0,), (1.0,), "bytes")[0].max()) == 3
    half = torch.full((1, 1, 8, 8), 0.5)
    assert int(to_pixels(half, (0.4,), (0.2,), "normalised")[0].max()) == round(0.5 * 255)
    assert int(to_pixels(half, (0.4,), (0.2,), "unit")[0].max()) == 128  # 127.5 rounds to even


def test_impossible_pixels_are_counted_and_clipped() -> None:
    images = torch.zeros(1, 1, 10, 10)
    images[0, 0, 0] = 3.0  # 0.5 + 3 * 0.2 is above 1 for a tenth of the pixels.
    images[0, 0, 1] = -1.0
    pixels, how = to_pixels(images, (0.5,), (0.2,))
    assert "10.0% of the pixels lie outside 0 to 255 and are clipped" in how
    assert pixels[0, 0, :3, 0].tolist() == [255, round(0.3 * 255), 128]


def test_whitened_images_are_refused() -> None:
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 20
    with pytest.raises(DataError, match=r"of the pixels would lie outside 0 to 255\. They may be whitened"):
        to_pixels(images, (0.5,), (0.2,))
    with pytest.raises(DataError, match="some numbers of the images are not finite"):
        to_pixels(images / 0, (0.5,), (0.2,))
    with pytest.raises(DataError, match="values must be one of auto, bytes, unit, normalised"):
        to_pixels(images, (0.5,), (0.2,), "zca")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (
            torch.zeros(1).expand(10**6, 3, 1000, 1000),
            "the images claim 12.0 TB, more than the file holds for them",
        ),
        (torch.zeros(2, 3, 4, 4).to_sparse(), "the images are no plain tensor of real numbers"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.complex64), "the images are no plain tensor of real numbers"),
        (torch.empty(2, 3, 4, 4, device="meta"), "the images are no plain tensor of real numbers"),
    ],
)
def test_tensors_that_claim_more_than_they_hold_are_refused(
    images: torch.Tensor, text: str, tmp_path: Path
) -> None:
    torch.save({"images": images, "labels": torch.zeros(2, dtype=torch.int64)}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=text):
        read_tensor_file(tmp_path / "x.pt", 2)
