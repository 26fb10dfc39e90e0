"""Make a distilled dataset from fitted losses: initial images, chunks, assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.data.parametrizations.base import Coder
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.data.pixels import to_bytes
from condense.engine.components import FeatureTarget, Initializer, InitialRequest, WeightedLoss
from condense.engine.imported import Imported
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

    losses, initializer, coder: built from the plan; the losses are fitted.
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
    coder: Coder = AS_THEY_ARE
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
        return self._assemble(self._recovered(), self._slot_weights(), self.recipe.method, self.coder)

    def reference(self) -> DistilledDataset:
        """Return a dataset of random real images with the same ipc, stored as they are."""
        chooser = RandomReal(NoOptions())
        classes = range(len(self.dataset.classes))
        mean, std = self.dataset.mean, self.dataset.std
        ipc = self.recipe.ipc
        images = [to_bytes(self._initial_images(chooser, label, ipc), mean, std) for label in classes]
        return self._assemble(torch.cat(images), _equal(len(classes), ipc), "random", AS_THEY_ARE)

    def _recovered(self) -> Tensor:
        """Return the stored images (K * ipc, C, H, W) uint8, ordered by class and slot."""
        config, held = self.recipe, self.coder.images_per_stored
        chunks = cut_chunks(len(self.dataset.classes), config.ipc, config.recover, held)
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
                    coder=self.coder,
                )
        else:
            self.runtime.reporter.advance(1)
        pixels = to_bytes(images, self.dataset.mean, self.dataset.std)
        write_tensors(stored, {"images": pixels})
        return pixels

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
            weights=self._slot_weights().flatten()[shown],
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
        if self.recipe.recover.chunk == "slots" and everything <= _KEPT_BYTES:
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
        wanted = (count, dataset.channels, dataset.size, dataset.size)
        if tuple(images.shape) != wanted or not images.is_floating_point():
            raise PluginError(
                f"initializer {type(initializer).__name__} gave {tuple(images.shape)} {images.dtype} for one class; "
                f"wanted are {wanted} of a float type"
            )
        return images.detach().float().cpu()

    def _slot_weights(self) -> Tensor:
        """Return (K, images per class): the weights of the first target that has any, of the initializer, or equal."""
        parts: tuple[FeatureTarget | Initializer, ...] = (*self.targets, self.initializer)
        for part in parts:
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
        append_line(
            self.folder.metrics, {"stage": "recover", "chunk": chunk, "iteration": iteration, **losses}
        )
        self.runtime.reporter.advance(0, losses)

    def _assemble(self, images: Tensor, weights: Tensor, method: str, coder: Coder) -> DistilledDataset:
        """Return the dataset of stored images. weights: (K, decoded images per class)."""
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


def _equal(classes: int, count: int) -> Tensor:
    """Return equal weights (classes, count)."""
    return torch.full((classes, count), 1 / count)
