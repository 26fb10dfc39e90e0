"""Dataset condensation: turn a large labelled image dataset into a small synthetic one.

    import condense

    result = condense.run(method="wmdd", dataset="fashion-mini", ipc=10)
    distilled = condense.load(result.path)       # a torch Dataset: image, label, weight

Importing condense imports no torch; that happens when something is computed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condense.api import evaluate, load, repeat, run
    from condense.comparison.api import ablate, compare, sweep
    from condense.components import (
        Component,
        EvaluationRequest,
        Evaluator,
        FeatureTarget,
        Initializer,
        InitialRequest,
        Measurement,
        Regularizer,
    )
    from condense.data.augment import Augment
    from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
    from condense.distilled import DistilledDataset
    from condense.errors import CondenseError, DataError, NumericalError, OptionError
    from condense.hookspecs import hookimpl
    from condense.method import Method, Recover, Student, Teacher, Use, Variant
    from condense.models.options import ModelRequest
    from condense.moments import ClassMoments, group_statistics
    from condense.observation import Moments, Observation, Roster
    from condense.protocols import Protocol
    from condense.result import EvaluationResult, RunResult, Score
    from condense.specs import (
        DatasetSpec,
        EvaluatorSpec,
        FeatureTargetSpec,
        InitializerSpec,
        ModelSpec,
        NoOptions,
        RegularizerSpec,
    )
    from condense.training_options import Training

__all__ = [
    "Augment",
    "ClassMoments",
    "Component",
    "CondenseError",
    "DataError",
    "DatasetRequest",
    "DatasetSpec",
    "DistilledDataset",
    "EvaluationRequest",
    "EvaluationResult",
    "Evaluator",
    "EvaluatorSpec",
    "FeatureTarget",
    "FeatureTargetSpec",
    "InitialRequest",
    "Initializer",
    "InitializerSpec",
    "Measurement",
    "MemoryImages",
    "Method",
    "ModelRequest",
    "ModelSpec",
    "Moments",
    "NoOptions",
    "NumericalError",
    "Observation",
    "OptionError",
    "Protocol",
    "RealDataset",
    "Recover",
    "Regularizer",
    "RegularizerSpec",
    "Roster",
    "RunResult",
    "Score",
    "Split",
    "Student",
    "Teacher",
    "Training",
    "Use",
    "Variant",
    "ablate",
    "compare",
    "evaluate",
    "group_statistics",
    "hookimpl",
    "load",
    "repeat",
    "run",
    "sweep",
]

# Where each name lives; imported when it is first asked for.
_HOME = {
    "condense.api": ("evaluate", "load", "repeat", "run"),
    "condense.comparison.api": ("ablate", "compare", "sweep"),
    "condense.components": (
        "Component",
        "EvaluationRequest",
        "Evaluator",
        "FeatureTarget",
        "InitialRequest",
        "Initializer",
        "Measurement",
        "Regularizer",
    ),
    "condense.data.augment": ("Augment",),
    "condense.data.dataset": ("DatasetRequest", "MemoryImages", "RealDataset", "Split"),
    "condense.distilled": ("DistilledDataset",),
    "condense.errors": ("CondenseError", "DataError", "NumericalError", "OptionError"),
    "condense.hookspecs": ("hookimpl",),
    "condense.method": ("Method", "Recover", "Student", "Teacher", "Use", "Variant"),
    "condense.models.options": ("ModelRequest",),
    "condense.moments": ("ClassMoments", "group_statistics"),
    "condense.observation": ("Moments", "Observation", "Roster"),
    "condense.protocols": ("Protocol",),
    "condense.result": ("EvaluationResult", "RunResult", "Score"),
    "condense.specs": (
        "DatasetSpec",
        "EvaluatorSpec",
        "FeatureTargetSpec",
        "InitializerSpec",
        "ModelSpec",
        "NoOptions",
        "RegularizerSpec",
    ),
    "condense.training_options": ("Training",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'condense' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
