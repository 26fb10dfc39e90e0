"""RDED as a recipe and as a protocol, with the settings of its published code (LINs-lab/RDED).

For the images see `condense_baselines.initializers.rded_images`.

Deviations of the protocol from that code:

- The learning rate changes at every step instead of every epoch.
- Weight decay also applies to biases and BatchNorm's weights.
- The accuracy is that of the last epoch; the code takes the best of the last fifth.
- Crops have at least half of the area. In the code this is 1 / factor, so with one tile per image it crops
  nothing, as `--set protocol.augment.crop_scale=1,1` does.

Settings of the code that depend on the case:

- The batch size of 50 is for 10 images per class of ten classes. The code has 10 for 1 image per class and
  100 for 50, twice as many for 100 or 1000 classes, and 100 for Tiny-ImageNet: `--set protocol.batch_size`.
- The learning rate is that for ResNets and ConvNets. The code has 5e-4 for VGG-11, 2e-3 for EfficientNet-B0,
  2.5e-3 for MobileNet-V2, and 1e-4 for AlexNet and transformers.
- Images that are not made of 2 x 2 tiles need `--set protocol.augment.shuffle_patches`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense import Augment, Method, Protocol, Recover, Teacher, Use

_SOURCE = (
    "Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526; "
    "https://github.com/LINs-lab/RDED"
)

# The published scripts for small images (CIFAR at 32, Tiny-ImageNet at 64) keep one crop per image, --factor 1.
# Students shuffle by the same number.
_ONE_TILE: Mapping[str, Any] = {"initializer.factor": 1, "protocol.augment.shuffle_patches": 1}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": _ONE_TILE,
    "cifar100": _ONE_TILE,
    "tiny-imagenet": {**_ONE_TILE, "teacher.model": "resnet18", "teacher.model.stem": "cifar"},
    "imagenet-1k": {
        "teacher.model": "resnet18",
        "teacher.model.pretrained": True,
        "teacher.epochs": 0,
    },
    # Not published: as for the other small images.
    "small-grey": _ONE_TILE,
}

RDED = Method(
    name="rded",
    summary="the crops of real images that the teacher finds easiest, four to an image; nothing optimised",
    source=_SOURCE,
    initializer=Use(name="rded"),
    recover=Recover(iterations=0),
    teacher=Teacher(model=Use(name="resnet18")),
    protocol="rded",
    presets=PRESETS,
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
