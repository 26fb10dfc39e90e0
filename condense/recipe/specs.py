"""What a plugin offers: frozen descriptions with a lazy way to build the thing described.

Nothing here imports torch. `build` may be given as a string, "package.module:attribute", which is imported
only when a run needs it; so `condense --help` and `condense methods` answer at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from condense.errors import PluginError

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BUILD = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """For what has nothing to set."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every offer has.

    name: lower-case words joined by hyphens; what users type.
    summary: one line.
    source: the paper (authors, venue, arXiv number) or the address it comes from; may be empty.
    options: a dataclass whose fields all have defaults and whose `__post_init__` raises ValueError on a bad one.
    build: "package.module:attribute" or a callable; what it is called with is said by each subclass.

    Raises ValueError where the description is not usable, so a bad plugin is refused when it is loaded.
    """

    name: str
    summary: str
    source: str = ""
    options: type = NoOptions
    build: str | Callable[..., Any]

    def __post_init__(self) -> None:
        check_name(type(self).__name__, self.name)
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"{type(self).__name__} {self.name!r} needs a summary of one line")
        if isinstance(self.build, str) and not _BUILD.fullmatch(self.build):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: build {self.build!r} is not 'module:attribute'"
            )
        check_options_type(self.name, self.options)

    def builder(self) -> Callable[..., Any]:
        """The callable behind `build`. Raises PluginError where its import fails."""
        if not isinstance(self.build, str):
            return self.build
        module_name, attribute = self.build.split(":")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module_name), attribute)
        except Exception as error:  # A stranger's module may raise anything when it is imported.
            raise PluginError(
                f"{self.name!r} cannot be built from {self.build!r}: {type(error).__name__}: {error}"
            ) from error
        return found


def check_name(what: str, name: str) -> None:
    """Raise ValueError unless `name` is what users can type. what: is named so, for the text."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} name {name!r} is not lower-case words joined by hyphens")


def check_options_type(owner: str, options: type) -> None:
    """Raise ValueError unless `options` is a dataclass that can be made without arguments."""
    if not (isinstance(options, type) and dataclasses.is_dataclass(options)):
        raise ValueError(f"the options of {owner!r} are not a dataclass: {options!r}")
    for option in dataclasses.fields(options):
        if option.default is dataclasses.MISSING and option.default_factory is dataclasses.MISSING:
            raise ValueError(f"option {option.name!r} of {owner!r} has no default")


@dataclass(frozen=True, kw_only=True)
class FeatureTargetSpec(Spec):
    """Built with `(options)`, gives a `condense.FeatureTarget`."""


@dataclass(frozen=True, kw_only=True)
class RegularizerSpec(Spec):
    """Built with `(options)`, gives a `condense.Regularizer`."""


@dataclass(frozen=True, kw_only=True)
class InitializerSpec(Spec):
    """Built with `(options)`, gives a `condense.Initializer`."""


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec(Spec):
    """Built with `(options)`, gives a `condense.Evaluator`."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """Built with `(options, ModelRequest)`, gives a torch.nn.Module that maps images to logits.

    takes: what stands after the colon in "NAME:ARGUMENT" ("" where the name stands alone).
    """

    takes: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """Built with `(options, DatasetRequest)`, gives a `condense.RealDataset`.

    takes: what stands after the colon in "NAME:ARGUMENT" ("" where the name stands alone).
    settings: what every method is given on this dataset unless it says otherwise, as dotted keys
        ("teacher.epochs"): above all the teacher, so that methods are compared under one.
    """

    takes: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
