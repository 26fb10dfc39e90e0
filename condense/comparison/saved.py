"""A comparison as files: compare.json, which says everything and can be read back, and what is made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from condense.comparison.outcome import Outcome
from condense.comparison.summary import summarise
from condense.errors import StorageError
from condense.storage.files import json_bytes, read_json

FORMAT = 1
JSON, MARKDOWN, PICTURE, PAGE = "compare.json", "compare.md", "compare.png", "compare.html"


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """All fields of the outcome, and beside them "format", and what was derived: "table" and "leads".

    Plain dictionaries, lists, texts and numbers; accuracies as fractions.
    """
    summary = summarise(outcome)
    derived = {"format": FORMAT, "table": summary.lines, "leads": summary.leads}
    plain: dict[str, Any] = {
        **msgspec.json.decode(json_bytes(derived)),
        **msgspec.json.decode(json_bytes(outcome)),
    }
    return plain


def from_dict(data: Any) -> Outcome:
    """The inverse of `to_dict`; what was derived is left out. Raises StorageError saying what does not fit."""
    known = data.get("format") if isinstance(data, dict) else None
    if known != FORMAT:
        raise StorageError(f"this is not a comparison of format {FORMAT}: its format is {known!r}")
    try:
        return msgspec.convert(data, Outcome)
    except msgspec.ValidationError as error:
        raise StorageError(f"this is not a comparison: {error}") from error


def read_outcome(path: Path) -> Outcome:
    """A comparison from compare.json or from the folder it lies in.

    Raises StorageError where there is none, or it was cut off or changed by hand.
    """
    file = path / JSON if path.is_dir() else path
    try:
        return from_dict(read_json(file))
    except StorageError as error:
        raise StorageError(f"cannot read the comparison {file}: {error}") from error
