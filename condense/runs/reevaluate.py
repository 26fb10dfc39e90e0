"""Train and test students on an artifact made earlier, alone or inside its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from condense.data.dataset import RealDataset
from condense.data.load import load_dataset
from condense.engine.evaluate import Bench, Score
from condense.engine.plan import make_plan
from condense.engine.relabel import relabel
from condense.engine.squeeze import fresh_teacher
from condense.errors import DataError, ModelError, OptionError
from condense.models.build import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import RunConfig, config_from_dict
from condense.recipe.method import SAME_AS_TEACHER
from condense.recipe.registry import Registry, default_registry
from condense.recipe.settings import assign, complete
from condense.runs import provenance
from condense.runs.journal import saved_config
from condense.runs.result import EvaluationResult
from condense.runtime import Reporter, Runtime, make_runtime, numeric_settings
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.files import file_hash

# The settings that an evaluation reads.
_EVALUATED = ("protocol", "student", "teacher", "evaluator", "dataset")


def reevaluate(
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
    registry = registry or default_registry()
    distilled = artifact.load(path)
    beside = _run_beside(Path(path))
    if dataset is None and beside:
        dataset = str(beside["dataset"]["name"])
    config = _evaluation_config(distilled, registry, protocol, dataset, settings)
    if students < 1:
        raise OptionError(f"students must be at least 1 for an evaluation, not {students}")
    for key, value in (
        ("students", students),
        ("seed", config.seed if seed is None else seed),
        ("data_dir", str(data_dir or beside.get("data_dir", ""))),
        ("device", device),
        ("precision", precision),
    ):
        config = assign(config, key, value, registry)
    runtime = make_runtime(config.device, config.precision, reporter)
    with numeric_settings(runtime):
        distilled, score = _score(distilled, config, registry, runtime, Path(path), teacher)
    return EvaluationResult(
        path=Path(path),
        config=config,
        distilled=distilled,
        score=score,
        versions=provenance.versions(registry),
    )


def _score(
    distilled: DistilledDataset,
    config: RunConfig,
    registry: Registry,
    runtime: Runtime,
    path: Path,
    teacher: str | Path | None,
) -> tuple[DistilledDataset, Score]:
    """The artifact as students learned from it (with soft labels, if the protocol wants them), and their score."""
    real = load_dataset(config, registry)
    for note in real.notes:
        runtime.reporter.note(note)
    _check_fits(distilled, real)
    network = _teacher_for(distilled, config, real, registry, runtime, path, teacher)
    if network and config.protocol.labels == "soft" and distilled.soft_labels is None:
        distilled = relabel(distilled, network, runtime)
    bench = Bench(
        config=config,
        dataset=real,
        evaluator=make_plan(config, registry).evaluator,
        teacher=network,
        registry=registry,
        runtime=runtime,
    )
    return distilled, bench.score(distilled, distilled.method)


def _evaluation_config(
    distilled: DistilledDataset,
    registry: Registry,
    protocol: str | None,
    dataset: str | None,
    settings: Sequence[tuple[str, Any]],
) -> RunConfig:
    """The configuration under which an artifact is evaluated; the plugin that made it need not be installed."""
    if not distilled.recipe:
        raise DataError(
            f"artifact {distilled.name!r} does not say how it was made, so nothing tells how to test it"
        )
    recipe = {**distilled.recipe, "targets": [], "regularizers": [], "initializer": {"name": "noise"}}
    recipe["recover"] = {**recipe["recover"], "iterations": 0, "network": {"name": SAME_AS_TEACHER}}
    if dataset and dataset != recipe["dataset"]["name"]:
        same_kind = dataset.partition(":")[0] == recipe["dataset"]["name"].partition(":")[0]
        recipe["dataset"] = {"name": dataset, "options": recipe["dataset"]["options"] if same_kind else {}}
    config = config_from_dict(recipe, registry)
    if protocol:
        config = replace(config, protocol=registry.protocol(protocol))
    for key, value in settings:
        section = key.split(".")[0]
        if section not in _EVALUATED:
            raise OptionError(
                f"{key!r} has no effect on an evaluation; there are settings under: {', '.join(_EVALUATED)}"
            )
        config = assign(config, key, value, registry)
    return complete(config, registry)


def _run_beside(path: Path) -> dict[str, Any]:
    """The settings of the run that made an artifact, if its run.json still lies around it; else nothing.

    They say where the dataset was found, which an artifact does not: it is made to be passed on.
    """
    for folder in (path, path.parent):
        if (folder / "run.json").is_file():
            return saved_config(folder)
    return {}


def _check_fits(distilled: DistilledDataset, dataset: RealDataset) -> None:
    if distilled.classes != dataset.classes:
        raise DataError(
            f"the artifact has {len(distilled.classes)} classes ({', '.join(distilled.classes[:3])}, ...) and "
            f"{dataset.name} {len(dataset.classes)} ({', '.join(dataset.classes[:3])}, ...): not the same dataset"
        )
    channels, height, width = distilled.images.shape[1:]
    if channels != dataset.channels or (height, width) != (dataset.size, dataset.size):
        raise DataError(
            f"the artifact's images are {channels}x{height}x{width}, and {dataset.name} is looked at as "
            f"{dataset.channels}x{dataset.size}x{dataset.size} (channels, height, width); if the dataset has an "
            "option size, set it: --set dataset.size=..."
        )


def _teacher_for(
    distilled: DistilledDataset,
    config: RunConfig,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    path: Path,
    given: str | Path | None,
) -> Network | None:
    """The teacher where the protocol's labels need one: the one given, or the one beside the artifact."""
    labels = config.protocol.labels
    if labels == "hard" or (labels == "soft" and distilled.soft_labels is not None):
        return None
    weights = Path(given) if given else None
    for folder in (path, path.parent):
        beside = folder / "teacher.safetensors"
        if weights is None and beside.is_file() and file_hash(beside) == distilled.teacher_hash:
            weights = beside
    if weights is None:
        raise ModelError(
            f"protocol {config.protocol.name!r} has {labels} labels, which come from the teacher, and no teacher "
            f"lies beside {path}; name its weights with --teacher FILE, or use --set protocol.labels=hard"
        )
    teacher = fresh_teacher(config, dataset, registry, runtime, to_be_filled=True)
    load_checkpoint(teacher, weights)
    return teacher.frozen()
