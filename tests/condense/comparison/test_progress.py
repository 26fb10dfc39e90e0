"""How long the rest takes, by hand; notes once; reporters that know pieces and such that do not."""

from __future__ import annotations

from condense.comparison.design import Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.progress import ComparisonReporter, Forecast, Progress
from condense.comparison.tasks import Task
from condense.runtime import SilentReporter


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Pieces(Notes):
    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        self.said.append(f"{number}/{total} {what} {left}")


def cell(row: str, ipc: int = 1, seed: int = 0) -> Task:
    """The images of a place, and its students."""
    place = Place(row=row, ipc=ipc, seed=seed)
    return Task(images=(place,), students=(place,))


def test_a_note_is_passed_on_once_and_pieces_to_those_who_know_them() -> None:
    plain, knowing = Notes(), Pieces()
    assert isinstance(knowing, ComparisonReporter) and not isinstance(plain, ComparisonReporter)
    for told in (plain, knowing):
        progress = Progress(told)
        progress.note("a note")
        progress.note("a note")
        progress.piece(2, 3, cell("wmdd", 10).text(), 5.0)
    assert plain.said == ["a note", "2 of 3: wmdd, 10 images per class, seed 0"]
    assert knowing.said == ["a note", "2/3 wmdd, 10 images per class, seed 0 5.0"]


def test_the_time_left_is_that_of_like_pieces() -> None:
    forecast = Forecast(("one@5",), {"random"})
    assert forecast.left([cell("wmdd")]) is None
    assert forecast.left([]) == 0
    found = Distilled(row="wmdd", ipc=1, seed=0, seconds={"measure": 2.0, "recover": 4.0})
    forecast.learn_images(found)
    forecast.learn_students(
        [Cell(row="wmdd", ipc=1, seed=0, column="one@5", accuracies=(0.5, 0.5), seconds=3.0)]
    )
    # 6 s to distil and twice 3 s to train; the reference takes no time to distil.
    assert forecast.left([cell("wmdd", seed=1)]) == 12
    assert forecast.left([cell("random")]) == 6
    # Ten times the images, ten times the time; another row counts as the ones known.
    assert forecast.left([cell("wmdd", 10)]) == 120
    assert forecast.left([cell("dm", 10), cell("wmdd", seed=1)]) == 132


def test_a_row_that_failed_takes_no_time() -> None:
    forecast = Forecast(("one@5",), {"random"})
    forecast.learn_images(Distilled(row="bad", ipc=1, seed=0, failure="so it is"))
    forecast.learn_images(Distilled(row="random", ipc=1, seed=0))
    forecast.learn_students(
        [Cell(row="random", ipc=1, seed=0, column="one@5", accuracies=(0.5,), seconds=3.0)],
    )
    assert forecast.left([cell("bad", seed=1)]) == 3


def test_images_and_students_that_are_tasks_of_their_own_are_counted_apart() -> None:
    forecast = Forecast(("one@5",), set())
    places = tuple(Place(row="wmdd", ipc=1, seed=seed) for seed in range(3))
    images, students = [Task(images=(place,)) for place in places], Task(students=places)
    forecast.learn_images(Distilled(row="wmdd", ipc=1, seed=0, seconds={"recover": 4.0}))
    assert forecast.left(images[1:]) == 8 and forecast.left([*images[1:], students]) is None
    forecast.learn_students([Cell(row="wmdd", ipc=1, seed=0, column="one@5", accuracies=(0.5,), seconds=3.0)])
    assert forecast.left([*images[1:], students]) == 8 + 9
    assert students.text() == "wmdd, 1 image per class, students of 3 seeds"
