"""How long the rest takes, by hand; notes once; reporters that know pieces and such that do not."""

from __future__ import annotations

from condense.comparison.design import Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.progress import ComparisonReporter, Forecast, Progress
from condense.runtime import SilentReporter


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Pieces(Notes):
    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        self.said.append(f"{number}/{total} {what} {left}")


def place(row: str, ipc: int = 1, seed: int = 0) -> Place:
    return Place(row=row, ipc=ipc, seed=seed)


def test_a_note_is_passed_on_once_and_pieces_to_those_who_know_them() -> None:
    plain, knowing = Notes(), Pieces()
    assert isinstance(knowing, ComparisonReporter) and not isinstance(plain, ComparisonReporter)
    for told in (plain, knowing):
        progress = Progress(told)
        progress.note("a note")
        progress.note("a note")
        progress.piece(2, 3, place("wmdd", 10), 5.0)
    assert plain.said == ["a note", "2 of 3: wmdd, 10 images per class, seed 0"]
    assert knowing.said == ["a note", "2/3 wmdd, 10 images per class, seed 0 5.0"]


def test_the_time_left_is_that_of_like_pieces() -> None:
    forecast = Forecast(("one@5",), {"random"})
    assert forecast.left([place("wmdd")]) is None
    assert forecast.left([]) == 0
    found = Distilled(row="wmdd", ipc=1, seed=0, seconds={"measure": 2.0, "recover": 4.0})
    cell = Cell(row="wmdd", ipc=1, seed=0, column="one@5", accuracies=(0.5, 0.5), seconds=3.0)
    forecast.learn(found, [cell])
    # 6 s to distil and twice 3 s to train; the reference takes no time to distil.
    assert forecast.left([place("wmdd", seed=1)]) == 12
    assert forecast.left([place("random")]) == 6
    # Ten times the images, ten times the time; another row counts as the ones known.
    assert forecast.left([place("wmdd", 10)]) == 120
    assert forecast.left([place("dm", 10), place("wmdd", seed=1)]) == 132


def test_a_row_that_failed_takes_no_time() -> None:
    forecast = Forecast(("one@5",), {"random"})
    forecast.learn(Distilled(row="bad", ipc=1, seed=0, failure="so it is"), [])
    forecast.learn(
        Distilled(row="random", ipc=1, seed=0),
        [Cell(row="random", ipc=1, seed=0, column="one@5", accuracies=(0.5,), seconds=3.0)],
    )
    assert forecast.left([place("bad", seed=1)]) == 3
