"""Jobs of the executor `submitit`: processes of this computer in place of SLURM, and programs in place of SLURM's."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
pytest.importorskip("condense_slurm", reason="this installation is older than the plugin")

from condense_slurm import executor, worker
from condense_slurm.executor import JobCrew, Submitit
from condense_slurm.options import SubmititOptions

from condense.errors import OptionError, PluginError, StorageError
from condense.executors.pieces import Event, Failed, Finished, Lost, Piece

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="submitit needs Linux or macOS")


class Stage:
    """A crew, and what it tells."""

    crew: JobCrew
    interrupted_by = -1  # the piece whose first report ends the driver

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, piece: Piece, message: Any) -> None:
        if piece.index == self.interrupted_by:
            raise KeyboardInterrupt
        self.told.append((piece.index, message))

    def give(self, *indices: int) -> None:
        for index in indices:
            self.crew.give(Piece(kind="chunk", index=index))

    def take(self, count: int) -> list[Event]:
        found: list[Event] = []
        while len(found) < count:
            found += self.crew.wait()
        return found


@pytest.fixture
def stage(tmp_path: Path, orders: Any) -> Callable[..., Any]:
    """A function that returns a context with a crew of jobs."""

    @contextmanager
    def made(refuses: str = "", kind: str = "cpu", **options: Any) -> Iterator[Stage]:
        at = Stage()
        chosen = {"cluster": "local", "folder": str(tmp_path / "jobs"), "workers": 2, **options}
        order = orders.Order(str(tmp_path), refuses, kind)
        with Submitit(SubmititOptions(**chosen)).crew(order, orders.Site(tmp_path), at.tell) as crew:
            assert isinstance(crew, JobCrew)
            at.crew = crew
            yield at

    return made


def processes(folder: Path) -> list[int]:
    """The processes that began a piece."""
    return [int(line.split()[1]) for line in (folder / "began").read_text().splitlines()]


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within some seconds."""
    for _ in range(600):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_pieces_go_to_jobs_and_come_back_with_what_was_reported(stage: Any, tmp_path: Path) -> None:
    with stage(cores=3) as at:
        assert (at.crew.size, at.crew.threads, at.crew.idle()) == (2, 3, 2)
        at.give(0, 1)
        assert at.crew.idle() == 0
        found = at.take(2)
        at.give(2, 9)
        found += at.take(2)
        assert at.crew.idle() == 2
    assert all(isinstance(event, Finished | Failed) for event in found)
    done = {event.piece.index: event.facts["index"] for event in found if isinstance(event, Finished)}
    assert done == {0: 0, 1: 1, 2: 2}
    [failed] = [event for event in found if isinstance(event, Failed)]
    assert isinstance(failed.error, OptionError) and str(failed.error) == "it cannot be done"
    for index in (0, 1, 2, 9):
        assert [message for piece, message in at.told if piece == index] == [
            ("start", ("recover", "chunk", 2, "step")),
            ("advance", (2, {"loss": 0.5})),
        ]
    # A worker builds its site once, with its threads.
    assert {path.name for path in tmp_path.glob("site *")} == {
        f"site cpu 3 {pid}" for pid in processes(tmp_path)
    }
    assert all(map(gone, processes(tmp_path)))
    assert not (tmp_path / "jobs").exists()


def test_a_worker_that_is_killed_is_replaced_and_its_log_stays(stage: Any, tmp_path: Path) -> None:
    with stage(workers=1) as at:
        at.give(7)
        [lost] = at.take(1)
        assert isinstance(lost, Lost) and lost.piece.index == 7
        assert "ended (FINISHED; its log is " in lost.reason
        at.give(7)
        [found] = at.take(1)
    assert isinstance(found, Finished)
    assert len(set(processes(tmp_path))) == 2
    assert Path(lost.reason.partition("its log is ")[2].rstrip(")")).exists()


def test_an_interruption_ends_all_jobs(stage: Any, tmp_path: Path) -> None:
    with stage() as at:
        at.interrupted_by = 8
        at.give(8)
        with pytest.raises(KeyboardInterrupt):
            at.take(1)
    assert all(map(gone, processes(tmp_path)))
    assert not (tmp_path / "jobs").exists()


