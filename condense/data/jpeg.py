"""Decoding of JPEG files on the device, by the decoder of CUDA that torchvision calls.

Its pixels differ from those of libjpeg, and so do those of the device's resizing. So it is a setting of the machine
that is off by default, and machines that differ in it share no results.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from condense.data.headers import opened
from condense.data.images import LONGEST, FolderImages, decode, in_threads
from condense.errors import OptionError

# Takes the contents of JPEG files, each (bytes,) uint8 on the CPU, and returns images (3, H, W) uint8 on a device.
Decoder = Callable[[list[Tensor]], Sequence[Tensor]]

_ORIENTATION = 0x0112


def cuda_decoder(device: torch.device) -> Decoder:
    """Return torchvision's decoder on a CUDA device. It raises OptionError where torchvision has none."""

    def decode_all(files: list[Tensor]) -> Sequence[Tensor]:
        try:
            # torchvision 0.29 announces that torchcodec will take its place.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*TorchCodec", category=DeprecationWarning)
                from torchvision.io import ImageReadMode, decode_jpeg

                found: Sequence[Tensor] = decode_jpeg(files, mode=ImageReadMode.RGB, device=device)
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise OptionError(
                f"JPEG files cannot be decoded on {device} ({reason}); use --jpeg-decoder cpu"
            ) from error
        return found

    return decode_all


@dataclass(frozen=True)
class DeviceImages:
    """The images of files, decoded on the device where they are plain RGB JPEGs, and by PIL elsewhere.

    images: the files. device: where all images end up. decoder: decodes JPEGs to that device.
    """

    images: FolderImages
    device: torch.device
    decoder: Decoder

    def read(self, indices: Tensor) -> Tensor:
        """Return images (B, C, S, S) uint8 on the device for `indices` (B,).

        Raises what `FolderImages.read` raises, and OptionError if the device has no decoder.
        """
        result = torch.empty((len(indices), *self.images.shape), dtype=torch.uint8, device=self.device)
        found = in_threads(self._content, indices.tolist())
        plain = [row for row, (jpeg, _) in enumerate(found) if jpeg]
        decoded = self.decoder([torch.from_numpy(found[row][1]) for row in plain]) if plain else ()
        for row, image in zip(plain, decoded, strict=True):
            result[row] = _fitted(image, self.images.side)
        for row, (jpeg, pixels) in enumerate(found):
            if not jpeg:
                result[row] = torch.from_numpy(np.array(pixels)).to(self.device)
        return result

    def _content(self, index: int) -> tuple[bool, np.ndarray]:
        """Return whether a file is a plain JPEG, with its bytes (n,) if so and its pixels (C, S, S) if not."""
        path = self.images.paths[index]
        with opened(path) as image:
            if self.images.channels == 3 and _is_plain(image):
                return True, np.frombuffer(bytearray(path.read_bytes()), np.uint8)
        return False, decode(path, self.images.side, self.images.channels)


def _is_plain(image: Image.Image) -> bool:
    width, height = image.size
    upright = image.getexif().get(_ORIENTATION, 1) == 1
    short = max(width, height) <= LONGEST * min(width, height)
    return image.format == "JPEG" and image.mode == "RGB" and upright and short


def _fitted(image: Tensor, side: int) -> Tensor:
    """Return an image (3, H, W) uint8 with the shorter side resized to `side`, and of that the centre square."""
    from torchvision.transforms.v2 import functional

    fitted: Tensor = functional.center_crop(functional.resize(image, [side], antialias=True), [side, side])
    return fitted
