"""Whole runs of WMDD and random on a tiny dataset: what they leave behind, skip, repeat and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.errors import DataError, ModelError, OptionError, StorageError
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.runs.pipeline import run
from condense.storage.locks import held
from condense.storage.tensors import read_tensors

# What a run leaves behind.


def test_a_run_leaves_behind_what_the_design_lists(finished: Any, site: Any) -> None:
    result, _ = finished
    label = result.config.evaluation.label
    assert label.startswith("fkd-4-")
    assert {str(file) for file in site.tree(result.path)} == {
        *("run.json", "metrics.jsonl", "teacher.safetensors", "measurements.safetensors"),
        *("grid.png", "report.html", "checksums.jsonl"),
        *("chunks/00000.safetensors", "chunks/00001.safetensors"),
        *(
            f"students/{what}-{label}-{student}.json"
            for what in ("method", "reference")
            for student in (0, 1)
        ),
        *(f"distilled/{name}" for name in ("distilled.json", "metadata.csv", "README.md")),
        *(f"distilled/images/{label}-class-{label}/00{slot}.png" for label in range(3) for slot in (0, 1)),
    }
    beside = {entry.name for entry in result.path.parent.iterdir()} - {result.path.name}
    assert beside <= {f".{result.path.name}.lock"}


def test_the_result_agrees_with_the_files(finished: Any, site: Any) -> None:
    result, _ = finished
    saved = site.saved(result.path)
    assert (saved["format"], saved["status"]) == (2, "done")
    assert (
        saved["settings"] == saved["outcome"]["settings"] == json.loads(json.dumps(result.config.to_dict()))
    )
    assert saved["outcome"] == json.loads(json.dumps(result.to_dict()))
    assert [row["label"] for row in saved["outcome"]["rows"]] == ["wmdd", "random real images"]
    assert set(result.seconds) == {"squeeze", "measure", "recover", "evaluate", "reference"}
    assert saved["stages"]["squeeze"]["accuracy"] == result.teacher_accuracy
    loaded = condense.load(result.path)
    pixels = [read_tensors(result.path / "chunks" / f"0000{index}.safetensors")[0] for index in (0, 1)]
    assert torch.equal(loaded.images, torch.cat([chunk["images"] for chunk in pixels]))
    assert [len(chunk["images"]) for chunk in pixels] == [4, 2]
    fitted, _ = read_tensors(result.path / "measurements.safetensors")
    assert torch.equal(loaded.weights, fitted["barycenter/weights"].flatten())
    assert loaded.label_mode == "online"
    label = result.config.evaluation.label
    for score, what in zip(result.scores, ("method", "reference"), strict=True):
        for student, found in enumerate(score.students):
            stored = json.loads((result.path / "students" / f"{what}-{label}-{student}.json").read_text())
            assert stored["accuracy"] == found.accuracy


def test_metrics_are_lines_of_json_with_every_loss(finished: Any, site: Any) -> None:
    result, _ = finished
    lines = site.metrics(result.path)
    assert [(line["chunk"], line["iteration"]) for line in lines] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    for line in lines:
        assert set(line) == {
            *("stage", "chunk", "iteration", "loss"),
            *("barycenter", "cross-entropy", "class-batchnorm"),
        }
        total = line["barycenter"] + line["cross-entropy"] + 10 * line["class-batchnorm"]
        assert line["loss"] == pytest.approx(total, rel=1e-4)


def test_metrics_hold_the_loss_of_every_epoch(finished: Any, site: Any) -> None:
    result, _ = finished
    config = result.config
    assert [line["done"] for line in site.metrics(result.path, "squeeze")] == list(
        range(1, config.recipe.teacher.epochs + 1)
    )
    trained = site.metrics(result.path, "evaluate")
    evaluation = config.evaluation
    assert len(trained) == evaluation.protocol.epochs * evaluation.students * len(result.scores)
    assert {line["unit"] for line in trained} == {"epoch"}
    assert all(line["loss"] > 0 for line in trained)


def test_the_reference_is_the_method_random(finished: Any, site: Any) -> None:
    """Same images, same students, so the same accuracies."""
    result, _ = finished
    alone = site.run("random")
    assert [score.label for score in alone.scores] == ["random"]
    assert site.accuracies(alone) == site.accuracies(result)[1:]


def test_weights_of_the_method_are_not_those_of_the_reference(site: Any) -> None:
    weighted = {"protocol.weighted": True}
    result, alone = (site.run(method, settings=weighted) for method in ("wmdd", "random"))
    assert not torch.equal(result.distilled.weights, alone.distilled.weights)
    assert site.accuracies(result)[1:] == site.accuracies(alone)


def test_every_chunk_has_draws_of_its_own(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def keep(chunk: Any, *_: Any, generator: torch.Generator, **__: Any) -> torch.Tensor:
        seeds.append(generator.initial_seed())
        found: torch.Tensor = chunk.images
        return found

    monkeypatch.setattr("condense.engine.synthesis.recover_chunk", keep)
    site.run(ipc=4, students=0)
    site.run(ipc=4, students=0, seed=1)
    assert len(set(seeds)) == len(seeds) == 6


# Skipping.


def test_random_with_hard_labels_makes_no_teacher(site: Any) -> None:
    diary = site.diary()
    result = site.run("random", protocol="dc", reporter=diary)
    assert {event.split(":")[0] for event in diary.events if event.startswith("start")} == {
        "start recover",
        "start evaluate",
    }
    names = set(site.tree(result.path))
    assert not names & {"teacher.safetensors", "measurements.safetensors"}
    assert not site.metrics(result.path)
    assert result.teacher_accuracy is None
    assert (result.distilled.teacher_hash, result.distilled.label_mode) == ("", "hard")


def test_without_students_nothing_is_evaluated(site: Any) -> None:
    result = site.run(students=0)
    assert (result.scores, result.accuracy) == ([], None)
    assert not (result.path / "students").exists()
    assert set(result.seconds) == {"squeeze", "measure", "recover"}
    assert result.report.is_file()
    assert condense.load(result.path).label_mode == "online"


def test_soft_labels_are_saved_with_the_images(site: Any) -> None:
    result = site.run(settings={"protocol.labels": "soft"}, students=1)
    found = condense.load(result.path)
    assert found.label_mode == "soft"
    assert found.soft_labels is not None
    assert found.soft_labels.shape == (6, 3)
    alone = condense.evaluate(result.path / "distilled", students=1, device="cpu", registry=site.registry)
    assert alone.score.mean == result.accuracy


# The same seed, the same bytes.


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_seed_gives_the_same_bytes(precision: str, site: Any) -> None:
    torch.manual_seed(1)
    one = site.run(name="one", precision=precision, students=1)
    torch.manual_seed(2)
    other = site.run(name="other", precision=precision, students=1)
    assert site.tree(one.path / "distilled") == site.tree(other.path / "distilled")
    for name in ("teacher.safetensors", "measurements.safetensors", "metrics.jsonl", "grid.png"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
    assert site.accuracies(one) == site.accuracies(other)
    different = site.run(name="different", precision=precision, students=0, seed=1)
    assert not torch.equal(different.distilled.images, one.distilled.images)


def test_a_run_can_be_repeated_from_its_run_json(finished: Any, site: Any) -> None:
    result, _ = finished
    again = condense.repeat(result.path / "run.json", out=site.out, name="again", registry=site.registry)
    assert again.config == result.config
    assert site.tree(again.path / "distilled") == site.tree(result.path / "distilled")
    assert site.accuracies(again) == site.accuracies(result)


# Refusals.


def test_more_images_than_the_smallest_class_has(site: Any) -> None:
    with pytest.raises(DataError) as caught:
        site.run(ipc=7)
    assert str(caught.value) == (
        "7 images per class were asked for, and the smallest class of 'tiny', 'class 0', has only 6; "
        "use --ipc 6 or less"
    )
    assert not site.out.exists()
    assert site.run("random", ipc=6, students=0).distilled.ipc == 6
    with pytest.raises(DataError, match="use --ipc 4 or less"):  # 2 of 6 are held out
        site.run(ipc=6, validation=0.3)


@pytest.mark.parametrize("ipc", [0, -1])
def test_no_images_per_class(ipc: int, site: Any) -> None:
    with pytest.raises(OptionError, match="must lie between 1 and"):
        site.run(ipc=ipc)


def test_one_class(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    root = tmp_path / "one-class"
    (root / "only").mkdir(parents=True)
    (root / "only" / "image.png").write_bytes(b"")
    with pytest.raises(DataError, match="has one class folder, 'only'; condensing needs at least two"):
        condense.run(method="random", dataset=f"folder:{root}", out=tmp_path / "runs")
    with pytest.raises(DataError, match="dataset 'tiny' has 1 class; condensing needs at least two"):
        make_dataset(counts=(5,))


def test_a_folder_that_is_taken(site: Any) -> None:
    first = site.run("random", name="one", students=0)
    before = site.tree(first.path)
    with pytest.raises(StorageError) as caught:
        site.run("random", name="one", students=0)
    assert str(caught.value) == (
        f"output directory {first.path} exists already; choose another --name, or continue it with --resume"
    )
    assert site.tree(first.path) == before


def test_no_permission(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError) as caught:
        site.run("random", name="one", students=0)
    assert str(caught.value) == (
        f"no permission to write {site.out / 'one'}; choose another folder with --out"
    )


def test_a_teacher_without_batchnorm(site: Any) -> None:
    with pytest.raises(ModelError, match="'class-batchnorm' needs the BatchNorm statistics of the teacher"):
        site.run(settings={"teacher.model.norm": "instance"})
    result = site.run(settings={"teacher.model.norm": "instance"}, without=["class-batchnorm"], students=0)
    assert len(result.distilled) == 6


def test_colour_images(site: Any) -> None:
    result = site.run(dataset="colour", students=1)
    assert result.distilled.images.shape == (6, 3, 8, 8)


def test_a_chunk_holds_a_class_that_is_larger_than_the_batch(site: Any) -> None:
    result = site.run(ipc=5, students=0)
    assert sorted(file.name for file in (result.path / "chunks").iterdir()) == [
        f"0000{index}.safetensors" for index in range(3)
    ]


def test_a_run_leaves_no_trace_in_the_process(site: Any) -> None:
    state = torch.random.get_rng_state()
    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    site.run(precision="bf16")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.backends.cudnn.benchmark, torch.get_num_threads()) == (benchmark, threads)
    assert float(torch.tensor(2.0**-130) * 0.5) > 0  # denormals are not flushed


def test_run_takes_a_configuration_and_a_path(tmp_path: Path, registry: Registry) -> None:
    config = configure(registry, method="random", dataset="tiny", ipc=1, students=0, device="cpu")
    result = run(config, tmp_path / "deep" / "down", registry=registry)
    assert result.path == tmp_path / "deep" / "down"
    assert result.config == config


def test_a_run_in_progress_is_left_alone(site: Any) -> None:
    path = site.run("random", name="one", students=0).path
    before = path.joinpath("run.json").read_bytes()
    with held(path):
        for resume in (True, False):
            with pytest.raises(StorageError) as caught:
                site.run("random", name="one", students=0, resume=resume)
            assert str(caught.value) == (
                f"another process is working in {path}; let it end, or choose another --name"
            )
    assert path.joinpath("run.json").read_bytes() == before
    site.run("random", name="one", students=0, resume=True)
