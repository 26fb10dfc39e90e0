"""Time a step of recover against the plain loop that it replaces.

    python benchmarks/recover_step.py [--repeats 9] [--device auto] [--batch 20] [--only convnet]

The method is WMDD with the losses of its published code. The contestants:

plain: a straightforward version, float32 and contiguous. Hooks keep the inputs of BatchNorm. The batch is cut
    into its classes, the mean and variance of each class are taken in each layer, and a list of losses is
    summed. One crop, flip and shift is drawn for the whole batch.
float32: `recover_chunk` in float32 and contiguous: moments per image, a view of its own for every image.
condense: `recover_chunk` as a run calls it: bfloat16 if the machine supports it well, channels-last,
    flush-denormal.
compiled: the same with `--compile on`. Making the graphs belongs to the untimed turn.

They take turns in one process, so that a slow phase of the machine affects all of them; a first, untimed turn
warms them up. Seconds are medians over the turns, and a ratio is a ratio of medians. Before the timing
starts, all must give the same loss for the same images.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from condense_wmdd.barycenter_target import BarycenterTarget
from condense_wmdd.class_batchnorm import ClassBatchNorm
from condense_wmdd.method import WMDD
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions
from images import noise
from losses import weighted
from torch import Tensor, nn
from torchvision.transforms import v2

from condense.data.dataset import RealDataset
from condense.data.pixels import valid_range
from condense.engine.chunks import Chunk
from condense.engine.measure import measure
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import CrossEntropy
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.method import Recover, Use
from condense.recipe.registry import default_registry
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment
from condense.runtime import Runtime, make_runtime, process_settings

IPC = 10
BN_WEIGHT = 10.0
TOLERANCE = {"float32": 1e-4, "condense": 2e-2, "compiled": 2e-2}  # of the loss, relative to the plain one


@dataclass
class Contestant:
    """One way to recover images.

    first_loss: returns the loss of the initial images, not augmented.
    steps: takes a number of steps from the initial images.
    """

    first_loss: Callable[[], float]
    steps: Callable[[int], None]


@dataclass
class Problem:
    """A teacher's weights, the components fitted to its dataset, and one chunk of images to recover."""

    model: Use
    dataset: RealDataset
    options: Recover
    weights: dict[str, Tensor]
    target: BarycenterTarget
    norms: ClassBatchNorm
    chunk: Chunk

    def network(self, runtime: Runtime) -> Network:
        """Return the teacher in the memory format of a runtime."""
        network = fresh(self.model, self.dataset, runtime)
        network.model.load_state_dict(self.weights)
        return network.frozen()


def fresh(model: Use, dataset: RealDataset, runtime: Runtime) -> Network:
    """Return an untrained network."""
    return build_network(model, dataset, default_registry(), runtime, torch.Generator().manual_seed(1))


def make_problem(model: Use, channels: int, size: int, batch: int, device: str) -> Problem:
    """Return a problem with a chunk of `batch` images of noise, IPC per class."""
    classes = batch // IPC
    dataset = noise(classes, 2 * IPC, channels, size)
    runtime = make_runtime(device, "fp32")
    network = fresh(model, dataset, runtime)
    with torch.no_grad():  # Running statistics of these images, as after training.
        for _ in range(10):
            for part in torch.randperm(len(dataset.train)).split(50):
                network.model(runtime.images(dataset.training_images(part)))
    target = BarycenterTarget(BarycenterOptions(restarts=1))
    norms = ClassBatchNorm(ClassBatchNormOptions(weighted=False))
    fitted = [
        weighted("feature target", "barycenter", target),
        weighted("regularizer", "class-batchnorm", norms),
    ]
    measure(fitted, network.frozen(), dataset, runtime, batch_size=50, seed=0, ipc=IPC)
    labels, slots = torch.arange(classes).repeat_interleave(IPC), torch.arange(IPC).repeat(classes)
    images = torch.randn(len(labels), channels, size, size, generator=torch.Generator().manual_seed(2))
    low, high = valid_range(dataset.mean, dataset.std, images)
    chunk = Chunk(
        index=0,
        labels=labels,
        slots=slots,
        weights=target.weights.cpu()[labels, slots],
        images=images.clamp(low, high),
    )
    return Problem(model, dataset, WMDD.recover, network.model.state_dict(), target, norms, chunk)


def ours(problem: Problem, runtime: Runtime) -> Contestant:
    """Return `recover_chunk` in a runtime, as a contestant."""
    network = problem.network(runtime)
    losses = [
        weighted("feature target", "barycenter", problem.target),
        weighted("feature target", "cross-entropy", CrossEntropy(NoOptions())),
        weighted("regularizer", "class-batchnorm", problem.norms, BN_WEIGHT),
    ]
    logged: dict[int, float] = {}

    def run(options: Recover) -> None:
        def log(iteration: int, losses: Mapping[str, float]) -> None:
            logged[iteration] = losses["loss"]

        with process_settings(runtime):
            recover_chunk(
                problem.chunk,
                losses,
                Networks(network, lambda _: network),
                options,
                problem.dataset,
                generator=torch.Generator().manual_seed(3),
                runtime=runtime,
                log=log,
                checks=False,  # they look at the first step, which is then not compiled
            )

    def first_loss() -> float:
        run(replace(problem.options, iterations=1, augment=Augment()))
        return logged[0]

    return Contestant(first_loss, lambda steps: run(replace(problem.options, iterations=steps)))


