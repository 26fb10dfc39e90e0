"""The page holds everything, refers to nothing outside itself and lets no text become markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from condense.comparison.outcome import Outcome
from condense.comparison.report.page import render_page
from condense.comparison.report.wording import accuracy_text, column_title
from condense.comparison.summary import summarise

MakeOutcome = Callable[..., Outcome]
SMALL: dict[str, Any] = {"protocols": ("fkd",), "epochs": (30,)}  # fewer charts, which take the time
VOID = {"meta", "img", "link", "br", "hr", "input", "wbr"}
HOSTILE = "<script>alert(1)</script>\"'><img src=http://example.org/x>&amp;"


class Page(HTMLParser):
    """Tags, attributes, table rows and texts of a page; fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.all_text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.all_text += data
        if {"th", "td"} & set(self._open):
            self.rows[-1][-1] += data
        elif {"h1", "h2", "h3"} & set(self._open):
            self.headings[-1] += data

    def values(self, tag: str, name: str) -> list[str]:
        return [value for of, attribute, value in self.attributes if (of, attribute) == (tag, name)]


def page_text(outcome: Outcome, folder: Path) -> str:
    return render_page(outcome, summarise(outcome), folder)


def test_every_row_column_and_number_is_there(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    outcome = make_outcome(failing=("mean-feature",))
    summary = summarise(outcome)
    page = Page(page_text(outcome, tmp_path))
    assert page.headings[0] == "shoot-out"
    for line in summary.lines:
        label = f"{line.row} reference" if line.row == outcome.reference else line.row
        found = [row for row in page.rows if row and row[0] == label]
        if line.mean is None:
            assert any(line.failure in row[1] for row in found)
        else:
            assert any(row[1] == accuracy_text(line, 6) for row in found)
    for column in summary.columns:
        assert column_title(column, summary.columns) in page.headings
    for text in ("1 image per class", "10 images per class", "50 images per class", "At a glance"):
        assert text in page.headings
    assert ["wmdd", "45.3 ± 3.6", "", "0.167", "0.282", "3.0 s", "3.0 s", "604.1 kB", "6.5×"] in page.rows
    assert ["teacher ceiling", "91.2", "trained on all real images"] in page.rows
    assert "−3.0 ± 2.0 *" in page.all_text
    assert "Failed: mean-feature, ipc 1, 10, 50, seeds 0, 1, 2: out of memory" in page.all_text


def test_student_networks_head_the_columns_of_the_first_table(
    make_outcome: MakeOutcome, tmp_path: Path
) -> None:
    networks = ("resnet18", "convnet(width=64)")
    outcome = make_outcome(ipcs=(10,), epochs=(300,), protocols=("fkd",), networks=networks)
    page = Page(page_text(outcome, tmp_path))
    assert ["Trained on", *networks] in page.rows
    assert set(networks) <= set(page.headings)
    assert "Protocol: fkd, 300 epochs." in page.all_text


def test_without_scores_there_are_no_columns_for_them(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    outcome = make_outcome(failing=("mean-feature",))
    kept = tuple(column for column in outcome.columns if column.role == "score" and column.labels != "hard")
    page = Page(page_text(replace(outcome, columns=kept), tmp_path))
    heads = ["Trained on", "Accuracy, %", "To wmdd", "Distil", "Train one", "Stored", "Compression"]
    assert heads in page.rows
    assert ["wmdd", "45.3 ± 3.6", "", "3.0 s", "3.0 s", "604.1 kB", "6.5×"] in page.rows
    spans = page.values("td", "colspan")
    assert set(spans) == {
        "6",
        "5",
    }  # beside the label: of a row that failed; and behind the teacher's accuracy
    assert "LRS" not in page.all_text


def test_charts_and_pictures_are_inside(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    outcome = make_outcome(failing=("mean-feature",))
    page = Page(page_text(outcome, tmp_path))
    assert page.values("svg", "role") == ["img"] * 10
    sources = page.values("img", "src")
    first = [run for run in outcome.distilled if run.grid and run.seed == 0]
    assert len(sources) == len(first) == 9
    wanted = {(tmp_path / run.grid).read_bytes() for run in first}
    assert {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources} == wanted
    assert "Distilled images of wmdd, 10 images per class, seed 0" in " ".join(page.values("img", "alt"))
    assert all(page.values("img", "alt"))


def test_settings_show_what_differs_first(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    page = Page(page_text(make_outcome(**SMALL), tmp_path))
    assert ["", "method", "recover.iterations"] in page.rows
    assert ["random", "random", "800"] in page.rows
    assert ["targets.barycenter", "1"] in page.rows
    assert ["torch", "2.14"] in page.rows
    assert "wmdd with class-batchnorm = 0.1" in page.all_text
    assert page.all_text.index("What differs between the rows") < page.all_text.index("Versions")
    few = make_outcome(labels=("wmdd", "random"), epochs=(30,), ipcs=(1,))
    assert ["recover.iterations", "500", "600"] in Page(page_text(few, tmp_path)).rows


def test_nothing_outside_is_referred_to(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    text = page_text(make_outcome(notes=("see https://example.org",), **SMALL), tmp_path)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "a"} & set(page.tags)
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith(("data:image/png;base64,", "#"))
        assert "http" not in value
    identities = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(identities)) == len(identities)
    assert {value[1:] for value in page.values("use", "href")} <= set(identities)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_tables_say_what_heads_what(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    text = page_text(make_outcome(), tmp_path)
    assert not re.search(r"<th(?![^>]*\bscope=)[ >]", text)
    assert text.count('role="region"') == text.count('tabindex="0"') == text.count('class="scroll"') > 12


def test_a_page_for_phones_dark_rooms_and_paper(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    text = page_text(make_outcome(**SMALL), tmp_path)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for needed in (
        "prefers-color-scheme: dark",
        "color-scheme: light dark",
        "@media print",
        "overflow-x: auto",
    ):
        assert needed in text


def test_a_hostile_text_stays_text(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    kind = Page(page_text(make_outcome(labels=("wmdd", "other"), **SMALL), tmp_path))
    hostile = make_outcome(
        labels=("wmdd", HOSTILE), name=HOSTILE, command=HOSTILE, versions={HOSTILE: HOSTILE}, **SMALL
    )
    page = Page(page_text(hostile, tmp_path))
    assert {tag for tag in page.tags if tag != "wbr"} == {tag for tag in kind.tags if tag != "wbr"}
    assert page.headings[0] == HOSTILE
    assert HOSTILE in [row[0] for row in page.rows if row]
    assert sorted(page.values("img", "src")) == sorted(kind.values("img", "src"))


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": (), "distilled": (), "teacher": None, "finished": False},
        {"rows": (), "cells": (), "distilled": (), "reference": ""},
        {"labels": ("wmdd",), "seeds": (0,), "students": 1, "ipcs": (1,), "versions": {}, "command": ""},
        {"failing": ("wmdd", "mean-feature", "random"), "validation": 0.1},
        {"columns": ()},
        {"kind": "sweep"},
        {"kind": "ablate", "ipcs": (10,), "protocols": ("dc",), "epochs": (30,)},
    ],
)
def test_a_comparison_may_lack_parts(
    make_outcome: MakeOutcome, tmp_path: Path, changes: dict[str, object]
) -> None:
    outcome = make_outcome(**(SMALL | changes))
    text = Page(page_text(outcome, tmp_path)).all_text
    assert {"compare": "Comparison", "sweep": "Sweep", "ablate": "Ablation"}[outcome.kind] + " of " in text
    assert ("Not finished" in text) is not outcome.finished
    assert ("held out for it, not on" in text) == bool(outcome.validation)


def test_only_pictures_of_the_comparison_are_read(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n secret")
    folder = tmp_path / "comparison"
    folder.mkdir()
    (folder / "text.png").write_text("no picture")
    outcome = make_outcome(ipcs=(1,), seeds=(0,), labels=("a", "b", "c", "d"), **SMALL)
    grids = ["../secret.png", str(tmp_path / "secret.png"), "text.png", "missing.png"]
    assert len(outcome.distilled) == len(grids)
    for run, grid in zip(outcome.distilled, grids, strict=True):
        object.__setattr__(run, "grid", grid)
    page = Page(page_text(outcome, folder))
    assert page.values("img", "src") == []
    assert page.all_text.count("the picture is missing") == 4


def test_the_picture_of_a_later_seed_stands_in(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    outcome = make_outcome(ipcs=(1,), labels=("wmdd",), **SMALL)
    (tmp_path / outcome.distilled[0].grid).unlink()
    page = Page(page_text(outcome, tmp_path))
    assert page.values("img", "alt") == [
        "Distilled images of wmdd, 1 image per class, seed 1: a row for each class"
    ]


def test_published_accuracies_are_a_column(make_outcome: MakeOutcome, tmp_path: Path) -> None:
    page = Page(page_text(make_outcome(**SMALL, published=True, failing=("mean-feature",)), tmp_path))
    tables = page.all_text
    assert tables.count("Published, %") == 2  # nothing was published for 50 images per class
    assert "64.8" not in tables  # because the students are ConvNets, and there is a line for these
    heads = [row for row in page.rows if "Published, %" in row]
    place = heads[0].index("Published, %")
    found = [row[place] for row in page.rows if row[0].strip() == "wmdd" and len(row) == len(heads[0])]
    assert found == ["40.2 ± 0.6 (resnet18)", "55.5 (convnet, second-hand)"]
    assert "Published: percent on the test images" in tables
    assert "ublished" not in Page(page_text(make_outcome(**SMALL), tmp_path)).all_text
