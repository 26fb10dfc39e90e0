"""How the images of a run are chosen among candidates: the starts and the states of recovery."""

from __future__ import annotations

from dataclasses import dataclass

from condense.recipe.fields import checked


@checked
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Students judge candidates, and the images of the best one are kept. Test images have no part in it.

    The starts are judged first: the images of the recipe's initializer, and of those in `starts`. Recovery begins from
    the best one. Then states of recovery are judged against that start. A later candidate is kept only if the mean
    accuracy of its students is above that of every earlier one. Students are trained as `Recipe.judge` says and tested
    on training images. All candidates have students of the same initial weights and random draws. Initial images that
    are real images may be among those that students are tested on.

    students: how many judge each candidate; 0 judges nothing and keeps what recovery ends with.
    epochs: of each student.
    steps: the maximum number of steps of each student: where there are more images, it has fewer epochs, at least one.
        0: no maximum.
    images: how many training images students are tested on, equally many of each class; 0, or more than there are:
        all. They are drawn with the run's seed.
    snapshots: how many states of recovery are candidates, after equal parts of its iterations, at most one after each;
        the last one is its end. 0 keeps the end without a comparison, so that only starts are judged. A recipe of 0
        iterations has none.
    starts: the names of further initializers, with their default options, whose images are candidates. The name of
        the recipe's own initializer adds nothing.

    Raises ValueError for a number out of range or names that are repeated.
    """

    students: int = 0
    epochs: int = 100
    steps: int = 1000
    images: int = 2000
    snapshots: int = 2
    starts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("students", "steps", "images", "snapshots"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")
        if len(set(self.starts)) < len(self.starts):
            raise ValueError(f"starts names each initializer at most once, not {self.starts}")

    def judged_after(self, iterations: int) -> tuple[int, ...]:
        """Return the numbers of iterations after which a state of recovery is a candidate, ascending."""
        parts = {iterations * part // self.snapshots for part in range(1, self.snapshots + 1)}
        return tuple(sorted(parts - {0}))
