"""Resolving names and settings into a configuration.

Settings are dotted keys. They are applied in this order, later ones winning: the method's own, the dataset's for every
method, the method's presets for the images per class, the kind of images and the dataset, and the user's. What a
method's presets say of the protocol is for its own protocol alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from condense.errors import OptionError, checked_path, unknown_name
from condense.recipe.config import Evaluation, Recipe, RunConfig
from condense.recipe.effects import refuse_without_effect
from condense.recipe.method import AS_THE_PROTOCOL_SAYS, Method, Use
from condense.recipe.misfits import converted
from condense.recipe.presets import OWN_OPTIONS, PRESET
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.settings import Pair, Settings, assign, complete, network_of, options_of, pairs_of
from condense.recipe.specs import ImageKind

T = TypeVar("T")

# The settings of the students that select images, and those that are decided elsewhere.
_JUDGE, _PROTOCOL = "judge.", "protocol."
_FIXED = {
    "epochs": "the students that judge have select.epochs",
    **dict.fromkeys(("name", "summary", "source"), "it is that of the method's protocol"),
}


def config_from_dict(data: Mapping[str, Any], registry: Registry) -> RunConfig:
    """Return the configuration that `RunConfig.to_dict` gave. Raises OptionError saying what does not fit."""
    return complete(convert(data, RunConfig), registry)


def convert(data: Any, kind: type[T]) -> T:
    """Return plain data as one of the groups, or all of them. Raises OptionError saying what does not fit."""
    try:
        return converted(data, kind, "the settings")
    except ValueError as error:
        raise OptionError(f"these are not the settings of a run: {error}") from error


def kind_of_dataset(use: Use, registry: Registry) -> tuple[Use, ImageKind]:
    """Return a dataset with the kind of its images found and kept in its options, and the kind."""
    spec, argument = registry.dataset(use.name)
    kind = spec.kind_of(options_of(use, "dataset", registry), argument)
    if spec.like == kind:
        return use, kind
    return replace(use, options={**use.options, "like": kind}), kind


class OwnOptions(TypedDict, total=False):
    """The options of a run that have a name of their own and are no settings, as in `condense.run`."""

    seed: int
    validation: float
    students: int
    reference: bool
    data_dir: str
    device: str
    precision: str
    loaders: int | None
    jpeg_decoder: str
    keep_minutes: float
    compile: str


def configure(
    registry: Registry,
    *,
    method: str,
    dataset: str = "fashion-mini",
    ipc: int = 10,
    protocol: str | None = None,
    settings: Settings = (),
    without: Sequence[str] = (),
    alone: bool = True,
    network: str = "",
    **own: Unpack[OwnOptions],
) -> RunConfig:
    """Resolve names and settings into a configuration.

    method, dataset, protocol: names; by default the method's own protocol.
    ipc: images per class; also chooses the method's settings for a number of images per class.
    settings: pairs of dotted key and value; a value may be text, as it comes from a command line.
    without: names of targets or regularizers to leave out.
    alone: whether settings are given for this run alone, so that one without effect is refused.
    network: the name of the teacher's network, if it is not that of the settings, as in a comparison.
    own: other options with a name of their own.

    Raises UnknownNameError or OptionError, which list the valid names and the nearest.
    """
    asked = pairs_of(settings)
    preset = dict(asked).get(PRESET, "")
    given = [(key, value) for key, value in asked if key != PRESET]
    for key, _ in given:
        if key in OWN_OPTIONS:
            raise OptionError(f"{key!r} is an option of its own (--{OWN_OPTIONS[key]}), not one for --set")
    found = registry.method(method)
    spec, _ = registry.dataset(dataset)
    use, kind = named_dataset(registry, dataset, given)
    config = _of_method(found, use, registry.protocol(protocol or found.protocol))
    config = assign(config, "ipc", ipc, registry)
    teacher = network or _named_network(given, registry)
    of_dataset = spec.settings_for(kind, config.evaluation.protocol.name)
    of_method = found.settings_for(spec.name, kind, ipc, str(preset), teacher)
    # What a method's presets say of students belongs to its own protocol.
    its_own = protocol in (None, found.protocol)
    taken = [pair for pair in of_method if its_own or not pair[0].startswith(_PROTOCOL)]
    # The kind of images that was found stays, so that it is looked for once.
    chosen = [(key, value) for key, value in given if key != "dataset.like"]
    for key, value in (*of_dataset, *taken, *chosen, *own.items()):
        if not key.startswith(_JUDGE):
            config = assign(config, key, value, registry)
    of_judge = (*spec.settings_for(kind, found.protocol), *of_method)
    config = _with_judge(config, found, of_judge, chosen, registry)
    for name in without:
        config = _leave_out(config, name)
    recipe = config.recipe
    if recipe.recover.iterations and not recipe.targets:
        raise OptionError(
            f"recover takes {recipe.recover.iterations} steps, and no target is left to match; add one, e.g. "
            "--set targets.cross-entropy=1, or keep the initial images with --iterations 0"
        )
    if alone:
        refuse_without_effect([config], [key for key, _ in given], registry)
    return complete(config, registry)


def _named_network(settings: Iterable[Pair], registry: Registry) -> str:
    """Return the name of the teacher's network that the settings choose, or ""."""
    chosen = dict(settings).get("teacher.model")
    use = network_of(chosen, registry) if isinstance(chosen, str) and chosen else chosen
    return use.name if isinstance(use, Use) else ""


