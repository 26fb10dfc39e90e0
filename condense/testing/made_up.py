"""Small made-up images and a network for them, for the tests of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.models.catalog import ConvNetOptions, ModelRequest
from condense.models.convnet import ConvNet
from condense.models.network import Network
from condense.rng import isolated_global_rng


def made_up_dataset(
    counts: Sequence[int] = (6, 7, 8),
    *,
    tests: int = 4,
    size: int = 8,
    channels: int = 1,
    seed: int = 0,
    name: str = "made-up",
    shuffled: bool = True,
) -> RealDataset:
    """Return a dataset of noise about another brightness for each class.

    counts: the number of training images of each class. tests: the number of test images of every class.
    size: the side length in pixels. channels: 1 for grey, 3 for colour.
    seed: of the noise and of the order of the images.
    shuffled: whether images come in any order, and not class by class.
    """
    draws = torch.Generator().manual_seed(seed)

    def split(per_class: Sequence[int]) -> Split:
        labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
        if shuffled:
            labels = labels[torch.randperm(len(labels), generator=draws)]
        noise = torch.randint(0, 60, (len(labels), channels, size, size), generator=draws)
        brightness = (labels * 190) // max(1, len(per_class) - 1)
        return Split(MemoryImages((noise + brightness[:, None, None, None]).to(torch.uint8)), labels)

    return RealDataset(
        name=name,
        classes=tuple(f"class {label}" for label in range(len(counts))),
        train=split(counts),
        test=split([tests] * len(counts)),
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        licence="MIT",
    )


def made_up_network(
    dataset: RealDataset,
    *,
    norm: Literal["batch", "instance", "none"] = "batch",
    width: int = 8,
    seed: int = 0,
    weight_gradients: bool = False,
) -> Network:
    """Return a network of two layers for the images of a dataset, in eval mode, with random weights and statistics.

    norm: the normalisation after each convolution; "batch" gives it BatchNorm layers. width: the channels of a layer.
    seed: of the weights, and of the running statistics of the BatchNorm layers.
    weight_gradients: whether its weights take gradients, as those of a random network do for losses that need them.
    """
    request = ModelRequest(
        argument="", classes=len(dataset.classes), channels=dataset.channels, size=dataset.size
    )
    with isolated_global_rng(torch.Generator().manual_seed(seed)):
        model = ConvNet(ConvNetOptions(width=width, depth=2, norm=norm), request)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    network = Network(model, "convnet").frozen()
    network.model.requires_grad_(weight_gradients)
    return network
