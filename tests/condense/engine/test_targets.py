"""Cross-entropy against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from condense.engine.standard import CrossEntropy
from condense.models.observation import Observation, BatchLabels
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
    assert not target.measures
    assert target.slot_weights() is None
    assert target.state() == {}
