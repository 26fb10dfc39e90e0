"""Cross-entropy against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from condense.engine.catalog import FEATURE_TARGETS
from condense.engine.standard import CrossEntropy
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs, ThroughTeacher
from condense.recipe.specs import NoOptions


def test_cross_entropy_is_the_mean_over_the_batch_whatever_the_weights() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 2, 2])
    slow = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        slow -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row)) / 4
    target = CrossEntropy(NoOptions())
    for weights in ([0.5] * 4, [0.9, 0.1, 0.2, 0.8]):
        seen = Observation(
            images=torch.zeros(4, 1, 2, 2),
            batch=BatchLabels.of(labels, torch.tensor([0, 1, 0, 1]), torch.tensor(weights)),
            features=torch.zeros(4, 5),
            logits=logits,
        )
        assert target.loss(seen, None).item() == pytest.approx(slow, rel=1e-6)
    assert target.slot_weights() is None
    assert target.state() == {}


def test_cross_entropy_looks_through_every_member_of_a_teacher_and_observes_nothing() -> None:
    [spec] = [spec for spec in FEATURE_TARGETS if spec.name == "cross-entropy"]
    needs = spec.needs_of(spec.options())
    assert needs == Needs(through=ThroughTeacher(each_member=True))
    assert not needs.observes
    assert isinstance(spec.builder()(spec.options()), CrossEntropy)
