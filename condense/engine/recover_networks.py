"""The networks that losses look through while pixels are optimised: the teacher, random networks or a pool."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from condense.data.cutmix import apply_cutmix
from condense.data.feed import Batch, Feed, augmented, mix_of
from condense.engine.epochs import unrolled_steps
from condense.engine.pool import Drawn, NetworkPool
from condense.engine.training import BatchLoss, TrainingFeed, answers_loss, hard_loss, optimizer_of, train
from condense.engine.unfinished import optimizer_state, set_optimizer, set_tensors, tensors_of
from condense.engine.unrolled import UnrolledStudent
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.needs import POOL_KINDS, Needs
from condense.recipe.training import Augment, Training
from condense.rng import isolated_global_rng
from condense.runtime import Runtime, SilentReporter
from condense.storage.tensors import tensors_below, tensors_of_parts


class Networks:
    """Provides the networks for each step of one chunk.

    teacher: the frozen teacher; None if no loss looks through it.
    fresh: returns a network with weights drawn from a generator.
    pool: the pool; None if no loss looks through one.
    real: the real images, for `Recover.inner_on`.
    """

    def __init__(
        self,
        teacher: Network | None,
        fresh: Callable[[torch.Generator], Network],
        *,
        pool: NetworkPool | None = None,
        real: Feed | None = None,
    ) -> None:
        self._teacher, self._fresh, self._pool, self._real = teacher, fresh, pool, real
        self._random: dict[int, Network] = {}
        self._unrolled: dict[int, UnrolledStudent] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        self._drawn: Drawn | None = None

    def of_step(
        self, needs: Sequence[Needs], iteration: int, options: Recover, generator: torch.Generator
    ) -> dict[str, Network]:
        """Return one network for each kind (`Needs.network`) that losses look through at this step.

        A teacher of several networks provides one network per step, in turn, as in the published code of
        G-VBSM (Shao et al., CVPR 2024). `options.networks` random networks take turns. Each is replaced after
        `options.network_steps` of its own steps, the first time earlier, so that their ages differ. The draw of a pool
        is replaced every `options.network_steps` steps. A random network is in training mode. Weights take gradients
        if a loss needs them. A student that is unrolled comes from `unrolled`.
        """
        chosen: dict[str, Network] = {}
        if any(wanted.network == "teacher" for wanted in needs):
            assert self._teacher is not None, "the plan of a run says whether it needs a teacher"
            chosen["teacher"] = self._teacher.members[iteration % len(self._teacher.members)]
        looking = [wanted for wanted in needs if wanted.network == "random"]
        if looking:
            turn = iteration % options.networks
            if turn not in self._random or _replaced(iteration, options):
                self._random[turn] = self._fresh(generator)
                self._optimizers.pop(f"random {turn}", None)
                self._unrolled.pop(turn, None)
            trainable = any(wanted.weight_gradients for wanted in looking)
            self._random[turn].model.train().requires_grad_(trainable)
            chosen["random"] = self._random[turn]
        return {**chosen, **self._from_pool(needs, iteration, options, generator)}

    def _from_pool(
        self, needs: Sequence[Needs], iteration: int, options: Recover, generator: torch.Generator
    ) -> dict[str, Network]:
        kinds = {wanted.network for wanted in needs} & set(POOL_KINDS)
        if not kinds:
            return {}
        assert self._pool is not None, "the plan of a run says whether it needs a pool"
        if self._drawn is None or iteration % options.network_steps == 0:
            self._drawn = self._pool.draw(generator)
            self._optimizers.pop("pool", None)
        networks = {"pool": self._drawn.mixed, "trained": self._drawn.trained}
        for kind in kinds:
            trainable = any(wanted.weight_gradients for wanted in needs if wanted.network == kind)
            networks[kind].model.requires_grad_(trainable)
        return {kind: networks[kind] for kind in sorted(kinds)}

    def unrolled(
        self,
        iteration: int,
        pixels: Tensor,
        labels: Tensor,
        options: Recover,
        generator: torch.Generator,
        runtime: Runtime,
    ) -> Network:
        """Train the student of this step on the synthetic images, and return it with a gradient to their pixels.

        pixels: (n, C, S, S), with a gradient. labels: (n,) int64. `of_step` has been called.

        Its training of earlier steps is taken as given. The first students of a chunk are trained ahead, so that their
        ages differ from the first step on.
        """
        turn, each = iteration % options.networks, unrolled_steps(options, len(pixels))
        loss = self._inner_loss(options)

        def steps(shown: Tensor) -> Iterator[Batch]:
            feed = PixelFeed(shown, labels, runtime)
            return itertools.islice(_epochs_of(feed, options.inner, generator), each)

        with isolated_global_rng(generator), runtime.autocast():
            if turn not in self._unrolled:
                student = self._student(turn, options, len(pixels))
                self._unrolled[turn] = student
                for _ in range(options.ahead(turn) if iteration < options.networks else 0):
                    student.train(steps(pixels.detach()), loss, through=False)
            self._unrolled[turn].settle()
            return self._unrolled[turn].train(steps(pixels), loss)

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
        """Train the random network, and the drawn one of a pool, if the method asks for it.

        The images are the current synthetic ones or real ones, as `options.inner_on` says.

        This is the inner loop of DC (Zhao et al., ICLR 2021, algorithm 1), or that of IDC (Kim et al., ICML 2022) with
        real images. It is skipped after the last step, and before a step that takes a fresh network. The optimizer,
        with its momentum, stays as long as the network does, as in the published code of both. A student that is
        unrolled has learned before the step, and nothing happens.
        """
        learning = self._learning(iteration, options) if options.inner.epochs and not self._unrolled else {}
        if not learning:
            return
        feed: TrainingFeed = PixelFeed(pixels.detach(), labels, runtime)
        if options.inner_on == "real":
            assert self._real is not None, "recover gives the real images to a method that trains on them"
            feed = SomeOf(self._real, options.inner_images)
        for kind, network in learning.items():
            mode = network.model.training
            network.model.requires_grad_(True)
            if kind not in self._optimizers:
                self._optimizers[kind] = optimizer_of(network, options.inner)
            with isolated_global_rng(generator):
                train(
                    network,
                    feed,
                    self._inner_loss(options),
                    options.inner,
                    generator=generator,
                    runtime=replace(runtime, reporter=SilentReporter()),
                    what=f"a network of recover ({kind}; recover.inner)",
                    optimizer=self._optimizers[kind],
                )
            network.model.train(mode)

    def state(self) -> dict[str, Tensor]:
        """Return everything that changes from step to step, as "kind of thing/which one/name of the tensor"."""
        parts: dict[str, Mapping[str, Tensor]] = {
            **{f"random/{turn}": tensors_of(network.model) for turn, network in self._random.items()},
            **{f"optimizers/{kind}": optimizer_state(own) for kind, own in self._optimizers.items()},
            **{f"unrolled/{turn}": student.state() for turn, student in self._unrolled.items()},
        }
        if self._pool and self._drawn:
            parts["pool/drawn"] = self._pool.state(self._drawn)
        return tensors_of_parts(parts)

    def restore(self, state: Mapping[str, Tensor], options: Recover, images: int) -> None:
        """Bring back what `state` returned. images: how many a student that is unrolled learns from."""
        for turn in range(options.networks):
            if found := tensors_below(state, f"random/{turn}"):
                self._random[turn] = self._fresh(torch.Generator())
                set_tensors(tensors_of(self._random[turn].model), found)
            if found := tensors_below(state, f"unrolled/{turn}"):
                self._unrolled[turn] = self._student(turn, options, images)
                self._unrolled[turn].restore(found)
        if found := tensors_below(state, "pool/drawn"):
            assert self._pool is not None, "the same recipe has the same pool"
            self._drawn = self._pool.drawn_again(found)
        learning = {f"random {turn}": network for turn, network in self._random.items()}
        if self._drawn:
            learning["pool"] = self._drawn.mixed
        for kind, network in learning.items():
            if found := tensors_below(state, f"optimizers/{kind}"):
                network.model.requires_grad_(True)
                self._optimizers[kind] = optimizer_of(network, options.inner)
                set_optimizer(self._optimizers[kind], found)

    def _student(self, turn: int, options: Recover, images: int) -> UnrolledStudent:
        """Return the student that is unrolled from a random network, before its first step."""
        each = unrolled_steps(options, images)
        return UnrolledStudent(self._random[turn], options.inner, options.network_steps * each)

    def _inner_loss(self, options: Recover) -> BatchLoss:
        """Return the loss of `Recover.inner`."""
        if options.inner_labels == "hard":
            return hard_loss()
        assert self._teacher is not None, "the plan of a run says whether it needs a teacher"
        return answers_loss(self._teacher, options.inner_temperature)

    def _learning(self, iteration: int, options: Recover) -> dict[str, Network]:
        """Return the networks of this step that are looked through again before they are replaced."""
        found: dict[str, Network] = {}
        turn, again = iteration % options.networks, iteration + options.networks
        if turn in self._random and again < options.iterations and not _replaced(again, options):
            found[f"random {turn}"] = self._random[turn]
        again = iteration + 1
        if self._drawn and again < options.iterations and again % options.network_steps:
            found["pool"] = self._drawn.mixed
        return found


def _replaced(iteration: int, options: Recover) -> bool:
    """Whether a step on one of the random networks begins with a fresh one."""
    turn, own_step = iteration % options.networks, iteration // options.networks
    return (own_step + options.ahead(turn)) % options.network_steps == 0


def _epochs_of(feed: TrainingFeed, options: Training, generator: torch.Generator) -> Iterator[Batch]:
    for _ in range(options.epochs):
        yield from feed.training_batches(options.augment, options.batch_size, generator)


class SomeOf:
    """Batches of real images, some of them in each epoch, drawn anew.

    feed: all of them.
    images: how many; 0: all.
    """

    def __init__(self, feed: Feed, images: int) -> None:
        self._feed, self._images = feed, images

    def training_steps(self, batch_size: int) -> int:
        """Return the number of batches per epoch."""
        return self._feed.training_steps(batch_size, self._images)

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield the images of one epoch, in an order and with views drawn from `generator`."""
        yield from self._feed.training_batches(augment, batch_size, generator, self._images)


class PixelFeed:
    """Batches for training directly on synthetic pixels, to which gradients of the batches flow.

    pixels: (n, C, S, S) float32, normalised, on the device.
    labels: (n,) int64, on the device.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, runtime: Runtime) -> None:
        self._pixels, self._labels, self._runtime = pixels, labels, runtime

    def training_steps(self, batch_size: int) -> int:
        """Return the number of batches per epoch."""
        return -(-len(self._pixels) // batch_size)

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield every image once, in an order and with views drawn from `generator`."""
        for indices in torch.randperm(len(self._pixels), generator=generator).split(batch_size):
            placed, size = indices.to(self._pixels.device), self._pixels.shape[-1]
            images = augmented(self._pixels[placed], augment, size, generator)
            mix = mix_of(augment, len(indices), size, generator)
            if mix is not None:
                images = apply_cutmix(images, mix)
            yield Batch(indices, self._labels[placed], self._runtime.images(images), mix)
