"""Going on with a run whose images are kept: judged in another way, found in another place, on another machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.errors import StorageError
from condense.runs.result import RunResult
from condense.storage.files import file_hash

IMAGES = ("teacher", "measurements", "chunks")


def of_images(pieces: dict[str, Any]) -> dict[str, Any]:
    """The pieces of work that making the images took."""
    return {name: piece for name, piece in pieces.items() if name.startswith(IMAGES)}


def of_students(pieces: dict[str, Any]) -> dict[str, Any]:
    """The students that were trained."""
    return {name: piece for name, piece in pieces.items() if name.startswith("students/")}


def go_on(site: Any, before: dict[str, Any], **changes: Any) -> tuple[RunResult, set[str]]:
    """The run of the site, gone on with, and the students it trained; nothing that was there is made again."""
    diary = site.diary()
    result = site.run(name="one", resume=True, reporter=diary, **changes)
    after = site.pieces(result.path)
    assert of_images(after) == of_images(before)
    assert of_students(after).items() >= of_students(before).items()
    assert not [event for event in diary.events if event.startswith(("start squeeze", "start measure"))]
    return result, set(of_students(after)) - set(before)


def students(result: RunResult, *numbers: int) -> set[str]:
    """The files of these students, of the method and of the reference."""
    label = result.config.evaluation.label
    return {
        f"students/{what}-{label}-{number}.json" for what in ("method", "reference") for number in numbers
    }


def epochs(site: Any, path: Path) -> int:
    """Epochs that students were trained for, as the metrics tell."""
    return len(site.metrics(path, "evaluate"))


# Another evaluation.


def test_another_protocol_keeps_the_images_and_trains_students_of_its_own(copy: RunResult, site: Any) -> None:
    before = site.pieces(copy.path)
    other, trained = go_on(site, before, protocol="dc")
    assert other.config.evaluation.label.startswith("dc-4-")
    assert trained == students(other, 0, 1)
    fresh = site.run(name="fresh", protocol="dc")
    assert site.accuracies(other) == site.accuracies(fresh)
    assert site.tree(copy.path / "distilled") == site.tree(fresh.path / "distilled")
    assert site.saved(copy.path)["settings"] == site.saved(fresh.path)["settings"]
    assert site.saved(copy.path)["status"] == "done"
    # The students of before are still there, so that the way back costs nothing.
    again, trained = go_on(site, site.pieces(copy.path))
    assert trained == set()
    assert site.accuracies(again) == site.accuracies(copy)
    assert site.tree(copy.path / "distilled") == {
        name.removeprefix("distilled/"): content
        for name, (_, content) in before.items()
        if name.startswith("distilled/")
    }


@pytest.mark.parametrize(
    "settings",
    [{"protocol.lr": 0.02}, {"student.model": "convnet", "student.model.width": 4}, {"protocol.epochs": 5}],
)
def test_any_change_of_the_evaluation_trains_students_of_its_own(
    settings: dict[str, Any], copy: RunResult, site: Any
) -> None:
    """Also where the protocol has the same name and as many epochs."""
    other, trained = go_on(site, site.pieces(copy.path), settings=settings, students=1)
    assert trained == students(other, 0)


def test_more_students_are_trained_beside_those_that_are_there(copy: RunResult, site: Any) -> None:
    ran = epochs(site, copy.path)
    more, trained = go_on(site, site.pieces(copy.path), students=3)
    assert trained == students(more, 2)
    assert epochs(site, copy.path) == ran + 2 * 4
    assert [found[:2] for found in site.accuracies(more)] == site.accuracies(copy)
    assert site.accuracies(more) == site.accuracies(site.run(name="fresh", students=3))
    fewer, trained = go_on(site, site.pieces(copy.path), students=1)
    assert trained == set()
    assert site.accuracies(fewer) == [found[:1] for found in site.accuracies(copy)]


def test_a_run_without_students_can_be_judged_later(site: Any, finished: Any) -> None:
    whole, _ = finished
    site.run(name="one", students=0, reference=False)
    judged, trained = go_on(site, site.pieces(site.out / "one"))
    assert trained == students(judged, 0, 1)
    assert site.accuracies(judged) == site.accuracies(whole)


def test_without_the_reference_the_method_alone_is_judged(copy: RunResult, site: Any) -> None:
    alone, trained = go_on(site, site.pieces(copy.path), reference=False)
    assert trained == set()
    assert site.accuracies(alone) == site.accuracies(copy)[:1]


def test_the_artifact_gets_the_labels_of_the_evaluation(copy: RunResult, site: Any) -> None:
    """The images stay what they are, to the byte."""

    def pictures() -> dict[str, bytes]:
        files = site.tree(copy.path / "distilled").items()
        return {name: content for name, content in files if name.endswith(".png")}

    before = pictures()
    for labels in ("soft", "hard", "online"):
        result, _ = go_on(site, site.pieces(copy.path), settings={"protocol.labels": labels}, students=1)
        loaded = condense.load(copy.path)
        assert loaded.label_mode == result.distilled.label_mode == labels
        assert loaded.protocol["labels"] == labels
        assert (loaded.soft_labels is not None) == (labels == "soft")
        assert (loaded.teacher_bytes > 0) == (labels == "online")
        assert (copy.path / "distilled" / "labels.safetensors").exists() == (labels == "soft")
        assert pictures() == before


def test_labels_that_need_a_teacher_train_one_later(site: Any) -> None:
    first = site.run("random", name="one", protocol="dc", students=1)
    assert not (first.path / "teacher.safetensors").exists()
    chunks = of_images(site.pieces(first.path))
    taught = site.run("random", name="one", resume=True, students=1)
    assert of_images(site.pieces(first.path)).items() >= chunks.items()
    assert taught.distilled.teacher_hash == file_hash(first.path / "teacher.safetensors")
    fresh = site.run("random", name="fresh", students=1)
    assert site.accuracies(taught) == site.accuracies(fresh)
    assert site.tree(first.path / "distilled") == site.tree(fresh.path / "distilled")


@pytest.mark.parametrize("stop", ["start recover", "finish recover", "start evaluate"])
def test_an_evaluation_that_was_interrupted_goes_on_to_the_same_end(
    stop: str, copy: RunResult, site: Any
) -> None:
    changes = {"settings": {"protocol.labels": "soft"}, "students": 1}
    with pytest.raises(site.Stopped):
        site.run(name="one", resume=True, reporter=site.diary(stop=stop), **changes)
    result, _ = go_on(site, site.pieces(copy.path), **changes)
    fresh = site.run(name="fresh", **changes)
    assert site.tree(copy.path / "distilled") == site.tree(fresh.path / "distilled")
    assert condense.load(copy.path).label_mode == "soft"
    assert site.accuracies(result) == site.accuracies(fresh)


def test_a_run_that_goes_on_is_not_done_until_it_is(copy: RunResult, site: Any) -> None:
    with pytest.raises(site.Stopped):
        site.run(name="one", resume=True, students=3, reporter=site.diary(stop="start evaluate"))
    assert site.saved(copy.path)["status"] == "failed"
    go_on(site, site.pieces(copy.path), students=3)
    assert site.saved(copy.path)["status"] == "done"


# Another place or machine.


def test_a_dataset_that_has_moved(copy: RunResult, site: Any, tmp_path: Path) -> None:
    moved, trained = go_on(site, site.pieces(copy.path), data_dir=tmp_path / "moved")
    assert trained == set()
    assert site.accuracies(moved) == site.accuracies(copy)
    assert site.saved(copy.path)["settings"]["machine"]["data_dir"] == str(tmp_path / "moved")


def test_a_checkpoint_that_has_moved(site: Any, finished: Any, tmp_path: Path) -> None:
    """It is known by its content."""
    whole, _ = finished
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    here.write_bytes((whole.path / "teacher.safetensors").read_bytes())
    site.run(name="one", students=1, settings={"teacher.checkpoint": str(here)})
    here.rename(there)
    before = site.pieces(site.out / "one")
    _, trained = go_on(site, before, students=1, settings={"teacher.checkpoint": str(there)})
    assert trained == set()
    other = site.run(name="other", students=0, settings={"teacher.seed": 7}).path / "teacher.safetensors"
    for settings in ({"teacher.checkpoint": str(other)}, {}):
        with pytest.raises(StorageError, match=r"was started with other settings: teacher\.checkpoint \("):
            site.run(name="one", resume=True, students=1, settings=settings)
    assert site.pieces(site.out / "one") == before


def test_another_name_for_the_same_machine(copy: RunResult, site: Any) -> None:
    """By the kind of machine that is found, not by the words for it."""
    precision = {"cpu, float32": "fp32", "cpu, bfloat16": "bf16"}[site.saved(copy.path)["host"]["computes"]]
    _, trained = go_on(site, site.pieces(copy.path), device="cpu:0", precision=precision)
    assert trained == set()


def test_another_kind_of_machine_is_refused_with_a_sentence(copy: RunResult, site: Any) -> None:
    data = site.saved(copy.path)
    here = data["host"]["computes"]
    data["host"]["computes"] = "cuda, bfloat16"
    (copy.path / "run.json").write_text(json.dumps(data))
    before = site.tree(copy.path)
    with pytest.raises(StorageError) as caught:
        site.run(name="one", resume=True)
    assert str(caught.value) == (
        f"{copy.path} was started on cuda, bfloat16, and this is {here}, which gives other images; "
        "set --device and --precision, or choose another --name"
    )
    assert site.tree(copy.path) == before


def test_another_precision_is_another_kind_of_machine(site: Any) -> None:
    first = site.run(name="one", students=0, precision="fp32")
    with pytest.raises(StorageError, match="was started on cpu, float32, and this is cpu, bfloat16"):
        site.run(name="one", students=0, precision="bf16", resume=True)
    again = site.run(name="one", students=0, precision="fp32", resume=True)
    assert torch.equal(again.distilled.images, first.distilled.images)


def test_other_images_are_another_run(copy: RunResult, site: Any) -> None:
    before = site.tree(copy.path)
    with pytest.raises(StorageError) as caught:
        site.run(name="one", resume=True, ipc=3, without=["class-batchnorm"], protocol="dc")
    text = str(caught.value)
    assert text.startswith(f"{copy.path} was started with other settings: ipc (2 then, 3 now), regularizers")
    assert "class-batchnorm (10.0 then, None now)" in text
    assert "protocol" not in text
    assert site.tree(copy.path) == before
