"""The Python interface of comparisons: what `condense compare`, `sweep` and `ablate` are thin layers on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from condense.comparison.design import Design, make_design
from condense.comparison.rows import ablate_rows, compare_rows, sweep_rows
from condense.comparison.terms import TermOptions, terms_of
from condense.plugins import Registry, default_registry
from condense.settings import Settings

if TYPE_CHECKING:
    from condense.comparison.work import ComparisonResult
    from condense.runtime import Reporter


def compare(
    methods: str | Sequence[str],
    *,
    settings: Settings = (),
    floor: bool = True,
    out: str | Path = "runs",
    jobs: int = 1,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
    **terms: Unpack[TermOptions],
) -> ComparisonResult:
    """Compare methods under the same teacher, students, protocols, seeds and test images.

    methods: names, the first being the one that others are compared to. settings: dotted keys to values, for all
    rows or, as "METHOD:KEY", for one. floor: whether random real images are a row too, where they are not named.
    out: the folder that comparisons share: out/cells, out/teachers, and out/name for the tables. What is finished
    there is used again, what is unfinished goes on. jobs: processes that work on it side by side; they share the
    cores. As they import the calling script, that keeps its own work below `if __name__ == "__main__":`. terms: see
    `TermOptions`.

    A row that fails says why (`ComparisonResult.failures`), and the others go on.
    Raises CondenseError for what is wrong with names or settings, before any work, and for what all rows need.
    """
    registry = registry or default_registry()
    design = design_compare(registry, methods, settings=settings, floor=floor, **terms)
    return _carry_out(design, out, jobs, registry, reporter)


def sweep(
    method: str,
    *,
    settings: Settings = (),
    floor: bool = True,
    out: str | Path = "runs",
    jobs: int = 1,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
    **terms: Unpack[TermOptions],
) -> ComparisonResult:
    """One method with every combination of the settings that list several values: "0.1,1", or a list.

    The first combination is the one that others are compared to. Everything else is as in `compare`.
    """
    registry = registry or default_registry()
    design = design_sweep(registry, method, settings=settings, floor=floor, **terms)
    return _carry_out(design, out, jobs, registry, reporter)


def ablate(
    method: str,
    *,
    settings: Settings = (),
    floor: bool = True,
    out: str | Path = "runs",
    jobs: int = 1,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
    **terms: Unpack[TermOptions],
) -> ComparisonResult:
    """One method and its variants, or without each of its components in turn. Everything else is as in `compare`."""
    registry = registry or default_registry()
    design = design_ablate(registry, method, settings=settings, floor=floor, **terms)
    return _carry_out(design, out, jobs, registry, reporter)


def design_compare(
    registry: Registry,
    methods: str | Sequence[str],
    *,
    settings: Settings = (),
    floor: bool = True,
    **terms: Unpack[TermOptions],
) -> Design:
    """What `compare` would do."""
    named = [methods] if isinstance(methods, str) else list(methods)
    rows = compare_rows(named, settings, floor=floor, registry=registry)
    words = ["compare", *named]
    return make_design("compare", rows, terms_of(**terms), registry, words=words, settings=settings)


def design_sweep(
    registry: Registry,
    method: str,
    *,
    settings: Settings = (),
    floor: bool = True,
    **terms: Unpack[TermOptions],
) -> Design:
    """What `sweep` would do."""
    checked = terms_of(**terms)
    rows = sweep_rows(method, checked.dataset, settings, floor=floor, registry=registry)
    words = ["sweep", "--method", method]
    return make_design("sweep", rows, checked, registry, words=words, settings=settings)


def design_ablate(
    registry: Registry,
    method: str,
    *,
    settings: Settings = (),
    floor: bool = True,
    **terms: Unpack[TermOptions],
) -> Design:
    """What `ablate` would do."""
    checked = terms_of(**terms)
    rows = ablate_rows(method, checked.dataset, settings, floor=floor, registry=registry)
    return make_design("ablate", rows, checked, registry, words=["ablate", method], settings=settings)


def _carry_out(
    design: Design, out: str | Path, jobs: int, registry: Registry, reporter: Reporter | None
) -> ComparisonResult:
    # Up to here no torch is loaded, so that a typing error is answered at once.
    from condense.comparison.work import carry_out

    return carry_out(design, Path(out), registry, reporter, jobs=jobs)
