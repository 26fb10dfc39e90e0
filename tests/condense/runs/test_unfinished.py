"""A run that ends in the middle of every training goes on from the last epoch, to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from condense.runtime import SilentReporter

EPOCHS = {"teacher.epochs": 3, "protocol.epochs": 3}


def attempts(site: Any, impatient: Any, **options: Any) -> tuple[Any, list[str]]:
    """The result of a run after as many attempts as it takes, and what all of them said."""
    told: list[str] = []
    while True:
        reporter = impatient()
        begun = (site.out / options["name"] / "run.json").exists()
        try:
            return site.run(reporter=reporter, resume=begun, keep_minutes=0, **options), told + reporter.notes
        except impatient.Stopped:
            told += reporter.notes


def results(site: Any, path: Path) -> dict[str, bytes]:
    """Every file of a run that no time stands in; a student's result without its seconds."""
    found: dict[str, bytes] = site.tree(path)
    for name in [*found]:
        if name.startswith("students/"):
            found[name] = json.dumps({**json.loads(found[name]), "seconds": 0}).encode()
    timed = ("run.json", "metrics.jsonl", "checksums.jsonl", "report.html")
    return {name: content for name, content in found.items() if name not in timed}


@pytest.mark.parametrize(("labels", "shared"), [("hard", False), ("soft", True)])
def test_every_epoch_is_kept(labels: str, shared: bool, site: Any, tmp_path: Path, impatient: Any) -> None:
    options = {"students": 1, "reference": False, "settings": {**EPOCHS, "protocol.labels": labels}}
    whole = site.run(name="whole", **options)
    shelf = tmp_path / "shelf"
    more = {"teachers": shelf} if shared else {}
    result, told = attempts(site, impatient, name="one", **options, **more)
    assert results(site, result.path) == results(site, whole.path)
    assert site.accuracies(result) == site.accuracies(whole)
    assert result.teacher_accuracy == whole.teacher_accuracy
    going_on = [note for note in told if "goes on after epoch" in note]
    assert going_on == [
        *(f"the teacher goes on after epoch {done} of 3" for done in (1, 2)),
        *(f"student 0 goes on after epoch {done} of 3" for done in (1, 2)),
    ]
    assert not list(tmp_path.rglob("unfinished"))


def test_students_that_are_trained_together(site: Any, tmp_path: Path, impatient: Any) -> None:
    settings = {**EPOCHS, "protocol.labels": "hard", "student.together": 2}
    options = {"students": 2, "reference": False, "settings": settings}
    whole = site.run(name="whole", **options)
    result, told = attempts(site, impatient, name="one", **options)
    assert results(site, result.path) == results(site, whole.path)
    going_on = [note for note in told if note.startswith("the stack")]
    assert going_on == [
        f"the stack of student 0 and student 1 goes on after epoch {done} of 3" for done in (1, 2)
    ]
    assert not list(tmp_path.rglob("unfinished"))


def test_the_judges_of_a_selection_and_the_networks_of_a_pool(
    site: Any, tmp_path: Path, impatient: Any
) -> None:
    settings = {
        "parametrization": "identity",
        "pool.model": "convnet(width=4,depth=2)",
        "pool.networks": 1,
        "pool.epochs": 2,
        "select.students": 1,
        "select.epochs": 2,
        "select.snapshots": 1,
    }
    options = {"students": 0, "reference": False, "settings": settings}
    whole = site.run("ncfm", name="whole", **options)
    result, told = attempts(site, impatient, method="ncfm", name="one", **options)
    found, expected = results(site, result.path), results(site, whole.path)
    timed = {name for name in expected if name.startswith("candidates/") and name.endswith(".json")}
    assert {name: found[name] for name in found.keys() - timed} == {
        name: expected[name] for name in expected.keys() - timed
    }
    assert result.choice == whole.choice
    going_on = [note for note in told if "goes on after epoch" in note]
    assert sorted({note.split(" goes")[0] for note in going_on}) == [
        "network 0 of the pool (convnet)",
        "student 0",
    ]
    assert not list(tmp_path.rglob("unfinished"))


def test_nothing_is_kept_of_a_training_of_some_seconds(site: Any) -> None:
    class Looking(SilentReporter):
        def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
            assert not (site.out / "one" / "unfinished").exists()

    site.run(name="one", students=1, reporter=Looking())
