"""Whether a network's outputs stand in another order than the classes of a dataset, and in which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_WORDNET = re.compile(r"(n\d{8})\s+(.+)")
# Another order is believed if it gains this much accuracy (an order without an explanation must gain more), and if
# the gain has this probability at most by chance.
_GAIN, _UNEXPLAINED_GAIN = 0.1, 0.25
_RISK = 1e-6


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of a network's outputs.

    meaning: the label that each output means.
    accuracy: of the network if its outputs are read so, in [0, 1].
    cause: the likely cause, as a part of a sentence; "" if none is known.
    """

    meaning: tuple[int, ...]
    accuracy: float
    cause: str = ""


def find_order(labels: Tensor, predicted: Tensor, classes: Sequence[str]) -> Order | None:
    """Return the order of outputs that the answers of a network fit far better than the order of the classes, or None.

    Usual orders are tried first: names sorted as text, by number and so on. Any other order is the best matching of
    outputs and labels on half of the images, and is judged by the other half.

    labels, predicted: (n,) int64 in [0, K), of images of all classes.
    classes: K names in label order.
    """
    usual = [
        Order(meaning=meaning, accuracy=_accuracy(labels, predicted, meaning), cause=cause)
        for cause, meaning in usual_orders(classes)
    ]
    best = max(usual, key=lambda order: order.accuracy, default=None)
    if best is not None and _much_better(best, labels, predicted, _GAIN):
        return best
    fitted = torch.arange(len(labels)) % 2 == 0
    meaning = _matched(labels[fitted], predicted[fitted], len(classes))
    held = ~fitted
    if meaning == tuple(range(len(classes))) or not bool(held.any()):
        return None
    other = Order(meaning=meaning, accuracy=_accuracy(labels[held], predicted[held], meaning))
    return other if _much_better(other, labels[held], predicted[held], _UNEXPLAINED_GAIN) else None


def usual_orders(classes: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a cause and the label that each output then means, for every usual order but that of the classes."""
    ids = [_WORDNET.fullmatch(name) for name in classes]
    keys: list[tuple[str, Callable[[int], object]]] = [
        ("the names sorted as text ('10' before '2')", lambda label: classes[label]),
        ("the names sorted without regard to case", lambda label: classes[label].lower()),
        ("the names sorted by number ('2' before '10')", lambda label: _by_number(classes[label])),
        ("the classes in reverse", lambda label: -label),
        ("the classes numbered from 1", lambda label: (label + 1) % len(classes)),
    ]
    if all(ids):
        keys.append(("the WordNet ids sorted", lambda label: classes[label].partition(" ")[0]))
        keys.append(
            ("the names without their WordNet ids sorted", lambda label: classes[label].partition(" ")[2])
        )
    seen = {tuple(range(len(classes)))}
    for cause, key in keys:
        meaning = tuple(sorted(range(len(classes)), key=key))  # type: ignore[arg-type]
        if meaning not in seen:
            seen.add(meaning)
            yield f", that of {cause}", meaning


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts the numbers in a name by value."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _accuracy(labels: Tensor, predicted: Tensor, meaning: Sequence[int]) -> float:
    return float((torch.tensor(meaning)[predicted] == labels).double().mean())


def _matched(labels: Tensor, predicted: Tensor, classes: int) -> tuple[int, ...]:
    """Return the label that each output means in the matching with the most right answers."""
    from scipy.optimize import linear_sum_assignment

    counts = torch.bincount(predicted * classes + labels, minlength=classes**2).view(classes, classes)
    # Between equal matchings, the one that moves fewer outputs.
    favoured = counts.double() + 0.5 * torch.eye(classes, dtype=torch.float64)
    _, meaning = linear_sum_assignment(favoured.numpy(), maximize=True)
    return tuple(int(label) for label in meaning)


def _much_better(order: Order, labels: Tensor, predicted: Tensor, gain: float) -> bool:
    """Return whether the order explains the answers so much better that chance is no explanation."""
    from scipy.special import bdtrc

    plain = float((labels == predicted).double().mean())
    right = round(order.accuracy * len(labels))
    least = plain + gain / 2
    return (
        order.accuracy >= plain + gain and least < 1 and float(bdtrc(right - 1, len(labels), least)) < _RISK
    )
