"""NCFM's calibration: the trained network of the pool should recognise the synthetic images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, NoOptions, Observation


class TrainedEntropy(FeatureTarget):
    """The mean cross-entropy of each class's synthetic images in the trained network of the draw, summed over classes.

    Wang et al., CVPR 2025, arXiv 2502.20653, and the published code (`compute_calib_loss`).
    """

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return F.cross_entropy(synthetic.logits, synthetic.batch.labels)
