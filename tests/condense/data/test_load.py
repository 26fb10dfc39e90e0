"""The dataset of a configuration, and training images that stand in for the test images."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.data.load import hold_out, load_dataset, prepared
from condense.data.preprocessing import Preprocessing
from condense.errors import DataError, PluginError
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import DatasetSpec


@dataclass(frozen=True)
class OnDisk:
    """Images that are read by index, as from files."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, 8, 8)

    def read(self, indices: Tensor) -> Tensor:
        return self.pixels[indices]


def numbered(counts: list[int], tests: int = 3, lazy: bool = False) -> RealDataset:
    """Image number i of the training split shows i; test images show 255. Labels in turn."""

    def split(per_class: list[int], shown: Tensor) -> Split:
        labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
        pixels = shown.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
        return Split(OnDisk(pixels) if lazy else MemoryImages(pixels), labels)

    return RealDataset(
        name="numbered",
        classes=tuple(f"class {label}" for label in range(len(counts))),
        train=split(counts, torch.arange(sum(counts))),
        test=split([tests] * len(counts), torch.full((tests * len(counts),), 255)),
        size=8,
        mean=(0.5,),
        std=(0.5,),
        notes=("a note",),
    )


def shown(split: Split) -> list[int]:
    """What each image shows."""
    return split.images.read(torch.arange(len(split)))[:, 0, 0, 0].tolist()


@given(
    st.lists(st.integers(2, 25), min_size=2, max_size=6),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_part_of_each_class_is_held_out_and_no_test_image_is_seen(
    counts: list[int], share: float, seed: int, lazy: bool
) -> None:
    dataset = numbered(counts, lazy=lazy)
    held = hold_out(dataset, share, seed)
    assert sorted(shown(held.train) + shown(held.test)) == list(range(sum(counts)))
    for part in (held.train, held.test):
        assert part.labels.tolist() == dataset.train.labels[torch.tensor(shown(part))].tolist()
    for label, count in enumerate(counts):
        out = len(held.test.of_class(label))
        assert out == min(max(1, round(share * count)), count - 1)
        assert len(held.train.of_class(label)) == count - out
    assert held.mean == dataset.mean
    assert held.classes == dataset.classes


def test_the_seed_decides_which() -> None:
    dataset = numbered([20, 20])
    one = shown(hold_out(dataset, 0.5, 0).test)
    assert shown(hold_out(dataset, 0.5, 0).test) == one
    assert shown(hold_out(dataset, 0.5, 1).test) != one


def test_it_is_said() -> None:
    assert hold_out(numbered([10, 10]), 0.2, 0).notes == (
        "a note",
        "tuning: 20% of the training images stand in for the test images, which are not looked at",
    )


def test_a_class_of_one_image() -> None:
    with pytest.raises(DataError, match="class 'class 1' has 1 training image, too few to hold any out"):
        hold_out(numbered([5, 1]), 0.2, 0)


def test_a_configuration_says_whether_test_images_are_held_back(
    make_registry: Callable[..., Registry],
) -> None:
    dataset = replace(numbered([8, 8]), name="numbered")
    registry = make_registry(dataset)
    plain = configure(registry, method="random", dataset="numbered")
    real = load_dataset(plain.recipe, plain.machine, registry)
    assert set(shown(real.test)) == {255}
    config = configure(registry, method="random", dataset="numbered", validation=0.25, seed=3)
    tuning = load_dataset(config.recipe, config.machine, registry)
    assert shown(tuning.test) == shown(hold_out(dataset, 0.25, 3).test)
    assert 255 not in shown(tuning.test) + shown(tuning.train)
    assert len(tuning.test) == 4


# How pretrained weights want their images.


@pytest.mark.parametrize(
    ("channels", "mean", "std"), [(3, (0.2, 0.4, 0.9), (0.1, 0.2, 0.3)), (1, (0.5,), (0.2,))]
)
def test_pretrained_weights_normalise_their_images(
    channels: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
) -> None:
    dataset = make_dataset(channels=channels)
    registry = make_registry(dataset)
    config = configure(registry, method="random", dataset="tiny")
    wanted = Preprocessing(size=8, resize_share=1.0, mean=(0.2, 0.4, 0.9), std=(0.1, 0.2, 0.3))
    real = load_dataset(config.recipe, config.machine, registry, wanted)
    assert real.mean == pytest.approx(mean)
    assert real.std == pytest.approx(std)
    assert real.notes[0].startswith(
        "images are normalised as the teacher's pretrained weights want them: mean 0."
    )
    assert torch.equal(real.train.images.read(torch.arange(3)), dataset.train.images.read(torch.arange(3)))


def test_weights_that_want_what_the_dataset_has_change_nothing(
    make_dataset: Callable[..., RealDataset],
) -> None:
    dataset = make_dataset(channels=3)
    wanted = Preprocessing(size=8, resize_share=1.0, mean=dataset.mean, std=dataset.std)
    assert prepared(dataset, wanted) == dataset
    larger = prepared(dataset, replace(wanted, size=16))
    assert larger.notes == (
        "the teacher's pretrained weights are for images of 16x16, and tiny is looked at as 8x8",
    )


def test_a_loader_may_draw_from_global_generators_and_its_errors_name_it(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    def careless(options: object, request: object) -> RealDataset:
        return make_dataset(seed=int(torch.randint(2**31, ())) + random.randrange(2**31))

    def broken(options: object, request: object) -> RealDataset:
        raise KeyError("labels")

    specs = [
        DatasetSpec(name=name, summary="x", build=build)
        for name, build in (("careless", careless), ("broken", broken))
    ]
    registry = make_registry(datasets=specs)

    def loaded(name: str, seed: int) -> RealDataset:
        config = configure(registry, method="random", dataset=name, seed=seed)
        return load_dataset(config.recipe, config.machine, registry)

    first = loaded("careless", 0).train.hash
    torch.rand(3)
    assert loaded("careless", 0).train.hash == first != loaded("careless", 1).train.hash
    with pytest.raises(
        PluginError, match=r"dataset 'broken' of plugin 'test' failed in build \(test_load.py, line"
    ):
        loaded("broken", 0)
