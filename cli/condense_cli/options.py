"""Command-line options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import IO, Any, TypeVar

import click

from condense.text import escaped
from condense_cli.sections import SectionedOption
from condense_cli.signals import cause, exit_status

F = TypeVar("F", bound=Callable[..., Any])


def parse_settings(
    _ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return KEY=VALUE texts as pairs. Raises BadParameter if the key or the equals sign is missing."""
    pairs: list[tuple[str, str]] = []
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(
                f"{text!r} is not KEY=VALUE; write for example --set recover.iterations=500"
            )
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)


def parse_names(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Return NAME,NAME,... as a tuple."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def parse_networks(
    _ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Return networks, each option a list with commas, as one tuple. Raises CondenseError for another form."""
    from condense.recipe.networks import split_networks

    return split_networks(given)


def parse_numbers(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Return N,N,... as a tuple. Raises BadParameter for anything else."""
    names = parse_names(ctx, parameter, text)
    if names is None:
        return None
    try:
        numbers = tuple(int(name) for name in names)
    except ValueError:
        numbers = ()
    if not numbers:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers; write for example 1,10")
    return numbers


def parse_reals(
    _ctx: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Return X,X,... as a tuple. Raises BadParameter for anything else."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a list of numbers; write for example 0.49,0.48,0.45"
        ) from error


class OneNumber(click.types.IntParamType):
    """A whole number, of which another command takes several. several: says which."""

    def __init__(self, several: str) -> None:
        self._several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Raises BadParameter that says what takes several if they are given."""
        if isinstance(value, str) and "," in value:
            self.fail(f"{value!r} is more than one number; {self._several}", param, ctx)
        return super().convert(value, param, ctx)


def option(*names: str, section: str, default_shown: str = "", **more: Any) -> Callable[[F], F]:
    """Return an option that is passed on only if it is given, so that only the library holds its default.

    default_shown: that default, for the help; a test compares it with the library's.
    """
    return click.option(*names, cls=SectionedOption, section=section, default_shown=default_shown, **more)


def set_option(section: str, help_text: str) -> Callable[[F], F]:
    """Return the repeatable option --set, passed on as pairs under the name `settings`."""
    return option(
        "--set",
        "settings",
        section=section,
        metavar="KEY=VALUE",
        multiple=True,
        callback=parse_settings,
        help=help_text,
    )


_SKIP_BROKEN = "dataset.skip_broken"


def skip_broken_option(section: str) -> Callable[[F], F]:
    """Return the flag --skip-broken, which `given_only` turns into a setting."""
    return option(
        "--skip-broken",
        section=section,
        is_flag=True,
        default=None,
        help="Leave out files that cannot be decoded, and name them; short for --set dataset.skip_broken=true.",
    )


def json_option(function: F) -> F:
    """Add the option --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")(
        function
    )


