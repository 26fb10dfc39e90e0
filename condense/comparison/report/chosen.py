"""What the images of a row are where students chose them: recovered ones, or real ones that recovery began with."""

from __future__ import annotations

from collections import Counter

from condense.comparison.outcome import Outcome
from condense.text import counted


def chosen_texts(outcome: Outcome) -> list[str]:
    """Return a line for each row and images per class whose images students chose, with how many seeds kept what."""
    found: dict[tuple[str, int], Counter[str]] = {}
    for images in outcome.distilled:
        if images.kept:
            found.setdefault((images.row, images.ipc), Counter())[images.kept] += 1
    return [
        f"Images of {row}, {counted(ipc, 'image')} per class, chosen from candidates by students: "
        + "; ".join(f"{kept} ({counted(seeds, 'seed')})" for kept, seeds in kinds.most_common())
        + "."
        for (row, ipc), kinds in found.items()
    ]
