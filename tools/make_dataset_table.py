"""Write the table of datasets in docs/datasets.md from the catalogue: `python tools/make_dataset_table.py`.

Imports no torch. tests/test_dataset_table.py fails if the page does not have what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from condense.data.catalog import DATASETS
from condense.recipe.specs import IMAGE_KINDS, DatasetSpec

PAGE = Path(__file__).parents[1] / "docs" / "datasets.md"
BEGIN = "<!-- datasets: made by tools/make_dataset_table.py -->"
END = "<!-- end of datasets -->"

# The datasets for which the authors of a method published settings that the recipe here follows. A preset alone does
# not say that: some presets exist because nothing is published.
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "wmdd": ("imagenette", "tiny-imagenet", "imagenet-1k"),
    "sre2l": ("cifar100", "tiny-imagenet", "imagenet-1k"),
    "cda": ("tiny-imagenet", "imagenet-1k"),
    "g-vbsm": ("cifar10", "cifar100", "tiny-imagenet", "imagenet-1k"),
    "rded": ("cifar10", "cifar100", "tiny-imagenet", "imagenette", "imagewoof", "imagenet-1k"),
    "dm": ("mnist", "cifar10", "cifar100", "tiny-imagenet"),
    "dc": ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"),
    "dsa": ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"),
    "idc": ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"),
    "ncfm": ("cifar10", "cifar100", "tiny-imagenet", "imagenette", "imagewoof"),
}

HEADER = (
    *("dataset", "classes", "training + test images", "side", "kind", "licence", "how it comes"),
    *("looked for in the data folder", "methods with published settings"),
)


def table() -> str:
    """Return the table, a row for each dataset."""
    lines = [HEADER, ("---",) * len(HEADER), *map(tuple, map(_row, DATASETS))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(spec: DatasetSpec) -> Iterator[str]:
    training, tests = spec.images
    yield f"`{spec.name}:{spec.takes}`" if spec.takes else f"`{spec.name}`"
    yield str(spec.classes or "any")
    yield f"{training} + {tests}" if training else "any"
    yield str(spec.side or "any")
    yield spec.like if spec.like in IMAGE_KINDS else "found from the images"
    yield spec.licence or "yours"
    yield spec.fetched
    yield spec.looked_for or "–"
    methods = [f"`{method}`" for method, names in PUBLISHED.items() if spec.name in names]
    yield ", ".join(methods) or "–"


def with_table(page: str) -> str:
    """Return the page with the part between the two markers made anew. Raises ValueError if a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
