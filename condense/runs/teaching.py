"""A teacher that is trained by itself, by one process or by several together, for runs that get it with --teacher."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from condense.engine.peers import Alone, SharedUnfinished
from condense.engine.real import real_dataset
from condense.engine.squeeze import fresh_teacher, tested, train_teacher
from condense.engine.unfinished import discard
from condense.errors import OptionError, StorageError
from condense.executors.ranks import Ranks
from condense.recipe.config import Machine, RunConfig
from condense.recipe.method import Teacher
from condense.recipe.presets import PRESET
from condense.recipe.registry import Registry
from condense.runs.machine import runtime_of
from condense.runs.teachers import Kept, Taught, facts_of, read_facts, taught, teacher_hash, weights_of
from condense.runtime import Reporter, Runtime, process_settings, usual_loaders
from condense.storage.files import file_hash, json_bytes, write_bytes
from condense.storage.locks import held
from condense.storage.run_folder import unfinished_file

# Settings of a teacher that are read only when it is used.
_OF_USE = ("teacher.checkpoint", "teacher.measure_batch", "teacher.check")


class _Told(Kept, kw_only=True):
    """What lies beside the weights. teacher: the hash of all that determines them. sha256: of their file."""

    teacher: str
    sha256: str


def teach(
    file: Path,
    config: RunConfig,
    *,
    registry: Registry,
    reporter: Reporter | None = None,
    ranks: Ranks | None = None,
) -> Taught | None:
    """Train the teacher of a configuration and write its weights into `file`, and facts about it into a .json beside.

    A training that was kept goes on, also with another number of processes. If the same teacher is there already, it
    stays.

    ranks: the processes that do the same at the same time; None: this process is alone. Weights do not depend on their
        number but for rounding, BatchNorm and CutMix; see `condense.engine.peers`.

    Returns None in all ranks but the first, which tests and writes. Raises OptionError if there is nothing to train, or
    for a device that ranks cannot share, StorageError if `file` is something else, and what `squeeze` raises.
    """
    _check(file, config.recipe.teacher)
    runtime = runtime_of(_machine(config.machine, ranks), reporter)
    began = time.perf_counter()
    with process_settings(runtime), ExitStack() as locks:
        with ranks.group(runtime.device) if ranks else nullcontext(Alone()) as peers:
            with peers.in_turn():
                dataset = real_dataset(config.recipe, config.machine, registry, runtime)
                teacher = fresh_teacher(config.recipe, dataset, registry, runtime)
            name = teacher_hash(config.recipe, dataset, runtime, registry)
            unfinished = SharedUnfinished(unfinished_file(file.parent, f"{file.stem}-{name}"), runtime, peers)
            first = peers.share.number == 0
            if first:
                locks.enter_context(_locked(file, runtime))
            there = peers.from_first(lambda: _is_there(file, name, runtime))
            if not there:
                train_teacher(teacher, config.recipe, dataset, runtime, unfinished, peers)
        if not first:
            return None
        if not there:
            reached = tested(teacher, dataset, runtime)
            seconds = unfinished.spent + time.perf_counter() - began
            facts = facts_of(reached, seconds, dataset, ranks.count if ranks else 1)
            _write(file, weights_of(teacher), {**facts, "teacher": name})
        discard(unfinished.file)
        return taught(file)


def check_given(keys: Collection[str]) -> None:
    """Raise OptionError for a setting of the user that no training of a teacher reads. keys: of all settings."""
    for key in keys:
        if key in _OF_USE or not (key == PRESET or key.startswith(("teacher.", "dataset."))):
            raise OptionError(
                f"{key} has no effect on the training of a teacher, which reads teacher.* and dataset.*; give it to "
                "the run that uses the teacher"
            )


def _check(file: Path, teacher: Teacher) -> None:
    """Raise OptionError for a file of another form, and for a teacher that is not trained."""
    if file.suffix != ".safetensors":
        raise OptionError(f"the file of a teacher ends in .safetensors, which {file} does not")
    if teacher.checkpoint:
        raise OptionError("a teacher with a checkpoint is trained already; leave out teacher.checkpoint")
    if teacher.epochs == 0:
        advice = "--set teacher.epochs=N trains it"
        if teacher.model.options.get("pretrained"):
            advice = (
                "this recipe takes pretrained weights. --set teacher.model.pretrained=false --set teacher.epochs=N "
                "trains the network from scratch"
            )
        raise OptionError(f"teacher.epochs is 0, so there is nothing to train: {advice}")


def _machine(machine: Machine, ranks: Ranks | None) -> Machine:
    """Return the machine of this rank: its device, and its part of the processes that decode images."""
    if ranks is None:
        return machine
    loaders = usual_loaders() // ranks.of_computer if machine.loaders is None else machine.loaders
    return replace(machine, device=ranks.device(machine.device), loaders=loaders)


def _locked(file: Path, runtime: Runtime) -> AbstractContextManager[None]:
    note = runtime.reporter.note
    waiting = f"another command trains {file}; waiting for it"
    return held(file.absolute().parent, part=file.stem, waiting=lambda: note(waiting))


def _is_there(file: Path, name: str, runtime: Runtime) -> bool:
    """Return whether a file is the teacher of this name, undamaged. Raises StorageError if it is anything else."""
    about = file.with_suffix(".json")
    if not file.exists() and not about.exists():
        return False
    told = read_facts(about, _Told)
    if told is None or told.teacher != name:
        raise StorageError(
            f"{file if file.exists() else about} exists and is not of this teacher: it has other settings, images or "
            "versions. Choose another file, or delete it"
        )
    if file.exists() and file_hash(file) == told.sha256:
        runtime.reporter.note(f"{file} is there already")
        return True
    runtime.reporter.note(f"{file} is damaged or gone, so it is trained again")
    return False


def _write(file: Path, weights: bytes, facts: Mapping[str, Any]) -> None:
    """Write the facts and then the weights, so that a process that is killed leaves no weights without facts."""
    write_bytes(
        file.with_suffix(".json"), json_bytes({**facts, "sha256": hashlib.sha256(weights).hexdigest()})
    )
    write_bytes(file, weights)
