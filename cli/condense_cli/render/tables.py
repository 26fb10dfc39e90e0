"""The outcome and the plan of a run as text: plain data in, renderables out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.executors.pieces import Outline
from condense.recipe.config import RunConfig
from condense.recipe.settings import flatten
from condense.text import byte_size, counted, duration, interval_text, percent, setting_text, spread

ACCURACY = "bold green"
HEADING = "bold"
QUIET = "dim"

UNKNOWN_LICENCE = "of the real images not known: say it in the card before others use them"

# Fields of a recipe that name components.
COMPONENTS = ("initializer", "parametrization", "targets", "regularizers", "evaluator")


def headline(settings: Mapping[str, Any]) -> str:
    """Return what is condensed, in one line. settings: a recipe or an outcome, as plain data."""
    return (
        f"{settings['method']} on {_name_of(settings['dataset'])}, "
        f"{counted(settings['ipc'], 'image')} per class, seed {settings['seed']}"
    )


def outcome_table(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return a run's outcome (`RunResult.to_dict()`): accuracies, then costs, then paths."""
    facts = [
        ("protocol", _protocol(data["protocol"], data["rows"])),
        ("time", _times(data["seconds"])),
        ("size", _sizes(data["bytes"])),
    ]
    if data["choice"]:
        facts.insert(0, ("images", f"chosen from candidates: {data['choice']['kept_text']}"))
    fraction = data["settings"]["recipe"]["validation"]
    if fraction:
        facts.insert(
            1, ("tested on", f"{percent(fraction)} % of the training images, held out: for tuning only")
        )
    return [
        "",
        Text(headline(data), style=HEADING),
        "",
        Padding(_accuracies(data["rows"], data["teacher_accuracy"]), (0, 0, 1, 1), expand=False),
        pairs_table(facts),
        *_places({"run": data["path"], "grid": data["grid"], "report": data["report"]}),
    ]


