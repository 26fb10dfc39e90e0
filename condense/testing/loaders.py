"""The loader of the made-up images that plugins are tried on."""

from __future__ import annotations

from condense.data.dataset import DatasetRequest, RealDataset
from condense.recipe.specs import NoOptions
from condense.testing.made_up import made_up_dataset
from condense.testing.subjects import GREY, SIDE

# Training images of each class: enough for two stored images that hold six images each.
_COUNTS = (12, 13, 14)


def load(options: NoOptions, request: DatasetRequest) -> RealDataset:
    """Return the made-up images of a name."""
    channels = 1 if request.name == GREY else 3
    return made_up_dataset(_COUNTS, tests=2, size=SIDE, channels=channels, name=request.name)
