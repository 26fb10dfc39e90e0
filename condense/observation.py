"""What a network shows of a batch: the one type that real and synthetic images share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerMoments:
    """The input of one BatchNorm layer, summed up image by image.

    mean: (B, C) float32, over the positions of each image.
    second: (B, C) float32, the second moment about `running_mean`, over the positions of each image: taken
        about the running mean, and not about 0, it keeps float32 accurate where the mean is far from 0.
    running_mean, running_var: (C,) what the layer normalises with.

    From these follow exactly, for any mixture of classes and any batch size, the statistics of any weighted
    group of images: mu = sum w mean, sigma^2 = sum w second - (mu - running_mean)^2, with weights summing to 1.
    """

    mean: Tensor
    second: Tensor
    running_mean: Tensor
    running_var: Tensor


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A batch as a network sees it.

    images: (B, C, H, W) float, normalised as the network expects.
    labels: (B,) int64, the class of each image.
    slots: (B,) int64, which of its class's ipc images this is; 0 for real images.
    weights: (B,) float32, the weight of each image in its class: the weights of one class sum to 1 for synthetic
        images; all 1 for real images.
    features: (B, D) float32, the input of the network's classifier.
    logits: (B, K) float32.
    moments: per BatchNorm layer, in the order of the network; empty where no component asked for them.
    """

    images: Tensor
    labels: Tensor
    slots: Tensor
    weights: Tensor
    features: Tensor
    logits: Tensor
    moments: Mapping[str, LayerMoments] = field(default_factory=dict)
