"""What a run will refuse, as far as that can be told without torch: `--dry-run` refuses it as well."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from condense.data.ahead import check_images_ahead
from condense.engine.parts import parts_of
from condense.engine.plan import Plan, make_plan
from condense.errors import ModelError, OptionError, UnknownNameError, no_checkpoint
from condense.recipe.config import Machine, RunConfig
from condense.recipe.registry import Registry
from condense.recipe.sources import sources_of_run
from condense.runs.journal import check_same_recipe, check_same_sources, earlier_config, other_machine
from condense.storage.run_folder import RunFolder

# The packages that networks come from, by the name of the network's spec.
_PACKAGES = {"timm": "timm", "hf-hub": "timm", "torchvision": "torchvision"}
_PRECISIONS = {"bf16": "bfloat16", "fp32": "float32"}


def check_run_ahead(
    config: RunConfig, path: Path, registry: Registry, *, resume: bool, given: Collection[str] = ()
) -> Plan:
    """Return the plan of a run in the folder `path`. given: the keys of the settings that its user gave.

    Raises CondenseError, as the run would, for: settings that contradict each other, a folder that is taken, a run that
    cannot go on, a checkpoint, a folder of images or of a network that is not there, more images per class than there
    are.
    """
    plan = make_plan(config, registry)
    check_teacher_is_needed(plan, given)
    if resume:
        _check_resumed(config, path, registry)
    else:
        RunFolder.check_free(path)
    check_images_ahead(config.recipe, registry)
    # A run that goes on has a copy of the teacher, once it has one at all.
    copied = resume and RunFolder(path).teacher.exists()
    check_files_ahead(plan, teacher=not copied)
    return plan


def check_teacher_is_needed(plan: Plan, given: Collection[str]) -> None:
    """Raise OptionError if a run of its own was given settings of a teacher, and no component and no label needs one.

    given: the keys of the settings. The teacher's network and seed count elsewhere too: other networks may be like it.
    """
    if plan.needs_teacher:
        return
    checkpoint = plan.recipe.teacher.checkpoint
    of_teacher = [key for key in given if key.startswith("teacher.")]
    idle = [key for key in of_teacher if key != "teacher.seed" and not key.startswith("teacher.model")]
    if checkpoint or idle:
        raise OptionError(
            f"{f'--teacher {checkpoint}' if checkpoint else idle[0]} has no effect: no component of "
            f"{plan.recipe.method!r} and no label needs a teacher; leave it out"
        )


def check_files_ahead(plan: Plan, *, teacher: bool = True) -> None:
    """Raise ModelError for a checkpoint, a folder of a network or a package that is not there.

    teacher: whether the checkpoint will be read.
    """
    recipe = plan.recipe
    checkpoint = Path(recipe.teacher.checkpoint)
    if teacher and plan.needs_teacher and recipe.teacher.checkpoint and not checkpoint.is_file():
        raise no_checkpoint(checkpoint)
    for name in _networks(plan):
        kind, _, argument = name.partition(":")
        if kind in _PACKAGES:
            _check_library(name, _PACKAGES[kind], "" if kind == "hf-hub" else argument)


def _check_library(name: str, package: str, wanted: str) -> None:
    """Raise CondenseError if a library is not there, or has no network of the name that is wanted ("" for any)."""
    found = importlib.util.find_spec(package)
    if found is None:
        raise ModelError(f"{name} needs the package {package}, which is not installed: pip install {package}")
    place, colon, path = wanted.partition(":")
    if colon:
        if place == "local-dir" and not (Path(path) / "config.json").is_file():
            raise ModelError(f"there is no network {name}: {path} has no config.json")
        return
    # Importing the library would import torch, so its source is searched. A tag of weights comes after a dot.
    stem = wanted.partition(".")[0].lower()
    if stem and stem not in _words(found.submodule_search_locations or ()):
        raise UnknownNameError(
            f"unknown {package} model {wanted!r}: the installed {package} has no such network"
        )


def _words(places: Iterable[str]) -> frozenset[str]:
    """Return all words in the sources of a library's networks; the names of the networks are among them."""
    texts = (
        file.read_text(encoding="utf-8", errors="replace")
        for place in places
        for file in sorted((Path(place) / "models").rglob("*.py"))
    )
    return frozenset(word.lower() for text in texts for word in re.findall(r"\w+", text))


def _networks(plan: Plan) -> Iterator[str]:
    """Yield the names of the networks of a run, and of those that an ensemble consists of."""
    for part in parts_of(plan):
        members: Iterable[str] = part.use.options.get("members", ())
        yield from (part.use.name, *members)


def _check_resumed(config: RunConfig, path: Path, registry: Registry) -> None:
    earlier = earlier_config(path, registry)
    data = RunFolder.open(path).read()
    check_same_recipe(path, config, earlier, data)
    check_same_sources(path, data.get("sources", {}), sources_of_run(config, registry))
    _check_same_machine(path, config.machine, str(data["host"]["computes"]))


def _check_same_machine(path: Path, machine: Machine, before: str) -> None:
    """Raise StorageError for a device or precision that is asked for and that the run was not started with.

    before: the device and the precision, such as "cpu, float32". What is "auto" passes.
    """
    device, precision, *further = before.split(", ")
    kind = machine.device.partition(":")[0]
    wanted_device = device if kind == "auto" else kind
    wanted_precision = _PRECISIONS.get(machine.precision, precision)
    if (wanted_device, wanted_precision) != (device, precision):
        raise other_machine(path, before, ", ".join([wanted_device, wanted_precision, *further]))
