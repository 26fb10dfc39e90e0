"""What a run will refuse, as far as that can be told without torch: `--dry-run` refuses it as well."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from condense.data.ahead import check_images_ahead
from condense.engine.plan import Plan, make_plan
from condense.errors import ModelError, no_checkpoint
from condense.recipe.config import Machine, RunConfig
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.resolve import config_from_dict
from condense.runs.journal import check_same_recipe, other_machine, saved_config
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder

_LOCAL = "local-dir:"
# The packages that networks come from, by the name of the network's spec.
_PACKAGES = {"timm": "timm", "hf-hub": "timm", "torchvision": "torchvision"}
_PRECISIONS = {"bf16": "bfloat16", "fp32": "float32"}


def check_run_ahead(config: RunConfig, path: Path, registry: Registry, *, resume: bool) -> Plan:
    """Return the plan of a run in the folder `path`.

    Raises CondenseError, as the run would, for: settings that contradict each other, a folder that is taken, a run that
    cannot go on, a checkpoint, a folder of images or of a network that is not there, more images per class than there
    are.
    """
    plan = make_plan(config, registry)
    if resume:
        _check_resumed(config, path, registry)
    else:
        RunFolder.check_free(path)
    check_images_ahead(config.recipe, registry)
    # A run that goes on has a copy of the teacher, once it has one at all.
    copied = resume and RunFolder(path).teacher.exists()
    check_files_ahead(plan, teacher=not copied)
    return plan


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
        package = _PACKAGES.get(kind, "")
        if package and importlib.util.find_spec(package) is None:
            raise ModelError(
                f"{name} needs the package {package}, which is not installed: pip install {package}"
            )
        folder = Path(argument.removeprefix(_LOCAL))
        if argument.startswith(_LOCAL) and not (folder / "config.json").is_file():
            raise ModelError(f"there is no network {name}: {folder} has no config.json")


def _networks(plan: Plan) -> Iterator[str]:
    """Yield the names of the networks of a run, and of those that an ensemble consists of."""
    recipe, evaluation = plan.recipe, plan.evaluation
    uses: list[Use] = [recipe.teacher.model] if plan.needs_teacher else []
    uses += [recipe.random_network] if any(loss.needs.network == "random" for loss in plan.losses) else []
    uses += [evaluation.student_network(recipe.teacher)] if evaluation.students else []
    for use in uses:
        members: Iterable[str] = use.options.get("members", ())
        yield from (use.name, *members)


def _check_resumed(config: RunConfig, path: Path, registry: Registry) -> None:
    earlier = config_from_dict(saved_config(path), registry)
    data = read_json(RunFolder.open(path).run_json)
    check_same_recipe(path, config, earlier, data)
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
