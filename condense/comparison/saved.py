"""compare.json: the raw results and the table of a comparison as a file that can be read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from condense.comparison.outcome import Outcome
from condense.comparison.summary import Summary
from condense.errors import StorageError
from condense.storage.files import json_bytes, read_json

FORMAT = 2
JSON, MARKDOWN, PICTURE, PAGE = "compare.json", "compare.md", "compare.png", "compare.html"


def to_dict(outcome: Outcome, summary: Summary) -> dict[str, Any]:
    """Return all fields of the outcome, the "format", and the summary's lines and leads as "table" and "leads".

    The values are plain dictionaries, lists, texts and numbers; accuracies are fractions.
    """
    derived = {"format": FORMAT, "table": summary.lines, "leads": summary.leads}
    plain: dict[str, Any] = {
        **msgspec.json.decode(json_bytes(derived)),
        **msgspec.json.decode(json_bytes(outcome)),
    }
    return plain


def from_dict(data: Any) -> Outcome:
    """Return the outcome that `to_dict` made this of. Raises StorageError with what does not fit."""
    known = data.get("format") if isinstance(data, dict) else None
    if known is None:
        raise StorageError("this is not a comparison: its format is None")
    if known != FORMAT:
        raise StorageError(
            f"another version of condense wrote it: its format is {known!r}, this version reads {FORMAT}; run the "
            "comparison again with this version, which uses finished cells again if they fit"
        )
    try:
        return msgspec.convert(data, Outcome)
    except msgspec.ValidationError as error:
        raise StorageError(f"this is not a comparison: {error}") from error


def read_outcome(path: Path) -> Outcome:
    """Return the comparison in a compare.json. path: the file or its folder.

    Raises StorageError if the file is missing, cut off or changed by hand, or has another format.
    """
    file = path / JSON if path.is_dir() else path
    try:
        return from_dict(read_json(file))
    except StorageError as error:
        raise StorageError(f"cannot read the comparison {file}: {error}") from error
