"""The base class of parametrizations, and what the host calls in place of them: a coder, which checks their answers."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from condense.errors import CondenseError, PluginError
from condense.recipe.method import Use
from condense.recipe.networks import format_network
from condense.recipe.plugin_code import plugin_code, titled
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.recipe.specs import ParametrizationSpec
from condense.rng import generator


class Parametrization:
    """Stores images in another form. The spec says how many images, k, one stored image holds.

    Stored images have the shape of the images and are stored with 8 bits like them. Both are float32 and normalised
    with the dataset's mean and standard deviation. The images of stored image i are i * k to i * k + k - 1.

    Raises DataError in `encode` and `decode` for images whose side lengths do not fit.
    """

    def encode(self, images: Tensor) -> Tensor:
        """Return the stored images (n, C, H, W) that hold images (n * k, C, H, W) as well as they can."""
        raise NotImplementedError

    def decode(self, stored: Tensor) -> Tensor:
        """Return the images (n * k, C, H, W) that stored images (n, C, H, W) hold; differentiable.

        It must not draw random numbers, and each image may depend on its own stored image alone.
        """
        raise NotImplementedError

    def unfolding(self) -> str:
        """Return a few lines of PyTorch that define `unfold(images)`, for people who have the files and no condense.

        `unfold` does what `decode` does. The lines may use `torch` and `F`, torch.nn.functional, and stand in the card
        of every artifact. "" means that it takes more than a few lines: the card then decodes with condense.
        """
        return ""


@dataclass(frozen=True, eq=False)
class Coder:
    """A parametrization that was built, with its name and its options.

    use: its name and options, plain data.
    parametrization: what was built.
    images_per_stored: how many images one stored image holds, k.
    """

    use: Use
    parametrization: Parametrization
    images_per_stored: int

    @property
    def text(self) -> str:
        """The name with its options: "mosaic(factor=2,reduce=fit)"."""
        return format_network(self.use.name, self.use.options)

    def encode(self, images: Tensor) -> Tensor:
        """Return stored images (n, C, H, W) for images (n * k, C, H, W). Raises PluginError for another shape."""
        stored = self.parametrization.encode(images)
        self._check("encode", stored, (len(images) // self.images_per_stored, *images.shape[1:]))
        return stored

    def decode(self, stored: Tensor) -> Tensor:
        """Return images (n * k, C, H, W) of stored images (n, C, H, W). Raises PluginError for another shape."""
        images = self.parametrization.decode(stored)
        self._check("decode", images, (len(stored) * self.images_per_stored, *stored.shape[1:]))
        return images

    def of_decoded(self, stored: Tensor) -> Tensor:
        """Return the numbers (m * k,) int64 of the images that stored images (m,) int64 hold."""
        held = torch.arange(self.images_per_stored, device=stored.device)
        return (stored[:, None] * self.images_per_stored + held).flatten()

    @torch.no_grad()
    def check(self, channels: int, size: int) -> None:
        """Store grey images of this size and take them out again. Raises what a run would raise later."""
        images = torch.zeros(self.images_per_stored, channels, size, size)
        try:
            self.decode(self.encode(images))
        except CondenseError:
            raise
        except Exception as error:  # A plugin's code may raise anything.
            raise PluginError(
                f"parametrization {self.use.name!r} failed on images of {channels}x{size}x{size}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _check(self, step: str, made: Tensor, wanted: tuple[int, ...]) -> None:
        if tuple(made.shape) != wanted or not made.is_floating_point():
            raise PluginError(
                f"{step} of parametrization {self.use.name!r} gave {tuple(made.shape)} {made.dtype}; wanted are "
                f"{wanted} of a float type"
            )


def coder_of(use: Use, registry: Registry) -> Coder:
    """Return the coder of a parametrization in a recipe or an artifact.

    Raises UnknownNameError if no plugin offers it, OptionError for options that do not fit, and PluginError if the
    plugin builds anything but a Parametrization.
    """
    spec: ParametrizationSpec = registry.find("parametrization", use.name)
    options = options_of(use, "parametrization", registry)
    title = titled("parametrization", use.name, registry.plugin_of("parametrization", use.name))
    with plugin_code(title, "build", generator(0, "plugin", use.name)):
        made: object = spec.builder()(options)
    if not isinstance(made, Parametrization):
        raise PluginError(
            f"parametrization {use.name!r} was built as {made!r}, which is not an instance of Parametrization"
        )
    complete = Use(name=use.name, options=msgspec.to_builtins(options))
    return Coder(complete, made, spec.held(options))
