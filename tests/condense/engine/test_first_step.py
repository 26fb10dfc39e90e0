"""The first step of a chunk: a loss that misleads is refused there, and the right one is blamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, WeightedLoss
from condense.errors import NumericalError, PluginError
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.needs import Needs

Recover = Callable[..., Tensor]
Answer = Callable[[Observation], Any]


class Sound(FeatureTarget):
    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return synthetic.features.square().sum()


class Says(FeatureTarget):
    """Answers as the test wants."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def loss(self, synthetic: Observation, real: Observation | None) -> Any:
        return self.answer(synthetic)


@pytest.fixture
def recover(
    make_dataset: Callable[..., RealDataset],
    make_network: Callable[..., Network],
    make_recovery: Callable[..., Any],
    make_chunk: Callable[..., Any],
) -> Recover:
    """Recovers with a sound loss, "sound", and one that answers as told, the regularizer "odd" of the plugin "mine"."""
    dataset = make_dataset()

    def with_answer(answer: Answer, **options: Any) -> Tensor:
        recovery = make_recovery(dataset, make_network(dataset), Sound(), Says(answer), **options)
        odd = recovery.losses[1].loss
        recovery.losses[1] = WeightedLoss(
            name="odd", loss=odd, weight=1.0, needs=Needs(), kind="regularizer", plugin="mine"
        )
        found: Tensor = recovery(make_chunk(dataset, range(3)))
        return found

    return with_answer


def in_place(tensor: Tensor) -> None:
    with torch.no_grad():
        tensor.mul_(2)


TITLE = "regularizer 'odd' of plugin 'mine'"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda seen: None, f"{TITLE} must return a scalar tensor from loss, and returned None"),
        (lambda seen: 0.5, f"{TITLE} must return a scalar tensor from loss, and returned 0.5"),
        (lambda seen: seen.features, "and returned shape (6,"),
        (lambda seen: torch.complex(*[seen.features.sum()] * 2), "and returned one of torch.complex64"),
        (lambda seen: seen.batch.labels.sum(), "and returned one of torch.int64"),
        (
            lambda seen: seen.features.sum().detach(),
            f"{TITLE} returned a loss without a gradient to the pixels",
        ),
        (
            lambda seen: seen.features.detach().requires_grad_().sum(),
            f"{TITLE} returned a loss without a gradient to the pixels",
        ),
        (lambda seen: seen.nothing, f"{TITLE} failed in loss (test_first_step.py, line "),
        (
            lambda seen: (in_place(seen.features), seen.logits.sum())[1],
            "changed synthetic.features in place in loss",
        ),
        (
            lambda seen: (in_place(seen.images), seen.logits.sum())[1],
            "changed synthetic.images in place in loss",
        ),
        (
            lambda seen: (in_place(seen.batch.weights), seen.logits.sum())[1],
            "changed synthetic.batch.weights in place in loss",
        ),
    ],
)
def test_a_loss_that_misleads_is_refused(answer: Answer, says: str, recover: Recover) -> None:
    with pytest.raises(PluginError) as caught:
        recover(answer)
    assert says in str(caught.value) and TITLE in str(caught.value)


def test_a_gradient_that_is_not_finite_is_blamed_on_the_loss_that_has_it(recover: Recover) -> None:
    """The root has the value 0 and no finite gradient; all pixels become NaN with it, and so all losses after it."""
    with pytest.raises(NumericalError) as caught:
        recover(lambda seen: (seen.features * 0).square().sum().sqrt())
    assert str(caught.value).startswith(
        "the gradient of 'odd' is not finite at the first step of recover, chunk 0"
    )


def test_a_gradient_that_fails_at_a_later_step_names_who_may_have_broken_it(recover: Recover) -> None:
    """A change in place after the first step: autograd finds out what it cannot use, and not whose fault that is."""
    calls: list[int] = []

    def late(seen: Observation) -> Tensor:
        calls.append(1)
        value = seen.features.square().sum()
        if len(calls) > 1:
            in_place(seen.features)
        return value

    with pytest.raises(PluginError, match="modified by an inplace operation") as caught:
        recover(late, iterations=3)
    assert f" or {TITLE} failed in the gradient of its loss" in str(caught.value)
    assert len(calls) == 2


def test_the_first_step_alone_costs_more_calls_of_no_loss(recover: Recover) -> None:
    calls = []
    recover(lambda seen: (calls.append(1), seen.features.sum())[1], iterations=3)
    assert len(calls) == 3


def test_checks_change_no_byte(
    make_dataset: Callable[..., RealDataset],
    make_network: Callable[..., Network],
    make_recovery: Callable[..., Any],
    make_chunk: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset()

    def recovered() -> Tensor:
        losses = (Sound(), Says(lambda seen: seen.logits.exp().sum()))
        made: Tensor = make_recovery(dataset, make_network(dataset), *losses)(make_chunk(dataset, range(3)))
        return made

    checked = recovered()
    monkeypatch.setattr("condense.engine.recover.check_gradients", lambda *_: None)
    assert torch.equal(recovered(), checked)
