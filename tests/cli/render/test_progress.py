"""Progress, driven by a clock and a terminal of our own."""

from __future__ import annotations

import io
import re

import pytest
from condense_cli.render.progress import BarReporter, LineReporter, Pace, Work, make_reporter, picture
from rich.console import Console


class Clock:
    """Seconds that pass when told."""

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
    work = Work("recover", "10 chunks of 100 images", 20_000, "step", began=0.0)
    work.advance(1.0, 0, None)
    work.advance(50.0, 5000, {"barycenter": 1.25, "class-batchnorm": 17.5, "total": 18.75})
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(picture(work, 50.0, width))
    lines = printed(console).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    text = re.sub(r"\s", "", "".join(lines))
    wanted = ["recover", "10 chunks of 100 images", "5000/20000 steps", "100 steps/s", "2 min 30 s left"]
    for part in [*wanted, "barycenter 1.25", "class-batchnorm 17.5", "total 18.75"]:
        assert part.replace(" ", "") in text
    assert ("━" in text) == (width >= 60)


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace(0.0)
    for second in range(1, 61):
        pace.reached(float(second), second)  # 1 a second for a minute, then 10 a second
    for second in range(61, 121):
        pace.reached(float(second), 60 + 10 * (second - 60))
    assert pace.per_second == pytest.approx(10)
    assert pace.left(120.0, 1000) == pytest.approx(34)
    assert pace.left(125.0, 1000) == pytest.approx(29)


def test_work_found_done_at_the_start_is_no_speed() -> None:
    pace = Pace(0.0)
    assert pace.per_second is None
    pace.reached(0.05, 9000)
    pace.reached(10.05, 9100)
    assert pace.per_second == pytest.approx(10)


def test_after_the_last_unit_no_time_left_is_promised() -> None:
    work = Work("measure", "", 10, "image", began=0.0)
    work.advance(1.0, 10, None)
    assert work.facts(3.0) == ["10.0 images/s", "finishing"]


def test_lines_unless_there_is_a_terminal_and_no_json() -> None:
    assert isinstance(make_reporter(terminal()), BarReporter)
    assert isinstance(make_reporter(terminal(), plain=True), LineReporter)
    assert isinstance(make_reporter(pipe()), LineReporter)
    dumb = Console(file=Terminal(), _environ={"TERM": "dumb"})
    assert isinstance(make_reporter(dumb), LineReporter)
    # A colour forced into a pipe makes no terminal of it.
    assert isinstance(make_reporter(Console(file=io.StringIO(), force_terminal=True)), LineReporter)
