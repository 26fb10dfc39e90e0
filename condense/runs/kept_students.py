"""What an evaluation that has not ended keeps: the results of its students, and the training of one of them.

It lies in a folder `unfinished` beside the table, and goes when the table is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.components import StudentResult
from condense.engine.evaluate import known_result
from condense.engine.unfinished import Unfinished
from condense.errors import StorageError
from condense.recipe.config import Evaluation, RunConfig, digest
from condense.recipe.registry import Registry
from condense.recipe.sources import judges_of, plugin_marks
from condense.runs.provenance import host
from condense.runtime import Runtime
from condense.storage.checksums import read_sealed, write_sealed
from condense.storage.distilled import DistilledDataset
from condense.storage.locks import HeldError, held
from condense.text import counted


@dataclass(frozen=True, kw_only=True)
class KeptStudents:
    """The students of one network in an evaluation that has not ended.

    folder: of the files. key: stands for all that their results depend on.
    """

    folder: Path
    key: str
    runtime: Runtime

    def result(self, number: int) -> StudentResult | None:
        """Return the result of a student that an earlier attempt finished, or None. A damaged file is told."""
        file = self._result(number)
        if not file.exists():
            return None
        data = read_sealed(file)
        if data is None:
            note = f"{file} is damaged: its bytes are not those that were written. Student {number} is trained again"
            self.runtime.reporter.note(note)
            return None
        return known_result(msgspec.json.decode(data))

    def keep(self, result: StudentResult) -> None:
        """Keep the result of a student. Raises StorageError if it cannot be written."""
        write_sealed(self._result(result.student), msgspec.json.encode(result))

    def unfinished(self, number: int) -> Unfinished:
        """Return what keeps the training of a student."""
        return Unfinished(self.folder / f"{self.key}-{number}.training", self.runtime)

    def _result(self, number: int) -> Path:
        return self.folder / f"{self.key}-{number}.json"


@contextmanager
def keeping_students(
    table: Path | None,
    judged: Mapping[str, Evaluation],
    distilled: DistilledDataset,
    real: RealDataset,
    config: RunConfig,
    versions: Mapping[str, str],
    registry: Registry,
    runtime: Runtime,
) -> Iterator[Mapping[str, KeptStudents]]:
    """Yield what keeps the students of each network inside the block, which is removed at its end unless it raises.

    Nothing is kept, {}, without a table, where its folder cannot be written, and where another process does the same.

    table: of the evaluation, which stands for its settings. judged: the evaluations by network.
    distilled: with the labels that students learn from. real: the dataset that they are tested on; results of other
        images of the same name are not taken.
    """
    with ExitStack() as stack:
        folder = table.parent / "unfinished" / table.stem if table else None
        if folder is None or not _locked(folder, stack, runtime):
            yield {}
            return
        shown = [distilled.taught, distilled.teacher_hash, real.train.hash, real.test.hash]
        made_of = [*shown, dict(versions), host(runtime, config)]
        found = {}
        for network, evaluation in judged.items():
            parts = [*judges_of(evaluation, config.recipe.teacher), ("dataset", config.recipe.dataset.name)]
            key = digest([*made_of, network, evaluation.hash, plugin_marks(parts, registry)])[:16]
            found[network] = KeptStudents(folder=folder, key=key, runtime=runtime)
        earlier = len({file for kept in found.values() for file in folder.glob(f"{kept.key}-*.json")})
        if earlier:
            done = counted(earlier, "finished student")
            runtime.reporter.note(f"the evaluation goes on with {done} of an earlier attempt")
        yield found
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # Other evaluations may have theirs in it.
        (folder.parent / f".{folder.name}.lock").unlink(missing_ok=True)
        folder.parent.rmdir()


def _locked(folder: Path, stack: ExitStack, runtime: Runtime) -> bool:
    try:
        stack.enter_context(held(folder))
    except HeldError:
        runtime.reporter.note(
            f"another process is working in {folder}, so nothing is kept of this evaluation"
        )
        return False
    except StorageError as error:
        runtime.reporter.note(f"nothing is kept of an evaluation that does not end: {error}")
        return False
    return True
