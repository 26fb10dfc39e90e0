"""Per-class BatchNorm statistics: one pass against two in float64, and the loss against loops."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from condense_wmdd.class_batchnorm import ClassBatchNorm
from condense_wmdd.options import ClassBatchNormOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from condense.data.dataset import RealDataset, Split
from condense.engine.components import WeightedLoss
from condense.engine.measure import measure
from condense.models.moments import safe_norm
from condense.models.network import Network
from condense.models.observation import BatchLabels, Moments, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
FORMS = ("squares", "norms", "relative")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_passes(network: Network, images: Tensor, share: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance (C,) of each BatchNorm input over all positions of some images, in float64.

    share: (n,) the weight of each image, summing to 1.
    """
    model = copy.deepcopy(network.model).double().eval()
    inputs: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.no_grad():
        model(images.double())
    found = []
    for layer in inputs:
        positions = layer.shape[2] * layer.shape[3]
        each = share.double()[:, None, None, None] / positions
        mean = (each * layer).sum(dim=(0, 2, 3))
        variance = (each * (layer - mean[None, :, None, None]) ** 2).sum(dim=(0, 2, 3))
        found.append((mean, variance))
    return found


def needs(**options: Any) -> Needs:
    """What the plugin declares for the regularizer with these options."""
    asked = ClassBatchNormOptions(**options)
    found: Needs = load_registry().find("regularizer", "class-batchnorm").needs_of(asked)
    return found


def fit(dataset: RealDataset, teacher: Network, batch_size: int = 8, **options: Any) -> ClassBatchNorm:
    regularizer = ClassBatchNorm(ClassBatchNormOptions(**options))
    weighted = WeightedLoss(name="class-batchnorm", loss=regularizer, weight=1.0, needs=needs(**options))
    measure([weighted], teacher, dataset, RUNTIME, batch_size=batch_size, seed=0, ipc=2)
    return regularizer


def shuffle(dataset: RealDataset, seed: int) -> RealDataset:
    order = torch.randperm(len(dataset.train), generator=seeded(seed))
    images = replace(dataset.train.images, pixels=dataset.train.images.pixels[order])  # type: ignore[attr-defined,type-var]
    return replace(dataset, train=Split(images, dataset.train.labels[order]))


def class_images(dataset: RealDataset, label: int) -> Tensor:
    return dataset.training_images(dataset.train.of_class(label))


