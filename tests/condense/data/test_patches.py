"""Shuffled patches: the same tiles in other places, drawn for every image, before the crop."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import MemoryImages
from condense.data.feed import Feed
from condense.data.patches import draw_patch_shuffle, strip_sides
from condense.data.views import View, apply_view, draw_view
from condense.errors import DataError
from condense.recipe.training import Augment
from condense.runtime import make_runtime


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int, side: int) -> Tensor:
    """(count, 1, side, side): no two pixels of an image are alike."""
    return torch.arange(count * side**2, dtype=torch.float32).view(count, 1, side, side)


def shuffled(images: Tensor, factor: int, seed: int = 0) -> Tensor:
    side = images.shape[-1]
    return apply_view(
        images, draw_view(Augment(shuffle_patches=factor), len(images), side, side, seeded(seed))
    )


def strips(side: int, factor: int) -> list[range]:
    """The first side % factor strips are one longer than the others."""
    found, start = [], 0
    for strip in range(factor):
        end = start + side // factor + (strip < side % factor)
        found.append(range(start, end))
        start = end
    return found


def every_arrangement(image: Tensor, factor: int) -> list[Tensor]:
    """The slow way: all that can be had of an image (1, S, S) by other orders of its rows and columns of tiles."""
    places = [
        list(itertools.chain(*order)) for order in itertools.permutations(strips(image.shape[-1], factor))
    ]
    return [image[:, rows][:, :, columns] for rows, columns in itertools.product(places, places)]


@given(side=st.integers(1, 30), data=st.data())
def test_strips_fill_the_side_and_differ_by_one_pixel_at_most(side: int, data: st.DataObject) -> None:
    factor = data.draw(st.integers(1, side))
    assert strip_sides(side, factor) == [len(strip) for strip in strips(side, factor)]
    assert sum(strip_sides(side, factor)) == side


@given(side=st.integers(2, 11), seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_tile_is_whole_and_somewhere(side: int, seed: int, data: st.DataObject) -> None:
    factor = data.draw(st.integers(2, min(side, 3)))
    images = numbered(4, side)
    for image, found in zip(images, shuffled(images, factor, seed), strict=True):
        assert any(torch.equal(found, arranged) for arranged in every_arrangement(image, factor))


def test_tiles_of_one_size_are_permuted() -> None:
    """As multisets of 3 x 3 tiles an image and its shuffled form are the same."""

    def tiles(image: Tensor) -> list[list[float]]:
        cut = image.unfold(1, 3, 3).unfold(2, 3, 3)
        return sorted(cut.reshape(-1, 9).tolist())

    images = numbered(20, 9)
    for image, found in zip(images, shuffled(images, 3), strict=True):
        assert tiles(found) == tiles(image)


def test_each_image_has_an_order_of_its_own_and_all_come_equally_often() -> None:
    image = numbered(1, 4)
    found = shuffled(image.expand(4000, 1, 4, 4), 2)
    counts = Counter(tuple(one.flatten().tolist()) for one in found)
    assert len(counts) == 4
    assert all(900 < count < 1100 for count in counts.values())
    nine = Counter(tuple(one.flatten().tolist()) for one in shuffled(numbered(1, 3).expand(3600, 1, 3, 3), 3))
    assert len(nine) == 36
    assert all(50 < count < 160 for count in nine.values())


def test_one_generator_gives_one_order() -> None:
    images = numbered(30, 8)
    assert torch.equal(shuffled(images, 4, 1), shuffled(images, 4, 1))
    assert not torch.equal(shuffled(images, 4, 1), shuffled(images, 4, 2))
    before = torch.get_rng_state()
    shuffled(images, 4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("factor", [0, 1])
def test_off_changes_no_image_and_no_draw(factor: int) -> None:
    plain = Augment(crop_scale=(0.2, 1.0), flip=True)
    also = Augment(crop_scale=(0.2, 1.0), flip=True, shuffle_patches=factor)
    images = numbered(6, 8)
    views = [draw_view(options, 6, 8, 8, seeded(3)) for options in (plain, also)]
    assert views[1].patches is None
    assert torch.equal(apply_view(images, views[0]), apply_view(images, views[1]))


def test_patches_move_before_the_crop() -> None:
    view = draw_view(Augment(shuffle_patches=2, crop_scale=(0.3, 0.6), flip=True), 12, 10, 6, seeded())
    images = torch.rand(12, 3, 10, 10, generator=seeded())
    moved = apply_view(images, View(10, 10, patches=view.patches))
    expected = apply_view(moved, View(10, 6, box=view.box, flip=view.flip))
    torch.testing.assert_close(apply_view(images, view), expected)
    assert not torch.equal(moved, images)


def test_gradients_go_where_the_pixels_came_from() -> None:
    images = numbered(3, 6).requires_grad_(True)
    wanted = torch.arange(3 * 36, dtype=torch.float32).view(3, 1, 6, 6)
    moved = shuffled(images, 2)
    (moved * wanted).sum().backward()
    assert images.grad is not None
    assert torch.equal(shuffled(images.grad, 2), wanted)


def test_training_batches_are_shuffled() -> None:
    pixels = torch.randint(256, (8, 1, 6, 6), dtype=torch.uint8, generator=seeded())
    feed = Feed(
        MemoryImages(pixels),
        torch.zeros(8, dtype=torch.int64),
        size=6,
        mean=(0.0,),
        std=(1.0,),
        runtime=make_runtime("cpu", "fp32"),
    )
    moved = 0
    for batch in feed.training_batches(Augment(shuffle_patches=3), 4, seeded()):
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            plain = pixels[index].float() / 255
            assert any(torch.equal(image, arranged) for arranged in every_arrangement(plain, 3))
            moved += not torch.equal(image, plain)
    assert moved > 4


def test_more_strips_than_pixels() -> None:
    with pytest.raises(DataError, match="4 pixels cannot be cut into 5 strips; use 1 to 4"):
        draw_patch_shuffle(5, 2, 4, seeded())
    with pytest.raises(DataError, match="cannot be cut"):
        shuffled(numbered(1, 4), 5)


def test_a_view_is_for_as_many_images_as_were_drawn() -> None:
    view = draw_view(Augment(shuffle_patches=2), 3, 4, 4, seeded())
    with pytest.raises(ValueError, match="the view was drawn for 3 images, got 2"):
        apply_view(numbered(2, 4), view)
