"""compare.md is a table wherever it is pasted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from condense.comparison.outcome import Outcome
from condense.comparison.report.markdown import render_markdown
from condense.comparison.report.wording import accuracy_text
from condense.comparison.summary import summarise

MakeOutcome = Callable[..., Outcome]
HOSTILE = "a|b <img src=x> *c* [d](http://e) `f` \\ #g"


def markdown(outcome: Outcome) -> str:
    return render_markdown(outcome, summarise(outcome))


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table, as a Markdown renderer sees them."""
    found: list[list[list[str]]] = []
    tokens = MarkdownIt().enable("table").parse(text)
    for position, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            children = tokens[position + 1].children or []
            found[-1][-1].append("".join(child.content for child in children))
    return found


def test_the_tables_hold_every_row_and_number(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(failing=("mean-feature",))
    summary = summarise(outcome)
    accuracies, costs = tables(markdown(outcome))
    header, *body = accuracies
    assert header[:4] == ["ipc", "trained on", "fkd, 300 epochs", "difference to wmdd"]
    assert len(body) == 3 * 4 + 1
    assert {len(row) for row in accuracies} == {2 + 2 * 4}
    for row in body[:-1]:
        label = row[1].removesuffix(" (reference)")
        for position, column in enumerate(summary.columns):
            line = summary.line(label, int(row[0]), column.key)
            assert row[2 + 2 * position] == accuracy_text(line, 6)
    assert body[-1][:3] == ["all", "teacher, on all real images (ceiling)", "91.2"]
    assert [row[2] for row in body if row[1] == "mean-feature"] == ["failed"] * 3
    assert len(costs) == 1 + 3 * 4 * 4
    assert costs[1][:3] == ["1", "fkd, 300 epochs", "wmdd"]
    assert costs[0][-5:] == ["stored", "compression", "images", "labels", "teacher"]
    assert costs[1][-5:] == ["604.1 kB", "6.5×", "4.0 kB", "100 B", "600.0 kB"]


def test_the_rest_is_said_too(make_outcome: MakeOutcome) -> None:
    text = markdown(make_outcome(failing=("mean-feature",), finished=False, notes=("a note",), kind="sweep"))
    for part in (
        "# Sweep: shoot-out",
        "Not finished",
        "- a note",
        "n = 6: 3 seeds × 2 students",
        "95 % interval",
        "- mean-feature, ipc 1, 10, 50, seeds 0, 1, 2: out of memory",
        "    condense compare wmdd mean-feature random --ipc 1,10,50 --seeds 3",
        "torch 2.14",
    ):
        assert part in text
    assert "What failed" not in markdown(make_outcome())


def test_marks_and_bold(make_outcome: MakeOutcome) -> None:
    text = markdown(make_outcome(labels=("random", "wmdd"), ipcs=(1,), protocols=("dc",), epochs=(30,)))
    assert text.count("**") in (0, 2)
    clear = make_outcome(labels=("wmdd", *("x" * n for n in range(1, 6)), "random"), ipcs=(10,), epochs=(30,))
    summary = summarise(clear)
    accuracies, _ = tables(markdown(clear))
    marked = {row[1] for row in accuracies if row[3].endswith(" *")}
    excluding = {line.row for line in summary.group(10, "fkd@30") if line.excludes_zero}
    assert {label.removesuffix(" (reference)") for label in marked} == excluding != set()


@pytest.mark.parametrize("finished", [True, False])
def test_a_comparison_without_results_is_still_a_page(make_outcome: MakeOutcome, finished: bool) -> None:
    outcome = make_outcome(cells=(), distilled=(), teacher=None, finished=finished)
    accuracies, _ = tables(markdown(outcome))
    assert accuracies[1][2] == "–"
    assert markdown(make_outcome(rows=(), cells=(), distilled=(), reference=""))


def test_a_hostile_label_stays_text(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(labels=("wmdd", HOSTILE), name=HOSTILE, notes=(HOSTILE,))
    accuracies, _ = tables(markdown(outcome))
    assert {row[1] for row in accuracies} >= {HOSTILE, "wmdd"}
    assert {len(row) for row in accuracies} == {len(accuracies[0])}
    html = MarkdownIt().enable("table").render(markdown(outcome))
    assert "<img" not in html
    assert "<a " not in html


def test_student_networks_are_columns_under_one_protocol(make_outcome: MakeOutcome) -> None:
    networks = ("resnet18", "timm:vit_tiny_patch16_224", "convnet(width=64)")
    outcome = make_outcome(ipcs=(10,), epochs=(300,), protocols=("fkd",), networks=networks)
    summary = summarise(outcome)
    text = render_markdown(outcome, summary)
    header = next(line for line in text.splitlines() if line.startswith("| ipc | trained on"))
    titles = [cell.strip().replace("\\", "") for cell in header.strip("|").split("|")]
    assert titles[2::2] == list(networks)
    assert titles[3::2] == ["difference to wmdd"] * 3
    assert "every network learns from the same images. Protocol: fkd, 300 epochs." in text
    assert len(summary.leads) == 3


def test_published_accuracies_are_a_column(make_outcome: MakeOutcome) -> None:
    outcome = make_outcome(published=True, protocols=("dc",), epochs=(30,), networks=("resnet18", "convnet"))
    text = markdown(outcome)
    header, *body = tables(text)[0]
    assert header[-1] == "published"
    assert {len(row) for row in body} == {len(header)}
    of_row = {(row[0], row[1]): row[-1] for row in body}
    assert of_row["1", "wmdd"] == "40.2 ± 0.6 (resnet18)"
    assert of_row["10", "wmdd"] == "64.8 ± 0.4 (resnet18), 55.5 (convnet, second-hand)"
    assert of_row["50", "wmdd"] == of_row["10", "mean-feature"] == "–"
    [note] = [line for line in text.splitlines() if "Published: " in line]
    assert "conditions differ" in note and "second-hand: from a paper on another method" in note
    assert "ublished" not in markdown(make_outcome(protocols=("dc",), epochs=(30,)))
