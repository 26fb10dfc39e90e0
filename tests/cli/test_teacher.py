"""`condense teacher`: by one process, by two that share a training, and by two of which one goes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file

from condense.storage.files import read_json

Invoke = Callable[..., Result]

NETWORK = [
    "--set",
    "teacher.model=convnet",
    "--set",
    "teacher.model.width=4",
    "--set",
    "teacher.model.depth=2",
]
HERE = ["--device", "cpu", "--precision", "fp32"]
# The shortest run that has a teacher.
SHORT = ["--ipc", "1", "--iterations", "1", "--students", "0", "--set", "select.students=0"]


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """A folder of 3 classes of 7 grey images of 8x8 pixels, as options."""
    draws = torch.Generator().manual_seed(0)
    for split, label, number in itertools.product(("train", "val"), range(3), range(7)):
        folder = tmp_path / "images" / split / "abc"[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 60, (8, 8), generator=draws) + 90 * label
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return ["--dataset", f"folder:{tmp_path / 'images'}", "--set", "dataset.size=8"]


def words(images: Sequence[str], *more: str, epochs: int = 3) -> list[str]:
    """The options of a teacher. The last batch of an epoch is odd, so that two shares differ in size."""
    sizes = ["--set", f"teacher.epochs={epochs}", "--set", "teacher.batch_size=8"]
    return ["--method", "wmdd", *images, *NETWORK, *sizes, *HERE, *more]


def weights(file: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(file)
    return found


class Rank:
    """One of several processes, as torchrun would start them."""

    def __init__(self, number: int, count: int, port: int, line: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "condense_cli", *line],
            env={
                **os.environ,
                "RANK": str(number),
                "WORLD_SIZE": str(count),
                "LOCAL_RANK": str(number),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for the process. Return its status, and what it wrote to stdout and stderr."""
        out, told = self.process.communicate(timeout=300)
        return self.process.returncode, out, told


def start(line: Sequence[str], count: int = 2) -> list[Rank]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [Rank(number, count, port, line) for number in range(count)]


def wait_for(found: Callable[[], Any], processes: Sequence[subprocess.Popen[str]]) -> None:
    ends = time.monotonic() + 240
    while not found():
        assert time.monotonic() < ends
        assert all(process.poll() is None for process in processes), [one.communicate() for one in processes]
        time.sleep(0.05)


def test_one_process_trains_the_teacher_of_a_run_to_the_byte(
    condense: Invoke, images: list[str], tmp_path: Path
) -> None:
    result = condense("teacher", "t/mine.safetensors", *words(images))
    assert result.exit_code == 0, result.output
    told = read_json(tmp_path / "t" / "mine.json")
    assert told["processes"] == 1
    assert told["classes"] == ["a", "b", "c"]
    assert f"t/mine.safetensors: {told['accuracy']:.1%} on the test images" in result.stdout
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["mine.json", "mine.safetensors"]
    assert condense("run", *words(images), *SHORT, "--name", "whole").exit_code == 0
    own = (tmp_path / "runs" / "whole" / "teacher.safetensors").read_bytes()
    assert own == (tmp_path / "t" / "mine.safetensors").read_bytes()


def test_the_same_command_again_finds_the_teacher_and_another_one_refuses(
    condense: Invoke, images: list[str], tmp_path: Path
) -> None:
    # A file of this name in a run directory is told of by run.json; here, by what lies beside it.
    file = tmp_path / "teacher.safetensors"
    assert condense("teacher", str(file), *words(images, epochs=1)).exit_code == 0
    first, when = file.read_bytes(), file.stat().st_mtime_ns
    again = condense("teacher", str(file), *words(images, "--json", epochs=1))
    assert again.exit_code == 0
    assert "is there already" in again.stderr
    assert json.loads(again.stdout) == {
        "file": str(file),
        **{key: read_json(file.with_suffix(".json"))[key] for key in ("accuracy", "seconds", "processes")},
    }
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (first, when)
    other = condense("teacher", str(file), *words(images, "--seed", "1", epochs=1))
    assert other.exit_code == 1
    assert "exists and is not of this teacher" in other.stderr
    file.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    mended = condense("teacher", str(file), *words(images, epochs=1))
    assert "is damaged or gone, so it is trained again" in mended.stdout
    assert file.read_bytes() == first
    facts = read_json(file.with_suffix(".json"))
    file.with_suffix(".json").write_text(json.dumps({**facts, "classes": ["c", "b", "a"]}))
    used = condense("run", "--method", "wmdd", *images, *NETWORK, *HERE, *SHORT, "--teacher", str(file))
    assert "learned the classes in another order" in used.stderr


