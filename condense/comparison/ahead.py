"""What a comparison will refuse, as far as that can be told without torch: `--dry-run` refuses or notes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from condense.comparison.design import Design, Place
from condense.comparison.workspace import check_folder
from condense.data.ahead import check_images_ahead
from condense.engine.plan import make_plan
from condense.errors import CondenseError
from condense.recipe.registry import Registry
from condense.runs.ahead import check_files_ahead
from condense.text import counted


def check_comparison_ahead(design: Design, out: Path, registry: Registry) -> Mapping[Place, str]:
    """Return the places that will fail, with the reasons.

    Raises CondenseError, as the comparison would, for a folder that holds something else, a file that all rows need and
    that is not there, and if every place will fail.
    """
    check_folder(out / design.name)
    refused: dict[Place, str] = {}
    for place, config in design.runs.items():
        try:
            check_images_ahead(config.recipe, registry)
            make_plan(config, registry)
        except CondenseError as error:
            refused[place] = str(error)
            if len(refused) == len(design.runs):
                raise
    for setup in design.columns:
        for place, config in design.runs.items():
            if place not in refused:
                check_files_ahead(make_plan(replace(config, evaluation=setup.evaluation), registry))
    return refused


def warned(design: Design, refused: Mapping[Place, str]) -> Design:
    """Return the design with a note for each row and number of images that will fail."""
    reasons = {(place.row, place.ipc): reason for place, reason in refused.items()}
    notes = [
        f"{row} with {counted(ipc, 'image')} per class will fail: {why}"
        for (row, ipc), why in reasons.items()
    ]
    return replace(design, notes=(*design.notes, *notes))
