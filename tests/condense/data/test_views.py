"""Views against one F.interpolate, torch.flip and torch.roll per image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.views import View, apply_view, draw_view, take_pixels
from condense.errors import DataError
from condense.recipe.training import Augment

EVERYTHING = Augment(crop_scale=(0.08, 1.0), flip=True, jitter=1 / 7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int, side: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=seeded(seed), dtype=dtype)


def one_by_one(images: Tensor, view: View) -> Tensor:
    """The slow way: crop, resize, flip and roll each image on its own."""
    seen = []
    for index in range(len(images)):
        image = images[index : index + 1]
        if view.box is None:
            margin = (view.stored - view.size) // 2
            image = image[:, :, margin : margin + view.size, margin : margin + view.size]
        else:
            top, left, height, width = view.box[index].tolist()
            image = image[:, :, top : top + height, left : left + width]
            image = F.interpolate(
                image, (view.size, view.size), mode="bilinear", antialias=True, align_corners=False
            )
        if view.flip is not None and view.flip[index]:
            image = image.flip(-1)
        if view.shift is not None:
            image = image.roll(tuple(view.shift[index].tolist()), dims=(2, 3))
        seen.append(image)
    return torch.cat(seen)


@given(
    seed=st.integers(0, 2**32),
    stored=st.integers(2, 40),
    size=st.integers(1, 40),
    least=st.floats(0.02, 1.0),
    flip=st.booleans(),
    jitter=st.sampled_from([0.0, 1 / 7, 0.5]),
)
@settings(max_examples=60, deadline=None)
def test_a_resized_crop_equals_resizing_one_by_one(
    seed: int, stored: int, size: int, least: float, flip: bool, jitter: float
) -> None:
    options = Augment(crop_scale=(least, 1.0), flip=flip, jitter=jitter)
    images = random_images(5, stored, seed, torch.float64)
    view = draw_view(options, 5, stored, size, seeded(seed))
    torch.testing.assert_close(apply_view(images, view), one_by_one(images, view), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("stored", "size"), [(224, 224), (256, 224), (64, 32), (32, 64)])
def test_float32_is_exact_to_a_hundred_thousandth(stored: int, size: int) -> None:
    images = torch.rand(6, 3, stored, stored, generator=seeded())
    view = draw_view(EVERYTHING, 6, stored, size, seeded())
    exact = one_by_one(images.double(), view)
    torch.testing.assert_close(apply_view(images, view).double(), exact, rtol=0, atol=1e-5)


def test_the_whole_image_as_box_changes_nothing() -> None:
    images = random_images(2, 9)
    view = View(9, 9, box=torch.tensor([[0, 0, 9, 9]] * 2))
    torch.testing.assert_close(apply_view(images, view), images)


@given(seed=st.integers(0, 2**32), margin=st.integers(0, 5), size=st.integers(1, 16), flip=st.booleans())
@settings(max_examples=40, deadline=None)
def test_flips_and_shifts_only_move_pixels(seed: int, margin: int, size: int, flip: bool) -> None:
    images = random_images(6, size + margin, seed)
    view = draw_view(Augment(flip=flip, jitter=0.5), 6, size + margin, size, seeded(seed))
    assert torch.equal(apply_view(images, view), one_by_one(images, view))


def test_nothing_to_do_gives_the_images_themselves() -> None:
    images = random_images(3, 8)
    seen = apply_view(images, draw_view(Augment(), 3, 8, 8, seeded()))
    assert seen.data_ptr() == images.data_ptr()
    assert torch.equal(seen, images)


def test_the_same_generator_gives_the_same_bits_and_another_others() -> None:
    images = random_images(8, 16)
    first, again, other = (
        apply_view(images, draw_view(EVERYTHING, 8, 16, 12, seeded(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    apply_view(random_images(2, 8), draw_view(EVERYTHING, 2, 8, 8, seeded()))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_one_batch_get_different_views() -> None:
    view = draw_view(EVERYTHING, 64, 224, 224, seeded())
    assert view.box is not None
    assert view.flip is not None
    assert view.shift is not None
    assert len(view.box.unique(dim=0)) > 60
    assert 0 < int(view.flip.sum()) < 64
    assert len(view.shift.unique(dim=0)) > 50


def test_crops_follow_the_distribution_that_was_asked_for() -> None:
    view = draw_view(Augment(crop_scale=(0.2, 0.5)), 4000, 1000, 224, seeded())
    assert view.box is not None
    top, left, height, width = view.box.double().unbind(1)
    for start, extent in ((top, height), (left, width)):
        assert bool((start >= 0).all())
        assert bool((start + extent <= 1000).all())
    # A crop of these areas always fits, so area and log ratio are uniform as drawn but for whole pixels,
    # and the place is uniform over what is left: mean 1/2, standard error sqrt(1/12/4000) = 0.0046.
    area, ratio = height * width / 1e6, (width / height).log()
    assert 0.199 < float(area.min()) < 0.21
    assert 0.49 < float(area.max()) < 0.501
    assert float(ratio.abs().max()) < math.log(4 / 3) + 0.004
    shares = (
        (area - 0.2) / 0.3,
        ratio / (2 * math.log(4 / 3)) + 0.5,
        top / (1000 - height),
        left / (1000 - width),
    )
    for share in shares:
        assert abs(float(share.mean()) - 0.5) < 0.02
        assert abs(float(share.var()) - 1 / 12) < 0.01


@pytest.mark.parametrize(
    ("ratio", "box"),
    [((2.0, 2.0), (25, 0, 50, 100)), ((0.5, 0.5), (0, 25, 100, 50))],
)
def test_a_crop_that_never_fits_is_the_largest_central_one(
    ratio: tuple[float, float], box: tuple[int, ...]
) -> None:
    view = draw_view(Augment(crop_scale=(0.9, 1.0), crop_ratio=ratio), 3, 100, 32, seeded())
    assert view.box is not None
    assert view.box.tolist() == [list(box)] * 3


def test_the_full_area_as_a_square_is_the_whole_image() -> None:
    view = draw_view(Augment(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)), 3, 30, 30, seeded())
    assert view.box is not None
    assert view.box.tolist() == [[0, 0, 30, 30]] * 3


def test_shifts_reach_a_seventh_of_the_side_and_no_further() -> None:
    view = draw_view(Augment(jitter=1 / 7), 4000, 224, 224, seeded())
    assert view.shift is not None
    assert view.shift.unique().tolist() == list(range(-32, 33))


@pytest.mark.parametrize("options", [EVERYTHING, Augment(flip=True, jitter=0.5)])
def test_gradients_are_right(options: Augment) -> None:
    images = random_images(3, 6, dtype=torch.float64).requires_grad_()
    view = draw_view(options, 3, 6, 5, seeded())
    assert torch.autograd.gradcheck(lambda pixels: apply_view(pixels, view), images)


def test_half_precision_is_computed_in_float32_also_under_autocast() -> None:
    images = random_images(4, 24)
    view = draw_view(EVERYTHING, 4, 24, 20, seeded())
    expected = apply_view(images, view)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(apply_view(images, view), expected)
        rounded = apply_view(images.bfloat16(), view)
    assert torch.equal(rounded, apply_view(images.bfloat16().float(), view).bfloat16())


def test_memory_format_makes_no_difference() -> None:
    images = random_images(4, 24)
    view = draw_view(EVERYTHING, 4, 24, 20, seeded())
    last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(apply_view(last, view), apply_view(images, view))


def test_take_pixels_is_indexing() -> None:
    images = random_images(2, 5)
    rows, columns = torch.tensor([[4, 0, 0]]), torch.tensor([[1, 2], [3, 3]])
    expected = torch.stack([images[b][:, rows[0]][:, :, columns[b]] for b in range(2)])
    assert torch.equal(take_pixels(images, rows, columns), expected)


def test_small_images_cannot_be_cropped_without_resizing() -> None:
    with pytest.raises(DataError, match="crop_scale"):
        draw_view(Augment(flip=True), 2, 32, 64, seeded())


def test_a_view_refuses_other_batches_than_it_was_drawn_for() -> None:
    view = draw_view(EVERYTHING, 2, 8, 8, seeded())
    with pytest.raises(ValueError, match="side 8"):
        apply_view(random_images(2, 9), view)
    with pytest.raises(ValueError, match="2 images, got 3"):
        apply_view(random_images(3, 8), view)
