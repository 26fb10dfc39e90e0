"""Measure: show the real training images once to every loss that observes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Batch, Feed, feed_of
from condense.engine.components import WeightedLoss
from condense.engine.first_step import check_unchanged, versions
from condense.errors import ModelError, NumericalError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs, Statistic
from condense.recipe.plugin_code import plugin_code
from condense.recipe.training import Augment
from condense.rng import generator
from condense.runtime import Runtime

# For each statistic: its name in messages, and the layer that a network needs for it.
_LAYERS: dict[Statistic, tuple[str, str]] = {
    "batchnorm": ("BatchNorm statistics", "BatchNorm layer"),
    "convolutions": ("convolution statistics", "Conv2d layer"),
}


def check_teacher(needs: dict[str, Needs], teacher: Network) -> None:
    """Raise ModelError if the teacher lacks something that a loss needs.

    needs: the needs of each loss, by name. A loss may need BatchNorm layers or convolutions in every member
    of the teacher, or a teacher that is a single network.
    """
    for name, wanted in needs.items():
        if wanted.network != "teacher":
            continue
        if len(teacher.members) > 1 and not wanted.each_member:
            raise ModelError(
                f"{name!r} looks through one network, and {teacher.name!r} is {len(teacher.members)}; choose another "
                f"teacher with --set teacher.model=NAME, or leave it out with --without {name}"
            )
        for member in teacher.members:
            for statistic in wanted.statistics:
                what, layer = _LAYERS[statistic]
                if not member.layers_of(statistic):
                    raise ModelError(
                        f"{name!r} needs the {what} of the teacher, and {member.name!r} has no {layer}; choose another "
                        f"with --set teacher.model=NAME, or leave it out with --without {name}"
                    )


@torch.no_grad()
def measure(
    losses: Sequence[WeightedLoss],
    teacher: Network,
    dataset: RealDataset,
    runtime: Runtime,
    *,
    batch_size: int,
    seed: int,
    ipc: int,
    views: int = 0,
    augment: Augment | None = None,
) -> None:
    """Show every training image, not augmented or as views, to each loss that observes; then fit the losses in place.

    views: how many views of each image are shown, drawn with `augment`; 0 shows each image once and whole.

    If the teacher consists of several networks, each image passes once through each of them. Raises
    NumericalError if a feature is not finite.
    """
    observing = [loss for loss in losses if loss.needs.observes]
    statistics = {statistic for loss in observing for statistic in loss.needs.statistics}
    feed = feed_of(dataset.train, dataset, runtime)
    passes = max(1, views)
    runtime.reporter.start("measure", f"{len(feed)} training images", passes * len(feed), "image")
    for weighted in observing:
        with plugin_code(weighted.title, "begin", generator(seed, "plugin", weighted.name, "begin")):
            weighted.loss.begin(len(dataset.classes))
    draws = generator(seed, "measure", "views")
    for number, batch in enumerate(_shown(feed, batch_size, views, augment, draws)):
        labels = BatchLabels.of_real(batch.labels)
        for member in teacher.members:
            with runtime.autocast():
                seen = member.observe(batch.images, labels, statistics)
            _check_finite(seen, batch.indices)
            for weighted in observing:
                before = versions(real=seen) if number == 0 else []
                piece = (weighted.name, "observe", number, seen.member)
                with plugin_code(weighted.title, "observe", generator(seed, "plugin", *piece)):
                    weighted.loss.observe(seen)
                check_unchanged(before, weighted.title, "observe")
        runtime.reporter.advance(len(batch.indices))
    for index, weighted in enumerate(observing):
        with plugin_code(weighted.title, "fit", generator(seed, "plugin", weighted.name, "fit")):
            weighted.loss.fit(ipc, generator(seed, "measure", "fit", index))
    runtime.reporter.finish()


def _shown(
    feed: Feed, batch_size: int, views: int, augment: Augment | None, draws: torch.Generator
) -> Iterator[Batch]:
    """Yield every image once and whole, or `views` times as a view drawn with `augment`."""
    if augment is None or not views:
        yield from feed.test_batches(batch_size)
        return
    for _ in range(views):
        yield from feed.views(augment, batch_size, draws)


def _check_finite(seen: Observation, indices: Tensor) -> None:
    bad = ~torch.isfinite(seen.features).all(dim=1)
    if bool(bad.any()):
        first = int(indices[bad.cpu()][0])
        raise NumericalError(
            f"the teacher's features of {int(bad.sum())} of {len(indices)} real images are not finite, first that of "
            f"training image {first}; try --precision fp32, or another teacher"
        )
