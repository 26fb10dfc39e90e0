"""Students of one architecture that are trained at once, as one stack of networks.

A small network leaves most of a device idle: its kernels are short, and there is time between them. A stack runs the
same kernels once for all. Every student has its own weights, running statistics, order of images, views and mixing,
drawn as if it were alone. Sums are taken in another order, so results are equal within rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from condense.data.feed import Batch
from condense.engine.training import BatchLoss, TrainingFeed, learning_rate_fraction, make_optimizer
from condense.engine.unfinished import Unfinished
from condense.errors import ModelError, NumericalError
from condense.models.network import Network
from condense.recipe.training import Training
from condense.runtime import Runtime

# From the batches of M networks and their logits (M, B, K), the loss of each.
StackLoss = Callable[[Sequence[Batch], Tensor], list[Tensor]]


def each_by_itself(losses: Sequence[BatchLoss]) -> StackLoss:
    """Return the losses of a stack whose networks have nothing in common. losses: of each, as for `train`."""
    return lambda batches, logits: [
        loss(batch, own) for loss, batch, own in zip(losses, batches, logits, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Learner:
    """One network of a stack, and what is its own in training.

    network: trained in place. feed: its images, as many as those of the others.
    generator: the source of its batches, views and mixing.
    what: the name of the training, in errors and in what is kept of the stack. Each of a stack has another.
    """

    network: Network
    feed: TrainingFeed
    generator: torch.Generator
    what: str


def stackable(network: Network) -> bool:
    """Return whether a network can be trained in a stack: it draws nothing while it is trained, as dropout does."""
    return not any(
        isinstance(module, nn.modules.dropout._DropoutNd) or type(module).__name__ in _DRAWING
        for module in network.model.modules()
    )


# Layers of torchvision and timm that drop whole branches.
_DRAWING = ("StochasticDepth", "DropPath", "DropBlock2d", "PatchDropout")


def train_together(
    learners: Sequence[Learner],
    losses: StackLoss,
    options: Training,
    runtime: Runtime,
    unfinished: Unfinished | None = None,
) -> int:
    """Train networks of one architecture in place, and return the number of steps of each.

    losses: of the networks, in their order. unfinished: keeps the training, which goes on where it was kept.

    The reporter advances by the number of networks after every epoch. Raises NumericalError, which names the training,
    if a loss is not finite at the end of an epoch, and ModelError if the networks do not make a stack.
    """
    stack = Stack([learner.network for learner in learners])
    optimizer = make_optimizer(
        options.optimizer,
        [weight for weight in stack.weights.values() if weight.requires_grad],
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
    )
    per_epoch = _equal_steps(learners, options)
    total = options.epochs * per_epoch
    draws = [learner.generator for learner in learners]
    members = [learner.what for learner in learners]
    kept = unfinished.stack({**stack.weights, **stack.buffers}, members) if unfinished else None
    what = "the stack of " + " and ".join(members)
    done = kept.resume(optimizer, draws, options, steps=per_epoch, what=what) if kept else 0
    if done:
        runtime.reporter.advance(done * len(learners))
    step = done * per_epoch
    for epoch in range(done, options.epochs):
        for batches in zip(*_batches(learners, options), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * learning_rate_fraction(options.schedule, step, total)
            with runtime.autocast():
                logits = stack.logits(torch.stack([batch.images for batch in batches]))
            values = losses(batches, logits)
            optimizer.zero_grad(set_to_none=True)
            torch.stack(values).sum().backward()
            optimizer.step()
            step += 1
        _check_finite(learners, [value.detach() for value in values], epoch, options)
        mean = float(torch.stack(values).detach().mean())
        runtime.reporter.advance(len(learners), {"loss": mean})
        if kept:
            kept.keep(epoch + 1, optimizer, draws, options, steps=per_epoch)
    stack.give_back()
    return step


def _batches(learners: Sequence[Learner], options: Training) -> Iterable[Iterable[Batch]]:
    return [
        learner.feed.training_batches(options.augment, options.batch_size, learner.generator)
        for learner in learners
    ]


def _equal_steps(learners: Sequence[Learner], options: Training) -> int:
    steps = {learner.feed.training_steps(options.batch_size) for learner in learners}
    if len(steps) > 1:
        raise ModelError(f"networks of a stack take equally many steps, and these take {sorted(steps)}")
    return steps.pop()


def _check_finite(
    learners: Sequence[Learner], values: Sequence[Tensor], epoch: int, options: Training
) -> None:
    for learner, value in zip(learners, values, strict=True):
        if not bool(torch.isfinite(value)):
            raise NumericalError(
                f"the loss of {learner.what} became {float(value)} in epoch {epoch + 1}; lower its learning rate (now "
                f"{options.lr}) or use --precision fp32"
            )


class Stack:
    """The weights and buffers of M networks, (M, ...) each, and what runs them at once."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        models = [network.model.train() for network in networks]
        try:
            self.weights, self.buffers = stack_module_state(models)
        except RuntimeError as error:
            raise ModelError(f"these networks do not make a stack: {error}") from error
        self._form = copy.deepcopy(models[0]).to("meta")

    def logits(self, images: Tensor) -> Tensor:
        """Return logits (M, B, K) float32 of images (M, B, C, S, S). Running statistics are updated."""

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], own: Tensor) -> Tensor:
            result: Tensor = functional_call(self._form, (weights, buffers), (own,))
            return result

        # Each network in its own draws: a stack that drew would draw once for all.
        found: Tensor = vmap(one, randomness="error")(self.weights, self.buffers, images)
        return found.float()

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy weights and buffers into the networks, which are then in eval mode."""
        for index, network in enumerate(self._networks):
            for name, weight in network.model.named_parameters():
                weight.copy_(self.weights[name][index])
            for name, buffer in network.model.named_buffers():
                buffer.copy_(self.buffers[name][index])
            network.model.eval()
