"""JPEG files decoded on the device, with a decoder of the CPU in its place."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from condense.data import feed as module
from condense.data.feed import Feed
from condense.data.images import FolderImages
from condense.data.jpeg import DeviceImages, cuda_decoder
from condense.data.paths import Paths
from condense.errors import DataError, OptionError
from condense.recipe.config import Machine
from condense.runtime import make_runtime

CPU = torch.device("cpu")


class StandIn:
    """A decoder of the CPU; notes how many files it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, files: list[Tensor]) -> Sequence[Tensor]:
        self.given.append(len(files))
        opened = [Image.open(io.BytesIO(file.numpy().tobytes()), formats=["JPEG"]) for file in files]
        return [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in opened]


def smooth(width: int, height: int, seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path: Path) -> FolderImages:
    """Three plain JPEGs, and six files that PIL has to read."""
    turned = Image.Exif()
    turned[0x0112] = 6
    smooth(40, 30, 0).save(tmp_path / "a.jpg", quality=95)
    smooth(40, 30, 1).save(tmp_path / "b.png")
    smooth(24, 24, 2).save(tmp_path / "c.jpg", quality=95)
    smooth(40, 30, 3).save(tmp_path / "d-turned.jpg", exif=turned)
    smooth(40, 30, 4).convert("L").save(tmp_path / "e-grey.jpg")
    smooth(40, 30, 5).convert("CMYK").save(tmp_path / "f-cmyk.jpg")
    smooth(500, 2, 6).save(tmp_path / "g-long.jpg")
    smooth(40, 30, 7).quantize(64).save(tmp_path / "h.gif")
    smooth(30, 50, 8).save(tmp_path / "i.jpg", quality=95)
    names = sorted(path.name.encode() for path in tmp_path.iterdir())
    return FolderImages(Paths.of(tmp_path, names), 24, 3)


def test_plain_files_look_alike_and_all_others_are_the_same(files: FolderImages) -> None:
    decoder = StandIn()
    order = torch.tensor([8, 1, 2, 0, 3, 4, 5, 6, 7, 1])
    found = DeviceImages(files, CPU, decoder).read(order)
    expected = files.read(order)
    assert decoder.given == [3]
    assert found.shape == expected.shape
    for row, index in enumerate(order.tolist()):
        difference = (found[row].int() - expected[row].int()).abs().float()
        assert difference.mean() < (2 if index in (0, 2, 8) else 1e-9)


def test_grey_images_are_read_by_pil(files: FolderImages) -> None:
    grey, decoder = replace(files, channels=1), StandIn()
    order = torch.arange(9)
    assert torch.equal(DeviceImages(grey, CPU, decoder).read(order), grey.read(order))
    assert decoder.given == []


def test_a_broken_file_is_named(files: FolderImages) -> None:
    path = files.paths[2]
    path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"c\.jpg is not an image"):
        DeviceImages(files, CPU, StandIn()).read(torch.arange(9))


def test_a_feed_reads_files_with_the_decoder_that_the_machine_names(
    files: FolderImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = StandIn()
    monkeypatch.setattr(module, "cuda_decoder", lambda device: decoder)
    runtime = replace(make_runtime("cpu", "fp32", loaders=2), jpeg_decoder="cuda")
    options = {"size": 20, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    labels = torch.arange(9)
    found = Feed(files, labels, runtime=runtime, **options)  # type: ignore[arg-type]
    plain = Feed(files, labels, runtime=make_runtime("cpu", "fp32"), **options)  # type: ignore[arg-type]
    for one, other in zip(found.test_batches(5), plain.test_batches(5), strict=True):
        assert (one.images - other.images).abs().mean() < 2 / 255 / 0.25
    assert decoder.given == [2, 1]
    assert found.centre(torch.tensor([0, 1])).shape == (2, 3, 20, 20)
    assert decoder.given == [2, 1, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a decoder")
def test_a_decoder_that_is_not_there() -> None:
    with pytest.raises(
        OptionError, match=r"JPEG files cannot be decoded on cuda \(.*\); use --jpeg-decoder cpu"
    ):
        cuda_decoder(torch.device("cuda"))([torch.zeros(10, dtype=torch.uint8)])


def test_machines_with_different_decoders_share_no_results() -> None:
    usual = Machine(device="cuda", precision="bf16")
    assert replace(usual, jpeg_decoder="cuda").hash != usual.hash
    assert replace(usual, loaders=7).hash == usual.hash
    assert {machine.jpeg_decoder for machine in replace(usual, jpeg_decoder="cuda").kinds()} == {"cuda"}


def test_a_decoder_needs_its_device() -> None:
    with pytest.raises(OptionError, match="the JPEG decoder of CUDA needs a CUDA device, not cpu"):
        make_runtime("cpu", "fp32", jpeg_decoder="cuda")
    with pytest.raises(ValueError, match="jpeg_decoder must be one of cpu, cuda, not 'gpu'"):
        Machine(jpeg_decoder="gpu")  # type: ignore[arg-type]
