"""The numbers and titles of a comparison as text, for the terminal, Markdown, the page and the chart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from condense.comparison.outcome import Column, Outcome
from condense.comparison.report.chosen import chosen_texts
from condense.comparison.statistics import augmentation_robust_score
from condense.comparison.summary import Failure, Lead, Line, Summary
from condense.engine.intervals import Interval
from condense.recipe.published import Published
from condense.text import byte_size, counted, duration, percent, percent_and_spread

KINDS: Mapping[str, str] = {"compare": "Comparison", "sweep": "Sweep", "ablate": "Ablation"}
UNKNOWN = "–"
_ROLES = {"score": "", "hard": ", with hard labels", "plain": ", without augmentation"}


def column_title(column: Column, columns: Sequence[Column], *, brief: bool = False) -> str:
    """Return a title like "fkd, 300 epochs", and of what differs between students.

    The student follows if the `columns` have different students. If nothing but the student differs between them, the
    student alone is the title. brief: leave the student out where each protocol has one student, because the protocol
    stands for it.
    """
    parts = [column.protocol, counted(column.epochs, "epoch")]
    if len({other.student for other in columns}) > 1 and (crossed(columns) or not brief):
        alone = len({(other.protocol, other.epochs) for other in columns}) == 1
        parts = [column.student] if alone else [*parts, column.student]
    return ", ".join(parts) + _ROLES[column.role]


def crossed(columns: Sequence[Column]) -> bool:
    """Return whether a protocol has several student networks, as in a table across architectures."""
    return any(
        one.protocol == other.protocol and one.student != other.student
        for one in columns
        for other in columns
    )


def protocols_text(columns: Sequence[Column]) -> str:
    """Return the protocols with their lengths, like "fkd, 300 epochs"; those of several with semicolons between."""
    return "; ".join(
        dict.fromkeys(f"{column.protocol}, {counted(column.epochs, 'epoch')}" for column in columns)
    )


def images_per_class(ipc: int) -> str:
    """Return a text like "1 image per class"."""
    return f"{counted(ipc, 'image')} per class"


def half_width(interval: Interval | None) -> float | None:
    """Return half the width of an interval: the number after ±."""
    return None if interval is None else (interval[1] - interval[0]) / 2


def accuracy_text(line: Line, full: int) -> str:
    """Return the accuracy in percent like "85.2 ± 0.4", with "(n=4)" if 4 is not the `full` number of students."""
    if line.mean is None:
        return "failed" if line.failure else UNKNOWN
    text = percent_and_spread(line.mean, half_width(line.interval))
    return text + (f" (n={line.count})" if line.count != full else "")


def published_text(published: Published) -> str:
    """Return a published accuracy in percent with its student: "64.8 ± 0.4 (resnet18)"."""
    whose = f"{published.student}, second-hand" if published.second_hand else published.student
    return f"{percent_and_spread(published.accuracy, published.spread)} ({whose})"


def published_texts(summary: Summary, row: str, ipc: int, columns: Sequence[Column]) -> list[str]:
    """Return what was published for a row's method, one text for each student of `columns`, or a dash for nothing."""
    return [published_text(one) for one in summary.published(row, ipc, columns)] or [UNKNOWN]


def published_note(outcome: Outcome, summary: Summary) -> str:
    """Return what the column of published accuracies shows, or "" if no table has that column."""
    found = [line.published for line in summary.lines if line.published]
    if not found:
        return ""
    others = "; second-hand: from a paper on another method" if any(one.second_hand for one in found) else ""
    return (
        f"Published: percent on the test images of {outcome.dataset}, as reported for the row's method with as many "
        f"images per class{others}. The student is in brackets, and conditions differ from those here (teacher, "
        "epochs, protocol): `condense methods show NAME` lists them."
    )


def signed(fraction: float) -> str:
    """Return a fraction in percent with its sign: 0.024 gives "+2.4", and 0.0004 gives "0.0"."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def gap_text(difference: float | None, interval: Interval | None) -> str:
    """Return a difference in percent points like "+2.4 ± 0.3"."""
    if difference is None:
        return UNKNOWN
    half = half_width(interval)
    return signed(difference) + ("" if half is None else f" ± {percent(half)}")


def difference_text(line: Line) -> str:
    """Return the difference to the line's base, with " *" if its interval excludes 0, or "" without a base."""
    if not line.base:
        return ""
    return gap_text(line.difference, line.difference_interval) + (" *" if line.excludes_zero else "")


