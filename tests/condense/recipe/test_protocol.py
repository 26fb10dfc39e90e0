"""Protocols hold what their papers say, come from plugins, and refuse what makes no sense."""

from __future__ import annotations

import math
import sys

import pytest

from condense.builtin import DC, FKD
from condense.engine.labels import LABELS
from condense.errors import UnknownNameError
from condense.recipe.method import Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import KINDS, Offer, Registry, load_registry
from condense.recipe.settings import complete
from condense.recipe.training import Augment


def test_fkd_is_the_protocol_of_sre2l_and_wmdd() -> None:
    assert LABELS[FKD.labels].need_teacher(students=1)
    assert FKD.labels == "online"  # The teacher labels every view, as FKD stores its labels per crop.
    assert FKD.temperature == 20
    assert (FKD.optimizer, FKD.lr, FKD.weight_decay) == ("adamw", 0.001, 0.01)
    assert FKD.schedule == "cosine"
    assert FKD.epochs == 300
    assert not FKD.weighted
    assert FKD.augment == Augment(crop_scale=(0.08, 1.0), flip=True, cutmix=1.0)
    assert FKD.model.name == "teacher"


def test_dc_is_the_protocol_of_dc_dsa_and_dm() -> None:
    assert not LABELS[DC.labels].need_teacher(students=1)
    assert DC.labels == "hard"
    assert (DC.optimizer, DC.lr) == ("sgd", 0.01)
    assert DC.schedule == "halfway"
    assert DC.epochs == 1000
    assert set(DC.augment.siamese) == {"color", "crop", "cutout", "flip", "scale", "rotate"}
    assert DC.augment.siamese_single
    assert DC.augment.cutmix == 0
    assert DC.augment.crop_scale is None


def test_dc_brings_the_convnet_of_its_papers() -> None:
    """Depth 3, width 128, instance normalisation: the network of Zhao et al., section 4.1."""
    model = complete(DC, load_registry()).model
    assert model == Use(name="convnet", options={"width": 128, "depth": 3, "norm": "instance"})


def with_protocols(*protocols: Protocol) -> Registry:
    """A registry that knows these, under their names, and nothing else."""
    offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}
    offers["protocol"] = {protocol.name: Offer("test", protocol) for protocol in protocols}
    return Registry(offers, (), {})


def test_protocols_are_found_by_their_names() -> None:
    registry = load_registry()
    assert registry.protocol("fkd") is FKD
    assert registry.protocol("dc") is DC
    mine = Protocol(name="mine")
    assert with_protocols(FKD, mine).protocol("mine") is mine


def test_an_unknown_protocol_lists_those_there_are_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        with_protocols(FKD, DC).protocol("fdk")
    assert str(caught.value) == "unknown protocol 'fdk'. Did you mean 'fkd'? There are: dc, fkd"
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'mien'. Did you mean 'mine'\?"):
        with_protocols(FKD, Protocol(name="mine")).protocol("mien")


@pytest.mark.parametrize("name", ["", "Upper", "two words", "under_score", "-a"])
def test_a_protocol_has_a_name_that_can_be_typed(name: str) -> None:
    with pytest.raises(ValueError, match="is not lower-case words joined by hyphens"):
        Protocol(name=name)


def test_a_protocol_cannot_leave_the_network_to_itself() -> None:
    with pytest.raises(ValueError, match=r"protocol\.model is a network or 'teacher'"):
        Protocol(name="mine", model=Use(name="protocol"))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature must be (above 0|a finite number)"):
        Protocol(name="mine", temperature=temperature)


def test_what_training_refuses_a_protocol_refuses() -> None:
    with pytest.raises(ValueError, match="lr must be above 0"):
        Protocol(name="mine", lr=-sys.float_info.min)
