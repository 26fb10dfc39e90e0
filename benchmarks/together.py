"""Time a training step of several students as one stack against one after the other.

    python benchmarks/together.py [--students 3] [--repeats 9] [--device auto] [--batch 50] [--size 28]

Both take the same batches of noise through networks of the same weights, forwards and backwards. They take turns in
one process; a first, untimed turn warms them up, and in the end both must have the same gradients. A ratio is a ratio
of medians. Times are processor time of this process on a CPU, which other work changes little, and wall time on CUDA.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from images import noise
from torch import Tensor

from condense.engine.together import Stack
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import default_registry
from condense.runtime import make_runtime, process_settings


def gradients(network: Network, images: Tensor, labels: Tensor) -> None:
    """Set the gradients of one step."""
    network.model.zero_grad(set_to_none=True)
    F.cross_entropy(network.logits(images), labels).backward()


def whole(parts: Iterable[Tensor | None]) -> Tensor:
    """Return the gradients of all weights as one vector. Single ones may be small differences of large sums."""
    return torch.cat([part.flatten() for part in parts if part is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a stack of students against one after the other.")
    parser.add_argument("--students", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--size", type=int, default=28)
    options = parser.parse_args()
    runtime = make_runtime(options.device, "fp32")
    dataset, on_cpu = noise(10, 20, 1, options.size), runtime.device.type == "cpu"
    networks = [
        build_network(
            Use(name=options.model), dataset, default_registry(), runtime, torch.Generator().manual_seed(seed)
        )
        for seed in range(options.students)
    ]
    alone = copy.deepcopy(networks)
    stack = Stack(networks)
    shape = (options.students, options.batch, 1, options.size, options.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(runtime.device)
    labels = torch.arange(options.batch, device=runtime.device) % 10

    def one_by_one() -> None:
        for network, own in zip(alone, images, strict=True):
            gradients(network, own, labels)

    def together() -> None:
        for weight in stack.weights.values():
            weight.grad = None
        losses = [F.cross_entropy(own, labels) for own in stack.logits(images)]
        torch.stack(losses).sum().backward()

    contestants: dict[str, Callable[[], None]] = {"one by one": one_by_one, "together": together}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with process_settings(runtime):
        for network in alone:
            network.model.train()
        for repeat in range(-1, options.repeats):
            for name, run in contestants.items():
                start = time.process_time() if on_cpu else time.perf_counter()
                run()
                if not on_cpu:
                    torch.cuda.synchronize()
                spent = (time.process_time() if on_cpu else time.perf_counter()) - start
                if repeat >= 0:
                    seconds[name].append(spent)
    for index, network in enumerate(alone):
        names = [name for name, _ in network.model.named_parameters()]
        one = whole(network.model.get_parameter(name).grad for name in names)
        other = whole(stack.weights[name].grad[index] for name in names)
        apart = float((one - other).norm() / one.norm())
        # In float64 it is 1e-15. In float32, rounding turns some of the ReLUs that are next to 0 the other way.
        assert apart < 1e-2, f"gradients of student {index} are {apart:.1e} of their length apart"
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    shown = " and ".join(f"{1000 * taken:.0f} ms {name}" for name, taken in medians.items())
    what = f"{options.students} x {options.model}, {options.batch} of {options.size}x{options.size}"
    ratio = medians["one by one"] / medians["together"]
    print(f"{what}, {runtime.describe()}: {shown}; together is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
