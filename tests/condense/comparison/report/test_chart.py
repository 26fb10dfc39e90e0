"""The chart: what is on it, that it is the same every time, and that it leaves matplotlib alone."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

from condense.comparison.outcome import Outcome
from condense.comparison.report.chart import draw_keys, draw_png, draw_svgs
from condense.comparison.report.palette import COLOURS, look
from condense.comparison.report.panels import panels
from condense.comparison.report.svg import inline_svg
from condense.comparison.summary import summarise

MakeOutcome = Callable[..., Outcome]


def luminance(colour: str) -> float:
    """Return the relative luminance by WCAG 2.2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_stand_out_in_the_light_and_in_the_dark(theme: int) -> None:
    panel = COLOURS["panel"][theme]
    for name, pair in COLOURS.items():
        if name not in ("panel", "line"):
            assert contrast(pair[theme], panel) >= (4.5 if name in ("ink", "faint", "ceiling") else 3), name


def test_colours_of_the_light_are_found_by_their_text() -> None:
    lights = [light for light, _ in COLOURS.values()]
    assert len(set(lights)) == len(lights)


def test_no_two_rows_look_the_same() -> None:
    looks = [look(number) for number in range(77)]
    assert len(set(looks)) == 77
    for neighbours in itertools.pairwise(looks):
        assert len({style.marker for style in neighbours}) == len({style.colour for style in neighbours}) == 2


def test_panels_are_by_column_and_by_training_length(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(failing=("mean-feature",))
    shown = panels(outcome, summarise(outcome))
    assert [panel.axis for panel in shown] == ["ipc"] * 4 + ["steps"] * 6
    assert shown[0].title == "fkd, 300 epochs"
    assert [series.row for series in shown[0].series] == ["wmdd", "wmdd class-batchnorm=0.1", "random"]
    assert [series.number for series in shown[0].series] == [0, 1, 3]
    assert [point.x for point in shown[0].series[0].points] == [1, 10, 50]
    assert [point.x for point in shown[5].series[0].points] == [600, 2000]


def test_a_single_budget_is_a_row_below_the_other(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(ipcs=(10,), protocols=("dc",), epochs=(30,))
    (panel,) = panels(outcome, summarise(outcome))
    assert panel.axis == "rows"
    assert "dc, 30 epochs, 10 images per class" in panel.title


@pytest.mark.parametrize(
    "changes",
    [
        {"protocols": ("fkd",)},
        {"ipcs": (10,), "epochs": (30,), "protocols": ("dc",), "seeds": (0,), "students": 1},
        {"labels": [f"wmdd recover.iterations={count}" for count in range(20)], "epochs": (300,)},
        {"cells": ()},
        {"rows": (), "cells": (), "distilled": (), "reference": ""},
        {"teacher": None, "epochs": (30,)},
    ],
)
def test_the_picture_is_the_same_every_time(make_outcome: MakeOutcome, changes: dict[str, object]) -> None:
    outcome = make_outcome(**changes)
    summary = summarise(outcome)
    first = draw_png(outcome, summary)
    assert first == draw_png(outcome, summary)
    picture = Image.open(io.BytesIO(first))
    assert picture.format == "PNG"
    assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 2
    assert draw_svgs(outcome, summary) == draw_svgs(outcome, summary)
    assert len(draw_keys(outcome)) == len(outcome.rows)


def test_drawings_are_well_formed_and_take_their_colours_from_the_page(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome()
    drawn = draw_svgs(outcome, summarise(outcome))
    assert len(drawn) == 10
    identities: list[str] = []
    for panel, text in drawn:
        element = ElementTree.fromstring(text)
        assert element.find("title").text == panel.title  # type: ignore[union-attr]
        assert "tables" in element.find("desc").text  # type: ignore[union-attr,operator]
        styles = [part.get("style", "") for part in element.iter()]
        assert not [style for style in styles if re.search(r"#[0-9a-f]{6}|font-family", style)]
        assert any("var(--row-0)" in style for style in styles)
        assert "<style" not in text
        assert "http" not in text
        references = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text))
        own = [part.get("id", "") for part in element.iter() if part.get("id")]
        assert {one or other for one, other in references} <= set(own)
        identities += own
    for key in draw_keys(outcome):
        identities += [part.get("id", "") for part in ElementTree.fromstring(key).iter() if part.get("id")]
    assert len(set(identities)) == len(identities)


def test_a_label_is_drawn_as_it_is(make_outcome: MakeOutcome) -> None:
    label = '$x_1$ <b> & "q" 条 #0072b2'
    outcome = make_outcome(labels=(label, "random"), ipcs=(10,), epochs=(30,), protocols=("dc",))
    summary = summarise(outcome)
    ((_, text),) = draw_svgs(outcome, summary)
    assert label in [part.text for part in ElementTree.fromstring(text).iter()]
    assert draw_png(outcome, summary)


def test_the_settings_of_matplotlib_neither_matter_nor_change(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(epochs=(30,))
    summary = summarise(outcome)
    usual = draw_svgs(outcome, summary)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert draw_svgs(outcome, summary) == usual
        assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_for_drawing_alone() -> None:
    program = (
        "import condense.comparison.saved, sys; print('matplotlib' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_a_text_without_a_drawing_is_refused() -> None:
    with pytest.raises(ValueError, match="not an SVG drawing"):
        inline_svg("<p>", "x", "title", "description")
