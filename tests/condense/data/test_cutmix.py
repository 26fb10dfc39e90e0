"""CutMix: pixels come from the right image, and labels go by the pixels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.data.cutmix import apply_cutmix, draw_cutmix, mix_labels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    seed=st.integers(0, 2**32), alpha=st.floats(0.05, 20), count=st.integers(1, 6), size=st.integers(1, 20)
)
@settings(max_examples=80, deadline=None)
def test_every_pixel_has_its_source_and_labels_go_by_pixels(
    seed: int, alpha: float, count: int, size: int
) -> None:
    mix = draw_cutmix(alpha, count, size, seeded(seed))
    # Image b is b everywhere, so a pixel tells where it came from.
    images = torch.arange(count).double().view(-1, 1, 1, 1).expand(-1, 2, size, size)
    mixed = apply_cutmix(images, mix)
    top, left, bottom, right = mix.box
    for y in range(size):
        for x in range(size):
            inside = top <= y < bottom and left <= x < right
            source = mix.permutation if inside else torch.arange(count)
            assert torch.equal(mixed[:, 0, y, x].long(), source)
    assert torch.equal(mixed[:, 0], mixed[:, 1])
    labels = mix_labels(torch.eye(count, dtype=torch.float64), mix)
    shares = torch.nn.functional.one_hot(mixed[:, 0].long().flatten(1), count).double().mean(1)
    torch.testing.assert_close(labels, shares, rtol=0, atol=1e-12)


def test_the_permutation_is_one_and_the_batch_is_left_alone() -> None:
    images = torch.randn(9, 3, 8, 8, generator=seeded())
    before = images.clone()
    mix = draw_cutmix(1.0, 9, 8, seeded())
    apply_cutmix(images, mix)
    assert torch.equal(images, before)
    assert mix.permutation.sort().values.tolist() == list(range(9))


def test_mixed_labels_stay_probabilities() -> None:
    targets = torch.rand(6, 5, generator=seeded()).softmax(1)
    mixed = mix_labels(targets, draw_cutmix(1.0, 6, 32, seeded(1)))
    torch.testing.assert_close(mixed.sum(1), torch.ones(6))
    torch.testing.assert_close(mixed.mean(0), targets.mean(0))


def test_the_mean_share_is_the_one_computed_by_hand() -> None:
    """For alpha = 1 the box has sides sqrt(u) of the image's, u uniform, about a uniform middle.

    The border leaves s - s^2 / 4 of a side s on average, and the two sides are cut independently, so the mean
    area is E[(s - s^2 / 4)^2] = E[u - u^1.5 / 2 + u^2 / 16] = 1/2 - 1/5 + 1/48.
    """
    generator = seeded()
    kept = torch.tensor([draw_cutmix(1.0, 2, 512, generator).share for _ in range(2000)])
    expected = 1 - (1 / 2 - 1 / 5 + 1 / 48)
    five_errors = 5 * float(kept.std()) / math.sqrt(2000)
    assert abs(float(kept.mean()) - expected) < five_errors + 2 / 512  # and whole pixels


def test_a_large_alpha_cuts_half_and_a_small_one_all_or_nothing() -> None:
    generator = seeded()
    for _ in range(20):
        top, _, bottom, _ = draw_cutmix(1e4, 2, 1000, generator).box
        if top > 0 and bottom < 1000:  # not cut by the border
            assert bottom - top == pytest.approx(1000 * math.sqrt(0.5), abs=20)
    heights = [box[2] - box[0] for box in (draw_cutmix(1e-3, 2, 1000, generator).box for _ in range(50))]
    # Lambda is near 0 or 1 but for one draw in hundreds: no box, or one as large as the image, cut.
    assert sum(height == 0 or height >= 499 for height in heights) >= 45


def test_the_same_generator_gives_the_same_draw_and_the_global_one_is_not_touched() -> None:
    before = torch.get_rng_state()
    first, again = (draw_cutmix(0.4, 5, 32, seeded(7)) for _ in range(2))
    assert first.box == again.box
    assert first.share == again.share
    assert torch.equal(first.permutation, again.permutation)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_pixel_that_is_shown_gets_its_gradient() -> None:
    mix = draw_cutmix(1.0, 4, 6, seeded(2))
    images = torch.randn(4, 3, 6, 6, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: apply_cutmix(pixels, mix), images)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha above 0"):
        draw_cutmix(0.0, 4, 8, seeded())
    mix = draw_cutmix(1.0, 4, 8, seeded())
    with pytest.raises(ValueError, match="4 images of side 8"):
        apply_cutmix(torch.zeros(3, 3, 8, 8), mix)
    with pytest.raises(ValueError, match="one-hot"):
        mix_labels(torch.zeros(4), mix)
