"""What an artifact or a run.json asks of its reader: settings that came with it, and that the reader did not choose."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from condense.errors import OptionError
from condense.recipe.config import HUB, RunConfig
from condense.recipe.method import IMPORTED, Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.settings import flatten
from condense.text import shown_path

# Above these, a protocol that somebody else chose needs a yes. Published ones have 2000 epochs and batches of 1024.
_MOST_EPOCHS = 10_000
_MOST_IN_BATCH = 2**14
# And above these, a recipe. Published ones have 20,000 iterations and 50 images per class.
_MOST_OF_RECIPE: Mapping[str, int] = {
    "ipc": 1000,
    "recover.iterations": 200_000,
    "recover.batch": 2**17,
    "recover.networks": 100,
    "recover.inner.epochs": 1000,
    "recover.measured_views": 1000,
    "teacher.epochs": _MOST_EPOCHS,
    "teacher.measure_batch": _MOST_IN_BATCH,
    "pool.epochs": _MOST_EPOCHS,
    "pool.networks": 1000,
    "select.students": 100,
    "select.epochs": _MOST_EPOCHS,
    "select.snapshots": 1000,
    **dict.fromkeys(
        ("recover.inner.batch_size", "teacher.batch_size", "pool.batch_size", "judge.batch_size"),
        _MOST_IN_BATCH,
    ),
}
_MOST_STUDENTS = 100
# The option that chooses what an earlier run chose otherwise.
_OWN_RUN = "settings of a run of your own"
# Parts of the names of networks that lie in a folder, or on the hub.
_FOLDER, _ON_HUB = "local-dir:", ("hf-hub:", "hf_hub:")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Something that foreign settings ask for.

    what: for people. instead: the option that chooses it.
    """

    what: str
    instead: str


def check_wishes(
    path: Path,
    config: RunConfig,
    students: Iterable[Use],
    registry: Registry,
    *,
    chosen: Collection[str],
) -> None:
    """Raise OptionError that says what an artifact's settings ask for, if that is more than its reader may expect.

    path: the artifact, for the message.
    students: the networks of the students.
    chosen: the keys of the settings that the reader chose: "dataset", "protocol", "student.model" or keys below.

    An artifact never makes its reader open a path or fetch anything that the reader did not name, nor compute for
    days.
    """
    _refuse(
        path,
        [
            *_of_dataset(config, registry, chosen),
            *_of_protocol(config.evaluation.protocol, chosen),
            *_of_networks(config, students, chosen),
        ],
    )


def check_run_wishes(path: Path, config: RunConfig, registry: Registry, *, chosen: Collection[str]) -> None:
    """Raise OptionError like `check_wishes`, for a whole run that is repeated by the settings of somebody else.

    path: the run directory or its run.json. chosen: "data_dir", or nothing.
    """
    folder = "" if "data_dir" in chosen else config.machine.data_dir
    found = [Wish(what=f"the folder of datasets {folder!r}", instead="--data-dir DIR")] if folder else []
    usual = (*_of_dataset(config, registry, ()), *_of_protocol(config.evaluation.protocol, ()))
    found += [replace(wish, instead=_OWN_RUN) for wish in usual]
    _refuse(path, [*found, *_of_recipe(config)])


def _refuse(path: Path, found: Collection[Wish]) -> None:
    if found:
        asked = "; ".join(dict.fromkeys(wish.what for wish in found))
        instead = ", ".join(dict.fromkeys(wish.instead for wish in found))
        raise OptionError(
            f"the settings that came with {shown_path(path)} ask for {asked}. Choose yourself with {instead}, or say "
            "--yes to all of it"
        )


def _of_dataset(config: RunConfig, registry: Registry, chosen: Collection[str]) -> Iterator[Wish]:
    name = config.recipe.dataset.name
    if "dataset" not in chosen and registry.dataset(name)[0].takes:
        kind = (
            "a dataset of the Hugging Face hub" if name.startswith(f"{HUB}:") else "real images in a folder"
        )
        yield Wish(what=f"{kind}, {name!r}", instead="--dataset NAME")


def _of_protocol(protocol: Protocol, chosen: Collection[str]) -> Iterator[Wish]:
    for field, value, most, noun in (
        ("epochs", protocol.epochs, _MOST_EPOCHS, "epochs"),
        ("batch_size", protocol.batch_size, _MOST_IN_BATCH, "images in a batch"),
    ):
        key = f"protocol.{field}"
        if value > most and not {"protocol", key} & set(chosen):
            yield Wish(what=f"{value} {noun} (more than {most})", instead=f"--set {key}=N")


def _of_recipe(config: RunConfig) -> Iterator[Wish]:
    """Yield what only a whole run does: train a teacher, recover images, judge candidates."""
    recipe, students = config.recipe, config.evaluation.students
    settings = flatten(recipe)
    for key, most in _MOST_OF_RECIPE.items():
        if settings.get(key, 0) > most:
            yield Wish(what=f"{key}={settings[key]} (more than {most})", instead=_OWN_RUN)
    if students > _MOST_STUDENTS:
        yield Wish(what=f"{students} students (more than {_MOST_STUDENTS})", instead=_OWN_RUN)
    checkpoint, images = recipe.teacher.checkpoint, recipe.initializer.options.get("path")
    if checkpoint:
        yield Wish(what=f"the weights of a teacher, {checkpoint!r}", instead=_OWN_RUN)
    if recipe.initializer.name == IMPORTED and images:
        yield Wish(what=f"distilled images, {images!r}", instead=_OWN_RUN)
    networks = [recipe.pool_network, recipe.random_network, config.evaluation.student_network(recipe.teacher)]
    networks += [recipe.judge_network] if recipe.judge_network else []
    reached = [what for use in networks for what in _reaching_out(use, fetched=True)]
    # A checkpoint takes the place of weights that would be fetched.
    reached += _reaching_out(recipe.teacher.model, fetched=not checkpoint)
    for what in reached:
        yield Wish(what=what, instead=_OWN_RUN)


def _of_networks(config: RunConfig, students: Iterable[Use], chosen: Collection[str]) -> Iterator[Wish]:
    student, teacher = config.evaluation.student.model, config.recipe.teacher.model
    # A student's network may be the protocol's or the teacher's.
    keys = {"student.model", "teacher.model"} | (
        {"protocol", "protocol.model"} if student.name == "protocol" else set()
    )
    if not _named(keys - {"teacher.model"}, chosen):
        for use in students:
            for what in _reaching_out(use, fetched=True):
                yield Wish(what=what, instead="--student NAME")
    if not _named({"teacher.model"}, chosen):
        for what in _reaching_out(teacher, fetched=False):
            yield Wish(what=what, instead="--set teacher.model=NAME")


def _named(keys: Collection[str], chosen: Collection[str]) -> bool:
    return any(one == key or one.startswith(f"{key}.") for key in keys for one in chosen)


def _reaching_out(use: Use, *, fetched: bool) -> Iterator[str]:
    """Yield why building a network reads files that nobody named. fetched: whether pretrained weights are fetched."""
    if _FOLDER in use.name:
        yield f"a network in a folder, {use.name!r}"
    elif any(mark in use.name for mark in _ON_HUB):
        yield f"a network of the Hugging Face hub, {use.name!r}"
    elif fetched and use.options.get("pretrained") and use.name != "ensemble":
        yield f"the pretrained weights of {use.name!r}, which may be fetched"
    members = use.options.get("members", ())
    for member in members if isinstance(members, list | tuple) else ():
        yield from _reaching_out(
            Use(name=str(member), options={"pretrained": use.options.get("pretrained", False)}),
            fetched=fetched,
        )
