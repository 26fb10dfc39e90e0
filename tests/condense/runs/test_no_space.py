"""A full disk ends a run with an error that says what to free, and the run goes on when there is space again."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from condense.errors import StorageError
from condense.storage.run_folder import RunFolder


@pytest.mark.parametrize("writes", [1, 2, 4, 6, 9])
def test_a_run_goes_on_after_a_full_disk(
    writes: int, site: Any, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, real = 0, os.replace

    def full(source: Any, target: Any) -> None:
        nonlocal done
        done += 1
        if done > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageError, match=r"no space left to write .*; free some, or choose another"):
            site.run(name="one")
    path = site.out / "one"
    assert RunFolder(path).state() == "was interrupted"  # not even the failure could be written
    again = site.run(name="one", resume=True)
    expected, _ = finished
    assert site.accuracies(again) == site.accuracies(expected)
    same = ("teacher.safetensors", "measurements.safetensors", "chunks/00000.safetensors")
    for name in same:
        assert (path / name).read_bytes() == (expected.path / name).read_bytes()
