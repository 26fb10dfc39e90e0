"""Batches: which images and labels, in which order, and the same from memory as from files decoded when asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from condense.data import feed as module
from condense.data.cutmix import apply_cutmix
from condense.data.dataset import ImageSource, MemoryImages, RealDataset, Split
from condense.data.feed import Batch, Feed, feed_of
from condense.data.images import FolderImages
from condense.data.load import Selected
from condense.data.loaders import ahead
from condense.data.paths import Paths
from condense.data.transfer import Transfer
from condense.errors import DataError
from condense.recipe.training import Augment
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MEAN, STD = (0.4,), (0.2,)


class OnDemand:
    """Images that are not in memory: notes what was read, and by which thread."""

    def __init__(self, pixels: Tensor) -> None:
        self._pixels = pixels
        self.reads: list[list[int]] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._pixels.shape[1:]
        return channels, height, width

    def read(self, indices: Tensor) -> Tensor:
        self.reads.append(indices.tolist())
        self.threads.add(threading.get_ident())
        if 99 in indices.tolist():
            raise OSError("image 99 cannot be read")
        return self._pixels[indices]


def numbered(count: int, side: int = 4) -> Tensor:
    """Image i holds the value i everywhere, so a batch shows where its images come from."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 1, side, side).contiguous()


def label_of(index: int) -> int:
    """The class that image number `index` has in these tests; neighbours differ."""
    return (7 * index + 3) % 5


def feed(images: ImageSource, size: int = 4) -> Feed:
    labels = torch.tensor([label_of(index) for index in range(len(images))])
    return Feed(images, labels, size=size, mean=MEAN, std=STD, runtime=RUNTIME)


def numbers_in(images: Tensor) -> list[int]:
    """The inverse of `numbered`."""
    values = images * STD[0] + MEAN[0]
    assert bool((values == values[:, :1, :1, :1]).all())
    return (values[:, 0, 0, 0] * 255).round().int().tolist()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BOTH = pytest.mark.parametrize("source", [MemoryImages, OnDemand], ids=["memory", "on demand"])


@BOTH
def test_test_batches_are_every_image_once_in_order(source: type[MemoryImages | OnDemand]) -> None:
    batches = list(feed(source(numbered(7))).test_batches(3))
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [numbers_in(batch.images) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch.labels.tolist() for batch in batches] == [[3, 0, 2], [4, 1, 3], [0]]
    assert all(batch.mix is None for batch in batches)


@BOTH
def test_the_centre_of_chosen_images(source: type[MemoryImages | OnDemand]) -> None:
    pixels = torch.randint(256, (5, 1, 6, 8), dtype=torch.uint8, generator=seeded())
    seen = feed(source(pixels)).centre(torch.tensor([3, 0, 3]))
    expected = (pixels[[3, 0, 3], :, 1:5, 2:6].float() / 255 - MEAN[0]) / STD[0]
    torch.testing.assert_close(seen, expected)


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_training_batches_are_every_image_once_and_never_one_alone(
    count: int, batch_size: int, in_memory: bool, seed: int
) -> None:
    pixels = numbered(count)
    plain = feed(MemoryImages(pixels) if in_memory else OnDemand(pixels))
    batches = list(plain.training_batches(Augment(), batch_size, seeded(seed)))
    for batch in batches:
        assert numbers_in(batch.images) == batch.indices.tolist()
        assert batch.labels.tolist() == [label_of(index) for index in batch.indices.tolist()]
    sizes = [len(batch.indices) for batch in batches]
    assert sorted(index for batch in batches for index in batch.indices.tolist()) == list(range(count))
    assert len(batches) == plain.training_steps(batch_size)
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1
    if batch_size > 1 and count > 1:
        assert 1 not in sizes


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (7, 3, [3, 4]),
        (8, 3, [3, 3, 2]),
        (6, 3, [3, 3]),
        (1, 3, [1]),
        (2, 3, [2]),
        (4, 3, [4]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_last_batch_of_one_joins_the_one_before(count: int, batch_size: int, sizes: list[int]) -> None:
    batches = feed(MemoryImages(numbered(count))).training_batches(Augment(), batch_size, seeded())
    assert [len(batch.indices) for batch in batches] == sizes


EVERYTHING = Augment(crop_scale=(0.3, 1.0), flip=True, jitter=1 / 7, siamese=("color", "rotate"), cutmix=1.0)


def all_batches(source: ImageSource, seed: int) -> list[Batch]:
    plain, generator = feed(source, size=6), seeded(seed)
    return [batch for _ in range(2) for batch in plain.training_batches(EVERYTHING, 4, generator)]


def test_one_generator_gives_one_sequence_of_batches_from_any_source() -> None:
    pixels = torch.randint(256, (10, 1, 8, 8), dtype=torch.uint8, generator=seeded())
    before = torch.get_rng_state()
    memory, again, on_demand, other = (
        all_batches(source, seed)
        for source, seed in [
            (MemoryImages(pixels), 1),
            (MemoryImages(pixels), 1),
            (OnDemand(pixels), 1),
            (MemoryImages(pixels), 2),
        ]
    )
    assert torch.equal(torch.get_rng_state(), before)
    for left, right, third in zip(memory, again, on_demand, strict=True):
        for same in (right, third):
            assert torch.equal(left.indices, same.indices)
            assert torch.equal(left.labels, same.labels)
            assert torch.equal(left.images, same.images)
    assert not all(torch.equal(left.images, right.images) for left, right in zip(memory, other, strict=True))


def test_each_epoch_has_an_order_of_its_own() -> None:
    plain, generator = feed(MemoryImages(numbered(20))), seeded()
    orders = [
        [
            index
            for batch in plain.training_batches(Augment(), 5, generator)
            for index in batch.indices.tolist()
        ]
        for _ in range(2)
    ]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))


