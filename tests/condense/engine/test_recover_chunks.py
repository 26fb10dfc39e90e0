"""Chunks: whole classes, or slot by slot, within the batch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.engine.chunks import cut_chunks
from condense.recipe.method import Recover


def cut(classes: int, ipc: int, **options: Any) -> list[list[int]]:
    return [chunk.tolist() for chunk in cut_chunks(classes, ipc, Recover(**options))]


@pytest.mark.parametrize(
    ("classes", "ipc", "batch", "ends"),
    [
        (10, 10, 100, [0, 10]),
        (10, 10, 99, [0, 9, 10]),
        (5, 3, 7, [0, 2, 4, 5]),
        (3, 50, 10, [0, 1, 2, 3]),
        (2, 1, 1, [0, 1, 2]),
        (4, 1, 100, [0, 4]),
        (4, 3, 0, [0, 4]),
    ],
)
def test_chunks_of_whole_classes_by_hand(classes: int, ipc: int, batch: int, ends: list[int]) -> None:
    wanted = [list(range(first * ipc, last * ipc)) for first, last in itertools.pairwise(ends)]
    assert cut(classes, ipc, batch=batch) == wanted


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        # 3 classes of 2: class 0 is 0 1, class 1 is 2 3, class 2 is 4 5.
        (3, [[0, 2, 4], [1, 3, 5]]),
        (2, [[0, 2], [4, 1], [3, 5]]),
        (4, [[0, 2, 4, 1], [3, 5]]),
        (1, [[0], [2], [4], [1], [3], [5]]),
        (6, [[0, 2, 4, 1, 3, 5]]),
        (0, [[0, 2, 4, 1, 3, 5]]),
        (100, [[0, 2, 4, 1, 3, 5]]),
    ],
)
def test_chunks_of_slots_by_hand(batch: int, expected: list[list[int]]) -> None:
    assert cut(3, 2, batch=batch, chunk="slots") == expected


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (3, [[0, 2, 4], [1, 3, 5]]),
        (2, [[0, 2], [4], [1, 3], [5]]),
        (4, [[0, 2, 4], [1, 3, 5]]),
        (1, [[0], [2], [4], [1], [3], [5]]),
        (0, [[0, 2, 4], [1, 3, 5]]),
    ],
)
def test_chunks_of_one_slot_by_hand(batch: int, expected: list[list[int]]) -> None:
    assert cut(3, 2, batch=batch, chunk="one-slot") == expected


@pytest.mark.parametrize(
    ("batch", "chunk", "expected"),
    [
        # 3 classes of 2 stored images; each holds 4, so that 16 images are 4 stored ones.
        (16, "classes", [[0, 1, 2, 3], [4, 5]]),
        (15, "classes", [[0, 1], [2, 3], [4, 5]]),
        (1, "classes", [[0, 1], [2, 3], [4, 5]]),
        (0, "classes", [[0, 1, 2, 3, 4, 5]]),
        (16, "slots", [[0, 2, 4, 1], [3, 5]]),
        (1, "slots", [[0], [2], [4], [1], [3], [5]]),
    ],
)
def test_the_batch_counts_decoded_images_and_chunks_have_whole_stored_ones(
    batch: int, chunk: Any, expected: list[list[int]]
) -> None:
    found = cut_chunks(3, 2, Recover(batch=batch, chunk=chunk), 4)
    assert [part.tolist() for part in found] == expected


SIZES = st.tuples(st.integers(1, 60), st.integers(1, 40), st.integers(0, 300))


@given(SIZES)
def test_chunks_are_whole_classes_in_order_within_the_batch(sizes: tuple[int, int, int]) -> None:
    classes, ipc, batch = sizes
    chunks = cut(classes, ipc, batch=batch)
    assert [image for chunk in chunks for image in chunk] == list(range(classes * ipc))
    for chunk in chunks:
        assert {(image // ipc, image % ipc) for image in chunk} == {
            (label, slot) for label in {image // ipc for image in chunk} for slot in range(ipc)
        }
    if batch:
        assert all(len(chunk) <= max(batch, ipc) for chunk in chunks)
        # No chunk but the last could have taken one class more.
        assert all(len(chunk) + ipc > batch for chunk in chunks[:-1])
    else:
        assert len(chunks) == 1


@given(SIZES)
def test_chunks_of_slots_hold_every_image_once_slot_by_slot(sizes: tuple[int, int, int]) -> None:
    classes, ipc, batch = sizes
    chunks = cut(classes, ipc, batch=batch, chunk="slots")
    images = [image for chunk in chunks for image in chunk]
    assert [(image % ipc, image // ipc) for image in images] == [
        (slot, label) for slot in range(ipc) for label in range(classes)
    ]
    assert {len(chunk) for chunk in chunks[:-1]} <= {batch}
    assert len(chunks) == (-(-classes * ipc // batch) if batch else 1)