def equal_shares(count: int) -> Tensor:
    return torch.full((count,), 1 / count)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 21, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_statistics_are_those_of_two_passes_for_any_batches_and_order(
    batch_size: int, seed: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset(channels=3)
    teacher = make_network(dataset)
    found = fit(shuffle(dataset, seed), teacher, batch_size)
    for label in range(3):
        images = class_images(dataset, label)
        slow = two_passes(teacher, images, equal_shares(len(images)))
        mean, variance = (torch.cat(part) for part in zip(*slow, strict=True))
        assert mean.shape == (16,)
        torch.testing.assert_close(found.variance[label].double(), variance, rtol=1e-4, atol=1e-9)
        # A mean may happen to be near 0: relative to the spread then.
        gap = (found.mean[label].double() - mean).abs()
        assert bool((gap <= 1e-4 * torch.maximum(mean.abs(), variance.sqrt())).all())


def observe(teacher: Network, images: Tensor, batch: BatchLabels) -> Observation:
    return teacher.observe(images, batch, ["batchnorm"])


def batch_of(labels: Sequence[int], slots: Sequence[int], weights: Sequence[float]) -> BatchLabels:
    return BatchLabels.of(torch.tensor(labels), torch.tensor(slots), torch.tensor(weights))


def slow_loss(
    form: str, found: ClassBatchNorm, teacher: Network, images: Tensor, labels: Sequence[int], shares: Tensor
) -> float:
    """Class by class, layer by layer. shares: (n,) the weight of each image in its class."""
    classes = sorted(set(labels))
    total, layers = 0.0, 0
    for label in classes:
        own = torch.tensor([index for index, other in enumerate(labels) if other == label])
        first = 0
        for mean, variance in two_passes(teacher, images[own], shares[own]):
            last = first + len(mean)
            real = found.variance[label, first:last].double()
            gaps = (mean - found.mean[label, first:last].double(), variance - real)
            if form == "relative":
                gaps = relative(*gaps, real)
            for gap in gaps:
                squared = sum(value * value for value in gap.tolist())
                total += squared if form == "squares" else math.sqrt(squared)
            first, layers = last, layers + 1
    return {"squares": total, "norms": total / len(classes), "relative": total / layers}[form]


def relative(mean_gap: Tensor, variance_gap: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Gaps in units of a layer's real variances (C,), divided by the square root of the number of channels."""
    spread = real.clamp_min(float(real.mean()) / 100)
    each = math.sqrt(len(real))
    return mean_gap / spread.sqrt() / each, variance_gap / spread / each


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("labels", [(0, 0), (0, 0, 2, 2), (2, 0, 1, 1, 0, 2, 0)])
def test_loss_against_loops(
    form: str, weighted: bool, labels: tuple[int, ...], make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    found = fit(dataset, teacher, form=form, weighted=weighted)
    images = torch.randn(len(labels), 1, 8, 8, generator=seeded())
    weights = torch.rand(len(labels), generator=seeded(1)) + 0.1
    counts = torch.tensor([labels.count(label) for label in labels])
    totals = torch.tensor(
        [sum(float(w) for w, other in zip(weights, labels, strict=True) if other == own) for own in labels]
    )
    batch = batch_of(labels, [0] * len(labels), (weights / totals).tolist())
    shares = weights / totals if weighted else 1 / counts
    got = found.loss(observe(teacher, images, batch), None)
    assert got.shape == ()
    assert got.item() == pytest.approx(
        slow_loss(form, found, teacher, images, labels, shares), rel=1e-3, abs=1e-5
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [True, False])
def test_the_classes_pooled_against_loops(
    form: str, weighted: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    found = fit(dataset, teacher, form=form, weighted=weighted, per_class=False)
    images = torch.randn(5, 1, 8, 8, generator=seeded())
    batch = batch_of([2, 0, 2, 0, 0], [0, 0, 1, 1, 2], [0.9, 0.5, 0.1, 0.3, 0.2])
    thirds = [0.25, 1 / 6, 0.25, 1 / 6, 1 / 6]
    shares = torch.tensor([0.45, 0.25, 0.05, 0.15, 0.1] if weighted else thirds)
    real = dataset.training_images(torch.arange(21))
    terms = []
    for made, wanted in zip(
        two_passes(teacher, images, shares), two_passes(teacher, real, equal_shares(21)), strict=True
    ):
        gaps = (made[0] - wanted[0], made[1] - wanted[1])
        for gap in relative(*gaps, wanted[1]) if form == "relative" else gaps:
            squared = float(gap.square().sum())
            terms.append(squared if form == "squares" else math.sqrt(squared))
    got = found.loss(observe(teacher, images, batch), None)
    expected = sum(terms) / (len(terms) / 2 if form == "relative" else 1)
    assert got.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    kept = ClassBatchNorm(ClassBatchNormOptions(form=form, weighted=weighted, per_class=False))  # type: ignore[arg-type]
    kept.restore(found.state())
    assert kept.loss(observe(teacher, images, batch), None).item() == got.item()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [True, False])
def test_the_real_images_themselves_have_no_loss(
    form: str, weighted: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    found = fit(dataset, teacher, form=form, weighted=weighted)
    images = torch.cat([class_images(dataset, label) for label in (1, 2)]).requires_grad_(True)
    labels = torch.tensor([1] * 7 + [2] * 8)
    batch = BatchLabels.of(labels, torch.zeros_like(labels), torch.tensor([1 / 7] * 7 + [1 / 8] * 8))
    loss = found.loss(observe(teacher, images, batch), None)
    loss.backward()
    assert loss.item() < 1e-3
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())
    noise = found.loss(observe(teacher, torch.randn_like(images), batch), None)
    assert noise.item() > 100 * loss.item()


def synthetic_moments(mean: Tensor, second: Tensor, layer_of: Tensor) -> Moments:
    channels = mean.shape[1]
    return Moments(
        mean=mean,
        second=second,
        running_mean=torch.zeros(channels),
        running_var=torch.ones(channels),
        layers=tuple(f"norm{index}" for index in range(layer_of.shape[1])),
        layer_of=layer_of,
    )


@pytest.mark.parametrize("form", FORMS)
def test_loss_and_gradient_exactly_at_the_optimum(form: Any) -> None:
    """One image whose moments are the class's: mean 3 and variance 4 about it, so 13 about 0."""
    found = ClassBatchNorm(ClassBatchNormOptions(form=form))
    found.restore({"mean": torch.tensor([[3.0, 3.0]]), "variance": torch.tensor([[4.0, 4.0]])})
    mean = torch.tensor([[3.0, 3.0]], requires_grad=True)
    second = torch.tensor([[13.0, 13.0]], requires_grad=True)
    seen = Observation(
        images=torch.zeros(1, 1, 2, 2),
        batch=batch_of([0], [0], [1.0]),
        features=torch.zeros(1, 1),
        logits=torch.zeros(1, 2),
        moments=synthetic_moments(mean, second, torch.eye(2)),
    )
    loss = found.loss(seen, None)
    loss.backward()
    assert 0 <= loss.item() < 1e-5
    assert mean.grad is not None and second.grad is not None
    assert mean.grad.tolist() == second.grad.tolist() == [[0.0, 0.0]]


def test_loss_by_hand() -> None:
    """Two layers of 2 and 1 channels, one class; two images with weights 1/4 and 3/4."""
    layer_of = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    mean = torch.tensor([[0.0, 8, 0], [4.0, 0, 4]])
    second = torch.tensor([[20.0, 80, 8], [20.0, 0, 24]])
    # Weighted: means 3, 2, 3 and second moments 20, 20, 20, so variances 11, 16, 11.
    # Equal: means 2, 4, 2 and second moments 20, 40, 16, so variances 16, 24, 12.
    targets = {"mean": torch.tensor([[0.0, 6, 3]]), "variance": torch.tensor([[8.0, 20, 11]])}
    seen = Observation(
        images=torch.zeros(2, 1, 2, 2),
        batch=batch_of([0, 0], [0, 1], [0.25, 0.75]),
        features=torch.zeros(2, 1),
        logits=torch.zeros(2, 2),
        moments=synthetic_moments(mean, second, layer_of),
    )
    # Gaps weighted: mean (3, -4), 0; variance (3, -4), 0. Equal: mean (2, -2), -1; variance (8, 4), 1.
    expected = {
        ("squares", True): 50.0,
        ("norms", True): 10.0,
        ("squares", False): 4 + 4 + 1 + 64 + 16 + 1.0,
        ("norms", False): math.sqrt(8) + 1 + math.sqrt(80) + 1,
    }
    for (form, weighted), value in expected.items():
        found = ClassBatchNorm(ClassBatchNormOptions(form=form, weighted=weighted))  # type: ignore[arg-type]
        found.restore(targets)
        assert found.loss(seen, None).item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_classes_of_a_batch_are_independent(
    form: str, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    found = fit(dataset, teacher, form=form)
    images = torch.randn(4, 1, 8, 8, generator=seeded())
    both = found.loss(observe(teacher, images, batch_of([0, 0, 2, 2], [0, 1, 0, 1], [0.5] * 4)), None)
    alone = [
        found.loss(observe(teacher, images[part], batch_of([label] * 2, [0, 1], [0.5] * 2)), None).item()
        for label, part in ((0, slice(0, 2)), (2, slice(2, 4)))
    ]
    expected = sum(alone) if form == "squares" else sum(alone) / 2
    assert both.item() == pytest.approx(expected, rel=1e-5)


def test_what_was_fitted_comes_back(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    found, other = fit(dataset, teacher), ClassBatchNorm(ClassBatchNormOptions())
    assert {tensor.dtype for tensor in found.state().values()} == {torch.float32}
    other.restore({name: tensor.clone() for name, tensor in found.state().items()})
    seen = observe(teacher, torch.randn(2, 1, 8, 8, generator=seeded()), batch_of([1, 1], [0, 1], [0.3, 0.7]))
    assert torch.equal(other.loss(seen, None), found.loss(seen, None))


@pytest.mark.parametrize("per_class", [True, False])
def test_it_reads_the_batch_norms_of_the_teacher_for_whole_classes(per_class: bool) -> None:
    wanted = needs(per_class=per_class)
    assert wanted.network == "teacher"
    assert wanted.observes
    assert wanted.statistics == ("batchnorm",)
    assert wanted.at_once == "whole classes"
    assert not wanted.each_member


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
@settings(deadline=None)
def test_safe_norm_is_the_root_and_its_gradient_is_finite(values: list[float]) -> None:
    sums = torch.tensor(values, requires_grad=True)
    norms = safe_norm(sums)
    norms.sum().backward()
    for value, norm in zip(sums.tolist(), norms.tolist(), strict=True):
        assert norm == pytest.approx(math.sqrt(value), rel=1e-6, abs=1e-6)
    assert sums.grad is not None
    assert bool(torch.isfinite(sums.grad).all())
    assert [gradient for value, gradient in zip(values, sums.grad.tolist(), strict=True) if value == 0] == [
        0.0
    ] * values.count(0)