def test_cutmix_says_how_it_mixed() -> None:
    pixels = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8, generator=seeded())
    plain = feed(MemoryImages(pixels), size=8)
    for batch in plain.training_batches(Augment(cutmix=1.0), 4, seeded(3)):
        assert batch.mix is not None
        # The labels are those of the images before they were mixed.
        assert batch.labels.tolist() == [label_of(index) for index in batch.indices.tolist()]
        torch.testing.assert_close(batch.images, apply_cutmix(plain.centre(batch.indices), batch.mix))


def test_cutmix_mixes_a_part_of_the_batches() -> None:
    """60 of 200 batches, give or take 5 standard deviations of 6.5."""
    plain = feed(MemoryImages(numbered(400)))
    batches = list(plain.training_batches(Augment(cutmix=1.0, cutmix_probability=0.3), 2, seeded()))
    assert len(batches) == 200
    assert abs(sum(batch.mix is not None for batch in batches) - 60) < 33
    for batch in batches:
        if batch.mix is None:
            assert torch.equal(batch.images, plain.centre(batch.indices))


@pytest.mark.parametrize(("count", "sizes"), [(0, [4, 4, 2]), (5, [5]), (6, [4, 2]), (99, [4, 4, 2])])
def test_an_epoch_of_some_images(count: int, sizes: list[int]) -> None:
    """Another choice in each epoch; a last batch of one joins the one before."""
    plain, generator = feed(MemoryImages(numbered(10))), seeded()
    chosen = set()
    for _ in range(8):
        batches = list(plain.training_batches(Augment(), 4, generator, count))
        assert [len(batch.indices) for batch in batches] == sizes
        assert plain.training_steps(4, count) == len(sizes)
        seen = [index for batch in batches for index in batch.indices.tolist()]
        assert len(set(seen)) == len(seen)
        chosen |= set(seen)
    assert chosen == set(range(10))


def test_on_demand_images_are_read_once_each_by_another_thread_in_order() -> None:
    source = OnDemand(numbered(7))
    batches = feed(source).test_batches(2)
    first = next(batches)
    assert numbers_in(first.images) == [0, 1]
    rest = list(batches)
    assert source.reads == [[0, 1], [2, 3], [4, 5], [6]]
    assert source.threads.isdisjoint({threading.get_ident()})
    assert [numbers_in(batch.images) for batch in rest] == [[2, 3], [4, 5], [6]]


def test_the_next_part_is_read_while_the_caller_works() -> None:
    ready = threading.Event()

    class Signalling(OnDemand):
        def read(self, indices: Tensor) -> Tensor:
            result = super().read(indices)
            if 2 in indices.tolist():
                ready.set()
            return result

    batches = feed(Signalling(numbered(4))).test_batches(2)
    next(batches)
    assert ready.wait(timeout=10), "the second part was not read before it was asked for"
    assert len(list(batches)) == 1


def test_an_image_that_cannot_be_read_stops_the_batch_it_is_in() -> None:
    batches = feed(OnDemand(numbered(102))).test_batches(50)
    assert len(next(batches).indices) == 50
    with pytest.raises(OSError, match="image 99 cannot be read"):
        next(batches)


