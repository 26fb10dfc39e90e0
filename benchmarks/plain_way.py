"""The plain way of WMDD: from real images to a trained student, built as published code is built.

The structure is that of the code of Liu et al. (ICCV 2025, arXiv 2311.18531) and of the FKD trainer that it uses,
written anew:

- a loader for the images of each class, which prepares them one by one, and two passes over all of them: one
  keeps features, the other takes the statistics of each BatchNorm layer;
- barycenters by linear programmes, POT's free-support barycenter from a normal start;
- hooks that compute the loss of each layer, a list of losses, and one crop, flip and shift for a whole batch;
- images that are saved one by one, and opened and augmented one by one by the loader of the student;
- float32 and contiguous memory.

The mathematics is that of condense's losses in the form "norms" with equal weights; tests compare them. Where the
published code does something else, this file does what condense does, or what is faster:

- class variances are exact, and not averages over batches;
- files are PNG, and not JPEG;
- the teacher answers during the student's training; published code stores its answers to all epochs before;
- no step waits for the device in order to note the lowest loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import ot
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

Item = tuple[Tensor, int]
Statistics = list[tuple[Tensor, Tensor]]  # of each layer: means and biased variances, (K, C) each


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for.

    classes: K. size: the side length in pixels. mean, std: per channel, of pixels in [0, 1].
    ipc, iterations, batch, lr, betas: of recovery; a batch has as many whole classes as fit.
    crop: the minimum and maximum area fraction of a crop in recovery. shift: the maximum shift in pixels.
    barycenter, statistics: the weights of two losses; cross-entropy has the weight 1.
    epochs, student_batch, student_lr, weight_decay, temperature, student_crop, cutmix: of the student's training, by
        AdamW with a cosine to 0.
    workers: processes of each loader.
    """

    classes: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ipc: int
    iterations: int
    batch: int
    lr: float
    betas: tuple[float, float]
    crop: tuple[float, float]
    shift: int
    barycenter: float
    statistics: float
    epochs: int
    student_batch: int
    student_lr: float
    weight_decay: float
    temperature: float
    student_crop: tuple[float, float]
    cutmix: float
    workers: int = 0


class Images(Protocol):
    """Stored images."""

    def read(self, indices: Tensor) -> Tensor:
        """Return images (B, C, H, W) uint8 for `indices` (B,)."""


