"""Pools of trained networks, stored under the hash of what determines them, so that runs can share them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.pool import States, train_member
from condense.engine.unfinished import State, Unfinished, discard
from condense.recipe.config import Recipe, by_content, digest
from condense.recipe.method import Pool
from condense.recipe.registry import Registry
from condense.runs.teachers import made_with
from condense.runtime import Runtime
from condense.storage.checksums import Checksums
from condense.storage.locks import held
from condense.storage.run_folder import RunFolder, unfinished_file
from condense.storage.tensors import read_tensors, tensors_below, tensors_to_bytes
from condense.text import counted

# Maximum bytes of the states of all networks that stay in memory; those of a larger pool are read at each draw.
_KEPT_BYTES = 2**30


def ready(
    recipe: Recipe,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    *,
    folder: RunFolder,
    shared: Path | None,
) -> States:
    """Return the states of the pool of a recipe. Networks that are not kept yet are trained and kept, one by one.

    folder: of the run, which gets a file for each network.
    shared: the folder of teachers that runs share, where pools lie too; None keeps the pool to this run.

    Raises what `train_member` raises.
    """
    files = [folder.pool(number) for number in range(recipe.pool.networks)]
    note = runtime.reporter.note
    if not all(Checksums(file.parent).usable(file, note) for file in files):
        place = (
            shared / f"pool-{pool_hash(recipe, dataset, runtime, registry)}"
            if shared
            else folder.path / "pool"
        )
        waiting = "another process trains the networks of the pool; waiting for it"
        with held(place, waiting=lambda: runtime.reporter.note(waiting)) if shared else nullcontext():
            _fill([place / file.name for file in files], recipe, dataset, registry, runtime)
        for file in files:
            if place != file.parent and not Checksums(file.parent).usable(file, note):
                Checksums(file.parent).link(place / file.name, file)
    for file in files:  # a process may have been killed after it wrote the last network
        discard(unfinished_file(file.parent, file.stem))
    return _Reader(files)


def _fill(
    files: Sequence[Path], recipe: Recipe, dataset: RealDataset, registry: Registry, runtime: Runtime
) -> None:
    """Train the networks whose files do not exist, and write these files."""
    pool, reporter = recipe.pool, runtime.reporter
    usable = [Checksums(file.parent).usable(file, reporter.note) for file in files]
    known = sum(usable)
    found = f", {known} of them found" if known else ""
    detail = f"{counted(pool.networks, 'network')} ({recipe.pool_network.name}){found}"
    reporter.start("pool", detail, pool.epochs * len(files), "epoch")
    for number, file in enumerate(files):
        if usable[number]:
            reporter.advance(pool.epochs)
            continue
        kept = Unfinished(unfinished_file(file.parent, file.stem), runtime)
        states = train_member(number, recipe, dataset, registry, runtime, kept)
        tensors = {
            f"{index}/{name}": value for index, state in enumerate(states) for name, value in state.items()
        }
        Checksums(file.parent).write(file, tensors_to_bytes(tensors, {"model": recipe.pool_network.name}))
        kept.remove()
    reporter.finish()


class _Reader:
    """Reads the states of a network by its number: the initial one, then those that were kept."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._keep = sum(file.stat().st_size for file in files) <= _KEPT_BYTES
        self._known: dict[int, Sequence[State]] = {}

    def __call__(self, number: int) -> Sequence[State]:
        """Return the states of a network."""
        if number in self._known:
            return self._known[number]
        tensors, _ = read_tensors(self._files[number])
        indices = sorted({int(key.partition("/")[0]) for key in tensors})
        found = [tensors_below(tensors, str(index)) for index in indices]
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
