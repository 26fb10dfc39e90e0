"""Progress, driven by a clock and a terminal of our own."""

from __future__ import annotations

import io
import math
import re

import pytest
from condense_cli.render.progress import BarReporter, LineReporter, Work, make_reporter
from rich.console import Console

from condense.text import duration


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def pipe() -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False, markup=False)


def terminal(width: int = 80) -> Console:
    return Console(
        file=Terminal(), width=width, force_terminal=True, legacy_windows=False, _environ={"TERM": "xterm"}
    )


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_lines_at_the_start_the_end_and_every_ten_seconds() -> None:
    console, clock = pipe(), Clock()
    with LineReporter(console, clock) as reporter:
        reporter.start("recover", "2 chunks", 100, "step")
        for _ in range(25):
            clock.now += 1
            reporter.advance(2, {"total": 0.123456})
        reporter.finish("good")
        reporter.note("images were grey")
    assert printed(console).splitlines() == [
        "recover: 2 chunks, 100 steps",
        "recover: 20/100 steps, 2.0 steps/s, 40.0 s left, total 0.1235",
        "recover: 40/100 steps, 2.0 steps/s, 30.0 s left, total 0.1235",
        "recover: done in 25.0 s, good",
        "note: images were grey",
    ]


def test_lines_say_where_an_error_stopped_the_work() -> None:
    console = pipe()
    with pytest.raises(ValueError, match="x"), LineReporter(console, Clock()) as reporter:
        reporter.start("squeeze", "training", 5, "epoch")
        reporter.advance(2)
        raise ValueError("x")
    assert printed(console).splitlines()[-1] == "squeeze: stopped at 2/5 epochs"


def test_nothing_breaks_without_a_start() -> None:
    for reporter in (LineReporter(pipe()), BarReporter(terminal())):
        with reporter:
            reporter.advance(1, {"loss": 1.0})
            reporter.finish("x")


def test_bars_leave_one_line_for_each_piece_of_work() -> None:
    console, clock = terminal(), Clock()
    with BarReporter(console, clock) as reporter:
        reporter.say("wmdd on fashion-mini")
        reporter.start("squeeze", "training convnet", 4, "epoch")
        clock.now += 2
        reporter.advance(4, {"loss": 0.5})
        reporter.note("something")
        reporter.finish("teacher 90.0%")
        reporter.start("measure", "5000 training images", 5000, "image")
    lines = [line.rstrip() for line in printed(console).splitlines()]
    assert "✓ squeeze   training convnet · 2.0 s · teacher 90.0%" in lines
    assert "· note      something" in lines
    assert lines[-1].endswith("✗ measure   stopped at 0/5000 images")


@pytest.mark.parametrize("width", [120, 80, 60, 59, 40, 20])
def test_the_picture_cuts_nothing_at_any_width(width: int) -> None:
    console, clock = Console(file=io.StringIO(), width=width, highlight=False), Clock()
    work = Work(console, clock, "recover", "10 chunks of 100 images", 20_000, "step")
    clock.now += 50
    work.report(5000, {"barycenter": 1.25, "class-batchnorm": 17.5, "total": 18.75})
    console.print(work)
    lines = printed(console).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    text = re.sub(r"\s", "", "".join(lines))
    wanted = ["recover", "10 chunks of 100 images", "5000/20000 steps", "100 steps/s", "2 min 30 s left"]
    for part in [*wanted, "barycenter 1.25", "class-batchnorm 17.5", "total 18.75"]:
        assert part.replace(" ", "") in text
    assert ("━" in text) == (width >= 60)


@pytest.mark.parametrize("width", [80, 40])
def test_the_picture_before_the_first_unit(width: int) -> None:
    console, clock = Console(file=io.StringIO(), width=width), Clock()
    work = Work(console, clock, "measure", "[red]", 0, "image")
    clock.now += 5
    console.print(work)
    text = printed(console)
    for part in ("measure", "[red]", "0/0 images", "running for 5.0 s"):
        assert part in text


def test_the_bar_is_drawn_while_the_work_goes_on() -> None:
    console, clock = terminal(), Clock()
    with BarReporter(console, clock) as reporter:
        reporter.start("squeeze", "training convnet", 4, "epoch")
        clock.now += 2
        reporter.advance(1, {"loss": 0.5})
        assert isinstance(reporter._work, Work)
        reporter._work.refresh()
        text = printed(console)
        reporter.finish()
    assert "━" in text and "1/4 epochs" in text and "2.0 s/epoch · 6.0 s left · loss 0.5" in text


def work_of(total: int, unit: str) -> tuple[Work, Clock]:
    clock = Clock()
    return Work(pipe(), clock, "measure", "", total, unit), clock


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    work, clock = work_of(1000, "image")
    for second in range(1, 121):  # 1 a second for a minute, then 10 a second
        clock.now += 1
        work.report(1 if second <= 60 else 10)
    assert work.facts() == ["10.0 images/s", "34.0 s left"]
    clock.now += 5
    assert work.facts() == ["10.0 images/s", "29.0 s left"]
    clock.now += 60
    assert work.facts() == ["10.0 images/s", "0.00 s left"]


def test_units_of_more_than_half_a_minute_have_a_pace() -> None:
    work, clock = work_of(10, "epoch")
    for done in range(1, 4):
        clock.now += 61.7
        work.report(1)
        assert work.facts()[0] == "61.7 s/epoch"
        assert work.facts()[1] == duration(math.ceil((10 - done) * 61.7)) + " left"
        clock.now += 1
        work.report(0, {"loss": 0.5})
        assert work.facts()[0] == "61.7 s/epoch" and work.facts()[2] == "loss 0.5"
        clock.now -= 1


def test_work_found_done_at_the_start_does_not_count_as_speed() -> None:
    work, clock = work_of(10_000, "step")
    assert work.facts() == []
    for _ in range(2):  # each found student is a report of its own
        clock.now += 0.05
        work.report(4500)
        assert work.facts() == []
    assert work.amount == "9000/10000 steps"
    clock.now += 10
    work.report(100)
    assert work.facts() == ["10.0 steps/s", "1 min 30 s left"]
    assert work.spent == "10.1 s"


def test_after_the_last_unit_the_work_is_finishing() -> None:
    work, clock = work_of(10, "image")
    clock.now += 1
    work.report(11)
    clock.now += 2
    assert work.amount == "10/10 images"
    assert work.facts() == ["10.0 images/s", "finishing"]


def test_lines_unless_there_is_a_terminal_and_no_json() -> None:
    assert isinstance(make_reporter(terminal()), BarReporter)
    assert isinstance(make_reporter(terminal(), plain=True), LineReporter)
    assert isinstance(make_reporter(pipe()), LineReporter)
    dumb = Console(file=Terminal(), _environ={"TERM": "dumb"})
    assert isinstance(make_reporter(dumb), LineReporter)
    # A colour forced into a pipe does not make it a terminal.
    assert isinstance(make_reporter(Console(file=io.StringIO(), force_terminal=True)), LineReporter)
