"""RDED as a recipe and as a protocol, with the settings of its published code (LINs-lab/RDED).

For the images see `condense_baselines.initializers.rded_images`.

Deviations of the protocol from that code:

- The learning rate changes at every step instead of every epoch.
- Weight decay also applies to biases and BatchNorm's weights.
- The accuracy is that of the last epoch; the code takes the best of the last fifth.

Settings of the code that depend on the case:

- Crops have at least half of the area. In the code this is 1 / factor, so with one tile per image it crops nothing; the
  settings for small images say so.
- The batch size of 50 is for 10 images per class of ten classes; 1 image has 10, 50 images have 100, and Tiny-ImageNet
  has 100. The code has twice as many for 100 or 1000 classes: `--set protocol.batch_size`.
- The learning rate is that for ResNets and ConvNets. The code has 5e-4 for VGG-11, 2e-3 for EfficientNet-B0,
  2.5e-3 for MobileNet-V2, and 1e-4 for AlexNet and transformers.
- Images that are not made of 2 x 2 tiles need `--set protocol.augment.shuffle_patches`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense import Augment, Method, Protocol, Published, Recover, Teacher, Use

_SOURCE = (
    "Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526; "
    "https://github.com/LINs-lab/RDED"
)

# The published scripts for small images (CIFAR at 32, Tiny-ImageNet at 64) keep one crop per image, --factor 1.
# Students shuffle by the same number, and see whole images.
_ONE_TILE: Mapping[str, Any] = {
    "initializer.factor": 1,
    "protocol.augment.shuffle_patches": 1,
    "protocol.augment.crop_scale": None,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": _ONE_TILE,
    "cifar100": _ONE_TILE,
    "tiny-imagenet": {
        **_ONE_TILE,
        "protocol.batch_size": 100,
        "teacher.model": "resnet18",
        "teacher.model.stem": "cifar",
    },
    "imagenet-1k": {
        "teacher.model": "resnet18",
        "teacher.model.pretrained": True,
        "teacher.epochs": 0,
    },
    # Not published: as for the other small images.
    "small-grey": _ONE_TILE,
    "small-colour": _ONE_TILE,
}

_TABLE = "Sun et al., CVPR 2024, Table 2, as later papers repeat it"
_ALIKE = "teacher and student are alike, 300 epochs with labels for every view, the best of the last epochs"

PUBLISHED = (
    *Published.table(
        {
            "cifar10": {1: (22.9, 0.4), 10: (37.1, 0.3), 50: (62.1, 0.1)},
            "cifar100": {1: (11.0, 0.3), 10: (42.6, 0.2), 50: (62.6, 0.1)},
            "tiny-imagenet": {1: (9.7, 0.4), 10: (41.9, 0.2), 50: (58.2, 0.1)},
            "imagenette": {1: (35.8, 1.0), 10: (61.4, 0.4), 50: (80.4, 0.4)},
            "imagewoof": {1: (20.8, 1.2), 10: (38.5, 2.1), 50: (68.5, 0.7)},
            "imagenet-1k": {1: (6.6, 0.2), 10: (42.0, 0.1), 50: (56.5, 0.1)},
        },
        student="resnet18",
        conditions=_ALIKE,
        source=_TABLE,
    ),
    *Published.table(
        {
            "cifar10": {1: (23.5, 0.3), 10: (50.2, 0.3), 50: (68.4, 0.1)},
            "cifar100": {1: (19.6, 0.3), 10: (48.1, 0.3), 50: (57.0, 0.1)},
            "tiny-imagenet": {1: (12.0, 0.1), 10: (39.6, 0.1), 50: (47.6, 0.2)},
            "imagenette": {1: (33.8, 0.8), 10: (63.2, 0.7), 50: (83.8, 0.2)},
            "imagewoof": {1: (18.5, 0.9), 10: (40.6, 2.0), 50: (61.5, 0.3)},
            "imagenet-1k": {1: (6.4, 0.1), 10: (20.4, 0.1), 50: (38.4, 0.2)},
        },
        student="convnet",
        conditions=f"with BatchNorm, ImageNette and ImageWoof at 128x128; {_ALIKE}",
        source=_TABLE,
    ),
)

RDED = Method(
    name="rded",
    summary="the crops of real images that the teacher finds easiest, four to an image; nothing optimised",
    source=_SOURCE,
    initializer=Use(name="rded"),
    recover=Recover(iterations=0),
    teacher=Teacher(model=Use(name="resnet18")),
    protocol="rded",
    for_ipc={ipc: {"protocol.batch_size": batch} for ipc, batch in ((1, 10), (10, 50), (50, 100))},
    presets=PRESETS,
    published=PUBLISHED,
)

RDED_PROTOCOL = Protocol(
    name="rded",
    summary="the teacher labels every view; shuffled patches, CutMix, AdamW, 300 epochs to half the rate (RDED)",
    source=_SOURCE,
    labels="online",
    temperature=20.0,
    epochs=300,
    batch_size=50,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.01,
    schedule="half-cosine",
    augment=Augment(shuffle_patches=2, crop_scale=(0.5, 1.0), flip=True, cutmix=1.0),
)
