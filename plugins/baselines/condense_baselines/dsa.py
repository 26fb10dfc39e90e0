"""DSA as a recipe: DC from real images, under siamese views. Imports no torch.

As in the published code, a view is one of the six operations. Matching draws it for each class and step, and real and
synthetic images share it; inner training draws the operation for each batch, and its strength for each image. That code
leaves out the flip for digits: `--set recover.augment.siamese=color,crop,cutout,scale,rotate`, and the same of
recover.inner.augment and protocol.augment. Deviations are those of DC, but for the students: the protocol is DSA's own.
"""

from __future__ import annotations

from dataclasses import replace

from condense.data.augment import SIAMESE_OPERATIONS, Augment
from condense.method import Use
from condense_baselines.dc import DC

_VIEWS = Augment(siamese=SIAMESE_OPERATIONS)

DSA = replace(
    DC,
    name="dsa",
    summary="DC under siamese augmentation: real and synthetic images are seen in the same random view",
    source="Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021, arXiv 2102.08259",
    initializer=Use(name="real"),
    recover=replace(DC.recover, augment=_VIEWS, inner=replace(DC.recover.inner, augment=_VIEWS)),
)