class RealImages(Dataset[Item]):
    """The real images with their labels, prepared one by one."""

    def __init__(self, images: Images, labels: Tensor, asked: Asked) -> None:
        self.images, self.labels = images, labels
        self.prepare = v2.Compose(
            [
                v2.CenterCrop(asked.size),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(asked.mean, asked.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        return self.prepare(self.images.read(torch.tensor([index]))[0]), int(self.labels[index])


def class_loaders(real: RealImages, asked: Asked) -> list[DataLoader[Item]]:
    """Return a loader for each class."""
    of_class = [torch.nonzero(real.labels == label)[:, 0].tolist() for label in range(asked.classes)]
    return [DataLoader(Subset(real, chosen), asked.batch, num_workers=asked.workers) for chosen in of_class]


def norms_of(model: nn.Module) -> list[nn.Module]:
    """Return the BatchNorm layers in the order of the network."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@contextmanager
def kept_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the input (B, D) of the classifier, the last linear layer, of every pass in the block."""
    kept: list[Tensor] = []
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    hook = classifier.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        yield kept
    finally:
        hook.remove()


@torch.no_grad()
def class_features(
    model: nn.Module, loaders: Sequence[DataLoader[Item]], device: torch.device
) -> list[Tensor]:
    """Return the features (n_k, D) of the images of each class, on the CPU: the first pass."""
    found = []
    for loader in loaders:
        with kept_features(model) as kept:
            for images, _ in loader:
                model(images.to(device))
        found.append(torch.cat(kept).cpu())
    return found


def barycenters(features: Sequence[Tensor], ipc: int) -> Tensor:
    """Return ipc atoms of equal weight for the features (n_k, D) of each class, (K, ipc, D) float32.

    Cuturi and Doucet, ICML 2014, Algorithm 2, for a single measure and with exact plans.
    """
    found = []
    for points in features:
        weights = np.full(len(points), 1 / len(points))
        start = torch.randn(ipc, points.shape[1], dtype=torch.float64).numpy()
        atoms = ot.lp.free_support_barycenter([points.double().numpy()], [weights], start)
        found.append(torch.from_numpy(atoms).float())
    return torch.stack(found)


@torch.no_grad()
def class_statistics(
    model: nn.Module, loaders: Sequence[DataLoader[Item]], device: torch.device
) -> Statistics:
    """Return mean and variance of the inputs of each BatchNorm layer for each class: the second pass."""
    layers = norms_of(model)

    def add(of_layer: list[Tensor], inputs: Tensor) -> None:
        mean, variance = inputs.mean(dim=(0, 2, 3)), inputs.var(dim=(0, 2, 3), correction=0)
        of_layer.append(len(inputs) * torch.stack([mean, variance + mean.square()]))

    def of_class(loader: DataLoader[Item]) -> list[Tensor]:
        seen: list[list[Tensor]] = [[] for _ in layers]
        hooks = [
            layer.register_forward_pre_hook(lambda _, given, mine=mine: add(mine, given[0]))
            for layer, mine in zip(layers, seen, strict=True)
        ]
        count = 0
        for images, _ in loader:
            count += len(model(images.to(device)))
        for hook in hooks:
            hook.remove()
        return [torch.stack(parts).sum(0) / count for parts in seen]

    layerwise = zip(*[of_class(loader) for loader in loaders], strict=True)
    moments = [torch.stack(of_layer, dim=1) for of_layer in layerwise]
    return [(means, squares - means.square()) for means, squares in moments]


class LayerLoss:
    """The loss of one BatchNorm layer, computed whenever the layer is used.

    It is the mean over classes of ||mean gap|| + ||variance gap||. Images of a class lie side by side, ipc of each.

    mean, variance: (G, C) of the real images of the G classes in the batch.
    """

    def __init__(self, layer: nn.Module, mean: Tensor, variance: Tensor, ipc: int) -> None:
        self.mean, self.variance, self.ipc = mean, variance, ipc
        self.loss = torch.zeros(())
        self.hook = layer.register_forward_pre_hook(self.compute)

    def compute(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        gaps = []
        for number, inputs in enumerate(given[0].split(self.ipc)):
            gaps.append((inputs.mean(dim=(0, 2, 3)) - self.mean[number]).norm())
            gaps.append((inputs.var(dim=(0, 2, 3), correction=0) - self.variance[number]).norm())
        self.loss = torch.stack(gaps).sum() / len(self.mean)


def layer_losses(model: nn.Module, statistics: Statistics, classes: slice, ipc: int) -> list[LayerLoss]:
    """Return a loss for each BatchNorm layer and put its hook into the model. classes: those of the batch."""
    return [
        LayerLoss(layer, mean[classes], variance[classes], ipc)
        for layer, (mean, variance) in zip(norms_of(model), statistics, strict=True)
    ]


def recovery_loss(
    model: nn.Module, images: Tensor, labels: Tensor, atoms: Tensor, layers: Sequence[LayerLoss], asked: Asked
) -> Tensor:
    """Return the loss of the images (B, C, H, W) of a batch. labels: (B,). atoms: (B, D), one for each image."""
    with kept_features(model) as kept:
        logits = model(images)
    losses = [F.cross_entropy(logits, labels), asked.barycenter * (kept[0] - atoms).norm()]
    losses += [asked.statistics * layer.loss for layer in layers]
    return torch.stack(losses).sum()


def recover(model: nn.Module, atoms: Tensor, statistics: Statistics, asked: Asked, folder: Path) -> None:
    """Recover the images of all classes, batch by batch, and save each. atoms: (K, ipc, D)."""
    device = next(model.parameters()).device
    mean, std = (torch.tensor(part, device=device).view(-1, 1, 1) for part in (asked.mean, asked.std))
    view = v2.Compose([v2.RandomResizedCrop(asked.size, asked.crop), v2.RandomHorizontalFlip()])
    at_once = max(1, asked.batch // asked.ipc)
    for first in range(0, asked.classes, at_once):
        classes = slice(first, min(first + at_once, asked.classes))
        labels = torch.arange(classes.start, classes.stop, device=device).repeat_interleave(asked.ipc)
        targets = atoms[classes].flatten(0, 1).to(device)
        layers = layer_losses(model, statistics, classes, asked.ipc)
        shape = (len(labels), len(asked.mean), asked.size, asked.size)
        images = torch.randn(shape, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([images], lr=asked.lr, betas=asked.betas)
        for iteration in range(asked.iterations):
            optimizer.param_groups[0]["lr"] = asked.lr * cosine(iteration, asked.iterations)
            down, right = torch.randint(-asked.shift, asked.shift + 1, (2,)).tolist()
            seen = torch.roll(view(images), (down, right), (2, 3))
            loss = recovery_loss(model, seen, labels, targets, layers, asked)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for channel, (middle, spread) in enumerate(zip(asked.mean, asked.std, strict=True)):
                images.data[:, channel].clamp_(-middle / spread, (1 - middle) / spread)
        for layer in layers:
            layer.hook.remove()
        save_images((images.detach() * std + mean).clamp(0, 1), labels, asked.ipc, folder)


def cosine(step: int, steps: int) -> float:
    """Return the fraction of the learning rate at a step, from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def save_images(images: Tensor, labels: Tensor, ipc: int, folder: Path) -> None:
    """Save images (B, C, H, W) in [0, 1], each as a PNG file in the folder of its class."""
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        place = folder / f"{label:04d}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = (image * 255).round().byte().cpu().numpy().transpose(1, 2, 0)
        file = place / f"{number % ipc:04d}.png"
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file)


class SavedImages(Dataset[Item]):
    """The recovered images with their labels, each opened and augmented whenever it is used."""

    def __init__(self, folder: Path, asked: Asked) -> None:
        self.files = sorted(folder.glob("*/*.png"))
        self.view = v2.Compose(
            [
                v2.RandomResizedCrop(asked.size, asked.student_crop),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(asked.mean, asked.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        with Image.open(self.files[index]) as image:
            return self.view(image), int(self.files[index].parent.name)


def cut_and_mix(images: Tensor, alpha: float) -> Tensor:
    """Return images (B, C, S, S) with one rectangle of each replaced by that of another image (CutMix)."""
    kept = float(torch.distributions.Beta(alpha, alpha).sample())
    size = images.shape[-1]
    side = int(size * math.sqrt(1 - kept))
    row, column = torch.randint(size, (2,)).tolist()
    top, left = max(0, row - side // 2), max(0, column - side // 2)
    bottom, right = min(size, row - side // 2 + side), min(size, column - side // 2 + side)
    mixed = images.clone()
    others = torch.randperm(len(images))
    mixed[:, :, top:bottom, left:right] = images[others][:, :, top:bottom, left:right]
    return mixed


def student_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) of logits (B, K) at a temperature, the mean over images, without a factor T²."""
    wanted = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), wanted, reduction="batchmean")


def train_student(
    student: nn.Module, teacher: nn.Module, folder: Path, asked: Asked, after_epoch: Callable[[int], None]
) -> None:
    """Train a student in place on saved images whose views the teacher labels.

    after_epoch: called with the number of finished epochs.
    """
    device = next(student.parameters()).device
    saved = SavedImages(folder, asked)
    loader = DataLoader(saved, asked.student_batch, shuffle=True, num_workers=asked.workers)
    optimizer = torch.optim.AdamW(student.parameters(), lr=asked.student_lr, weight_decay=asked.weight_decay)
    step, steps = 0, asked.epochs * len(loader)
    for epoch in range(asked.epochs):
        student.train()
        for images, _ in loader:
            optimizer.param_groups[0]["lr"] = asked.student_lr * cosine(step, steps)
            mixed = cut_and_mix(images, asked.cutmix).to(device)
            with torch.no_grad():
                answer = teacher(mixed)
            loss = student_loss(student(mixed), answer, asked.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        after_epoch(epoch + 1)


def condensed(model: nn.Module, images: Images, labels: Tensor, asked: Asked, folder: Path) -> None:
    """Make the images of all classes from the real ones: two passes, barycenters, recovery. model: the teacher."""
    device = next(model.parameters()).device
    loaders = class_loaders(RealImages(images, labels, asked), asked)
    atoms = barycenters(class_features(model, loaders, device), asked.ipc)
    statistics = class_statistics(model, loaders, device)
    recover(model, atoms, statistics, asked, folder)
