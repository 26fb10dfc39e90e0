"""The outcome as a loss: how well a student that has just learned from the synthetic images knows real ones."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import RealBatchOptions


class StudentEntropy(FeatureTarget):
    """The mean cross-entropy of real images in a student whose last steps of training are differentiated through.

    Wang et al., arXiv 1811.10959, eq. 2: the loss on real images of the network that training on the synthetic images
    gives, as a function of the synthetic images. The network here is a student in the midst of its training.
    """

    def __init__(self, options: RealBatchOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        return F.cross_entropy(real.logits.float(), real.batch.labels)
