"""Train and test students on an earlier artifact, alone or inside its run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from condense.data.dataset import RealDataset
from condense.data.fetching import fetching_nothing
from condense.engine.build import build_component
from condense.engine.components import Evaluator
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.parts import Part
from condense.engine.preflight import preflight
from condense.engine.real import real_dataset
from condense.engine.squeeze import fresh_teacher
from condense.engine.students import StudentTrainer
from condense.engine.teacher_check import check_taught
from condense.errors import CondenseError, DataError, ModelError, OptionError
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import Evaluation, Machine, Recipe, RunConfig, digest, public_settings
from condense.recipe.effects import refuse_without_effect
from condense.recipe.networks import with_network
from condense.recipe.registry import Registry
from condense.recipe.resolve import convert
from condense.recipe.settings import assign, complete, network_of, network_text
from condense.runs import provenance
from condense.runs.evaluations import keep_evaluation, table_path
from condense.runs.foreign import check_wishes
from condense.runs.journal import is_own, naming_plugin_files, saved_config
from condense.runs.kept_students import keeping_students
from condense.runs.machine import runtime_of
from condense.runs.result import EvaluationResult
from condense.runs.teachers import recorded
from condense.runtime import Reporter, Runtime, process_settings
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.files import file_hash

# The settings that an evaluation reads.
_EVALUATED = ("protocol", "student", "teacher", "evaluator", "dataset")


def reevaluate(
    path: Path,
    registry: Registry,
    *,
    protocol: str | None,
    dataset: str | None,
    networks: Sequence[str],
    students: int,
    seed: int | None,
    settings: Sequence[tuple[str, Any]],
    teacher: Path | None,
    out: Path | None,
    machine: Machine,
    reporter: Reporter | None,
    yes: bool,
) -> EvaluationResult:
    """Train and test students on the artifact at `path`; the arguments are those of `condense.evaluate`."""
    if students < 1:
        raise OptionError(f"students must be at least 1 for an evaluation, not {students}")
    distilled = artifact.load(path, registry)
    beside = _run_beside(path, distilled)
    named = (("dataset", dataset), ("protocol", protocol), ("student.model", networks))
    chosen = {key for key, _ in settings} | {key for key, given in named if given}
    if beside:
        dataset = dataset or beside.config.recipe.dataset.name
        machine = replace(machine, data_dir=machine.data_dir or beside.data_dir)
    settings = with_network(settings, networks, key="student.model", option="--student")
    with naming_plugin_files(beside.path if beside else None, registry):
        config = _config(distilled, registry, protocol, dataset, settings)
    recipe = _seeded(config.recipe, seed)
    evaluation = replace(config.evaluation, students=students)
    config = RunConfig(recipe=recipe, evaluation=evaluation, machine=machine)
    judged = _students(config, networks, registry)
    used = [evaluation.student_network(recipe.teacher) for evaluation in judged.values()]
    trusted = yes or (beside is not None and beside.own)
    if not trusted:
        check_wishes(path, config, used, registry, chosen=chosen)
    runtime = runtime_of(machine, reporter)
    with process_settings(runtime):
        with fetching_nothing(when=not trusted and "dataset" not in chosen):
            real = real_dataset(recipe, machine, registry, runtime)
        for note in real.notes:
            runtime.reporter.note(note)
        _check_fits(distilled, real)
        preflight([Part(role="student", use=use) for use in used], real, registry, runtime)
        trainers = _trainers(judged, recipe, real, registry, runtime)
        distilled, answers = _labelled(distilled, config, real, registry, runtime, path, teacher)
        table = table_path(out, beside.path if beside else None, distilled, recipe, judged.values())
        versions = provenance.versions(registry)
        result = EvaluationResult(
            path=path, config=config, distilled=distilled, scores={}, versions=versions, table=table
        )
        with keeping_students(table, judged, distilled, real, config, versions, registry, runtime) as kept:
            for network, trainer in trainers.items():
                title = distilled.method if len(trainers) == 1 else f"{distilled.method}, {network}"
                score = replace(trainer, teacher=answers).score(distilled, title, kept.get(network))
                scores = {**result.scores, network: replace(score, label=distilled.method)}
                result = keep_evaluation(
                    replace(result, scores=scores), runtime.reporter, required=out is not None
                )
    return result


def _seeded(recipe: Recipe, seed: int | None) -> Recipe:
    """Return the recipe with a seed of its students; None leaves it."""
    # The test images may depend on the teacher's seed, so it stays the same.
    recipe = replace(recipe, teacher=replace(recipe.teacher, seed=recipe.teacher_seed))
    return replace(recipe, seed=recipe.seed if seed is None else seed)


def _students(config: RunConfig, networks: Sequence[str], registry: Registry) -> dict[str, Evaluation]:
    """Return the evaluation of each student network, by the network as people write it; without names, of the usual.

    Raises OptionError for a network that is named twice.
    """
    found: dict[str, Evaluation] = {}
    chosen = [network_of(text, registry) for text in networks] if len(networks) > 1 else []
    for use in chosen or [config.evaluation.student.model]:
        student = replace(config.evaluation.student, model=use)
        evaluation = replace(config.evaluation, student=student)
        name = network_text(evaluation.student_network(config.recipe.teacher), registry)
        if name in found:
            raise OptionError(f"student {name} stands twice; name each network once")
        found[name] = evaluation
    return found


def _trainers(
    judged: Mapping[str, Evaluation],
    recipe: Recipe,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
) -> dict[str, StudentTrainer]:
    """Return what trains the students of each network, without a teacher yet."""
    return {
        network: StudentTrainer(
            recipe=recipe,
            evaluation=evaluation,
            evaluator=build_component(evaluation.evaluator, "evaluator", Evaluator, registry),
            dataset=dataset,
            teacher=None,
            registry=registry,
            runtime=runtime,
        )
        for network, evaluation in judged.items()
    }


def _labelled(
    distilled: DistilledDataset,
    config: RunConfig,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    path: Path,
    teacher: Path | None,
) -> tuple[DistilledDataset, Network | None]:
    """Return the images with the labels of the protocol, and the network that students ask during training."""
    labels = LABELS[config.evaluation.protocol.labels]
    wanted = labels.answers or (labels.made_by_teacher and distilled.soft_labels is None)
    if teacher and not wanted:
        raise OptionError(
            f"--teacher {teacher} has no effect: these {labels.name} labels need no teacher; leave it out"
        )
    source = _teacher(distilled, config, dataset, registry, runtime, path, teacher) if wanted else None
    return labels.attach(distilled, source, runtime), labels.during_training(source)


def _config(
    distilled: DistilledDataset,
    registry: Registry,
    protocol: str | None,
    dataset: str | None,
    settings: Sequence[tuple[str, Any]],
) -> RunConfig:
    """Return the settings for an artifact. The plugin that made it need not be installed."""
    if not distilled.settings:
        raise DataError(
            f"artifact {distilled.name!r} does not say how it was made, so that nothing tells how to test it"
        )
    recipe = convert(distilled.settings.get("recipe"), Recipe)
    evaluation = convert(distilled.settings.get("evaluation"), Evaluation)
    if dataset and dataset != recipe.dataset.name:
        same_kind = dataset.partition(":")[0] == recipe.dataset.name.partition(":")[0]
        options = recipe.dataset.options if same_kind else {}
        recipe = replace(recipe, dataset=replace(recipe.dataset, name=dataset, options=options))
    if protocol:
        evaluation = replace(evaluation, protocol=registry.protocol(protocol))
    config = RunConfig(recipe=recipe, evaluation=evaluation)
    if protocol:
        spec, _ = registry.dataset(recipe.dataset.name)
        for key, value in spec.settings_by_protocol.get(protocol, {}).items():
            config = assign(config, key, value, registry)
    for key, value in settings:
        if key.partition(".")[0] not in _EVALUATED:
            raise OptionError(
                f"{key!r} has no effect on an evaluation; there are settings under: {', '.join(_EVALUATED)}"
            )
        config = assign(config, key, value, registry)
    refuse_without_effect([config], [key for key, _ in settings], registry)
    recipe = replace(config.recipe, teacher=complete(config.recipe.teacher, registry))
    return replace(config, recipe=recipe, evaluation=complete(config.evaluation, registry))


@dataclass(frozen=True)
class _Beside:
    """The run directory that an artifact lies in, and the configuration of that run.

    own: whether this user made the run, so that its settings are the user's own.
    """

    path: Path
    config: RunConfig
    own: bool

    @property
    def data_dir(self) -> str:
        """The folder of datasets of the run; "" for a foreign run, which names no folders of this computer."""
        return self.config.machine.data_dir if self.own else ""


def _run_beside(path: Path, distilled: DistilledDataset) -> _Beside | None:
    """Return the run that made an artifact if its run.json lies around it, else None.

    Its settings say where the dataset was found. An artifact does not say that, because it is made to be passed on.
    Raises StorageError or OptionError for a run directory whose run.json does not say what was run.
    """
    if (path / "run.json").is_file():
        return _beside(path, distilled)[0]
    with contextlib.suppress(CondenseError):  # A run.json above an artifact may belong to something else.
        found, same_recipe = _beside(path.parent, distilled)
        return found if same_recipe else None
    return None


def _beside(folder: Path, distilled: DistilledDataset) -> tuple[_Beside, bool]:
    """Return the run in a folder, and whether an artifact says that it was made by the same recipe."""
    try:
        config = convert(saved_config(folder), RunConfig)
    except OptionError as error:
        raise OptionError(f"{folder / 'run.json'}: {error}") from error
    # Not ==, because JSON has lists where settings have tuples.
    same = {
        group: digest(shown) == digest(distilled.settings.get(group))
        for group, shown in public_settings(config.recipe, config.evaluation).items()
    }
    own = all(same.values()) and is_own(folder)
    return _Beside(folder, config, own), same["recipe"]


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


def _teacher(
    distilled: DistilledDataset,
    config: RunConfig,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    path: Path,
    given: Path | None,
) -> LabelledBy:
    """Return the teacher at `given`, else the one beside the artifact. Raises ModelError if there is none."""
    weights = given
    for folder in (path, path.parent):
        beside = folder / "teacher.safetensors"
        # A link could lead to any file of this computer; `find` has looked at those in the artifact itself.
        own = beside.is_file() and (folder == path or not beside.is_symlink())
        if weights is None and own and file_hash(beside) == distilled.teacher_hash:
            weights = beside
    protocol = config.evaluation.protocol
    if weights is None:
        raise ModelError(
            f"protocol {protocol.name!r} has {protocol.labels} labels, which come from the teacher, and no teacher "
            f"lies beside {path}; name its weights with --teacher FILE, or use --set protocol.labels=hard"
        )
    teacher = fresh_teacher(config.recipe, dataset, registry, runtime, to_be_filled=True)
    load_checkpoint(teacher, weights)
    known = file_hash(weights)
    if known != distilled.teacher_hash:
        seen = replace(dataset, mean=distilled.mean, std=distilled.std)
        action = config.recipe.teacher.check
        check_taught(teacher, seen, runtime, origin=str(weights), recorded=recorded(weights), action=action)
    return LabelledBy(network=teacher.frozen(), hash=known, bytes=weights.stat().st_size)
