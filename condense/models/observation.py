"""What a network shows of a batch, in one type for real and synthetic images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BatchLabels:
    """The labels, slots and weights of a batch.

    They are the same at every step of a chunk, so they are computed once.

    labels: (B,) int64, the class of each image.
    slots: (B,) int64, the slot of each image in its class, in [0, ipc); 0 for real images.
    weights: (B,) float32. The weights of a class sum to 1 for synthetic images; all are 1 for real images.
    classes: (G,) int64, the classes that occur, ascending.
    membership: (G, B) float32, the fraction of its class's weight that each image has; rows sum to 1.
    """

    labels: Tensor
    slots: Tensor
    weights: Tensor
    classes: Tensor
    membership: Tensor

    @staticmethod
    def of(labels: Tensor, slots: Tensor, weights: Tensor) -> BatchLabels:
        """Return the batch of images with these labels, slots and weights, each (B,), on their device."""
        classes = torch.unique(labels)
        shares = (labels[None, :] == classes[:, None]).to(weights.dtype) * weights[None, :]
        membership = shares / shares.sum(dim=1, keepdim=True)
        return BatchLabels(
            labels=labels, slots=slots, weights=weights, classes=classes, membership=membership
        )

    @staticmethod
    def of_real(labels: Tensor) -> BatchLabels:
        """Return the batch of real images with these labels (B,)."""
        return BatchLabels.of(labels, torch.zeros_like(labels), torch.ones(len(labels), device=labels.device))

    def equal_membership(self) -> Tensor:
        """Return (G, B): `membership` if every image of a class counted the same."""
        present = (self.membership > 0).to(self.membership.dtype)
        return present / present.sum(dim=1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The per-image moments of the inputs of some layers. S is the sum of the layers' channels.

    The fields are described for BatchNorm layers. Convolutions normalise nothing, so their `running_mean` is
    0, their `running_var` is 1 and their `second` is taken about 0. For patches, S counts patches in place of
    channels.

    mean: (B, S) float32, over the positions of each image.
    second: (B, S) float32, the second moment about `running_mean`, over the positions of each image. Taken
        about the running mean and not about 0, it keeps float32 accurate if the mean is far from 0.
    running_mean, running_var: (S,), the statistics that the layers normalise with.
    layers: the names of the layers, in network order.
    layer_of: (S, L) float32, 1 if a channel belongs to a layer, otherwise 0.
    """

    mean: Tensor
    second: Tensor
    running_mean: Tensor
    running_var: Tensor
    layers: tuple[str, ...]
    layer_of: Tensor

    def by_layer(self, values: Tensor) -> Tensor:
        """Return values (..., S) summed over the channels of each layer, (..., L)."""
        return values @ self.layer_of


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A batch as a network sees it.

    images: (B, C, H, W) float, normalised as the network expects.
    batch: the labels, slots and weights of the images.
    features: (B, D) float32, the input of the network's classifier.
    logits: (B, K) float32.
    moments: of the inputs of the BatchNorm layers; None if no loss reads them.
    convolutions: of the inputs of the two-dimensional convolutions, over the positions of each channel; None
        if no loss reads them.
    patches: of the same inputs, over the channels and positions of each square patch, row by row; None if no
        loss reads them. A patch has 16x16 positions, or 4x4 if images are smaller than 128 pixels.
    parameters: the weights of the network; empty unless a loss needs weight gradients.
    member: the index of the network in its ensemble; 0 outside an ensemble.
    generator: what a loss draws from that draws in `observe` or at every step, such as random directions. It is on the
        CPU. The real images of the measure stage and the synthetic ones of the recover stage have it.
    indices: (B,) int64 on the CPU, which images of `dataset.train` real ones are; None for synthetic images.
    """

    images: Tensor
    batch: BatchLabels
    features: Tensor
    logits: Tensor
    moments: Moments | None = None
    convolutions: Moments | None = None
    patches: Moments | None = None
    parameters: tuple[Tensor, ...] = ()
    member: int = 0
    generator: torch.Generator | None = None
    indices: Tensor | None = None
