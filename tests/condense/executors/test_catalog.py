"""The choice of an executor by its name."""

from __future__ import annotations

from typing import Any

import pytest

from condense.errors import OptionError, UnknownNameError
from condense.executors.catalog import ProcessesOptions, chosen_executor
from condense.executors.local import Local
from condense.executors.processes import Processes
from condense.recipe.registry import Registry, default_registry


@pytest.mark.parametrize(
    ("text", "given", "options"),
    [
        ("processes", {}, ProcessesOptions()),
        ("processes", {"workers": 3}, ProcessesOptions(workers=3)),
        ("processes(workers=2,threads=1)", {}, ProcessesOptions(workers=2, threads=1)),
        ("local", {"jobs": 4}, ProcessesOptions(workers=4)),
    ],
)
def test_processes_by_name_with_options_or_as_jobs(
    text: str, given: dict[str, Any], options: ProcessesOptions
) -> None:
    found = chosen_executor(default_registry(), text, **given)
    assert isinstance(found, Processes) and not found.alone
    assert found.options == options


def test_this_process_is_the_default_and_may_have_loaders() -> None:
    assert isinstance(chosen_executor(default_registry(), "local", loaders=3), Local)


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("local", {"jobs": 0}, "jobs must lie between 1 and 1024, not 0"),
        ("local", {"workers": 2}, "'local' has one worker.*--executor processes --workers 2"),
        ("local", {"jobs": 2, "workers": 2}, "leave it out with --workers"),
        ("local", {"jobs": 2, "loaders": 2}, "loaders must be 0 with the executor 'processes', not 2"),
        ("processes", {"loaders": 1}, "loaders must be 0 with the executor 'processes', not 1"),
        ("processes", {"jobs": 2}, "--jobs is short for --executor processes --workers N"),
        ("processes", {"workers": -1}, "workers must be at least 0, not -1"),
        ("processes", {"address": "here"}, "address"),
        ("processes(speed=2)", {}, "speed"),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        chosen_executor(default_registry(), text, **given)


def test_an_unknown_executor_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown executor 'proceses'. Did you mean 'processes'\?"):
        chosen_executor(default_registry(), "proceses")


def test_a_registry_of_ones_own_stays_in_its_process() -> None:
    installed = default_registry()
    offers = {"executor": {offer.spec.name: offer for offer in installed.offers("executor")}}
    by_hand = Registry(offers, (), {})
    assert chosen_executor(by_hand, "local").alone
    with pytest.raises(OptionError, match="this registry is your own"):
        chosen_executor(by_hand, "processes")
