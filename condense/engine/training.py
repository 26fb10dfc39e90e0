"""The training loop and the accuracy measurement, shared by teachers and students."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.cutmix import mix_labels
from condense.data.dataset import RealDataset, Split
from condense.data.feed import Batch, feed_of
from condense.engine.unfinished import KeptTraining
from condense.errors import NumericalError
from condense.models.network import Network
from condense.recipe.training import Augment, Optimizer, Training
from condense.runtime import Runtime


class TrainingFeed(Protocol):
    """A source of batches for `train`, such as `condense.data.feed.Feed`."""

    def training_steps(self, batch_size: int) -> int:
        """Return the number of batches that `training_batches` yields."""

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield every image once, in an order and with views drawn from `generator`."""


# Returns the mean loss of a batch, given the batch and the network's logits (B, K).
BatchLoss = Callable[[Batch, Tensor], Tensor]


def make_optimizer(
    name: Optimizer,
    parameters: Sequence[Tensor],
    *,
    lr: float,
    momentum: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return an optimizer of weights or pixels. momentum: for sgd. betas: for adam and adamw."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    raise ValueError(f"unknown optimizer {name!r}")


def optimizer_of(network: Network, options: Training) -> torch.optim.Optimizer:
    """Return the optimizer of one training, of those weights of a network that take gradients."""
    return make_optimizer(
        options.optimizer,
        [parameter for parameter in network.model.parameters() if parameter.requires_grad],
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
    )


def learning_rate_fraction(schedule: str, step: int, steps: int) -> float:
    """Return the fraction of the initial learning rate at `step` t of `steps` T.

    cosine       (1 + cos(pi t / T)) / 2, down to 0
    half-cosine  (1 + cos(pi t / (2 T))) / 2, down to 1/2 (RDED, Sun et al., CVPR 2024, published code)
    constant     1
    halfway      1 before T / 2, 0.1 from then on
    two-drops    1 before 2 T / 3, 0.2 from then on, 0.04 from 5 T / 6 on (IDC, Kim et al., ICML 2022, published code)
    four-halvings  1 / 2^floor(5 t / T), so 1/16 in the last fifth (NCFM, Wang et al., CVPR 2025, published code)
    """
    if schedule in ("cosine", "half-cosine"):
        whole = max(steps, 1) * (2 if schedule == "half-cosine" else 1)
        return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / whole, dtype=torch.float64))))
    if schedule == "halfway":
        return 1.0 if step < steps // 2 else 0.1
    if schedule == "two-drops":
        return 0.2 ** ((3 * step >= 2 * steps) + (6 * step >= 5 * steps))
    if schedule == "four-halvings":
        return 0.5 ** min(4, 5 * step // max(steps, 1))
    if schedule == "constant":
        return 1.0
    raise ValueError(f"unknown schedule {schedule!r}")


def hard_loss(weights: Tensor | None = None) -> BatchLoss:
    """Return the cross-entropy with a batch's labels, as a function. CutMix mixes labels as it mixes pixels.

    weights: (n,) factors for the loss of each image of the feed, or None.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        if batch.mix is None:
            each = F.cross_entropy(logits, batch.labels, reduction="none")
        else:
            mixed = mix_labels(F.one_hot(batch.labels, logits.shape[1]).float(), batch.mix)
            each = F.cross_entropy(logits, mixed, reduction="none")
        return _weighted_mean(each, weights, batch)

    return loss


def distillation_loss(
    teach: Callable[[Batch], Tensor], temperature: float, weights: Tensor | None = None
) -> BatchLoss:
    """Return the loss of a student that learns a teacher's answers; see `divergence`.

    teach: returns the teacher's probabilities (B, K) at temperature T for a batch.
    temperature: T.
    weights: (n,) factors for the loss of each image of the feed, or None.
    """
    return lambda batch, logits: divergence(batch, logits, teach(batch), temperature, weights)


def divergence(
    batch: Batch, logits: Tensor, taught: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """Return KL(softmax(teacher / T) || softmax(student / T)), averaged over images, as in FKD (no factor T^2).

    logits: (B, K) of the student. taught: (B, K), the teacher's probabilities at temperature T.
    temperature: T. weights: (n,) factors for the loss of each image of the feed, or None.
    """
    predicted = F.log_softmax(logits / temperature, dim=1)
    each = F.kl_div(predicted, taught, reduction="none").sum(dim=1)
    return _weighted_mean(each, weights, batch)


def answers_loss(teacher: Network, temperature: float) -> BatchLoss:
    """Return the distillation loss to a teacher's answers to every view, through which gradients flow as well."""

    def teach(batch: Batch) -> Tensor:
        return torch.softmax(teacher.logits(batch.images) / temperature, dim=1)

    return distillation_loss(teach, temperature)


def _weighted_mean(each: Tensor, weights: Tensor | None, batch: Batch) -> Tensor:
    if weights is None:
        return each.mean()
    return (each * weights[batch.indices.to(weights.device)]).mean()


def train(
    network: Network,
    feed: TrainingFeed,
    loss: BatchLoss,
    options: Training,
    *,
    generator: torch.Generator,
    runtime: Runtime,
    what: str,
    optimizer: torch.optim.Optimizer | None = None,
    after_epoch: Callable[[int], None] | None = None,
    kept: KeptTraining | None = None,
    mean: Callable[[Tensor], Tensor] | None = None,
) -> int:
    """Train a network in place and return the number of steps. Batches, views and mixing are drawn from `generator`.

    what: the name of the training in errors.
    optimizer: of the network's weights, with the state of an earlier training; None makes a new one.
    after_epoch: called with the number of finished epochs.
    kept: keeps the training, which goes on where it was kept.
    mean: returns the mean of a loss over all processes that train the network together.

    The reporter advances by one after every epoch.
    Raises NumericalError if the loss is not finite at the end of an epoch.
    """
    network.model.train()
    if optimizer is None:
        optimizer = optimizer_of(network, options)
    per_epoch = feed.training_steps(options.batch_size)
    total = options.epochs * per_epoch
    done = kept.resume(optimizer, generator, options, steps=per_epoch, what=what) if kept else 0
    if done:
        runtime.reporter.advance(done)
    step = done * per_epoch
    for epoch in range(done, options.epochs):
        for batch in feed.training_batches(options.augment, options.batch_size, generator):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * learning_rate_fraction(options.schedule, step, total)
            network.begin_step()
            with runtime.autocast():
                logits = network.logits(batch.images)
            value = loss(batch, logits)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            step += 1
        last = float(mean(value.detach()) if mean else value.detach())
        if not math.isfinite(last):
            raise NumericalError(
                f"the loss of {what} became {last} in epoch {epoch + 1}; lower its learning rate (now "
                f"{options.lr}) or use --precision fp32"
            )
        runtime.reporter.advance(1, {"loss": last})
        if after_epoch:
            after_epoch(epoch + 1)
        if kept:
            kept.keep(epoch + 1, optimizer, generator, options, steps=per_epoch)
    network.model.eval()
    return step


@torch.no_grad()
def accuracy(
    network: Network, split: Split, dataset: RealDataset, runtime: Runtime, batch_size: int | None = None
) -> float:
    """Return the fraction of a split's images that the network classifies correctly, in [0, 1], in eval mode.

    batch_size: None means 512, or 64 on a CPU: a layer's output then stays in the cache, and the time is
    little more than half.
    """
    feed = feed_of(split, dataset, runtime)
    if batch_size is None:
        batch_size = 64 if runtime.device.type == "cpu" else 512
    network.model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=runtime.device)
    for batch in feed.test_batches(batch_size):
        with runtime.autocast():
            predicted = network.logits(batch.images).argmax(dim=1)
        correct += (predicted == batch.labels).sum()
    return int(correct) / len(split)
