"""What the tests of published datasets share: a request, a download that fails, and a run from a small layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torchvision

import condense
from condense.data.dataset import DatasetRequest
from condense.runs.result import RunResult

Request = Callable[..., DatasetRequest]
Run = Callable[..., RunResult]

TINY: dict[str, Any] = {
    "iterations": 2,
    "log_every": 1,
    "select.students": 0,
    "teacher.model": "convnet",
    "teacher.model.width": 8,
    "teacher.epochs": 1,
    "teacher.batch_size": 16,
    "protocol.epochs": 1,
}


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    """A function that makes the request of a run whose data folder is `tmp_path`, or `data_dir`."""

    def make(name: str, data_dir: Path = tmp_path) -> DatasetRequest:
        return DatasetRequest(name=name, argument="", data_dir=data_dir, seed=0)

    return make


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download of torchvision fail as it does without a network."""

    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", fail)
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)


@pytest.fixture
def run_wmdd(tmp_path: Path) -> Run:
    """A function that condenses a dataset in `tmp_path` to one image per class and tests one student."""

    def run(name: str, settings: dict[str, Any] | None = None) -> RunResult:
        result = condense.run(
            method="wmdd",
            dataset=name,
            data_dir=tmp_path,
            ipc=1,
            students=1,
            device="cpu",
            out=tmp_path / "runs",
            settings={**TINY, **(settings or {})},
        )
        assert [score.label for score in result.scores] == ["wmdd", "random real images"]
        assert all(0 <= score.mean <= 1 for score in result.scores)
        assert result.teacher_accuracy is not None
        assert result.report.is_file()
        return result

    return run