def plain(problem: Problem, runtime: Runtime) -> Contestant:
    """Return the loop without condense, as a contestant."""
    model, options, size = problem.network(runtime).model, problem.options, problem.dataset.size
    start, labels = (part.to(runtime.device) for part in (problem.chunk.images, problem.chunk.labels))
    low, high = valid_range(problem.dataset.mean, problem.dataset.std, start)
    assert options.augment.crop_scale is not None
    crop = v2.Compose([v2.RandomResizedCrop(size, options.augment.crop_scale), v2.RandomHorizontalFlip()])
    shift = round(options.augment.jitter * size)

    def run(steps: int) -> None:
        pixels = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([pixels], lr=options.lr, betas=options.betas)
        for _ in range(steps):
            down, right = torch.randint(-shift, shift + 1, (2,)).tolist()
            view = torch.roll(crop(pixels), (down, right), (2, 3))
            loss = plain_loss(model, view, labels, problem)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pixels.data = torch.minimum(torch.maximum(pixels.data, low), high)

    def first_loss() -> float:
        return float(plain_loss(model, start.clone().requires_grad_(), labels, problem).detach())

    return Contestant(first_loss, run)


def plain_loss(model: nn.Module, images: Tensor, labels: Tensor, problem: Problem) -> Tensor:
    """Return WMDD's loss, computed class by class and layer by layer."""
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    inputs: list[Tensor] = []
    features: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, x: inputs.append(x[0])) for layer in layers]
    hooks.append(classifier.register_forward_pre_hook(lambda _, x: features.append(x[0])))
    logits = model(images)
    for hook in hooks:
        hook.remove()
    widths = [layer.num_features for layer in layers]
    classes = labels.unique().tolist()
    losses = []
    for label in classes:
        mine = labels == label
        means = problem.norms.mean[label].split(widths)
        variances = problem.norms.variance[label].split(widths)
        for x, mean, variance in zip(inputs, means, variances, strict=True):
            of_class = x[mine]
            losses.append(BN_WEIGHT * (of_class.mean(dim=(0, 2, 3)) - mean).norm())
            losses.append(BN_WEIGHT * (of_class.var(dim=(0, 2, 3), correction=0) - variance).norm())
    atoms = problem.target.atoms[labels, problem.chunk.slots.to(labels.device)]
    of_features = (features[0] - atoms).norm()
    return of_features + torch.stack(losses).sum() / len(classes) + F.cross_entropy(logits, labels)


def seconds_of(contestant: Contestant, steps: int, device: torch.device) -> float:
    """Return the seconds per step."""
    start = time.perf_counter()
    contestant.steps(steps)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def compare(name: str, problem: Problem, device: str, steps: int, repeats: int) -> None:
    """Print the rows of one problem."""
    exact, fast = make_runtime(device, "fp32"), make_runtime(device, "auto")
    contestants = {
        "plain": plain(problem, exact),
        "float32": ours(problem, exact),
        "condense": ours(problem, fast),
        "compiled": ours(problem, replace(fast, compile="on")),
    }
    wanted = contestants["plain"].first_loss()
    for label, tolerance in TOLERANCE.items():
        found = contestants[label].first_loss()
        if abs(found - wanted) > tolerance * abs(wanted):
            raise SystemExit(f"{name}: {label} has the loss {found}, the plain loop {wanted}")
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    for repeat in range(-1, repeats):
        for label, contestant in contestants.items():
            taken = seconds_of(contestant, steps, exact.device)
            if repeat >= 0:
                seconds[label].append(taken)
    base = statistics.median(seconds["plain"])
    for label in contestants:
        taken = statistics.median(seconds[label])
        print(f"| {name} | {label} | {1000 * taken:.0f} | {base / taken:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a step of recover against the plain loop.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=20, help="images of 224x224 in a step, a multiple of 10")
    parser.add_argument("--only", choices=["resnet18", "convnet"])
    options = parser.parse_args()

    fast = make_runtime(options.device, "auto")
    print(f"{fast.describe()}, {torch.get_num_threads()} threads, median of {options.repeats} turns\n")
    print("| problem | loop | ms per step | times as fast as plain |")
    print("|---|---|---:|---:|")
    if options.only != "resnet18":
        problem = make_problem(Use(name="convnet"), 1, 28, 100, options.device)
        compare("ConvNet-3, 100 of 28x28", problem, options.device, 5, options.repeats)
    if options.only != "convnet":
        problem = make_problem(Use(name="resnet18"), 3, 224, options.batch, options.device)
        compare(f"ResNet-18, {options.batch} of 224x224", problem, options.device, 1, options.repeats)


if __name__ == "__main__":
    main()
