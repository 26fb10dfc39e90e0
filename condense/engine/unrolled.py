"""Students whose training on the synthetic images is differentiated through, step by step.

A step of an optimizer is a function of the weights, of its own state and of the gradient, and the gradient is a
function of the images. So what a student answers after some steps has a gradient to the images that it learned from
(Maclaurin et al., ICML 2015; Wang et al., arXiv 1811.10959).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

import torch
from torch import Tensor
from torch.func import functional_call

from condense.data.feed import Batch
from condense.engine.training import BatchLoss, learning_rate_fraction
from condense.engine.unfinished import set_tensors
from condense.models.attention import attention
from condense.models.network import Network
from condense.recipe.training import Training
from condense.storage.tensors import tensors_below, tensors_of_parts

_EPS = 1e-8  # of Adam
# The square root of Adam has no gradient at 0, where a weight's gradient was 0 at every step. Far below any other.
_LEAST_SQUARE = 1e-18


class UnrolledStudent:
    """A network in training, whose weights after some steps are a differentiable function of the images of these steps.

    network: has the initial weights, which it keeps.
    options: the optimizer and its settings. Epochs and batches are the caller's.
    steps: the length of the training to which the schedule of the learning rate belongs.
    """

    def __init__(self, network: Network, options: Training, steps: int) -> None:
        self._network, self._options, self._steps = network, options, steps
        self._weights = {name: value.detach().clone() for name, value in network.model.named_parameters()}
        self._buffers = {name: value.detach().clone() for name, value in network.model.named_buffers()}
        self._states = {name: Updates(options, value) for name, value in self._weights.items()}
        self._done = 0

    def train(self, batches: Iterable[Batch], loss: BatchLoss, *, through: bool = True) -> Network:
        """Take a step on each batch, and return the network with the weights that it then has, in eval mode.

        The weights have a gradient to the images of the batches, unless `through` is False. `settle` ends it.
        """
        model = self._network.model.train()
        weights = {name: value.requires_grad_(True) for name, value in self._weights.items()}
        for batch in batches:
            with attention(twice=through):
                logits = Reweighted(self._network, weights, self._buffers).logits(batch.images)
            value = loss(batch, logits)
            gradients = torch.autograd.grad(value, list(weights.values()), create_graph=through)
            rate = self._options.lr * learning_rate_fraction(self._options.schedule, self._done, self._steps)
            weights = {
                name: self._states[name].updated(weight, gradient, rate)
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
            self._done += 1
            if not through:
                self._weights = weights
                self.settle()
                weights = {name: value.requires_grad_(True) for name, value in self._weights.items()}
        self._weights = weights
        model.eval()
        return Reweighted(self._network, weights, self._buffers)

    def state(self) -> dict[str, Tensor]:
        """Return everything that changes as it learns, as "part/name of the weight", and how many steps it has done."""
        parts = {
            "weights": {name: value.detach() for name, value in self._weights.items()},
            "buffers": self._buffers,
            "mean": {name: own.mean.detach() for name, own in self._states.items()},
            "square": {name: own.square.detach() for name, own in self._states.items()},
        }
        return {**tensors_of_parts(parts), "done": torch.tensor(self._done)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Bring back what `state` returned, of a student of the same network, options and steps."""
        self.settle()
        set_tensors(self._weights, tensors_below(state, "weights"))
        set_tensors(self._buffers, tensors_below(state, "buffers"))
        set_tensors({name: own.mean for name, own in self._states.items()}, tensors_below(state, "mean"))
        set_tensors({name: own.square for name, own in self._states.items()}, tensors_below(state, "square"))
        self._done = int(state["done"])
        for own in self._states.values():
            own.steps = self._done

    def settle(self) -> None:
        """Forget how the weights came about, so that the next steps begin a new graph."""
        self._weights = {name: value.detach() for name, value in self._weights.items()}
        for state in self._states.values():
            state.detach()


class Reweighted(Network):
    """A network with weights and buffers that lie outside of it.

    weights, buffers: by the names that they have in the model. Running statistics change in place.
    """

    def __init__(
        self, network: Network, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> None:
        super().__init__(network.model, network.name, member=network.member)
        self._outside = (dict(weights), dict(buffers))

    def _forward(self, images: Tensor) -> object:
        return functional_call(self.model, self._outside, (images,))


class Updates:
    """The state of an optimizer for one weight, and its step as a differentiable function.

    mean, square: means of gradients and of their squares, of the weight's shape. steps: how many were taken.

    The formulas are those of `torch.optim.SGD`, `Adam` and `AdamW` with their default settings.
    """

    def __init__(self, options: Training, weight: Tensor) -> None:
        self._options = options
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.steps = 0

    def updated(self, weight: Tensor, gradient: Tensor, lr: float) -> Tensor:
        """Return the weight after a step. lr: the learning rate of the step."""
        options = self._options
        self.steps += 1
        if options.optimizer == "adamw":
            return weight * (1 - lr * options.weight_decay) - lr * self._adam(gradient)
        gradient = gradient + options.weight_decay * weight
        if options.optimizer == "adam":
            return weight - lr * self._adam(gradient)
        if options.optimizer == "sgd":
            self.mean = options.momentum * self.mean + gradient
            return weight - lr * self.mean
        assert_never(options.optimizer)

    def _adam(self, gradient: Tensor) -> Tensor:
        first, second = 0.9, 0.999
        self.mean = first * self.mean + (1 - first) * gradient
        self.square = second * self.square + (1 - second) * gradient.square()
        mean = self.mean / (1 - first**self.steps)
        square = self.square / (1 - second**self.steps)
        return mean / ((square + _LEAST_SQUARE).sqrt() + _EPS)

    def detach(self) -> None:
        """Forget how the state came about."""
        self.mean, self.square = self.mean.detach(), self.square.detach()
