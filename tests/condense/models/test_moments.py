"""Statistics from per-image moments against the slow way: two passes over all positions in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.errors import NumericalError
from condense.models.moments import ClassMoments, group_statistics, per_image_moments
from condense.models.observation import BatchLabels, Moments


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moments_of(x: Tensor, centre: Tensor) -> Moments:
    """One layer's moments, as a network gives them."""
    mean, second = per_image_moments(x, centre)
    return Moments(
        mean=mean,
        second=second,
        running_mean=centre,
        running_var=torch.ones_like(centre),
        layers=("norm",),
        layer_of=torch.ones(len(centre), 1),
    )


def two_passes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of (n, C, ...), one value after the other, in float64."""
    values = x.double().movedim(1, 0).flatten(1)
    mean = values.sum(dim=1) / values.shape[1]
    return mean, ((values - mean[:, None]) ** 2).sum(dim=1) / values.shape[1]


def assert_within(got: Tensor, expected: Tensor, relative: float = 1e-4) -> None:
    torch.testing.assert_close(got.double(), expected.double(), rtol=relative, atol=1e-12)


def assert_statistics(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Within 1e-4; the mean relative to itself or, where it happens to be near 0, to the standard deviation."""
    (mean, variance), (expected_mean, expected_variance) = got, expected
    assert_within(variance, expected_variance)
    scale = torch.maximum(expected_mean.abs(), expected_variance.sqrt())
    assert bool(((mean - expected_mean).abs() <= 1e-4 * scale).all())


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int]:
    """Layer inputs (n, C, H, W), far from 0, with labels, a centre near their mean, and the number of classes."""
    classes = draw(st.integers(1, 4))
    extra = draw(st.lists(st.integers(0, classes - 1), max_size=12))
    order = draw(st.permutations([*range(classes), *extra]))
    labels = torch.tensor(order)
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(4, 6)), draw(st.integers(4, 6))
    spread = draw(st.sampled_from([0.1, 1.0, 10.0]))
    offset = spread * draw(st.sampled_from([0.0, 1.0, -30.0, 300.0]))
    generator = seeded(draw(st.integers(0, 2**32)))
    noise = torch.randn(len(labels), channels, height, width, generator=generator, dtype=torch.float64)
    x = offset + spread * (noise + labels[:, None, None, None])
    centre = x.mean(dim=(0, 2, 3)) + spread * torch.randn(channels, generator=generator)
    return x.float(), labels, centre.float(), classes