@pytest.mark.thorough
def test_a_job_that_is_silent_is_given_up(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage(workers=1) as at:
        at.give(8)
        while not (tmp_path / "began").exists():
            time.sleep(0.05)
        monkeypatch.setattr(worker, "SILENCE", 0.1)
        [lost] = at.take(1)
        assert isinstance(lost, Lost) and "was silent for long" in lost.reason
        assert all(map(gone, processes(tmp_path)))


@pytest.mark.thorough
def test_a_job_that_slurm_starts_again_gives_its_piece_back(stage: Any, tmp_path: Path) -> None:
    with stage(workers=1) as at:
        at.give(8)
        while not (tmp_path / "began").exists():
            time.sleep(0.05)
        [(number, name)] = at.crew._box.taken().items()
        at.crew._box.end(number, name, b"")  # as a worker does with what its earlier life left
        [lost] = at.take(1)
    assert isinstance(lost, Lost) and lost.reason.endswith(" was interrupted and began again")


def test_what_a_site_lacks_is_told(stage: Any) -> None:
    with stage(refuses="storage is not shared") as at:
        at.give(0)
        [failed] = at.take(1)
    assert isinstance(failed, Failed) and str(failed.error) == "storage is not shared"


def test_jobs_that_end_before_they_begin_are_told_with_what_they_need(stage: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"3 jobs.*ended before they took a piece.*Jobs must see .*jobs"),
        stage(setup="false") as at,
    ):
        at.give(0)
        at.take(1)
    assert not (tmp_path / "began").exists()


def test_jobs_of_slurm_ask_for_what_was_chosen(stage: Any, slurm: Any, tmp_path: Path) -> None:
    with stage(
        cluster="slurm",
        partition="long",
        time=90,
        cores=3,
        memory=1.5,
        sbatch="--reservation=mine --exclusive",
    ) as at:
        at.give(0, 1)
        found = at.take(2)
        scripts = slurm()
    assert {event.facts["job"] for event in found} <= set(scripts)
    assert len(scripts) == 2
    for line in (
        "partition=long",
        "time=90",
        "cpus-per-task=3",
        "mem=1536MB",
        "reservation=mine",
        "exclusive",
        "job-name=condense",
    ):
        assert all(f"\n#SBATCH --{line}\n" in script for script in scripts.values())
    assert not any("gpus" in script for script in scripts.values())
    assert all(map(gone, processes(tmp_path)))


@pytest.mark.thorough
def test_a_job_of_slurm_that_is_lost_is_told_with_its_state_and_others_are_cancelled(
    stage: Any, slurm: Any, tmp_path: Path
) -> None:
    with stage(cluster="slurm", workers=1) as at:
        at.give(7)
        [lost] = at.take(1)
        assert isinstance(lost, Lost)
        [number] = slurm()
        assert lost.reason.startswith(f"job {number} ended (NODE_FAIL; its log is ")
        at.give(8)
        while len(processes(tmp_path)) < 2:
            time.sleep(0.05)
        [other] = set(slurm()) - {number}
    assert (tmp_path / "slurm" / "cancelled").read_text().split() == [other]
    assert all(map(gone, processes(tmp_path)))


@pytest.mark.usefixtures("slurm")
def test_a_job_that_slurm_refuses_ends_the_run_with_its_words(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "invalid partition specified: fast")
    with (
        pytest.raises(OptionError, match=r"a job was refused: .*invalid partition specified: fast"),
        stage(cluster="slurm", partition="fast") as at,
    ):
        at.give(0)


@pytest.mark.thorough
def test_jobs_that_wait_for_long_are_told_once(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_PATIENCE", 0.0)
    with stage(workers=1) as at:
        at.give(0)
        at.take(1)
        [job] = at.crew._jobs.values()
        at.give(1)
        at.take(1)
    notes = [message[1][0] for _, message in at.told if message[0] == "note"]
    assert notes == [f"no job has begun yet: {job.job.job_id} (RUNNING)"]


def test_without_slurm_the_error_says_where_to_start(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(OptionError, match=r"Could not detect .srun.*submitit\(cluster=local\)"),
        stage(cluster="slurm"),
    ):
        raise AssertionError("there is no SLURM here")


def test_without_submitit_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(PluginError, match=r"pip install 'condense-toolkit\[slurm\]'"):
        Submitit(SubmititOptions())
