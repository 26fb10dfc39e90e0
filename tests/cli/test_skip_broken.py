"""`--skip-broken`: without it a broken file ends a command, with it the files are named and the results say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

Invoke = Callable[..., Result]

TINY = ["--ipc", "1", "--students", "1", "--device", "cpu", "--set", "protocol.epochs=1"]
TINY += ["--set", "protocol.labels=hard", "--set", "student.model=convnet", "--set", "student.model.width=8"]


@pytest.fixture
def pets(tmp_path: Path) -> str:
    """Small grey images of two classes, and two broken files."""
    for split in ("train", "val"):
        for name, colour in (("cat", 60), ("dog", 190)):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(3):
                Image.new("L", (8, 8), colour + index).save(folder / f"{index}.png")
    (tmp_path / "pets" / "train" / "cat" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "pets" / "val" / "dog" / "empty.png").touch()
    return f"folder:{tmp_path / 'pets'}"


def test_a_run_names_what_it_leaves_out_and_writes_it_down(condense: Invoke, pets: str) -> None:
    words = ["run", "--method", "random", "--dataset", pets, *TINY, "--name", "mine"]
    refused = condense(*words)
    assert refused.exit_code == 1
    assert "pets/train/cat/cut.png is not an image" in refused.stderr
    assert "1 of 14 files is broken as well: val/dog/empty.png is not an image" in refused.stderr
    assert refused.stderr.rstrip().endswith("--skip-broken leaves broken files out")
    assert not Path("runs").exists()
    done = condense(*words, "--skip-broken")
    assert done.exit_code == 0, done.output
    said = "2 of 14 files are broken and left out: train/cat/cut.png is not an image"
    assert f"note: {said}" in done.stdout
    run = json.loads(Path("runs/mine/run.json").read_text())
    assert run["settings"]["recipe"]["dataset"]["options"]["skip_broken"] is True
    assert any(note.startswith(said) for note in run["outcome"]["notes"])
    assert said in Path("runs/mine/report.html").read_text()
    again = condense("evaluate", "runs/mine", "--students", "1")
    assert again.exit_code == 0, again.output
    assert f"note: {said}" in again.stdout


def test_a_comparison_names_what_it_leaves_out(condense: Invoke, pets: str) -> None:
    settings = ["--seeds", "1", "--no-scores", "--set", "teacher.epochs=0", "--set", "teacher.model=convnet"]
    words = ["compare", "random", "--dataset", pets, *TINY, *settings, "--name", "pets"]
    assert condense(*words).exit_code == 1
    done = condense(*words, "--skip-broken")
    assert done.exit_code == 0, done.output
    said = "2 of 14 files are broken and left out: train/cat/cut.png is not an image"
    assert " ".join(said.split()) in " ".join(done.stdout.split())
    assert any(
        note.startswith(said) for note in json.loads(Path("runs/pets/compare.json").read_text())["notes"]
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["run", "--method", "random", "--skip-broken"],
            "unknown option 'dataset.skip_broken': dataset 'fashion-mini' has no options",
        ),
        (["run", "--from", "x", "--skip-broken"], "cannot be combined with --skip-broken"),
        (
            ["compare", "random", "--skip-broken", "--set", "dataset.skip_broken=false"],
            "--skip-broken and --set dataset.skip_broken say the same thing; give one of them",
        ),
        (["compare", "random", "--jobs", "2", "--loaders", "2"], "loaders must be 0 with the executor"),
        (["run", "--method", "random", "--loaders", "-1"], "-1 is not in the range x>=0"),
        (
            ["run", "--method", "random", "--set", "loaders=2"],
            "'loaders' is an option of its own (--loaders)",
        ),
        (
            ["run", "--method", "random", "--device", "cpu", "--jpeg-decoder", "cuda"],
            "the JPEG decoder of CUDA needs a CUDA device, not cpu; use --jpeg-decoder cpu",
        ),
    ],
)
def test_what_does_not_fit_is_refused(condense: Invoke, words: list[str], text: str) -> None:
    refused = condense(*words)
    assert refused.exit_code != 0
    assert text in refused.stderr
