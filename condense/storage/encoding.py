"""Images and soft labels as the bytes of files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from condense.storage import files as store

if TYPE_CHECKING:
    pass


def encode_png(image: Tensor) -> bytes:
    """(C, H, W) uint8 with C 1 or 3 as a PNG file."""
    array = image.permute(1, 2, 0).cpu().contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_soft_labels(logits: Tensor) -> bytes:
    """(n, K) float32 as the file labels.safetensors."""
    return store.tensors_to_bytes({"logits": logits})
