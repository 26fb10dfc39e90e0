"""Progress of a run: bars on a terminal, a line now and then elsewhere. Both are a `condense` Reporter."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from condense.text import counted, duration, rate
from condense_cli.render.console import is_live

Clock = Callable[[], float]

# Work that a resumed run finds done is reported at once; it must not count as speed.
GRACE = 0.2
WINDOW = 30.0
LINE_EVERY = 10.0
ROOM_FOR_BAR = 60


@dataclass
class Pace:
    """Units per second over the last half minute. Times are in seconds, by any clock."""

    began: float
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.samples.append((self.began, 0))

    def reached(self, now: float, done: int) -> None:
        """`done` units are finished at `now`."""
        if now - self.began < GRACE:
            self.samples.clear()
        self.samples.append((now, done))
        while len(self.samples) > 2 and now - self.samples[1][0] > WINDOW:
            self.samples.popleft()

    @property
    def per_second(self) -> float | None:
        """None as long as nothing was timed."""
        (first, before), (last, after) = self.samples[0], self.samples[-1]
        return (after - before) / (last - first) if after > before and last > first else None

    def left(self, now: float, total: int) -> float | None:
        """Seconds until `total` units are done; None as long as nothing was timed."""
        per_second = self.per_second
        if per_second is None:
            return None
        last, done = self.samples[-1]
        return max(0.0, (total - done) / per_second - (now - last))


@dataclass
class Work:
    """The piece of work under way."""

    stage: str
    detail: str
    total: int
    unit: str
    began: float
    done: int = 0
    values: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pace = Pace(self.began)

    def advance(self, now: float, count: int, values: Mapping[str, float] | None) -> None:
        """`count` more units are done."""
        self.done = min(self.done + count, self.total)
        self.values.update(values or {})
        if count:
            self.pace.reached(now, self.done)

    def amount(self) -> str:
        """ "12/50 epochs"."""
        return f"{self.done}/{counted(self.total, self.unit)}"

    def facts(self, now: float) -> list[str]:
        """Rate, time left, losses: what is known of them."""
        found: list[str] = []
        per_second, left = self.pace.per_second, self.pace.left(now, self.total)
        if per_second is not None and left is not None:
            # What follows the last unit (fitting, testing) has no units of its own.
            ahead = "finishing" if self.done == self.total else f"{duration(left)} left"
            found += [rate(per_second, self.unit), ahead]
        return [*found, *(f"{name} {value:.4g}" for name, value in self.values.items())]


class LineReporter:
    """One line at the start and the end of each piece of work, and one every ten seconds between."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._work: Work | None = None
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self.say(f"{self._work.stage}: stopped at {self._work.amount()}")
            self._work = None

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Say what begins."""
        self._work = Work(stage, detail, total, unit, self._clock())
        self._last = self._work.began
        amount = "" if str(total) in detail else f", {counted(total, unit)}"
        self.say(f"{stage}: {detail}{amount}")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Say how far it is, when the last line is old enough."""
        work, now = self._work, self._clock()
        if work is None:
            return
        work.advance(now, count, values)
        if now - self._last >= LINE_EVERY and work.done < work.total:
            self._last = now
            self.say(f"{work.stage}: {', '.join([work.amount(), *work.facts(now)])}")

    def finish(self, summary: str = "") -> None:
        """Say how long it took and what came of it."""
        if self._work is not None:
            spent = duration(self._clock() - self._work.began)
            self.say(f"{self._work.stage}: done in {spent}{', ' if summary else ''}{summary}")
        self._work = None

    def note(self, text: str) -> None:
        """Say it."""
        self.say(f"note: {text}")

    def say(self, text: str) -> None:
        """A line of its own, unwrapped."""
        self._console.print(text, soft_wrap=True)


class BarReporter:
    """A bar for the work under way, and below it rate, time left and losses; a line for what is done."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._work: Work | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        work = self._work
        if work is not None:
            self._close()
            self._console.print(done_line("✗", "red", work.stage, f"stopped at {work.amount()}"))

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Show a bar."""
        self._close()
        self._work = Work(stage, detail, total, unit, self._clock())
        self._live = Live(
            console=self._console, get_renderable=self._picture, refresh_per_second=8, transient=True
        )
        self._live.start()

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Move it; the picture is redrawn by a clock of its own."""
        if self._work is not None:
            self._work.advance(self._clock(), count, values)

    def finish(self, summary: str = "") -> None:
        """Put one line where the bar was."""
        work = self._work
        self._close()
        if work is not None:
            text = " · ".join(filter(None, (work.detail, duration(self._clock() - work.began), summary)))
            self._console.print(done_line("✓", "green", work.stage, text))

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(done_line("·", "yellow", "note", text))

    def say(self, text: str) -> None:
        """A line of its own, unwrapped."""
        self._console.print(text, soft_wrap=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._work = None

    def _picture(self) -> RenderableType:
        work = self._work
        return Text("") if work is None else picture(work, self._clock(), self._console.width)


def picture(work: Work, now: float, width: int) -> RenderableType:
    """The work under way at `now`; where there is no room for a bar, text that wraps."""
    facts = Text(" · ".join(work.facts(now) or [f"running for {duration(now - work.began)}"]), style="dim")
    if width < ROOM_FOR_BAR:
        return Group(Text(f"{work.stage}: {work.detail}"), Text(work.amount()), facts)
    top = Table.grid(padding=(0, 2, 0, 0))
    top.add_row(
        Text(f"  {work.stage:<8}", style="bold"),
        ProgressBar(total=max(work.total, 1), completed=work.done, width=max(10, min(40, width - 38))),
        Text(work.amount()),
    )
    below = Table.grid(padding=(0, 2, 0, 0))
    below.add_row(Text(" " * 10), Group(Text(work.detail, style="dim"), facts))
    return Group(top, below)


def done_line(mark: str, style: str, stage: str, text: str) -> Table:
    """What came of a piece of work; a long text goes on below itself."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_row(Text(mark, style=style), Text(f"{stage:<9}", style="bold"), Text(text))
    return table


def make_reporter(console: Console, *, plain: bool = False) -> BarReporter | LineReporter:
    """Bars where the console can draw them and `plain` does not forbid it; lines elsewhere."""
    return LineReporter(console) if plain or not is_live(console) else BarReporter(console)
