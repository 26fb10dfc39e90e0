"""Shares: together they are the batches of one reader, with the same views, and each reads its own images alone."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean as mean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.cutmix import draw_cutmix
from condense.data.dataset import MemoryImages
from condense.data.feed import Batch, Feed
from condense.data.shares import WHOLE, Share
from condense.recipe.training import Augment
from condense.runtime import make_runtime

EVERYTHING = Augment(
    crop_scale=(0.3, 1.0), flip=True, jitter=1 / 7, shuffle_patches=2, siamese=("color", "rotate", "cutout")
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Noting:
    """Images that are not in memory. Notes which were read."""

    def __init__(self, pixels: Tensor) -> None:
        self._pixels, self.reads = pixels, list[int]()

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._pixels.shape[1:]
        return channels, height, width

    def read(self, indices: Tensor) -> Tensor:
        self.reads += indices.tolist()
        return self._pixels[indices]


def feed(images: MemoryImages | Noting) -> Feed:
    labels = torch.arange(len(images)) % 3
    return Feed(images, labels, size=6, mean=(0.5,), std=(0.25,), runtime=make_runtime("cpu", "fp32"))


def pixels(count: int) -> Tensor:
    return torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=seeded())


@given(st.integers(1, 300), st.integers(1, 9))
def test_shares_are_equal_parts_of_a_batch_or_all_of_it(count: int, of: int) -> None:
    parts = [range(count)[Share(number, of).within(count)] for number in range(of)]
    if count < 2 * of:
        assert all(part == range(count) for part in parts)
        return
    assert [index for part in parts for index in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(1, 7))
def test_the_mean_of_weighted_means_is_the_mean_of_the_batch(values: list[float], of: int) -> None:
    count = len(values)
    shares = [Share(number, of) for number in range(of)]
    means = [mean(values[share.within(count)]) * share.weight(count) for share in shares]
    assert mean(means) == pytest.approx(mean(values), abs=1e-12)


@given(st.integers(2, 25), st.integers(1, 12), st.integers(1, 4), st.booleans())
@settings(max_examples=25, deadline=None)
def test_shares_together_are_the_batches_of_one_reader(
    count: int, batch_size: int, of: int, in_memory: bool
) -> None:
    stored = pixels(count)
    sources = [MemoryImages(stored) if in_memory else Noting(stored) for _ in range(of)]
    whole = list(feed(MemoryImages(stored)).training_batches(EVERYTHING, batch_size, seeded(1)))
    shared = [
        list(feed(source).training_batches(EVERYTHING, batch_size, seeded(1), share=Share(number, of)))
        for number, source in enumerate(sources)
    ]
    assert {len(batches) for batches in shared} == {len(whole)}
    for step, batch in enumerate(whole):
        parts = [batches[step] for batches in shared]
        size = len(batch.indices)
        if size < 2 * of:
            assert all(torch.equal(part.images, batch.images) for part in parts)
        else:
            assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
            assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
            torch.testing.assert_close(torch.cat([part.images for part in parts]), batch.images)
        assert [part.weight for part in parts] == [Share(number, of).weight(size) for number in range(of)]
    for source, batches in zip(sources, shared, strict=True):
        if isinstance(source, Noting):
            assert source.reads == [index for batch in batches for index in batch.indices.tolist()]


def test_draws_that_follow_do_not_depend_on_the_share() -> None:
    mixing = replace(EVERYTHING, cutmix=1.0, cutmix_probability=0.5)
    ends = []
    for share in (WHOLE, Share(0, 3), Share(2, 3)):
        draws = seeded(5)
        list(feed(MemoryImages(pixels(20))).training_batches(mixing, 8, draws, share=share))
        ends.append(draws.get_state())
    assert all(torch.equal(end, ends[0]) for end in ends)


def test_cutmix_mixes_the_images_of_a_share_among_themselves() -> None:
    images = MemoryImages(pixels(12))
    mixed: list[Batch] = []
    for number in range(2):
        share = Share(number, 2)
        [batch] = feed(images).training_batches(Augment(cutmix=1.0), 12, seeded(3), share=share)
        [plain] = feed(images).training_batches(Augment(), 12, seeded(3), share=share)
        assert torch.equal(batch.indices, plain.indices)
        assert batch.mix is not None
        assert sorted(batch.mix.permutation.tolist()) == list(range(6))
        top, left, bottom, right = batch.mix.box
        expected = plain.images.clone()
        for row, partner in enumerate(batch.mix.permutation.tolist()):
            expected[row, :, top:bottom, left:right] = plain.images[partner, :, top:bottom, left:right]
        assert torch.equal(batch.images, expected)
        mixed.append(batch)
    one, other = (batch.mix for batch in mixed)
    assert one is not None and other is not None and one.box == other.box


@pytest.mark.parametrize("count", [1, 2, 9])
def test_all_images_of_a_mix_are_that_mix(count: int) -> None:
    mix = draw_cutmix(1.0, count, 6, seeded(count))
    assert torch.equal(mix.of(slice(0, count)).permutation, mix.permutation)