@given(datasets(), st.integers(1, 20), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_one_pass_equals_two_for_any_batches(
    data: tuple[Tensor, Tensor, Tensor, int], size: int, shuffler
) -> None:  # type: ignore[no-untyped-def]
    x, labels, centre, classes = data
    order = list(range(len(x)))
    shuffler.shuffle(order)
    sums = ClassMoments(classes)
    for batch in torch.tensor(order).split(size):
        sums.add(moments_of(x[batch], centre), BatchLabels.of_real(labels[batch]))
    means, variances = sums.class_statistics()
    for label in range(classes):
        assert_statistics((means[label], variances[label]), two_passes(x[labels == label]))
    assert_statistics(sums.global_statistics(), two_passes(x))


def test_statistics_by_hand() -> None:
    # Class 0: values 1, 3, 5, 7 with mean 4, variance 5. Class 1: values 0, 2. Together: mean 3, variance 17/3.
    x = torch.tensor([[[1.0, 3.0]], [[0.0, 2.0]], [[5.0, 7.0]]])
    sums = ClassMoments(2)
    sums.add(moments_of(x, torch.tensor([10.0])), BatchLabels.of_real(torch.tensor([0, 1, 0])))
    mean, variance = sums.class_statistics()
    torch.testing.assert_close(mean, torch.tensor([[4.0], [1.0]], dtype=torch.float64))
    torch.testing.assert_close(variance, torch.tensor([[5.0], [1.0]], dtype=torch.float64))
    mean, variance = sums.global_statistics()
    torch.testing.assert_close(mean, torch.tensor([3.0], dtype=torch.float64))
    torch.testing.assert_close(variance, torch.tensor([17 / 3], dtype=torch.float64))


@given(datasets(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_weighted_groups_equal_the_slow_formula(data: tuple[Tensor, Tensor, Tensor, int], seed: int) -> None:
    x, labels, centre = data[0].double(), data[1], data[2].double()
    weights = torch.rand(len(x), generator=seeded(seed), dtype=torch.float64) + 0.05
    batch = BatchLabels.of(labels, torch.zeros_like(labels), weights)
    means, variances = group_statistics(moments_of(x, centre), batch.membership)
    for row, label in enumerate(batch.classes.tolist()):
        mine = labels == label
        values = x[mine].flatten(2)
        share = (weights[mine] / weights[mine].sum())[:, None, None] / values.shape[2]
        mean = (share * values).sum(dim=(0, 2))
        variance = (share * (values - mean[:, None]) ** 2).sum(dim=(0, 2))
        assert_within(means[row], mean, relative=1e-9)
        assert_within(variances[row], variance, relative=1e-8)


# One layer's input.

SHAPES = [(2, 3, 2, 4), (2, 3), (2, 3, 5), (2, 2, 2, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_of_each_image_by_definition(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    centre = torch.randn(shape[1], generator=seeded(1), dtype=torch.float64)
    mean, second = per_image_moments(x, centre)
    for image in range(shape[0]):
        for channel in range(shape[1]):
            values = x[image, channel].flatten()
            torch.testing.assert_close(mean[image, channel], values.mean())
            torch.testing.assert_close(second[image, channel], ((values - centre[channel]) ** 2).mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_finite_differences(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=seeded(), dtype=torch.float64, requires_grad=True)
    centre = torch.randn(shape[1], generator=seeded(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda value: per_image_moments(value, centre), (x,))


def plain_moments(x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """The same by autograd, in float64."""
    wide = x.double()
    return wide.mean(dim=(2, 3)), (wide - centre.double()[:, None, None]).square().mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)]
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_inputs_of_any_float_type_and_layout(
    dtype: torch.dtype, relative: float, memory_format: torch.memory_format
) -> None:
    x = (2 + torch.randn(4, 3, 5, 6, generator=seeded())).to(dtype).to(memory_format=memory_format)
    centre = torch.tensor([2.0, 1.5, 2.5])
    got, wanted = x.clone().requires_grad_(), x.clone().requires_grad_()
    moments, expected = per_image_moments(got, centre), plain_moments(wanted, centre)
    for value, answer in zip(moments, expected, strict=True):
        assert value.dtype == torch.float32  # Summed up in float32 whatever the input.
        assert_within(value, answer, relative=1e-5)
    sum((value * value).sum() for value in moments).backward()
    sum((value * value).sum() for value in expected).backward()
    assert got.grad is not None
    assert wanted.grad is not None
    assert got.grad.dtype == dtype
    error = (got.grad.double() - wanted.grad.double()).norm() / wanted.grad.double().norm()
    assert error < relative


def test_a_gradient_may_come_from_one_moment_alone() -> None:
    x = torch.randn(2, 3, 4, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    centre = torch.zeros(3, dtype=torch.float64)
    [from_mean] = torch.autograd.grad(per_image_moments(x, centre)[0].sum(), x)
    [from_second] = torch.autograd.grad(per_image_moments(x, centre)[1].sum(), x)
    torch.testing.assert_close(from_mean, torch.full_like(x, 1 / 16))
    torch.testing.assert_close(from_second, x.detach() / 8)


# What cannot be used.


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_finite(bad: float) -> None:
    x = torch.tensor([[1.0], [bad]])
    sums = ClassMoments(2)
    sums.add(moments_of(x, torch.zeros(1)), BatchLabels.of_real(torch.tensor([0, 1])))
    with pytest.raises(NumericalError, match=r"not finite.*--precision fp32"):
        sums.class_statistics()
    with pytest.raises(NumericalError, match="not finite"):
        sums.global_statistics()


def test_a_class_without_images() -> None:
    sums = ClassMoments(2)
    sums.add(moments_of(torch.tensor([[1.0]]), torch.zeros(1)), BatchLabels.of_real(torch.tensor([0])))
    with pytest.raises(NumericalError, match="a class without images"):
        sums.class_statistics()
    assert sums.global_statistics()[0].item() == 1


def test_statistics_before_anything_was_added() -> None:
    with pytest.raises(NumericalError, match="not finite"):
        ClassMoments(2).class_statistics()
    with pytest.raises(NumericalError, match="not finite"):
        ClassMoments(2).global_statistics()


def test_a_variance_is_never_negative() -> None:
    sums = ClassMoments(1)
    constant = torch.full((3, 1, 2, 2), 1e4) + 1 / 3
    sums.add(
        moments_of(constant, torch.tensor([9e3])), BatchLabels.of_real(torch.zeros(3, dtype=torch.int64))
    )
    assert sums.class_statistics()[1].item() >= 0
