"""The plain way of benchmarks/to_accuracy.py computes what condense computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ot
import pytest
import torch
from condense_wmdd.barycenter_target import BarycenterTarget
from condense_wmdd.class_batchnorm import ClassBatchNorm
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Batch
from condense.engine.components import WeightedLoss
from condense.engine.measure import measure
from condense.engine.standard import CrossEntropy
from condense.engine.training import distillation_loss, learning_rate_fraction
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.registry import load_registry
from condense.recipe.specs import NoOptions
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
IPC = 3
WEIGHTS = {"barycenter": 0.3, "class-batchnorm": 2.0}


@pytest.fixture
def plain(script: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    """The module, which draws from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield script("plain_way")


@pytest.fixture
def dataset(make_dataset: Callable[..., RealDataset]) -> RealDataset:
    return make_dataset((6, 7, 8), channels=3)


@pytest.fixture
def network(make_network: Callable[..., Network], dataset: RealDataset) -> Network:
    return make_network(dataset)


def asked_of(plain: ModuleType, dataset: RealDataset) -> Any:
    return plain.Asked(
        classes=len(dataset.classes),
        size=dataset.size,
        mean=dataset.mean,
        std=dataset.std,
        ipc=IPC,
        iterations=2,
        batch=2 * IPC,
        lr=0.1,
        betas=(0.5, 0.9),
        crop=(0.5, 1.0),
        shift=1,
        barycenter=WEIGHTS["barycenter"],
        statistics=WEIGHTS["class-batchnorm"],
        epochs=2,
        student_batch=4,
        student_lr=1e-3,
        weight_decay=0.01,
        temperature=4.0,
        student_crop=(0.3, 1.0),
        cutmix=1.0,
    )


def loaders_of(plain: ModuleType, dataset: RealDataset) -> Any:
    asked = asked_of(plain, dataset)
    return plain.class_loaders(plain.RealImages(dataset.train.images, dataset.train.labels, asked), asked)


def fitted(network: Network, dataset: RealDataset) -> tuple[BarycenterTarget, ClassBatchNorm]:
    """WMDD's losses, fitted by condense to all images in one pass."""
    target, norms = (
        BarycenterTarget(BarycenterOptions()),
        ClassBatchNorm(ClassBatchNormOptions(weighted=False)),
    )
    registry = load_registry()
    losses = []
    for kind, name, loss in (
        ("feature target", "barycenter", target),
        ("regularizer", "class-batchnorm", norms),
    ):
        needs = registry.find(kind, name).needs_of(loss.options)
        losses.append(WeightedLoss(name=name, loss=loss, weight=1.0, needs=needs))
    measure(losses, network, dataset, RUNTIME, batch_size=5, seed=0, ipc=IPC)
    return target, norms


def test_two_passes_find_what_one_pass_finds(
    plain: ModuleType, dataset: RealDataset, network: Network
) -> None:
    loaders = loaders_of(plain, dataset)
    _, norms = fitted(network, dataset)
    statistics = plain.class_statistics(network.model, loaders, RUNTIME.device)
    torch.testing.assert_close(torch.cat([mean for mean, _ in statistics], dim=1), norms.mean)
    variance = torch.cat([variance for _, variance in statistics], dim=1)
    torch.testing.assert_close(variance, norms.variance, rtol=1e-4, atol=1e-5)

    features = plain.class_features(network.model, loaders, RUNTIME.device)
    for label, of_class in enumerate(features):
        images = dataset.training_images(dataset.train.of_class(label))
        seen = network.observe(images, BatchLabels.of_real(torch.full((len(images),), label)), set())
        torch.testing.assert_close(of_class, seen.features)