def preset_note(recipe: Recipe, registry: Registry) -> tuple[str, ...]:
    """Return a note if the method's preset for the dataset was chosen with another network than the teacher's."""
    dataset, network = recipe.dataset.name, recipe.teacher.model.name
    # A run may go on, or be repeated, where its method is not installed: the recipe holds all settings.
    methods = {offer.spec.name: offer.spec for offer in registry.offers("method")}
    method = methods.get(recipe.method)
    chosen_with = method.preset_networks.get(dataset, network) if method else network
    if network == chosen_with:
        return ()
    return (
        f"{recipe.method}'s settings for {dataset} were chosen with the teacher {chosen_with}; with {network}, only "
        f"--set {PRESET}={dataset} uses them",
    )


def _of_method(method: Method, dataset: Use, protocol: Protocol) -> RunConfig:
    """Return the configuration that a method brings along, without presets."""
    return RunConfig(
        recipe=Recipe(
            method=method.name,
            dataset=dataset,
            initializer=method.initializer,
            targets=method.targets,
            regularizers=method.regularizers,
            recover=method.recover,
            teacher=method.teacher,
            pool=method.pool,
            parametrization=method.parametrization,
            select=method.select,
        ),
        evaluation=Evaluation(protocol=protocol, student=method.student, evaluator=method.evaluator),
    )


def with_judge(config: RunConfig, registry: Registry) -> RunConfig:
    """Return the configuration with the protocol of its method as `Recipe.judge`, if it has none yet."""
    if config.recipe.judge:
        return config
    judge = registry.protocol(registry.method(config.recipe.method).protocol)
    return replace(config, recipe=replace(config.recipe, judge=judge))


def _with_judge(
    config: RunConfig, method: Method, presets: Sequence[Pair], chosen: Sequence[Pair], registry: Registry
) -> RunConfig:
    """Return the configuration with its judge, if students select images: the method's protocol, with its presets.

    Raises OptionError for chosen settings that have no effect.
    """
    select = config.recipe.select
    of_judge = [key for key, _ in chosen if key.startswith(_JUDGE)]
    if not select.students:
        if of_judge:
            raise OptionError(f"{of_judge[0]} has no effect without select.students=N")
        return config
    for key in of_judge:
        _, _, name = key.partition(".")
        if name in _FIXED:
            raise OptionError(f"{key} cannot be set: {_FIXED[name]}")
    config = with_judge(config, registry)
    if method.student.model.name != AS_THE_PROTOCOL_SAYS:
        config = assign(config, "judge.model", method.student.model, registry)
    for key, value in presets:
        first, _, rest = key.partition(".")
        if first == "protocol" and rest not in _FIXED:
            config = assign(config, _JUDGE + rest, value, registry)
    for key, value in (*presets, *chosen):
        if key.startswith(_JUDGE):
            config = assign(config, key, value, registry)
    return assign(config, "judge.epochs", select.epochs, registry)


def named_dataset(registry: Registry, name: str, settings: Iterable[Pair]) -> tuple[Use, ImageKind]:
    """Return a dataset with those of the settings that are its own, and the kind of its images.

    The kind has to be known before other settings, because it chooses presets that they win over.
    """
    data = _Data(dataset=Use(name=name))
    for key, value in settings:
        if key.startswith("dataset."):
            data = assign(data, key, value, registry)
    return kind_of_dataset(data.dataset, registry)


@dataclass(frozen=True, kw_only=True)
class _Data:
    """A dataset alone, as what its settings are assigned to."""

    dataset: Use


def _leave_out(config: RunConfig, name: str) -> RunConfig:
    recipe = config.recipe
    if name not in recipe.losses:
        raise unknown_name(f"component of {recipe.method}", name, recipe.losses)
    targets, regularizers = (
        {other: weighted for other, weighted in losses.items() if other != name}
        for losses in (recipe.targets, recipe.regularizers)
    )
    return replace(config, recipe=replace(recipe, targets=targets, regularizers=regularizers))


def run_path(recipe: Recipe, out: Path, name: str | None, *, resume: bool) -> Path:
    """Return the run directory: `out`/`name`, or a name made of the recipe with a number if that is taken.

    Raises OptionError for a name that is not one folder name.
    """
    checked_path(out)
    if name:
        return out / folder_name(name)
    stem = f"{recipe.method}-{file_name(recipe.dataset.name)}-ipc{recipe.ipc}-seed{recipe.seed}"
    if resume:
        return out / stem
    candidate, number = out / stem, 2
    while candidate.exists():
        candidate, number = out / f"{stem}-{number}", number + 1
    return candidate


def folder_name(name: str) -> str:
    """Return the name. Raises OptionError unless it is one folder name."""
    if not name or Path(name).name != name or name == "..":
        raise OptionError(f"name {name!r} must be one folder name; choose the folder above it with --out")
    checked_path(name)
    return name


def file_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, hyphens and underscores, 60 at most."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text).strip("-")[:60]
