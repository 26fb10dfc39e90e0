"""The two ways from real images to a student that benchmarks/to_accuracy.py times, and their clock."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import plain_way
import torch

import condense
from condense.engine.components import EvaluationRequest
from condense.engine.evaluate import StudentEvaluator
from condense.engine.real import real_dataset
from condense.engine.squeeze import fresh_teacher
from condense.engine.training import accuracy
from condense.models.build import build_network
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.registry import default_registry
from condense.recipe.resolve import configure
from condense.recipe.specs import NoOptions
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime, SilentReporter, make_runtime, process_settings


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Images and settings that both ways get.

    name: for the table. dataset: as condense names it. settings: of condense.run.
    """

    name: str
    dataset: str
    settings: Mapping[str, Any]


@dataclass(kw_only=True)
class Outcome:
    """What one way found.

    until_images: seconds until the images were recovered.
    tests: of the student: the epoch, the seconds since the start, the accuracy in [0, 1].
    """

    until_images: float
    tests: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def final(self) -> float:
        """The accuracy after the last epoch."""
        return self.tests[-1][2]

    def until(self, wanted: float) -> float | None:
        """Return the seconds until a test reached an accuracy; None if none did."""
        return next((seconds for _, seconds, reached in self.tests if reached >= wanted), None)


class StopWatch:
    """Seconds since it was made, without those in which it was paused. The device is waited for."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._paused = device, 0.0
        self._began = self._now()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._now() - self._began - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still in the block."""
        began = self._now()
        yield
        self._paused += self._now() - began


class AfterEpoch(SilentReporter):
    """A reporter that makes a call after every epoch."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Make the call."""
        self._call()


class Trial:
    """One problem with one seed: the teacher that both ways get, and the ways."""

    def __init__(self, problem: Problem, seed: int, out: Path, options: argparse.Namespace) -> None:
        self.settings, self.seed, self.out, self.options = problem.settings, seed, out, options
        self.common = {"method": "wmdd", "dataset": problem.dataset, "seed": seed, "device": options.device}
        self.common["data_dir"] = options.data_dir
        self.config = configure(
            default_registry(),
            ipc=options.ipc,
            students=1,
            settings=list(self.settings.items()),
            **self.common,
        )
        self.dataset = real_dataset(self.config.recipe, self.config.machine, default_registry())
        taught = self._run(f"teacher-{seed}", ipc=1, more={"recover.iterations": 1})
        self.weights = taught.path / "teacher.safetensors"

    def _run(self, name: str, *, ipc: int, more: Mapping[str, Any]) -> condense.RunResult:
        """Condense the images and train no student."""
        settings = list({**self.settings, **more}.items())
        where = {"out": self.out, "name": name, "teachers": self.out / "teachers"}
        return condense.run(ipc=ipc, students=0, settings=settings, **where, **self.common)

    def teacher(self, runtime: Runtime) -> Network:
        """Return the teacher."""
        network = fresh_teacher(
            self.config.recipe, self.dataset, default_registry(), runtime, to_be_filled=True
        )
        load_checkpoint(network, self.weights)
        return network.frozen()

    def student(self, runtime: Runtime, draws: torch.Generator) -> Network:
        """Return a new student."""
        use = self.config.evaluation.student_network(self.config.recipe.teacher)
        return build_network(use, self.dataset, default_registry(), runtime, draws)

    def asked(self) -> plain_way.Asked:
        """Return the settings of the plain way, from those of condense."""
        recipe, protocol, dataset = self.config.recipe, self.config.evaluation.protocol, self.dataset
        crop, student_crop = recipe.recover.augment.crop_scale, protocol.augment.crop_scale
        assert crop and student_crop
        return plain_way.Asked(
            classes=len(dataset.classes),
            size=dataset.size,
            mean=dataset.mean,
            std=dataset.std,
            ipc=recipe.ipc,
            iterations=recipe.recover.iterations,
            batch=recipe.recover.batch,
            lr=recipe.recover.lr,
            betas=recipe.recover.betas,
            crop=crop,
            shift=round(recipe.recover.augment.jitter * dataset.size),
            barycenter=recipe.targets["barycenter"].weight,
            statistics=recipe.regularizers["class-batchnorm"].weight,
            epochs=protocol.epochs,
            student_batch=protocol.batch_size,
            student_lr=protocol.lr,
            weight_decay=protocol.weight_decay,
            temperature=protocol.temperature,
            student_crop=student_crop,
            cutmix=protocol.augment.cutmix,
            workers=self.options.workers,
        )

    def tested(
        self, watch: StopWatch, outcome: Outcome, student: Network, runtime: Runtime, epoch: int
    ) -> None:
        """Add a test of the student after an epoch, if it is one of those that are tested."""
        epochs = self.config.evaluation.protocol.epochs
        if epoch % self.options.every and epoch != epochs:
            return
        seconds = watch.seconds()
        with watch.paused():
            reached = accuracy(student, self.dataset.test, self.dataset, runtime)
            student.model.train()
        outcome.tests.append((epoch, seconds, reached))

    def plain(self) -> Outcome:
        """Go the plain way."""
        runtime, asked = make_runtime(self.options.device, "fp32"), self.asked()
        teacher = self.teacher(runtime)
        student = self.student(runtime, generator(self.seed, "evaluate", 0, "weights"))
        folder, real = self.out / f"plain-{self.seed}", self.dataset.train
        with isolated_global_rng(generator(self.seed, "plain")):
            watch = StopWatch(runtime.device)
            plain_way.condensed(teacher.model, real.images, real.labels, asked, folder)
            outcome = Outcome(until_images=watch.seconds())
            plain_way.train_student(
                student.model,
                teacher.model,
                folder,
                asked,
                lambda epoch: self.tested(watch, outcome, student, runtime, epoch),
            )
        return outcome

    def condense(self) -> Outcome:
        """Go condense's way."""
        runtime, evaluation = make_runtime(self.options.device, "auto"), self.config.evaluation
        teacher = self.teacher(runtime)
        watch, built = StopWatch(runtime.device), []
        made = self._run(f"condense-{self.seed}", ipc=self.options.ipc, more={})
        untimed = made.seconds["squeeze"]
        outcome = Outcome(until_images=watch.seconds() - untimed)
        epochs = iter(range(1, evaluation.protocol.epochs + 1))

        def built_student(draws: torch.Generator) -> Network:
            built.append(self.student(runtime, draws))
            return built[0]

        def after_epoch() -> None:
            self.tested(watch, outcome, built[0], runtime, next(epochs))

        with process_settings(runtime):
            StudentEvaluator(NoOptions()).evaluate(
                EvaluationRequest(
                    distilled=made.distilled,
                    dataset=self.dataset,
                    protocol=evaluation.protocol,
                    student=0,
                    seed=self.seed,
                    build_student=built_student,
                    teacher=teacher,
                    runtime=replace(runtime, reporter=AfterEpoch(after_epoch)),
                )
            )
        outcome.tests = [(epoch, seconds - untimed, reached) for epoch, seconds, reached in outcome.tests]
        return outcome