def given_only(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line, with --skip-broken as the setting that it stands for."""
    given = {name: value for name, value in values.items() if value is not None and value != ()}
    if given.pop("skip_broken", False):
        settings = given.get("settings", ())
        if _SKIP_BROKEN in dict(settings):
            raise click.UsageError(
                f"--skip-broken and --set {_SKIP_BROKEN} say the same thing; give one of them"
            )
        given["settings"] = (*settings, (_SKIP_BROKEN, "true"))
    return given


def option_words(given: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of the options by these names that were given, as words of a command line."""
    return [
        word for name in names if name in given for word in (f"--{name.replace('_', '-')}", str(given[name]))
    ]


class Interrupted(click.ClickException):
    """Ctrl-C, SIGTERM or SIGHUP as an exception for click. The exit status is the one that shells give.

    error: what ended the command.
    further: a sentence that says how to go on.
    """

    def __init__(self, error: KeyboardInterrupt, further: str = "") -> None:
        super().__init__(escaped(f"{cause(error)}. {further}".rstrip()))
        self.status = exit_status(error)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it from the instance
        """The exit status."""
        return self.status

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on stderr, without the word "Error"."""
        with suppress(OSError):  # After SIGHUP, the terminal may have gone.
            click.echo(f"\n{self.message}", file=file, err=True)


WHAT = "What is condensed"
RECIPE = "The recipe"
MEASURE = "How it is measured"

# Options that are short for one setting each.
EPOCHS_FORM = {"epochs": "protocol.epochs"}
RECIPE_FORMS = {"iterations": "recover.iterations", "teacher": "teacher.checkpoint"}
SHORT_FORMS = {**RECIPE_FORMS, **EPOCHS_FORM}


def iterations_option(section: str) -> Callable[[F], F]:
    """Return the option --iterations."""
    return option(
        "--iterations", section=section, type=int, metavar="N", help="Short for --set recover.iterations=N."
    )


def teacher_option(section: str) -> Callable[[F], F]:
    """Return the option --teacher, for a teacher that need not be trained."""
    return option(
        "--teacher",
        section=section,
        metavar="FILE",
        help="Weights of a teacher, instead of training one; short for --set teacher.checkpoint=FILE.",
    )


def epochs_option(section: str) -> Callable[[F], F]:
    """Return the option --epochs for students of one length."""
    return option(
        "--epochs",
        section=section,
        type=int,
        metavar="N",
        help="Length of a student's training; short for --set protocol.epochs=N.",
    )


_RECIPE: tuple[Callable[[Any], Any], ...] = (
    option("--method", section=WHAT, metavar="NAME", help="Required; `condense methods` lists them."),
    option(
        "--dataset",
        section=WHAT,
        metavar="NAME",
        help="`condense datasets` lists them; folder:PATH takes your own images.",
        default_shown="fashion-mini",
    ),
    skip_broken_option(WHAT),
    option(
        "--ipc",
        section=WHAT,
        type=OneNumber("`condense compare --ipc` takes several"),
        metavar="N",
        help="Images per class.",
        default_shown="10",
    ),
    option(
        "--seed",
        section=WHAT,
        type=OneNumber("`condense compare --seeds N` has N seeds"),
        metavar="N",
        help="Seed of everything random.",
        default_shown="0",
    ),
    set_option(RECIPE, "Change a setting; repeatable. --dry-run lists them all."),
    option(
        "--without",
        section=RECIPE,
        metavar="COMPONENT",
        multiple=True,
        help="Leave out a target or a regularizer; repeatable.",
    ),
    iterations_option(RECIPE),
    teacher_option(RECIPE),
    option(
        "--protocol",
        section=MEASURE,
        metavar="NAME",
        help="How students are trained; `condense protocols` lists them.",
        default_shown="the method's own",
    ),
    epochs_option(MEASURE),
    option(
        "--students",
        section=MEASURE,
        type=int,
        metavar="N",
        help="How many students to train; 0 measures nothing.",
        default_shown="3",
    ),
    option(
        "--reference/--no-reference",
        section=MEASURE,
        default=None,
        help="Whether students also learn from random real images, to compare with.",
        default_shown="--reference",
    ),
    option(
        "--validation",
        section=MEASURE,
        type=float,
        metavar="FRACTION",
        help="Hold out this fraction of the training images and test on it instead: for tuning.",
        default_shown="0",
    ),
)


def recipe_options(function: F) -> F:
    """Add the options that say what a run condenses and how that is measured."""
    for add in reversed(_RECIPE):
        function = add(function)
    return function


def expand_short_forms(given: dict[str, Any], forms: Mapping[str, str] = SHORT_FORMS) -> None:
    """Turn --iterations, --teacher and --epochs into settings. Raises UsageError if --set says the same.

    forms: the setting that each option is short for.
    """
    settings: list[tuple[str, Any]] = list(given.pop("settings", ()))
    taken = {key for key, _ in settings}
    for name, key in forms.items():
        if name in given:
            if taken & {key, key.removeprefix("recover.")}:
                raise click.UsageError(f"--{name} and --set {key} say the same thing; give one of them")
            settings.append((key, given.pop(name)))
    given["settings"] = settings
