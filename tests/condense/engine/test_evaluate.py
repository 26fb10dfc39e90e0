"""Evaluate: students that learn from hard, soft and online labels, and what they start from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.engine.labels import LABELS, LabelledBy
from condense.errors import ModelError
from condense.models.network import Network
from condense.recipe.protocol import Protocol
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment
from condense.runtime import make_runtime
from condense.storage.distilled import DistilledDataset

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
PLAIN: dict[str, Any] = {
    "name": "plain",
    "epochs": 3,
    "batch_size": 4,
    "optimizer": "sgd",
    "lr": 0.05,
    "weight_decay": 0.0,
}


def distilled_from(dataset: RealDataset, ipc: int = 2, first: int = 0) -> DistilledDataset:
    """Real images, from number `first` of each class on."""
    classes = len(dataset.classes)
    picks = torch.cat([dataset.train.of_class(label)[first : first + ipc] for label in range(classes)])
    return DistilledDataset(
        images=dataset.train.images.read(picks),
        labels=torch.arange(classes).repeat_interleave(ipc),
        slots=torch.arange(ipc).repeat(classes),
        weights=torch.full((classes * ipc,), 1 / ipc),
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
        ipc=ipc,
    )


def softened(distilled: DistilledDataset, teacher: Network) -> DistilledDataset:
    """With the teacher's soft labels."""
    return LABELS["soft"].attach(distilled, LabelledBy(network=teacher), RUNTIME)


class Lab:
    """Trains students and keeps them, with the weights they started from."""

    def __init__(self, dataset: RealDataset, make: Callable[[torch.Generator], Network]) -> None:
        self.dataset, self.make = dataset, make
        self.students: list[Network] = []
        self.starts: list[dict[str, Tensor]] = []

    def build(self, generator: torch.Generator) -> Network:
        student = self.make(generator)
        student.model.requires_grad_(True)
        self.students.append(student)
        self.starts.append(copy.deepcopy(student.model.state_dict()))
        return student

    def evaluate(
        self,
        distilled: DistilledDataset,
        protocol: Protocol,
        teacher: Network | None = None,
        student: int = 0,
        seed: int = 0,
    ) -> StudentResult:
        request = EvaluationRequest(
            distilled=distilled,
            dataset=self.dataset,
            protocol=protocol,
            student=student,
            seed=seed,
            build_student=self.build,
            teacher=teacher,
            runtime=RUNTIME,
        )
        return StudentEvaluator(NoOptions()).evaluate(request)

    def weights(self, index: int = -1) -> Tensor:
        return torch.cat([tensor.flatten() for tensor in self.students[index].model.state_dict().values()])

    def start(self, index: int = -1) -> Tensor:
        return torch.cat([tensor.flatten() for tensor in self.starts[index].values()])


def fresh(dataset: RealDataset, make_network: MakeNetwork, norm: str = "none") -> Callable[..., Network]:
    def make(generator: torch.Generator) -> Network:
        return make_network(dataset, norm=norm, seed=int(torch.randint(2**31, (), generator=generator)))

    return make


