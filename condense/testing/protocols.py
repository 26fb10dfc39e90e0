"""Whether students are trained by a protocol."""

from __future__ import annotations

from pathlib import Path

from condense.recipe.registry import Registry
from condense.testing.declared import refused_form
from condense.testing.findings import Answer
from condense.testing.subjects import COLOUR, GREY, Subject
from condense.testing.trial import Trial, differing
from condense.text import counted

# Epochs of the student, at most: enough steps for a learning rate that is too large to show.
_EPOCHS = 10


class TriedProtocol:
    """A protocol with the runs whose student it trains. method: the recipe that has it. folder: where the runs lie."""

    def __init__(self, method: str, registry: Registry, folder: Path) -> None:
        subject = Subject(title=method, method=method, students=1, epochs=_EPOCHS)
        self._method, self._registry = method, registry
        self._trial = Trial(subject, registry, folder)

    def students(self) -> Answer:
        """Train one student on colour images, twice, and one on grey images."""
        refused = refused_form(self._method, self._registry)
        if refused:
            return "failed", refused
        for dataset, word in ((COLOUR, "colour"), (GREY, "grey")):
            outcome = self._trial.on(dataset)
            if outcome.error:
                return "failed", f"{word} images: {outcome.error}"
        first, second = self._trial.on(COLOUR), self._trial.on(COLOUR, "again")
        if second.error:
            return "failed", f"the second run failed, and the first did not: {second.error}"
        other = differing(first.path, second.path)
        if other:
            return "failed", (
                f"{other} are others in a second run of one seed; the network of the students must draw from torch's "
                "global generator alone, which is seeded for it"
            )
        epochs = self._trial.config(COLOUR, "usual").evaluation.protocol.epochs
        return "passed", f"{counted(epochs, 'epoch')} on colour and on grey images, and a second time alike"
