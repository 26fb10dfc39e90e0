"""Time the reading of image files against torchvision's ImageFolder with a DataLoader of as many processes.

    python benchmarks/files.py [--images 2000] [--width 500] [--height 375] [--loaders 2] [--repeats 5] [--device auto]

Generated JPEGs in two class folders are decoded, resized and cut to 224 x 224 pixels and normalised, in batches of 64.
The contestants:

ImageFolder: a DataLoader with `--loaders` processes, which give 8-bit batches; they are normalised afterwards.
threads: a `Feed` as a run has it, without processes.
processes: the same with `--loaders` processes.

They take turns in one process, so that a slow phase of the machine affects all of them; a first, untimed turn warms
them up and checks that all give the same pixels. Images per second are medians over the turns. The index is not part
of it; its first and second opening are timed at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from condense.data.dataset import DatasetRequest
from condense.data.feed import Feed
from condense.data.images import FolderImages
from condense.data.pixels import normalise
from condense.data.survey import survey
from condense.data.tree import Tree, read_tree
from condense.runtime import make_runtime

SIDE, BATCH = 224, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_images(root: Path, images: int, width: int, height: int) -> None:
    """Write JPEGs of smooth noise with some grain, which compress about as well as photographs."""
    source = np.random.default_rng(0)
    for index in range(images):
        coarse = source.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(
            int
        )
        grainy = (smooth + source.integers(-12, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)
        path = root / f"class {index % 2}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grainy).save(path, quality=90)


def of_torchvision(root: Path, loaders: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the batches (B, 3, 224, 224) float32 of ImageFolder, in order."""
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.PILToTensor()]
    loader = DataLoader(
        ImageFolder(str(root), transforms.Compose(steps)),
        batch_size=BATCH,
        num_workers=loaders,
        pin_memory=device.type == "cuda",
    )
    for pixels, _ in loader:
        yield normalise(pixels.to(device, non_blocking=True), MEAN, STD)


def ours(tree: Tree, loaders: int, device: str) -> Iterator[Tensor]:
    """Yield the batches (B, 3, 224, 224) float32 of a feed, in order."""
    images = FolderImages(tree.train.paths, SIDE, 3)
    runtime = make_runtime(device, "fp32", loaders=loaders)
    feed = Feed(images, tree.train.labels, size=SIDE, mean=MEAN, std=STD, runtime=runtime)
    for batch in feed.test_batches(BATCH):
        yield batch.images


def spent(read: Callable[[], Iterator[Tensor]], device: torch.device) -> float:
    """Return the seconds of one pass over all batches."""
    start = time.perf_counter()
    for _ in read():
        pass
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_index(tree: Tree) -> None:
    """Print the seconds of the first and of the second opening of the index."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CONDENSE_CACHE_DIR"] = cache
        request = DatasetRequest(name="folder", argument="", data_dir=Path(cache), seed=0)
        for what in ("first", "second"):
            start = time.perf_counter()
            survey(tree, request, skip_broken=False)
            print(f"{what} opening of the index: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the reading of image files.")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--loaders", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = make_runtime(options.device, "fp32").device
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root, options.images, options.width, options.height)
        tree = read_tree(root)
        contestants: dict[str, Callable[[], Iterator[Tensor]]] = {
            "ImageFolder": lambda: of_torchvision(root, options.loaders, device),
            "threads": lambda: ours(tree, 0, options.device),
            "processes": lambda: ours(tree, options.loaders, options.device),
        }
        for batches in zip(*(read() for read in contestants.values()), strict=True):
            for label, batch in zip(contestants, batches, strict=True):
                if not torch.equal(batch, batches[0]):
                    raise SystemExit(f"{label} gives other pixels than ImageFolder")
        seconds: dict[str, list[float]] = {label: [] for label in contestants}
        for _ in range(options.repeats):
            for label, read in contestants.items():
                seconds[label].append(spent(read, device))
        print(f"{options.images} JPEGs of {options.width} x {options.height}, {options.loaders} processes")
        print(f"on {device.type}, median of {options.repeats} turns\n")
        print("| read by | images per second | times as fast as ImageFolder |")
        print("|---|---:|---:|")
        base = statistics.median(seconds["ImageFolder"])
        for label, taken in seconds.items():
            median = statistics.median(taken)
            print(f"| {label} | {options.images / median:.0f} | {base / median:.2f} |")
        print()
        time_index(tree)


if __name__ == "__main__":
    main()
