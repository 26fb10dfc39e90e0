"""A few timed steps of the real networks on made-up images, for `condense plan`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from condense.data.dataset import ImageSource, MemoryImages, RealDataset, Split
from condense.data.feed import Batch, Feed
from condense.data.parametrizations.base import coder_of
from condense.engine.build import build_losses
from condense.engine.chunks import Chunk, cut_chunks
from condense.engine.components import (
    EvaluationRequest,
    FeatureTarget,
    InitialRequest,
    WeightedLoss,
)
from condense.engine.initial import build_initializer
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.measure import measure
from condense.engine.plan import Plan
from condense.engine.pool import NetworkPool
from condense.engine.price import Footprint
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.training import BatchLoss, accuracy, hard_loss, train
from condense.engine.work import Counts, Work, chunk_sizes
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.training import Training
from condense.rng import generator, isolated_global_rng
from condense.runs.footprint import footprint
from condense.runs.made_up import Noise, noise_dataset, noise_feed, pool_of
from condense.runs.timing import SECONDS, seconds_of_step
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset

_BYTES = 2**28  # of the made-up images of one trial


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Times the steps of one run. Nothing is trained to an end and nothing is written.

    counts: of the dataset, a held-out part of it taken into account.
    """

    plan: Plan
    counts: Counts
    registry: Registry
    runtime: Runtime

    @cached_property
    def dataset(self) -> RealDataset:
        """Made-up images of all classes."""
        return noise_dataset(self.counts, self.counts.classes)

    @cached_property
    def teacher(self) -> Network:
        """The teacher's network with new weights; pretrained weights are not fetched."""
        return self._network(self.plan.recipe.teacher.model, self.dataset).frozen()

    def _network(self, use: Use, dataset: RealDataset) -> Network:
        if use.options.get("pretrained"):
            use = replace(use, options={**use.options, "pretrained": False})
        return build_network(use, dataset, self.registry, self.runtime, generator(0, "plan", use.name))

    def _student(self, stage: str) -> Network:
        """Return a student that is evaluated, or one that judges in the stage "select"."""
        recipe = self.plan.recipe
        judge = recipe.judge_network if stage == "select" else None
        return self._network(judge or self.plan.evaluation.student_network(recipe.teacher), self.dataset)

    def footprints(self) -> dict[str, Footprint]:
        """Return the memory of each network that the run has: "teacher", "random", "pool", "student" and "judge"."""
        recipe = self.plan.recipe
        statistics = {statistic for loss in self.plan.losses for statistic in loss.needs.statistics}
        uses = {"teacher": recipe.teacher.model} if self.plan.needs_teacher else {}
        if any(loss.needs.network == "random" for loss in self.plan.losses):
            uses["random"] = recipe.random_network
        if self.plan.needs_pool:
            uses["pool"] = recipe.pool_network
        if self.plan.evaluation.students:
            uses["student"] = self.plan.evaluation.student_network(recipe.teacher)
        if self.plan.selects and recipe.judge_network:
            uses["judge"] = recipe.judge_network
        return {
            role: footprint(self._network(use, self.dataset), self.dataset, statistics, self.runtime)
            for role, use in uses.items()
        }

    def seconds(self, work: Iterable[Work]) -> dict[str, float]:
        """Return the seconds of each stage, from the time of a few steps of each part of its work."""
        found: dict[str, float] = {}
        for part in work:
            spent = self._of_part(part)
            found[part.stage] = found.get(part.stage, 0.0) + spent
        return found

    def _of_part(self, part: Work) -> float:
        recipe, evaluation = self.plan.recipe, self.plan.evaluation
        if part.step == "train" and part.stage in ("squeeze", "pool"):
            squeezed = part.stage == "squeeze"
            network = self._network(recipe.teacher.model if squeezed else recipe.pool_network, self.dataset)
            member, options = (network.members[0], recipe.teacher) if squeezed else (network, recipe.pool)
            images = Noise(pool_of(self.dataset), self.counts.train)
            return part.steps * self._training(member, images, self.dataset, options, hard_loss())
        if part.step == "train":
            judge = recipe.judge if part.stage == "select" else None
            protocol = judge or evaluation.protocol
            small, loss = self._distilled(protocol)
            made = self.counts.classes * self.plan.images_per_class
            images = Noise(small.images, min(made, len(small)))
            per_step = self._training(self._student(part.stage), images, self.dataset, protocol, loss)
            full = min(protocol.batch_size, made)
            return part.steps * per_step * full / min(protocol.batch_size, len(images))
        if part.step == "test":
            network = self.teacher if part.stage == "squeeze" else self._student(part.stage)
            return part.images * self._testing(network)
        if part.step == "label":
            return part.images * self._testing(self.teacher)
        if part.step == "observe":
            return self._measured[1]
        if part.step == "choose":
            initial = [recipe.initializer]
            if part.stage == "select":
                initial += [Use(name=spec.name) for spec in self.plan.starts]
            return self.counts.classes * sum(map(self._choosing, initial))
        if part.step == "recover":
            return self._recovering(part)
        raise ValueError(f"unknown step {part.step!r}")

    def _training(
        self, network: Network, images: ImageSource, dataset: RealDataset, options: Training, loss: BatchLoss
    ) -> float:
        """Return the seconds of one training step at the real batch size, also where an epoch is one batch."""
        batch = min(options.batch_size, len(images))
        draws = generator(0, "plan", "steps")

        def steps(count: int) -> None:
            chosen = torch.arange(batch * count) % len(images)
            feed = Feed(
                MemoryImages(images.read(chosen)),
                chosen % len(dataset.classes),
                size=dataset.size,
                mean=dataset.mean,
                std=dataset.std,
                runtime=self.runtime,
            )
            once = replace(options, epochs=1, batch_size=batch)
            with isolated_global_rng(draws):
                train(network, feed, loss, once, generator=draws, runtime=self.runtime, what="a trial")

        return seconds_of_step(
            steps, self.runtime, most=max(1, _BYTES // (batch * self.counts.bytes_of_image))
        )

    def _distilled(self, protocol: Protocol) -> tuple[DistilledDataset, BatchLoss]:
        """Return a made-up distilled dataset, large enough for a batch, and the loss of the protocol."""
        classes = self.counts.classes
        ipc = max(1, min(self.plan.images_per_class, -(-protocol.batch_size // classes)))
        count = classes * ipc
        labels = LABELS[protocol.labels]
        asked = LabelledBy(network=self.teacher) if labels.need_teacher(1) else None
        distilled = DistilledDataset(
            images=Noise(pool_of(self.dataset), count).read(torch.arange(count)),
            labels=torch.arange(classes).repeat_interleave(ipc),
            slots=torch.arange(ipc).repeat(classes),
            weights=torch.full((count,), 1 / ipc),
            classes=self.dataset.classes,
            mean=self.dataset.mean,
            std=self.dataset.std,
            ipc=ipc,
        )
        distilled = labels.attach(distilled, asked, self.runtime)
        request = EvaluationRequest(
            distilled=distilled,
            dataset=self.dataset,
            protocol=protocol,
            student=0,
            seed=0,
            build_student=lambda _: self._student("evaluate"),
            teacher=labels.during_training(asked),
            runtime=self.runtime,
        )
        loss = labels.loss(request)

        def any_index(batch: Batch, logits: Tensor) -> Tensor:
            """The feed of a trial is longer than the dataset, whose labels are looked up by index."""
            return loss(replace(batch, indices=batch.indices % count), logits)

        return distilled, any_index

    def _testing(self, network: Network) -> float:
        """Return the seconds to classify one image."""
        count = 64 if self.runtime.device.type == "cpu" else 512

        def batches(many: int) -> None:
            split = Split(
                Noise(pool_of(self.dataset), count * many), torch.zeros(count * many, dtype=torch.int64)
            )
            accuracy(network, split, self.dataset, self.runtime)

        return seconds_of_step(batches, self.runtime) / count

    @cached_property
    def _trial(self) -> tuple[RealDataset, tuple[WeightedLoss, ...], Network | None]:
        """Fewer classes, as many as one chunk has, with losses and a teacher for them."""
        recipe = self.plan.recipe
        held = self.plan.images_per_stored
        size = max(chunk_sizes(self.counts.classes, recipe.ipc, recipe.recover, held)) // held
        per_chunk = -(-size // recipe.ipc) if recipe.recover.chunk == "classes" else size
        dataset = noise_dataset(self.counts, max(2, min(self.counts.classes, per_chunk)))
        teacher = self._network(recipe.teacher.model, dataset).frozen() if self.plan.needs_teacher else None
        return dataset, build_losses(self.plan), teacher

    @cached_property
    def _measured(self) -> tuple[tuple[WeightedLoss, ...], float]:
        """The losses, fitted to a part of the images, and the seconds that all images and classes would take.

        The seconds of two numbers of images give those of one more image, and those of a class whatever its images.
        """
        recipe, made = self.plan.recipe, self.plan.images_per_class
        dataset, losses, teacher = self._trial
        if not self.plan.measures or teacher is None:
            return losses, 0.0
        classes = len(dataset.classes)
        most = len(dataset.train) // classes

        def spent(each: int) -> float:
            total = each * classes
            shown = Split(Noise(pool_of(dataset), total), torch.arange(total) % classes)
            part, batch = replace(dataset, train=shown), recipe.teacher.measure_batch
            began = time.perf_counter()
            measure(
                losses,
                teacher,
                part,
                self.runtime,
                batch_size=batch,
                seed=0,
                ipc=made,
                views=recipe.recover.measured_views,
                augment=recipe.recover.augment,
            )
            return time.perf_counter() - began

        few = min(most, made + 1)
        first = spent(few)  # imports and compiles
        if first > 4 * SECONDS:
            return losses, first * self.counts.train / (few * classes)
        fixed = spent(few)
        many = min(most, 2 * few + int(few * SECONDS / max(fixed, 1e-9)))
        per_image = max(0.0, spent(many) - fixed) / ((many - few) * classes) if many > few else 0.0
        per_class = max(0.0, fixed - per_image * few * classes) / classes
        return losses, per_class * self.counts.classes + per_image * self.counts.train

    def _choosing(self, use: Use) -> float:
        """Return the seconds in which an initializer makes the first images of one class."""
        dataset, _, teacher = self._trial
        losses, _ = self._measured
        initializer = build_initializer(use, self.registry, self.plan.recipe.seed)
        request = InitialRequest(
            label=0,
            ipc=self.plan.images_per_class,
            dataset=dataset,
            generator=generator(0, "plan", "initialize"),
            targets=tuple(loss.loss for loss in losses if isinstance(loss.loss, FeatureTarget)),
            teacher=teacher,
            runtime=self.runtime,
        )

        def choose(times: int) -> None:
            for _ in range(times):
                initializer.images(request)

        return seconds_of_step(choose, self.runtime)

    def _recovering(self, part: Work) -> float:
        recipe = self.plan.recipe
        dataset, _, teacher = self._trial
        losses, _ = self._measured
        classes = len(dataset.classes)
        coder = coder_of(recipe.parametrization, self.registry)
        wanted = cut_chunks(classes, recipe.ipc, recipe.recover, coder.images_per_stored)[0]
        shown = coder.of_decoded(wanted)
        per_class = self.plan.images_per_class
        chunk = Chunk(
            index=0,
            labels=shown // per_class,
            slots=shown % per_class,
            weights=torch.full((len(shown),), 1 / per_class),
            images=torch.randn(len(wanted), *dataset.train.images.shape),
        )
        draws = generator(0, "plan", "recover")

        def fresh(of: torch.Generator) -> Network:
            return self._network(recipe.random_network, dataset)

        real = None
        if recipe.recover.inner_on == "real":
            real = noise_feed(dataset, self.counts.train, self.runtime)

        def steps(count: int) -> None:
            # Of several networks in turn, all but the first may be trained ahead, which is counted apart.
            options = replace(recipe.recover, iterations=count, networks=1)
            with isolated_global_rng(draws):
                recover_chunk(
                    chunk,
                    losses,
                    Networks(teacher, fresh, pool=self._untrained_pool(dataset), real=real),
                    options,
                    dataset,
                    generator=draws,
                    runtime=self.runtime,
                    log=lambda _iteration, _losses: None,
                    coder=coder,
                    checks=False,
                )

        sizes = chunk_sizes(self.counts.classes, recipe.ipc, recipe.recover, coder.images_per_stored)
        share = sum(sizes) / (len(sizes) * len(shown))
        return part.steps * share * seconds_of_step(steps, self.runtime, least=3)

    def _untrained_pool(self, dataset: RealDataset) -> NetworkPool | None:
        """Return a pool of one network whose states are all alike, or None if no loss looks through a pool."""
        if not self.plan.needs_pool:
            return None
        use = self.plan.recipe.pool_network
        state = self._network(use, dataset).model.state_dict()
        options = replace(self.plan.recipe.pool, networks=1, checkpoints=1)
        return NetworkPool(options, lambda _: (state, state), lambda _: self._network(use, dataset))
