"""A picture of a distilled dataset: one row per class, with its stored images in slot order."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from condense.storage.distilled import DistilledDataset
from condense.storage.files import write_bytes
from condense.text import escaped

_SMALLEST, _LARGEST = 56, 96  # minimum and maximum side length of a drawn image in pixels
_GAP, _MARGIN, _GUTTER = 3, 20, 28  # pixels between images, around the picture, between blocks of classes
_FONT_SIZE, _LABEL_WIDTH = 15, 170  # of class names, and their maximum width in pixels
_MOST_LETTERS = 200  # of a name that are looked at
_WIDEST = 1300  # maximum width of blocks side by side in pixels, so that a page shows the picture readably
_PAPER, _INK, _FAINT = (255, 255, 255), (32, 36, 44), (120, 126, 138)


def image_grid(
    distilled: DistilledDataset, *, columns: int | None = None, max_classes: int = 20, max_slots: int = 10
) -> Image.Image:
    """Return an RGB picture of the images as they are stored, with the class name in front of each row.

    Images below 56 pixels are enlarged by a whole factor without smoothing; images above 96 pixels are
    reduced. If classes or images are left out, or if a stored image holds several, a line at the bottom says so.

    columns: the number of classes side by side; None makes the picture about as wide as high.
    max_classes: the maximum number of classes; if there are more, evenly spaced ones are drawn.
    max_slots: the maximum number of images per class; if there are more, the first ones are drawn.
    """
    total = len(distilled.classes)
    count = min(total, max_classes)
    chosen = [position * total // count for position in range(count)]
    rows = [distilled.images[distilled.stored_labels == label][:max_slots] for label in chosen]
    slots = max(len(row) for row in rows)
    font = ImageFont.load_default(size=_FONT_SIZE)
    names = [_shortened(distilled.classes[label], font) for label in chosen]
    label_width = round(max(font.getlength(name) for name in names)) + 12
    cell_width, cell_height = _cell(*distilled.images.shape[2:])
    block_width = label_width + slots * (cell_width + _GAP) - _GAP
    side_by_side = min(columns or _balanced(count, block_width, cell_height), count)
    depth = -(-count // side_by_side)
    side_by_side = -(-count // depth)  # leave no empty block at the right
    note = _note(count, total, slots, distilled)
    width = 2 * _MARGIN + side_by_side * (block_width + _GUTTER) - _GUTTER
    height = 2 * _MARGIN + depth * (cell_height + _GAP) - _GAP + (2 * _FONT_SIZE if note else 0)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for position, (name, images) in enumerate(zip(names, rows, strict=True)):
        left = _MARGIN + (position // depth) * (block_width + _GUTTER)
        top = _MARGIN + (position % depth) * (cell_height + _GAP)
        draw.text((left + label_width - 12, top + cell_height / 2), name, fill=_INK, font=font, anchor="rm")
        for slot, image in enumerate(images):
            tile = _tile(image, (cell_width, cell_height))
            picture.paste(tile, (left + label_width + slot * (cell_width + _GAP), top))
    if note:
        draw.text((_MARGIN, height - _MARGIN), note, fill=_FAINT, font=font, anchor="ls")
    return picture


def grid_png(distilled: DistilledDataset) -> bytes:
    """Return the default picture as a PNG file."""
    buffer = io.BytesIO()
    image_grid(distilled).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_grid(distilled: DistilledDataset, path: Path) -> None:
    """Write the default picture as a PNG file. Raises StorageError if that fails."""
    write_bytes(path, grid_png(distilled))


def _cell(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) in pixels at which images are drawn."""
    longer, shorter = max(height, width), min(height, width)
    if longer > _LARGEST:
        return max(1, width * _LARGEST // longer), max(1, height * _LARGEST // longer)
    factor = max(1, min(-(-_SMALLEST // shorter), _LARGEST // longer))
    return width * factor, height * factor


def _tile(image: Tensor, size: tuple[int, int]) -> Image.Image:
    """Return an image (C, H, W) uint8 at `size` (width, height) in pixels, in RGB."""
    colour = image.expand(3, -1, -1) if image.shape[0] == 1 else image
    tile = Image.fromarray(torch.movedim(colour, 0, 2).contiguous().cpu().numpy())
    enlarge = size[0] >= tile.width
    return tile.resize(size, Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS)


def _balanced(count: int, block_width: int, cell_height: int) -> int:
    """Return the number of classes side by side that makes width / height of the picture closest to 1.25."""

    def excess(side_by_side: int) -> float:
        depth = -(-count // side_by_side)
        ratio = side_by_side * (block_width + _GUTTER) / (depth * (cell_height + _GAP))
        return max(ratio / 1.25, 1.25 / ratio)

    most = max(1, _WIDEST // (block_width + _GUTTER))
    return min(range(1, min(count, most) + 1), key=excess)


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the name on one line, shortened to the maximum width of a name."""
    text = " ".join(escaped(name[:_MOST_LETTERS]).split())
    if font.getlength(text) <= _LABEL_WIDTH:
        return text
    while text and font.getlength(text + "…") > _LABEL_WIDTH:
        text = text[:-1]
    return text.rstrip() + "…"


def _note(classes: int, all_classes: int, slots: int, distilled: DistilledDataset) -> str:
    parts = []
    if classes < all_classes:
        parts.append(f"{classes} of {all_classes} classes")
    if slots < distilled.ipc:
        parts.append(f"{slots} of {distilled.ipc} images per class")
    if distilled.coder.images_per_stored > 1:
        held = distilled.coder.images_per_stored
        parts.append(f"as stored: each {distilled.parametrization.name} holds {held} images")
    return ", ".join(parts)
