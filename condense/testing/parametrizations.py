"""Whether a parametrization stores images and gives them back as the contract says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.parametrizations.base import Coder, coder_of
from condense.errors import CondenseError, DataError
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.specs import ParametrizationSpec
from condense.rng import generator, isolated_global_rng
from condense.testing.findings import Answer
from condense.testing.trial import sentence_of

# Channels and side lengths of the images that are stored.
_IMAGES = ((3, 32), (1, 28), (3, 16))
_STORED = 3
# How far the lines of a card may be from `decode`: rounding, where pixels are about 1.
_ROUNDING = 1e-3


class TriedParametrization:
    """A parametrization with its usual options, which is given noise."""

    def __init__(self, spec: ParametrizationSpec, registry: Registry) -> None:
        self._spec, self._registry = spec, registry

    def stored(self) -> Answer:
        """Store images, and take them out again with gradients."""
        return self._at_sizes(_stored, self._too_small)

    def apart(self) -> Answer:
        """Decode stored images together and one by one, and twice."""
        return self._at_sizes(_apart)

    def unfolding(self) -> Answer:
        """Do what the lines for people without condense say."""
        try:
            lines = self._coder().parametrization.unfolding()
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", sentence_of(error)
        if not lines:
            return "skipped", "it has no such lines, so the card decodes with condense"
        return self._at_sizes(_unfolding)

    def _coder(self) -> Coder:
        return coder_of(Use(name=self._spec.name), self._registry)

    def _at_sizes(
        self, wrong: Callable[[Coder, Tensor], str], last: Callable[[Coder], str] = lambda _: ""
    ) -> Answer:
        """Return what is wrong at one of the sizes, or at the end."""
        tried, refused = [], ""
        try:
            coder = self._coder()
            for channels, side in _IMAGES:
                images = _noise(coder.images_per_stored * _STORED, channels, side)
                text = f"{channels}x{side}x{side}"
                try:
                    found = wrong(coder, images)
                except DataError as error:
                    refused = refused or f"{text}: {error}"
                    continue
                if found:
                    return "failed", f"images of {text}: {found}"
                tried.append(text)
            found = last(coder)
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", sentence_of(error)
        if found:
            return "failed", found
        if not tried:
            return "skipped", f"it refuses all images that are tried, first {refused}"
        return "passed", f"images of {', '.join(tried)} were stored" + (f"; {refused}" if refused else "")

    def _too_small(self, coder: Coder) -> str:
        """Return what is wrong with images below the minimum that its spec says, or ""."""
        side = self._spec.smallest(self._spec.options()) - 1
        if not side:
            return ""
        try:
            coder.encode(_noise(coder.images_per_stored, 3, side))
        except DataError:
            return ""
        except Exception as error:  # What comes of a plugin's code may be anything.
            return f"images of 3x{side}x{side} raise {sentence_of(error)}, and not DataError"
        return f"its spec has minimum_side {side + 1}, and encode takes images of 3x{side}x{side}"


def _stored(coder: Coder, images: Tensor) -> str:
    before = images.clone()
    stored = coder.encode(images)
    if not torch.equal(before, images):
        return "encode changes images in place"
    if not torch.isfinite(stored).all():
        return "encode gives values that are not finite"
    pixels = stored.detach().clone().requires_grad_(True)
    decoded = coder.decode(pixels)
    if not torch.isfinite(decoded).all():
        return "decode gives values that are not finite"
    if not decoded.requires_grad:
        return "what decode gives has no gradient to the stored pixels"
    (slope,) = torch.autograd.grad(decoded.square().sum(), pixels)
    if not torch.isfinite(slope).all():
        return "the gradient to the stored pixels is not finite"
    if not slope.flatten(1).any(dim=1).all():
        return "the gradient to the pixels of a stored image is zero"
    return ""


def _apart(coder: Coder, images: Tensor) -> str:
    stored, held = coder.encode(images).detach(), coder.images_per_stored
    with isolated_global_rng(generator(0, "testing", "decode")):
        whole = coder.decode(stored)
    with isolated_global_rng(generator(1, "testing", "decode")):
        again = coder.decode(stored)
    if not torch.equal(whole, again):
        return "decode gives other images a second time; it must draw nothing"
    for number in range(len(stored)):
        alone, own = coder.decode(stored[number : number + 1]), whole[number * held : (number + 1) * held]
        if not torch.allclose(alone, own, atol=_ROUNDING):
            return (
                f"stored image {number} alone is decoded to other images than beside {len(stored) - 1} more; each "
                f"of the {held} images of a stored image must depend on it alone"
            )
    return ""


def _unfolding(coder: Coder, images: Tensor) -> str:
    stored = coder.encode(images).detach()[:1]
    names: dict[str, Any] = {"torch": torch, "F": F}
    try:
        exec(coder.parametrization.unfolding(), names)
        unfolded: Any = names["unfold"](stored)
    except CondenseError:
        raise
    except KeyError:
        return "its lines define no function `unfold`"
    except Exception as error:  # What comes of a plugin's code may be anything.
        return f"its lines raise {sentence_of(error)}"
    decoded = coder.decode(stored)
    if not isinstance(unfolded, Tensor) or unfolded.shape != decoded.shape:
        return f"`unfold` gives {getattr(unfolded, 'shape', type(unfolded).__name__)}, and decode {decoded.shape}"
    gap = float((unfolded - decoded).abs().max())
    return f"`unfold` and `decode` differ by up to {gap:.2g}" if gap > _ROUNDING else ""


def _noise(count: int, channels: int, side: int) -> Tensor:
    return torch.randn(
        count, channels, side, side, generator=generator(0, "testing", "stored", channels, side)
    )
