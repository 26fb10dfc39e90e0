"""What differs between rows, and what each run had."""

from __future__ import annotations

from collections.abc import Callable

from condense.comparison.outcome import Distilled, Outcome
from condense.comparison.report.differences import differences, settings_of

MakeOutcome = Callable[..., Outcome]


def test_what_differs_between_rows(make_outcome: MakeOutcome) -> None:
    settings = settings_of(make_outcome(failing=("mean-feature",)))
    assert list(settings) == ["wmdd", "wmdd class-batchnorm=0.1", "random"]
    assert ("ipc", "1, 10, 50") in settings["wmdd"]
    assert ("targets.barycenter", "1") in settings["wmdd"]
    found = differences(settings)
    assert found.keys == ("method", "recover.iterations")
    assert found.values["random"] == ("random", "800")


def test_runs_of_one_row_that_differ_are_told_apart(make_outcome: MakeOutcome) -> None:
    runs = tuple(
        Distilled(row="wmdd", ipc=ipc, seed=seed, settings={"ipc": ipc, "lr": 0.1 if ipc == 1 else 0.2})
        for ipc in (1, 10)
        for seed in (0, 1)
    )
    (pairs,) = settings_of(make_outcome(distilled=runs)).values()
    assert dict(pairs) == {
        "ipc": "1, 10",
        "lr": "0.1 (ipc 1 seed 0, ipc 1 seed 1); 0.2 (ipc 10 seed 0, ipc 10 seed 1)",
    }


def test_a_setting_that_one_row_lacks_differs() -> None:
    found = differences({"a": [("x", "1")], "b": [("x", "1"), ("y", "2")]})
    assert (found.keys, found.values) == (("y",), {"a": ("–",), "b": ("2",)})
    assert differences({}).keys == ()
