"""What a plugin offers: frozen descriptions, and how to build what they describe.

`build` may be a string, "package.module:attribute", which is imported only when a run needs it.
So `condense --help` and `condense methods` answer at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from condense.errors import CondenseError, PluginError
from condense.recipe.fields import checked, hint_of, readable
from condense.recipe.needs import Needs
from condense.recipe.places import place_of, root_of

# The kind of a dataset's images: up to 127 pixels wide, in grey or in colour, or larger.
ImageKind = Literal["small-grey", "small-colour", "photographs"]
IMAGE_KINDS: tuple[ImageKind, ...] = get_args(ImageKind)

# What images are: made up or optimised, real images as they are, or put together from crops of real images; "" where
# nothing says so.
Origin = Literal["synthetic", "real", "crops", ""]


def kind_text(kind: str) -> str:
    """Return a kind of images as text for people: "small grey images"."""
    return f"{kind.replace('-', ' ')} images" if kind in ("small-grey", "small-colour") else kind


_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BUILD = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of something that has nothing to set."""


@checked
@dataclass(frozen=True, kw_only=True)
class Spec:
    """What all offers have in common.

    name: lower-case words joined by hyphens; what users type.
    summary: one line.
    source: the paper (authors, venue, arXiv number) or the address it comes from; may be empty.
    options: a dataclass with a default for every field; its `__post_init__` raises ValueError for a bad value.
    build: "package.module:attribute" or a callable; each subclass says with which arguments it is called.

    Raises ValueError if the description is not usable, so that a bad plugin is refused when it is loaded.
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
        """Return the callable behind `build`. Raises PluginError if importing it fails."""
        return imported(self.name, self.build) if isinstance(self.build, str) else self.build


def imported(name: str, reference: str) -> Callable[..., Any]:
    """Return the object behind "package.module:attribute". Raises PluginError, naming `name`, if that fails."""
    module_name, attribute = reference.split(":")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found: Callable[..., Any] = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # A plugin's module may raise anything when it is imported.
        file, line = place_of(error, root_of(module_name))
        where = f" ({Path(file).name}, line {line})" if line else ""
        raise PluginError(
            f"{name!r} cannot be built from {reference!r}{where}: {type(error).__name__}: {error}"
        ) from error
    return found


def is_name(text: str) -> bool:
    """Return whether a text is lower-case words joined by hyphens, as names of plugins and their offers are."""
    return _NAME.fullmatch(text) is not None


def check_name(what: str, name: str) -> None:
    """Raise ValueError unless `name` is lower-case words joined by hyphens. what: what it names, for the message."""
    if not is_name(name):
        raise ValueError(f"{what} name {name!r} is not lower-case words joined by hyphens")


def check_options_type(owner: str, options: type) -> None:
    """Raise ValueError unless `options` is a dataclass that can be made without arguments and set from text.

    From then on, its objects are checked when they are made, as `condense.recipe.fields.checked` does it.
    """
    if not dataclasses.is_dataclass(options):
        raise ValueError(f"the options of {owner!r} are not a dataclass: {options!r}")
    for option in dataclasses.fields(options):
        if option.default is dataclasses.MISSING and option.default_factory is dataclasses.MISSING:
            raise ValueError(f"option {option.name!r} of {owner!r} has no default")
        _check_option(owner, options, option)
    try:
        checked(options)()
    except ValueError as error:
        raise ValueError(f"the defaults of the options of {owner!r} do not fit: {error}") from error


def _check_option(owner: str, options: type, option: dataclasses.Field[Any]) -> None:
    """Raise ValueError unless an option has a type that is known and can be set from text."""
    try:
        hint = hint_of(options, option.name)
    except Exception as error:  # An annotation may be any expression.
        raise ValueError(
            f"option {option.name!r} of {owner!r} has the type {option.type}, which cannot be read ({error}); import "
            "it outside of `if TYPE_CHECKING:`"
        ) from error
    if not readable(hint):
        raise ValueError(
            f"option {option.name!r} of {owner!r} has the type {option.type}, which cannot be set from text; use bool, "
            "int, float, str, Literal, tuples of these, or | None"
        )


@checked
@dataclass(frozen=True, kw_only=True)
class LossSpec(Spec):
    """What the specs of feature targets and regularizers share.

    needs: what condense has to show the loss; a `Needs`, or a function from the options to one.
    """

    needs: Needs | Callable[[Any], Needs] = field(default_factory=Needs)

    def needs_of(self, options: Any) -> Needs:
        """Return what the loss needs with these options. Raises PluginError for anything but a `Needs`."""
        found = self.needs(options) if callable(self.needs) else self.needs
        if not isinstance(found, Needs):
            raise PluginError(f"the needs of {self.name!r} must be a condense.Needs, not {found!r}")
        return found


@dataclass(frozen=True, kw_only=True)
class FeatureTargetSpec(LossSpec):
    """A feature target; `build(options)` gives a `condense.FeatureTarget`."""


@dataclass(frozen=True, kw_only=True)
class RegularizerSpec(LossSpec):
    """A regularizer; `build(options)` gives a `condense.Regularizer`."""


@checked
@dataclass(frozen=True, kw_only=True)
class InitializerSpec(Spec):
    """An initializer; `build(options)` gives a `condense.Initializer`.

    needs_teacher: whether it looks through the teacher.
    uses_targets: whether it reads the fitted feature targets. They are then built and fitted even for a recipe of
        0 iterations.
    beyond_pixels: whether its images may go beyond the range of valid pixels, as noise does, until the first step clips
        them. Those of other initializers are clipped before it, and a note says so.
    origin: what its images are, for the card of an artifact that keeps them: "real" for real images as they are,
        "crops" for images put together from crops of real ones, "synthetic" for others; "" says nothing.
    """

    needs_teacher: bool = False
    uses_targets: bool = False
    beyond_pixels: bool = False
    origin: Origin = ""


@checked
@dataclass(frozen=True, kw_only=True)
class ParametrizationSpec(Spec):
    """A parametrization; `build(options)` gives a `condense.Parametrization`.

    images_per_stored: how many decoded images one stored image holds, at least 1; a number, or a function from the
        options to one.
    minimum_side: the minimum side length, in pixels, of images that it stores, at least 1; a number, or a function from
        the options to one. `encode` raises DataError below it; this says so before a run.
    """

    images_per_stored: int | Callable[[Any], int] = 1
    minimum_side: int | Callable[[Any], int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("images_per_stored", "minimum_side"):
            if not callable(getattr(self, name)):
                self._check_count(name, getattr(self, name), ValueError)

    def held(self, options: Any) -> int:
        """Return how many decoded images one stored image holds. Raises PluginError for a number below 1."""
        return self._count("images_per_stored", options)

    def smallest(self, options: Any) -> int:
        """Return the minimum side length of images in pixels. Raises PluginError for a number below 1."""
        return self._count("minimum_side", options)

    def _count(self, name: str, options: Any) -> int:
        count = getattr(self, name)
        found: int = count(options) if callable(count) else count
        self._check_count(name, found, PluginError)
        return found

    def _check_count(self, name: str, count: Any, error: type[Exception]) -> None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise error(f"{name} of {self.name!r} must be a whole number of at least 1, not {count!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec(Spec):
    """An evaluator; `build(options)` gives a `condense.Evaluator`."""


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(Spec):
    """A way to have the pieces of a run done; `build(options)` gives a `condense.Executor`.

    An option `workers` is what --workers sets, and an option `address` what --address sets.
    """


@checked
@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A network; `build(options, ModelRequest)` gives a torch.nn.Module that maps images to logits.

    takes: what users type after the colon in "NAME:ARGUMENT", such as "PATH"; "" for a name without an argument.
    preprocessing: "package.module:attribute" of a function from (options, argument) to the `condense.Preprocessing`
        that pretrained weights want, or None for a network that starts from random weights; "" for a network without
        pretrained weights.
    """

    takes: str = ""
    preprocessing: str = ""


