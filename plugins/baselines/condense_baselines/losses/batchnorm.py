"""SRe2L's regularizer: the BatchNorm statistics of the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from condense import Observation, Regularizer, group_statistics, safe_norm
from condense_baselines.options import BatchNormOptions


class BatchNorm(Regularizer):
    """Pulls the mean and variance of every BatchNorm input to those that the layer normalises with.

    Yin, Xing & Shen, NeurIPS 2023, arXiv 2306.13092, the regularization term of the recover stage, from
    DeepInversion:

        sum over layers l of w_l (||mu_l(x~) - running_mean_l||_2 + ||sigma^2_l(x~) - running_var_l||_2)

    mu_l, sigma^2_l: mean and biased variance over all positions of all images of the batch, whatever their
        classes.
    w_l: `first_weight` for the first layer and 1 for the others, as in the published code.

    The running statistics come with the teacher, so nothing is measured. They are of all classes together,
    and a batch should hold many classes, too.
    """

    def __init__(self, options: BatchNormOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        moments = synthetic.moments
        assert moments is not None, "the host reads the statistics that a loss needs"
        images = len(moments.mean)
        mean, variance = group_statistics(moments, moments.mean.new_full((1, images), 1 / images))
        gaps = torch.cat([mean - moments.running_mean, variance - moments.running_var])
        norms = safe_norm(moments.by_layer(gaps.square())).sum(dim=0)
        return norms.sum() + (self.options.first_weight - 1) * norms[0]
