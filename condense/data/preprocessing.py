"""How pretrained weights want their images. This module is free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the images were prepared that pretrained weights were trained on.

    size: their side length in pixels.
    resize_share: the shorter side length of an image before its centre was cut out, divided by `size`.
    mean, std: per channel, of pixels in [0, 1].
    """

    size: int
    resize_share: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
