"""A comparison that ends in the middle of every training goes on from the last epoch, to the same numbers."""

from __future__ import annotations

from typing import Any


def test_a_comparison_goes_on_in_the_middle_of_its_trainings(
    site: Any, saved: Any, tmp_path: Any, impatient: Any
) -> None:
    terms: dict[str, Any] = {"epochs": 2, "reference": False, "settings": {"teacher.epochs": 2}}
    whole = saved(site.compare("random", name="whole", **terms))
    for folder in (site.out / "cells", site.out / "teachers"):
        folder.rename(tmp_path / folder.name)
    told: list[str] = []
    for _ in range(9):
        reporter = impatient()
        try:
            result = site.compare("random", name="cut", reporter=reporter, keep_minutes=0, **terms)
            break
        except impatient.Stopped:
            told += reporter.notes
    told += reporter.notes
    assert {**saved(result), "name": "whole"} == {**whole, "command": saved(result)["command"]}
    going_on = [note for note in told if "goes on after epoch" in note]
    assert going_on == ["the teacher goes on after epoch 1 of 2", "student 0 goes on after epoch 1 of 2"]
    assert not list(site.out.rglob("unfinished"))
