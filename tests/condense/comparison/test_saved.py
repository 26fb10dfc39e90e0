"""compare.json holds the whole comparison and reads back as what was written; all files show one summary."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from condense.comparison import report, saved
from condense.comparison.outcome import Outcome
from condense.comparison.report.chart import draw_png
from condense.comparison.report.page import render_page
from condense.comparison.report.write import write_all
from condense.comparison.saved import FORMAT, to_dict
from condense.comparison.summary import summarise
from condense.errors import StorageError


def read_outcome(path: Path) -> Outcome:
    """The comparison in a compare.json, or in the folder of one."""
    file = path if path.is_file() else path / "compare.json"
    return msgspec.convert(json.loads(file.read_text(encoding="utf-8")), Outcome)


MakeOutcome = Callable[..., Outcome]


@pytest.mark.parametrize("changes", [{}, {"teacher": None, "kind": "sweep"}, {"failing": ("mean-feature",)}])
def test_a_comparison_is_read_as_it_was_written(
    make_outcome: MakeOutcome, tmp_path: Path, changes: dict[str, object]
) -> None:
    outcome = make_outcome(epochs=(30,), ipcs=(1, 10), **changes)
    summary = summarise(outcome)
    write_all(outcome, summary, tmp_path)
    names = {"compare.json", "compare.md", "compare.png", "compare.html"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.glob("*.tmp"))
    assert read_outcome(tmp_path / "compare.json") == read_outcome(tmp_path) == outcome
    before = {name: (tmp_path / name).read_bytes() for name in names}
    again = read_outcome(tmp_path)
    write_all(again, summarise(again), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert (tmp_path / "compare.html").read_text(encoding="utf-8") == render_page(outcome, summary, tmp_path)


def test_the_data_hold_the_derived_table_as_fractions(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(epochs=(30,))
    summary = summarise(outcome)
    data = to_dict(outcome, summary)
    assert json.loads(json.dumps(data)) == data
    assert data["format"] == FORMAT == 2
    assert "reference" in data and "floor" not in data
    lines = summary.lines
    assert len(data["table"]) == len(lines) == 4 * 3 * 2
    assert data["table"][1]["mean"] == lines[1].mean
    assert data["table"][1]["difference_interval"] == list(lines[1].difference_interval or ())
    assert all(0 <= entry["mean"] <= 1 for entry in data["table"])
    assert data["leads"][0]["row"] == "wmdd"


def test_the_data_are_there_where_the_folder_takes_nothing_else(
    make_outcome: MakeOutcome, tmp_path: Path
) -> None:
    (tmp_path / "compare.png").mkdir()
    outcome = replace(make_outcome(epochs=(30,)), name="half")
    with pytest.raises(StorageError, match=r"compare\.png"):
        write_all(outcome, summarise(outcome), tmp_path)
    assert read_outcome(tmp_path) == outcome


def test_all_files_show_the_summary_that_they_are_given(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    """The writers neither import `summarise` nor compute the table again: they show a made-up mean."""
    modules = [Path(saved.__file__), *Path(report.__path__[0]).glob("*.py")]
    assert len(modules) > 8
    for module in modules:
        nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
        imported = [alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
        assert not {"summarise", "summary"} & set(imported), module.name
        plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in plain if name.startswith("condense")], module.name
    outcome = make_outcome(ipcs=(1,), epochs=(30,), protocols=("fkd",))
    summary = summarise(outcome)
    first, *others = summary.lines
    changed = replace(summary, lines=(replace(first, mean=0.987), *others))
    write_all(outcome, changed, tmp_path)
    assert json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))["table"][0]["mean"] == 0.987
    for name in ("compare.md", "compare.html"):
        assert "98.7 ±" in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "compare.png").read_bytes() != draw_png(outcome, summary)
