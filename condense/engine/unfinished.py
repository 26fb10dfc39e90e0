"""Trainings, and recoveries of chunks, are kept until their outcome is written: a kill loses minutes and no byte."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from condense.errors import cannot_write
from condense.recipe.config import digest
from condense.recipe.method import Recover
from condense.recipe.training import Training
from condense.rng import global_state, set_global_state
from condense.runtime import Runtime
from condense.storage.checksums import read_sealed, write_sealed
from condense.storage.tensors import tensors_below, tensors_from_bytes, tensors_of_parts, tensors_to_bytes

# The weights and buffers of a network by name.
State = Mapping[str, Tensor]


class Unfinished:
    """The file that keeps the trainings of one piece of work, which is removed when the piece has a file of its own.

    A piece is a teacher, whose members are trained one after the other, a network of a pool, a student, students that
    are trained together, or a chunk, whose recovery `KeptRecovery` keeps.

    file: its path. It is written whole or not at all, with its checksum inside.
    runtime: says after how many minutes the next end of an epoch, or the next step of a chunk, is kept, and whom to
        tell.
    """

    def __init__(self, file: Path, runtime: Runtime) -> None:
        self.file, self.runtime = file, runtime
        self.spent = 0.0
        """Seconds that earlier attempts took for what this one does not do again."""
        self._began = self._written = time.monotonic()

    def training(
        self, model: nn.Module, number: int = 0, states: MutableSequence[State] | None = None
    ) -> KeptTraining:
        """Return one training of this piece, for `train`.

        model: whose parameters and buffers are kept: the network that is trained, or the ensemble that it is in.
        number: of the training. Those of one piece are done in the order of their numbers.
        states: what the training has gathered so far; the same list gets them back.
        """
        return KeptTraining(self, tensors_of(model), number, [] if states is None else states)

    def stack(self, tensors: State, members: Sequence[str]) -> KeptTraining:
        """Return the one training of networks that are trained together.

        tensors: their weights and buffers by name. members: the names of their trainings. What is kept of others is not
            taken.
        """
        return KeptTraining(self, tensors, 0, [], tuple(members))

    def is_due(self) -> bool:
        """Return whether the next end of an epoch, or the next step of a chunk, is kept."""
        return time.monotonic() - self._written >= 60 * self.runtime.keep_minutes

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
        """Replace what is kept. Raises StorageError if the file cannot be written."""
        seconds = self.spent + time.monotonic() - self._began
        write_sealed(self.file, tensors_to_bytes(tensors, {**facts, "seconds": repr(seconds)}))
        self._written = time.monotonic()

    def read(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Return what is kept, or None. A damaged file is told and removed."""
        if not self.file.exists():
            return None
        data = read_sealed(self.file)
        if data is None:
            note = f"{self.file} is damaged: its bytes are not those that were written. The work starts again"
            self.runtime.reporter.note(note)
            self.remove()
            return None
        return tensors_from_bytes(data)

    def remove(self) -> None:
        """Remove the file, as `discard` does."""
        discard(self.file)


def discard(file: Path) -> None:
    """Remove what is kept of a training, also the part of it that a killed process left, and a folder without others.

    Whoever finds the outcome of a training calls this too: a process may have been killed after it wrote the outcome.
    Raises StorageError if that is not allowed.
    """
    if not file.parent.is_dir():
        return
    try:
        for found in (file, *file.parent.glob(f".{file.name}.*.tmp")):
            found.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(file, error) from error
    with suppress(OSError):
        file.parent.rmdir()


