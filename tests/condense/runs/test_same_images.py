"""Students that judge may keep the random real images of the reference: each student of both is then trained once."""

from __future__ import annotations

from typing import Any

import pytest

from condense.engine import select
from condense.engine.plan import make_plan
from condense.recipe.resolve import configure
from condense.runs import pipeline
from condense.runs.graph import METHOD, REFERENCE, graph_of
from condense.storage.run_folder import RunFolder

KEEPING = {
    "select.students": 1,
    "select.epochs": 1,
    "select.starts": ("noise",),
    "recover.iterations": 0,
    "initializer": "real",
}


def test_each_student_is_trained_once(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pipeline, select):
        monkeypatch.setattr(module, "best", lambda judged: next(one for one in judged if one.start == "real"))
    diary = site.diary()
    result = site.run(name="one", settings=KEEPING, reporter=diary)
    assert result.choice.kept.start == "real" and not result.choice.kept.after
    ours, theirs = site.accuracies(result)
    assert ours == theirs
    [note] = {event for event in diary.events if "trained once" in event}
    assert "the images are the random real ones of the reference" in note
    assert [file.read_bytes() for file in sorted(result.path.glob("students/method-*"))] == [
        file.read_bytes() for file in sorted(result.path.glob("students/reference-*"))
    ]


@pytest.mark.parametrize(("selects", "reference"), [(True, True), (True, False), (False, True)])
def test_students_of_the_images_wait_where_they_may_be_the_same(
    selects: bool, reference: bool, site: Any, registry: Any, make_dataset: Any
) -> None:
    """With two workers, both would otherwise train the last student at the same time."""
    settings = {"select.students": int(selects)}
    config = configure(
        registry, method="wmdd", dataset="tiny", ipc=2, students=2, reference=reference, settings=settings
    )
    graph = graph_of(make_plan(config, registry), make_dataset(), RunFolder(site.out))
    students = graph.students()
    ours = [piece for piece in students if piece.name == METHOD]
    theirs = [piece for piece in students if piece.name == REFERENCE]
    assert [len(ours), len(theirs)] == [2, 2 * reference]
    for mine, other in zip(ours, theirs, strict=False):
        assert (other.outputs[0] in mine.inputs) == (selects and reference)
        assert mine.outputs[0] not in other.inputs
