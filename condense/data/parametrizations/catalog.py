"""The parametrizations that come with condense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense.recipe.fields import checked
from condense.recipe.method import IDENTITY
from condense.recipe.specs import ParametrizationSpec


@checked
@dataclass(frozen=True, kw_only=True)
class MosaicOptions:
    """How many images lie in one, and how they are made small.

    factor: images side by side in a stored image, and as many below each other; 1 changes nothing.
    reduce: "fit" takes the small image whose enlargement has the smallest squared distance to the image. "sample"
        takes single pixels without smoothing, as IDC's published code does to begin with.
    """

    factor: int = 2
    reduce: Literal["fit", "sample"] = "fit"

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1, not {self.factor}")


def _tiles(options: MosaicOptions) -> int:
    return options.factor**2


def _side(options: MosaicOptions) -> int:
    return options.factor


PARAMETRIZATIONS: tuple[ParametrizationSpec, ...] = (
    ParametrizationSpec(
        name=IDENTITY,
        summary="images are stored as they are",
        build="condense.data.parametrizations.standard:Identity",
    ),
    ParametrizationSpec(
        name="mosaic",
        summary="a stored image is factor x factor smaller ones, each enlarged when it is used (IDC, NCFM)",
        source="Kim et al., ICML 2022, arXiv 2205.14959 (multi-formation)",
        options=MosaicOptions,
        images_per_stored=_tiles,
        minimum_side=_side,
        build="condense.data.parametrizations.standard:Mosaic",
    ),
)