def teacher_difference_text(line: Line) -> str:
    """Return the difference to the same row under the first teacher, or "" for a row of the first teacher."""
    if line.teacher_difference is None:
        return ""
    gap = gap_text(line.teacher_difference, line.teacher_difference_interval)
    return gap + (" *" if line.teacher_excludes_zero else "")


def differences_of(summary: Summary) -> dict[str, Callable[[Line], str]]:
    """Return the columns of differences by what they are to, as functions to text."""
    found: dict[str, Callable[[Line], str]] = {}
    if summary.compares:
        found[summary.first] = difference_text
    if summary.teachers:
        found[f"teacher {summary.teachers[0]}"] = teacher_difference_text
    return found


def ceiling_texts(summary: Summary) -> list[tuple[str, str]]:
    """Return each teacher as text, "teacher" or "teacher resnet18", with its accuracy in percent."""
    return [(f"teacher {name}".rstrip(), percent(reached)) for name, reached in summary.ceilings.items()]


def score_text(score: float | None) -> str:
    """Return one of DD-Ranking's scores with three decimals."""
    return UNKNOWN if score is None else f"{score:.3f}"


def ratio_text(ratio: float | None) -> str:
    """Return a compression ratio like "57×", "3.2×" or "0.07×"."""
    if ratio is None:
        return UNKNOWN
    return f"{ratio:,.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2g}×"


def duration_text(seconds: float | None) -> str:
    """Return seconds like "1 min 14 s"."""
    return UNKNOWN if seconds is None else duration(seconds)


# A cost of a line by title: its value, and the value as text.
_Cost = tuple[Callable[[Line], float | None], Callable[[Any], str]]
_SCORES: Mapping[str, _Cost] = {
    "LRS": (lambda line: line.lrs, score_text),
    "ARS": (lambda line: line.ars, score_text),
}
_COSTS: Mapping[str, _Cost] = {
    "distil": (lambda line: line.distil_seconds, duration_text),
    "train one": (lambda line: line.train_seconds, duration_text),
    "stored": (lambda line: line.bytes, lambda count: UNKNOWN if count is None else byte_size(count)),
    "compression": (lambda line: line.compression, ratio_text),
}


def costs(summary: Summary, *, scores: bool = True) -> dict[str, Callable[[Sequence[Line]], str]]:
    """Return the scores and costs by title, as functions from lines to text.

    Of several lines, such as those of one row for several students, it is the lowest and the highest value: "1.2–3.4
    s", "8.5 s–1 min 15 s". Scores are left out if no line has any. scores: whether they are wanted.
    """
    shown = {**(_SCORES if summary.scored and scores else {}), **_COSTS}
    return {title: functools.partial(_range, *cost) for title, cost in shown.items()}


def _range(value: Callable[[Line], float | None], text: Callable[[Any], str], lines: Sequence[Line]) -> str:
    found = [one for line in lines if (one := value(line)) is not None]
    if not found:
        return text(None)
    low, high = text(min(found)), text(max(found))
    if low == high:
        return low
    number, unit, *more = f"{low} ".split(" ")
    alike = unit and not any(more) and high.partition(" ")[2] == unit
    return f"{number}–{high}" if alike else f"{low}–{high}"  # the unit of both stands once


def lead_text(lead: Lead) -> str:
    """Return a sentence like "wmdd leads, +2.4 ± 0.3 over random", or that the lead is not settled."""
    gap = gap_text(lead.difference, lead.interval)
    if lead.clear:
        return f"{lead.row} leads, {gap} over {lead.next}"
    why = "no seed in common" if lead.difference is None else "one seed in common says nothing of the spread"
    return (
        f"Not settled: {lead.row} has the highest mean, {gap} over {lead.next}, "
        f"{why if lead.interval is None else 'which may be chance'}"
    )


def failure_text(failure: Failure, outcome: Outcome) -> str:
    """Return where something failed, and why."""
    title = {column.key: column_title(column, outcome.columns) for column in outcome.columns}
    ipcs, seeds = (", ".join(str(number) for number in found) for found in (failure.ipcs, failure.seeds))
    places = [failure.row, f"ipc {ipcs}", f"seed{'s' if len(failure.seeds) > 1 else ''} {seeds}"]
    if failure.column:
        places.append(title.get(failure.column, failure.column))
    return f"{', '.join(places)}: {failure.reason}"


def full_count(outcome: Outcome) -> int:
    """Return how many students a line has if nothing failed."""
    return len(outcome.seeds) * outcome.students


