"""What the recipes here say was published: names that exist, so that a comparison finds it, and each place once."""

from __future__ import annotations

import pytest

from condense.recipe.method import Method
from condense.recipe.registry import load_registry

REGISTRY = load_registry()
METHODS = [offer.spec for offer in REGISTRY.offers("method")]
PUBLISHED = [(method.name, one) for method in METHODS for one in method.published]


def test_the_methods_of_the_papers_have_published_accuracies() -> None:
    own = {"wmdd", "sre2l", "cda", "g-vbsm", "rded", "dm", "dc", "dsa", "idc", "ncfm"}
    assert own == {name for name, one in PUBLISHED if not one.second_hand}
    assert own | {"random", "herding"} == {name for name, _ in PUBLISHED}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_datasets_and_students_exist_and_no_place_is_filled_twice(method: Method) -> None:
    places = [(one.dataset, one.ipc, one.student) for one in method.published]
    assert len(set(places)) == len(places)
    for one in method.published:
        assert REGISTRY.dataset(one.dataset)[0].classes > 1
        assert REGISTRY.model(one.student)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_more_images_never_give_less(method: Method) -> None:
    """Not a law, but true of every table here; a slip of the pen would break it."""
    rows: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for one in method.published:
        rows.setdefault((one.dataset, one.student, one.source), []).append((one.ipc, one.accuracy))
    for found in rows.values():
        assert sorted(found) == sorted(found, key=lambda pair: pair[1])
