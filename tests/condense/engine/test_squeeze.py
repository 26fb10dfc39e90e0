"""Squeeze: the same teacher from the same seed, and checkpoints that fit or do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from condense.data.dataset import RealDataset, Split
from condense.data.feed import Feed
from condense.engine.squeeze import fresh_teacher, squeeze
from condense.engine.training import accuracy as accuracy_of
from condense.engine.training import hard_loss, train
from condense.errors import ModelError, NumericalError
from condense.models.network import Network
from condense.recipe.config import Recipe
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.rng import generator, isolated_global_rng
from condense.runtime import SilentReporter, make_runtime
from condense.storage.tensors import tensors_to_bytes, write_tensors

RUNTIME = make_runtime("cpu", "fp32")


class Workshop:
    def __init__(self, dataset: RealDataset, registry: Registry) -> None:
        self.dataset, self.registry = dataset, registry

    def recipe(self, seed: int = 0, **settings: Any) -> Recipe:
        """settings: of the teacher."""
        config = configure(
            self.registry,
            method="wmdd",
            dataset=self.dataset.name,
            settings=[(f"teacher.{key}", value) for key, value in settings.items()],
            seed=seed,
        )
        return config.recipe

    def squeeze(self, seed: int = 0, **settings: Any) -> tuple[Network, float]:
        recipe = self.recipe(seed, **settings)
        teacher = fresh_teacher(recipe, self.dataset, self.registry, RUNTIME)
        return teacher, squeeze(teacher, recipe, self.dataset, RUNTIME)


@pytest.fixture
def shop(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Workshop:
    dataset = make_dataset()
    return Workshop(dataset, make_registry(dataset))


def content(teacher: Network) -> bytes:
    return tensors_to_bytes(teacher.model.state_dict())


def test_one_seed_gives_one_teacher_to_the_byte(shop: Workshop) -> None:
    settings = {"augment.flip": True, "augment.crop_scale": (0.5, 1.0), "epochs": 2}
    torch.manual_seed(1)
    one, accuracy = shop.squeeze(**settings)
    torch.manual_seed(2)
    other, again = shop.squeeze(**settings)
    assert content(one) == content(other)
    assert accuracy == again
    different, _ = shop.squeeze(**settings, seed=1)
    assert content(different) != content(one)


def test_training_teaches_and_leaves_a_frozen_teacher(shop: Workshop) -> None:
    start = content(fresh_teacher(shop.recipe(), shop.dataset, shop.registry, RUNTIME))
    teacher, accuracy = shop.squeeze(epochs=12, batch_size=8)
    assert accuracy > 0.9
    assert content(teacher) != start
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    untrained, _ = shop.squeeze(epochs=0)
    assert content(untrained) == start


def test_a_maximum_of_steps_shortens_the_training_to_whole_epochs(shop: Workshop) -> None:
    """21 images in batches of 8 are 3 steps an epoch: 7 steps hold two epochs, and 2 steps are still one."""
    for steps, epochs in ((7, 2), (2, 1), (100, 3), (0, 3)):
        limited, _ = shop.squeeze(epochs=3, batch_size=8, steps=steps)
        plain, _ = shop.squeeze(epochs=epochs, batch_size=8)
        assert content(limited) == content(plain)


def test_the_accuracy_is_that_on_the_test_images(shop: Workshop) -> None:
    """Test labels that are all wrong are never met."""
    labels = (shop.dataset.test.labels + 1) % 3
    shop.dataset = replace(shop.dataset, test=Split(shop.dataset.test.images, labels))
    assert shop.squeeze(epochs=12, batch_size=8)[1] < 0.1


def test_a_checkpoint_takes_the_place_of_training(shop: Workshop, tmp_path: Path) -> None:
    teacher, accuracy = shop.squeeze(epochs=3)
    write_tensors(tmp_path / "own.safetensors", teacher.model.state_dict())
    torch.save(teacher.model.state_dict(), tmp_path / "own.pt")
    for name in ("own.safetensors", "own.pt"):
        loaded, again = shop.squeeze(checkpoint=str(tmp_path / name), seed=5)
        assert content(loaded) == content(teacher)
        assert again == accuracy


def test_a_checkpoint_of_another_architecture(shop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    teacher, _ = shop.squeeze(epochs=0)
    write_tensors(file, teacher.model.state_dict())
    with pytest.raises(ModelError) as caught:
        shop.squeeze(checkpoint=str(file), **{"model.width": 16})
    assert str(caught.value).startswith(
        f"checkpoint {file} does not fit: features.0.weight is (8, 1, 3, 3) there and (16, 1, 3, 3) here; "
    )
    assert str(caught.value).endswith(
        "The architecture has another width: choose it with --set teacher.model=NAME."
    )
    with pytest.raises(
        ModelError, match=r"does not fit the architecture ConvNet: missing: features\.8\.weight"
    ):
        shop.squeeze(checkpoint=str(file), **{"model.depth": 3})


def test_a_checkpoint_for_other_classes(
    shop: Workshop,
    tmp_path: Path,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
) -> None:
    other = make_dataset(counts=(4, 4, 4, 4), name="other")
    teacher, _ = Workshop(other, make_registry(other)).squeeze(epochs=0)
    file = tmp_path / "own.safetensors"
    write_tensors(file, teacher.model.state_dict())
    with pytest.raises(ModelError, match=r"classifier\.weight is \(4, 32\) there and \(3, 32\) here"):
        shop.squeeze(checkpoint=str(file))


def test_a_checkpoint_that_is_not_there(shop: Workshop) -> None:
    with pytest.raises(ModelError, match=r"there is no checkpoint gone\.pt; --teacher takes a \.safetensors"):
        shop.squeeze(checkpoint="gone.pt")


def ensemble(*members: str) -> dict[str, Any]:
    return {"model": "ensemble", "model.members": members, "epochs": 2, "batch_size": 8}


def test_members_are_trained_apart_from_draws_of_their_own(shop: Workshop) -> None:
    """Each as it would be alone, from its initial weights and the draws of its place."""
    recipe = shop.recipe(**ensemble("convnet", "convnet"))
    fresh = fresh_teacher(recipe, shop.dataset, shop.registry, RUNTIME)
    teacher, accuracy = shop.squeeze(**ensemble("convnet", "convnet"))
    data = shop.dataset
    feed = Feed(
        data.train.images, data.train.labels, size=data.size, mean=data.mean, std=data.std, runtime=RUNTIME
    )
    for index, alone in enumerate(fresh.members):
        draws = generator(0, "squeeze", *(("training", 1) if index else ("training",)))
        with isolated_global_rng(draws):
            train(alone, feed, hard_loss(), recipe.teacher, generator=draws, runtime=RUNTIME, what="one")
        assert content(teacher.members[index]) == content(alone)
    assert content(teacher.members[0]) != content(teacher.members[1])
    assert accuracy == accuracy_of(teacher, data.test, data, RUNTIME)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_a_member_is_the_same_whoever_else_is_there(shop: Workshop) -> None:
    teacher, _ = shop.squeeze(**ensemble("convnet", "convnet"))
    alone, _ = shop.squeeze(**ensemble("convnet"))
    other, _ = shop.squeeze(**ensemble("timm:mobilenetv3_small_050", "convnet"))
    assert content(alone.members[0]) == content(teacher.members[0])
    assert content(other.members[1]) == content(teacher.members[1])


def test_the_epochs_of_all_members_are_reported(shop: Workshop) -> None:
    seen: list[tuple[str, int]] = []

    class Listener(SilentReporter):
        def start(self, stage: str, detail: str, total: int, unit: str) -> None:
            seen.append((detail, total))

    recipe = shop.recipe(**ensemble("convnet", "convnet"))
    runtime = replace(RUNTIME, reporter=Listener())
    squeeze(fresh_teacher(recipe, shop.dataset, shop.registry, RUNTIME), recipe, shop.dataset, runtime)
    assert seen == [("training ensemble (convnet, convnet)", 4)]


def test_a_member_that_diverges_is_named(shop: Workshop) -> None:
    with pytest.raises(NumericalError, match=r"the loss of member 0 of the teacher \(convnet\) became"):
        shop.squeeze(**ensemble("convnet", "convnet"), lr=1e30)
