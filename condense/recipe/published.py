"""Accuracies that were published for a method, each with the conditions that it was reached under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from condense.recipe.fields import checked

# Percent as a table prints it: the accuracy, or the accuracy and what stands after ±.
Printed = float | tuple[float, float]


@checked
@dataclass(frozen=True, kw_only=True)
class Published:
    """An accuracy that was published for a method, and its conditions.

    dataset: the dataset, by its name in condense.
    ipc: images per class.
    accuracy: on the test images, in [0, 1].
    spread: what the source states after ±, as a fraction; None if it states nothing.
    student: the student's network, by its name in condense, such as "resnet18".
    conditions: how teacher and student were trained, in short.
    source: the table.
    second_hand: whether others than the authors of the method published it.

    Raises ValueError for an accuracy or a spread outside [0, 1], less than one image per class, and an empty text.
    """

    dataset: str
    ipc: int
    accuracy: float
    student: str
    conditions: str
    source: str
    spread: float | None = None
    second_hand: bool = False

    def __post_init__(self) -> None:
        for name in ("dataset", "student", "conditions", "source"):
            text = getattr(self, name)
            if not text.strip() or "\n" in text:
                raise ValueError(f"a published accuracy needs one line of {name}, not {text!r}")
        if self.ipc < 1:
            raise ValueError(f"a published accuracy needs at least 1 image per class, not {self.ipc}")
        for name, fraction in (("accuracy", self.accuracy), ("spread", self.spread or 0.0)):
            if not 0 <= fraction <= 1:
                raise ValueError(
                    f"the {name} of a published accuracy is a fraction in [0, 1], not {fraction}"
                )

    @classmethod
    def table(
        cls,
        percents: Mapping[str, Mapping[int, Printed]],
        *,
        student: str,
        conditions: str,
        source: str,
        second_hand: bool = False,
    ) -> tuple[Published, ...]:
        """Return the accuracies of one line of a table.

        percents: by dataset and images per class, as printed: {"cifar10": {1: 28.3, 10: (44.9, 0.5)}}.
        The other arguments are those of the class. Raises ValueError as the class does.
        """
        return tuple(
            cls(
                dataset=dataset,
                ipc=ipc,
                accuracy=_fraction(printed[0] if isinstance(printed, tuple) else printed),
                spread=_fraction(printed[1]) if isinstance(printed, tuple) else None,
                student=student,
                conditions=conditions,
                source=source,
                second_hand=second_hand,
            )
            for dataset, by_ipc in percents.items()
            for ipc, printed in by_ipc.items()
        )


def closest(published: Iterable[Published], student: str) -> Published | None:
    """Return the accuracy that was reached with a student's network; else the first one, and None without any.

    student: a network as people write it. Its options and its library do not count: "timm:resnet18" is "resnet18".
    """
    found = list(published)
    same = (one for one in found if _architecture(one.student) == _architecture(student))
    return next(same, found[0] if found else None)


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)  # without the digits that the division adds


def _architecture(network: str) -> str:
    return network.partition("(")[0].rpartition(":")[2]
