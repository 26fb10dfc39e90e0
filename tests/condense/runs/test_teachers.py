"""Teachers that are kept: taken again where all that made them is the same, and trained anew where anything differs."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import condense
from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.data.load import hold_out
from condense.errors import ModelError
from condense.recipe.config import Recipe
from condense.recipe.method import Use
from condense.recipe.registry import KINDS, Offer, PluginStatus, Registry
from condense.recipe.resolve import configure
from condense.recipe.sources import source_hash
from condense.recipe.specs import ModelSpec
from condense.runs.result import RunResult
from condense.runs.teachers import Teachers, teacher_hash
from condense.runtime import SilentReporter, make_runtime
from condense.storage import files as store
from condense.storage.tensors import read_tensors

MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]

RUNTIME = make_runtime("cpu", "fp32")


class Notes(SilentReporter):
    """Keeps what a user is told, and the names of stages."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Site:
    """A place where runs are made that share their teachers."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry = folder, registry
        self.shelf = folder / "teachers"

    def run(self, name: str, **options: Any) -> RunResult:
        settings = {"iterations": 1, **options.pop("settings", {})}
        chosen = {"dataset": "tiny", "ipc": 1, "students": 0, "device": "cpu", **options}
        return condense.run(
            method=chosen.pop("method", "wmdd"),
            out=self.folder / "runs",
            name=name,
            settings=settings,
            registry=self.registry,
            **{"teachers": self.shelf, **chosen},
        )

    def kept(self) -> list[Path]:
        """The files of weights on the shelf."""
        return sorted(self.shelf.glob("*.safetensors"))


@pytest.fixture(scope="module")
def registry(make_dataset: MakeDataset, make_registry: MakeRegistry) -> Registry:
    return make_registry(make_dataset(), make_dataset(seed=1, name="other"))


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path, registry)


def squeezed(result: RunResult) -> int:
    """Epochs that the run trained its teacher for, as its metrics tell."""
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    return sum(line["stage"] == "squeeze" for line in lines)


# Runs that share a teacher.


def test_two_runs_of_one_teacher_train_it_once(site: Site) -> None:
    """They need agree on the teacher alone."""
    notes = Notes()
    first = site.run("first", precision="fp32")
    second = site.run("second", ipc=2, settings={"iterations": 2}, precision="fp32", reporter=notes)
    [file] = site.kept()
    assert (squeezed(first), squeezed(second)) == (1, 0)
    assert f"teacher taken from {file}" in notes.notes
    for result in (first, second):
        own = result.path / "teacher.safetensors"
        assert own.read_bytes() == file.read_bytes()
        assert own.samefile(file)  # a second name, where the file system can do that
        assert result.distilled.teacher_hash == store.file_hash(file)
    assert first.teacher_accuracy == second.teacher_accuracy is not None
    assert read_tensors(file)[1] == {"model": "convnet"}


def test_a_kept_teacher_is_to_the_byte_the_one_that_a_run_alone_trains(site: Site) -> None:
    """So the distilled dataset is the same too, with its hash of the teacher."""
    runs = [
        site.run(name, teachers=shelf)
        for name, shelf in (("alone", None), ("trains", site.shelf), ("takes", site.shelf))
    ]
    assert [squeezed(result) for result in runs] == [1, 1, 0]
    for path in ("teacher.safetensors", "distilled/distilled.json"):
        assert len({(result.path / path).read_bytes() for result in runs}) == 1
    assert torch.equal(runs[0].distilled.images, runs[2].distilled.images)


def test_another_teacher_is_trained_and_kept_beside(site: Site) -> None:
    results = [
        site.run("one"),
        site.run("two", settings={"teacher.lr": 0.01}),
        site.run("three", seed=1),
        site.run("four", dataset="other"),
    ]
    assert [squeezed(result) for result in results] == [1, 1, 1, 1]
    assert len(site.kept()) == 4


def test_a_run_goes_on_with_its_own_copy(site: Site) -> None:
    first = site.run("one")
    for file in site.shelf.iterdir():
        file.unlink()
    again = site.run("one", resume=True)
    assert again.teacher_accuracy == first.teacher_accuracy
    assert squeezed(again) == 1
    assert site.kept() == []


def test_a_teacher_whose_facts_are_lost_is_trained_again(site: Site) -> None:
    first = site.run("one")
    [about] = site.shelf.glob("*.json")
    about.unlink()
    assert squeezed(site.run("two")) == 1
    assert json.loads(about.read_text())["accuracy"] == first.teacher_accuracy
    assert json.loads(about.read_text())["seconds"] > 0


def test_a_damaged_teacher_is_trained_again(site: Site) -> None:
    site.run("one")
    [file] = site.kept()
    before = file.read_bytes()
    store.write_bytes(file, before[:-1] + bytes([before[-1] ^ 1]))
    site.run("two")
    assert file.read_bytes() == before


def test_a_broken_file_of_an_earlier_version_is_named(site: Site) -> None:
    site.run("one")
    [file] = site.kept()
    (file.parent / "checksums.jsonl").unlink()
    store.write_bytes(file, b"junk")
    with pytest.raises(ModelError, match=f"checkpoint {file} cannot be read"):
        site.run("two")


def test_a_checkpoint_is_known_by_its_content(site: Site, tmp_path: Path) -> None:
    made = site.run("made", teachers=None).path / "teacher.safetensors"
    other = site.run("other", teachers=None, settings={"teacher.seed": 7}).path / "teacher.safetensors"
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(made.read_bytes())
    accuracies = []
    for file, taken in ((made, False), (moved, True), (other, False)):
        notes = Notes()
        result = site.run(None, settings={"teacher.checkpoint": str(file)}, reporter=notes)
        assert any("teacher taken from" in note for note in notes.notes) == taken
        assert (result.path / "teacher.safetensors").read_bytes() == file.read_bytes()
        accuracies.append(result.teacher_accuracy)
    assert accuracies[0] == accuracies[1]
    assert {file.read_bytes() for file in site.kept()} == {made.read_bytes(), other.read_bytes()}


def test_a_run_without_a_teacher_keeps_none(site: Site) -> None:
    site.run("one", method="random", settings={"iterations": 0, "protocol.labels": "hard"})
    assert not site.shelf.exists()


def test_a_teacher_with_a_seed_of_its_own_does_not_depend_on_the_runs(site: Site) -> None:
    results = [
        site.run(f"seed-{seed}", seed=seed, teachers=None, settings={"teacher.seed": 7}) for seed in (0, 1)
    ]
    one, other = ((result.path / "teacher.safetensors").read_bytes() for result in results)
    assert one == other
    assert not torch.equal(results[0].distilled.images, results[1].distilled.images)
    own = site.run("own", seed=7, teachers=None)  # seed 7 for everything
    assert (own.path / "teacher.safetensors").read_bytes() == one


# What the hash depends on.


@pytest.fixture(scope="module")
def dataset(make_dataset: MakeDataset) -> RealDataset:
    return make_dataset()


def recipe(registry: Registry, *settings: tuple[str, Any], **changes: Any) -> Recipe:
    chosen = {"method": "wmdd", "dataset": "tiny", "settings": settings, "ipc": 1, **changes}
    return configure(registry, **chosen).recipe


def changed(split: Split, *, pixel: bool = False, label: bool = False) -> Split:
    """The split with the last grey level or the last label another."""
    assert isinstance(split.images, MemoryImages)
    pixels, labels = split.images.pixels.clone(), split.labels.clone()
    if pixel:
        pixels[-1, -1, -1, -1] += 1
    if label:
        labels[-1] = (labels[-1] + 1) % 3
    return Split(MemoryImages(pixels), labels)


def hashes(registry: Registry, dataset: RealDataset) -> Iterator[tuple[str, str]]:
    """A hash for every change, by what is changed."""
    plain = recipe(registry)
    yield "nothing", teacher_hash(plain, dataset, RUNTIME, registry)
    for key, value in (
        ("teacher.lr", 0.01),
        ("teacher.epochs", 2),
        ("teacher.augment.flip", True),
        ("teacher.model.width", 16),
        ("teacher.seed", 1),
    ):
        yield key, teacher_hash(recipe(registry, (key, value)), dataset, RUNTIME, registry)
    yield "seed", teacher_hash(recipe(registry, seed=2), dataset, RUNTIME, registry)
    yield "validation", teacher_hash(recipe(registry, validation=0.2), dataset, RUNTIME, registry)
    yield "precision", teacher_hash(plain, dataset, make_runtime("cpu", "bf16"), registry)
    yield "device", teacher_hash(plain, dataset, replace(RUNTIME, device=torch.device("mps")), registry)
    yield "dataset", teacher_hash(replace(plain, dataset=Use(name="other")), dataset, RUNTIME, registry)
    for what in ("train", "test"):
        for how in ("pixel", "label"):
            change: dict[str, Any] = {what: changed(getattr(dataset, what), **{how: True})}
            other = replace(dataset, **change)
            yield f"{how} of {what}", teacher_hash(plain, other, RUNTIME, registry)
    yield "mean", teacher_hash(plain, replace(dataset, mean=(0.4,)), RUNTIME, registry)
    yield "std", teacher_hash(plain, replace(dataset, std=(0.4,)), RUNTIME, registry)


def test_whatever_makes_another_teacher_makes_another_hash(registry: Registry, dataset: RealDataset) -> None:
    found = dict(hashes(registry, dataset))
    assert len(set(found.values())) == len(found) == 17
    for value in found.values():
        assert len(value) == 16
        int(value, 16)


@pytest.mark.parametrize("package", ["condense-toolkit", "torch", "torchvision", "timm"])
def test_so_do_other_versions(
    package: str, registry: Registry, dataset: RealDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = teacher_hash(recipe(registry), dataset, RUNTIME, registry)
    installed = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.0" if name == package else installed(name)
    )
    assert teacher_hash(recipe(registry), dataset, RUNTIME, registry) != before


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ([("teacher.measure_batch", 3)], {}),
        ([("iterations", 5), ("lr", 0.5), ("chunk", "classes")], {"ipc": 3}),
        ([("protocol.epochs", 3), ("student.model", "convnet")], {"students": 7, "protocol": "dc"}),
        ([], {"method": "random", "reference": False}),
        ([("teacher.seed", 0)], {}),
        ([("teacher.seed", 0)], {"seed": 9}),
        ([], {"data_dir": "elsewhere"}),
    ],
)
def test_what_makes_no_other_teacher_makes_no_other_hash(
    settings: list[tuple[str, Any]], changes: dict[str, Any], registry: Registry, dataset: RealDataset
) -> None:
    found = teacher_hash(recipe(registry, *settings, **changes), dataset, RUNTIME, registry)
    assert found == teacher_hash(recipe(registry), dataset, RUNTIME, registry)


def test_the_index_of_a_device_makes_no_other_hash(registry: Registry, dataset: RealDataset) -> None:
    found = {
        teacher_hash(recipe(registry), dataset, replace(RUNTIME, device=torch.device(device)), registry)
        for device in ("cuda", "cuda:0", "cuda:1")
    }
    assert len(found) == 1
    assert teacher_hash(recipe(registry), dataset, RUNTIME, registry) not in found


def test_the_file_is_named_by_the_hash(registry: Registry, dataset: RealDataset, tmp_path: Path) -> None:
    file = Teachers(tmp_path, registry).file(recipe(registry), dataset, RUNTIME)
    assert file == tmp_path / f"{teacher_hash(recipe(registry), dataset, RUNTIME, registry)}.safetensors"


@dataclass(frozen=True)
class OnDisk:
    """Images that are read when asked for; `asked` is how many were."""

    pixels: Tensor
    asked: list[int]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.pixels.shape[1:])  # type: ignore[return-value]

    def read(self, indices: Tensor) -> Tensor:
        self.asked.append(len(indices))
        return self.pixels[indices]


@given(st.integers(1, 1000))
def test_of_images_on_disk_some_are_read(count: int) -> None:
    pixels = (torch.arange(count) % 251).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    asked: list[int] = []
    labels = torch.zeros(count, dtype=torch.int64)
    split = Split(OnDisk(pixels, asked), labels)
    before = split.hash
    assert split.hash == before  # without another look
    [read] = asked
    assert min(count, 64) <= read <= 127
    # Each is another image now.
    assert Split(OnDisk(pixels + 1, []), labels).hash != before


def test_other_images_held_out_of_those_on_disk_make_another_teacher(dataset: RealDataset) -> None:
    """The labels of both are the same: without a look at the images, one's teacher had seen the other's tests."""
    assert isinstance(dataset.train.images, MemoryImages)
    lazy = replace(
        dataset, train=Split(OnDisk(dataset.train.images.pixels, []), dataset.train.labels.sort().values)
    )
    one, other = (hold_out(lazy, 0.3, seed) for seed in (0, 1))
    assert torch.equal(one.train.labels, other.train.labels)
    assert one.train.hash != other.train.hash
    assert one.test.hash != other.test.hash


def test_the_layout_in_memory_does_not_count() -> None:
    pixels = torch.arange(48, dtype=torch.uint8).view(2, 3, 2, 4)
    labels = torch.tensor([0, 1])
    permuted = pixels.to(memory_format=torch.channels_last)
    one, other = (Split(MemoryImages(each), labels) for each in (pixels, permuted))
    assert one.hash == other.hash


NET = """
from torch import nn

