"""The page says what was found, refers to nothing outside itself and lets no text become markup."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from condense.errors import StorageError
from condense.runs.report import render, write_report
from condense.text import byte_size, duration, flat

PNG = b"\x89PNG not really"
VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = "<script>alert(1)</script>\"'><img src=http://example.org/x>&amp;"


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
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

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self._open:
            self.text.append(data.strip())
            if "tr" in self._open:
                self.rows[-1].append(data.strip())


def outcome(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "my run",
        "method": "wmdd",
        "dataset": "mini",
        "ipc": 10,
        "seed": 3,
        "protocol": {"name": "fkd", "epochs": 300, "augment": {"crop_scale": [0.08, 1.0], "flip": True}},
        "rows": [
            {"label": "wmdd", "accuracy_mean": 0.8523, "accuracy_std": 0.0041, "students": 3},
            {"label": "random real images", "accuracy_mean": 0.5, "accuracy_std": None, "students": 1},
        ],
        "teacher_accuracy": 0.9132,
        "seconds": {"squeeze": 61.0, "recover": 4.25},
        "bytes": {"images": 54_321, "labels": 100, "teacher": 0},
        "settings": {
            "recipe": {"ipc": 10, "targets": {"mean": {"weight": 0.5, "options": {}}}},
            "evaluation": {"students": 3},
        },
        "versions": {"torch": "2.14"},
        "notes": ["a note"],
    }
    return found | changes


def test_the_page_says_what_was_found() -> None:
    page = Page(render(outcome(), PNG))
    assert ["wmdd", "85.2", "± 0.4", "3"] in page.rows
    assert ["random real images", "50.0", "1"] in page.rows
    assert ["teacher, on all real images", "91.3"] in page.rows
    assert ["squeeze", "1 min 01 s"] in page.rows
    assert ["augment.flip", "true"] in page.rows
    assert ["targets.mean", "0.5"] in page.rows
    assert ["students", "3"] in page.rows
    assert ["torch", "2.14"] in page.rows
    assert {"my run", "a note", "54.3 kB", "100 B", "1 min 05 s"} <= set(page.text)


def test_the_picture_is_inside() -> None:
    (source,) = (value for tag, name, value in Page(render(outcome(), PNG)).attributes if name == "src")
    assert source.startswith("data:image/png;base64,")
    assert base64.b64decode(source.split(",")[1]) == PNG


def test_nothing_outside_is_referred_to() -> None:
    text = render(outcome(source="https://example.org", notes=["see https://example.org"]), PNG)
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "action"):
            assert value.startswith("data:")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_a_hostile_text_stays_text() -> None:
    kind = Page(render(outcome(), PNG))
    hostile = outcome(
        name=HOSTILE,
        method=HOSTILE,
        dataset=HOSTILE,
        protocol=outcome()["protocol"] | {"name": HOSTILE},
        rows=[row | {"label": HOSTILE} for row in outcome()["rows"]],
        seconds={HOSTILE: 1.0, "recover": 1.0},
        settings={
            "recipe": {HOSTILE: HOSTILE, "targets": {HOSTILE: {"weight": [HOSTILE], "options": {}}}},
            "evaluation": {HOSTILE: HOSTILE},
        },
        versions={HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )
    page = Page(render(hostile, PNG))
    assert page.tags == kind.tags
    assert HOSTILE in page.text


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [], "teacher_accuracy": None},
        {"teacher_accuracy": None},
        {"seconds": {}, "notes": [], "versions": {}, "protocol": {}, "settings": {}},
        {"bytes": {"images": 1, "labels": 1, "teacher": 44_000_000}},
        {"name": "", "ipc": 1},
    ],
)
def test_a_run_may_lack_parts(changes: dict[str, Any]) -> None:
    text = " ".join(Page(render(outcome(**changes), PNG)).text)
    if "teacher_accuracy" in changes:
        assert "teacher, on all" not in text
    assert ("44.0 MB" in text) == ("bytes" in changes)


def test_a_page_for_phones_dark_rooms_and_paper() -> None:
    text = render(outcome(), PNG)
    assert ("meta", "content", "width=device-width, initial-scale=1") in Page(text).attributes
    for needed in (
        "prefers-color-scheme: dark",
        "color-scheme: light dark",
        "@media print",
        "max-width: 100%",
    ):
        assert needed in text


def test_the_page_is_written(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", outcome(name="Ünï"), PNG)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(outcome(name="Ünï"), PNG)
    with pytest.raises(StorageError, match="cannot write"):
        write_report(tmp_path, outcome(), PNG)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0.00 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (3599.4, "59 min 59 s")),
        *((3599.9, "1 h 00 min"), (7_860, "2 h 11 min")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (44_800_000, "44.8 MB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert byte_size(count) == text


def test_settings_go_by_the_keys_of_set_and_none_is_lost() -> None:
    settings = {
        "recipe": {
            "ipc": 3,
            "targets": {"mean": {"weight": 0.5, "options": {"form": "norms"}}},
            "teacher": {"model": {"name": "convnet", "options": {"width": 8}}, "lr": 0.1},
            "regularizers": {},
        },
        "machine": {"device": "cpu"},
        "teacher": {"recipe": {"a": 1}},
    }
    assert flat(settings) == [
        ("ipc", 3),
        ("targets.mean", 0.5),
        ("targets.mean.form", "norms"),
        ("teacher.model", "convnet"),
        ("teacher.model.width", 8),
        ("teacher.lr", 0.1),
        ("regularizers", {}),
        ("device", "cpu"),
        ("teacher.recipe.a", 1),
    ]
