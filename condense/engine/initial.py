"""Initial images: an initializer is built anew for every class, its draws are seeded, and its images are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from condense.data.pixels import valid_range
from condense.engine.build import build_component
from condense.engine.components import FeatureTarget, Initializer, InitialRequest
from condense.engine.first_step import check_unchanged, dataset_versions
from condense.engine.imported import Imported
from condense.errors import NumericalError, PluginError
from condense.recipe.method import Use
from condense.recipe.plugin_code import plugin_code, titled
from condense.recipe.registry import Registry
from condense.recipe.specs import InitializerSpec
from condense.rng import generator


def build_initializer(use: Use, registry: Registry, seed: int) -> Initializer:
    """Return an initializer, built from a recipe, whose every answer comes from a newly built one.

    seed: of the run, for draws from global generators.

    Raises PluginError if the plugin builds anything but an Initializer.
    """

    def make() -> Initializer:
        return build_component(use, "initializer", Initializer, registry)

    first = make()
    if isinstance(first, Imported):  # The host's own, which reads its artifact once.
        return first
    spec: InitializerSpec = registry.find("initializer", use.name)
    title = titled("initializer", use.name, registry.plugin_of("initializer", use.name))
    return Anew(make, title, seed=seed, beyond_pixels=spec.beyond_pixels)


class Anew(Initializer):
    """An initializer that is built anew for every question.

    So the images of a class depend on nothing that was computed for another class, and a resumed run, which asks for
    some classes only, gives the same images.

    make: builds it. title: it, as text for messages. seed: as in `build_initializer`.
    beyond_pixels: as in `condense.InitializerSpec`.
    """

    def __init__(
        self, make: Callable[[], Initializer], title: str, *, seed: int, beyond_pixels: bool
    ) -> None:
        self._make, self._title, self._seed, self._beyond_pixels = make, title, seed, beyond_pixels
        self._told = False

    def check(self, targets: Sequence[FeatureTarget]) -> None:
        made = self._make()
        with plugin_code(self._title, "check", self._draws("check")):
            made.check(targets)

    def images(self, request: InitialRequest) -> Tensor:
        """Return the images of one class, (ipc, C, H, W) float32 on the CPU.

        Raises PluginError for anything but such a tensor, InputChangedError if real images in memory were changed in
        place, and NumericalError if a value is not finite. Clips values outside the range of valid pixels, and notes
        so once, unless the initializer may go beyond them.
        """
        made = self._make()
        before = dataset_versions(request.dataset)
        with plugin_code(self._title, "images", self._draws("images", request.label)):
            images: object = made.images(request)
        check_unchanged(before, self._title, "images")
        return self._valid(self._checked(images, request), request)

    def slot_weights(self) -> Tensor | None:
        made = self._make()
        with plugin_code(self._title, "slot_weights", self._draws("slot_weights")):
            return made.slot_weights()

    def _draws(self, *piece: str | int) -> torch.Generator:
        return generator(self._seed, "plugin", self._title, *piece)

    def _checked(self, images: object, request: InitialRequest) -> Tensor:
        dataset = request.dataset
        wanted = (request.ipc, dataset.channels, dataset.size, dataset.size)
        whose = f"for class {dataset.classes[request.label]!r}"
        if not isinstance(images, Tensor):
            raise PluginError(
                f"{self._title} must return a float tensor {wanted} from images, and returned a "
                f"{type(images).__name__} {whose}"
            )
        if tuple(images.shape) != wanted or not images.is_floating_point():
            raise PluginError(
                f"{self._title} must return a float tensor {wanted} from images, and returned "
                f"{tuple(images.shape)} {images.dtype} {whose}"
            )
        if not bool(torch.isfinite(images).all()):
            raise NumericalError(f"{self._title} returned images with values that are not finite {whose}")
        return images.detach().float().cpu()

    def _valid(self, images: Tensor, request: InitialRequest) -> Tensor:
        """Return the images within the valid range. Half a level of grey outside of it is rounding, and stays."""
        if self._beyond_pixels:
            return images
        dataset = request.dataset
        low, high = valid_range(dataset.mean, dataset.std, images)
        slack = (high - low) / 510
        outside = (images < low - slack) | (images > high + slack)
        if not bool(outside.any()):
            return images
        if not self._told:
            self._told = True
            request.runtime.reporter.note(
                f"{self._title} returned values outside of the range of pixels ({float(outside.float().mean()):.1%} of "
                f"those of class {dataset.classes[request.label]!r}); they are clipped"
            )
        return images.clamp(low, high)
