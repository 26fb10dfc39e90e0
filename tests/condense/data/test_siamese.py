"""Siamese augmentation: each operation against what it does to one image, and the draws."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from condense.data.siamese import (
    OPERATIONS,
    SiameseDraw,
    apply_siamese,
    color,
    crop,
    cutout,
    draw_siamese,
    flip,
    rotate,
    scale,
)
from condense.recipe.training import SIAMESE_OPERATIONS, Augment

ALL = Augment(siamese=SIAMESE_OPERATIONS, siamese_single=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=seeded(seed), dtype=torch.float64)


def only(name: str) -> Augment:
    return Augment(siamese=(name,))


def test_the_operations_are_those_that_the_options_name() -> None:
    assert tuple(OPERATIONS) == SIAMESE_OPERATIONS


@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("color", torch.tensor([[0.0, 1.0, 1.0]])),
        ("crop", torch.tensor([[0, 0]])),
        ("cutout", torch.tensor([[1000, 1000]])),
        ("flip", torch.tensor([False])),
        ("scale", torch.tensor([[1.0, 1.0]])),
        ("rotate", torch.tensor([0.0])),
    ],
)
def test_neutral_parameters_change_nothing(name: str, neutral: Tensor) -> None:
    images = random_images(3, 10)
    torch.testing.assert_close(apply_siamese(images, SiameseDraw(10, ((name, neutral),))), images)


def test_brightness_adds_and_saturation_and_contrast_pull_to_means() -> None:
    images = random_images(2, 6)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    brighter = color(images, torch.stack([zero + 0.3, one, one], dim=1))
    torch.testing.assert_close(brighter, images + 0.3)
    grey = color(images, torch.stack([zero, zero, one], dim=1))
    torch.testing.assert_close(grey, images.mean(1, keepdim=True).expand_as(images))
    flat = color(images, torch.stack([zero, one, zero], dim=1))
    torch.testing.assert_close(flat[1], images[1].mean().expand_as(images[1]))
    strong = color(images, torch.stack([zero, one, 2 * one], dim=1))
    torch.testing.assert_close(strong[0], 2 * images[0] - images[0].mean())


@pytest.mark.parametrize(("down", "right"), [(2, -1), (-2, 0), (1, 2)])
def test_crop_moves_over_zeros(down: int, right: int) -> None:
    images = random_images(2, 16)  # an eighth of 16 is 2
    moved = crop(images, torch.tensor([[down, right]]))
    for y in range(16):
        for x in range(16):
            inside = 0 <= y - down < 16 and 0 <= x - right < 16
            expected = images[:, :, y - down, x - right] if inside else torch.zeros(2, 3, dtype=torch.float64)
            assert torch.equal(moved[:, :, y, x], expected)


@pytest.mark.parametrize(
    ("side", "centre", "rows", "columns"),
    [
        (8, (4, 4), (2, 6), (2, 6)),
        (8, (0, 8), (0, 2), (6, 8)),
        (10, (5, 0), (3, 8), (0, 3)),  # half of 10 is 5: two pixels to each side of the middle one
    ],
)
def test_cutout_erases_its_square_and_nothing_else(
    side: int, centre: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    images = random_images(2, side)
    expected = images.clone()
    expected[:, :, slice(*rows), slice(*columns)] = 0
    assert torch.equal(cutout(images, torch.tensor([centre])), expected)


@pytest.mark.parametrize("side", [7, 8, 32])
def test_cutout_erases_between_a_sixteenth_and_a_quarter(side: int) -> None:
    images = torch.ones(500, 1, side, side)
    erased = 1 - apply_siamese(images, draw_siamese(only("cutout"), 500, side, seeded(), shared=False)).mean(
        (1, 2, 3)
    )
    square = int(side / 2 + 0.5) ** 2 / side**2
    assert float(erased.max()) == pytest.approx(square, abs=1e-6)
    # The middle always lies on the image, so at least (about) half of each side of the square does.
    assert float(erased.min()) >= (int(side / 2 + 0.5) // 2) ** 2 / side**2 - 1e-6


def test_flipping_is_torch_flip_where_drawn_and_twice_is_nothing() -> None:
    images = random_images(2, 5)
    which = torch.tensor([True, False])
    flipped = flip(images, which)
    assert torch.equal(flipped[0], images[0].flip(-1))
    assert torch.equal(flipped[1], images[1])
    assert torch.equal(flip(flipped, which), images)


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
@pytest.mark.parametrize("side", [6, 7])
def test_rotating_by_quarter_turns_is_rot90(quarters: int, side: int) -> None:
    images = random_images(2, side)
    angle = torch.tensor([quarters * math.pi / 2], dtype=torch.float64)
    torch.testing.assert_close(rotate(images, angle), images.rot90(quarters, dims=(2, 3)))


def test_scaling_by_two_halves_the_image_on_zeros() -> None:
    images = random_images(2, 8)
    shrunk = scale(images, torch.tensor([[2.0, 2.0]], dtype=torch.float64))
    # Every output pixel lies in the middle of four input pixels, and the bilinear weights there are equal.
    expected = torch.zeros_like(images)
    expected[:, :, 2:6, 2:6] = torch.nn.functional.avg_pool2d(images, 2)
    torch.testing.assert_close(shrunk, expected)


def test_scaling_takes_x_first() -> None:
    images = random_images(1, 8)
    shrunk = scale(images, torch.tensor([[2.0, 1.0]], dtype=torch.float64))
    assert not shrunk[..., :2].any()
    assert shrunk[..., :2, 2:6].all()


@pytest.mark.parametrize("name", SIAMESE_OPERATIONS)
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_are_right(name: str, shared: bool) -> None:
    draw = draw_siamese(only(name), 2, 5, seeded(3), shared=shared)
    images = random_images(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: apply_siamese(pixels, draw), images)


@pytest.mark.parametrize("name", SIAMESE_OPERATIONS)
def test_a_shared_draw_transforms_two_batches_alike(name: str) -> None:
    draw = draw_siamese(only(name), 4, 12, seeded(), shared=True)
    real, synthetic = random_images(4, 12, seed=1), random_images(7, 12, seed=2)
    synthetic[5] = real[2]
    torch.testing.assert_close(apply_siamese(synthetic, draw)[5], apply_siamese(real, draw)[2])


@pytest.mark.parametrize("name", SIAMESE_OPERATIONS)
def test_draws_per_image_differ_within_a_batch(name: str) -> None:
    draw = draw_siamese(only(name), 16, 12, seeded(), shared=False)
    images = random_images(1, 12).expand(16, -1, -1, -1)
    assert len(apply_siamese(images, draw).unique(dim=0)) > 1


def test_a_draw_per_image_is_the_shared_operation_image_by_image() -> None:
    draw = draw_siamese(ALL, 3, 9, seeded(), shared=False)
    images = random_images(3, 9)
    for index in range(3):
        one = SiameseDraw(9, tuple((name, drawn[index : index + 1]) for name, drawn in draw.operations))
        torch.testing.assert_close(
            apply_siamese(images, draw)[index], apply_siamese(images[index : index + 1], one)[0]
        )


def test_parameters_lie_within_those_of_the_paper() -> None:
    limits = {
        "color": (torch.tensor([-0.5, 0.0, 0.5]), torch.tensor([0.5, 2.0, 1.5])),
        "crop": (torch.tensor([-4, -4]), torch.tensor([4, 4])),
        "cutout": (torch.tensor([0, 0]), torch.tensor([32, 32])),
        "flip": (torch.tensor(False), torch.tensor(True)),
        "scale": (torch.tensor([1 / 1.2] * 2), torch.tensor([1.2] * 2)),
        "rotate": (torch.tensor(-15 * math.pi / 180), torch.tensor(15 * math.pi / 180)),
    }
    draw = draw_siamese(ALL, 4000, 32, seeded(), shared=False)
    assert [name for name, _ in draw.operations] == list(SIAMESE_OPERATIONS)
    for name, drawn in draw.operations:
        low, high = limits[name]
        assert bool((drawn >= low).all())
        assert bool((drawn <= high).all())
        # Both ends are reached, to a hundredth of the range, and the mean is the middle (5 standard errors).
        values = drawn.double()
        spread = high.double() - low.double()
        torch.testing.assert_close(values.amin(0), low.double(), rtol=0, atol=0.02)
        torch.testing.assert_close(values.amax(0), high.double(), rtol=0, atol=0.02)
        assert bool(((values.mean(0) - (low.double() + high.double()) / 2).abs() < spread * 0.04).all())


def test_single_draws_one_operation_and_each_in_turn() -> None:
    generator = seeded()
    options = Augment(siamese=SIAMESE_OPERATIONS)
    draws = [draw_siamese(options, 2, 8, generator, shared=True).operations for _ in range(100)]
    assert all(len(operations) == 1 for operations in draws)
    assert {operations[0][0] for operations in draws} == set(SIAMESE_OPERATIONS)


def test_some_are_used_at_every_step_and_one_of_the_others() -> None:
    """In the order of `siamese`; names that are not among them do not count."""
    generator = seeded()
    options = Augment(
        siamese=("flip", "rotate", "color", "scale"), siamese_always=("color", "flip", "cutout")
    )
    drawn = [
        tuple(name for name, _ in draw_siamese(options, 2, 8, generator, shared=True).operations)
        for _ in range(60)
    ]
    assert set(drawn) == {("flip", "rotate", "color"), ("flip", "color", "scale")}
    everything = replace(options, siamese_always=options.siamese)
    names = tuple(name for name, _ in draw_siamese(everything, 2, 8, generator, shared=True).operations)
    assert names == options.siamese


def test_all_apply_in_the_order_given() -> None:
    options = Augment(siamese=("rotate", "cutout"), siamese_single=False)
    draw = draw_siamese(options, 2, 8, seeded(), shared=False)
    (_, angle), (_, centre) = draw.operations
    images = random_images(2, 8)
    assert torch.equal(apply_siamese(images, draw), cutout(rotate(images, angle.double()), centre))


def test_none_named_changes_nothing() -> None:
    images = random_images(2, 8)
    assert torch.equal(apply_siamese(images, draw_siamese(Augment(), 2, 8, seeded(), shared=True)), images)


def test_the_same_generator_gives_the_same_bits_and_the_global_one_is_not_touched() -> None:
    before = torch.get_rng_state()
    images = random_images(3, 12)
    first, again = (
        apply_siamese(images, draw_siamese(ALL, 3, 12, seeded(5), shared=False)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_is_computed_in_float32_also_under_autocast() -> None:
    images = random_images(3, 12).bfloat16()
    draw = draw_siamese(ALL, 3, 12, seeded(), shared=False)
    expected = apply_siamese(images.float(), draw).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(apply_siamese(images, draw), expected)


def test_a_draw_refuses_other_batches_than_it_was_drawn_for() -> None:
    draw = draw_siamese(only("crop"), 2, 8, seeded(), shared=False)
    with pytest.raises(ValueError, match="side 8"):
        apply_siamese(random_images(2, 9), draw)
    with pytest.raises(ValueError, match="2 images, got 3"):
        apply_siamese(random_images(3, 8), draw)
