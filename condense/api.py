"""The Python interface: what the command line is a thin layer on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from condense.comparison.design import Design, make_design
from condense.comparison.rows import ablate_rows, compare_rows, sweep_rows
from condense.comparison.terms import TermOptions, terms_of
from condense.recipe.config import config_from_dict, configure, run_path
from condense.recipe.registry import Registry, default_registry
from condense.recipe.settings import Settings, pairs_of
from condense.runs.journal import saved_config
from condense.runs.pipeline import run as run_config
from condense.runs.reevaluate import reevaluate
from condense.runs.result import EvaluationResult, RunResult
from condense.runs.teachers import Teachers
from condense.runtime import Reporter
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset

if TYPE_CHECKING:
    from condense.comparison.work import ComparisonResult
    from condense.runtime import Reporter


def run(
    *,
    method: str,
    dataset: str = "fashion-mini",
    ipc: int = 10,
    seed: int = 0,
    out: str | Path = "runs",
    name: str | None = None,
    settings: Settings = (),
    without: Sequence[str] = (),
    protocol: str | None = None,
    students: int = 3,
    reference: bool = True,
    data_dir: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    validation: float = 0.0,
    resume: bool = False,
    teachers: str | Path | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> RunResult:
    """Condense a dataset with a method and measure the outcome.

    method, dataset: names; `condense methods` and `condense datasets` list them. ipc: images per class.
    out/name: the run directory; without a name one is made from method, dataset, ipc and seed, with a number
    behind it where that is taken. settings: dotted keys to values, see `condense.recipe.settings`. without: targets or
    regularizers to leave out. protocol: how students are trained; the method's own by default. students: how
    many; 0 measures nothing. reference: evaluate random real images of equal ipc beside. data_dir: where
    datasets lie. device, precision: see `condense.runtime`. validation: the share of the training images that
    stands in for the test images, for tuning. resume: go on with the run in out/name. teachers: a folder where trained
    teachers are kept, and taken from by later runs whose teacher would be the same.

    Raises CondenseError, whose text says what was wanted, what came and what to do next.
    """
    registry = registry or default_registry()
    config = configure(
        registry,
        method=method,
        dataset=dataset,
        protocol=protocol,
        settings=pairs_of(settings),
        without=without,
        ipc=ipc,
        seed=seed,
        students=students,
        reference=reference,
        data_dir=str(data_dir or ""),
        device=device,
        precision=precision,
        validation=validation,
    )
    path = run_path(config, Path(out), name, resume=resume)
    return run_config(
        config,
        path,
        registry=registry,
        reporter=reporter,
        resume=resume,
        teachers=Teachers(Path(teachers)) if teachers else None,
    )


def repeat(
    earlier: str | Path,
    *,
    out: str | Path = "runs",
    name: str | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> RunResult:
    """Run again what a run.json (or the run directory it lies in) describes.

    out/name: the new run directory, as for `run`. resume: go on with that very run, where it lies, instead.
    """
    registry = registry or default_registry()
    earlier = Path(earlier)
    config = config_from_dict(saved_config(earlier), registry)
    if resume:
        path = earlier if earlier.is_dir() else earlier.parent
    else:
        path = run_path(config, Path(out), name, resume=False)
    return run_config(config, path, registry=registry, reporter=reporter, resume=resume)


def save(distilled: DistilledDataset, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a distilled dataset as an artifact folder `path`, whole or not at all.

    Raises StorageError where it cannot be written, or where `path` exists and `overwrite` is False.
    """
    artifact.save(distilled, path, overwrite=overwrite)


def load(path: str | Path) -> DistilledDataset:
    """The distilled dataset in an artifact folder or a run directory: a torch Dataset of (image, label, weight).

    Raises StorageError where there is none.
    """
    return artifact.load(path)


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


def evaluate(
    path: str | Path,
    *,
    protocol: str | None = None,
    dataset: str | None = None,
    students: int = 3,
    seed: int | None = None,
    settings: Sequence[tuple[str, Any]] = (),
    teacher: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> EvaluationResult:
    """Train students on an earlier artifact, alone or inside its run directory, and test them on real images.

    protocol, dataset: names; the artifact's own by default. settings: dotted keys of protocol, student, teacher,
    evaluator or dataset. data_dir: where datasets lie; by default where the run found them. teacher: its weights,
    where the labels need it and they do not lie beside the artifact.
    Raises CondenseError as `run` does.
    """
    return reevaluate(
        path,
        protocol=protocol,
        dataset=dataset,
        students=students,
        seed=seed,
        settings=settings,
        teacher=teacher,
        data_dir=data_dir,
        device=device,
        precision=precision,
        reporter=reporter,
        registry=registry,
    )


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
