"""compare.json: the raw results and the table of a comparison as one file."""

from __future__ import annotations

from typing import Any

import msgspec

from condense.comparison.outcome import Outcome
from condense.comparison.summary import Summary
from condense.comparison.terms import RESULTS
from condense.storage.files import json_bytes

FORMAT = 2
JSON, MARKDOWN, PICTURE, PAGE = RESULTS, "compare.md", "compare.png", "compare.html"


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
