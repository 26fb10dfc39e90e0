"""NCFM's target: equal characteristic functions of real and synthetic features, class by class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import CharacteristicFunctionOptions

# As in the published code: below this, the phase term has no gradient, and the root of the sum a finite one.
_LEAST = 1e-12


class CharacteristicFunction(FeatureTarget):
    """Pulls the characteristic function of each class's synthetic features to that of real ones.

    Wang et al., CVPR 2025, arXiv 2502.20653, eq. 5 and 7, and the published code. With the empirical characteristic
    functions p of the synthetic and q of the real features of one class, at frequencies t_1 ... t_N:

        mean over n of sqrt(a (|q(t_n)| - |p(t_n)|)^2 + b * 2 (|q(t_n)| |p(t_n)| - Re(p(t_n) conj(q(t_n)))))
        p(t) = mean over images of exp(i <t, f / |f|>)

    f: the input of the classifier, (D,). a, b: the options `amplitude` and `phase`.
    t_n: (D,), standard normal, drawn for each class and step.

    With a = b = 1/2 a term is |p - q| / sqrt(2). The published code multiplies by 300, which is the weight in a recipe.

    Deviations: a network that learns the frequencies (eq. 4) is not offered. It would be trained against the images
    over all steps, and a loss keeps no state between steps. All configurations of the published code leave it out.
    Every image counts equally, even if another target of a recipe gives the slots weights.
    """

    def __init__(self, options: CharacteristicFunctionOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        assert synthetic.generator is not None, "the host gives the synthetic images of recover a generator"
        frequencies = draw_frequencies(
            self.options.frequencies,
            synthetic.features.shape[1],
            synthetic.generator,
            synthetic.features.device,
        )
        return characteristic_distance(
            synthetic.features,
            real.features,
            frequencies,
            amplitude=self.options.amplitude,
            phase=self.options.phase,
        )


def draw_frequencies(count: int, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return (count, size) standard normal frequencies on `device`.

    They are drawn there, from a seed that comes from `generator`: drawn on the CPU, they would take longer than the
    rest of a step on an accelerator.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(count, size, generator=torch.Generator(device).manual_seed(seed), device=device)


def characteristic_distance(
    synthetic: Tensor, real: Tensor, frequencies: Tensor, *, amplitude: float, phase: float
) -> Tensor:
    """Return the distance between the characteristic functions of two sets of features, a scalar.

    synthetic, real: (n, D) and (m, D), which are brought to length 1.
    frequencies: (N, D).
    amplitude, phase: factors of the two terms.
    """
    cosine, sine = _function(synthetic, frequencies)
    real_cosine, real_sine = _function(real, frequencies)
    length = (cosine.square() + sine.square()).sqrt()
    real_length = (real_cosine.square() + real_sine.square()).sqrt()
    longer = (real_length - length).square()
    turned = 2 * (real_length * length - cosine * real_cosine - sine * real_sine)
    return (amplitude * longer + phase * turned.clamp(min=_LEAST)).sqrt().mean()


def _function(features: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return the real and the imaginary part of the characteristic function of features (n, D), each (N,)."""
    angles = frequencies @ F.normalize(features, dim=1).T
    return angles.cos().mean(dim=1), angles.sin().mean(dim=1)
