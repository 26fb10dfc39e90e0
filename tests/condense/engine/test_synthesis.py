"""From chunks to the distilled dataset: every image at its place, however chunks are cut, and what starts it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import condense
from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, Initializer, InitialRequest
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.registry import Registry
from condense.recipe.specs import FeatureTargetSpec, InitializerSpec
from condense.runs.result import RunResult
from condense.storage.tensors import read_tensors

MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]

# 3 classes of 3 images; no weight occurs twice.
WEIGHTS = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.25, 0.65], [0.05, 0.35, 0.6]])


def marked(label: int, slot: int) -> int:
    """The grey level, in [0, 255], of the image at this place."""
    return 20 + 70 * label + 10 * slot


class Marks(Initializer):
    """Plain grey images that say where they belong."""

    def images(self, request: InitialRequest) -> Tensor:
        levels = torch.tensor([marked(request.label, slot) for slot in range(request.ipc)])
        values = (levels / 255 - request.dataset.mean[0]) / request.dataset.std[0]
        return values[:, None, None, None].expand(-1, 1, 8, 8).contiguous()


class Still(FeatureTarget):
    """Moves nothing; keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def slot_weights(self) -> Tensor:
        return WEIGHTS

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.seen.append(synthetic)
        return 0 * synthetic.images.sum()


class Nearest(Initializer):
    """The real image whose feature is nearest to the one that each slot should have."""

    def __init__(self) -> None:
        self.wanted: list[Tensor] = []

    def images(self, request: InitialRequest) -> Tensor:
        features = request.targets[0].slot_features()
        assert features is not None
        self.wanted.append(features)
        real = request.real()
        away = torch.cdist(features[request.label], request.observe(real).features)
        return request.dataset.training_images(real[away.argmin(dim=1)])


class Site:
    """A place where runs are made, with the target and the initializers above."""

    def __init__(self, out: Path, make_dataset: MakeDataset, make_registry: MakeRegistry) -> None:
        self.out, self.dataset = out, make_dataset()
        self.still, self.nearest = Still(), Nearest()

        def spec(kind: Any, name: str, build: Any, **needs: bool) -> Any:
            return kind(name=name, summary="x", build=lambda _: build, **needs)

        still = Method(
            name="still",
            summary="x",
            initializer=Use(name="marks"),
            targets={"still": Weighted()},
            recover=Recover(iterations=1),
            protocol="dc",
        )
        self.registry = make_registry(
            self.dataset,
            feature_targets=[spec(FeatureTargetSpec, "still", self.still)],
            initializers=[
                spec(InitializerSpec, "marks", Marks()),
                spec(InitializerSpec, "nearest", self.nearest, needs_teacher=True, uses_targets=True),
            ],
            methods=[still],
        )

    def run(self, method: str = "still", **options: Any) -> RunResult:
        chosen = {"dataset": "tiny", "ipc": 3, "students": 0, "device": "cpu", "out": self.out, **options}
        return condense.run(method=method, registry=self.registry, **chosen)


@pytest.fixture
def site(tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry) -> Site:
    return Site(tmp_path / "runs", make_dataset, make_registry)


def levels(images: Tensor) -> list[int]:
    """The grey level of every image, which must be plain."""
    assert bool((images == images[:, :, :1, :1]).all())
    return images[:, 0, 0, 0].tolist()


def feature_of(teacher: Network, dataset: RealDataset, index: int) -> Tensor:
    """(D,): that of one training image."""
    model: Any = teacher.model
    feature: Tensor = model.features(dataset.training_images(torch.tensor([index]))).flatten()
    return feature


EVERY_PLACE = [marked(label, slot) for label in range(3) for slot in range(3)]


@pytest.mark.parametrize(
    ("chunk", "batch", "iterations"),
    [
        ("classes", 0, 1),
        ("classes", 7, 0),
        ("slots", 0, 0),
        ("slots", 1, 0),
        ("slots", 4, 0),
        ("slots", 4, 1),
        ("slots", 6, 1),
        ("one-slot", 0, 1),
        ("one-slot", 2, 1),
    ],
)
def test_images_come_by_class_and_slot_however_chunks_are_cut(
    chunk: str, batch: int, iterations: int, site: Site
) -> None:
    settings = {"iterations": iterations, "chunk": chunk, "batch": batch}
    result = site.run(settings=settings)
    assert levels(result.distilled.images) == EVERY_PLACE
    assert result.distilled.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert result.distilled.slots.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert levels(condense.load(result.path).images) == EVERY_PLACE


