"""Compact paths behave as the list of the paths that they stand for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.data.paths import Paths

ROOT = Path("/some/where")
# Any bytes but those that no file name has; as they lie on Linux.
NAMES = st.lists(
    st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, ord("/"), ord(".")})
)


@given(NAMES, st.data())
def test_they_are_a_sequence_of_paths(names: list[bytes], data: st.DataObject) -> None:
    paths = Paths.of(ROOT, names)
    expected = [ROOT / os.fsdecode(name) for name in names]
    assert list(paths) == expected
    assert len(paths) == len(names)
    assert [paths[-1 - index] for index in range(len(names))] == expected[::-1]
    cut = data.draw(st.slices(len(names)))
    assert list(paths[cut]) == expected[cut]
    if names:
        chosen = data.draw(st.lists(st.integers(0, len(names) - 1)))
        assert list(paths.take(np.array(chosen, np.int64))) == [expected[index] for index in chosen]


@given(NAMES, NAMES)
def test_joined(first: list[bytes], second: list[bytes]) -> None:
    assert Paths.of(ROOT, first).joined(Paths.of(ROOT, second)) == Paths.of(ROOT, first + second)


def test_equal_are_the_same_names_below_the_same_folder() -> None:
    paths = Paths.of(ROOT, [b"ab", b"c"])
    assert pickle.loads(pickle.dumps(paths)) == paths
    assert paths not in (Paths.of(ROOT, [b"a", b"bc"]), Paths.of(Path("/"), [b"ab", b"c"]), (b"ab", b"c"))
    with pytest.raises(IndexError):
        paths[2]
