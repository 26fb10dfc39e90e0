"""Statistics of BatchNorm inputs from per-image moments, exact for any mixture of classes and any batch size.

For image b, channel c and positions p of a layer's input x:

    mean[b, c]   = mean_p x[b, c, p]
    second[b, c] = mean_p (x[b, c, p] - m[c])^2        m: the layer's running mean

Any weighted group of images (weights w summing to 1) then has

    mu = sum_b w_b mean[b]        sigma^2 = sum_b w_b second[b] - (mu - m)^2

These are the mean and the biased variance over all positions of the group. SRe2L (Yin et al., NeurIPS 2023)
uses one group; WMDD (Liu et al., ICCV 2025) uses one group per class. The published WMDD code averages the
variances of batches instead, so its statistics depend on the batch size; these do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from condense.errors import NumericalError
from condense.models.observation import BatchLabels, Moments

# Number of float32 values that fit into the cache of a core: 2 MiB. A layer's input is converted to float32
# in parts of this size: as a whole, it would be written to fresh memory and read back for each moment, which
# takes about ten times as long.
_CACHED_VALUES = 2**19


class _PerImageMoments(torch.autograd.Function):
    """Both moments of each image, with one saved tensor and a one-pass backward.

    The saved tensor is the input, which BatchNorm saves anyway.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, centre)
        if x.dim() == 2:
            exact = x.to(centre.dtype, copy=True)
            return exact, (exact - centre).square()
        # Compiled code reads the input once for both moments, so it needs no parts.
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            parts = [_centred_moments(part, centre) for part in x.split(_images_in_cache(x))]
            shift, second = (torch.cat(moment) for moment in zip(*parts, strict=True))
            mean = shift + centre
            # The mean is rounded. The second moment is adjusted to it, so that the variance keeps its digits.
            return mean, second - shift.square() + (mean - centre).square()
        variance, mean = torch.var_mean(x.to(centre.dtype), dim=tuple(range(2, x.dim())), correction=0)
        return mean, variance + (mean - centre).square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_mean, grad_second = grads
        x, centre = ctx.saved_tensors
        slope = 2 * grad_second / x[0, 0].numel()
        offset = grad_mean / x[0, 0].numel() - slope * centre
        shape = (*grad_mean.shape, *([1] * (x.dim() - 2)))
        return torch.addcmul(offset.view(shape).to(x.dtype), x, slope.view(shape).to(x.dtype)), None


def _centred_moments(x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and second moment of each image about `centre`, both (B, C).

    x: (B, C, ...) with at least one dimension of positions.
    """
    if x.is_contiguous():
        away, positions = x.flatten(2) - centre[:, None], 2
    else:  # Channels-last: the same memory as (B, positions, C).
        away, positions = x.movedim(1, -1).flatten(1, -2) - centre, 1
    return away.mean(dim=positions), away.square_().mean(dim=positions)


def _images_in_cache(x: Tensor) -> int:
    """Return how many images of x (B, C, ...) the caches hold at once, but at least one for each core."""
    return max(1, _CACHED_VALUES // max(1, x[0].numel())) * torch.get_num_threads()


def per_image_moments(x: Tensor, running_mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and second moment of each image, both (B, C), differentiable once.

    They are float32, or float64 for float64 input.

    x: (B, C, ...), the input of a BatchNorm layer, of any float type.
    running_mean: (C,).
    """
    centre = running_mean.detach().to(torch.promote_types(x.dtype, torch.float32))
    mean, second = _PerImageMoments.apply(x, centre)
    return mean, second


def group_statistics(moments: Moments, membership: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance, both (G, S), of G weighted groups of the batch.

    membership: (G, B), the weight of each image in each group; rows sum to 1.
    """
    mean = membership @ moments.mean
    variance = membership @ moments.second - (mean - moments.running_mean).square()
    return mean, variance


class ClassMoments:
    """Sums of per-image moments by class, in float64, over batches and workers.

    Call `add` for batches, and `merge` for sums of other images, in any order. Then read the statistics.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._counts = torch.zeros(classes, dtype=torch.float64)
        self._mean = torch.zeros(0)
        self._second = torch.zeros(0)
        self._centre = torch.zeros(0)

    def add(self, moments: Moments, batch: BatchLabels) -> None:
        """Add one batch of real images. Every image counts once."""
        if not len(self._centre):
            # Sums stay on a CUDA device, which has float64, so that adding a batch does not wait for it.
            device = moments.mean.device if moments.mean.is_cuda else torch.device("cpu")
            self._counts = self._counts.to(device)
            self._centre = moments.running_mean.detach().to(device).double()
            self._mean = torch.zeros(self.classes, len(self._centre), dtype=torch.float64, device=device)
            self._second = torch.zeros_like(self._mean)
        device = self._mean.device
        present = batch.classes.to(device)
        counted = (batch.labels.to(device)[None, :] == present[:, None]).double()
        self._counts[present] += counted.sum(dim=1)
        self._mean[present] += counted @ moments.mean.detach().to(device).double()
        self._second[present] += counted @ moments.second.detach().to(device).double()

    def sums(self) -> dict[str, Tensor]:
        """Return the sums so far, by name: counts (K,), mean and second (K, S), centre (S,), all float64."""
        return {
            "counts": self._counts,
            "mean": self._mean,
            "second": self._second,
            "centre": self._centre,
        }

    def merge(self, sums: Mapping[str, Tensor]) -> None:
        """Add the sums of other images of the same classes, seen through the same network. sums: as `sums` gives them.

        The outcome is that of all images in one pass, but for rounding in float64.
        """
        if not len(sums["centre"]):
            return
        if not len(self._centre):
            self._centre = sums["centre"]
            self._counts = self._counts.to(self._centre.device)
            self._mean, self._second = torch.zeros_like(sums["mean"]), torch.zeros_like(sums["mean"])
        device = self._centre.device
        self._counts = self._counts + sums["counts"].to(device)
        self._mean = self._mean + sums["mean"].to(device)
        self._second = self._second + sums["second"].to(device)

    def class_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of each class, both (K, S) float64.

        Raises NumericalError if a class has no images or activations overflowed.
        """
        counts = self._counts[:, None]
        return self._finish(self._mean / counts, self._second / counts)

    def global_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance over all images, both (S,) float64.

        Raises NumericalError if there are no images or activations overflowed.
        """
        total = self._counts.sum()
        return self._finish(self._mean.sum(dim=0) / total, self._second.sum(dim=0) / total)

    def _finish(self, mean: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        variance = second - (mean - self._centre).square()
        if not (len(self._centre) and bool(torch.isfinite(mean).all() and torch.isfinite(variance).all())):
            raise NumericalError(
                "the BatchNorm statistics of the real images are not finite: a class without images, or a teacher "
                "whose activations overflow. Try --precision fp32 or another teacher"
            )
        return mean, variance.clamp_min(0)


_LEAST = 1e-12


def safe_norm(sum_of_squares: Tensor) -> Tensor:
    """Return the square roots of sums of squares; sums below 1e-12 count as 1e-12."""
    return torch.sqrt(sum_of_squares.clamp_min(_LEAST))
