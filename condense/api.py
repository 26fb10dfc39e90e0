"""The Python interface: what the command line is a thin layer on. Functions import what they compute with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from condense.comparison.design import Design, design_comparison
from condense.comparison.outcome import Kind
from condense.comparison.terms import ComparisonOptions
from condense.errors import checked_path
from condense.executors.catalog import chosen_executor
from condense.executors.executor import Executor
from condense.recipe.config import Machine, RunConfig
from condense.recipe.registry import Registry, default_registry
from condense.recipe.resolve import configure, run_path
from condense.recipe.settings import Settings

if TYPE_CHECKING:
    from condense.comparison.work import ComparisonResult
    from condense.runs.estimate import Estimate
    from condense.runs.result import EvaluationResult, RunResult
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
    loaders: int | None = None,
    jpeg_decoder: str = "cpu",
    keep_minutes: float = 5.0,
    compile: str = "auto",
    validation: float = 0.0,
    resume: bool = False,
    teachers: str | Path | None = None,
    executor: str = "local",
    workers: int | None = None,
    address: str = "",
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> RunResult:
    """Condense a dataset with a method and measure the outcome.

    method, dataset: names; `condense methods` and `condense datasets` list them.
    ipc: images per class.
    seed: of everything random.
    out, name: the run directory is out/name; without a name one is made from method, dataset, ipc, seed and a number.
    settings: dotted keys to values, such as {"recover.lr": 0.1}; `condense run --dry-run` lists them all.
    without: targets or regularizers to leave out.
    protocol: how students are trained; by default the method's own.
    students: how many; 0 measures nothing.
    reference: whether students also learn from as many random real images.
    data_dir: the folder of datasets.
    device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1" or "mps".
    precision: "auto" (bfloat16 where it is fast), "bf16" or "fp32".
    loaders: processes that decode images from files; 0 for threads of this one, None to choose by the cores. The
        workers of another executor than "local" decode with threads.
    jpeg_decoder: "cpu", or "cuda" to decode JPEG files that are read at each pass on the device; pixels differ.
    keep_minutes: after how many minutes the next epoch of an unfinished training, or the next step of a chunk's
        recovery, is kept for `resume`; 0 keeps every one. It changes no result.
    compile: "on" compiles the passes of networks in recover and in students' training, "off" does not, and "auto" does
        where there are enough steps to pay for it. The same seed gives the same bytes for each, and others for another.
        "graphs" is "on" with the kernels of a pass captured as one CUDA graph.
    validation: the fraction of the training images that replaces the test images, for tuning.
    resume: go on with the run in out/name.
    teachers: a folder of trained teachers. A later run whose teacher would be the same takes it from there.
    executor: who does the pieces of the run: "local" (this process), "processes", or one of a plugin. Workers in other
        processes import the calling script, which must keep its own work below `if __name__ == "__main__":`.
    workers: how many workers the executor has; None for its own choice. "local" has none but this process.
    address: where the executor is reached, if it has an address.
    reporter: told about the progress.
    registry: what plugins offer; by default the installed ones.

    Raises CondenseError, whose text says what was wanted, what came and what to do next.
    """
    from condense.runs.journal import check_plugin_files

    registry = registry or default_registry()
    chosen = chosen_executor(registry, executor, workers=workers, loaders=loaders, address=address)
    if resume and name:
        check_plugin_files(Path(out) / name, registry)
    config = configure(
        registry,
        method=method,
        dataset=dataset,
        ipc=ipc,
        protocol=protocol,
        settings=settings,
        without=without,
        seed=seed,
        validation=validation,
        students=students,
        reference=reference,
        data_dir=str(data_dir or ""),
        device=device,
        precision=precision,
        loaders=loaders if chosen.alone else 0,
        jpeg_decoder=jpeg_decoder,
        keep_minutes=keep_minutes,
        compile=compile,
    )
    path, given = run_path(config.recipe, Path(out), name, resume=resume), dict(settings)
    return start(
        config, path, registry, reporter, resume=resume, teachers=teachers, executor=chosen, given=given
    )


def start(
    config: RunConfig,
    path: Path,
    registry: Registry,
    reporter: Reporter | None = None,
    *,
    resume: bool = False,
    teachers: str | Path | None = None,
    executor: Executor | None = None,
    given: Collection[str] = (),
) -> RunResult:
    """Carry out a resolved configuration in the run directory `path`.

    executor: as `condense.executors.catalog.chosen_executor` returns it.
    given: the keys of the settings that the user gave, which are refused if they have no effect. The other arguments
    are those of `run`.
    """
    from condense.runs.pipeline import run
    from condense.runs.teachers import Teachers

    return run(
        config,
        path,
        registry=registry,
        reporter=reporter,
        resume=resume,
        teachers=Teachers(checked_path(teachers), registry) if teachers else None,
        executor=executor,
        given=given,
    )


def repeat(
    earlier: str | Path,
    *,
    out: str | Path = "runs",
    name: str | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    yes: bool = False,
    executor: str = "local",
    workers: int | None = None,
    address: str = "",
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> RunResult:
    """Run again what a run.json, or the run directory that holds it, describes.

    out, name: the new run directory, as for `run`. resume: go on with that very run instead, where it lies.
    data_dir: the folder of datasets; by default that of the earlier run.
    yes: do what its settings ask for, also if somebody else chose them: read a folder or a file, fetch a dataset or
        weights, train for very long. Runs that were made here need no yes.
    executor, workers, address: as for `run`.

    Raises CondenseError as `run` does.
    """
    from condense.data.fetching import fetching_nothing
    from condense.runs.repeat import repeated

    registry = registry or default_registry()
    chosen = chosen_executor(registry, executor, workers=workers, address=address)
    folder = str(data_dir or "")
    found = repeated(
        Path(earlier), registry, out=Path(out), name=name, resume=resume, data_dir=folder, yes=yes
    )
    with fetching_nothing(when=not found.trusted):
        return start(found.config, found.path, registry, reporter, resume=resume, executor=chosen)


def evaluate(
    path: str | Path,
    *,
    protocol: str | None = None,
    dataset: str | None = None,
    student: str | Sequence[str] | None = None,
    students: int = 3,
    seed: int | None = None,
    settings: Settings = (),
    teacher: str | Path | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    loaders: int | None = None,
    jpeg_decoder: str = "cpu",
    compile: str = "auto",
    keep_minutes: float = 5.0,
    yes: bool = False,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> EvaluationResult:
    """Train students on an earlier artifact, alone or inside its run directory, and test them on real images.

    path: a folder, or "hf:OWNER/NAME" on the Hugging Face hub. protocol, dataset: names; by default the artifact's own.
    student: one network or several, each judged by itself under the one protocol, such as "resnet18" or
        "convnet(width=64)"; by default the protocol's.
    students: how many of each network, at least 1. seed: of everything random; by default the run's.
    settings: dotted keys to values, of protocol, student, teacher, evaluator or dataset.
    teacher: a file with its weights, if the labels need it and it does not lie beside the artifact.
    out: the folder for the table, Markdown and JSON; by default `evaluations` in the run, none for an artifact alone.
    data_dir: the folder of datasets; by default where the run found them.
    yes: do what the artifact's own settings ask for, also if somebody else chose them: read a folder, fetch a dataset
        or weights, train for more than 10,000 epochs. What is named here, and runs that were made here, need no yes.
    device, precision, loaders, jpeg_decoder, compile, keep_minutes, reporter, registry: as for `run`. What is kept lies
        beside the table. The same evaluation goes on from there, and takes finished students as they are.

    Raises CondenseError as `run` does.
    """
    from condense.recipe.networks import split_networks
    from condense.recipe.settings import assign, pairs_of
    from condense.runs.reevaluate import reevaluate
    from condense.storage.hub import located

    registry = registry or default_registry()
    machine = Machine(data_dir=str(data_dir or ""))
    own = {"device": device, "precision": precision, "jpeg_decoder": jpeg_decoder, "compile": compile}
    for key, value in {**own, "loaders": loaders, "keep_minutes": keep_minutes}.items():
        machine = assign(machine, key, value, registry)
    return reevaluate(
        located(path),
        registry,
        protocol=protocol,
        dataset=dataset,
        networks=split_networks(student or ()),
        students=students,
        seed=seed,
        settings=pairs_of(settings),
        teacher=checked_path(teacher) if teacher else None,
        out=checked_path(out) if out else None,
        machine=machine,
        reporter=reporter,
        yes=yes,
    )


def plan(
    *,
    throughput: str | None = None,
    budget_time: str | None = None,
    budget_memory: str | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
    **what: Any,
) -> Estimate:
    """Return what a run would take: work, seconds, memory, bytes on disk. The dataset need not be there.

    Nothing is fetched from the Hugging Face hub, so a dataset "hf:NAME" has to be in its cache.

    throughput: of another machine, "forward=N,backward=N" in images per second, and "load=N" for images read from
        disk; by default a few steps are timed on this machine.
    budget_time, budget_memory: such as "2h" and "8GB"; the result says what to change to fit them.
    what: the run, as for `run`: method, dataset, ipc, settings, ...

    Raises CondenseError as `run` does.
    """
    from condense.data.fetching import fetching_nothing
    from condense.engine.price import parse_bytes, parse_duration, parse_throughput
    from condense.runs.estimate import estimate

    registry = registry or default_registry()
    rates = None if throughput is None else parse_throughput(throughput)
    seconds = None if budget_time is None else parse_duration(budget_time)
    size = None if budget_memory is None else parse_bytes(budget_memory)
    with fetching_nothing():
        config = configure(registry, **what)
        return estimate(
            config,
            registry,
            throughput=rates,
            budget_time=seconds,
            budget_memory=size,
            reporter=reporter,
            given=dict(what.get("settings", ())),
        )


def compare(methods: str | Sequence[str], **options: Unpack[ComparisonOptions]) -> ComparisonResult:
    """Compare methods under the same teacher, students, protocols, seeds and test images.

    methods: names; others are compared to the first. options: see `condense.comparison.terms.ComparisonOptions`.

    A row that fails says why (`ComparisonResult.failures`), and the others go on. Raises CondenseError for names and
    settings that do not fit, before any work, and for what all rows need.
    """
    return _compare("compare", methods, options)


def sweep(method: str, **options: Unpack[ComparisonOptions]) -> ComparisonResult:
    """Compare one method with every combination of the settings that list several values: "0.1,1", or a list.

    Others are compared to the first combination. Everything else is as in `compare`.
    """
    return _compare("sweep", method, options)


def ablate(method: str, **options: Unpack[ComparisonOptions]) -> ComparisonResult:
    """Compare one method with its variants, or without each of its components. Everything else is as in `compare`."""
    return _compare("ablate", method, options)


def _compare(kind: Kind, methods: str | Sequence[str], options: ComparisonOptions) -> ComparisonResult:
    given: dict[str, Any] = dict(options)
    registry = given.pop("registry", None) or default_registry()
    out, reporter = given.pop("out", "runs"), given.pop("reporter", None)
    who, loaders = given.pop("executor", "local"), given.get("loaders")
    asked = {key: given.pop(key) for key in ("workers", "address", "jobs") if key in given}
    executor = chosen_executor(registry, who, loaders=loaders, **asked)
    if not executor.alone:
        given["loaders"] = 0
    design = design_comparison(kind, methods, registry, **given)
    return carry_out(design, Path(out), registry, reporter, executor=executor)


def carry_out(
    design: Design,
    out: Path,
    registry: Registry,
    reporter: Reporter | None = None,
    *,
    executor: Executor | None = None,
) -> ComparisonResult:
    """Make a comparison that was designed, and write its files. executor: who does its pieces."""
    from condense.comparison import work
    from condense.comparison.report.write import write_all

    result = work.carry_out(design, checked_path(out), registry, reporter, executor=executor)
    write_all(result.outcome, result.summary, result.path)
    return result
