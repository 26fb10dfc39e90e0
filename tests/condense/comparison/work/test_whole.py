"""Whole comparisons on a tiny dataset: what all rows share, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

import condense
from condense import api
from condense.comparison import work
from condense.comparison.outcome import Outcome
from condense.comparison.report import write
from condense.comparison.summary import Summary
from condense.data.dataset import MemoryImages, Split
from condense.engine.components import EvaluationRequest, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.errors import ModelError


def read_outcome(path: Path) -> Outcome:
    """The comparison in a compare.json, or in the folder of one."""
    file = path if path.is_file() else path / "compare.json"
    return msgspec.convert(json.loads(file.read_text(encoding="utf-8")), Outcome)


Site = Any  # these are in conftest.py, which tests cannot import
Spy = Any


@pytest.mark.slow
def test_all_rows_share_dataset_teacher_and_initial_weights(site: Site, spy: Spy) -> None:
    result = site.compare("wmdd", "random", seeds=2, students=2, settings={"student.model": "convnet"})
    assert (spy.teachers, spy.loaded, len(spy.runs)) == (1, 1, 4)
    weights: dict[tuple[int, int], set[bytes]] = {}
    for _, seed, student, first in spy.students:
        weights.setdefault((seed, student), set()).add(first)
    assert {place: len(found) for place, found in weights.items()} == {
        (0, 0): 1,
        (0, 1): 1,
        (1, 0): 1,
        (1, 1): 1,
    }
    assert len(set.union(*weights.values())) == 4
    outcome = result.outcome
    assert [len(cell.accuracies) for cell in outcome.cells] == [2] * 4
    assert {found.settings["teacher"]["seed"] for found in outcome.distilled} == {0}
    assert outcome.teacher is not None and outcome.teacher.model == "convnet"
    assert len(list((site.out / "teachers").glob("*.safetensors"))) == 1
    # Nothing is computed twice, and more students are added to those there are.
    site.compare("wmdd", "random", seeds=2, students=3, settings={"student.model": "convnet"})
    assert (spy.teachers, len(spy.runs), len(spy.students)) == (1, 4, 12)


def test_a_comparison_in_full(site: Site) -> None:
    result = site.compare("wmdd", scores=True)
    outcome = read_outcome(result.path)
    assert outcome == read_outcome(result.path / "compare.json")
    assert (outcome.kind, outcome.dataset, outcome.finished) == ("compare", "tiny", True)
    assert (outcome.classes, outcome.images, outcome.bytes) == (3, 21, 21 * 64)
    assert [row.label for row in outcome.rows] == ["wmdd", "random"] and outcome.reference == "random"
    assert [cell.column for cell in outcome.cells] == ["fkd@1", "fkd@1/hard", "fkd@1/plain"] * 2
    for found in outcome.distilled:
        assert (result.path / found.path / "run.json").is_file()
        assert (result.path / found.grid).resolve().is_relative_to(result.path.resolve())
        assert (result.path / found.grid).read_bytes() == (result.path / found.path / "grid.png").read_bytes()
        assert set(found.seconds) == {"measure", "recover"}
    teacher = outcome.teacher
    assert teacher is not None
    for cell in outcome.cells:
        assert (
            cell.bytes["teacher"] == (0 if cell.column.endswith("hard") else teacher.bytes)
            and cell.steps == 1
        )
        assert cell.bytes["labels"] == 3
    assert result.summary.ceiling == teacher.accuracy
    assert result.summary.line("wmdd", 1, "fkd@1").lrs is not None
    assert result.to_dict()["table"] and not result.failures


def test_soft_labels_are_the_teachers_and_counted(site: Site) -> None:
    (cell,) = site.compare("random").outcome.cells
    soft = site.compare("random", protocol="fkd", settings={"protocol.labels": "soft"}, name="soft")
    (other,) = soft.outcome.cells
    assert soft.outcome.columns[0].labels == "soft"
    assert other.bytes["labels"] > cell.bytes["labels"] and other.bytes["teacher"] == 0


def test_every_seed_is_tested_on_the_same_images_held_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []

    def look(_: object, request: EvaluationRequest) -> StudentResult:
        split: Split = request.dataset.test
        assert isinstance(split.images, MemoryImages)
        tested.append((request.seed, split.images.pixels.numpy().tobytes()))
        return StudentResult(student=request.student, accuracy=0.5, seconds=1.0, steps=2)

    monkeypatch.setattr(StudentEvaluator, "evaluate", look)
    result = site.compare("random", seeds=2, validation=0.5)
    assert [seed for seed, _ in tested] == [0, 1] and len({images for _, images in tested}) == 1
    assert result.outcome.validation == 0.5 and result.outcome.images == 10
    assert any("held out" in note or "stand in" in note for note in result.outcome.notes)
    # The run of the second seed can be repeated by itself, with the same images held out.
    second = next(found for found in result.outcome.distilled if found.seed == 1)
    alone = condense.repeat(result.path / second.path, out=site.out, name="alone", registry=site.registry)
    assert torch.equal(alone.distilled.images, condense.load(result.path / second.path).images)


def test_what_is_passed_on_does_not_say_where_files_lie(site: Site, tmp_path: Path) -> None:
    for split, label in product(("train", "val"), ("cat", "dog")):
        (tmp_path / "pets" / split / label).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 8), 40 * number).save(tmp_path / "pets" / split / label / f"{number}.png")
    (tmp_path / "pets" / "test").mkdir()  # a note says that it is not used
    teacher = {"teacher.model": "convnet", "teacher.model.width": 8, "teacher.model.depth": 2}
    pets = f"folder:{tmp_path / 'pets'}"
    made = site.compare("random", dataset=pets, settings={**teacher, "teacher.epochs": 0, "dataset.size": 8})
    (weights,) = (site.out / "teachers").glob("*.safetensors")
    settings = {**teacher, "teacher.checkpoint": str(weights), "dataset.size": 8}
    taught = site.compare("random", dataset=pets, settings=settings)
    for result in (made, taught):
        assert str(tmp_path) not in json.dumps(result.to_dict())
        assert (result.outcome.dataset, len(result.outcome.notes)) == ("folder:pets", len(made.outcome.notes))
    assert f"teacher.checkpoint={weights.name}" in taught.outcome.command
    assert "test/ is not used: val/ is the test split" in made.outcome.notes


def test_the_files_are_written_by_the_interface_and_not_by_the_work(
    site: Site,
    write_all: Callable[[Outcome, Summary, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write, "write_all", write_all)
    design = site.design("random", seeds=2)
    computed = work.carry_out(design, site.out, site.registry)
    assert computed.outcome.finished and not computed.failures
    assert sorted(file.name for file in computed.path.iterdir()) == ["compare.json", "grids"]
    # It was written on the way, for the case of an interruption.
    assert not read_outcome(computed.path).finished
    result = api.carry_out(design, site.out, site.registry)
    assert sorted(file.name for file in result.path.iterdir()) == [
        *("compare.html", "compare.json", "compare.md", "compare.png", "grids")
    ]
    # The second time the teacher was there already.
    first, second = (replace(found.outcome, teacher=None) for found in (computed, result))
    assert first == second
    assert read_outcome(result.path).finished
    assert json.loads((result.path / "compare.json").read_text()) == result.to_dict()


def test_students_of_several_networks_learn_from_the_same_images(site: Site, spy: Spy) -> None:
    narrow, wide = "convnet(width=4,depth=1)", "convnet(width=8,depth=1)"
    both = site.compare("random", student=f"{narrow},{wide}", seeds=2)
    assert (len(spy.runs), len(spy.students)) == (2, 4)
    summary = both.summary
    assert [column.student for column in summary.columns] == [narrow, wide]
    assert all(line.seeds == 2 and line.interval for line in summary.lines)
    # A table with another network finds the images and the students that there are.
    alone = site.compare("random", student=wide, seeds=2)
    assert (len(spy.runs), len(spy.students)) == (2, 4)
    assert alone.summary.lines[0].mean == summary.line("random", 1, f"fkd@1 {wide}").mean


def test_every_teacher_labels_the_rows_that_are_its_own(site: Site, spy: Spy) -> None:
    narrow, wide = "convnet(width=4,depth=1)", "convnet(width=8,depth=1)"
    both = site.compare("random", teacher_model=[narrow, wide], student=narrow)
    assert (spy.teachers, len(spy.runs), len(spy.students)) == (2, 2, 2)
    assert list(both.outcome.teachers) == [narrow, wide]
    assert both.outcome.teacher == both.outcome.teachers[narrow]
    assert len(list((site.out / "teachers").glob("*.safetensors"))) == 2
    # Each row is what a comparison under this teacher alone gives, and is found again there.
    for teacher in (narrow, wide):
        alone = site.compare("random", teacher_model=teacher, student=narrow)
        line = both.summary.line(f"random teacher={teacher}", 1, "fkd@1")
        assert alone.summary.lines[0].mean == line.mean
        assert alone.outcome.teacher is not None
        assert alone.outcome.teacher.hash == both.outcome.teachers[teacher].hash
    assert (spy.teachers, len(spy.runs), len(spy.students)) == (2, 2, 2)


def test_a_teacher_that_cannot_be_is_refused_before_any_is_trained(site: Site, spy: Spy) -> None:
    with pytest.raises(ModelError):
        site.compare("random", teacher_model="convnet(width=4,depth=1),convnet(depth=9)")
    assert spy.teachers == 0


def test_a_student_that_does_not_fit_is_refused_before_any_work(site: Site) -> None:
    with pytest.raises(ModelError, match="depth 9"):
        site.compare("random", student="convnet(width=4,depth=1),convnet(depth=9)")


def test_what_students_kept_is_told_of_new_and_of_finished_runs(site: Any) -> None:
    settings = {"iterations": 2, "select.students": 1, "select.epochs": 1, "select.snapshots": 1}
    terms: dict[str, Any] = {"epochs": 1, "reference": False, "settings": settings}
    kept = [site.compare("wmdd", name=name, **terms).outcome.distilled[0].kept for name in ("new", "again")]
    assert kept[0] == kept[1]
    assert kept[0] in ("step 2 of 2, begun with noise", "the start noise, without recovery")
