"""What the loaders of published datasets share: the facts of the catalogue on the dataset that was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from condense.data.catalog import DATASETS
from condense.data.dataset import DatasetRequest, RealDataset, Split

# Statistics of ImageNet's training images, which pretrained networks expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published_dataset(
    name: str,
    request: DatasetRequest,
    *,
    title: str,
    where: Path,
    classes: Sequence[str],
    splits: tuple[Split, Split],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int | None = None,
    notes: Sequence[str] = (),
) -> RealDataset:
    """Return a dataset with licence and source from the catalogue, and a note if its numbers of images are others.

    name: of the dataset in the catalogue.
    title: its name for people.
    where: the folder that it was read from.
    splits: the training and the test split.
    size: the side length in pixels that networks see; None: the one in the catalogue.
    classes, mean, std, notes: as in `RealDataset`.
    """
    spec = next(spec for spec in DATASETS if spec.name == name)
    train, test = splits
    others = []
    if (len(train), len(test)) != spec.images:
        others.append(
            f"{where.name} holds {len(train)} training and {len(test)} test images; "
            f"{title} has {spec.images[0]} and {spec.images[1]}"
        )
    return RealDataset(
        name=request.name,
        classes=tuple(classes),
        train=train,
        test=test,
        size=spec.side if size is None else size,
        mean=mean,
        std=std,
        notes=(*notes, *others),
        licence=spec.licence,
        source=spec.source,
    )
