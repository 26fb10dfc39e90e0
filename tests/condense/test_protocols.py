"""Protocols hold what their papers say, and refuse what makes no sense."""

from __future__ import annotations

import math
import sys

import pytest

from condense.data.augment import Augment
from condense.errors import UnknownNameError
from condense.protocols import DC, FKD, PROTOCOLS, Protocol, protocol_named


def test_fkd_is_the_protocol_of_sre2l_and_wmdd() -> None:
    assert FKD.needs_teacher
    assert FKD.labels == "online"  # The teacher labels every view, as FKD stores its labels per crop.
    assert FKD.temperature == 20
    assert (FKD.optimizer, FKD.lr, FKD.weight_decay) == ("adamw", 0.001, 0.01)
    assert FKD.schedule == "cosine"
    assert FKD.epochs == 300
    assert not FKD.weighted
    assert FKD.augment == Augment(crop_scale=(0.08, 1.0), flip=True, cutmix=1.0)


def test_dc_is_the_protocol_of_dc_dsa_and_dm() -> None:
    assert not DC.needs_teacher
    assert DC.labels == "hard"
    assert (DC.optimizer, DC.lr) == ("sgd", 0.01)
    assert DC.schedule == "halfway"
    assert DC.epochs == 1000
    assert set(DC.augment.siamese) == {"color", "crop", "cutout", "flip", "scale", "rotate"}
    assert DC.augment.siamese_single
    assert DC.augment.cutmix == 0
    assert DC.augment.crop_scale is None


def test_protocols_are_found_by_their_names() -> None:
    assert {"fkd", "dc"} <= set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.summary
        assert protocol_named(name) is protocol


def test_an_unknown_protocol() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown protocol 'fdk'. Did you mean 'fkd'\? There are: dc, fkd"
    ):
        protocol_named("fdk")


def test_protocols_cannot_be_changed_for_others() -> None:
    with pytest.raises(TypeError):
        PROTOCOLS["mine"] = FKD  # type: ignore[index]


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Protocol(name="mine", temperature=temperature)


def test_what_training_refuses_a_protocol_refuses() -> None:
    with pytest.raises(ValueError, match="lr must be above 0"):
        Protocol(name="mine", lr=-sys.float_info.min)