def evaluation_table(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return the outcome of evaluating an artifact (`EvaluationResult.to_dict()`): a row for each student network."""
    seconds = sum(row["seconds"] for row in data["rows"])
    facts = [
        ("protocol", _protocol(data["protocol"], data["rows"])),
        ("time", duration(seconds)),
        ("size", _sizes(data["bytes"])),
    ]
    table = _ruled("student", "test accuracy", "95 % interval", "students")
    for row in data["rows"]:
        table.add_row(
            Text(str(row["student"])),
            Text(spread(row["accuracy_mean"], row["accuracy_std"]), style=ACCURACY),
            interval_text(row["accuracy_interval"]),
            _counted_students(row["students"]),
        )
    return [
        "",
        Text(headline(data), style=HEADING),
        "",
        Padding(table, (0, 0, 1, 1), expand=False),
        pairs_table(facts),
        *_places({"artifact": data["path"], **({"table": data["table"]} if data["table"] else {})}),
    ]


def pushed_table(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return what was pushed to the hub (`Pushed`, as plain data), under which licence, and how others judge it."""
    if data["teacher"]:
        teacher = "lies beside the images"
    elif data["needs_teacher"]:
        teacher = "not there: the labels come from it, so others need it for the protocol"
    else:
        teacher = "not needed"
    facts = [
        ("seen by", "its owner alone" if data["private"] else "everybody"),
        ("images", str(data["images"])),
        ("teacher", teacher),
        ("licence", f"{data['licence']} (of the real images)" if data["licence"] else UNKNOWN_LICENCE),
        ("judge it", f"condense evaluate hf:{data['name']}"),
    ]
    return ["", Text(data["name"], style=HEADING), "", pairs_table(facts), f"  page      {data['url']}"]


def imported_table(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return what was imported (`ImportResult.to_dict()`), how it was read, and how to judge it."""
    facts = [
        (
            "images",
            f"{data['images']}: {data['ipc']} for each of {data['classes']} classes",
        ),
        ("labels", data["labels"]),
        *(("note", note) for note in data["notes"]),
    ]
    path = data["path"]
    return [
        "",
        Text(f"{data['method']} on {data['dataset']}", style=HEADING),
        "",
        pairs_table(facts),
        *_places({"artifact": path, "judge it": f"condense evaluate {path}"}),
        f"  a row     condense compare wmdd imported:{path} --dataset {data['dataset']} --ipc {data['ipc']}",
    ]


def _ruled(*titles: str) -> Table:
    """Return an empty table with these columns."""
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1), header_style=QUIET, show_edge=False, border_style=QUIET
    )
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _counted_students(many: int) -> str:
    return "one student" if many == 1 else counted(many, "student")


def pieces_pairs(outlines: Sequence[Outline] | None) -> list[tuple[str, str]]:
    """Return the graph of pieces, kind by kind: how many there are, after which others, and what they write."""
    if outlines is None:
        return [("pieces", "not known: a dry run does not look at the images of this dataset")]
    return [(one.kind, one.text()) for one in outlines]


def plan_table(
    config: RunConfig,
    stages: Mapping[str, str],
    outlines: Sequence[Outline] | None,
    notes: Iterable[str],
    path: Path,
) -> list[RenderableType]:
    """Return what a run would do, and every setting by the key that --set takes, in the configuration's groups."""
    parts: list[RenderableType] = [
        Text(headline(config.to_dict()["recipe"]), style=HEADING),
        *_places({"would lie in": str(path)}),
        "",
        Text("Work ahead", style=HEADING),
        pairs_table(stages.items()),
        *(Padding(Text(note), (0, 0, 0, 2), expand=False) for note in notes),
        "",
        Text("Pieces, done by --executor", style=HEADING),
        pairs_table(pieces_pairs(outlines)),
    ]
    for title, group in (
        ("What is distilled (recipe)", config.recipe),
        ("How it is judged (evaluation)", config.evaluation),
        ("Where it is computed (machine)", config.machine),
    ):
        flat = flatten(group)
        if "pool" not in stages:  # Settings of a pool that nothing looks through are refused.
            flat = {key: value for key, value in flat.items() if not key.startswith("pool.")}
        if "select" not in stages:  # Those of students that do not judge are refused.
            flat = {key: value for key, value in flat.items() if key.partition(".")[0] != "judge"}
        own, sections = _sections(flat)
        parts += ["", Text(title, style=HEADING), Text("  Options of their own", style=QUIET)]
        parts += [pairs_table(own)]
        if sections:
            parts += [Text("  Change with --set KEY=VALUE", style=QUIET)]
            parts += _apart([pairs_table(section) for section in sections])
    return parts


def _apart(tables: Sequence[Table]) -> list[RenderableType]:
    """Return tables with an empty line between two."""
    parts: list[RenderableType] = [part for table in tables for part in ("", table)]
    return parts[1:]


# Texts, and what is set by another name.
_TOLD_ELSEWHERE = (
    *("protocol.summary", "protocol.source"),
    *("judge.name", "judge.summary", "judge.source", "judge.epochs"),
)


def _sections(flat: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]:
    """Return the settings that have an option of their own, and the others by section."""
    own: list[tuple[str, str]] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    for key, value in flat.items():
        first = key.partition(".")[0]
        if key in _TOLD_ELSEWHERE:
            continue
        if key == "protocol.name":
            own.append(("protocol", str(value)))
        elif "." not in key and first not in COMPONENTS:
            own.append((key.replace("_", "-"), setting_text(value)))
        else:
            section = "components" if first in COMPONENTS else first
            absent = key in COMPONENTS and not value
            sections.setdefault(section, []).append((key, "(none)" if absent else setting_text(value)))
    return own, list(sections.values())


def _accuracies(rows: Sequence[Mapping[str, Any]], teacher: float | None) -> Table:
    table = _ruled("trained on", "test accuracy", "students")
    for position, row in enumerate(rows):
        table.add_row(
            str(row["label"]),
            Text(spread(row["accuracy_mean"], row["accuracy_std"]), style="" if position else ACCURACY),
            _counted_students(row["students"]),
        )
    if not rows:
        table.add_row("(no students were trained)")
    if teacher is not None:
        table.add_row("all real images (the teacher)", f"{100 * teacher:5.1f} %", "")
    return table


def _protocol(protocol: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    steps = f", {counted(rows[0]['steps'], 'step')}" if rows else ""
    return f"{protocol['name']}: {counted(protocol['epochs'], 'epoch')}{steps}, {protocol['labels']} labels"


def _times(seconds: Mapping[str, float]) -> str:
    parts = [f"{stage} {duration(spent)}" for stage, spent in seconds.items()]
    return ", ".join([*parts, f"together {duration(sum(seconds.values()))}"])


def _sizes(bytes_of: Mapping[str, int]) -> str:
    return ", ".join(
        f"{what} {byte_size(count)}" for what, count in bytes_of.items() if count or what != "teacher"
    )


def pairs_table(pairs: Iterable[tuple[str, str]], max_width: int | None = None) -> Table:
    """Return names and texts in two columns; long texts wrap. max_width: of the names, in characters."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=QUIET, overflow="fold", max_width=max_width)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(Text(f"  {name}"), Text(text))
    return table


def _places(paths: Mapping[str, str]) -> list[RenderableType]:
    """Return one line for each path, neither wrapped nor cut."""
    return [f"  {what:<8}  {path}" for what, path in paths.items()]


def _name_of(dataset: Any) -> str:
    return str(dataset["name"]) if isinstance(dataset, Mapping) else str(dataset)
