"""Settings as users give them: those of what all rows share, those of all rows, those of one method's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from condense.errors import OptionError, nearest
from condense.settings import Pair, Settings, pairs_of

# Sections that every row has in common, and why.
SHARED: Mapping[str, str] = {
    "teacher": "one teacher for every row",
    "student": "the same students for every row",
    "protocol": "the same protocol for every row; protocols are columns, see --protocol and --epochs",
    "evaluator": "every row is measured the same way",
    "dataset": "the same images for every row",
}
# Fields of a run that are no settings here, and what to use instead.
_INSTEAD: Mapping[str, str] = {
    "method": "name the methods themselves",
    "dataset": "use --dataset",
    "ipc": "use --ipc",
    "seed": "use --seed and --seeds",
    "students": "use --students",
    "data_dir": "use --data-dir",
    "device": "use --device",
    "precision": "use --precision",
    "validation": "use --validation",
    "reference": "random real images are a row of their own, see --no-floor",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """shared: of the sections in `SHARED`. rows: for every row but the floor. by_method: for the rows of a method."""

    shared: tuple[Pair, ...]
    rows: tuple[Pair, ...]
    by_method: Mapping[str, tuple[Pair, ...]]

    def of(self, method: str, *, floor: bool = False) -> tuple[Pair, ...]:
        """For the rows of a method, later ones winning. A floor is left alone by what is for every row."""
        return (*(() if floor else self.rows), *self.by_method.get(method, ()))


def sort_settings(settings: Settings, methods: Collection[str]) -> Given:
    """Sort pairs of KEY or METHOD:KEY and value. methods: those that have rows.

    Raises OptionError for a METHOD without a row, for a shared section behind a METHOD, and for what is an option
    of its own.
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
    """Raise OptionError for what is an option of its own."""
    if key in _INSTEAD:
        raise OptionError(f"{key!r} is no setting of a comparison; {_INSTEAD[key]}")


def check_of_rows(keys: Iterable[str], who: str) -> None:
    """Raise OptionError where a key belongs to what all rows share. who: gave it, for the text."""
    for key in keys:
        why = SHARED.get(key.partition(".")[0])
        if why:
            raise OptionError(f"{who}: {key} cannot differ between rows ({why}); --set {key}=... is for all")
