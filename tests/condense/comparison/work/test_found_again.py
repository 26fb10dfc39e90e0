"""What is finished is found again by every comparison that needs it, and nothing is computed or read twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.comparison import study
from condense.comparison.work import ComparisonResult
from condense.comparison.workspace import look_ahead
from condense.data.dataset import RealDataset
from condense.engine.evaluate import StudentEvaluator
from condense.models.catalog import ConvNetOptions
from condense.models.convnet import ConvNet
from condense.recipe.registry import KINDS, PluginStatus, Registry
from condense.recipe.specs import EvaluatorSpec, ModelSpec
from condense.runtime import SilentReporter

Site = Any  # these are in conftest.py, which tests cannot import
Spy = Any
Saved = Callable[[ComparisonResult], Any]


def test_the_same_comparison_again_computes_nothing(site: Site, spy: Spy, saved: Saved) -> None:
    first = saved(site.compare("wmdd"))
    before = (spy.teachers, len(spy.runs), len(spy.students))
    assert saved(site.compare("wmdd")) == first
    assert (spy.teachers, len(spy.runs), len(spy.students)) == before == (1, 2, 2)


def test_a_sweep_and_an_ablation_take_what_a_comparison_made(site: Site, spy: Spy) -> None:
    site.compare("wmdd")
    terms = site.terms("wmdd", settings={"regularizers.class-batchnorm": [10.0, 3.0]})
    swept = condense.sweep("wmdd", out=site.out, registry=site.registry, **terms)
    assert [row.label for row in swept.outcome.rows] == [
        "wmdd class-batchnorm=10",
        "wmdd class-batchnorm=3",
        "random",
    ]
    assert spy.runs == ["wmdd", "random", "wmdd"]
    ablated = condense.ablate(
        "wmdd", out=site.out, registry=site.registry, reference=False, **site.terms("wmdd")
    )
    assert spy.runs == ["wmdd", "random", "wmdd", *["wmdd"] * (len(ablated.outcome.rows) - 1)]
    assert ablated.outcome.kind == "ablate" and not ablated.failures


def test_a_checkpoint_is_the_teacher_of_all_and_known_by_its_content(site: Site, spy: Spy) -> None:
    made = site.compare("random")
    teacher = next((site.out / "teachers").glob("*.safetensors"))
    copy = site.out / "teacher.safetensors"
    copy.write_bytes(teacher.read_bytes())
    settings = {"teacher.checkpoint": str(copy)}
    loaded = site.compare("random", settings=settings)
    assert made.outcome.teacher is not None and loaded.outcome.teacher is not None
    assert loaded.outcome.teacher.accuracy == made.outcome.teacher.accuracy
    assert [cell.accuracies for cell in loaded.outcome.cells] == [
        cell.accuracies for cell in made.outcome.cells
    ]
    assert spy.runs == ["random"] * 2
    site.compare("random", settings=settings)
    assert spy.runs == ["random"] * 2


def test_distilled_images_are_found_again_however_they_are_judged_and_wherever(
    site: Site, spy: Spy, tmp_path: Path
) -> None:
    (first,) = site.compare("random").outcome.cells
    elsewhere = {"device": "cpu:0", "data_dir": tmp_path / "elsewhere"}
    (same,) = site.compare("random", name="same", **elsewhere).outcome.cells
    assert same == first
    (more,) = site.compare("random", name="more", students=3, **elsewhere).outcome.cells
    assert (len(more.accuracies), more.accuracies[:1]) == (3, first.accuracies)
    site.compare("random", name="other", protocol="dc", **elsewhere)
    assert (spy.teachers, spy.runs) == (1, ["random"])
    # Students 0, 1 and 2 by the protocol of the method, each of them once, and student 0 by the other protocol.
    assert [student for _, _, student, _ in spy.students] == [0, 1, 2, 0]
    assert len(list((site.out / "cells").glob("random-*"))) == 1


def test_images_for_another_precision_are_made_anew(site: Site, spy: Spy) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        assert not site.compare("random", precision=precision).failures
    assert (spy.teachers, spy.runs, len(spy.students)) == (2, ["random"] * 2, 2)


def test_what_was_just_computed_is_not_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read_json = study.read_json
    read: list[str] = []

    def counted(file: Path) -> Any:
        read.append(file.parent.name if file.parent.name == "students" else file.name)
        return read_json(file)

    monkeypatch.setattr(study, "read_json", counted)
    site.compare("random", seeds=2, scores=True)
    assert read == []
    site.compare("random", seeds=2, scores=True)
    # 2 cells with 3 columns of 1 student each
    assert read == ["students"] * 6


def test_looking_ahead_counts_and_writes_nothing(site: Site) -> None:
    def outlook() -> tuple[int, int, int, int]:
        design = site.design("wmdd", scores=True, seeds=2)
        found = look_ahead(design, site.out, site.registry)
        return found.cells, found.cells_done, found.students, found.students_done

    assert outlook() == (4, 0, 12, 0)
    assert not site.out.exists()
    site.compare("random", seeds=1)
    before = sorted(site.out.rglob("*"))
    assert outlook() == (4, 1, 12, 1)
    assert sorted(site.out.rglob("*")) == before


def test_looking_ahead_finds_the_work_of_whatever_device_was_chosen(site: Site) -> None:
    def done(**terms: Any) -> tuple[int, int]:
        found = look_ahead(site.design("random", seeds=2, **terms), site.out, site.registry)
        return found.cells_done, found.students_done

    site.compare("random", precision="fp32")
    assert done(device="auto") == done(device="cpu") == done(device="cpu", precision="fp32") == (1, 1)
    assert done(device="cuda") == done(device="cpu", precision="bf16") == (0, 0)
    site.compare("random", seeds=2, precision="bf16")
    # Of two kinds of machine that have worked here, the one that has done most counts.
    assert done(device="auto") == done(device="cpu", precision="bf16") == (2, 2)
    assert done(device="cpu", precision="fp32") == (1, 1)


@pytest.mark.parametrize("part", [pytest.param("evaluator", marks=pytest.mark.thorough), "model"])
def test_students_of_another_version_of_a_plugin_are_trained_again(
    tmp_path: Path,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    make_site: Callable[[Path, Registry], Site],
    part: str,
) -> None:
    evaluators = [EvaluatorSpec(name="mine", summary="a plugin's", build=StudentEvaluator)]
    models = [ModelSpec(name="mine", summary="a plugin's", options=ConvNetOptions, build=ConvNet)]
    installed = make_registry(make_dataset(), evaluators=evaluators, models=models)
    key = {"evaluator": "evaluator", "model": "student.model"}[part]
    spied = []
    for version in ("1", "1", "2"):
        plugin = PluginStatus(name="test", version=version, module="test")
        offers = {
            kind: {offer.spec.name: offer for offer in installed.offers(kind)} for kind, _ in KINDS.values()
        }
        registry = Registry(offers, (*installed.plugins, plugin), {})
        result = make_site(tmp_path, registry).compare("random", settings={key: "mine"})
        spied.append(len(list(tmp_path.glob("cells/*/students/*.json"))))
        assert not result.failures
    assert spied == [1, 1, 2]


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_runs_with_another_number_of_threads_are_told_if_others_are_left(site: Site) -> None:
    def told(seeds: int) -> list[str]:
        reporter = Notes()
        site.compare("random", seeds=seeds, reporter=reporter)
        return [note for note in reporter.notes if note.startswith("threads")]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert not told(2)
        torch.set_num_threads(2)
        assert not told(2)
        [note] = told(3)
        assert "1 for what is finished, 2 for the rest" in note
    finally:
        torch.set_num_threads(before)
