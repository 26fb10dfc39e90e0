"""The networks that losses look through while pixels are optimised: the teacher or random networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from condense.data.feed import Batch, augmented
from condense.engine.training import hard_loss, train
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.needs import Needs
from condense.recipe.training import Augment
from condense.rng import isolated_global_rng
from condense.runtime import Runtime, SilentReporter


class Networks:
    """Provides the networks for each step of one chunk.

    teacher: the frozen teacher; None if no loss looks through it.
    fresh: returns a network with weights drawn from a generator.
    """

    def __init__(self, teacher: Network | None, fresh: Callable[[torch.Generator], Network]) -> None:
        self._teacher, self._fresh = teacher, fresh
        self._current: Network | None = None

    def of_step(
        self, needs: Sequence[Needs], iteration: int, options: Recover, generator: torch.Generator
    ) -> dict[str, Network]:
        """Return one network for each kind, "teacher" and "random", that losses look through at this step.

        A teacher of several networks provides one network per step, in turn, as in the published code of
        G-VBSM (Shao et al., CVPR 2024). A random network is replaced every `options.network_steps` steps. It
        is in training mode; its weights take gradients if a loss needs them.
        """
        chosen: dict[str, Network] = {}
        if any(wanted.network == "teacher" for wanted in needs):
            assert self._teacher is not None, "the plan of a run says whether it needs a teacher"
            chosen["teacher"] = self._teacher.members[iteration % len(self._teacher.members)]
        looking = [wanted for wanted in needs if wanted.network == "random"]
        if looking:
            if self._current is None or iteration % options.network_steps == 0:
                self._current = self._fresh(generator)
            trainable = any(wanted.weight_gradients for wanted in looking)
            self._current.model.train().requires_grad_(trainable)
            chosen["random"] = self._current
        return chosen

    def learn(
        self,
        iteration: int,
        pixels: Tensor,
        labels: Tensor,
        options: Recover,
        *,
        generator: torch.Generator,
        runtime: Runtime,
    ) -> None:
        """Train the random network on the current synthetic images, if the method asks for it.

        This is the inner loop of DC (Zhao et al., ICLR 2021, algorithm 1). It is skipped after the last step,
        and before a step that takes a fresh network.
        """
        last = (iteration + 1) % options.network_steps == 0 or iteration + 1 == options.iterations
        if self._current is None or not options.inner.epochs or last:
            return
        self._current.model.requires_grad_(True)
        with isolated_global_rng(generator):
            train(
                self._current,
                PixelFeed(pixels, labels, runtime),
                hard_loss(),
                options.inner,
                generator=generator,
                runtime=replace(runtime, reporter=SilentReporter()),
                what="the random network of recover (recover.inner)",
            )


class PixelFeed:
    """Batches for training directly on synthetic pixels.

    pixels: (n, C, S, S) float32, normalised, on the device.
    labels: (n,) int64, on the device.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, runtime: Runtime) -> None:
        self._pixels, self._labels, self._runtime = pixels.detach(), labels, runtime

    def training_steps(self, batch_size: int) -> int:
        """Return the number of batches per epoch."""
        return -(-len(self._pixels) // batch_size)

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield every image once, without CutMix, in an order and with views drawn from `generator`."""
        for indices in torch.randperm(len(self._pixels), generator=generator).split(batch_size):
            placed = indices.to(self._pixels.device)
            images = augmented(self._pixels[placed], augment, self._pixels.shape[-1], generator)
            yield Batch(indices, self._labels[placed], self._runtime.images(images), None)
