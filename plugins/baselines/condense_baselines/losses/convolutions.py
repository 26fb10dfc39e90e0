"""G-VBSM's statistics of the inputs of convolutions, over channels and over patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from condense import ClassMoments, Moments, Observation, Regularizer, group_statistics, safe_norm
from condense_baselines.options import ConvolutionsOptions


@dataclass
class _Statistics:
    """The statistics of one kind in one network.

    sums: the sums of the measure stage.
    mean, variance: (S,) float32 each.
    """

    sums: ClassMoments = field(default_factory=lambda: ClassMoments(0))
    mean: Tensor = field(default_factory=lambda: torch.empty(0))
    variance: Tensor = field(default_factory=lambda: torch.empty(0))

    def gaps(self, moments: Moments) -> Tensor:
        """Return (L,): ||mu(x~) - mu|| + ||sigma^2(x~) - sigma^2|| of each layer, over the whole batch."""
        if self.mean.device != moments.mean.device:
            self.mean, self.variance = (
                self.mean.to(moments.mean.device),
                self.variance.to(moments.mean.device),
            )
        images = len(moments.mean)
        mean, variance = group_statistics(moments, moments.mean.new_full((1, images), 1 / images))
        squares = torch.cat([mean - self.mean, variance - self.variance]).square()
        return safe_norm(moments.by_layer(squares)).sum(dim=0)


class Convolutions(Regularizer):
    """Pulls the mean and variance of the inputs of every convolution to those of the real images.

    Shao et al., CVPR 2024, arXiv 2311.17950, generalized statistical matching, in the form of the published
    code:

        sum over convolutions l of w_l sum over s in {channels, patches} of
            ||mu_s,l(x~) - mu_s,l||_2 + ||sigma^2_s,l(x~) - sigma^2_s,l||_2

    mu, sigma^2: mean and biased variance over all images of the batch, whatever their classes. Channels: of
        each channel over all positions. Patches: of each patch of 16x16 positions (4x4 for small images) over
        its positions and all channels.
    w_l: `first_weight` for the first convolution, whose input is the image, and 1 for the others.

    Deviations from that code (shaoshitong/G_VBSM_Dataset_Condensation):

    - The real statistics are exact over the training images as they are. The code takes them over randomly
      cropped and flipped images, and its variances are means of the variances of batches, which depend on the
      batch size.
    - The synthetic statistics are those of the step. In the code, a moving average over the steps (alpha 0.4
      or 0.8) gives the value, and only the gradient is the step's; chunks would have to remember their past.
    - Every convolution counts at every step. With small images, the code leaves out each with probability
      0.4.
    - A length that the side length of a patch does not divide is treated as stretched, without smoothing the
      values whose variance is taken.
    """

    def __init__(self, options: ConvolutionsOptions) -> None:
        self.options = options
        self._classes = 0
        self._found: dict[tuple[str, int], _Statistics] = {}

    def begin(self, classes: int, generator: torch.Generator) -> None:
        self._classes = classes
        self._found = {}

    def observe(self, real: Observation) -> None:
        for kind, moments in self._looked_at(real).items():
            key = (kind, real.member)
            if key not in self._found:
                self._found[key] = _Statistics(sums=ClassMoments(self._classes))
            self._found[key].sums.add(moments, real.batch)

    def observed(self) -> dict[str, Tensor]:
        return {
            f"{kind}.{member}.{name}": value
            for (kind, member), found in self._found.items()
            for name, value in found.sums.sums().items()
        }

    def merge(self, observed: Mapping[str, Tensor]) -> None:
        sums: dict[tuple[str, int], dict[str, Tensor]] = {}
        for key, value in observed.items():
            kind, member, name = key.split(".")
            sums.setdefault((kind, int(member)), {})[name] = value
        for where, added in sums.items():
            if where not in self._found:
                self._found[where] = _Statistics(sums=ClassMoments(self._classes))
            self._found[where].sums.merge(added)

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        for found in self._found.values():
            mean, variance = found.sums.global_statistics()
            found.mean, found.variance = mean.float(), variance.float()
            found.sums = ClassMoments(0)

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        gaps = [
            self._found[kind, synthetic.member].gaps(moments)
            for kind, moments in self._looked_at(synthetic).items()
        ]
        layers = torch.stack(gaps).sum(dim=0)
        return layers.sum() + (self.options.first_weight - 1) * layers[0]

    def state(self) -> dict[str, Tensor]:
        return {
            f"{kind}.{member}.{name}": value
            for (kind, member), found in self._found.items()
            for name, value in (("mean", found.mean), ("variance", found.variance))
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._found = {}
        for key in state:
            kind, member, name = key.split(".")
            if name == "mean":
                self._found[kind, int(member)] = _Statistics(
                    mean=state[key], variance=state[f"{kind}.{member}.variance"]
                )

    def _looked_at(self, seen: Observation) -> dict[str, Moments]:
        assert seen.convolutions is not None, "the host reads the statistics that a loss needs"
        assert seen.patches is not None, "patches come with convolutions"
        both = {"convolutions": seen.convolutions, "patches": seen.patches}
        return {kind: moments for kind, moments in both.items() if self.options.patches or kind != "patches"}
