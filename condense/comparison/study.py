"""The students of some cells of a comparison: those that are missing are trained, and every column has a result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from condense.comparison.cells import CellWork, Workshop
from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Place
from condense.comparison.outcome import Cell
from condense.comparison.students import students_job
from condense.comparison.tasks import stacks
from condense.engine.evaluate import Score, known_result
from condense.engine.unfinished import discard
from condense.executors.foreman import Script
from condense.executors.pieces import Batch, Failed, Group, Piece
from condense.runs.graph import unfinished_of
from condense.storage import artifact
from condense.storage.checksums import DamagedError
from condense.storage.files import read_json
from condense.text import counted


class Study:
    """The students of all columns for places whose images are there: of one row and number of images per class.

    A piece has the students of one stack, which may be those of several places.
    """

    def __init__(self, shop: Workshop, places: Sequence[Place]) -> None:
        self._shop, self._missing = shop, False
        self._cells = {place.seed: shop.cell(place) for place in places}
        self._folder = shop.space.cells

    @property
    def worked(self) -> bool:
        """Whether anything was missing, or failed."""
        return self._missing or any(cell.worked for cell in self._cells.values())

    def script(self) -> Script[dict[Place, list[Cell]]]:
        """Yield the missing students, and return the results of the columns of each place. One that failed says why."""
        results = yield from self._students()
        damaged = {piece: error for piece, error in results.items() if isinstance(error, DamagedError)}
        if damaged:
            # Damaged files are made again from the pieces of the run.
            for cell in self._damaged(damaged):
                yield from cell.run()
            results = yield from self._students()
        return {
            cell.place: [self._result(cell, setup, results) for setup in self._shop.design.columns]
            for cell in self._cells.values()
        }

    @cached_property
    def _pieces(self) -> Mapping[str, Mapping[Piece, Sequence[CellWork]]]:
        """The pieces of each column, by its key, with the cell of each of their outputs."""
        return {setup.column.key: self._of_column(setup) for setup in self._shop.design.columns}

    def _of_column(self, setup: ColumnSetup) -> dict[Piece, list[CellWork]]:
        column = setup.column.key
        files = {seed: cell.files(setup) for seed, cell in self._cells.items()}
        pieces = {}
        for index, students in stacks(setup.evaluation, self._shop.design.seeds, files):
            cells = [self._cells[seed] for seed, _ in students]
            names = dict.fromkeys(cell.folder.path.name for cell in cells)
            piece = Piece(
                kind="student",
                job=students_job(cells[0].place.row, cells[0].place.ipc),
                name=column,
                index=index,
                # Pieces of the same places are shown as one, and one that fails leaves out the others.
                group=" ".join((column, *names)),
                inputs=tuple(f"{name}/distilled/distilled.json" for name in names),
                outputs=tuple(self._name(files[seed][number]) for seed, number in students),
            )
            pieces[piece] = cells
        return pieces

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def _students(self) -> Script[dict[Piece, Any]]:
        """Have the missing students trained. Return what was found of those of each piece, or the error."""
        pieces = {piece: cells for column in self._pieces.values() for piece, cells in column.items()}
        found: dict[Piece, Any] = {
            piece: [read_json(self._folder / name) for name in piece.outputs]
            for piece, cells in pieces.items()
            if self._there(piece, cells)
        }
        done = list(found)
        for piece in done:  # a process may have been killed after it wrote the last of a piece
            for name in unfinished_of(piece):
                discard(self._folder / name)
        self._missing |= len(done) < len(pieces)
        results = yield Batch(
            pieces=list(pieces),
            done=done,
            groups=self._groups(found),
            keep=lambda finished: found.update({finished.piece: finished.facts["students"]}),
            apart=lambda piece: piece.group,
        )
        failed = {piece: result.error for piece, result in results.items() if isinstance(result, Failed)}
        return {**found, **failed}

    def _there(self, piece: Piece, cells: Sequence[CellWork]) -> bool:
        note = self._shop.progress.note
        return all(
            cell.folder.checksums.usable(self._folder / name, note)
            for cell, name in zip(cells, piece.outputs, strict=True)
        )

    def _groups(self, found: Mapping[Piece, Any]) -> dict[str, Group]:
        groups: dict[str, Group] = {}
        for setup in self._shop.design.columns:
            members: dict[str, list[Piece]] = {}
            for piece in self._pieces[setup.column.key]:
                members.setdefault(piece.group, []).append(piece)
            groups |= {name: self._group(setup, pieces, found) for name, pieces in members.items()}
        return groups

    def _group(self, setup: ColumnSetup, pieces: Sequence[Piece], found: Mapping[Piece, Any]) -> Group:
        row, count = next(iter(self._cells.values())).place.row, sum(len(piece.outputs) for piece in pieces)
        return Group(
            stage="evaluate",
            detail=f"{counted(count, 'student')} on {row}, {setup.column.key}",
            unit="epoch",
            units=setup.evaluation.protocol.epochs,
            summary=lambda: _score([one for piece in pieces for one in found[piece]]).text(),
        )

    def _damaged(self, errors: Mapping[Piece, DamagedError]) -> list[CellWork]:
        """Return the cells whose images are damaged, among those of pieces that found damage."""
        told = {
            cell.folder.path: cell
            for column in self._pieces.values()
            for piece, cells in column.items()
            if piece in errors
            for cell in cells
        }
        found = []
        for cell in told.values():
            try:
                artifact.load(cell.folder.distilled, self._shop.registry)
            except DamagedError as error:
                self._shop.progress.note(f"{error}. It is made again")
                found.append(cell)
        return found

    def _result(self, cell: CellWork, setup: ColumnSetup, results: Mapping[Piece, Any]) -> Cell:
        """Return the result of a column for a cell, or why it failed."""
        place, column = cell.place, setup.column.key
        common: dict[str, Any] = {
            "row": place.row,
            "ipc": place.ipc,
            "seed": place.seed,
            "column": column,
        }
        found: list[Any] = []
        for piece, cells in self._pieces[column].items():
            if cell not in cells:
                continue
            of_piece = results[piece]
            if isinstance(of_piece, BaseException):
                what = re.sub(r"[^A-Za-z0-9._-]+", "-", column)
                return Cell(**common, failure=cell.reason(of_piece, what))
            found += [one for owner, one in zip(cells, of_piece, strict=True) if owner is cell]
        students = _score(found).students
        return Cell(
            **common,
            accuracies=tuple(student.accuracy for student in students),
            steps=students[0].steps,
            seconds=sum(student.seconds for student in students) / len(students),
            bytes=found[0]["bytes"],
        )


def _score(found: Sequence[Any]) -> Score:
    """Return what the students of a column reached, from what was found of each."""
    return Score(label="", students=tuple(map(known_result, found)))
