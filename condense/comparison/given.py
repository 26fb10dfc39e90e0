"""The settings that a comparison is given, sorted by what they apply to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from condense.errors import OptionError, nearest
from condense.recipe.settings import Pair, Settings, pairs_of

# The sections that all rows share, and why.
SHARED: Mapping[str, str] = {
    "teacher": "one teacher for every row",
    "student": "the same students for every row",
    "protocol": "the same protocol for every row; protocols are columns, see --protocol and --epochs",
    "evaluator": "every row is measured the same way",
    "dataset": "the same images for every row",
}
# Fields of a run that cannot be set here, and what to use instead.
_INSTEAD: Mapping[str, str] = {
    "method": "name the methods themselves",
    "dataset": "use --dataset",
    "protocol": "use --protocol",
    "ipc": "use --ipc",
    "seed": "use --seed and --seeds",
    "students": "use --students",
    "data_dir": "use --data-dir",
    "device": "use --device",
    "precision": "use --precision",
    "loaders": "use --loaders",
    "jpeg_decoder": "use --jpeg-decoder",
    "keep_minutes": "use --keep-minutes",
    "compile": "use --compile",
    "validation": "use --validation",
    "reference": "random real images are a row of their own, see --no-reference",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """Settings, sorted by what they apply to.

    shared: settings of the sections in `SHARED`.
    rows: settings of every row that can take them.
    by_method: settings of the rows of one method, by its name.
    """

    shared: tuple[Pair, ...]
    rows: tuple[Pair, ...]
    by_method: Mapping[str, tuple[Pair, ...]]

    def of(
        self, method: str, *, sections: Collection[str] | None = None, leaving: Collection[Pair] = ()
    ) -> tuple[Pair, ...]:
        """Return the settings of a method's rows; later ones win.

        sections: which of the settings for every row they take; None: all but those of `leaving`. An option of a part
        is taken where that part is chosen too.
        """
        own = self.by_method.get(method, ())
        if sections is None:
            return (*(pair for pair in self.rows if pair not in leaving), *own)
        taken: list[Pair] = []
        for key, value in self.rows:
            section, _, option = key.partition(".")
            if section in sections and (not option or section in dict(taken)):
                taken.append((key, value))
        return (*taken, *own)


def sort_settings(settings: Settings, methods: Collection[str]) -> Given:
    """Sort pairs of KEY or METHOD:KEY and value. methods: the methods that have rows.

    Raises OptionError for a METHOD without a row, a shared section after a METHOD, or a key that has an
    option of its own.
    """
    shared: list[Pair] = []
    rows: list[Pair] = []
    by_method: dict[str, tuple[Pair, ...]] = {}
    for written, value in pairs_of(settings):
        method, colon, key = written.rpartition(":")
        section = key.partition(".")[0]
        refuse_options(key)
        if colon and method not in methods:
            close = nearest(method, methods)
            guess = f" Did you mean {close!r}?" if close else ""
            raise OptionError(
                f"{written!r} names no row: no row is of a method {method!r}.{guess} There are: {', '.join(methods)}"
            )
        if colon:
            check_of_rows((key,), f"--set {written}")
            by_method[method] = (*by_method.get(method, ()), (key, value))
        elif section in SHARED:
            shared.append((key, value))
        else:
            rows.append((key, value))
    return Given(shared=tuple(shared), rows=tuple(rows), by_method=by_method)


def refuse_options(key: str) -> None:
    """Raise OptionError for a key that has an option of its own."""
    if key in _INSTEAD:
        raise OptionError(f"{key!r} is not a setting of a comparison; {_INSTEAD[key]}")


def check_of_rows(keys: Iterable[str], who: str) -> None:
    """Raise OptionError for a key of a section that all rows share. who: the source of the keys, for the message."""
    for key in keys:
        why = SHARED.get(key.partition(".")[0])
        if why:
            raise OptionError(f"{who}: {key} cannot differ between rows ({why}); --set {key}=... is for all")
