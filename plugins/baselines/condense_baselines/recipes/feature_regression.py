"""Feature regression as a recipe: images from which the labels of real images can be regressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense import SIAMESE_OPERATIONS, Augment, Method, Recover, Training, Use, Variant, Weighted
from condense_baselines.recipes.dc import NO_FLIP

_VIEWS = Augment(siamese=SIAMESE_OPERATIONS)
_DIGITS: Mapping[str, Any] = {
    "recover.augment.siamese": NO_FLIP,
    "recover.inner.augment.siamese": NO_FLIP,
}

FEATURE_REGRESSION = Method(
    name="feature-regression",
    summary="images from which the labels of real images are regressed, in features of students in training",
    source="after FRePo: Zhou, Nezhadarya & Ba, NeurIPS 2022, arXiv 2206.00719",
    initializer=Use(name="real"),
    targets={"feature-regression": Weighted(options={"real_batch": 25})},
    recover=Recover(
        iterations=400,
        batch=0,  # all classes, for the regression tells them apart
        optimizer="adam",
        lr=0.02,
        betas=(0.9, 0.99),
        schedule="constant",
        augment=_VIEWS,
        network=Use(name="convnet", options={"norm": "instance", "width": 64}),
        networks=5,
        network_steps=50,
        inner=Training(
            epochs=2,
            batch_size=256,
            lr=0.01,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="constant",
            augment=_VIEWS,
        ),
    ),
    parametrization=Use(name="mosaic", options={"factor": 2}),
    protocol="dc",
    # Four small images in one are worth much where there is one image of a class, and little and slow beyond.
    for_ipc={5: {"parametrization": "identity"}},
    presets={"mnist": _DIGITS, "svhn": _DIGITS},
    variants=(
        Variant(label="the whole method"),
        Variant(label="images as they are", settings={"parametrization": "identity"}),
        Variant(label="networks that learn nothing", settings={"recover.inner.epochs": 0}),
        Variant(label="one network at a time", settings={"recover.networks": 1}),
    ),
)