def spread_over(outcome: Outcome) -> str:
    """Return what the interval of an accuracy is over: the seeds, or the students of a single seed."""
    if len(outcome.seeds) == 1:
        return f"{counted(outcome.students, 'student')} of one seed"
    return counted(len(outcome.seeds), "seed")


def tested_on(outcome: Outcome) -> str:
    """Return which images accuracies are measured on."""
    if outcome.validation:
        return f"{100 * outcome.validation:g} % of the training images, held out for it,"
    return "the real test images"


def lead_paragraph(outcome: Outcome) -> str:
    """Return what was compared: rows, dataset, seeds and students."""
    rows = counted(
        len(outcome.rows), {"compare": "row", "sweep": "setting", "ablate": "variant"}[outcome.kind]
    )
    seeds = f"{counted(len(outcome.seeds), 'seed')}, {counted(outcome.students, 'student')} for each"
    return (
        f"{rows} on {outcome.dataset} ({outcome.classes} classes, {outcome.images:,} training images, "
        f"{byte_size(outcome.bytes)}). {seeds}."
    )


def footnotes(outcome: Outcome, summary: Summary) -> list[str]:
    """Return notes that explain the numbers and marks that the tables show."""
    full, several = full_count(outcome), len(outcome.seeds) > 1
    count = f"n = {full}: {counted(len(outcome.seeds), 'seed')} × {counted(outcome.students, 'student')}"
    spread = (
        f"mean ± half the 95 % interval over {spread_over(outcome)} (Student t; {count})"
        if full > 1
        else "of a single student, so there is no interval"
    )
    notes = [f"Accuracy: percent on {tested_on(outcome)} after the last epoch; {spread}."]
    if summary.compares:
        notes.append(_difference_note(summary, several))
    if summary.teachers:
        notes.append(_teacher_note(summary))
    if several and summary.compares:
        among = "the rows of its teacher" if summary.teachers else "the rows"
        notes.append(
            f"Bold: the highest mean of {among}, where its lead over the next of them, paired by seed, has a 95 % "
            "interval that excludes 0. Where nothing is bold, no row is clearly ahead."
        )
    if published := published_note(outcome, summary):
        notes.append(published)
    notes += chosen_texts(outcome)
    if crossed(summary.columns):
        protocols = protocols_text(summary.columns)
        notes.append(f"Students: every network learns from the same images. Protocol: {protocols}.")
    notes += _scale_notes(outcome, summary)
    if summary.scored:
        notes.append(
            "LRS, ARS: DD-Ranking's label-robust and augmentation-robust score (arXiv 2505.13300), 0 to 1, more is "
            "better: how good the images are, apart from soft labels and from augmentation. The ARS of random "
            f"images is {score_text(_level())}."
        )
    if any(line.bytes for line in summary.lines):
        notes.append(
            "Stored: images, labels and, where it answers during training, the teacher, mean over seeds. "
            f"Compression: the real training images as 8-bit pixels ({byte_size(outcome.bytes)}) over what is stored."
        )
    return notes


def _difference_note(summary: Summary, several: bool) -> str:
    same = " under the same teacher" if summary.teachers else ""
    what = f"Difference: points to {summary.first}{same}, paired by seed (each seed's mean over students)"
    if not several:
        return f"{what}; a single seed, so there is no interval."
    return (
        f"{what}, ± half the 95 % interval over seeds. * The interval excludes 0. Intervals are not corrected for "
        "the number of rows."
    )


def _teacher_note(summary: Summary) -> str:
    return (
        f"Difference to teacher {summary.teachers[0]}: points to the same row under that teacher, paired by seed. A "
        "row's images and labels come from its own teacher; the students are the same in every row."
    )


def _scale_notes(outcome: Outcome, summary: Summary) -> list[str]:
    parts = []
    if summary.references:
        each = ", once for each teacher" if summary.teachers else ""
        parts.append(f"Reference: {outcome.reference}, real images drawn at random{each}")
    if summary.teachers:
        found = ", ".join(f"{name} {percent(reached)}" for name, reached in summary.ceilings.items())
        parts.append(f"Ceilings: the teachers, trained on all real images, {found}")
    elif summary.ceiling is not None and outcome.teacher:
        parts.append(
            f"Ceiling: the teacher ({outcome.teacher.model}), trained on all real images, "
            f"{percent(summary.ceiling)}"
        )
    return [". ".join(parts) + "."] if parts else []


@functools.cache
def _level() -> float:
    return augmentation_robust_score(synthetic=0.5, random=0.5, synthetic_plain=0.5, random_plain=0.5)
