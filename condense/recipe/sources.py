"""Which plugins take part in a run, and what their source is: its hash stands for a plugin beside its version."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from condense.recipe.config import Evaluation, Recipe, RunConfig
from condense.recipe.method import Teacher, Use
from condense.recipe.registry import HOST, PluginStatus, Registry
from condense.recipe.source_text import source_digest

# The kind and the name of something that a plugin offers.
Part = tuple[str, str]


def parts_of(recipe: Recipe) -> list[Part]:
    """Return everything that takes part in making the images of a recipe."""
    uses = [("method", recipe.method), ("initializer", recipe.initializer.name)]
    uses += [("parametrization", recipe.parametrization.name)]
    uses += [("feature target", name) for name in recipe.targets]
    uses += [("regularizer", name) for name in recipe.regularizers]
    uses += [("dataset", recipe.dataset.name.partition(":")[0])]
    networks = [recipe.teacher.model, recipe.random_network, recipe.pool_network]
    if recipe.select.students:
        uses += [("initializer", name) for name in recipe.select.starts]
        networks += [recipe.judge_network] if recipe.judge_network else []
    return [*uses, *(part for network in networks for part in models_of(network))]


def judges_of(evaluation: Evaluation, teacher: Teacher) -> list[Part]:
    """Return everything that takes part in an evaluation."""
    return [("evaluator", evaluation.evaluator.name), *models_of(evaluation.student_network(teacher))]


def plugins_of(parts: Iterable[Part], registry: Registry) -> list[PluginStatus]:
    """Return the plugins that offer these parts, without condense itself."""
    names = {registry.plugin_of(kind, name) for kind, name in parts}
    return [
        status
        for status in registry.plugins
        if status.name in names and status.name != HOST and not status.problem
    ]


def plugin_marks(parts: Iterable[Part], registry: Registry) -> dict[str, str]:
    """Return the versions of the plugins that offer these parts, with the hashes of their sources.

    Results must not mix the work of two versions, nor of two states of a plugin that is being written.
    """
    parts = list(parts)
    sources = sources_of(parts, registry)
    return {
        f"plugin {status.name}": f"{status.version} {sources.get(status.name, '')}"
        for status in plugins_of(parts, registry)
    }


def sources_of_run(config: RunConfig, registry: Registry) -> dict[str, str]:
    """Return the hash of the source of each plugin that takes part in a run, by the plugin's name."""
    return sources_of(_parts_of_run(config), registry)


def files_of_run(config: RunConfig, registry: Registry) -> dict[str, str]:
    """Return the path of each plugin of one file that takes part in a run, by the plugin's name."""
    taking_part = plugins_of(_parts_of_run(config), registry)
    return {status.name: status.file for status in taking_part if status.of_file}


def _parts_of_run(config: RunConfig) -> list[Part]:
    parts = parts_of(config.recipe)
    if config.evaluation.students:
        parts += judges_of(config.evaluation, config.recipe.teacher)
    return parts


def sources_of(parts: Iterable[Part], registry: Registry) -> dict[str, str]:
    """Return the hash of the source of each plugin that offers one of these parts, by the plugin's name.

    A plugin whose source cannot be found is left out.
    """
    hashes = {
        status.name: status.source or source_hash(status.module) for status in plugins_of(parts, registry)
    }
    return {name: found for name, found in hashes.items() if found}


@functools.cache
def source_hash(module: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of all Python files of a module's package; "" if there are none.

    Comments and layout do not count.

    That is the outermost package above the module that has an `__init__.py`, or the module's own file without one. It
    is read once in a process, which has imported the code by then.
    """
    names = module.partition(":")[0].split(".")
    for depth in range(1, len(names) + 1):
        try:
            spec = importlib.util.find_spec(".".join(names[:depth]))
        except (ImportError, ValueError):  # It is not there, or was made without a file.
            return ""
        if spec is None:
            return ""
        if spec.origin and Path(spec.origin).is_file():
            return _digest(Path(spec.origin), package=bool(spec.submodule_search_locations))
    return ""


def _digest(file: Path, *, package: bool) -> str:
    paths = sorted(file.parent.rglob("*.py")) if package else [file]
    # Names without the folder above, so that the same plugin elsewhere has the same hash.
    return source_digest((path.relative_to(file.parent).as_posix(), path.read_bytes()) for path in paths)


def models_of(use: Use) -> list[Part]:
    """Return a network and the networks that it consists of."""
    return [("model", name.partition(":")[0]) for name in (use.name, *use.options.get("members", ()))]