@checked
@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset; `build(options, DatasetRequest)` gives a `condense.RealDataset`.

    like: the kind of its images, which chooses a method's presets. If the kind depends on the images, this is
        "package.module:function" instead: a function from (options, argument) to the kind, which must not
        import torch.
    takes: what users type after the colon in "NAME:ARGUMENT", such as "PATH"; "" for a name without an
        argument.
    settings: settings for every method on this dataset, by dotted key ("teacher.epochs"). Above all they
        choose the teacher, so that methods are compared under the same one. A method's presets and the user's
        settings win over them.
    settings_by_kind: the same for each kind, for a dataset that finds its kind; `settings` win over them.
    settings_by_protocol: the same for each protocol, {"fkd": {"protocol.epochs": 100}}; they win over `settings`.

    What follows is shown to people and may be left out:

    classes: the number of classes.
    images: the published numbers of training and of test images.
    side: the side length in pixels that networks see by default.
    licence: of the images.
    fetched: how the files come, e.g. "downloaded".
    looked_for: the file or folder below the data folder that is looked for.

    Raises ValueError for a kind that does not exist and for a negative number.
    """

    like: str = "photographs"
    takes: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_by_kind: Mapping[ImageKind, Mapping[str, Any]] = field(default_factory=dict)
    settings_by_protocol: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: int = 0
    images: tuple[int, int] = (0, 0)
    side: int = 0
    licence: str = ""
    fetched: str = ""
    looked_for: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.classes, *self.images, self.side) < 0:
            raise ValueError(
                f"DatasetSpec {self.name!r}: classes, images and side are numbers from 0 (not known) on, not "
                f"{self.classes}, {self.images} and {self.side}"
            )
        unknown = set(self.settings_by_kind) - set(IMAGE_KINDS)
        if unknown:
            raise ValueError(
                f"DatasetSpec {self.name!r} has settings for unknown kinds of images: {', '.join(sorted(unknown))}"
            )
        if self.like in IMAGE_KINDS:
            return
        if not _BUILD.fullmatch(self.like):
            raise ValueError(
                f"DatasetSpec {self.name!r}: like {self.like!r} is neither 'module:function' nor one of "
                f"{', '.join(IMAGE_KINDS)}"
            )
        if "like" not in {option.name for option in dataclasses.fields(self.options)}:
            raise ValueError(
                f"DatasetSpec {self.name!r} finds the kind of its images, so its options need a field 'like' to keep it"
            )

    def kind_of(self, options: Any, argument: str) -> ImageKind:
        """Return the kind of the images, according to `like`. Raises PluginError for anything but a kind."""
        kind: Any = self.like
        if kind not in IMAGE_KINDS:
            find = imported(self.name, self.like)
            try:
                kind = find(options, argument)
            except CondenseError:
                raise
            except Exception as error:  # A plugin's code may raise anything.
                raise PluginError(f"{self.like!r} failed: {type(error).__name__}: {error}") from error
        if kind not in IMAGE_KINDS:
            raise PluginError(f"{self.like!r} must give one of {', '.join(IMAGE_KINDS)}, not {kind!r}")
        found: ImageKind = kind
        return found

    def side_of(self, options: Any) -> int:
        """Return the side length in pixels that networks see with these options; 0 if it is not known.

        An option `size` above 0 is the side length.
        """
        size = getattr(options, "size", 0)
        return size if isinstance(size, int) and size > 0 else self.side

    def settings_for(self, kind: ImageKind, protocol: str) -> list[tuple[str, Any]]:
        """Return the settings for every method on this dataset under a protocol, as pairs; later ones win."""
        groups = (self.settings_by_kind.get(kind), self.settings, self.settings_by_protocol.get(protocol))
        return [pair for group in groups for pair in (group or {}).items()]
