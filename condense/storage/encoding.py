"""Encoding of images and soft labels as the bytes of files."""

from __future__ import annotations

import io

from PIL import Image
from torch import Tensor

from condense.storage.tensors import tensors_to_bytes


def encode_png(image: Tensor) -> bytes:
    """Return an image (C, H, W) uint8, C 1 or 3, as a PNG file."""
    array = image.permute(1, 2, 0).cpu().contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_soft_labels(logits: Tensor) -> bytes:
    """Return soft labels (n, K) float32 as the file labels.safetensors."""
    return tensors_to_bytes({"logits": logits})
