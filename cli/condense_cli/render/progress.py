"""Progress of a run: bars on a terminal, a line now and then elsewhere. Both are a `condense` Reporter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from condense.text import counted, duration, rate
from condense_cli.render.console import is_live

Clock = Callable[[], float]

# A resumed run reports at once the work that it finds done; that must not count as speed.
GRACE = 0.2
WINDOW = 30.0
LINE_EVERY = 10.0
ROOM_FOR_BAR = 60


class Work(Progress):
    """The piece of work under way. `start` and `stop` show and remove its bar; without them it only counts."""

    def __init__(
        self, console: Console, clock: Clock, stage: str, detail: str, total: int, unit: str
    ) -> None:
        super().__init__(
            TextColumn("  {task.description:<8}", style="bold", markup=False),
            BarColumn(None, table_column=Column(max_width=40)),
            TextColumn("{task.fields[work].amount}", markup=False),
            console=console,
            refresh_per_second=8,
            transient=True,
            get_time=clock,
        )
        self.stage, self.detail, self.unit, self.total = stage, detail, unit, total
        self.values: dict[str, float] = {}
        self._began = self._reported = clock()
        self._id = self.add_task(stage, total=total, work=self)
        self._task = self.tasks[0]
        self.advance(self._id, 0)  # rich measures speed from the first report on

    @property
    def done(self) -> int:
        """The units that are done."""
        return int(self._task.completed)

    @property
    def amount(self) -> str:
        """ "12/50 epochs"."""
        return f"{self.done}/{counted(self.total, self.unit)}"

    @property
    def spent(self) -> str:
        """The time since the start."""
        return duration(self.get_time() - self._began)

    def report(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Add `count` units that are done."""
        self.values = {**self.values, **(values or {})}
        if not count:
            return
        now, done = self.get_time(), min(self.done + count, self.total)
        if now - self._began < GRACE:
            self.reset(self._id, completed=done)
            self.advance(self._id, 0)
        else:
            # rich needs two reports in the window, also of units that take longer than half a minute.
            self.speed_estimate_period = max(WINDOW, 2 * (now - self._reported))
            self.update(self._id, completed=done)
        self._reported = now

    def facts(self) -> list[str]:
        """Return rate, time left and losses, as far as they are known."""
        found: list[str] = []
        speed, left = self._task.speed, self._task.time_remaining
        if speed and left is not None:
            left = max(0.0, left - (self.get_time() - self._reported))
            # The steps after the last unit (fitting, testing) have no units of their own.
            ahead = "finishing" if self._task.finished else f"{duration(left)} left"
            found += [rate(speed, self.unit), ahead]
        return [*found, *(f"{name} {value:.4g}" for name, value in self.values.items())]

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the picture; a narrow terminal gets text that wraps instead of a bar."""
        if not self.tasks:  # rich asks for a picture before the work is added
            return
        facts = Text(" · ".join(self.facts() or [f"running for {self.spent}"]), style="dim")
        if self.console.width < ROOM_FOR_BAR:
            yield from (Text(f"{self.stage}: {self.detail}"), Text(self.amount), facts)
        else:
            yield self.make_tasks_table(self.tasks)
            yield Padding(Group(Text(self.detail, style="dim"), facts), (0, 0, 0, 11))


class _Reporter:
    """What both reporters share: one piece of work at a time, and lines."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._work: Work | None = None

    def __enter__(self) -> Self:
        return self

    def say(self, text: str) -> None:
        """Print a line of its own, unwrapped."""
        self._console.print(text, soft_wrap=True)


class LineReporter(_Reporter):
    """Prints one line at the start and the end of each piece of work, and one every ten seconds between."""

    _last = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self.say(f"{self._work.stage}: stopped at {self._work.amount}")
            self._work = None

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Say what begins."""
        self._last = self._clock()
        self._work = Work(self._console, self._clock, stage, detail, total, unit)
        amount = "" if str(total) in detail else f", {counted(total, unit)}"
        self.say(f"{stage}: {detail}{amount}")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Say how far the work is, when the last line is old enough."""
        if self._work is None:
            return
        self._work.report(count, values)
        if self._clock() - self._last >= LINE_EVERY and self._work.done < self._work.total:
            self._last = self._clock()
            self.say(f"{self._work.stage}: {', '.join([self._work.amount, *self._work.facts()])}")

    def finish(self, summary: str = "") -> None:
        """Say how long the work took and what came of it."""
        if self._work is not None:
            done = f"{self._work.stage}: done in {self._work.spent}"
            self.say(", ".join(filter(None, (done, summary))))
        self._work = None

    def note(self, text: str) -> None:
        """Print the note."""
        self.say(f"note: {text}")


class BarReporter(_Reporter):
    """Shows a bar for the work under way, below it rate, time left and losses, and a line for finished work."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("✗", "red", lambda work: f"stopped at {work.amount}")

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Show a bar."""
        if self._work is not None:
            self._work.stop()
        self._work = Work(self._console, self._clock, stage, detail, total, unit)
        self._work.start()

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Count the units; rich redraws the bar eight times a second."""
        if self._work is not None:
            self._work.report(count, values)

    def finish(self, summary: str = "") -> None:
        """Replace the bar by one line."""
        self._end("✓", "green", lambda work: " · ".join(filter(None, (work.detail, work.spent, summary))))

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(done_line("·", "yellow", "note", text))

    def _end(self, mark: str, style: str, text: Callable[[Work], str]) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.stop()
            self._console.print(done_line(mark, style, work.stage, text(work)))


def done_line(mark: str, style: str, stage: str, text: str) -> Table:
    """Return the line for finished work; a long text wraps below itself."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_row(Text(mark, style=style), Text(f"{stage:<9}", style="bold"), Text(text))
    return table


def make_reporter(console: Console, *, plain: bool = False) -> BarReporter | LineReporter:
    """Return bars if the console can draw them and `plain` does not forbid it, lines otherwise."""
    return LineReporter(console) if plain or not is_live(console) else BarReporter(console)
