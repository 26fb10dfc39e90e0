"""Whether a network is one that teachers and students can be: what it gives, where it begins, what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.errors import CondenseError
from condense.models.build import network_for
from condense.models.catalog import ModelRequest
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.specs import ModelSpec
from condense.rng import generator, isolated_global_rng
from condense.runtime import make_runtime
from condense.testing.findings import Answer
from condense.testing.trial import sentence_of

# Channels and side lengths of the images that a network is shown.
_IMAGES = ((3, 32), (1, 28), (3, 128))
_CLASSES, _BATCH, _STEPS = 3, 2, 2


class TriedNetwork:
    """A network without an argument, which is built and shown noise."""

    def __init__(self, spec: ModelSpec, registry: Registry) -> None:
        self._spec, self._registry = spec, registry

    def shapes(self) -> Answer:
        """Look at what it gives for images of each size."""
        if self._spec.takes:
            return self._one_of_many()
        tried, refused = [], ""
        for channels, side in _IMAGES:
            text = f"{channels}x{side}x{side}"
            try:
                wrong = self._looked_at(channels, side)
            except CondenseError as error:
                refused = refused or f"{text}: {error}"
                continue
            except Exception as error:  # What comes of a plugin's code may be anything.
                return "failed", (
                    f"images of {text}: {sentence_of(error)}; raise ModelError for images that it cannot take"
                )
            if wrong:
                return "failed", f"images of {text}: {wrong}"
            tried.append(text)
        if not tried:
            return "skipped", f"it refuses all images that are tried, first {refused}"
        return "passed", f"images of {', '.join(tried)} were shown" + (f"; {refused}" if refused else "")

    def weights(self) -> Answer:
        """Build it twice from one seed."""
        return self._with_size(self._first_weights)

    def memory(self) -> Answer:
        """Give what it remembers to another one, and compare what the two say."""
        return self._with_size(self._remembered)

    def _one_of_many(self) -> Answer:
        return "skipped", f"it is one of many, {self._spec.name}:{self._spec.takes}, so none was built"

    def _with_size(self, answer: Callable[[int, int], str]) -> Answer:
        """Return what a check finds with images of the first size that the network takes."""
        if self._spec.takes:
            return self._one_of_many()
        if self._size is None:
            return "skipped", "it looks at no images before the check `shapes` passes"
        try:
            wrong = answer(*self._size)
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", sentence_of(error)
        return ("failed", wrong) if wrong else ("passed", "two networks were compared, and are alike")

    @cached_property
    def _size(self) -> tuple[int, int] | None:
        for channels, side in _IMAGES:
            try:
                if not self._looked_at(channels, side):
                    return channels, side
            except Exception:  # `shapes` tells.
                continue
        return None

    def _built(self, channels: int, side: int, seed: int) -> Network:
        request = ModelRequest(argument="", classes=_CLASSES, channels=channels, size=side)
        use, runtime = Use(name=self._spec.name), make_runtime("cpu", "fp32")
        return network_for(use, request, self._registry, runtime, generator(seed, "testing", "network"))

    def _looked_at(self, channels: int, side: int) -> str:
        """Return what is wrong with what a new network gives, or ""."""
        network = self._built(channels, side, 0)
        network.model.eval()
        images = _noise(channels, side).requires_grad_(True)
        seen = network.observe(images, BatchLabels.of_real(_labels()))
        if tuple(seen.logits.shape) != (_BATCH, _CLASSES):
            return f"the logits of {_BATCH} images and {_CLASSES} classes are {tuple(seen.logits.shape)}"
        if not (torch.isfinite(seen.logits).all() and torch.isfinite(seen.features).all()):
            return "logits or features are not finite"
        if not seen.logits.requires_grad:
            return "the logits have no gradient to the pixels; leave out no_grad and detach"
        loss = F.cross_entropy(seen.logits, _labels())
        slope: Tensor | None = torch.autograd.grad(loss, images, allow_unused=True)[0]
        if slope is None:
            return "the logits have no gradient to the pixels; leave out no_grad and detach"
        if not torch.isfinite(slope).all():
            return "the gradient to the pixels is not finite"
        return self._trained(network, images.detach())

    def _trained(self, network: Network, images: Tensor) -> str:
        """Return what is wrong with a training step, or ""."""
        network.model.train()
        with isolated_global_rng(generator(0, "testing", "step")):
            F.cross_entropy(network.logits(images), _labels()).backward()
        slopes = [weight.grad for weight in network.model.parameters() if weight.grad is not None]
        if not slopes:
            return "no weight has a gradient, so it cannot be trained"
        if not all(torch.isfinite(slope).all() for slope in slopes):
            return "the gradient of a weight is not finite"
        return ""

    def _first_weights(self, channels: int, side: int) -> str:
        first, second = (_tensors_of(self._built(channels, side, 0)) for _ in range(2))
        for name, value in first.items():
            if name not in second or not torch.equal(value, second[name]):
                return (
                    f"{name} is another in a second network of the same seed; draw initial weights from torch's global "
                    "generator, and keep nothing from one network to the next"
                )
        return ""

    def _remembered(self, channels: int, side: int) -> str:
        """Train one network for some steps, copy its tensors into another, and return how the two differ, or ""."""
        one, other = (self._built(channels, side, seed) for seed in (0, 1))
        optimizer = torch.optim.SGD([w for w in one.model.parameters() if w.requires_grad], lr=0.01)
        one.model.train()
        for step in range(_STEPS):
            with isolated_global_rng(generator(step, "testing", "memory")):
                optimizer.zero_grad()
                F.cross_entropy(one.logits(_noise(channels, side, step)), _labels()).backward()
                optimizer.step()
        own = _tensors_of(other)
        with torch.no_grad():
            for name, value in _tensors_of(one).items():
                if name not in own or own[name].shape != value.shape:
                    return (
                        f"{name} has not the same shape in every network; register buffers when it is built"
                    )
                own[name].copy_(value)
        images = _noise(channels, side, _STEPS)
        for mode in ("train", "eval"):
            said = []
            for network in (one, other):
                network.model.train(mode == "train")
                with torch.no_grad(), isolated_global_rng(generator(0, "testing", mode)):
                    said.append(network.logits(images))
            if not torch.allclose(said[0], said[1], rtol=1e-4, atol=1e-5, equal_nan=True):
                return (
                    f"after {_STEPS} steps it gives other logits in {mode} mode than a new network with its parameters "
                    "and buffers; a training that was interrupted goes on from these, so keep nothing else"
                )
        return ""


def _tensors_of(network: Network) -> Mapping[str, Tensor]:
    return {**dict(network.model.named_parameters()), **dict(network.model.named_buffers())}


def _labels() -> Tensor:
    return torch.arange(_BATCH) % _CLASSES


def _noise(channels: int, side: int, number: int = 0) -> Tensor:
    return torch.randn(
        _BATCH, channels, side, side, generator=generator(number, "testing", "images", channels, side)
    )
