"""The folder of a run and the paths of its files."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from condense.errors import StorageError, cannot_read, cannot_write
from condense.recipe.misfits import converted
from condense.storage.checksums import FILE, Checksums
from condense.storage.files import is_part, read_json, refuse_links_out
from condense.storage.locks import is_held

# How a run is.
RunStatus = Literal["running", "interrupted", "failed", "done"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Stage(msgspec.Struct):
    seconds: float
    accuracy: float | None = None


class _Host(msgspec.Struct):
    computes: str


class _Outcome(msgspec.Struct):
    seconds: dict[str, float]
    bytes: dict[str, int]


class _RunJson(msgspec.Struct):
    """The parts of run.json that are used when a run goes on or when its results are taken."""

    status: str
    settings: dict[str, Any]
    host: _Host
    stages: dict[str, _Stage]
    checkpoint: str = ""
    sources: dict[str, str] = {}
    failure: str = ""
    outcome: _Outcome | None = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run. Each property is the path of one file or folder, which may not exist.

    path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Create the folder. Raises StorageError if it exists and is not empty, or cannot be created."""
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise StorageError if the folder exists and is not empty, or if a file is where a folder has to be."""
        try:
            # A run that was killed while it wrote its first file leaves nothing but a part of it.
            taken = path.exists() and (
                not path.is_dir() or any(not is_part(entry) for entry in path.iterdir())
            )
            above = next((folder for folder in path.parents if folder.exists()), None)
        except OSError as error:
            raise cannot_write(path, error) from error
        if taken and is_held(path):
            raise StorageError(f"another process is working in {path}; let it end, or choose another --name")
        if taken:
            advice = "choose another --name, or continue it with --resume"
            raise StorageError(f"output directory {path} exists already; {advice}")
        if above and not above.is_dir():
            raise StorageError(f"{above} is a file, so no run directory can lie in it; choose another --out")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the folder of an earlier run, to go on with it.

        Raises StorageError if `path` contains none, or a link that leads out of it: a run that goes on writes files.
        """
        try:
            if not path.is_dir():
                raise StorageError(f"there is not a run directory {path}")
            if not (path / "run.json").is_file():
                raise StorageError(f"{path} is not a run directory: it has no run.json")
        except OSError as error:
            raise cannot_read(path, error) from error
        refuse_links_out(path)
        return cls(path)

    def read(self) -> dict[str, Any]:
        """Return the content of run.json. Raises StorageError if it cannot be read or is not that of a run."""
        data = read_json(self.run_json)
        try:
            converted(data, _RunJson, "it")
        except ValueError as error:
            raise StorageError(
                f"{self.run_json} is not the run.json of a run of condense: {error}"
            ) from error
        found: dict[str, Any] = data
        return found

    def check_there(self) -> None:
        """Raise StorageError if run.json has gone: whoever writes now would make the folder anew, without the rest."""
        if not self.run_json.exists():
            raise StorageError(
                f"{self.run_json} has gone: the run directory was moved or removed while the run worked in it. "
                "Put it back and go on with --resume, or start the run again"
            )

    def status(self) -> RunStatus:
        """Return how the run is. Whatever shows that asks here, because run.json alone does not know.

        A run that was killed could not write that into its run.json, which still says "running"; its lock tells. So a
        process that trains students for a finished run counts as running.

        Raises StorageError if run.json cannot be read.
        """
        data = read_json(self.run_json)
        written = data.get("status") if isinstance(data, dict) else None
        if is_held(self.path):
            return "running"
        return written if written in ("failed", "done") else "interrupted"

    def state(self) -> str:
        """Return how the run is, as the end of a sentence: "is running", "was interrupted", "failed: ..." or "is done".

        Raises StorageError if run.json cannot be read.
        """
        status = self.status()
        failure = f": {read_json(self.run_json).get('failure', '')}" if status == "failed" else ""
        return {"running": "is running", "interrupted": "was interrupted", "done": "is done"}.get(
            status, f"failed{failure}"
        )

    @property
    def checksums(self) -> Checksums:
        """The checksums of the pieces of this run."""
        return Checksums(self.path)

    @property
    def pool_checksums(self) -> Checksums:
        """The checksums of the networks of this run's pool."""
        return Checksums(self.path / "pool")

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def held_out(self) -> Path:
        """The list of the images that were drawn as test images, for a folder without a test split."""
        return self.path / "held-out.txt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def teacher(self) -> Path:
        return self.path / "teacher.safetensors"

    @property
    def measurements(self) -> Path:
        return self.path / "measurements.safetensors"

    @property
    def distilled(self) -> Path:
        return self.path / "distilled"

    @property
    def grid(self) -> Path:
        return self.path / "grid.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def metrics_of(self, kind: str, index: int, name: str = "") -> Path:
        """Return the path of the metrics of one piece, which are added to those of the run when it is done."""
        return self.path / "metrics" / f"{'-'.join(filter(None, (kind, name)))}-{index:05d}.jsonl"

    def pool(self, number: int) -> Path:
        """Return the path of the states of one network of the pool."""
        return self.path / "pool" / f"{number:03d}.safetensors"

    def shard(self, index: int) -> Path:
        """Return the path of what losses observed in one shard, until it is merged."""
        return self.path / "shards" / f"{index:05d}.safetensors"

    def remove_shards(self) -> None:
        """Remove what was observed in shards. Raises StorageError if that fails."""
        folder = self.shard(0).parent
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error

    def chunk(self, index: int) -> Path:
        return self.path / "chunks" / f"{index:05d}.safetensors"

    def start(self, name: str) -> Path:
        """Return the path of the images of an initializer, as saved, and of their weights."""
        return self.path / "candidates" / f"{_checked(name)}.safetensors"

    def judged(self, candidate: str, index: int) -> Path:
        """Return the path of the results of one student that judged a candidate."""
        return self.path / "candidates" / f"{_checked(candidate)}-{index}.json"

    def student(self, label: str, index: int) -> Path:
        """Return the path of one student's results.

        label: names the dataset that the student was trained on, e.g. "wmdd"; letters, digits and '._-'.

        Raises StorageError for a label with other characters.
        """
        return self.path / "students" / f"{_checked(label)}-{index}.json"

    @staticmethod
    def number_of(student: Path) -> int:
        """Return the index of `student` from the path that it returned."""
        return int(student.stem.rpartition("-")[2])

    @property
    def begun(self) -> bool:
        """Whether a piece is finished, or a training is kept that is not."""
        return (self.path / FILE).exists() or unfinished_file(self.path, "").parent.exists()

    def unfinished(self, name: str) -> Path:
        """Return the path of what is kept of a training that is not finished.

        name: of the training, e.g. "teacher"; letters, digits and '._-'. Raises StorageError for other characters.
        """
        return unfinished_file(self.path, _checked(name))

    def has_unfinished(self, prefix: str) -> bool:
        """Return whether anything is kept whose name begins with `prefix`."""
        return any(unfinished_file(self.path, "").parent.glob(f"{prefix}*"))


def unfinished_file(folder: Path, name: str) -> Path:
    """Return the path of what is kept of a training whose outcome will lie in `folder`."""
    return folder / "unfinished" / f"{name}.training"


def _checked(label: str) -> str:
    if not _LABEL.fullmatch(label):
        raise StorageError(f"{label!r} cannot be in a file name; use letters, digits and '._-'")
    return label
