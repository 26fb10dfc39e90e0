"""G-VBSM's data densification: the images of a class should differ from each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import Observation, Regularizer
from condense_baselines.options import DensificationOptions


class Densification(Regularizer):
    """Pulls the eigenvalues of each class's Gram matrix towards each other.

    Shao et al., CVPR 2024, arXiv 2311.17950, data densification, in the form of the published code:

        sum over classes k of KL(softmax(e_k / T) || softmax(e_k)),    e_k the eigenvalues of X_k X_k^T

    X_k: the augmented images of class k, one row each, pooled to 32x32 pixels (the option `side`); smaller
        images stay as they are.

    The softened eigenvalues take no gradient. A class of one image has one eigenvalue, so its loss is 0. The
    loss reads the images alone and looks through no network.
    """

    def __init__(self, options: DensificationOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        images, batch = synthetic.images.float(), synthetic.batch
        height, width = (min(self.options.side, length) for length in images.shape[2:])
        rows = F.adaptive_avg_pool2d(images, (height, width)).flatten(1)
        # Whole classes: each has as many images as the others, so their matrices fit into one tensor.
        by_class = rows[torch.argsort(batch.labels, stable=True)].unflatten(0, (len(batch.classes), -1))
        eigenvalues = torch.linalg.eigvalsh(by_class @ by_class.transpose(1, 2))
        softened = torch.softmax(eigenvalues.detach() / self.options.temperature, dim=1)
        return F.kl_div(torch.log_softmax(eigenvalues, dim=1), softened, reduction="sum")
