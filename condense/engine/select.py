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
from condense.engine.components import Initializer, StudentResult
from condense.engine.epochs import judge_epochs
from condense.engine.evaluate import StudentEvaluator, known_result
from condense.engine.labels import LABELS
from condense.engine.plan import Plan
from condense.engine.students import StudentTrainer
from condense.engine.synthesis import Synthesis
from condense.engine.unfinished import Unfinished
from condense.engine.work import Counts, passes, work_of
from condense.errors import OptionError
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.protocol import Protocol
from condense.recipe.specs import NoOptions, Origin
from condense.rng import generator
from condense.storage.distilled import DistilledDataset
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder
from condense.storage.tensors import read_tensors, tensor_of, tensors_to_bytes

# How many times as long as testing the images choosing them may take before a note says so.
_LONG = 5


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
        return f"select: start {told}; kept {self.kept_text()}"

    def kept_text(self) -> str:
        """Return what the images are: the start that they are, or the step of recovery that they are from."""
        if not self.kept.after:
            return f"the start {self.kept.start}" + (", without recovery" if self.iterations else "")
        judged = "" if self.kept.accuracies else ", not judged"
        return f"step {self.kept.after} of {self.iterations}{judged}, begun with {self.kept.start}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with `kept_text`; accuracies are fractions."""
        data: dict[str, Any] = {**msgspec.to_builtins(self), "kept_text": self.kept_text()}
        return data


class Judge(StudentEvaluator):
    """Trains and tests a student whose random draws no other stage has."""

    drawn_for = "select"


class Selector:
    """Judges the candidates of a run. Images and results lie in the run's folder, and are read from there."""

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
        )
        self._candidates: dict[str, DistilledDataset] = {}

    def make_start(self, name: str) -> None:
        """Write the images of an initializer as saved, (K * ipc, C, H, W) uint8, and the weights of their slots."""
        folder = self.synthesis.folder
        begun = self.synthesis.begun_with(self.initializers[name])
        images = begun.initial()
        # As in a run without recovery: the weights of targets are for images that were made for them.
        made_for = {spec.name: spec.uses_targets for spec in begun.plan.initializers}
        weights = begun.slot_weights(of_targets=made_for[name])
        made = tensors_to_bytes({"images": images, "weights": weights.float().contiguous()})
        folder.checksums.write(folder.start(name), made)

    def judge(self, candidate: str, student: int, unfinished: Unfinished) -> StudentResult:
        """Train and test one student of a candidate, a start or "START-after-N". unfinished: keeps its training."""
        if candidate not in self._candidates:
            self._candidates = {candidate: self._images(candidate)}  # one at a time in memory
        [result] = self.trainer.students(self._candidates[candidate], [student], lambda _: unfinished)
        return result

    def begun(self) -> Synthesis:
        """Return the synthesis that recovers from the best start. All starts have been judged."""
        return self.synthesis.begun_with(self.initializers[best(self.starts()).start])

    def starts(self) -> list[Judged]:
        """Return how the students of each start did."""
        return judged_starts(self.synthesis.plan, self.synthesis.folder)

    def choose(self) -> tuple[DistilledDataset, Choice]:
        """Return the images of the best candidate with what was found. All candidates have been judged."""
        starts = self.starts()
        start, plan = best(starts), self.synthesis.plan
        iterations = plan.recipe.recover.iterations
        folder = self.synthesis.folder
        judged = [*starts, *(_judged(plan, folder, start.start, after) for after in plan.judged_after)]
        kept = best(judged)
        if iterations and not plan.judged_after:
            kept = Judged(start=start.start, after=iterations, accuracies=())
        choice = Choice(
            judged=tuple(judged),
            kept=kept,
            iterations=iterations,
            images=len(self.dataset.test),
            epochs=self.protocol.epochs,
        )
        begun = self.begun()
        origin: Origin = "synthetic" if kept.after else begun.origin_of(kept.start)
        return begun.assembled(*self._pixels(_candidate(kept)), origin=origin), choice

    def _images(self, candidate: str) -> DistilledDataset:
        return self.synthesis.assembled(*self._pixels(candidate), self.protocol.labels)

    def _pixels(self, candidate: str) -> tuple[Tensor, Tensor]:
        """Return the images of a candidate, (K * ipc, C, H, W) uint8, and the weights of its slots."""
        if candidate in self.initializers:
            file, plan = self.synthesis.folder.start(candidate), self.synthesis.plan
            tensors, _ = read_tensors(file)
            classes = len(self.dataset.classes)
            images = self.synthesis.stored(tensors, "images", classes * plan.recipe.ipc, file)
            slots = (classes, plan.images_per_class)
            return images, tensor_of(tensors, "weights", slots, torch.float32, file)
        start, _, after = candidate.rpartition("-after-")
        begun = self.synthesis.begun_with(self.initializers[start])
        return begun.recovered(int(after)), begun.slot_weights()


def judged_starts(plan: Plan, folder: RunFolder) -> list[Judged]:
    """Return how the students of each start did, as it lies in the folder of a run; starts in the order of the plan."""
    return [_judged(plan, folder, spec.name, 0) for spec in plan.initializers]


def _judged(plan: Plan, folder: RunFolder, start: str, after: int) -> Judged:
    candidate = _candidate(Judged(start=start, after=after, accuracies=()))
    files = [folder.judged(candidate, student) for student in range(plan.recipe.select.students)]
    found = [known_result(read_json(file)) for file in files]
    return Judged(start=start, after=after, accuracies=tuple(one.accuracy for one in found))


def _candidate(judged: Judged) -> str:
    """Return the name of a candidate."""
    return f"{judged.start}-after-{judged.after}" if judged.after else judged.start


def candidate_text(candidate: str) -> str:
    """Return a candidate for people."""
    start, _, after = candidate.rpartition("-after-")
    return f"{start} after {after} steps" if start else f"the start {candidate}"


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


def long_choice_note(plan: Plan, counts: Counts) -> tuple[str, ...]:
    """Return a note if the students that choose the images learn much longer than those that test them.

    That is so in a short trial, for the settings of the protocol say nothing of the students that choose.
    """
    work = work_of(plan, counts)
    (_, choosing), (_, testing) = passes(work, "select"), passes(work, "evaluate")
    if not testing or choosing < _LONG * testing:
        return ()
    return (
        f"the students that choose the images learn {choosing / testing:.0f} times as long as those that test them: "
        "--set select.epochs=N shortens it, and --set select.students=0 leaves the choice out",
    )
