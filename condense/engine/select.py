"""Select: students judge the candidates for the images of a run, and the best candidate is kept."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.load import part_of
from condense.engine.components import Initializer
from condense.engine.epochs import judge_epochs
from condense.engine.evaluate import StudentEvaluator, StudentTrainer
from condense.engine.labels import LABELS
from condense.engine.synthesis import Synthesis
from condense.errors import OptionError
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.protocol import Protocol
from condense.recipe.specs import NoOptions
from condense.rng import generator
from condense.storage.distilled import DistilledDataset
from condense.storage.files import json_bytes, read_json
from condense.storage.tensors import read_tensors, tensors_to_bytes


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A candidate, and how its students did.

    start: the initializer that it comes from.
    after: the number of iterations of recovery; 0 for a start.
    accuracies: of its students, on training images, in [0, 1].
    """

    start: str
    after: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the students, in [0, 1]."""
        return statistics.fmean(self.accuracies)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was judged, and which candidate was kept.

    judged: the candidates in the order in which they were judged; starts first.
    kept: the one that was kept; its `accuracies` are empty if recovery was not judged.
    iterations: of the whole recovery.
    images: how many training images students were tested on.
    epochs: of each student.
    """

    judged: tuple[Judged, ...]
    kept: Judged
    iterations: int
    images: int
    epochs: int

    def text(self) -> str:
        """Return one line for people, with accuracies in percent."""
        starts = [f"{found.start} {found.mean:.1%}" for found in self.judged if not found.after]
        states = [f"step {found.after} {found.mean:.1%}" for found in self.judged if found.after]
        told = "; ".join(part for part in (", ".join(starts), ", ".join(states)) if part)
        if self.kept.after:
            kept = f"step {self.kept.after} of {self.iterations}, begun with {self.kept.start}"
        else:
            kept = f"the start {self.kept.start}, without recovery" if self.iterations else self.kept.start
        return f"select: start {told}; kept {kept}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; accuracies are fractions."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


class Judge(StudentEvaluator):
    """Trains and tests a student whose random draws no other stage has."""

    drawn_for = "select"


class Selector:
    """Judges the candidates of a run. Images and results lie in the run's folder, and are not made again."""

    def __init__(self, synthesis: Synthesis, initializers: Mapping[str, Initializer]) -> None:
        """Raise OptionError if the recipe has no judge.

        synthesis: of the run.
        initializers: whose images are the starts, by name; the first is the recipe's own.
        """
        self.synthesis, self.initializers = synthesis, initializers
        plan, runtime = synthesis.plan, synthesis.runtime
        self.protocol = judge_of(plan.recipe, len(synthesis.dataset.classes) * plan.images_per_class)
        self.dataset = with_held_images(synthesis.dataset, plan.recipe)
        self.trainer = StudentTrainer(
            recipe=plan.recipe,
            evaluation=Evaluation(protocol=self.protocol, students=plan.recipe.select.students),
            evaluator=Judge(NoOptions()),
            dataset=self.dataset,
            teacher=synthesis.teacher if LABELS[self.protocol.labels].answers else None,
            registry=synthesis.registry,
            runtime=runtime,
            stage="select",
        )
        self.judged: list[Judged] = []

    def begin(self) -> Synthesis:
        """Judge the starts, and return the synthesis that recovers from the best one."""
        for name in self.initializers:
            self._judge(name, 0, *self._start(name))
        return self.synthesis.begun_with(self.initializers[best(self.judged).start])

    def choose(self, begun: Synthesis, states: Mapping[int, Tensor]) -> tuple[DistilledDataset, Choice]:
        """Judge states of recovery, and return the best candidate's images with what was found.

        begun: the synthesis that `begin` returned. states: what it recovered; empty for a recipe of 0 iterations.
        """
        iterations, start = begun.recipe.recover.iterations, best(self.judged)
        for after in begun.plan.judged_after:
            self._judge(start.start, after, states[after], begun.slot_weights())
        kept = best(self.judged)
        if iterations and not begun.plan.judged_after:
            kept = Judged(start=start.start, after=iterations, accuracies=())
        if kept.after:
            distilled = begun.assembled(states[kept.after], begun.slot_weights(), origin="synthetic")
        else:
            distilled = begun.assembled(*self._start(kept.start), origin=begun.origin_of(kept.start))
        choice = Choice(
            judged=tuple(self.judged),
            kept=kept,
            iterations=iterations,
            images=len(self.dataset.test),
            epochs=self.protocol.epochs,
        )
        return distilled, choice

    def _start(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the images of an initializer as saved, (K * ipc, C, H, W) uint8, and the weights of their slots."""
        file, note = self.synthesis.folder.start(name), self.synthesis.runtime.reporter.note
        checksums = self.synthesis.folder.checksums
        if not checksums.usable(file, note):
            begun = self.synthesis.begun_with(self.initializers[name])
            images = begun.initial()
            # As in a run without recovery: the weights of targets are for images that were made for them.
            made_for = {spec.name: spec.uses_targets for spec in begun.plan.initializers}
            weights = begun.slot_weights(of_targets=made_for[name])
            checksums.write(file, tensors_to_bytes({"images": images, "weights": weights.contiguous()}))
        tensors, _ = read_tensors(file)
        return tensors["images"], tensors["weights"]

    def _judge(self, start: str, after: int, images: Tensor, weights: Tensor) -> None:
        """Train and test the students of a candidate. Those whose results lie in the folder are not trained again."""
        folder, note = self.synthesis.folder, self.synthesis.runtime.reporter.note
        stem = f"{start}-after-{after}" if after else start

        def recall(student: int) -> dict[str, Any] | None:
            stored = folder.judged(stem, student)
            return read_json(stored) if folder.checksums.usable(stored, note) else None

        score = self.trainer.score(
            self.synthesis.assembled(images, weights, self.protocol.labels),
            f"{start} after {after} steps" if after else f"the start {start}",
            recall=recall,
            keep=lambda student, found: folder.checksums.write(
                folder.judged(stem, student), json_bytes(found)
            ),
            unfinished=lambda student: folder.unfinished(f"candidate-{stem}-{student}"),
        )
        accuracies = tuple(found.accuracy for found in score.students)
        self.judged.append(Judged(start=start, after=after, accuracies=accuracies))


def best(judged: Sequence[Judged]) -> Judged:
    """Return the candidate with the highest mean accuracy; of equal ones the earliest."""
    return max(judged, key=lambda found: found.mean)


def judge_of(recipe: Recipe, images: int) -> Protocol:
    """Return how the students that judge are trained on this many images. Raises OptionError if the recipe has none."""
    if recipe.judge is None:
        raise OptionError("select.students needs a protocol by which they are trained, judge")
    return replace(recipe.judge, epochs=judge_epochs(recipe.select, recipe.judge, images))


def with_held_images(dataset: RealDataset, recipe: Recipe) -> RealDataset:
    """Return the dataset with training images in place of its test images, equally many of each class.

    They are drawn with the recipe's seed. A class that has fewer gives all of its images.
    """
    classes = len(dataset.classes)
    share = max(1, recipe.select.images // classes) if recipe.select.images else len(dataset.train)
    chosen = []
    for label in range(classes):
        indices = dataset.train.of_class(label)
        order = torch.randperm(len(indices), generator=generator(recipe.seed, "select", "images", label))
        chosen.append(indices[order[:share]])
    return replace(dataset, test=part_of(dataset.train, torch.cat(chosen).sort().values))