def build(options, request):
    return nn.Sequential(nn.Flatten(), nn.Linear(request.channels * request.size**2, request.classes))
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Iterator[Registry]:
    """What is offered with a plugin "nets" besides, whose source is the file nets_plugin.py."""
    (tmp_path / "nets_plugin.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_plugin", raising=False)
    found = {kind: {offer.spec.name: offer for offer in registry.offers(kind)} for kind, _ in KINDS.values()}
    found["model"]["net"] = Offer("nets", ModelSpec(name="net", summary="x", build="nets_plugin:build"))
    source_hash.cache_clear()
    yield Registry(found, (*registry.plugins, PluginStatus("nets", "1.0", "nets_plugin")), {})
    source_hash.cache_clear()


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher.model": "net"},
        pytest.param(
            {"teacher.model": "ensemble", "teacher.model.members": ("net", "net")}, marks=pytest.mark.thorough
        ),
    ],
)
def test_a_changed_network_of_a_plugin_gets_no_old_teacher(
    settings: dict[str, Any], plugin: Registry, tmp_path: Path
) -> None:
    """Its version is the same. A teacher of condense's own does not depend on it."""
    site = Site(tmp_path, plugin)
    options = {
        "method": "random",
        "settings": {**settings, "protocol.labels": "soft", "iterations": 0},
        "students": 1,
    }

    def trained(name: str, **more: Any) -> int:
        source_hash.cache_clear()
        return squeezed(site.run(name, **{**options, **more}))

    epochs = len(settings.get("teacher.model.members", "1"))
    usual = {**options, "settings": {"protocol.labels": "soft", "iterations": 0}}
    assert (trained("first"), trained("again"), trained("usual", **usual)) == (epochs, 0, 1)
    (tmp_path / "nets_plugin.py").write_text(NET + "\nmore = 1\n")
    assert (trained("edited"), trained("usual-again", **usual)) == (epochs, 0)
    (tmp_path / "nets_plugin.py").write_text(f"# a remark\n{NET}")
    assert trained("undone") == 0
