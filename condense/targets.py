"""The feature target that comes with condense."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from condense.components import FeatureTarget
from condense.observation import Observation
from condense.specs import NoOptions


class CrossEntropy(FeatureTarget):
    """The network's cross-entropy on the class of each synthetic image, averaged over the batch (SRe2L)."""

    measures = False
    by_member = True

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return F.cross_entropy(synthetic.logits, synthetic.roster.labels)
