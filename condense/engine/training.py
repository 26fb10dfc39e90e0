"""The one training loop, for teachers and students, and the one accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.cutmix import mix_labels
from condense.data.dataset import RealDataset, Split
from condense.data.feed import Batch, Feed
from condense.errors import NumericalError
from condense.models.network import Network
from condense.recipe.training import Augment, Training
from condense.runtime import Runtime


class TrainingFeed(Protocol):
    """Where `train` gets its batches from: `condense.data.feed.Feed`, or anything like it."""

    def training_steps(self, batch_size: int) -> int:
        """How many batches `training_batches` gives."""

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Every image once, in an order and with views drawn from `generator`."""


# The mean loss of a batch, given the batch and the network's logits (B, K).
Loss = Callable[[Batch, Tensor], Tensor]


def make_optimizer(options: Training, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a training."""
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=options.lr,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            fused=True,
        )
    family = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return family(parameters, lr=options.lr, weight_decay=options.weight_decay, fused=True)


def learning_rate_share(schedule: str, step: int, steps: int) -> float:
    """The share of the first learning rate at `step` t of `steps` T: by the name of the schedule,

    cosine: (1 + cos(pi t / T)) / 2, to 0. half-cosine: (1 + cos(pi t / (2 T))) / 2, to 1/2 (RDED, Sun et al., CVPR
    2024, in its published code). constant: 1. halfway: 1, and a tenth from T / 2 on.
    """
    if schedule in ("cosine", "half-cosine"):
        whole = max(steps, 1) * (2 if schedule == "half-cosine" else 1)
        return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / whole, dtype=torch.float64))))
    if schedule == "halfway":
        return 1.0 if step < steps // 2 else 0.1
    return 1.0


def hard_loss(labels: Tensor, classes: int, weights: Tensor | None = None) -> Loss:
    """Cross-entropy with the class labels (n,) of all images; CutMix mixes labels as it mixes pixels.

    weights: (n,) a factor on the loss of each image, or None.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        chosen = labels[batch.indices.to(labels.device)]
        if batch.mix is None:
            each = F.cross_entropy(logits, chosen, reduction="none")
        else:
            shares = mix_labels(F.one_hot(chosen, classes).float(), batch.mix)
            each = F.cross_entropy(logits, shares, reduction="none")
        return _weighted_mean(each, weights, batch)

    return loss


def distillation_loss(
    teach: Callable[[Batch], Tensor], temperature: float, weights: Tensor | None = None
) -> Loss:
    """KL(softmax(teacher / T) || softmax(student / T)), averaged over images, as in FKD (no factor T^2).

    teach: the teacher's probabilities (B, K) at temperature T for a batch.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        predicted = F.log_softmax(logits / temperature, dim=1)
        each = F.kl_div(predicted, teach(batch), reduction="none").sum(dim=1)
        return _weighted_mean(each, weights, batch)

    return loss


def _weighted_mean(each: Tensor, weights: Tensor | None, batch: Batch) -> Tensor:
    if weights is None:
        return each.mean()
    return (each * weights[batch.indices.to(weights.device)]).mean()


def train(
    network: Network,
    feed: TrainingFeed,
    loss: Loss,
    options: Training,
    *,
    generator: torch.Generator,
    runtime: Runtime,
    what: str,
) -> int:
    """Train a network in place; the number of steps taken. Batches, views and mixing come from `generator`.

    what: names the training in errors. Advances the reporter by one for every epoch.
    Raises NumericalError when the loss is not finite at the end of an epoch.
    """
    network.model.train()
    parameters = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(options, parameters)
    total = options.epochs * feed.training_steps(options.batch_size)
    step = 0
    for epoch in range(options.epochs):
        for batch in feed.training_batches(options.augment, options.batch_size, generator):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * learning_rate_share(options.schedule, step, total)
            with runtime.autocast():
                logits = network.logits(batch.images)
            value = loss(batch, logits)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            step += 1
        last = float(value.detach())
        if not torch.isfinite(value):
            raise NumericalError(
                f"the loss of {what} became {last} in epoch {epoch + 1}; lower its learning rate (now "
                f"{options.lr}) or use --precision fp32"
            )
        runtime.reporter.advance(1, {"loss": last})
    network.model.eval()
    return step


@torch.no_grad()
def accuracy(
    network: Network, split: Split, dataset: RealDataset, runtime: Runtime, batch_size: int | None = None
) -> float:
    """The share of a split's images that the network classifies correctly, in [0, 1], in eval mode.

    batch_size: None takes 512, and 64 on a CPU, where a layer's output then stays in the cache: little more than half
    the time.
    """
    feed = Feed(split.images, size=dataset.size, mean=dataset.mean, std=dataset.std, runtime=runtime)
    labels = split.labels.to(runtime.device)
    if batch_size is None:
        batch_size = 64 if runtime.device.type == "cpu" else 512
    network.model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=runtime.device)
    for batch in feed.test_batches(batch_size):
        with runtime.autocast():
            predicted = network.logits(batch.images).argmax(dim=1)
        correct += (predicted == labels[batch.indices.to(labels.device)]).sum()
    return int(correct) / len(split)
