"""`condense ablate`: its rows."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result
from condense_wmdd.method import WMDD

Invoke = Callable[..., Result]
PLUGIN = """
import condense
from condense import Method, Recover, Weighted

@condense.hookimpl
def condense_methods():
    targets = {"barycenter": Weighted(), "cross-entropy": Weighted()}
    return [Method(name="plain", summary="no variants", targets=targets, recover=Recover(iterations=1))]
"""


def rows(condense: Invoke, *words: str) -> list[dict[str, object]]:
    result = condense("ablate", *words, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)["rows"]
    return found


def test_the_rows_of_wmdd_are_its_variants(condense: Invoke) -> None:
    labels = [row["label"] for row in rows(condense, "wmdd", "--no-reference")]
    assert labels == [variant.label for variant in WMDD.variants]


def test_the_rows_of_other_methods_leave_out_each_component(
    condense: Invoke, add_plugins: Callable[..., None]
) -> None:
    add_plugins(plain=PLUGIN)
    found = {str(row["label"]): row["without"] for row in rows(condense, "plain", "--set", "lr=0.5")}
    assert found == {
        "plain": [],
        "plain without barycenter": ["barycenter"],
        "plain without cross-entropy": ["cross-entropy"],
        "random": [],
    }
