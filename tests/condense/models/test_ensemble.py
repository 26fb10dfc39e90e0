"""Several networks as one: the mean of their logits, weights of their own, one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.errors import ModelError, OptionError
from condense.models.build import build_network
from condense.models.catalog import EnsembleOptions, ModelRequest
from condense.models.checkpoints import load_checkpoint
from condense.models.ensemble import Ensemble, build_ensemble
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.config import RunConfig
from condense.recipe.method import Use
from condense.recipe.needs import Statistic
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import config_from_dict, configure
from condense.recipe.settings import options_of
from condense.recipe.specs import ModelSpec
from condense.runtime import make_runtime
from condense.storage.tensors import write_tensors

RUNTIME = make_runtime("cpu", "fp32")
LABELS = BatchLabels.of_real(torch.tensor([0, 1, 2, 1]))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Bend(nn.Module):
    """A bend in the images, then a linear layer."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power
        self.head = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1) ** self.power)
        return logits


def of(*members: nn.Module) -> Network:
    return Network(Ensemble([f"net {index}" for index in range(len(members))], members), "ensemble")


@pytest.fixture
def registry(make_registry: Callable[..., Registry], make_dataset: Callable[..., RealDataset]) -> Registry:
    bends = [
        ModelSpec(name=name, summary="one line", build=lambda options, request, power=power: Bend(power))
        for name, power in (("straight", 1), ("bent", 2))
    ]
    return make_registry(make_dataset(), models=bends)


@pytest.fixture
def build(registry: Registry, make_dataset: Callable[..., RealDataset]) -> Callable[..., Network]:
    def made(*members: str, seed: int = 0) -> Network:
        use = Use(name="ensemble", options={"members": members})
        return build_network(use, make_dataset(), registry, RUNTIME, seeded(seed))

    return made


def test_logits_are_the_mean_of_the_members() -> None:
    one, other = Bend(1), Bend(2)
    images = torch.randn(4, 1, 8, 8, generator=seeded())
    torch.testing.assert_close(of(one, other).logits(images), (one(images) + other(images)) / 2)
    torch.testing.assert_close(of(one).logits(images), one(images))


def test_what_is_seen_of_the_whole_and_of_its_members() -> None:
    one, other = Bend(1), Bend(2)
    network = of(one, other).frozen()
    images = torch.randn(4, 1, 8, 8, generator=seeded(), requires_grad=True)
    seen = network.observe(images, LABELS)
    torch.testing.assert_close(seen.features, torch.cat([images.flatten(1), images.flatten(1) ** 2], dim=1))
    torch.testing.assert_close(seen.logits, (one(images) + other(images)) / 2)
    assert seen.member == 0
    for index, (member, model) in enumerate(zip(network.members, (one, other), strict=True)):
        assert (member.member, member.model, member.name) == (index, model, f"net {index}")
        shown = member.observe(images, LABELS, ["batchnorm", "convolutions"])
        assert shown.member == index
        torch.testing.assert_close(shown.logits, model(images))
        assert not any(parameter.requires_grad for parameter in member.model.parameters())
        assert member.members == (member,)


@pytest.mark.parametrize("statistics", [("batchnorm",), ("convolutions",), ("batchnorm", "convolutions")])
def test_the_layers_of_the_whole_cannot_be_seen_at_once(statistics: tuple[Statistic, ...]) -> None:
    with pytest.raises(ModelError, match="'ensemble' is 2 networks, whose layers can be seen"):
        of(Bend(1), Bend(2)).observe(torch.zeros(4, 1, 8, 8), LABELS, statistics)


def test_members_are_built_through_the_registry_each_from_its_own_place(
    build: Callable[..., Network],
) -> None:
    """A member's weights depend on the seed and its place, not on who else is there."""
    network = build("straight", "bent")
    assert [type(member.model) for member in network.members] == [Bend, Bend]
    assert [member.name for member in network.members] == ["straight", "bent"]
    first, second = (member.model.head.weight for member in network.members)  # type: ignore[union-attr]
    assert not torch.equal(first, second)  # type: ignore[arg-type]
    for members in (("straight", "bent"), ("convnet", "bent"), ("bent", "bent", "straight")):
        again = build(*members).members[1].model.head.weight  # type: ignore[union-attr]
        assert torch.equal(again, second)  # type: ignore[arg-type]
    other = build("straight", "bent", seed=1).members[1].model.head.weight  # type: ignore[union-attr]
    assert not torch.equal(other, second)  # type: ignore[arg-type]


def test_a_member_may_come_twice(build: Callable[..., Network]) -> None:
    first, second = build("straight", "straight").members
    assert not torch.equal(first.model.head.weight, second.model.head.weight)  # type: ignore[union-attr, arg-type]


def test_one_file_holds_all_weights(build: Callable[..., Network], tmp_path: Path) -> None:
    network, images = build("straight", "convnet").frozen(), torch.randn(4, 1, 8, 8, generator=seeded(1))
    write_tensors(tmp_path / "teacher.safetensors", network.model.state_dict())
    other = build("straight", "convnet", seed=5).frozen()
    assert not torch.equal(other.logits(images), network.logits(images))
    load_checkpoint(other, tmp_path / "teacher.safetensors")
    assert torch.equal(other.logits(images), network.logits(images))
    with pytest.raises(ModelError, match="does not fit the architecture Ensemble"):
        load_checkpoint(build("straight"), tmp_path / "teacher.safetensors")


def test_pretrained_goes_to_every_member() -> None:
    asked: list[Use] = []

    def note(use: Use) -> nn.Module:
        asked.append(use)
        return Bend(1)

    for pretrained in (False, True):
        options = EnsembleOptions(members=("a", "b:c"), pretrained=pretrained)
        build_ensemble(options, ModelRequest(argument="", classes=3, channels=1, size=8, build=note))
    plain = [Use(name="a"), Use(name="b:c")]
    assert asked == [*plain, *(Use(name=use.name, options={"pretrained": True}) for use in plain)]


def test_a_request_without_a_way_to_build() -> None:
    with pytest.raises(ModelError, match="builds its members through"):
        build_ensemble(EnsembleOptions(), ModelRequest(argument="", classes=3, channels=1, size=8))


@pytest.mark.parametrize(
    ("members", "reason"),
    [((), "needs members"), (("convnet", "ensemble"), "cannot be a member"), (("ensemble:x",), "cannot be")],
)
def test_members_that_are_refused(members: tuple[str, ...], reason: str) -> None:
    use = Use(name="ensemble", options={"members": members})
    with pytest.raises(OptionError, match=reason):
        options_of(use, "model", load_registry())


def resolved(**settings: Any) -> RunConfig:
    chosen = [("teacher.model", "ensemble"), ("teacher.model.members", "convnet, timm:resnet10t")]
    return configure(load_registry(), method="sre2l", settings=[*chosen, *settings.items()])


def student(config: RunConfig) -> Use:
    return config.evaluation.student_network(config.recipe.teacher)


def test_it_is_chosen_by_settings_and_survives_run_json() -> None:
    config = resolved()
    assert config.recipe.teacher.model.options["members"] == ("convnet", "timm:resnet10t")
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), load_registry()) == config


def test_a_student_like_the_teacher_is_its_first_member() -> None:
    assert student(resolved()) == Use(name="convnet")
    assert resolved().recipe.random_network == Use(name="convnet")
    assert student(resolved(**{"student.model": "resnet18"})).name == "resnet18"
    assert student(resolved(**{"teacher.model.pretrained": True})) == Use(name="convnet")
