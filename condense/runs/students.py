"""Students of a piece: those that have no result yet are trained, at once where that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from condense.engine.students import StudentTask, StudentTrainer, train_students
from condense.engine.unfinished import Unfinished, discard
from condense.runs.site import RunSite
from condense.storage.distilled import DistilledDataset
from condense.storage.files import json_bytes, read_json
from condense.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class WantedStudent:
    """A student whose result is to lie in a file of a run directory.

    folder: the run directory. file: the file in it, by whose name an unfinished training is kept.
    number: of the student. trainer, distilled: what trains the student, and the images.
    more: plain data that the file holds beside the result.
    """

    folder: RunFolder
    file: Path
    number: int
    trainer: StudentTrainer
    distilled: DistilledDataset
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unfinished(self) -> Path:
        """The file that keeps the training until there is a result."""
        return self.folder.unfinished(self.file.stem)


def train_wanted(wanted: Sequence[WantedStudent], title: str, site: RunSite) -> list[Any]:
    """Train and test the students of one evaluation that have no result yet, and write how each did.

    title: of what they learn from, for people.

    Return the content of all files, in their order. Raises StorageError for a run directory that has gone.
    """
    for one in wanted:
        one.folder.check_there()
    # The driver has told of what is damaged.
    left = [one for one in wanted if not one.folder.checksums.usable(one.file, lambda _: None)]
    epochs = wanted[0].trainer.evaluation.protocol.epochs
    numbers = sorted({one.number for one in left})
    detail = f"student{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))} on {title}"
    site.told.start("evaluate", detail, epochs * len(left), "epoch")
    if len(left) < len(wanted):
        site.told.advance(epochs * (len(wanted) - len(left)))
    tasks = [
        StudentTask(
            trainer=one.trainer,
            distilled=one.distilled,
            number=one.number,
            unfinished=partial(Unfinished, one.unfinished, site.runtime),
        )
        for one in left
    ]
    for result, one in zip(train_students(tasks), left, strict=True):
        one.folder.checksums.write(one.file, json_bytes({**msgspec.to_builtins(result), **one.more}))
    for one in wanted:  # a process may have been killed after it wrote the first results of a stack
        discard(one.unfinished)
    return [read_json(one.file) for one in wanted]
