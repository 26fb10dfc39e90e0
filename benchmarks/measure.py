"""Times the measure stage against two passes with a loader per class.

    python benchmarks/measure.py [--repeats 7] [--device auto] [--only convnet]

Both collect what WMDD needs of the real images: the features of every image and the BatchNorm statistics of every
class. The contestants:

two passes: float32 and contiguous, as one would write it down: for each class a loader over its images; one pass
    keeps the input of the classifier, another takes mean and variance of each BatchNorm input of each batch.
float32: `measure`, one pass for both, in float32 and contiguous.
condense: `measure` as a run calls it: bfloat16 where the machine is made for it, channels-last, flush-denormal.

Finding the barycenters is not part of it; benchmarks/barycenter.py times that. The contestants take turns in one
process, so that a slow spell of the machine falls on all of them; a first, untimed turn warms them up. Seconds are
medians over the turns, a ratio is that of medians. Before anything is timed, all must have found the same features
and statistics.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions
from condense_wmdd.regularizer import ClassBatchNorm
from condense_wmdd.target import BarycenterTarget
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.method import Use
from condense.models.build import build_network
from condense.models.network import Network
from condense.plugins import default_registry
from condense.runtime import Runtime, make_runtime, numeric_settings
from condense.stages.measure import measure

CLASSES = 10
TOLERANCE = {"float32": 1e-3, "condense": 3e-2}  # of the norm of what was found, relative to the two passes


@dataclass
class Found:
    """features: (n, D), of the images in order. mean, variance: (K, S), all BatchNorm layers side by side."""

    features: Tensor
    mean: Tensor
    variance: Tensor


class FeaturesOnly(BarycenterTarget):
    """Keeps the features, and looks for no barycenter."""

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        self.features = torch.cat([features for features, _ in self._seen])


def noise(per_class: int, channels: int, size: int) -> RealDataset:
    """Smooth noise in a colour for every class: what the images show does not matter for the time."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    colours = torch.rand(CLASSES, channels, 1, 1, generator=source)
    coarse = 0.6 * torch.rand(len(labels), channels, 7, 7, generator=source) + 0.4 * colours[labels]
    pixels = 255 * F.interpolate(coarse, size=size, mode="bilinear")
    split = Split(MemoryImages(pixels.to(torch.uint8)), labels)
    return RealDataset(
        name="noise",
        classes=tuple(f"class {label}" for label in range(CLASSES)),
        train=split,
        test=split,
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )


def make_network(model: Use, dataset: RealDataset, runtime: Runtime) -> Network:
    """A frozen network whose running statistics are near those of the images, as after training."""
    network = build_network(model, dataset, default_registry(), runtime, torch.Generator().manual_seed(1))
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for part in order.split(50)[:20]:
            network.model(runtime.images(dataset.training_images(part)))
    return network.frozen()


def ours(network: Network, dataset: RealDataset, runtime: Runtime) -> Found:
    """The measure stage."""
    target = FeaturesOnly(BarycenterOptions())
    norms = ClassBatchNorm(ClassBatchNormOptions())
    with numeric_settings(runtime):
        measure([target, norms], network, dataset, runtime, batch_size=256, seed=0, ipc=1)
    return Found(target.features, norms.mean, norms.variance)


@torch.no_grad()
def two_passes(model: nn.Module, dataset: RealDataset, runtime: Runtime) -> Found:
    """Without condense."""
    assert isinstance(dataset.train.images, MemoryImages)
    pixels, labels = dataset.train.images.pixels, dataset.train.labels
    loaders = [
        DataLoader(TensorDataset(pixels[labels == label]), batch_size=50) for label in range(CLASSES)
    ]
    mean = torch.tensor(dataset.mean, device=runtime.device).view(1, -1, 1, 1)
    std = torch.tensor(dataset.std, device=runtime.device).view(1, -1, 1, 1)

    def batches(loader: DataLoader[tuple[Tensor, ...]]) -> list[Tensor]:
        for (images,) in loader:
            model((images.to(runtime.device).float() / 255 - mean) / std)
        return kept

    kept: list[Tensor] = []
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    hook = classifier.register_forward_pre_hook(lambda _, x: kept.append(x[0]))
    for loader in loaders:
        batches(loader)
    hook.remove()
    features = torch.cat(kept)

    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    means, variances = [], []
    for loader in loaders:
        sums: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}

        def keep(layer: nn.Module, x: tuple[Tensor], sums: dict[nn.Module, list[Tensor]] = sums) -> None:
            exact = x[0].mean(dim=(0, 2, 3)), x[0].var(dim=(0, 2, 3), correction=0)
            sums[layer].append(torch.stack(exact))

        hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
        batches(loader)
        for hook in hooks:
            hook.remove()
        of_class = torch.cat([torch.stack(sums[layer]).mean(dim=0) for layer in layers], dim=1)
        means.append(of_class[0])
        variances.append(of_class[1])
    return Found(features, torch.stack(means), torch.stack(variances))
