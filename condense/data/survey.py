"""The survey of a tree of files: each file is decoded once, so that a broken one is known before any work begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condense.data.dataset import DatasetRequest
from condense.data.images import examine, in_threads
from condense.data.index import FACTS, Index, look_up, save
from condense.data.loaders import PIECE, WORTHWHILE, ahead
from condense.data.paths import Paths
from condense.data.tree import Tree
from condense.errors import CondenseError, StorageError
from condense.text import counted, shown_path

# Files that are named one by one.
_NAMED = 20
# Files of one step of progress, where threads decode.
_OF_THREADS = 256
# What to do about a file does not interest those who leave it out.
_ADVICE = re.compile(r": (replace|remove|save) .*$")


@dataclass(frozen=True)
class Survey:
    """A tree of files that can all be decoded.

    tree: without the files that are left out; a note counts and names them.
    sides: all pairs of a shorter and a longer side length in pixels.
    grey: the number of images that have no colour.
    """

    tree: Tree
    sides: frozenset[tuple[int, int]]
    grey: int

    @property
    def total(self) -> int:
        """The number of images in both splits."""
        return len(self.tree.train) + len(self.tree.test)


def survey(tree: Tree, request: DatasetRequest, *, skip_broken: bool) -> Survey:
    """Return what all files of a tree have in common. Files that the index does not know are decoded.

    skip_broken: leave out files that cannot be decoded.

    Raises DataError or StorageError that names the first file that cannot be decoded, and counts the others.
    """
    paths = tree.train.paths.joined(tree.test.paths)
    index = look_up(paths)
    broken, notes = _read_unknown(index, request)
    if broken or tree.broken:
        errors = [*tree.broken, *(broken[position] for position in sorted(broken))]
        if not skip_broken:
            raise _refusal(errors, len(paths), tree.root)
        notes += (_left_out(errors, len(paths), tree.root),)
        tree = _without(tree, broken)
    facts = np.delete(index.facts, sorted(broken))
    sides = np.unique(np.stack([facts["shorter"], facts["longer"]], axis=1), axis=0)
    return Survey(
        tree=replace(tree, notes=(*tree.notes, *notes)),
        sides=frozenset((int(shorter), int(longer)) for shorter, longer in sides),
        grey=int(facts["grey"].sum()),
    )


def _read_unknown(index: Index, request: DatasetRequest) -> tuple[dict[int, CondenseError], tuple[str, ...]]:
    """Fill the unknown rows of the index and keep it. Return an error for each broken file, and notes."""
    unknown = torch.from_numpy(index.unknown)
    if not len(unknown):
        return {}, ()
    reporter = request.reporter
    count = counted(len(unknown), "file")
    reporter.start(
        "index", f"decode each new file of {shown_path(index.paths.root)} once", len(unknown), "file"
    )
    loaders = request.loaders if len(unknown) >= WORTHWHILE else 0
    parts = unknown.split(PIECE if loaders else _OF_THREADS)
    broken: dict[int, CondenseError] = {}
    examined = ahead(_Examiner(index.paths), parts, loaders=loaders)
    notes: tuple[str, ...] = ()
    try:
        for part, (rows, errors) in zip(parts, examined, strict=True):
            for column in ("shorter", "longer", "grey"):
                index.facts[column][part.numpy()] = rows[column]
            broken |= errors
            reporter.advance(len(part))
    finally:
        # Also after Ctrl-C, so that the next run goes on from here.
        if len(index.unknown) < len(unknown):
            notes = _kept(index)
    reporter.finish(f"{len(broken)} of {count} cannot be decoded" if broken else "")
    return broken, notes


def _kept(index: Index) -> tuple[str, ...]:
    """Keep the index. Return a note if it cannot be written."""
    try:
        save(index)
    except StorageError as error:
        return (f"the index of files is not kept, so that the next run decodes them again: {error}",)
    return ()


@dataclass(frozen=True)
class _Examiner:
    """Decodes files, in any process."""

    paths: Paths

    def __call__(self, part: Tensor) -> tuple[np.ndarray, dict[int, CondenseError]]:
        """Return facts (B,) about the files at these positions (B,), and an error for each that cannot be decoded."""
        rows = np.zeros(len(part), FACTS)
        errors: dict[int, CondenseError] = {}

        def look(item: tuple[int, int]) -> None:
            row, position = item
            try:
                header = examine(self.paths[position])
            except CondenseError as error:
                errors[position] = error
            else:
                rows["shorter"][row], rows["longer"][row] = header.sides
                rows["grey"][row] = header.grey

        in_threads(look, list(enumerate(part.tolist())))
        return rows, errors


def _refusal(errors: Sequence[CondenseError], total: int, root: Path) -> CondenseError:
    """Return the error that names the first broken file, and counts and names the others."""
    first, *others = errors
    more = f". {_counted(others, total)} broken as well: {_listed(others, root)}" if others else ""
    return type(first)(f"{first}{more}. --skip-broken leaves broken files out")


def _left_out(errors: Sequence[CondenseError], total: int, root: Path) -> str:
    return f"{_counted(errors, total)} broken and left out: {_listed(errors, root)}"


def _counted(errors: Sequence[CondenseError], total: int) -> str:
    return f"{len(errors)} of {total} files {'is' if len(errors) == 1 else 'are'}"


def _listed(errors: Sequence[CondenseError], root: Path) -> str:
    named = [_ADVICE.sub("", str(error)).replace(f"{shown_path(root)}/", "") for error in errors[:_NAMED]]
    return "; ".join(named) + (f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else "")


def _without(tree: Tree, broken: dict[int, CondenseError]) -> Tree:
    sound = np.ones(len(tree.train) + len(tree.test), bool)
    sound[list(broken)] = False
    kept = [np.flatnonzero(part) for part in np.split(sound, [len(tree.train)])]
    return replace(tree, train=tree.train.take(kept[0]), test=tree.test.take(kept[1]))
