"""What a network shows of a batch: the one type that real and synthetic images share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BatchLabels:
    """Who is in a batch; the same at every step of a chunk, so it is worked out once.

    labels: (B,) int64, the class of each image.
    slots: (B,) int64, which of its class's ipc images this is; 0 for real images.
    weights: (B,) float32: the weights of one class sum to 1 for synthetic images; all 1 for real images.
    classes: (G,) int64, the classes that occur, ascending.
    membership: (G, B) float32, each image's share of its class by weight; rows sum to 1.
    """

    labels: Tensor
    slots: Tensor
    weights: Tensor
    classes: Tensor
    membership: Tensor

    @staticmethod
    def of(labels: Tensor, slots: Tensor, weights: Tensor) -> BatchLabels:
        """The batch of images with these labels, slots and weights, each (B,); on their device."""
        classes = torch.unique(labels)
        shares = (labels[None, :] == classes[:, None]).to(weights.dtype) * weights[None, :]
        membership = shares / shares.sum(dim=1, keepdim=True)
        return BatchLabels(
            labels=labels, slots=slots, weights=weights, classes=classes, membership=membership
        )

    @staticmethod
    def of_real(labels: Tensor) -> BatchLabels:
        """The batch of real images with these labels (B,)."""
        return BatchLabels.of(labels, torch.zeros_like(labels), torch.ones(len(labels), device=labels.device))

    def equal_membership(self) -> Tensor:
        """(G, B): as `membership`, with every image of a class counting the same."""
        present = (self.membership > 0).to(self.membership.dtype)
        return present / present.sum(dim=1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The inputs of some layers, summed up image by image; S is the sum of the layers' channels.

    Said here for BatchNorm layers. Of convolutions, `running_mean` is 0 and `running_var` 1, for they normalise
    nothing: `second` is about 0. Patches stand where the channels do.

    mean: (B, S) float32, over the positions of each image.
    second: (B, S) float32, the second moment about `running_mean`, over the positions of each image: taken
        about the running mean, and not about 0, it keeps float32 accurate where the mean is far from 0.
    running_mean, running_var: (S,) what the layers normalise with.
    layers: their names, in the order of the network. layer_of: (S, L) float32, 1 where a channel is of a layer.
    """

    mean: Tensor
    second: Tensor
    running_mean: Tensor
    running_var: Tensor
    layers: tuple[str, ...]
    layer_of: Tensor

    def by_layer(self, values: Tensor) -> Tensor:
        """(..., L): values (..., S) summed over the channels of each layer."""
        return values @ self.layer_of


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A batch as a network sees it.

    images: (B, C, H, W) float, normalised as the network expects. batch: their classes, slots and weights.
    features: (B, D) float32, the input of the network's classifier. logits: (B, K) float32.
    moments: of the inputs of its BatchNorm layers; None where no component asked for them.
    convolutions, patches: of the inputs of its two-dimensional convolutions, over the positions of each channel, and
        over the channels and positions of each square patch of 16x16 positions (4x4 where images are smaller than
        128 pixels), row by row; None where no component asked for them.
    parameters: the weights of the network; empty unless a component has `weight_gradients`.
    member: which network of an ensemble this is; 0 of any other network.
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
