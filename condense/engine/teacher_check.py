"""Whether a teacher that was given knows the dataset: its accuracy on a sample of the test images, and its classes.

A teacher whose outputs stand in another order than the dataset's classes would spoil a run without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from condense.data.dataset import RealDataset, Split
from condense.data.feed import feed_of
from condense.engine.class_order import Order, find_order
from condense.errors import ModelError
from condense.models.network import Network
from condense.runtime import Runtime
from condense.text import counted

# The sample: this many test images spread over the classes, and at least so many of each class.
_IMAGES = 1000
_OF_EACH_CLASS = 4
_BATCH = 64
# A statement about an accuracy is made if the sample would contradict it with this probability at most.
_RISK = 1e-3
_NORMALISATION = 0.01
# How a note about a teacher begins.
DOUBT = "DOUBTFUL: "


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is known of a teacher from when it was made.

    accuracy: on the test images, in [0, 1]; None if unknown.
    classes: names in the order of its outputs; empty if unknown.
    mean, std: with which its images were normalised, per channel; empty if unknown.
    """

    accuracy: float | None = None
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def check_taught(
    teacher: Network,
    dataset: RealDataset,
    runtime: Runtime,
    *,
    origin: str,
    recorded: Recorded | None = None,
    action: Literal["stop", "note"] = "stop",
) -> None:
    """Compare a teacher that was given with the dataset. A note tells what is doubtful.

    origin: where its weights come from, for messages.
    recorded: what is known of it.
    action: as in `condense.recipe.method.Teacher.check`.

    Raises ModelError, with the likely cause, if its classes have another order, or if its accuracy on a sample of the
    test images is near chance or far below the recorded one. With the action "note" these are notes as well.
    """

    def refuse(text: str) -> None:
        if action == "stop":
            raise ModelError(f"{text}. To go on with this teacher all the same: --set teacher.check=note")
        runtime.reporter.note(f"{DOUBT}{text}")

    known = recorded or Recorded()
    _compare_classes(known, dataset, runtime, origin, refuse)
    labels, predicted = _answers(teacher, dataset, runtime)
    right, count = int((labels == predicted).sum()), len(labels)
    found = f"the teacher from {origin} is right on {right / count:.1%} of {counted(count, 'test image')}"
    order = find_order(labels, predicted, dataset.classes)
    if order is not None:
        refuse(_in_another_order(found, order, dataset))
        return
    chance = 1 / len(dataset.classes)
    if known.accuracy is None:
        expected = f"{chance:.1%} is chance"
        wrong = _surely_below(right, count, _near_chance(len(dataset.classes)))
        doubtful = not _surely_above(right, count, chance)
    else:
        expected = f"it reached {known.accuracy:.1%} when it was made"
        wrong = _surely_below(right, count, chance + (known.accuracy - chance) / 2)
        doubtful = _surely_below(right, count, known.accuracy - 0.05)
    said = f"{found}, and {expected}. {_causes(known, dataset)}"
    if wrong:
        refuse(said)
    elif doubtful:
        runtime.reporter.note(f"{DOUBT}{said}")


def _compare_classes(
    known: Recorded, dataset: RealDataset, runtime: Runtime, origin: str, refuse: Callable[[str], None]
) -> None:
    """Refuse the same classes in another order; a note tells of other classes."""
    theirs, ours = known.classes, dataset.classes
    if not theirs or theirs == ours:
        return
    first = next(
        (index for index, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1]), 0
    )
    differ = (
        f"its output {first} is {theirs[first]!r}, and class {first} of {dataset.name} is {ours[first]!r}"
    )
    if sorted(theirs) == sorted(ours):
        refuse(
            f"the teacher from {origin} learned the classes in another order: {differ}. Rename the class folders so "
            "that they sort as they did for the teacher, or train a teacher here"
        )
        return
    runtime.reporter.note(f"{DOUBT}the teacher from {origin} learned classes of other names: {differ}")


@torch.no_grad()
def _answers(teacher: Network, dataset: RealDataset, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Return the labels of a sample of the test images and the classes that the teacher sees, both (n,) int64."""
    chosen = sample(dataset.test, len(dataset.classes))
    feed = feed_of(dataset.test, dataset, runtime)
    teacher.model.eval()
    predicted = []
    for part in chosen.split(_BATCH):
        with runtime.autocast():
            predicted.append(teacher.logits(feed.centre(part)).argmax(dim=1).cpu())
    return dataset.test.labels[chosen], torch.cat(predicted)


def sample(split: Split, classes: int) -> Tensor:
    """Return the indices (n,) int64 of a sample, the same every time, with as many images of each class as there are.

    The images of a class are spread evenly over the split.
    """
    most = max(_OF_EACH_CLASS, _IMAGES // classes)
    chosen = []
    for label in range(classes):
        indices = split.of_class(label)
        count = min(most, len(indices))
        chosen.append(indices[torch.arange(count) * len(indices) // max(1, count)])
    return torch.cat(chosen)


def _near_chance(classes: int) -> float:
    """Return the accuracy below which a teacher knows nothing: little above that of guessing."""
    chance = 1 / classes
    return min(max(2 * chance, chance + 0.01), chance + (1 - chance) / 4)


def _surely_below(right: int, count: int, accuracy: float) -> bool:
    """Return whether so few right answers are improbable for a network of this accuracy."""
    from scipy.special import bdtr

    return accuracy > 0 and float(bdtr(right, count, min(accuracy, 1.0))) < _RISK


def _surely_above(right: int, count: int, accuracy: float) -> bool:
    from scipy.special import bdtrc

    return right > 0 and float(bdtrc(right - 1, count, accuracy)) < 0.05


def _causes(known: Recorded, dataset: RealDataset) -> str:
    causes = [
        "another dataset",
        "classes in another order",
        "a classifier that was not trained (--set teacher.epochs=N trains it)",
    ]
    pairs = [*zip(known.mean, dataset.mean, strict=False), *zip(known.std, dataset.std, strict=False)]
    if any(abs(then - now) > _NORMALISATION for then, now in pairs):
        causes.insert(0, f"other images (they were normalised by mean {known.mean} and std {known.std})")
    elif not pairs:
        causes.append(
            "another normalisation (--set teacher.model.pretrained=true takes that of torchvision's or timm's weights)"
        )
    return f"Likely causes: {', '.join(causes)}"


def _in_another_order(found: str, order: Order, dataset: RealDataset) -> str:
    """Return the message about a teacher whose outputs stand in another order."""
    moved = [index for index, label in enumerate(order.meaning) if index != label]
    examples = ", ".join(
        f"output {index} means {dataset.classes[order.meaning[index]]!r} and not {dataset.classes[index]!r}"
        for index in moved[:2]
    )
    rows = torch.argsort(torch.tensor(order.meaning)).tolist()
    listed = f": rows {rows} of its weight and bias" if len(rows) <= 20 else ""
    return (
        f"{found}, and on {order.accuracy:.1%} if its outputs have another order{order.cause}: {examples}. Rename the "
        "class folders so that they sort in the teacher's order, or put the outputs of its classifier into the order "
        f"of {dataset.name}{listed}"
    )