def test_a_caller_may_stop_early() -> None:
    before = threading.active_count()
    batches = feed(OnDemand(numbered(9))).test_batches(2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_batches_are_as_many_as_the_source_has_images() -> None:
    assert len(feed(MemoryImages(numbered(7)))) == 7
    assert feed(MemoryImages(numbered(7))).training_steps(3) == 2


# Images that other processes decode.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FolderImages:
    """75 files of noise, of several sizes."""
    folder = tmp_path_factory.mktemp("files")
    names = [f"{index}.png".encode() for index in range(75)]
    for index, name in enumerate(names):
        pixels = torch.randint(256, (9 + index % 3, 12, 3), dtype=torch.uint8, generator=seeded(index))
        Image.fromarray(pixels.numpy()).save(folder / name.decode())
    return FolderImages(Paths.of(folder, names), 8, 3)


def as_read(images: ImageSource, loaders: int) -> list[Batch]:
    """Two epochs of training and all test batches."""
    runtime = make_runtime("cpu", "fp32", loaders=loaders)
    labels, generator = torch.arange(len(images)) % 5, seeded(1)
    chosen = Feed(images, labels, size=6, mean=MEAN * 3, std=STD * 3, runtime=runtime)
    epochs = [chosen.training_batches(EVERYTHING, 37, generator) for _ in range(2)]
    return [batch for batches in (*epochs, chosen.test_batches(50)) for batch in batches]


@pytest.mark.parametrize("held_out", [False, True])
def test_any_number_of_processes_gives_the_same_batches(
    files: FolderImages, held_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: ImageSource = Selected(files, torch.arange(74, -1, -2)) if held_out else files
    monkeypatch.setattr(module, "WORTHWHILE", 30)
    threads = as_read(chosen, 0)
    monkeypatch.setattr(module, "ahead", counted := Counted())
    for loaders in (1, 3):
        counted.loaders.clear()
        for one, other in zip(threads, as_read(chosen, loaders), strict=True):
            assert torch.equal(one.indices, other.indices)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.images, other.images)
        assert counted.loaders == [loaders] * 3


class Counted:
    """`ahead`, noting how many processes were asked for."""

    def __init__(self) -> None:
        self.loaders: list[int] = []

    def __call__(self, task: Any, parts: Any, *, loaders: int, transfer: Transfer) -> Iterator[Tensor]:
        self.loaders.append(loaders)
        return ahead(task, parts, loaders=loaders, transfer=transfer)


def test_processes_are_started_for_many_files_and_nothing_else(
    files: FolderImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ahead", counted := Counted())
    as_read(files, 3)
    assert counted.loaders == [0] * 3
    monkeypatch.setattr(module, "WORTHWHILE", 75)
    as_read(OnDemand(torch.zeros(75, 3, 8, 8, dtype=torch.uint8)), 3)
    as_read(MemoryImages(torch.zeros(75, 3, 8, 8, dtype=torch.uint8)), 3)
    assert counted.loaders == [0] * 6


def test_a_broken_file_is_named_by_the_process_that_meets_it(
    files: FolderImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTHWHILE", 1)
    names = [f"{index}.png" for index in range(75)]
    for name in names:
        (tmp_path / name).write_bytes((files.paths[0].parent / name).read_bytes())
    images = FolderImages(Paths.of(tmp_path, [name.encode() for name in names]), 8, 3)
    (tmp_path / "60.png").write_bytes(b"changed while the run was going on")
    with pytest.raises(DataError, match=r"60\.png is not an image \(readable are .*\): remove it"):
        as_read(images, 2)


# One feed for each split and normalisation.


def numbered_dataset() -> RealDataset:
    """5 training and 3 test images of two classes that show their numbers."""

    def split(count: int) -> Split:
        return Split(MemoryImages(numbered(count)), torch.arange(count) % 2)

    return RealDataset(
        name="numbered", classes=("a", "b"), train=split(5), test=split(3), size=4, mean=MEAN, std=STD
    )


def test_a_split_has_one_feed_for_each_normalisation_and_precision() -> None:
    dataset = numbered_dataset()
    first = feed_of(dataset.train, dataset, RUNTIME)
    assert feed_of(dataset.train, dataset, RUNTIME) is first
    assert feed_of(dataset.train, dataset, make_runtime("cpu", "fp32")) is first
    # A dataset that is the same in all that a feed depends on may be another object.
    assert feed_of(dataset.train, replace(dataset, notes=("tuning",)), RUNTIME) is first
    others = [
        feed_of(dataset.test, dataset, RUNTIME),
        feed_of(dataset.train, replace(dataset, mean=(0.1,)), RUNTIME),
        feed_of(dataset.train, replace(dataset, std=(0.1,)), RUNTIME),
        feed_of(dataset.train, replace(dataset, size=3), RUNTIME),
        feed_of(dataset.train, dataset, make_runtime("cpu", "bf16")),
        feed_of(numbered_dataset().train, dataset, RUNTIME),
    ]
    assert len({id(found) for found in (first, *others)}) == 7
    assert feed_of(dataset.train, dataset, RUNTIME) is first


def test_a_feed_of_a_split_shows_its_images_and_labels_normalised_like_the_dataset() -> None:
    dataset = numbered_dataset()
    for mean, std in ((0.4, 0.2), (0.1, 0.5)):
        chosen = replace(dataset, mean=(mean,), std=(std,))
        [batch] = feed_of(dataset.test, chosen, RUNTIME).test_batches(10)
        assert batch.labels.tolist() == [0, 1, 0]
        assert batch.images.shape == (3, 1, 4, 4)
        for index, image in enumerate(batch.images):
            expected = torch.full((1, 4, 4), (index / 255 - mean) / std)
            torch.testing.assert_close(image, expected)


def test_an_equal_split_is_another_one() -> None:
    """Feeds belong to the object: splits that share no images share no feed."""
    one, other = numbered_dataset(), numbered_dataset()
    feed_of(one.train, one, RUNTIME)
    assert len(one.train.feeds) == 1
    assert other.train.feeds == one.test.feeds == {}