def test_hard_labels_teach_what_can_be_told_apart(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Dark against bright images."""
    dataset = make_dataset(counts=(5, 5), tests=6)
    lab = Lab(dataset, fresh(dataset, make_network))
    found = lab.evaluate(distilled_from(dataset, ipc=5), Protocol(**{**PLAIN, "epochs": 12}))
    assert found.accuracy == 1.0
    # 10 images in batches of 4 are 3 steps.
    assert (found.student, found.steps) == (0, 36)
    assert found.seconds > 0
    assert not lab.students[0].model.training


def test_accuracy_is_the_share_of_test_images_that_the_student_has_right(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    lab = Lab(dataset, fresh(dataset, make_network, norm="batch"))
    found = lab.evaluate(distilled_from(dataset), Protocol(**{**PLAIN, "epochs": 1}))
    model = lab.students[0].model
    images = (dataset.test.images.read(torch.arange(12)) / 255 - 0.5) / 0.25
    right = [
        int(model(image[None]).argmax()) == int(label)
        for image, label in zip(images, dataset.test.labels, strict=True)
    ]
    assert found.accuracy == sum(right) / 12


def test_students_are_tested_on_images_normalised_as_those_they_learned_from(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """The same photographs in another folder may come with another mean."""
    dataset = make_dataset(counts=(5, 5), tests=6)
    protocol = Protocol(**{**PLAIN, "epochs": 12})
    for real in (dataset, replace(dataset, mean=(1.0,), std=(0.05,))):
        lab = Lab(real, fresh(dataset, make_network))
        assert lab.evaluate(distilled_from(dataset, ipc=5), protocol).accuracy == 1.0


@pytest.mark.parametrize("labels", ["online", "soft"])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(
    labels: Any, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """The gradient of KL(p || q) is q - p. Online that holds for every view; soft labels fit the images alone."""
    dataset = make_dataset()
    teacher = make_network(dataset, norm="none")
    views = Augment(crop_scale=(0.3, 1.0), flip=True, cutmix=1.0) if labels == "online" else Augment()
    protocol = Protocol(**PLAIN, labels=labels, temperature=4.0, augment=views)
    distilled = softened(distilled_from(dataset), teacher)
    before = copy.deepcopy(teacher.model.state_dict())
    lab = Lab(dataset, lambda generator: make_network(dataset, norm="none"))
    lab.evaluate(distilled, protocol, teacher if labels == "online" else None)
    torch.testing.assert_close(lab.weights(), lab.start(), rtol=0, atol=1e-6)
    other = Lab(dataset, lambda generator: make_network(dataset, norm="none", seed=1))
    other.evaluate(distilled, protocol, teacher if labels == "online" else None)
    assert float((other.weights() - other.start()).abs().max()) > 1e-4
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_soft_labels_of_mixed_images_are_mixed(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """Soft labels that are sure of the class teach what hard labels teach, with CutMix as well."""
    dataset = make_dataset()
    distilled = distilled_from(dataset)
    sure = replace(distilled, soft_labels=1e4 * torch.eye(3)[distilled.labels], label_mode="soft")
    lab = Lab(dataset, fresh(dataset, make_network))
    for labels in ("hard", "soft"):
        protocol = Protocol(**{**PLAIN, "labels": labels}, augment=Augment(cutmix=1.0))
        lab.evaluate(sure, protocol)
    torch.testing.assert_close(lab.weights(0), lab.weights(1), rtol=0, atol=1e-5)
    assert float((lab.weights(0) - lab.start(0)).abs().max()) > 1e-3


@pytest.mark.parametrize("labels", ["hard", "soft", "online"])
def test_an_image_of_weight_0_teaches_nothing_if_weights_count(
    labels: Any, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset, norm="none", seed=3)
    one = softened(distilled_from(dataset), teacher)
    images = one.images.clone()
    images[1::2] = 255 - images[1::2]
    weights = torch.tensor([1.0, 0.0] * 3)
    one, other = replace(one, weights=weights), replace(one, weights=weights, images=images)
    for weighted, equal in ((True, True), (False, False)):
        protocol = Protocol(**PLAIN, labels=labels, weighted=weighted)
        lab = Lab(dataset, fresh(dataset, make_network))
        for distilled in (one, other):
            lab.evaluate(distilled, protocol, teacher)
        assert torch.allclose(lab.weights(0), lab.weights(1), rtol=0, atol=1e-6) is equal


def test_equal_weights_are_no_weights(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    lab = Lab(dataset, fresh(dataset, make_network))
    for weighted in (True, False):
        lab.evaluate(distilled_from(dataset), Protocol(**PLAIN, weighted=weighted))
    torch.testing.assert_close(lab.weights(0), lab.weights(1))


def test_students_of_one_number_start_alike_whatever_they_learn_from(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    lab = Lab(dataset, fresh(dataset, make_network, norm="batch"))
    one, other = distilled_from(dataset), distilled_from(dataset, first=3)
    protocol = Protocol(**{**PLAIN, "epochs": 1}, augment=Augment(flip=True, jitter=0.2))
    lab.evaluate(one, protocol)
    lab.evaluate(other, protocol)
    assert torch.equal(lab.start(0), lab.start(1))
    assert not torch.equal(lab.weights(0), lab.weights(1))
    lab.evaluate(one, protocol)
    assert torch.equal(lab.weights(0), lab.weights(2))
    lab.evaluate(one, protocol, student=1)
    lab.evaluate(one, protocol, seed=1)
    assert not torch.equal(lab.start(0), lab.start(3))
    assert not torch.equal(lab.start(0), lab.start(4))


def test_online_labels_without_a_teacher(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    lab = Lab(dataset, fresh(dataset, make_network))
    with pytest.raises(ModelError) as caught:
        lab.evaluate(distilled_from(dataset), Protocol(**PLAIN, labels="online"))
    assert str(caught.value) == (
        "the protocol's labels are online: the teacher answers during training, and there is none; name its "
        "weights with --teacher FILE, or use --set protocol.labels=hard"
    )


def test_soft_labels_that_are_not_there(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    lab = Lab(dataset, fresh(dataset, make_network))
    with pytest.raises(ModelError) as caught:
        lab.evaluate(distilled_from(dataset), Protocol(**PLAIN, labels="soft"))
    assert str(caught.value) == "a student with soft labels was given a distilled dataset without any"
