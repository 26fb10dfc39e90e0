"""compare.json says everything, and reads back as what it was written from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from condense.comparison.outcome import Outcome
from condense.comparison.report.page import render_page
from condense.comparison.report.write import write_all
from condense.comparison.saved import read_outcome, to_dict
from condense.comparison.summary import summarise
from condense.errors import StorageError

MakeOutcome = Callable[..., Outcome]


@pytest.mark.parametrize("changes", [{}, {"teacher": None, "kind": "sweep"}, {"failing": ("mean-feature",)}])
def test_a_comparison_is_read_as_it_was_written(
    make_outcome: MakeOutcome, tmp_path: Path, changes: dict[str, object]
) -> None:
    outcome = make_outcome(epochs=(30,), ipcs=(1, 10), **changes)
    write_all(outcome, tmp_path)
    names = {"compare.json", "compare.md", "compare.png", "compare.html"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.glob("*.tmp"))
    assert read_outcome(tmp_path / "compare.json") == read_outcome(tmp_path) == outcome
    before = {name: (tmp_path / name).read_bytes() for name in names}
    write_all(read_outcome(tmp_path), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert (tmp_path / "compare.html").read_text(encoding="utf-8") == render_page(outcome, tmp_path)


def test_the_data_hold_the_derived_table_as_fractions(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(epochs=(30,))
    data = to_dict(outcome)
    assert json.loads(json.dumps(data)) == data
    assert data["format"] == 1
    lines = summarise(outcome).lines
    assert len(data["table"]) == len(lines) == 4 * 3 * 2
    assert data["table"][1]["mean"] == lines[1].mean
    assert data["table"][1]["difference_interval"] == list(lines[1].difference_interval or ())
    assert all(0 <= entry["mean"] <= 1 for entry in data["table"])
    assert data["leads"][0]["row"] == "wmdd"


def test_what_is_no_comparison_says_so(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    with pytest.raises(StorageError, match=r"cannot read the comparison .*there is no file"):
        read_outcome(tmp_path)
    for text, reason in (
        ("[1, 2]", "its format is None"),
        ('{"format": 7}', "its format is 7"),
        ('{"format": 1, "name": "x"}', "missing required field `kind`"),
        (json.dumps(to_dict(make_outcome()) | {"students": "two"}), r"Expected `int`, got `str`.*students"),
        ('{"format": 1,', "no valid JSON"),
    ):
        path.write_text(text)
        with pytest.raises(StorageError, match=reason):
            read_outcome(path)


def test_later_fields_do_not_hinder_reading(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    outcome = make_outcome()
    data = to_dict(outcome) | {"something_new": 1}
    (tmp_path / "compare.json").write_text(json.dumps(data))
    assert read_outcome(tmp_path) == outcome


def test_the_data_are_there_where_the_folder_takes_nothing_else(
    make_outcome: MakeOutcome, tmp_path: Path
) -> None:
    (tmp_path / "compare.png").mkdir()
    outcome = replace(make_outcome(epochs=(30,)), name="half")
    with pytest.raises(StorageError, match=r"compare\.png"):
        write_all(outcome, tmp_path)
    assert read_outcome(tmp_path) == outcome
