"""Pools of trained networks, stored under the hash of what determines them, so that runs can share them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.pool import States, train_member
from condense.engine.unfinished import State, Unfinished
from condense.errors import StorageError
from condense.models.build import build_network
from condense.recipe.config import Recipe, by_content, digest
from condense.recipe.method import Pool
from condense.recipe.registry import Registry
from condense.rng import generator
from condense.runs.teachers import made_with
from condense.runtime import Runtime
from condense.storage.checksums import Checksums
from condense.storage.locks import held
from condense.storage.run_folder import RunFolder, unfinished_file
from condense.storage.tensors import read_tensors, tensor_of, tensors_below, tensors_to_bytes

# Maximum bytes of the states of all networks that stay in memory; those of a larger pool are read at each draw.
_KEPT_BYTES = 2**30


def train_network(
    number: int,
    recipe: Recipe,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    *,
    folder: RunFolder,
    shared: Path | None,
) -> None:
    """Train a network of the pool of a recipe and keep its states, or take them from runs that trained the same one.

    folder: of the run, which gets a file for the network.
    shared: the folder of teachers that runs share, where pools lie too; None keeps the pool to this run.

    Raises what `train_member` raises.
    """
    file, note = folder.pool(number), runtime.reporter.note
    place = shared / f"pool-{pool_hash(recipe, dataset, runtime, registry)}" if shared else file.parent
    source, checksums = place / file.name, Checksums(place)
    waiting = f"another process trains network {number} of the pool; waiting for it"
    with held(place, part=file.stem, waiting=lambda: note(waiting)) if shared else nullcontext():
        if checksums.usable(source, note):
            runtime.reporter.advance(recipe.pool.epochs)
        else:
            unfinished = Unfinished(unfinished_file(place, file.stem), runtime)
            states = train_member(number, recipe, dataset, registry, runtime, unfinished)
            tensors = {
                f"{index}/{name}": value
                for index, state in enumerate(states)
                for name, value in state.items()
            }
            checksums.write(source, tensors_to_bytes(tensors, {"model": recipe.pool_network.name}))
            unfinished.remove()
    if source != file:
        Checksums(file.parent).link(source, file)


def read_states(
    recipe: Recipe, dataset: RealDataset, registry: Registry, runtime: Runtime, folder: RunFolder
) -> States:
    """Return the states of the networks of a run's pool, which lie in its folder.

    A file that does not hold the states of such a network raises StorageError when it is read.
    """

    def like() -> State:
        draws = generator(0, "pool", "state")  # the values do not matter
        network = build_network(recipe.pool_network, dataset, registry, runtime, draws)
        return {name: tensor.to("meta") for name, tensor in network.model.state_dict().items()}

    pool = recipe.pool
    return _Reader([folder.pool(number) for number in range(pool.networks)], pool.checkpoints, like)


class _Reader:
    """Reads the states of a network by its number: the initial one, then those that were kept.

    like: returns a state that has the names, shapes and types of numbers that each must have.
    """

    def __init__(self, files: Sequence[Path], checkpoints: int, like: Callable[[], State]) -> None:
        self._files, self._checkpoints = files, checkpoints
        self._like = functools.cache(like)
        self._keep = sum(file.stat().st_size for file in files) <= _KEPT_BYTES
        self._known: dict[int, Sequence[State]] = {}

    def __call__(self, number: int) -> Sequence[State]:
        """Return the states of a network."""
        if number in self._known:
            return self._known[number]
        file = self._files[number]
        tensors, _ = read_tensors(file)
        wanted = {
            f"{index}/{name}": value
            for index in range(self._checkpoints + 1)
            for name, value in self._like().items()
        }
        for name, value in wanted.items():
            tensor_of(tensors, name, value.shape, value.dtype, file)
        surplus = [name for name in tensors if name not in wanted]
        if surplus:
            raise StorageError(
                f"{file} has the tensor {surplus[0]!r}, which no network of this pool has; delete it and run again"
            )
        found = [tensors_below(tensors, str(index)) for index in range(self._checkpoints + 1)]
        if self._keep:
            self._known[number] = found
        return found


def pool_hash(recipe: Recipe, dataset: RealDataset, runtime: Runtime, registry: Registry) -> str:
    """Return 16 hexadecimal digits that depend on everything that determines the states of a pool's networks.

    How many networks there are does not count, because each is a piece of its own, nor does how they are drawn.
    """
    model = by_content(replace(recipe.teacher, model=recipe.pool_network, checkpoint="")).model
    usual = Pool()
    settings = replace(
        recipe.pool,
        model=model,
        networks=usual.networks,
        draw=usual.draw,
        random=usual.random,
        mode=usual.mode,
    )
    made_of = {
        "pool": msgspec.to_builtins(settings),
        "seed": recipe.teacher_seed,
        **made_with(recipe.pool_network, recipe, dataset, runtime, registry),
    }
    return digest(made_of)[:16]
