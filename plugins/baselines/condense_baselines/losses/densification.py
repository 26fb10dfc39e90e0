"""G-VBSM's data densification: the images of a class should differ."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import Observation, Regularizer
from condense_baselines.options import DensificationOptions


class Densification(Regularizer):
    """The eigenvalues of each class's Gram matrix should be more alike (Shao et al., CVPR 2024, arXiv 2311.17950, data
    densification; the form is that of the published code):

        sum over classes k of KL(softmax(e_k / T) || softmax(e_k)),    e_k the eigenvalues of X_k X_k^T

    X_k: the augmented images of class k, pooled to 32x32 pixels (smaller ones stay as they are), a row for each.
    The softened side takes no gradient. A class of one image has one eigenvalue, so nothing happens.

    It looks at images alone, whatever the network.
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
