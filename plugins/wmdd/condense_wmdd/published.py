"""What WMDD's authors report, for the column of published accuracies."""

from __future__ import annotations

from condense import Published

PUBLISHED = Published.table(
    {
        "imagenette": {1: (40.2, 0.6), 10: (64.8, 0.4), 50: (83.5, 0.3), 100: (87.1, 0.3)},
        "tiny-imagenet": {1: (7.6, 0.2), 10: (41.8, 0.1), 50: (59.4, 0.5), 100: (61.0, 0.3)},
        "imagenet-1k": {1: (3.2, 0.3), 10: (38.2, 0.2), 50: (57.6, 0.5), 100: (60.7, 0.2)},
    },
    student="resnet18",
    conditions="teacher and student are alike and see 224x224; students train for 300 epochs with soft labels",
    source="Liu et al., ICCV 2025, main table; also on the project page of Liu-Hy/WMDD",
)
