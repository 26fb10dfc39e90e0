"""Measure: show the real training images once to every loss that observes them, in one pass or in shards.

A shard is a part of the images, some batches of the one pass. Shards are measured anywhere and in any order. What the
losses observed in them is merged in the order of the images, so that the outcome does not depend on who measured what.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Batch, Feed, feed_of
from condense.engine.components import WeightedLoss
from condense.engine.first_step import check_unchanged, versions
from condense.errors import ModelError, NumericalError, PluginError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs, Statistic
from condense.recipe.plugin_code import plugin_code
from condense.recipe.training import Augment
from condense.rng import generator
from condense.runtime import Runtime
from condense.storage.tensors import tensors_below

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


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of the measure stage: the batches of the pass are cut into `count` parts of nearly equal length.

    number: of the part, in [0, count). There is nothing to do in a part of fewer batches than parts.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ValueError(f"there is no shard {self.number} of {self.count}; they are numbered from 0")

    def within(self, images: int, batch_size: int) -> range:
        """Return the positions of its images, of `images` that are read in batches."""
        batches = -(-images // batch_size)
        first, last = (batches * number // self.count for number in (self.number, self.number + 1))
        return range(first * batch_size, min(images, last * batch_size))

    def piece(self, *name: str | int) -> tuple[str | int, ...]:
        """Return the name of a generator for this shard. The only shard of a pass has the name as it is."""
        return (*name, "shard", self.number, self.count) if self.count > 1 else name


WHOLE = Shard()
"""The pass in one part."""


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
    look(
        losses,
        teacher,
        dataset,
        runtime,
        batch_size=batch_size,
        seed=seed,
        views=views,
        augment=augment,
    )
    _fit(losses, seed=seed, ipc=ipc)


@torch.no_grad()
def look(
    losses: Sequence[WeightedLoss],
    teacher: Network,
    dataset: RealDataset,
    runtime: Runtime,
    shard: Shard = WHOLE,
    *,
    batch_size: int,
    seed: int,
    views: int = 0,
    augment: Augment | None = None,
) -> None:
    """Show the images of a shard to each loss that observes, and fit nothing. The arguments are those of `measure`.

    `observed_by` then gives what the losses found. Raises NumericalError if a feature is not finite.
    """
    observing = [loss for loss in losses if loss.needs.observes]
    statistics = {statistic for loss in observing for statistic in loss.needs.statistics}
    feed = feed_of(dataset.train, dataset, runtime)
    within = shard.within(len(feed), batch_size)
    of_all = f" of {len(feed)}" if shard.count > 1 else ""
    passes = max(1, views)
    runtime.reporter.start("measure", f"{len(within)}{of_all} training images", passes * len(within), "image")
    _begin(observing, seed, len(dataset.classes))
    draws = generator(seed, *shard.piece("measure", "views"))
    for number, batch in enumerate(_shown(feed, batch_size, views, augment, draws, within)):
        labels = BatchLabels.of_real(batch.labels)
        for member in teacher.members:
            with runtime.autocast():
                seen = replace(member.observe(batch.images, labels, statistics), indices=batch.indices)
            _check_finite(seen, batch.indices)
            for weighted in observing:
                before = versions(real=seen) if number == 0 else []
                own = generator(seed, "plugin", *shard.piece(weighted.name, "observe", number, seen.member))
                with plugin_code(weighted.title, "observe", own):
                    weighted.loss.observe(replace(seen, generator=own))
                check_unchanged(before, weighted.title, "observe")
        runtime.reporter.advance(len(batch.indices))
    runtime.reporter.finish()


def mergeable(losses: Sequence[WeightedLoss]) -> bool:
    """Return whether shards can be measured apart: every loss that observes merges what it observed."""
    return all(loss.needs.merges for loss in losses if loss.needs.observes)


def observed_by(losses: Sequence[WeightedLoss]) -> dict[str, Tensor]:
    """Return what losses observed in a shard, as "name of the loss/key", contiguous and on the CPU.

    Raises PluginError for anything but a dict of tensors.
    """
    kept: dict[str, Tensor] = {}
    for weighted in (loss for loss in losses if loss.needs.observes):
        with plugin_code(weighted.title, "observed", generator(0, "plugin", weighted.name, "observed")):
            observed: object = weighted.loss.observed()
        if not isinstance(observed, Mapping) or not all(
            isinstance(part, Tensor) for part in observed.values()
        ):
            raise PluginError(
                f"what {weighted.title} observed must be a dict of tensors, and is {observed!r:.200}"
            )
        kept |= {f"{weighted.name}/{key}": part.detach().cpu().contiguous() for key, part in observed.items()}
    return kept


def fit_merged(
    losses: Sequence[WeightedLoss],
    shards: Sequence[Mapping[str, Tensor]],
    *,
    classes: int,
    seed: int,
    ipc: int,
    runtime: Runtime,
) -> None:
    """Fit losses in place to what was observed in the shards of a pass, in the order of the shards.

    shards: as `observed_by` gives them. classes: the number of classes, K. runtime: losses are fitted on its CUDA
        device, if it is one, as in `measure`.

    The outcome is that of `measure`, but for rounding where a loss adds up. It depends on how many shards there are,
    and not on where or in which order they were measured.
    """
    observing = [loss for loss in losses if loss.needs.observes]
    device = runtime.device if runtime.device.type == "cuda" else torch.device("cpu")
    _begin(observing, seed, classes)
    for number, shard in enumerate(shards):
        for weighted in observing:
            with plugin_code(
                weighted.title, "merge", generator(seed, "plugin", weighted.name, "merge", number)
            ):
                own = tensors_below(shard, weighted.name).items()
                weighted.loss.merge({key: part.to(device, copy=True) for key, part in own})
    _fit(losses, seed=seed, ipc=ipc)


def _begin(observing: Sequence[WeightedLoss], seed: int, classes: int) -> None:
    """Begin with the same draws for every shard, and for the loss that is fitted."""
    for weighted in observing:
        draws, begin = generator(seed, "plugin", weighted.name, "begin"), weighted.loss.begin
        with plugin_code(weighted.title, "begin", draws):
            if len(inspect.signature(begin).parameters) == 1:  # written before `begin` had a generator
                begin(classes)  # type: ignore[call-arg]
            else:
                begin(classes, draws)


@torch.no_grad()
def _fit(losses: Sequence[WeightedLoss], *, seed: int, ipc: int) -> None:
    for index, weighted in enumerate(loss for loss in losses if loss.needs.observes):
        with plugin_code(weighted.title, "fit", generator(seed, "plugin", weighted.name, "fit")):
            weighted.loss.fit(ipc, generator(seed, "measure", "fit", index))


def _shown(
    feed: Feed, batch_size: int, views: int, augment: Augment | None, draws: torch.Generator, within: range
) -> Iterator[Batch]:
    """Yield the images within a range once and whole, or `views` times as a view drawn with `augment`."""
    if augment is None or not views:
        yield from feed.test_batches(batch_size, within)
        return
    for _ in range(views):
        yield from feed.views(augment, batch_size, draws, within)


def _check_finite(seen: Observation, indices: Tensor) -> None:
    bad = ~torch.isfinite(seen.features).all(dim=1)
    if bool(bad.any()):
        first = int(indices[bad.cpu()][0])
        raise NumericalError(
            f"the teacher's features of {int(bad.sum())} of {len(indices)} real images are not finite, first that of "
            f"training image {first}; try --precision fp32, or another teacher"
        )
