"""Label modes: what each needs, what it attaches and stores, and its loss against the slow formula."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from condense.data.cutmix import CutMix, apply_cutmix
from condense.data.dataset import RealDataset
from condense.data.feed import Batch
from condense.engine.components import EvaluationRequest
from condense.engine.labels import LABELS, LabelledBy
from condense.errors import ModelError
from condense.models.network import Network
from condense.recipe.protocol import LabelMode, Protocol
from condense.runtime import make_runtime
from condense.storage.artifact import save
from condense.storage.distilled import DistilledDataset
from condense.storage.tensors import write_tensors

RUNTIME = make_runtime("cpu", "fp32")

# 3 classes of 2 images.
CLASSES, IPC = 3, 2
WEIGHTS = [0.25, 0.75, 0.5, 0.5, 0.9, 0.1]
LABELS_OF = [0, 0, 1, 1, 2, 2]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def dataset(make_dataset: Callable[..., RealDataset]) -> RealDataset:
    return make_dataset()


@pytest.fixture
def plain(dataset: RealDataset) -> DistilledDataset:
    """Noise with hard labels."""
    return DistilledDataset(
        images=torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=seeded()),
        labels=torch.tensor(LABELS_OF),
        slots=torch.tensor([0, 1] * CLASSES),
        weights=torch.tensor(WEIGHTS),
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
        ipc=IPC,
        name="plain",
    )


@pytest.fixture
def teacher(dataset: RealDataset, make_network: Callable[..., Network], tmp_path: Path) -> LabelledBy:
    """A teacher with a file."""
    network = make_network(dataset)
    write_tensors(tmp_path / "teacher.safetensors", network.model.state_dict())
    content = (tmp_path / "teacher.safetensors").read_bytes()
    return LabelledBy(network=network, hash=hashlib.sha256(content).hexdigest(), bytes=len(content))


def forms(plain: DistilledDataset) -> dict[str, DistilledDataset]:
    """The images as an earlier run may have left them, in every label mode."""
    logits = torch.randn(6, CLASSES, generator=seeded(9))
    return {
        "hard": plain,
        "soft": replace(plain, label_mode="soft", soft_labels=logits, teacher_hash="earlier"),
        "online": replace(plain, label_mode="online", teacher_hash="earlier", teacher_bytes=77),
    }


FORMS = pytest.mark.parametrize("form", ["hard", "soft", "online"])


def images_of(distilled: DistilledDataset) -> Tensor:
    """(n, C, H, W): as students see them, without augmentation."""
    return (distilled.images / 255 - 0.5) / 0.25


def logits_of(teacher: LabelledBy, images: Tensor) -> Tensor:
    """(n, K): one image at a time."""
    return torch.cat([teacher.network.model(image[None]).detach() for image in images])


# What each mode is.


def test_there_is_one_for_every_mode_of_a_protocol() -> None:
    assert set(LABELS) == set(get_args(LabelMode))
    assert all(labels.name == mode for mode, labels in LABELS.items())
    # Whether the teacher works before any training, and during training.
    found = {mode: (labels.made_by_teacher, labels.answers) for mode, labels in LABELS.items()}
    assert found == {"hard": (False, False), "soft": (True, False), "online": (False, True)}


@pytest.mark.parametrize(
    ("mode", "without_students", "with_students"),
    [("hard", False, False), ("soft", True, True), ("online", False, True)],
)
def test_when_a_teacher_is_needed(mode: LabelMode, without_students: bool, with_students: bool) -> None:
    assert LABELS[mode].need_teacher(0) is without_students
    for students in (1, 2, 30):
        assert LABELS[mode].need_teacher(students) is with_students


# What is attached and stored.


@FORMS
def test_hard_labels_leave_nothing_else(form: str, plain: DistilledDataset, teacher: LabelledBy) -> None:
    for by in (None, teacher):
        found = LABELS["hard"].attach(forms(plain)[form], by, RUNTIME)
        assert (found.label_mode, found.soft_labels, found.teacher_bytes) == ("hard", None, 0)
        assert found.sizes()["labels"] == 6
        assert found.sizes()["teacher"] == 0


@pytest.mark.parametrize("form", ["hard", "online"])
def test_soft_labels_are_the_teachers_logits_and_need_no_stored_teacher(
    form: str, plain: DistilledDataset, teacher: LabelledBy
) -> None:
    before = forms(plain)[form]
    found = LABELS["soft"].attach(before, teacher, RUNTIME)
    assert found.soft_labels is not None
    torch.testing.assert_close(found.soft_labels, logits_of(teacher, images_of(plain)), rtol=1e-4, atol=1e-5)
    assert (found.label_mode, found.teacher_hash, found.teacher_bytes) == ("soft", teacher.hash, 0)
    assert found.sizes()["teacher"] == 0
    assert before.soft_labels is None


def test_soft_labels_that_are_there_already_stay(plain: DistilledDataset, teacher: LabelledBy) -> None:
    before = forms(plain)["soft"]
    for by in (None, teacher):
        found = LABELS["soft"].attach(before, by, RUNTIME)
        assert found.soft_labels is before.soft_labels
        assert (found.label_mode, found.teacher_hash) == ("soft", "earlier")


@pytest.mark.parametrize("form", ["hard", "online"])
def test_soft_labels_without_a_teacher(form: str, plain: DistilledDataset) -> None:
    with pytest.raises(ModelError) as caught:
        LABELS["soft"].attach(forms(plain)[form], None, RUNTIME)
    assert str(caught.value) == (
        "the protocol wants soft labels and this distilled dataset has none; use --set protocol.labels=hard, or make "
        "them with --teacher"
    )


@FORMS
def test_online_labels_take_a_stored_teacher_and_no_soft_labels(
    form: str, plain: DistilledDataset, teacher: LabelledBy
) -> None:
    found = LABELS["online"].attach(forms(plain)[form], teacher, RUNTIME)
    assert (found.label_mode, found.soft_labels) == ("online", None)
    assert (found.teacher_hash, found.teacher_bytes) == (teacher.hash, teacher.bytes)
    # Weights and running statistics of float32 take 4 bytes each; the rest names them.
    values = sum(tensor.numel() for tensor in teacher.network.model.state_dict().values())
    assert found.sizes()["teacher"] == teacher.bytes > 4 * values
    assert found.sizes()["labels"] == 6


def test_online_labels_without_a_teacher_or_its_file(plain: DistilledDataset, teacher: LabelledBy) -> None:
    """What is known of an earlier teacher is kept."""
    found = LABELS["online"].attach(forms(plain)["online"], None, RUNTIME)
    assert (found.label_mode, found.teacher_hash, found.teacher_bytes) == ("online", "earlier", 77)
    for by in (None, LabelledBy(network=teacher.network)):
        found = LABELS["online"].attach(plain, by, RUNTIME)
        assert (found.label_mode, found.teacher_hash, found.teacher_bytes) == ("online", "", 0)


@FORMS
@pytest.mark.parametrize("mode", ["hard", "soft", "online"])
def test_everything_else_stays(
    mode: LabelMode, form: str, plain: DistilledDataset, teacher: LabelledBy
) -> None:
    before = forms(plain)[form]
    found = LABELS[mode].attach(before, teacher, RUNTIME)
    for name in ("images", "labels", "slots", "weights"):
        assert torch.equal(getattr(found, name), getattr(before, name))
    for name in ("classes", "mean", "std", "ipc", "name", "settings"):
        assert getattr(found, name) == getattr(before, name)
    assert found.label_mode == mode


def test_soft_labels_take_the_bytes_of_their_file(
    plain: DistilledDataset, teacher: LabelledBy, tmp_path: Path
) -> None:
    found = LABELS["soft"].attach(plain, teacher, RUNTIME)
    save(found, tmp_path / "distilled")
    [file] = [path for path in (tmp_path / "distilled").rglob("*.safetensors") if "label" in path.name]
    assert found.sizes()["labels"] == file.stat().st_size > 4 * 6 * CLASSES


# Losses.


def slow_cross_entropy(logits: Tensor, label: int) -> float:
    values = logits.double().tolist()
    return math.log(sum(math.exp(value) for value in values)) - values[label]


def softened(logits: Tensor, temperature: float) -> list[float]:
    """The softmax of (K,) at a temperature."""
    powers = [math.exp(value / temperature) for value in logits.double().tolist()]
    return [power / sum(powers) for power in powers]


def slow_divergence(teacher: list[float], student: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))


INDICES = [4, 1, 2]
STUDENT = torch.randn(len(INDICES), CLASSES, generator=seeded(4))
# Every image keeps 3/4 and has 1/4 of the next one.
MIX = CutMix(size=8, permutation=torch.tensor([1, 2, 0]), box=(2, 2, 6, 6), share=0.75)


def batch(distilled: DistilledDataset, mix: CutMix | None) -> Batch:
    images = images_of(distilled)[INDICES]
    shown = images if mix is None else apply_cutmix(images, mix)
    return Batch(torch.tensor(INDICES), distilled.labels[INDICES], shown, mix)


def request(
    distilled: DistilledDataset, dataset: RealDataset, teacher: LabelledBy | None, **protocol: Any
) -> EvaluationRequest:
    def never(draws: torch.Generator) -> Network:
        raise AssertionError("a loss needs no student")

    return EvaluationRequest(
        distilled=distilled,
        dataset=dataset,
        protocol=Protocol(**{"name": "plain", **protocol}),
        student=0,
        seed=0,
        build_student=never,
        teacher=teacher.network if teacher else None,
        runtime=RUNTIME,
    )


def mean(each: list[float], weighted: bool) -> float:
    """Over the batch. The factor of an image is its weight times the images per class."""
    factors = [WEIGHTS[index] * IPC if weighted else 1.0 for index in INDICES]
    return sum(factor * value for factor, value in zip(factors, each, strict=True)) / len(each)


MIXED = pytest.mark.parametrize("mix", [None, MIX], ids=["plain", "mixed"])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])


@MIXED
@WEIGHTED
@FORMS
def test_hard_labels_give_the_cross_entropy_of_the_classes(
    form: str, weighted: bool, mix: CutMix | None, plain: DistilledDataset, dataset: RealDataset
) -> None:
    distilled = forms(plain)[form]
    loss = LABELS["hard"].loss(request(distilled, dataset, None, labels="hard", weighted=weighted))
    own = [LABELS_OF[index] for index in INDICES]
    each = []
    for place, row in enumerate(STUDENT):
        value = slow_cross_entropy(row, own[place])
        if mix is not None:
            value = 0.75 * value + 0.25 * slow_cross_entropy(row, own[(place + 1) % 3])
        each.append(value)
    got = loss(batch(distilled, mix), STUDENT)
    assert got.item() == pytest.approx(mean(each, weighted), rel=1e-5)


@MIXED
@WEIGHTED
@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_soft_labels_give_the_divergence_from_the_saved_logits(
    temperature: float,
    weighted: bool,
    mix: CutMix | None,
    plain: DistilledDataset,
    dataset: RealDataset,
) -> None:
    """Of mixed images, the probabilities are mixed and not the logits. No teacher is asked."""
    distilled = forms(plain)["soft"]
    assert distilled.soft_labels is not None
    protocol = {"labels": "soft", "weighted": weighted, "temperature": temperature}
    loss = LABELS["soft"].loss(request(distilled, dataset, None, **protocol))
    own = [softened(distilled.soft_labels[index], temperature) for index in INDICES]
    each = []
    for place, row in enumerate(STUDENT):
        wanted = own[place]
        if mix is not None:
            pairs = zip(wanted, own[(place + 1) % 3], strict=True)
            wanted = [0.75 * mine + 0.25 * other for mine, other in pairs]
        each.append(slow_divergence(wanted, softened(row, temperature)))
    got = loss(batch(distilled, mix), STUDENT)
    assert got.item() == pytest.approx(mean(each, weighted), rel=1e-3, abs=1e-7)


@MIXED
@WEIGHTED
@FORMS
@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_online_labels_give_the_divergence_from_the_teachers_answers_to_the_very_images(
    temperature: float,
    form: str,
    weighted: bool,
    mix: CutMix | None,
    plain: DistilledDataset,
    dataset: RealDataset,
    teacher: LabelledBy,
) -> None:
    """Also to mixed ones; soft labels that are there do not matter."""
    distilled = forms(plain)[form]
    protocol = {"labels": "online", "weighted": weighted, "temperature": temperature}
    loss = LABELS["online"].loss(request(distilled, dataset, teacher, **protocol))
    shown = batch(distilled, mix)
    each = [
        slow_divergence(softened(answer, temperature), softened(row, temperature))
        for answer, row in zip(logits_of(teacher, shown.images), STUDENT, strict=True)
    ]
    student = STUDENT.clone().requires_grad_(True)
    got = loss(shown, student)
    assert got.item() == pytest.approx(mean(each, weighted), rel=1e-3, abs=1e-7)
    got.backward()
    assert student.grad is not None
    assert all(weight.grad is None for weight in teacher.network.model.parameters())


@pytest.mark.parametrize(("mode", "asked"), [("hard", 0), ("soft", 0), ("online", 1)])
def test_students_of_a_stack_have_the_losses_that_they_have_alone(
    mode: LabelMode, asked: int, plain: DistilledDataset, dataset: RealDataset, teacher: LabelledBy
) -> None:
    """A teacher that they share answers once for all of them."""
    own = forms(plain)[mode]
    asking = [request(own, dataset, teacher, labels=mode, weighted=weighted) for weighted in (False, True)]
    shown = [batch(own, None), batch(own, MIX)]
    logits = torch.stack([STUDENT, -STUDENT])
    alone = [
        LABELS[mode].loss(one)(images, row) for one, images, row in zip(asking, shown, logits, strict=True)
    ]
    times: list[int] = []
    handle = teacher.network.model.register_forward_hook(lambda *_: times.append(1))
    found = LABELS[mode].losses(asking)(shown, logits)
    handle.remove()
    assert len(times) == asked
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)


def test_students_of_a_stack_with_teachers_of_their_own_ask_these(
    plain: DistilledDataset, dataset: RealDataset, teacher: LabelledBy, make_network: Callable[..., Network]
) -> None:
    other = LabelledBy(network=make_network(dataset, seed=9))
    asking = [request(plain, dataset, one, labels="online") for one in (teacher, other)]
    shown, logits = [batch(plain, None)] * 2, torch.stack([STUDENT, STUDENT])
    found = LABELS["online"].losses(asking)(shown, logits)
    assert found[0] != found[1]
    torch.testing.assert_close(found, [LABELS["online"].loss(one)(shown[0], STUDENT) for one in asking])


def test_a_loss_of_soft_labels_that_are_not_there(plain: DistilledDataset, dataset: RealDataset) -> None:
    for form in ("hard", "online"):
        with pytest.raises(ModelError) as caught:
            LABELS["soft"].loss(request(forms(plain)[form], dataset, None, labels="soft"))
        assert str(caught.value) == "a student with soft labels was given a distilled dataset without any"


def test_a_loss_of_online_labels_without_a_teacher(plain: DistilledDataset, dataset: RealDataset) -> None:
    with pytest.raises(ModelError) as caught:
        LABELS["online"].loss(request(plain, dataset, None, labels="online"))
    assert str(caught.value) == (
        "the protocol's labels are online: the teacher answers during training, and there is none; name its weights "
        "with --teacher FILE, or use --set protocol.labels=hard"
    )
