"""Whole runs of WMDD and random on a tiny dataset: what they leave behind, skip, resume, repeat and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.errors import DataError, ModelError, OptionError, StorageError
from condense.recipe.config import configure
from condense.recipe.registry import Registry
from condense.runs.pipeline import run
from condense.runs.result import RunResult
from condense.runtime import SilentReporter
from condense.storage.tensors import read_tensors

# 3 classes of 2 images, 2 classes to a chunk; every step of recover is logged.
SETTINGS: dict[str, Any] = {
    "recover.batch": 4,
    "log_every": 2,
    "teacher.measure_batch": 8,
    "protocol.epochs": 4,
    "protocol.batch_size": 4,
    "protocol.lr": 0.01,
}


class StopHereError(Exception):
    """What the test raises inside the reporter."""


class Diary(SilentReporter):
    """Writes down every event; raises at event number `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.events: list[str] = []
        self._stop = stop
        self._stage = ""

    def _add(self, event: str) -> None:
        self.events.append(event)
        if len(self.events) - 1 == self._stop:
            raise StopHereError

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._stage = f"{stage}: {detail}"
        self._add(f"start {self._stage}")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        self._add(f"advance {self._stage}")

    def finish(self, summary: str = "") -> None:
        self._add(f"finish {self._stage}")

    def note(self, text: str) -> None:
        self._add(f"note {text}")


class Site:
    """A place where runs are made."""

    def __init__(self, out: Path, registry: Registry) -> None:
        self.out, self.registry = out, registry

    def run(self, method: str = "wmdd", **options: Any) -> RunResult:
        steps = {} if method == "random" else {"iterations": 3}
        settings = {**SETTINGS, **steps, **options.pop("settings", {})}
        chosen = {"dataset": "tiny", "ipc": 2, "students": 2, "device": "cpu", "out": self.out, **options}
        return condense.run(method=method, settings=settings, registry=self.registry, **chosen)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    other = make_dataset(counts=(5, 5), name="other")
    return make_registry(make_dataset(), make_dataset(name="colour", channels=3), other)


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path / "runs", registry)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[RunResult, list[str]]:
    """A finished run of WMDD that tests may read but not change, and its events."""
    diary = Diary()
    site = Site(tmp_path_factory.mktemp("finished"), registry)
    return site.run(name="one", reporter=diary), diary.events


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def accuracies(result: RunResult) -> list[list[float]]:
    return [[found.accuracy for found in score.measurements] for score in result.scores]


def metrics(path: Path, stage: str = "recover") -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that a stage wrote."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage]


# What a run leaves behind.


def test_a_run_leaves_behind_what_the_design_lists(finished: tuple[RunResult, list[str]]) -> None:
    result, _ = finished
    assert {str(file) for file in tree(result.path)} == {
        *("run.json", "metrics.jsonl", "teacher.safetensors", "measurements.safetensors"),
        *("grid.png", "report.html"),
        *("chunks/00000.safetensors", "chunks/00001.safetensors"),
        *(f"students/{what}-{student}.json" for what in ("method", "reference") for student in (0, 1)),
        *(f"distilled/{name}" for name in ("distilled.json", "metadata.csv", "README.md")),
        *(f"distilled/images/{label}-class-{label}/00{slot}.png" for label in range(3) for slot in (0, 1)),
    }
    assert not [entry for entry in result.path.parent.iterdir() if entry != result.path]


def test_the_result_agrees_with_the_files(finished: tuple[RunResult, list[str]]) -> None:
    result, _ = finished
    saved = json.loads((result.path / "run.json").read_text())
    assert saved["status"] == "done"
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
    for score, what in zip(result.scores, ("method", "reference"), strict=True):
        for student, found in enumerate(score.measurements):
            stored = json.loads((result.path / "students" / f"{what}-{student}.json").read_text())
            assert stored["accuracy"] == found.accuracy


def test_metrics_are_lines_of_json_with_every_loss(finished: tuple[RunResult, list[str]]) -> None:
    result, _ = finished
    lines = metrics(result.path)
    assert [(line["chunk"], line["iteration"]) for line in lines] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    for line in lines:
        assert set(line) == {
            *("stage", "chunk", "iteration", "loss"),
            *("barycenter", "cross-entropy", "class-batchnorm"),
        }
        total = line["barycenter"] + line["cross-entropy"] + 10 * line["class-batchnorm"]
        assert line["loss"] == pytest.approx(total, rel=1e-4)


def test_metrics_hold_the_loss_of_every_epoch(finished: tuple[RunResult, list[str]]) -> None:
    result, _ = finished
    config = result.config
    assert [line["done"] for line in metrics(result.path, "squeeze")] == list(
        range(1, config.teacher.epochs + 1)
    )
    trained = metrics(result.path, "evaluate")
    assert len(trained) == config.protocol.epochs * config.students * len(result.scores)
    assert {line["unit"] for line in trained} == {"epoch"}
    assert all(line["loss"] > 0 for line in trained)


def test_the_reference_is_the_method_random(finished: tuple[RunResult, list[str]], site: Site) -> None:
    """Same images, same students, so the same accuracies."""
    result, _ = finished
    alone = site.run("random")
    assert [score.label for score in alone.scores] == ["random"]
    assert accuracies(alone) == accuracies(result)[1:]


def test_weights_of_the_method_are_not_those_of_the_reference(site: Site) -> None:
    weighted = {"protocol.weighted": True}
    result, alone = (site.run(method, settings=weighted) for method in ("wmdd", "random"))
    assert not torch.equal(result.distilled.weights, alone.distilled.weights)
    assert accuracies(result)[1:] == accuracies(alone)


def test_every_chunk_has_draws_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_random_with_hard_labels_makes_no_teacher(site: Site) -> None:
    diary = Diary()
    result = site.run("random", protocol="dc", reporter=diary)
    assert {event.split(":")[0] for event in diary.events if event.startswith("start")} == {
        "start recover",
        "start evaluate",
    }
    names = set(tree(result.path))
    assert not names & {"teacher.safetensors", "measurements.safetensors"}
    assert not metrics(result.path)
    assert result.teacher_accuracy is None
    assert (result.distilled.teacher_hash, result.distilled.label_mode) == ("", "hard")


def test_without_students_nothing_is_evaluated(site: Site) -> None:
    result = site.run(students=0)
    assert (result.scores, result.accuracy) == ([], None)
    assert not (result.path / "students").exists()
    assert set(result.seconds) == {"squeeze", "measure", "recover"}
    assert result.report.is_file()
    assert condense.load(result.path).label_mode == "online"


def test_soft_labels_are_saved_with_the_images(site: Site) -> None:
    result = site.run(settings={"protocol.labels": "soft"}, students=1)
    found = condense.load(result.path)
    assert found.label_mode == "soft"
    assert found.soft_labels is not None
    assert found.soft_labels.shape == (6, 3)
    alone = condense.evaluate(result.path / "distilled", students=1, device="cpu", registry=site.registry)
    assert alone.score.mean == result.accuracy


# The same seed, the same bytes.


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_seed_gives_the_same_bytes(precision: str, site: Site) -> None:
    torch.manual_seed(1)
    one = site.run(name="one", precision=precision, students=1)
    torch.manual_seed(2)
    other = site.run(name="other", precision=precision, students=1)
    assert tree(one.path / "distilled") == tree(other.path / "distilled")
    for name in ("teacher.safetensors", "measurements.safetensors", "metrics.jsonl", "grid.png"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
    assert accuracies(one) == accuracies(other)
    different = site.run(name="different", precision=precision, students=0, seed=1)
    assert not torch.equal(different.distilled.images, one.distilled.images)


def test_a_run_can_be_repeated_from_its_run_json(finished: tuple[RunResult, list[str]], site: Site) -> None:
    result, _ = finished
    again = condense.repeat(result.path / "run.json", out=site.out, name="again", registry=site.registry)
    assert again.config == result.config
    assert tree(again.path / "distilled") == tree(result.path / "distilled")
    assert accuracies(again) == accuracies(result)


# Going on after an interruption.

PIECES = ("teacher.safetensors", "measurements.safetensors", "chunks", "students", "distilled")


def pieces(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every finished piece of work with its time stamp; made again, it would have another."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes())
        for name in PIECES
        for file in [path / name, *(path / name).rglob("*")]
        if file.is_file()
    }


def position(events: list[str], text: str, number: int = 0) -> int:
    """The place of an event that begins like this, counted from 0, from the end if negative."""
    return [index for index, event in enumerate(events) if event.startswith(text)][number]


POINTS = [
    # where it stops; what is finished by then
    ("start squeeze", 0, set()),
    ("finish squeeze", 0, set()),
    ("start measure", 0, {"teacher"}),
    ("advance measure", 1, {"teacher"}),
    ("start recover", 0, {"teacher", "measurements"}),
    ("advance recover", 2, {"teacher", "measurements"}),
    ("advance recover", -2, {"teacher", "measurements", "chunks/00000"}),
    ("finish recover", 0, {"teacher", "measurements", "chunks/00000", "chunks/00001"}),
    ("start evaluate", 0, {"teacher", "chunks/00001", "distilled"}),
    ("advance evaluate", 5, {"teacher", "distilled", "students/method-0"}),
    ("advance evaluate", -1, {"teacher", "distilled", "students/method-1", "students/reference-0"}),
    ("finish evaluate", -1, {"teacher", "students/method-1", "students/reference-1"}),
]


@pytest.mark.parametrize(("event", "number", "done"), POINTS)
def test_an_interrupted_run_goes_on_to_the_same_end(
    event: str, number: int, done: set[str], site: Site, finished: tuple[RunResult, list[str]]
) -> None:
    whole, events = finished
    with pytest.raises(StopHereError):
        site.run(name="one", reporter=Diary(stop=position(events, event, number)))
    path = site.out / "one"
    assert json.loads((path / "run.json").read_text())["status"] == "running"
    before = pieces(path)
    assert all(any(name.startswith(piece) for name in before) for piece in done)
    resumed = site.run(name="one", resume=True)
    after = pieces(path)
    assert {name: after[name] for name in before} == before
    assert tree(path / "distilled") == tree(whole.path / "distilled")
    assert accuracies(resumed) == accuracies(whole)
    assert resumed.teacher_accuracy == whole.teacher_accuracy
    assert tree(path).keys() == tree(whole.path).keys()
    last = {(line["chunk"], line["iteration"]): line for line in metrics(path)}
    assert list(last.values()) == metrics(whole.path)


def test_a_finished_run_repeats_nothing(site: Site) -> None:
    first = site.run(name="one")
    before = pieces(first.path)
    diary = Diary()
    again = site.run(name="one", resume=True, reporter=diary)
    assert pieces(again.path) == before
    assert accuracies(again) == accuracies(first)
    started = [event for event in diary.events if event.startswith(("start squeeze", "start measure"))]
    assert not started
    third = condense.repeat(first.path, resume=True, registry=site.registry)
    assert (third.path, accuracies(third)) == (first.path, accuracies(first))
    assert pieces(third.path) == before


def test_going_on_with_other_settings(site: Site) -> None:
    with pytest.raises(StopHereError):
        site.run(name="one", reporter=Diary(stop=0))
    with pytest.raises(StorageError) as caught:
        site.run(name="one", resume=True, settings={"lr": 0.5}, seed=3)
    assert str(caught.value) == (
        f"{site.out / 'one'} was started with other settings: recover.lr (0.25 then, 0.5 now), "
        "seed (0 then, 3 now). Repeat them, or choose another --name"
    )


def test_going_on_with_what_is_no_run(site: Site) -> None:
    with pytest.raises(StorageError, match="there is no"):
        site.run(name="gone", resume=True)


# Refusals.


def test_more_images_than_the_smallest_class_has(site: Site) -> None:
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
def test_no_images_per_class(ipc: int, site: Site) -> None:
    with pytest.raises(OptionError, match="at least 1"):
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


def test_a_folder_that_is_taken(site: Site) -> None:
    first = site.run("random", name="one", students=0)
    before = tree(first.path)
    with pytest.raises(StorageError) as caught:
        site.run("random", name="one", students=0)
    assert str(caught.value) == (
        f"output directory {first.path} exists already; choose another --name, or continue it with --resume"
    )
    assert tree(first.path) == before


def test_no_permission(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError) as caught:
        site.run("random", name="one", students=0)
    assert str(caught.value) == (
        f"no permission to write {site.out / 'one'}; choose another folder with --out"
    )


def test_a_teacher_without_batchnorm(site: Site) -> None:
    with pytest.raises(ModelError, match="'class-batchnorm' needs the BatchNorm statistics of the teacher"):
        site.run(settings={"teacher.model.norm": "instance"})
    result = site.run(settings={"teacher.model.norm": "instance"}, without=["class-batchnorm"], students=0)
    assert len(result.distilled) == 6


def test_colour_images(site: Site) -> None:
    result = site.run(dataset="colour", students=1)
    assert result.distilled.images.shape == (6, 3, 8, 8)


def test_a_chunk_holds_a_class_that_is_larger_than_the_batch(site: Site) -> None:
    result = site.run(ipc=5, students=0)
    assert sorted(file.name for file in (result.path / "chunks").iterdir()) == [
        f"0000{index}.safetensors" for index in range(3)
    ]


def test_a_run_leaves_no_trace_in_the_process(site: Site) -> None:
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
