"""Settings that some rows or columns do not read are noted; those that none reads are refused."""

from __future__ import annotations

from typing import Any

import pytest

from condense.comparison.design import Design, design_comparison
from condense.errors import OptionError
from condense.recipe.registry import load_registry

REGISTRY = load_registry(environment={})


def design(kind: Any, methods: Any, *settings: tuple[str, Any], **options: Any) -> Design:
    return design_comparison(kind, methods, REGISTRY, settings=settings, **options)


def about(found: Design) -> list[str]:
    return [note for note in found.notes if "has no effect" in note]


def test_a_row_that_does_not_read_a_setting_of_all_rows_is_noted() -> None:
    # DM takes its steps with SGD, WMDD with Adam; herding takes none.
    found = design("compare", ["wmdd", "dm", "herding"], ("recover.momentum", 0.9))
    assert about(found) == ["recover.momentum has no effect in wmdd, herding: recover.optimizer is adam"]
    assert not about(design("compare", ["wmdd", "dm"], ("dm:recover.momentum", 0.9)))


def test_a_setting_that_no_row_reads_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"recover.momentum has no effect, because recover.optimizer is adam"
    ):
        design("compare", ["wmdd", "sre2l"], ("recover.momentum", 0.9))
    with pytest.raises(
        OptionError, match=r"recover.momentum has no effect, because recover.optimizer is adam"
    ):
        design("compare", ["wmdd", "dm"], ("wmdd:recover.momentum", 0.9))


def test_rows_of_a_sweep_that_are_the_same_are_named() -> None:
    axes = (("recover.optimizer", "adam,sgd"), ("recover.momentum", "0.1,0.5,0.7,0.9"))
    [note] = about(design("sweep", "wmdd", *axes))
    named = ", ".join(f"wmdd optimizer=adam momentum={value}" for value in (0.1, 0.5, 0.7))
    assert note == f"recover.momentum has no effect in {named} and 1 more: recover.optimizer is adam"
    with pytest.raises(OptionError, match=r"recover.momentum has no effect"):
        design("sweep", "wmdd", axes[1])


def test_a_setting_of_the_students_needs_one_protocol_that_reads_it() -> None:
    design("compare", ["wmdd"], ("protocol.temperature", 4.0), protocol=("fkd", "dc"))
    with pytest.raises(
        OptionError, match=r"protocol.temperature has no effect, because protocol.labels is hard"
    ):
        design("compare", ["wmdd"], ("protocol.temperature", 4.0), protocol="dc")


def test_a_given_teacher_is_not_trained() -> None:
    with pytest.raises(OptionError, match=r"teacher.lr has no effect, because teacher.checkpoint is here.pt"):
        design("compare", ["wmdd"], ("teacher.checkpoint", "here.pt"), ("teacher.lr", 0.1))


def test_ablations_of_what_is_installed_note_nothing() -> None:
    assert not about(design("ablate", "wmdd"))