@pytest.mark.parametrize("classes", [slice(0, 3), slice(1, 2), slice(0, 2)])
def test_losses_and_gradients_are_those_of_condense(
    plain: ModuleType, dataset: RealDataset, network: Network, classes: slice
) -> None:
    target, norms = fitted(network, dataset)
    asked = asked_of(plain, dataset)
    widths = [layer.num_features for layer in plain.norms_of(network.model)]
    statistics = list(zip(norms.mean.split(widths, 1), norms.variance.split(widths, 1), strict=True))
    labels = torch.arange(3)[classes].repeat_interleave(IPC)
    slots = torch.arange(IPC).repeat(len(labels) // IPC)
    images = torch.randn(len(labels), 3, dataset.size, dataset.size, requires_grad=True)

    batch = BatchLabels.of(labels, slots, target.weights[labels, slots])
    seen = network.observe(images, batch, {"batchnorm"})
    parts: dict[str, Tensor] = {
        "cross-entropy": CrossEntropy(NoOptions()).loss(seen, None),
        "barycenter": target.loss(seen, None),
        "class-batchnorm": norms.loss(seen, None),
    }
    wanted = sum(WEIGHTS.get(name, 1.0) * part for name, part in parts.items())
    [gradient] = torch.autograd.grad(wanted, images)

    layers = plain.layer_losses(network.model, statistics, classes, IPC)
    atoms = target.atoms[labels, slots]
    found = plain.recovery_loss(network.model, images, labels, atoms, layers, asked)
    [plain_gradient] = torch.autograd.grad(found, images)
    for layer in layers:
        layer.hook.remove()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain_gradient, gradient, rtol=1e-3, atol=1e-4)


def test_barycenters_are_fixed_points_of_transport(plain: ModuleType) -> None:
    """Each atom is the mean of what an optimal plan with equal weights sends to it."""
    points = torch.randn(40, 5)
    [atoms] = plain.barycenters([points], 4)
    costs = torch.cdist(points.double(), atoms.double()).square()
    plan = torch.from_numpy(ot.emd([1 / 40] * 40, [1 / 4] * 4, costs.numpy()))
    torch.testing.assert_close(4 * plan.T @ points.double(), atoms.double(), rtol=1e-3, atol=1e-3)


def test_the_student_learns_by_the_same_loss_and_rate(plain: ModuleType) -> None:
    student, teacher = torch.randn(2, 6, 4)
    batch = Batch(torch.arange(6), torch.zeros(6, dtype=torch.int64), torch.zeros(6, 1, 2, 2), None)
    wanted = distillation_loss(lambda _: torch.softmax(teacher / 3, dim=1), 3.0)(batch, student)
    torch.testing.assert_close(plain.student_loss(student, teacher, 3.0), wanted)
    for step in range(7):
        assert plain.cosine(step, 7) == pytest.approx(learning_rate_fraction("cosine", step, 7))


def test_cutmix_moves_one_rectangle_between_images(plain: ModuleType) -> None:
    images = torch.arange(5.0)[:, None, None, None].expand(5, 2, 6, 6)
    for _ in range(20):
        mixed = plain.cut_and_mix(images, 1.0)
        changed = (mixed != images).any(dim=1)  # an image may get its own rectangle
        rows, columns = changed.any(dim=0).any(dim=1).nonzero(), changed.any(dim=0).any(dim=0).nonzero()
        for image, where in enumerate(changed):
            assert where.sum() in (0, len(rows) * len(columns))
            assert len(mixed[image, :, where].unique()) <= 1


def test_from_real_images_to_a_student(
    plain: ModuleType,
    dataset: RealDataset,
    network: Network,
    make_network: Callable[..., Network],
    tmp_path: Path,
) -> None:
    asked = asked_of(plain, dataset)
    plain.condensed(network.model, dataset.train.images, dataset.train.labels, asked, tmp_path)
    assert len(list(tmp_path.glob("*/*.png"))) == IPC * len(dataset.classes)
    # Hooks of a batch end with it.
    assert not any(module._forward_pre_hooks for module in plain.norms_of(network.model))

    student = make_network(dataset, seed=1).model.requires_grad_(True)
    before = [parameter.clone() for parameter in student.parameters()]
    epochs: list[int] = []
    plain.train_student(student, network.model, tmp_path, asked, epochs.append)
    assert epochs == [1, 2]
    assert all(
        not torch.equal(old, new)
        for old, new in zip(before, student.parameters(), strict=True)
        if new.grad is not None
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_saved_images_are_rounded_to_8_bits(plain: ModuleType, tmp_path: Path, channels: int) -> None:
    from PIL import Image
    from torchvision.transforms.v2.functional import pil_to_tensor

    images = torch.rand(4, channels, 5, 5)
    plain.save_images(images, torch.tensor([0, 0, 1, 1]), 2, tmp_path)
    files = sorted(tmp_path.glob("*/*.png"))
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        f"{label:04d}/{slot:04d}.png" for label in (0, 1) for slot in (0, 1)
    ]
    for file, image in zip(files, images, strict=True):
        with Image.open(file) as opened:
            assert (pil_to_tensor(opened) / 255 - image).abs().max() <= 0.5 / 255 + 1e-6
