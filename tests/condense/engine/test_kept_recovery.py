"""What is kept of a recovery comes back whole, and what belongs to another one is not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.engine.kept_recovery import KeptRecovery
from condense.engine.recover_networks import Networks
from condense.engine.unfinished import Unfinished
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.rng import isolated_global_rng
from condense.runtime import SilentReporter, make_runtime

OPTIONS = Recover(iterations=9, batch=4, lr=0.1)


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def nothing(_: torch.Generator) -> Network:
    raise AssertionError("no loss looks through a random network")


class Attempt:
    """One attempt at the recovery of two images, with everything that it is made of."""

    def __init__(self, file: Path, size: int = 3) -> None:
        self.pixels = torch.zeros(2, 1, size, size, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.pixels], lr=0.1)
        self.draws = torch.Generator().manual_seed(7)
        self.reporter = Notes()
        self.seen: dict[str, Tensor] = {}
        self.lines: list[tuple[int, Mapping[str, float]]] = []
        runtime = replace(make_runtime("cpu", "fp32"), keep_minutes=0, reporter=self.reporter)
        kept = Unfinished(file, runtime)
        self.kept = KeptRecovery(kept, "chunk 3", self.seen, lambda *line: self.lines.append(line))

    def resume(self, options: Recover = OPTIONS) -> int:
        given: tuple[Any, ...] = (self.pixels, self.optimizer, Networks(None, nothing), options, self.draws)
        return self.kept.resume(*given, images=2)

    def step(self, done: int) -> None:
        """A step that depends on the pixels, on the optimizer and on what is drawn, and is kept."""
        noise = torch.rand(self.pixels.shape, generator=self.draws) + torch.rand(1)
        self.pixels.grad = noise - self.pixels.detach()
        self.optimizer.step()
        self.seen[f"after-{done}"] = self.pixels.detach().clone()
        self.kept.log(done, {"loss": float(noise.sum()) / 3})
        self.kept.keep(done, self.pixels, self.optimizer, Networks(None, nothing), OPTIONS, self.draws)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A recovery that was kept after two steps."""
    attempt = Attempt(tmp_path / "unfinished" / "kept")
    with isolated_global_rng(attempt.draws):
        attempt.step(1)
        attempt.step(2)
    return tmp_path / "unfinished" / "kept"


def test_everything_comes_back(file: Path, tmp_path: Path) -> None:
    whole = Attempt(tmp_path / "whole")
    with isolated_global_rng(whole.draws):
        for done in (1, 2, 3):
            whole.step(done)
    again = Attempt(file)
    with isolated_global_rng(again.draws):
        assert again.resume() == 2
        again.step(3)
    assert again.reporter.notes == ["chunk 3 goes on after step 2 of 9"]
    assert torch.equal(again.pixels, whole.pixels)
    assert again.seen.keys() == whole.seen.keys() == {"after-1", "after-2", "after-3"}
    assert all(torch.equal(again.seen[name], images) for name, images in whole.seen.items())
    assert again.lines == whole.lines


def test_the_last_step_is_not_kept(tmp_path: Path) -> None:
    """Its images are about to be written."""
    attempt = Attempt(tmp_path / "kept")
    with isolated_global_rng(attempt.draws):
        attempt.step(OPTIONS.iterations)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(("size", "changes"), [(3, {"lr": 0.2}), (3, {"iterations": 10}), (4, {})])
def test_what_belongs_to_another_recovery_is_not_used(file: Path, size: int, changes: dict[str, Any]) -> None:
    again = Attempt(file, size)
    assert again.resume(replace(OPTIONS, **changes)) == 0
    assert again.reporter.notes == [f"{file} belongs to another recovery, so chunk 3 starts again"]
    assert not again.pixels.any() and not again.lines and not again.seen


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_file_is_noticed(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    again = Attempt(file)
    assert again.resume() == 0
    [note] = again.reporter.notes
    assert note.startswith(f"{file} is damaged")
    assert not again.pixels.any() and not file.exists()
