"""Measure: one pass over the real training images; every component that wants to sees every batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Feed
from condense.engine.components import Component
from condense.errors import ModelError, NumericalError
from condense.models.network import Network
from condense.models.observation import Observation, Roster
from condense.rng import generator
from condense.runtime import Runtime


def check_taps(names: Sequence[str], components: Sequence[Component], network: Network) -> None:
    """Raise ModelError where a component that looks through the teacher cannot see there what it needs.

    That is BatchNorm layers or convolutions in each of its members, or one network instead of several.
    """
    for name, component in zip(names, components, strict=True):
        if component.network != "teacher":
            continue
        if len(network.members) > 1 and not component.by_member:
            raise ModelError(
                f"{name!r} looks through one network, and {network.name!r} is {len(network.members)}; choose another "
                f"teacher with --set teacher.model=NAME, or leave it out with --without {name}"
            )
        for member in network.members:
            if component.uses_moments and not member.batch_norm_layers:
                raise ModelError(
                    f"{name!r} needs the BatchNorm statistics of the teacher, and {member.name!r} has no BatchNorm "
                    f"layer; choose another with --set teacher.model=NAME, or leave it out with --without {name}"
                )
            if component.uses_convolutions and not member.convolution_layers:
                raise ModelError(
                    f"{name!r} needs the convolution statistics of the teacher, and {member.name!r} has no Conv2d "
                    f"layer; choose another with --set teacher.model=NAME, or leave it out with --without {name}"
                )


@torch.no_grad()
def measure(
    components: Sequence[Component],
    teacher: Network,
    dataset: RealDataset,
    runtime: Runtime,
    *,
    batch_size: int,
    seed: int,
    ipc: int,
) -> None:
    """Show every training image once, not augmented, to each component that measures; then fit them in place.

    Where the teacher is several networks, once through each. Raises NumericalError when its features of a batch are
    not finite.
    """
    wanting = [component for component in components if component.measures]
    moments = any(component.uses_moments for component in wanting)
    convolutions = any(component.uses_convolutions for component in wanting)
    feed = Feed(dataset.train.images, size=dataset.size, mean=dataset.mean, std=dataset.std, runtime=runtime)
    labels = dataset.train.labels
    runtime.reporter.start("measure", f"{len(feed)} training images", len(feed), "image")
    for component in wanting:
        component.begin(len(dataset.classes))
    for batch in feed.test_batches(batch_size):
        roster = Roster.of_real(labels[batch.indices].to(runtime.device))
        for member in teacher.members:
            with runtime.autocast():
                seen = member.observe(batch.images, roster, moments=moments, convolutions=convolutions)
            _check_finite(seen, batch.indices)
            for component in wanting:
                component.observe(seen)
        runtime.reporter.advance(len(batch.indices))
    for index, component in enumerate(wanting):
        component.fit(ipc, generator(seed, "measure", "fit", index))
    runtime.reporter.finish()


def _check_finite(seen: Observation, indices: Tensor) -> None:
    bad = ~torch.isfinite(seen.features).all(dim=1)
    if bool(bad.any()):
        first = int(indices[bad.cpu()][0])
        raise NumericalError(
            f"the teacher's features of {int(bad.sum())} of {len(indices)} real images are not finite, first that of "
            f"training image {first}; try --precision fp32, or another teacher"
        )
