"""Batches for training and testing: 8-bit images become normalised, augmented views on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.cutmix import CutMix, apply_cutmix, draw_cutmix
from condense.data.dataset import ImageSource, MemoryImages, RealDataset, Split
from condense.data.images import FolderImages
from condense.data.jpeg import DeviceImages, cuda_decoder
from condense.data.loaders import PIECE, WORTHWHILE, ahead
from condense.data.parametrizations.base import Coder
from condense.data.pixels import centre_crop, normalise
from condense.data.shares import WHOLE, Share
from condense.data.siamese import apply_siamese, draw_siamese
from condense.data.transfer import transfer_to
from condense.data.views import apply_view, draw_view
from condense.recipe.training import Augment
from condense.runtime import Runtime

# Maximum size in bytes of the images that move to the accelerator as a whole; others move batch by batch.
_RESIDENT_BYTES = 4 * 2**30
# Maximum size in bytes, as float32, of decoded images that are kept on the device; others are decoded batch by batch.
_DECODED_BYTES = 2**30
_DECODED_AT_ONCE = 64  # stored images


@dataclass(frozen=True)
class Batch:
    """A batch of images as a network takes them.

    indices: (B,) int64 on the CPU, the positions of the images in their source.
    labels: (B,) int64 on the device, the class of each image before CutMix.
    images: (B, C, S, S) float32 on the device, normalised.
    mix: how CutMix mixed the images, or None.
    weight: the factor for a mean over these images if they are a share of a batch; see `Share.weight`.
    """

    indices: Tensor
    labels: Tensor
    images: Tensor
    mix: CutMix | None
    weight: float = 1.0


class Feed:
    """A reader of labelled images for networks that see `size` x `size` pixels.

    images: n images with a minimum side length of `size`.
    labels: (n,) int64.
    mean, std: per channel, of pixels in [0, 1].
    """

    def __init__(
        self,
        images: ImageSource,
        labels: Tensor,
        *,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        runtime: Runtime,
    ) -> None:
        self.size, self.mean, self.std, self.runtime = size, mean, std, runtime
        self._transfer = transfer_to(runtime.device)
        self._images, self._labels = images, self._transfer.placed(labels)
        self._read = images.read
        if runtime.jpeg_decoder == "cuda" and isinstance(images, FolderImages):
            self._read = DeviceImages(images, runtime.device, cuda_decoder(runtime.device)).read
        self._resident: Tensor | None = None
        if isinstance(images, MemoryImages) and images.pixels.numel() <= _RESIDENT_BYTES:
            self._resident = self._transfer.placed(images.pixels)

    def __len__(self) -> int:
        return len(self._images)

    def centre(self, indices: Tensor) -> Tensor:
        """Return the centre of each stored image, (B, C, S, S) float32 on the device, not augmented."""
        return self.runtime.images(self._centred(self._pixels(indices)))

    def test_batches(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Yield every image once, in order, not augmented. within: the images that are meant; None: all."""
        for indices, pixels in self._read_ahead(self._in_order(batch_size, within)):
            yield self._batch(indices, self._centred(pixels), None)

    def views(
        self, augment: Augment, batch_size: int, generator: torch.Generator, within: range | None = None
    ) -> Iterator[Batch]:
        """Yield a view of every image, in order, drawn from `generator`, without CutMix.

        within: as in `test_batches`.
        """
        for indices, pixels in self._read_ahead(self._in_order(batch_size, within)):
            yield self._batch(
                indices, augmented(self._normalised(pixels), augment, self.size, generator), None
            )

    def training_batches(
        self,
        augment: Augment,
        batch_size: int,
        generator: torch.Generator,
        count: int = 0,
        share: Share = WHOLE,
    ) -> Iterator[Batch]:
        """Yield every image once, in an order and with views drawn from `generator`.

        If the last batch has one image, it joins the batch before: BatchNorm cannot train on a single image.

        count: how many images are yielded, drawn anew at each call; 0 yields all.
        share: of each batch, which alone is read. Everything is drawn for the whole batch, so that the shares together
            are the batches that one reader has, but for CutMix: it mixes the images of a share among themselves.
        """
        order = torch.randperm(len(self), generator=generator)[: count or len(self)]
        sizes = self._batch_sizes(batch_size, len(order))
        parts = [part[share.within(len(part))] for part in order.split(sizes)]
        for size, (indices, pixels) in zip(sizes, self._read_ahead(parts), strict=True):
            images = augmented(
                self._normalised(pixels), augment, self.size, generator, (size, share.within(size))
            )
            mix = mix_of(augment, size, self.size, generator)
            if mix is not None:
                mix = mix.of(share.within(size))
                images = apply_cutmix(images, mix)
            yield self._batch(indices, images, mix, share.weight(size))

    def _in_order(self, batch_size: int, within: range | None) -> Sequence[Tensor]:
        wanted = range(len(self)) if within is None else within
        order = torch.arange(wanted.start, wanted.stop)
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def _batch(self, indices: Tensor, images: Tensor, mix: CutMix | None, weight: float = 1.0) -> Batch:
        labels = self._labels[indices.to(self._labels.device)]
        return Batch(indices, labels, self.runtime.images(images), mix, weight)

    def training_steps(self, batch_size: int, count: int = 0) -> int:
        """Return the number of batches that `training_batches` yields."""
        return len(self._batch_sizes(batch_size, min(count or len(self), len(self))))

    @staticmethod
    def _batch_sizes(batch_size: int, count: int) -> list[int]:
        whole, rest = divmod(count, batch_size)
        sizes = [batch_size] * whole
        if rest == 1 and sizes:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes

    def _pixels(self, indices: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident[indices.to(self._resident.device)]
        return self._transfer.placed(self._read(indices))

    def _centred(self, pixels: Tensor) -> Tensor:
        return self._normalised(centre_crop(pixels, self.size))

    def _normalised(self, pixels: Tensor) -> Tensor:
        return normalise(pixels, self.mean, self.std)

    def _read_ahead(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each part with its pixels on the device. The next ones are decoded while the caller works."""
        if self._resident is not None:
            for part in parts:
                yield part, self._pixels(part)
            return
        loaders = self.runtime.loaders if self._images_for_processes() else 0
        # Small pieces keep all processes busy from the first part on, and little of their shared memory.
        pieces = [part.split(PIECE) if loaders else (part,) for part in parts]
        read = ahead(
            self._read,
            [piece for some in pieces for piece in some],
            loaders=loaders,
            transfer=self._transfer,
        )
        for part, some in zip(parts, pieces, strict=True):
            found = [self._transfer.placed(next(read)) for _ in some]
            yield part, torch.cat(found) if len(found) > 1 else found[0]

    def _images_for_processes(self) -> bool:
        """Return whether other processes can read the images, which are many. They have no device."""
        if self.runtime.jpeg_decoder == "cuda":
            return False
        return len(self) >= WORTHWHILE and getattr(self._images, "by_processes", False)


def mix_of(augment: Augment, count: int, size: int, generator: torch.Generator) -> CutMix | None:
    """Draw how CutMix mixes a batch of `count` images of side length `size`, or None if it does not.

    Whether it does is drawn only where it does not mix every batch.
    """
    if not augment.cutmix:
        return None
    probability = augment.cutmix_probability
    if probability < 1 and not torch.rand((), generator=generator) < probability:
        return None
    return draw_cutmix(augment.cutmix, count, size, generator)


class DecodedFeed(Feed):
    """A reader of the images that stored images hold; see `condense.Parametrization`.

    images: m stored images, in memory.
    labels: (n,) int64, of the decoded images.
    coder: decodes n / m images from each stored one.

    Decoded images are kept on the device if they take little memory, else decoded batch by batch.
    """

    def __init__(
        self,
        images: MemoryImages,
        labels: Tensor,
        *,
        coder: Coder,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        runtime: Runtime,
    ) -> None:
        super().__init__(images, labels, size=size, mean=mean, std=std, runtime=runtime)
        self._coder = coder
        self._decoded: Tensor | None = None
        if 4 * images.pixels.numel() * coder.images_per_stored <= _DECODED_BYTES:
            parts = torch.arange(len(images)).split(_DECODED_AT_ONCE)
            self._decoded = torch.cat([self._decode(part) for part in parts])

    def __len__(self) -> int:
        return len(self._images) * self._coder.images_per_stored

    def _decode(self, stored: Tensor) -> Tensor:
        """Return the images (n, C, S, S) float32, normalised, that stored images (m,) hold."""
        with torch.no_grad():
            return self._coder.decode(super()._normalised(super()._pixels(stored)))

    def _pixels(self, indices: Tensor) -> Tensor:
        if self._decoded is not None:
            return self._decoded[indices.to(self._decoded.device)]
        held = self._coder.images_per_stored
        found, where = torch.unique(indices // held, return_inverse=True)
        images = self._decode(found)
        return images[(where * held + indices % held).to(images.device)]

    def _normalised(self, pixels: Tensor) -> Tensor:
        return pixels

    def _read_ahead(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            yield part, self._pixels(part)


def feed_of(split: Split, dataset: RealDataset, runtime: Runtime) -> Feed:
    """Return the feed of a split of `dataset`.

    It is made once per split, size, normalisation, device and precision, and then reused.
    """
    key = (dataset.size, dataset.mean, dataset.std, runtime.device, runtime.bf16, runtime.jpeg_decoder)
    if key not in split.feeds:
        split.feeds[key] = Feed(
            split.images,
            split.labels,
            size=dataset.size,
            mean=dataset.mean,
            std=dataset.std,
            runtime=runtime,
        )
    found: Feed = split.feeds[key]
    return found


def augmented(
    images: Tensor,
    augment: Augment,
    size: int,
    generator: torch.Generator,
    among: tuple[int, slice] | None = None,
) -> Tensor:
    """Return a view (B, C, size, size) of each image (B, C, S, S), without CutMix; differentiable.

    Each image gets its own random values.

    among: the number of images of the batch that values are drawn for, and which of them these are; None: all.
    """
    count, own = among or (len(images), slice(None))
    result = apply_view(images, draw_view(augment, count, images.shape[-1], size, generator).of(own))
    if augment.siamese:
        result = apply_siamese(result, draw_siamese(augment, count, size, generator, shared=False).of(own))
    return result
