"""Time the measure stage against two passes with a loader per class.

    python benchmarks/measure.py [--repeats 7] [--device auto] [--only convnet]

Both collect what WMDD needs from the real images: the features of every image and the BatchNorm statistics of
every class. The contestants:

two passes: a straightforward version, float32 and contiguous, with a loader over the images of each class.
    One pass keeps the input of the classifier; another takes mean and variance of each BatchNorm input of
    each batch.
float32: `measure`, one pass for both, in float32 and contiguous.
condense: `measure` as a run calls it: bfloat16 if the machine supports it well, channels-last,
    flush-denormal.

Finding the barycenters is not part of it; benchmarks/barycenter.py times that. The contestants take turns in
one process, so that a slow phase of the machine affects all of them; a first, untimed turn warms them up.
Seconds are medians over the turns, and a ratio is a ratio of medians. Before the timing starts, all must have
found the same features and statistics.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from condense_wmdd.barycenter_target import BarycenterTarget
from condense_wmdd.class_batchnorm import ClassBatchNorm
from condense_wmdd.method import WMDD
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions
from images import noise
from losses import weighted
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from condense.data.dataset import MemoryImages, RealDataset
from condense.engine.measure import measure
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import default_registry
from condense.runtime import Runtime, make_runtime, process_settings

CLASSES = 10
TOLERANCE = {
    "float32": 1e-3,
    "condense": 3e-2,
}  # norm of the error, relative to the norm of what two passes find


@dataclass
class Found:
    """What a contestant found.

    features: (n, D), of the images in order.
    mean, variance: (K, S), all BatchNorm layers side by side.
    """

    features: Tensor
    mean: Tensor
    variance: Tensor


class FeaturesOnly(BarycenterTarget):
    """A target that keeps the features and computes no barycenter."""

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        self.features = torch.cat([features for features, _ in self._seen])


def make_network(model: Use, dataset: RealDataset, runtime: Runtime) -> Network:
    """Return a frozen network whose running statistics are near those of the images, as after training."""
    network = build_network(model, dataset, default_registry(), runtime, torch.Generator().manual_seed(1))
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for part in order.split(50)[:20]:
            network.model(runtime.images(dataset.training_images(part)))
    return network.frozen()


def ours(network: Network, dataset: RealDataset, runtime: Runtime) -> Found:
    """Return what the measure stage finds."""
    target = FeaturesOnly(BarycenterOptions())
    norms = ClassBatchNorm(ClassBatchNormOptions())
    with process_settings(runtime):
        measure(
            [
                weighted("feature target", "barycenter", target),
                weighted("regularizer", "class-batchnorm", norms),
            ],
            network,
            dataset,
            runtime,
            batch_size=WMDD.teacher.measure_batch,
            seed=0,
            ipc=1,
        )
    return Found(target.features, norms.mean, norms.variance)


@torch.no_grad()
def two_passes(model: nn.Module, dataset: RealDataset, runtime: Runtime) -> Found:
    """Return what two passes without condense find. Every batch of a class has the same number of images."""
    assert isinstance(dataset.train.images, MemoryImages)
    pixels, labels = dataset.train.images.pixels, dataset.train.labels
    loaders = [DataLoader(TensorDataset(pixels[labels == label]), batch_size=50) for label in range(CLASSES)]
    mean = torch.tensor(dataset.mean, device=runtime.device).view(1, -1, 1, 1)
    std = torch.tensor(dataset.std, device=runtime.device).view(1, -1, 1, 1)

    def show(loader: DataLoader[tuple[Tensor, ...]]) -> None:
        for (images,) in loader:
            model((images.to(runtime.device).float() / 255 - mean) / std)

    features: list[Tensor] = []
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    hook = classifier.register_forward_pre_hook(lambda _, x: features.append(x[0]))
    for loader in loaders:
        show(loader)
    hook.remove()

    seen: dict[nn.Module, list[Tensor]] = {}

    def keep_statistics(layer: nn.Module, x: tuple[Tensor]) -> None:
        average, variance = x[0].mean(dim=(0, 2, 3)), x[0].var(dim=(0, 2, 3), correction=0)
        seen[layer].append(torch.stack([average, variance + average.square()]))

    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(keep_statistics) for layer in layers]
    found = []
    for loader in loaders:
        seen.update({layer: [] for layer in layers})
        show(loader)
        found.append(torch.cat([torch.stack(seen[layer]).mean(dim=0) for layer in layers], dim=1))
    for hook in hooks:
        hook.remove()
    means, seconds = torch.stack(found, dim=1)
    return Found(torch.cat(features), means, seconds - means.square())


def check(name: str, label: str, found: Found, wanted: Found) -> None:
    """Exit if the contestants disagree."""
    for what, got, right in zip(
        ("features", "means", "variances"), vars(found).values(), vars(wanted).values(), strict=True
    ):
        error = float((got - right).norm() / right.norm())
        if error > TOLERANCE[label]:
            raise SystemExit(f"{name}: the {what} of {label} are {error:.1e} away from those of two passes")


def compare(name: str, model: Use, dataset: RealDataset, device: str, repeats: int) -> None:
    """Print the rows of one problem."""
    exact, fast = make_runtime(device, "fp32"), make_runtime(device, "auto")
    network = make_network(model, dataset, exact)
    same_in_fast = build_network(model, dataset, default_registry(), fast, torch.Generator())
    same_in_fast.model.load_state_dict(network.model.state_dict())
    same_in_fast.frozen()
    contestants: dict[str, Callable[[], Found]] = {
        "two passes": lambda: two_passes(network.model, dataset, exact),
        "float32": lambda: ours(network, dataset, exact),
        "condense": lambda: ours(same_in_fast, dataset, fast),
    }
    wanted = contestants["two passes"]()
    for label in TOLERANCE:
        check(name, label, contestants[label](), wanted)
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    for _ in range(repeats):
        for label, run in contestants.items():
            start = time.perf_counter()
            run()
            if exact.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[label].append(time.perf_counter() - start)
    base = statistics.median(seconds["two passes"])
    for label in contestants:
        taken = statistics.median(seconds[label])
        print(f"| {name} | {label} | {len(dataset.train) / taken:.0f} | {base / taken:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the measure stage against two passes.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=["resnet18", "convnet"])
    options = parser.parse_args()

    fast = make_runtime(options.device, "auto")
    print(f"{fast.describe()}, {torch.get_num_threads()} threads, median of {options.repeats} turns\n")
    print("| problem | measured by | images per second | times as fast as two passes |")
    print("|---|---|---:|---:|")
    if options.only != "resnet18":
        dataset = noise(CLASSES, 100, 1, 28)
        compare("ConvNet-3, 1000 of 28x28", Use(name="convnet"), dataset, options.device, options.repeats)
    if options.only != "convnet":
        dataset = noise(CLASSES, 10, 3, 224)
        compare("ResNet-18, 100 of 224x224", Use(name="resnet18"), dataset, options.device, options.repeats)


if __name__ == "__main__":
    main()
