"""Make a distilled dataset from fitted losses: initial images, chunks, assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.data.parametrizations.base import Coder
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.data.pixels import to_bytes
from condense.engine.build import restored_losses
from condense.engine.chunks import Chunk, cut_chunks
from condense.engine.components import FeatureTarget, Initializer, InitialRequest, WeightedLoss
from condense.engine.imported import Imported
from condense.engine.kept_recovery import KeptRecovery
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.plan import Plan
from condense.engine.pool import NetworkPool, States
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import RandomReal
from condense.engine.unfinished import Unfinished
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import Recipe, dataset_label, public_settings
from condense.recipe.protocol import LabelMode
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions, Origin
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime, convolutions
from condense.storage.distilled import DistilledDataset
from condense.storage.files import append_line, file_hash
from condense.storage.run_folder import RunFolder
from condense.storage.tensors import read_tensors, tensor_of, tensors_to_bytes

# Maximum size, as float32, of the initial images of all classes that stay in memory between chunks of slots.
_KEPT_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Makes the images of a distilled dataset, chunk by chunk in any order. Chunks are files of `folder`.

    losses, initializer, coder: built from the plan. The losses are not fitted: they say what they need.
    state: what the losses measured, as `condense.engine.build.state_of` gives it.
    states: of the networks of the pool, or None if no loss looks through one.
    """

    plan: Plan
    losses: tuple[WeightedLoss, ...]
    initializer: Initializer
    dataset: RealDataset
    teacher: Network | None
    folder: RunFolder
    registry: Registry
    runtime: Runtime
    state: Mapping[str, Tensor] = field(default_factory=dict)
    states: States | None = None
    coder: Coder = AS_THEY_ARE
    _kept: dict[int, Tensor] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.plan.recipe

    @property
    def targets(self) -> tuple[FeatureTarget, ...]:
        """The fitted feature targets, restored anew each time that they are asked for."""
        targets = tuple(loss for loss in self.plan.losses if loss.kind == "feature target")
        restored = restored_losses(replace(self.plan, losses=targets), self.state)
        return tuple(loss.loss for loss in restored if isinstance(loss.loss, FeatureTarget))

    def distilled(self) -> DistilledDataset:
        """Return the distilled dataset of the chunks in the folder."""
        start = self.recipe.initializer.name
        origin: Origin = "synthetic" if self.recipe.recover.iterations else self.origin_of(start)
        return self.assembled(self.recovered(), self.slot_weights(), origin=origin)

    def assembled(
        self, images: Tensor, weights: Tensor, mode: LabelMode | None = None, *, origin: Origin = ""
    ) -> DistilledDataset:
        """Return the distilled dataset of stored images.

        images: (K * ipc, C, H, W) uint8, ordered by class and slot. weights: (K, decoded images per class).
        mode: of the labels; None: as the run's protocol has it. origin: what the images are.
        """
        return self._assemble(images, weights, self.recipe.method, self.coder, mode, origin)

    def origin_of(self, start: str) -> Origin:
        """Return what the images that recovery begins with are. start: the name of their initializer."""
        if isinstance(self.initializer, Imported):
            return self.initializer.origin
        return next(spec.origin for spec in self.plan.initializers if spec.name == start)

    def begun_with(self, initializer: Initializer) -> Synthesis:
        """Return the same synthesis with another initializer."""
        return replace(self, initializer=initializer, _kept={})

    def initial(self) -> Tensor:
        """Return the initial images of all classes as they would be saved, (K * ipc, C, H, W) uint8."""
        mean, std = self.dataset.mean, self.dataset.std
        classes = range(len(self.dataset.classes))
        return torch.cat([to_bytes(self._of_class(label), mean, std) for label in classes])

    def reference(self) -> DistilledDataset:
        """Return a dataset of random real images with the same ipc, stored as they are."""
        chooser = RandomReal(NoOptions())
        classes = range(len(self.dataset.classes))
        mean, std = self.dataset.mean, self.dataset.std
        ipc = self.recipe.ipc
        images = [to_bytes(self._initial_images(chooser, label, ipc), mean, std) for label in classes]
        weights = _equal(len(classes), ipc)
        return self._assemble(torch.cat(images), weights, "random", AS_THEY_ARE, origin="real")

    def recovered(self, after: int | None = None) -> Tensor:
        """Return the stored images that chunks were recovered to, (K * ipc, C, H, W) uint8, ordered by class and slot.

        after: a number of iterations that `Plan.judged_after` names; None for all of them. Every chunk lies in the
        folder.
        """
        steps = self.recipe.recover.iterations
        name, chunks = _named(steps if after is None else after, steps), self.chunks()
        files = [self.folder.chunk(index) for index in range(len(chunks))]
        pixels = [
            self.stored(read_tensors(file)[0], name, len(chunk), file)
            for file, chunk in zip(files, chunks, strict=True)
        ]
        return torch.cat(pixels)[torch.argsort(torch.cat(chunks))]

    def chunks(self) -> list[Tensor]:
        """Return the stored images of each chunk, as `cut_chunks` does."""
        config = self.recipe
        held = self.coder.images_per_stored
        return cut_chunks(len(self.dataset.classes), config.ipc, config.recover, held)

    def _earlier(self) -> tuple[int, ...]:
        """Return after which iterations before the last one images are kept."""
        return tuple(after for after in self.plan.judged_after if after < self.recipe.recover.iterations)

    def recover(self, index: int, unfinished: Unfinished) -> None:
        """Recover a chunk, and write its file: the last images, and those of iterations that are judged.

        unfinished: keeps the recovery, which goes on where an earlier attempt was kept.
        """
        steps = self.recipe.recover.iterations
        chunk = self._initial_chunk(index, self.chunks()[index])
        images, seen = chunk.images, dict[str, Tensor]()
        mean, std, earlier = self.dataset.mean, self.dataset.std, self._earlier()

        def write(iteration: int, losses: Mapping[str, float]) -> None:
            self._log(index, iteration, losses)

        def look(after: int, pixels: Tensor) -> None:
            if after in earlier:
                seen[_named(after, steps)] = to_bytes(pixels.float().cpu(), mean, std)

        kept = KeptRecovery(unfinished, f"chunk {index}", seen, write)
        if steps:
            draws = generator(self.recipe.seed, "recover", "chunk", index)
            exact = any(loss.needs.float32 for loss in self.losses)
            with isolated_global_rng(draws), convolutions(tf32=self.runtime.bf16 and not exact):
                images = recover_chunk(
                    chunk,
                    restored_losses(self.plan, self.state),
                    self._networks(),
                    self.recipe.recover,
                    self.dataset,
                    generator=draws,
                    runtime=self.runtime,
                    log=kept.log,
                    coder=self.coder,
                    after_step=look if earlier else None,
                    kept=kept,
                )
        else:
            self.runtime.reporter.advance(1)
        seen[_named(steps, steps)] = to_bytes(images, mean, std)
        self.folder.checksums.write(self.folder.chunk(index), tensors_to_bytes(seen))
        unfinished.remove()

    def stored(self, tensors: Mapping[str, Tensor], name: str, count: int, file: Path) -> Tensor:
        """Return `count` images of a file as they are stored, (count, C, H, W) uint8, by their name.

        Raises StorageError for a file that holds something else.
        """
        shape = (count, self.dataset.channels, self.dataset.size, self.dataset.size)
        return tensor_of(tensors, name, shape, torch.uint8, file)

    def _initial_chunk(self, index: int, wanted: Tensor) -> Chunk:
        """Return a chunk before recovery. wanted: (m,) int64, class * ipc + number in it, of each stored image."""
        ipc = self.recipe.ipc
        labels, numbers = wanted // ipc, wanted % ipc
        images = torch.cat(
            [self._of_class(label)[numbers[labels == label]] for label in torch.unique(labels).tolist()]
        )
        by_class = torch.argsort(labels, stable=True)
        shown = self.coder.of_decoded(wanted)
        return Chunk(
            index=index,
            labels=shown // self.plan.images_per_class,
            slots=shown % self.plan.images_per_class,
            weights=self.slot_weights().flatten()[shown],
            images=images[torch.argsort(by_class)],
        )

    def _of_class(self, label: int) -> Tensor:
        """Return the initial images of a class as they are stored, (ipc, C, H, W) float32.

        Every chunk of slots needs every class, so the images are kept in memory if those of all classes fit.
        """
        if label in self._kept:
            return self._kept[label]
        if isinstance(self.initializer, Imported):
            images = self.initializer.stored(label, self.recipe.ipc, self.dataset, self.coder)
        else:
            shown = self._initial_images(self.initializer, label, self.plan.images_per_class)
            with torch.no_grad():
                images = self.coder.encode(shown).float()
        everything = images.numel() * images.element_size() * len(self.dataset.classes)
        if self.recipe.recover.chunk != "classes" and everything <= _KEPT_BYTES:
            self._kept[label] = images
        return images

    def _initial_images(self, initializer: Initializer, label: int, count: int) -> Tensor:
        dataset = self.dataset
        images = initializer.images(
            InitialRequest(
                label=label,
                ipc=count,
                dataset=dataset,
                generator=generator(self.recipe.seed, "initialize", label),
                targets=self.targets,
                teacher=self.teacher,
                runtime=self.runtime,
            )
        )
        return images.detach().float().cpu()

    def slot_weights(self, *, of_targets: bool = True) -> Tensor:
        """Return (K, decoded images per class): weights of the first target with any, of the initializer, or equal.

        of_targets: whether targets are asked.
        """
        targets = self.targets if of_targets else ()
        parts: tuple[FeatureTarget | Initializer, ...] = (*targets, self.initializer)
        for part in parts:
            with isolated_global_rng(generator(self.recipe.seed, "slot weights")):
                weights = part.slot_weights()
            if weights is not None:
                return weights.cpu()
        return _equal(len(self.dataset.classes), self.plan.images_per_class)

    def _networks(self) -> Networks:
        """Return what losses look through in one chunk."""
        pool, real = None, None
        if self.states is not None:
            pool = NetworkPool(self.recipe.pool, self.states, self._pool_network)
        if self.recipe.recover.inner_on == "real":
            real = feed_of(self.dataset.train, self.dataset, self.runtime)
        return Networks(self.teacher, self._fresh_network, pool=pool, real=real)

    def _pool_network(self, draws: torch.Generator) -> Network:
        return build_network(self.recipe.pool_network, self.dataset, self.registry, self.runtime, draws)

    def _fresh_network(self, draws: torch.Generator) -> Network:
        return build_network(self.recipe.random_network, self.dataset, self.registry, self.runtime, draws)

    def _log(self, chunk: int, iteration: int, losses: Mapping[str, float]) -> None:
        self.folder.check_there()
        append_line(
            self.folder.metrics_of("chunk", chunk),
            {"stage": "recover", "chunk": chunk, "iteration": iteration, **losses},
        )
        self.runtime.reporter.advance(0, losses)

    def _assemble(
        self,
        images: Tensor,
        weights: Tensor,
        method: str,
        coder: Coder,
        mode: LabelMode | None = None,
        origin: Origin = "",
    ) -> DistilledDataset:
        """Return the dataset of stored images. All but method and coder are as in `assembled`."""
        recipe, dataset, teacher = self.recipe, self.dataset, self.labelled_by()
        classes, ipc = len(dataset.classes), recipe.ipc
        per_class = ipc * coder.images_per_stored
        public_name = dataset_label(dataset.name)
        distilled = DistilledDataset(
            images=images,
            labels=torch.arange(classes).repeat_interleave(per_class),
            slots=torch.arange(per_class).repeat(classes),
            weights=weights.flatten(),
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
            ipc=ipc,
            coder=coder,
            name=f"{method}-{public_name}-{ipc}ipc",
            method=method,
            dataset=public_name,
            teacher_hash=teacher.hash if teacher else "",
            origin=origin,
            settings=public_settings(recipe, self.plan.evaluation),
            licence=dataset.licence,
            source=dataset.source,
        )
        # A run without students may have no teacher; its labels then stay hard.
        usual = self.plan.evaluation.protocol.labels if teacher else "hard"
        return LABELS[mode or usual].attach(distilled, teacher, self.runtime)

    def labelled_by(self) -> LabelledBy | None:
        """Return the teacher with its file, or None in a run without one."""
        if self.teacher is None:
            return None
        file = self.folder.teacher
        if not file.exists():
            return LabelledBy(network=self.teacher)
        return LabelledBy(network=self.teacher, hash=file_hash(file), bytes=file.stat().st_size)


def _named(after: int, steps: int) -> str:
    """Return the name, in the file of a chunk, of its images after a number of iterations of `steps`."""
    return "images" if after == steps else f"after-{after}"


def _equal(classes: int, count: int) -> Tensor:
    """Return equal weights (classes, count)."""
    return torch.full((classes, count), 1 / count)
