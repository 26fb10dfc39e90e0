"""Both ways of benchmarks/to_accuracy.py on a few images, its clock and its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from condense.data.dataset import RealDataset
from condense.storage.encoding import encode_png

Script = Callable[[str], ModuleType]


@pytest.fixture
def folder(make_dataset: Callable[..., RealDataset], tmp_path: Path) -> Path:
    """Class folders with the images of a tiny dataset."""
    dataset = make_dataset((6, 6, 6), size=16, channels=3)
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        for number, label in enumerate(split.labels.tolist()):
            place = tmp_path / "images" / part / f"{label}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.png").write_bytes(encode_png(split.images.read(torch.tensor([number]))[0]))
    return tmp_path / "images"


def test_both_ways_have_the_same_teacher_and_are_tested_after_the_same_epochs(
    script: Script, folder: Path, tmp_path: Path
) -> None:
    ways, to_accuracy = script("ways"), script("to_accuracy")
    settings = {**to_accuracy.SETTINGS, "teacher.model": "convnet", "teacher.model.width": 8}
    settings |= {"teacher.model.depth": 2, "teacher.epochs": 1}
    settings |= {"recover.iterations": 2, "protocol.epochs": 3, "protocol.batch_size": 4}
    problem = ways.Problem(name="tiny", dataset=f"folder:{folder}", settings=settings)
    options = argparse.Namespace(device="cpu", data_dir="", ipc=2, every=2, workers=0, seeds=1)

    rows = to_accuracy.measured(problem, tmp_path / "out", options)
    assert [row["way"] for row in rows] == ["plain", "condense"]
    for row in rows:
        assert [epoch for epoch, _, _ in row["tests"]] == [2, 3]
        seconds = [row["until_images"], *(seconds for _, seconds, _ in row["tests"])]
        assert seconds == sorted(seconds) and seconds[0] > 0
        assert row["wanted"] == pytest.approx(0.99 * rows[0]["accuracy"])
    out = tmp_path / "out" / "folder"
    taught = (out / "teacher-0" / "teacher.safetensors").read_bytes()
    assert (out / "condense-0" / "teacher.safetensors").read_bytes() == taught
    assert len(list((out / "plain-0").glob("*/*.png"))) == 6


def test_a_way_arrives_at_the_first_test_that_is_good_enough(script: Script) -> None:
    outcome = script("ways").Outcome(until_images=5.0, tests=[(1, 6.0, 0.5), (2, 7.0, 0.8), (3, 8.0, 0.7)])
    assert (outcome.until(0.5), outcome.until(0.7), outcome.until(0.9)) == (6.0, 7.0, None)
    assert outcome.final == 0.7


def test_the_clock_stands_still_while_paused(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = script("ways")
    now = iter([10.0, 13.0, 14.0, 19.0, 21.0])
    monkeypatch.setattr(ways.time, "perf_counter", lambda: next(now))
    watch = ways.StopWatch(torch.device("cpu"))
    assert watch.seconds() == 3
    with watch.paused():
        pass
    assert watch.seconds() == 6  # 21 - 10, without 14 to 19


def test_the_table_has_medians_and_ratios(script: Script) -> None:
    times = {"plain": (10.0, 30.0, 20.0), "condense": (4.0, 5.0, 2.0)}
    rows = [
        {"problem": "p", "way": way, "seconds": seconds, "until_images": 1.0, "accuracy": 0.5}
        for way, all_seconds in times.items()
        for seconds in all_seconds
    ]
    lines = script("to_accuracy").table(rows).splitlines()
    assert lines[2:] == [
        "| p | plain | 1.0 | 20.0 | 50.0% | 1.0 |",
        "| p | condense | 1.0 | 4.0 | 50.0% | 5.0 |",
    ]
    rows[-1]["seconds"] = None
    assert "| p | condense | 1.0 | not reached | 50.0% |  |" in script("to_accuracy").table(rows)
