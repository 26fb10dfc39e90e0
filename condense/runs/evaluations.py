"""The table of `condense evaluate` as files: JSON with all numbers, and Markdown to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from condense.errors import StorageError
from condense.recipe.config import Evaluation, Recipe, dataset_label, digest
from condense.recipe.resolve import file_name
from condense.runs.result import EvaluationResult
from condense.runtime import Reporter
from condense.storage.distilled import DistilledDataset
from condense.storage.files import write_json, write_text
from condense.text import counted, interval_text, percent

FOLDER = "evaluations"


def table_path(
    out: Path | None,
    run: Path | None,
    distilled: DistilledDataset,
    recipe: Recipe,
    judged: Iterable[Evaluation],
) -> Path | None:
    """Return the path of the table, which is the same for the same evaluation; None for an artifact alone.

    out: the folder that the user chose; None stands for the folder "evaluations" of the run.
    run: the run directory that the artifact lies in, or None.
    judged: the evaluation of each student network.
    """
    folder = out or (run / FOLDER if run else None)
    if folder is None:
        return None
    evaluations = list(judged)
    protocol = evaluations[0].protocol
    made_of = [
        distilled.settings,
        [(evaluation.hash, evaluation.students) for evaluation in evaluations],
        [recipe.seed, recipe.dataset, recipe.validation],
    ]
    # The name of the method may come from anybody, and must not lead to another folder.
    stem = f"{file_name(distilled.method) or 'artifact'}-ipc{distilled.ipc}-{protocol.name}-{protocol.epochs}"
    return folder / f"{stem}-{digest(made_of)[:10]}.md"


def keep_evaluation(result: EvaluationResult, reporter: Reporter, *, required: bool) -> EvaluationResult:
    """Write the table so far, and return the result; without its `table` if that could not be written.

    required: whether to raise StorageError then; otherwise `reporter` is told.
    """
    if result.table is None:
        return result
    data = result.to_dict()
    try:
        write_json(result.table.with_suffix(".json"), data)
        write_text(result.table, render_markdown(data))
    except StorageError as error:
        if required:
            raise
        reporter.note(f"the table is not saved: {error}; --out chooses another folder")
        return replace(result, table=None)
    return result


def render_markdown(data: Mapping[str, Any]) -> str:
    """Return the table of `EvaluationResult.to_dict()` as Markdown."""
    protocol = data["protocol"]
    lines = [
        f"# {data['method']} on {dataset_label(data['dataset'])}, {counted(data['ipc'], 'image')} per class",
        "",
        f"Protocol {protocol['name']}: {counted(protocol['epochs'], 'epoch')}, {protocol['labels']} labels, seed "
        f"{data['seed']}. Accuracy in percent on the real test images after the last epoch, mean over students; the "
        "interval is the 95 % interval of that mean (Student t).",
        "",
        "| student | accuracy | 95 % interval | students |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['student']} | {percent(row['accuracy_mean'])} | {interval_text(row['accuracy_interval'])} "
        f"| {row['students']} |"
        for row in data["rows"]
    ]
    return "\n".join(lines) + "\n"