@pytest.mark.parametrize(
    ("file", "more", "told"),
    [
        ("t.pt", [], "ends in .safetensors, which t.pt does not"),
        (
            "t.safetensors",
            ["--set", "teacher.epochs=0"],
            "nothing to train: --set teacher.epochs=N trains it",
        ),
        (
            "t.safetensors",
            ["--set", "teacher.checkpoint=a.pt"],
            "teacher.checkpoint has no effect on the training",
        ),
        (
            "t.safetensors",
            ["--set", "recover.iterations=5"],
            "recover.iterations has no effect on the training",
        ),
        ("t.safetensors", ["--set", "lr=5"], "lr has no effect on the training of a teacher"),
        ("t.safetensors", ["--set", "teacher.check=note"], "teacher.check has no effect on the training"),
    ],
)
def test_what_cannot_be_trained_is_refused(condense: Invoke, file: str, more: list[str], told: str) -> None:
    result = condense("teacher", file, "--method", "wmdd", "--device", "cpu", *more)
    assert result.exit_code == 1
    assert told in result.stderr


def test_pretrained_weights_are_nothing_to_train(condense: Invoke) -> None:
    result = condense("teacher", "t.safetensors", "--method", "wmdd", "--dataset", "imagenet-1k")
    assert result.exit_code == 1
    assert "--set teacher.model.pretrained=false --set teacher.epochs=N trains" in result.stderr


def test_the_method_is_required(condense: Invoke) -> None:
    result = condense("teacher", "t.safetensors")
    assert result.exit_code == 2
    assert "--method is missing" in result.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_two_processes_train_the_teacher_of_one_up_to_rounding(
    condense: Invoke, images: list[str], tmp_path: Path
) -> None:
    norm = ["--set", "teacher.model.norm=instance"]
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    assert condense("teacher", str(one), *words(images, *norm)).exit_code == 0
    (status, out, told), other = [rank.end() for rank in start(["teacher", str(two), *words(images, *norm)])]
    assert (status, told) == (0, "")
    assert "by 2 processes" in out
    assert other == (0, "", "")
    alone, together = weights(one), weights(two)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-5)
    facts = read_json(two.with_suffix(".json"))
    assert facts["processes"] == 2
    assert facts["accuracy"] == read_json(one.with_suffix(".json"))["accuracy"]
    used = condense(
        *["run", "--method", "wmdd", *images, *NETWORK, *norm, *HERE, *SHORT, "--teacher", str(two)],
        *["--without", "class-batchnorm", "--name", "r"],
    )
    assert used.exit_code == 0, used.output
    assert (
        read_json(tmp_path / "runs" / "r" / "run.json")["stages"]["squeeze"]["accuracy"] == facts["accuracy"]
    )


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_ends_the_other_and_the_training_goes_on(
    condense: Invoke, images: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "t.safetensors"
    line = ["teacher", str(file), *words(images, "--keep-minutes", "0", epochs=400)]
    ranks = start(line)
    wait_for(lambda: list((tmp_path / "unfinished").glob("t-*.training")), [one.process for one in ranks])
    ranks[1].process.kill()
    status, _, told = ranks[0].end()
    ranks[1].end()
    assert status == 1
    [error] = [line for line in told.splitlines() if line.startswith("Error")]
    assert "another of the 2 processes that train the network has ended without a word" in error
    assert "Traceback" not in told
    assert not file.exists()
    # One process goes on with what two have kept.
    result = condense("teacher", str(file), *words(images, epochs=400))
    assert result.exit_code == 0, result.output
    assert "the teacher goes on after epoch" in result.stdout
    assert not (tmp_path / "unfinished").exists()
    assert read_json(file.with_suffix(".json"))["processes"] == 1


@pytest.mark.thorough
@pytest.mark.slow
def test_an_error_of_all_is_told_once(images: list[str], tmp_path: Path) -> None:
    line = ["teacher", str(tmp_path / "t.safetensors"), *words(images, "--set", "teacher.lr=1e30")]
    ends = [rank.end() for rank in start(line)]
    assert [status for status, _, _ in ends] == [1, 1]
    assert sum(told.count("Error: the loss of the teacher became") for _, _, told in ends) == 1
    assert not any("Traceback" in told for _, _, told in ends)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
def test_torchrun_starts_processes_and_ctrl_c_ends_them_with_one_message(
    images: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "t.safetensors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [*torchrun, "-m", "condense_cli", "teacher", str(file)]
    process = subprocess.Popen(
        [*line, *words(images, "--keep-minutes", "0", epochs=3000)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list((tmp_path / "unfinished").glob("t-*.training")), [process])
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=300)[0]
    assert process.returncode != 0
    assert (
        told.count("Interrupted. What was kept of the training is used when the same command is started") == 1
    )
    assert "condense_cli/teacher.py" not in told
    short = words(images, epochs=2)
    done = subprocess.run([*line, *short], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("by 2 processes") == 1
    assert read_json(file.with_suffix(".json"))["processes"] == 2