@dataclass(frozen=True)
class KeptTraining:
    """A training that is kept; made by `Unfinished.training`, which explains the fields.

    own: the parameters and buffers that are kept.
    """

    kept: Unfinished
    own: State
    number: int
    states: MutableSequence[State]
    members: tuple[str, ...] = ()

    def resume(
        self,
        optimizer: torch.optim.Optimizer,
        draws: torch.Generator | Sequence[torch.Generator],
        options: Training,
        *,
        steps: int,
        what: str,
    ) -> int:
        """Bring everything back to where an earlier attempt was kept, and return how many epochs it had done.

        That is 0 if nothing is kept, and all of them if a later training of the piece is kept.

        optimizer: of the network, new. draws: what the training, or each network of a stack, draws from. The global
            generators are set as well, so the caller isolates them. steps: of an epoch. what: names the training.
        """
        found = self.kept.read()
        if found is None:
            return 0
        tensors, facts = found
        network = tensors_below(tensors, "network")
        of_file, generators = int(facts["number"]), _several(draws)
        shapes = {name: value.shape for name, value in self.own.items()}
        fits = {name: value.shape for name, value in network.items()} == shapes
        if not fits or facts["options"] != fingerprint(options, Training, steps, *self.members):
            self.kept.runtime.reporter.note(
                f"{self.kept.file} belongs to another training, so {what} starts again"
            )
            return 0
        if of_file < self.number:
            return 0
        set_tensors(self.own, network)
        self.kept.spent = float(facts["seconds"])
        if of_file > self.number:
            return options.epochs
        set_optimizer(optimizer, tensors_below(tensors, "optimizer"))
        for generator, state in zip(generators, tensors["draws"].view(len(generators), -1), strict=True):
            generator.set_state(state.clone())  # which must not be a part of another tensor
        set_global_state(tensors_below(tensors, "global"), facts["global"], self.kept.runtime.device)
        self.states[:] = [tensors_below(tensors, f"states/{index}") for index in range(int(facts["states"]))]
        done = int(facts["epochs"])
        self.kept.runtime.reporter.note(f"{what} goes on after epoch {done} of {options.epochs}")
        return done

    def keep(
        self,
        epochs: int,
        optimizer: torch.optim.Optimizer,
        draws: torch.Generator | Sequence[torch.Generator],
        options: Training,
        *,
        steps: int,
    ) -> None:
        """Keep the training at the end of an epoch, if enough minutes have passed since that was done.

        epochs: how many are done. The others: as in `resume`.
        """
        if not self.kept.is_due():
            return
        of_globals, text = global_state(self.kept.runtime.device)
        parts: dict[str, Mapping[str, Tensor]] = {
            "network": self.own,
            "optimizer": optimizer_state(optimizer),
            "global": of_globals,
            **{f"states/{index}": state for index, state in enumerate(self.states)},
        }
        facts = {
            "number": str(self.number),
            "epochs": str(epochs),
            "states": str(len(self.states)),
            "options": fingerprint(options, Training, steps, *self.members),
            "global": text,
        }
        states = torch.cat([generator.get_state() for generator in _several(draws)])
        self.kept.write({**tensors_of_parts(parts), "draws": states}, facts)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by name, also buffers that its state_dict leaves out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def set_tensors(own: State, found: State) -> None:
    """Copy values into tensors of the same names, which keep their layout in memory. Raises KeyError for others."""
    for name, value in found.items():
        own[name].copy_(value)


def _several(draws: torch.Generator | Sequence[torch.Generator]) -> Sequence[torch.Generator]:
    return [draws] if isinstance(draws, torch.Generator) else draws


def fingerprint(options: Training | Recover, kind: type[Training | Recover], *more: int | str) -> str:
    """Return what has to be the same for work to go on: its settings, as far as `kind` has them, and `more`."""
    return digest([{field.name: getattr(options, field.name) for field in fields(kind)}, *more])


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as "number of the parameter/key"."""
    return {
        f"{index}/{key}": value
        for index, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
    }


@torch.no_grad()
def set_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `optimizer_state` returned.

    Its tensors get the layout in memory of their parameters, as they had it: fused kernels read both in one order.
    """
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in tensors_below(state, str(index)).items():
            if value.shape == parameter.shape:
                own = torch.empty_like(parameter, dtype=value.dtype)
            else:
                own = torch.empty_like(value, device=parameter.device)
            optimizer.state[parameter][key] = own.copy_(value)
