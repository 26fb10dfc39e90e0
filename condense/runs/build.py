"""What a run is built from before any work, so that a mistake shows at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from condense.data.ahead import too_few
from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder, coder_of
from condense.engine.build import build_component, build_losses
from condense.engine.components import Evaluator, FeatureTarget, Initializer, WeightedLoss
from condense.engine.initial import build_initializer
from condense.engine.plan import Plan
from condense.recipe.config import dataset_label
from condense.recipe.method import Use
from condense.recipe.registry import Registry


def check_images(ipc: int, dataset: RealDataset, coder: Coder) -> None:
    """Raise DataError if a class has fewer real images than are made of it, or if images cannot be stored in this form.

    ipc: stored images per class.
    """
    counts, held = dataset.class_counts(), coder.images_per_stored
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if ipc * held > counts[fewest]:
        raise too_few(ipc, dataset_label(dataset.name), dataset.classes[fewest], counts[fewest], held)
    coder.check(dataset.channels, dataset.size)


def build_parts(plan: Plan, registry: Registry) -> Parts:
    """Return what a run is built from. Raises CondenseError for a plugin's mistake, or parts that do not fit together.

    An initializer that needs what no target gives is refused here, before a teacher is trained.
    """
    seed = plan.recipe.seed
    parts = Parts(
        losses=build_losses(plan),
        initializer=build_initializer(plan.recipe.initializer, registry, seed),
        starts={spec.name: build_initializer(Use(name=spec.name), registry, seed) for spec in plan.starts},
        evaluator=build_component(plan.evaluation.evaluator, "evaluator", Evaluator, registry),
        coder=coder_of(plan.recipe.parametrization, registry),
    )
    targets = [loss.loss for loss in parts.losses if isinstance(loss.loss, FeatureTarget)]
    for initializer in (parts.initializer, *parts.starts.values()):
        initializer.check(targets)
    return parts


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is built from."""

    losses: tuple[WeightedLoss, ...]
    initializer: Initializer
    starts: Mapping[str, Initializer]
    evaluator: Evaluator
    coder: Coder