@pytest.mark.parametrize("chunk", ["classes", "slots"])
def test_every_image_goes_with_its_class_slot_and_weight(chunk: str, site: Site) -> None:
    result = site.run(settings={"chunk": chunk, "batch": 4})
    for seen in site.still.seen:
        assert len(seen.images) <= 4
        for image, label, slot, weight in zip(
            seen.images, seen.batch.labels, seen.batch.slots, seen.batch.weights, strict=True
        ):
            level = (float(image[0, 0, 0].detach()) * 0.25 + 0.5) * 255
            assert level == pytest.approx(marked(int(label), int(slot)), abs=1e-3)
            assert float(weight) == float(WEIGHTS[label, slot])
    assert sum(len(seen.images) for seen in site.still.seen) == 9
    assert torch.equal(result.distilled.weights, WEIGHTS.flatten())


def test_chunks_of_slots_are_kept_as_they_were_cut(site: Site) -> None:
    result = site.run(settings={"chunk": "slots", "batch": 4})
    kept = [levels(read_tensors(file)[0]["images"]) for file in sorted((result.path / "chunks").iterdir())]
    slot_by_slot = [marked(label, slot) for slot in range(3) for label in range(3)]
    assert kept == [slot_by_slot[:4], slot_by_slot[4:8], slot_by_slot[8:]]
    again = site.run(name=result.path.name, resume=True, settings={"chunk": "slots", "batch": 4})
    assert levels(again.distilled.images) == EVERY_PLACE


def test_the_initial_images_do_not_depend_on_how_chunks_are_cut(site: Site) -> None:
    found = [
        site.run("random", settings={"protocol.labels": "hard", "chunk": chunk, "batch": batch}).distilled
        for chunk, batch in (("classes", 100), ("slots", 2), ("slots", 0))
    ]
    assert torch.equal(found[0].images, found[1].images)
    assert torch.equal(found[0].images, found[2].images)


# Labels.


@pytest.mark.parametrize(
    ("method", "labels", "mode"),
    [
        ("still", "hard", "hard"),
        ("still", "soft", "soft"),
        ("still", "online", "online"),
        ("random", "hard", "hard"),
        ("random", "soft", "soft"),
        # Nothing looks through a teacher, and without students nobody asks one for labels.
        ("random", "online", "hard"),
    ],
)
def test_labels_are_those_of_the_protocol_if_there_is_a_teacher(
    method: str, labels: str, mode: str, site: Site
) -> None:
    result = site.run(method, settings={"protocol.labels": labels})
    file, found = result.path / "teacher.safetensors", result.distilled
    assert found.label_mode == mode
    assert (found.soft_labels is not None) is (mode == "soft")
    assert found.teacher_bytes == (file.stat().st_size if mode == "online" else 0)
    expected = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
    assert found.teacher_hash == expected
    assert file.exists() is (method == "still" or mode == "soft")


# Initializers that read the targets.


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_targets_are_fitted_for_an_initializer_where_nothing_is_recovered(
    norm: str, site: Site, make_network: Callable[..., Network]
) -> None:
    """Not so regularizers: a teacher without BatchNorm is not refused for the sake of one."""
    settings = {
        "iterations": 0,
        "initializer": "nearest",
        "teacher.model.norm": norm,
        "protocol.labels": "hard",
    }
    result = site.run("wmdd", ipc=2, settings=settings, precision="fp32")
    assert set(result.seconds) == {"squeeze", "measure", "recover"}
    atoms = read_tensors(result.path / "measurements.safetensors")[0]["barycenter/atoms"]
    assert atoms.shape == (3, 2, 32)
    assert all(torch.equal(wanted, atoms) for wanted in site.nearest.wanted)
    teacher = make_network(site.dataset, norm=norm)
    teacher.model.load_state_dict(read_tensors(result.path / "teacher.safetensors")[0])
    for place, image in enumerate(result.distilled.images):
        label, slot = divmod(place, 2)
        away = {
            index: float((feature_of(teacher, site.dataset, index) - atoms[label, slot]).norm())
            for index in site.dataset.train.of_class(label).tolist()
        }
        [chosen] = [
            index
            for index in away
            if torch.equal(image, site.dataset.train.images.read(torch.tensor([index]))[0])
        ]
        # An atom that is the mean of two images is as near to the one as to the other.
        assert away[chosen] == pytest.approx(min(away.values()), rel=1e-4)


def test_they_are_restored_when_the_run_goes_on(site: Site) -> None:
    settings = {"iterations": 0, "initializer": "nearest", "protocol.labels": "hard"}
    first = site.run("wmdd", name="one", settings=settings)
    wanted = list(site.nearest.wanted)
    for file in (first.path / "chunks").iterdir():
        file.unlink()
    again = site.run("wmdd", name="one", settings=settings, resume=True)
    assert all(torch.equal(one, wanted[0]) for one in site.nearest.wanted[len(wanted) :])
    assert len(site.nearest.wanted) > len(wanted)
    assert torch.equal(again.distilled.images, first.distilled.images)
