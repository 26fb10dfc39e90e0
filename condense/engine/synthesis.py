"""Make a distilled dataset from fitted losses: initial images, chunks, assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.data.pixels import to_bytes
from condense.engine.components import FeatureTarget, Initializer, InitialRequest, WeightedLoss
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.plan import Plan
from condense.engine.pool import NetworkPool, States
from condense.engine.recover import Chunk, cut_chunks, recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import RandomReal
from condense.errors import PluginError
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import Recipe, dataset_label, public_settings
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime, convolutions
from condense.storage.distilled import DistilledDataset
from condense.storage.files import append_line, file_hash
from condense.storage.run_folder import RunFolder
from condense.storage.tensors import read_tensors, write_tensors
from condense.text import counted

# Maximum size, as float32, of the initial images of all classes that stay in memory between chunks of slots.
_KEPT_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Makes the images of a distilled dataset. Finished chunks are kept in `folder` and not made again.

    losses, initializer: built from the plan; the losses are fitted.
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
    states: States | None = None
    _kept: dict[int, Tensor] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.plan.recipe

    @property
    def targets(self) -> tuple[FeatureTarget, ...]:
        """The fitted feature targets."""
        return tuple(loss.loss for loss in self.losses if isinstance(loss.loss, FeatureTarget))

    def distilled(self) -> DistilledDataset:
        """Recover every chunk and return the distilled dataset."""
        return self._assemble(self._recovered(), self._slot_weights(), self.recipe.method)

    def reference(self) -> DistilledDataset:
        """Return a dataset of random real images with the same ipc."""
        chooser = RandomReal(NoOptions())
        classes = range(len(self.dataset.classes))
        mean, std = self.dataset.mean, self.dataset.std
        images = torch.cat([to_bytes(self._initial_images(chooser, label), mean, std) for label in classes])
        return self._assemble(images, self._equal(), "random")

    def _recovered(self) -> Tensor:
        """Return (K * ipc, C, H, W) uint8, ordered by class and slot."""
        config = self.recipe
        chunks = cut_chunks(len(self.dataset.classes), config.ipc, config.recover)
        steps = self.recipe.recover.iterations
        self.runtime.reporter.start(
            "recover",
            counted(len(chunks), "chunk"),
            max(1, steps) * len(chunks),
            "step" if steps else "chunk",
        )
        finished = [self._chunk_pixels(index, images, steps) for index, images in enumerate(chunks)]
        self.runtime.reporter.finish()
        return torch.cat(finished)[torch.argsort(torch.cat(chunks))]

    def _chunk_pixels(self, index: int, wanted: Tensor, steps: int) -> Tensor:
        stored = self.folder.chunk(index)
        if stored.exists():
            self.runtime.reporter.advance(max(1, steps))
            return read_tensors(stored)[0]["images"]
        chunk = self._initial_chunk(index, wanted)
        images = chunk.images
        if steps:
            draws = generator(self.recipe.seed, "recover", "chunk", index)
            exact = any(loss.needs.float32 for loss in self.losses)
            with isolated_global_rng(draws), convolutions(tf32=self.runtime.bf16 and not exact):
                images = recover_chunk(
                    chunk,
                    self.losses,
                    self._networks(),
                    self.recipe.recover,
                    self.dataset,
                    generator=draws,
                    runtime=self.runtime,
                    log=lambda iteration, losses: self._log(index, iteration, losses),
                )
        else:
            self.runtime.reporter.advance(1)
        pixels = to_bytes(images, self.dataset.mean, self.dataset.std)
        write_tensors(stored, {"images": pixels})
        return pixels

    def _initial_chunk(self, index: int, wanted: Tensor) -> Chunk:
        """Return a chunk before recovery. wanted: (n,) int64, class * ipc + slot of each image."""
        ipc = self.recipe.ipc
        labels, slots = wanted // ipc, wanted % ipc
        images = torch.cat(
            [self._of_class(label)[slots[labels == label]] for label in torch.unique(labels).tolist()]
        )
        by_class = torch.argsort(labels, stable=True)
        return Chunk(
            index=index,
            labels=labels,
            slots=slots,
            weights=self._slot_weights().flatten()[wanted],
            images=images[torch.argsort(by_class)],
        )

    def _of_class(self, label: int) -> Tensor:
        """Return the initial images of a class, (ipc, C, H, W) float32.

        Every chunk of slots needs every class, so the images are kept in memory if those of all classes fit.
        """
        if label in self._kept:
            return self._kept[label]
        images = self._initial_images(self.initializer, label)
        everything = images.numel() * images.element_size() * len(self.dataset.classes)
        if self.recipe.recover.chunk == "slots" and everything <= _KEPT_BYTES:
            self._kept[label] = images
        return images

    def _initial_images(self, initializer: Initializer, label: int) -> Tensor:
        dataset, ipc = self.dataset, self.recipe.ipc
        images = initializer.images(
            InitialRequest(
                label=label,
                ipc=ipc,
                dataset=dataset,
                generator=generator(self.recipe.seed, "initialize", label),
                targets=self.targets,
                teacher=self.teacher,
                runtime=self.runtime,
            )
        )
        wanted = (ipc, dataset.channels, dataset.size, dataset.size)
        if tuple(images.shape) != wanted or not images.is_floating_point():
            raise PluginError(
                f"initializer {type(initializer).__name__} gave {tuple(images.shape)} {images.dtype} for one class; "
                f"wanted are {wanted} of a float type"
            )
        return images.detach().float().cpu()

    def _equal(self) -> Tensor:
        ipc = self.recipe.ipc
        return torch.full((len(self.dataset.classes), ipc), 1 / ipc)

    def _slot_weights(self) -> Tensor:
        """Return (K, ipc): the weights of the first target that has any, those of the initializer, or equal weights."""
        parts: tuple[FeatureTarget | Initializer, ...] = (*self.targets, self.initializer)
        for part in parts:
            weights = part.slot_weights()
            if weights is not None:
                return weights.cpu()
        return self._equal()

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
        append_line(
            self.folder.metrics, {"stage": "recover", "chunk": chunk, "iteration": iteration, **losses}
        )
        self.runtime.reporter.advance(0, losses)

    def _assemble(self, images: Tensor, weights: Tensor, method: str) -> DistilledDataset:
        recipe, dataset, teacher = self.recipe, self.dataset, self.labelled_by()
        classes, ipc = len(dataset.classes), recipe.ipc
        public_name = dataset_label(dataset.name)
        distilled = DistilledDataset(
            images=images,
            labels=torch.arange(classes).repeat_interleave(ipc),
            slots=torch.arange(ipc).repeat(classes),
            weights=weights.flatten(),
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
            ipc=ipc,
            name=f"{method}-{public_name}-{ipc}ipc",
            method=method,
            dataset=public_name,
            teacher_hash=teacher.hash if teacher else "",
            settings=public_settings(recipe, self.plan.evaluation),
            licence=dataset.licence,
            source=dataset.source,
        )
        # A run without students may have no teacher; its labels then stay hard.
        mode = self.plan.evaluation.protocol.labels if teacher else "hard"
        return LABELS[mode].attach(distilled, teacher, self.runtime)

    def labelled_by(self) -> LabelledBy | None:
        """Return the teacher with its file, or None in a run without one."""
        if self.teacher is None:
            return None
        file = self.folder.teacher
        if not file.exists():
            return LabelledBy(network=self.teacher)
        return LabelledBy(network=self.teacher, hash=file_hash(file), bytes=file.stat().st_size)
