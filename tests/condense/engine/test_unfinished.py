"""A training that is interrupted after any epoch, and goes on, ends with the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine import unfinished as module
from condense.engine.pool import train_member
from condense.engine.squeeze import fresh_teacher, squeeze
from condense.engine.training import hard_loss, train
from condense.engine.unfinished import Unfinished
from condense.models.catalog import ConvNetOptions
from condense.models.convnet import ConvNet
from condense.models.network import Network
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import ModelSpec
from condense.recipe.training import Augment, Training
from condense.rng import isolated_global_rng
from condense.runtime import Runtime, SilentReporter, make_runtime
from condense.storage.tensors import tensors_to_bytes

MakeDataset = Callable[..., RealDataset]
Until = Callable[..., Runtime]
EPOCHS = 4
OPTIONS = Training(
    epochs=EPOCHS,
    batch_size=8,
    lr=0.05,
    schedule="cosine",
    augment=Augment(crop_scale=(0.5, 1.0), flip=True, cutmix=1.0, cutmix_probability=0.5),
)
EVERY_EPOCH = replace(make_runtime("cpu", "fp32"), keep_minutes=0)


@pytest.fixture(scope="module")
def until(impatient: Any) -> Until:
    """Returns a runtime that ends the attempt in the epoch after so many epochs."""

    def make(epochs: int, runtime: Runtime = EVERY_EPOCH) -> Runtime:
        return replace(runtime, reporter=impatient(epochs))

    return make


def notes(runtime: Runtime) -> list[str]:
    reporter: Any = runtime.reporter
    found: list[str] = reporter.notes
    return found


class Restless(nn.Module):
    """Draws from every global generator, and remembers the mean of what it saw in a buffer without a place on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        self.memory.mul_(0.5).add_(images.detach().mean())
        return images * (1 + 0.1 * random.random() + 0.1 * np.random.rand()) + self.memory


def network(runtime: Runtime = EVERY_EPOCH) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [
            Restless(),
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 1),
            nn.Dropout(0.3),
        ]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, 3))
    return Network(runtime.place(model), "restless")


def trained(
    dataset: RealDataset,
    file: Path | None,
    options: Training = OPTIONS,
    runtime: Runtime = EVERY_EPOCH,
) -> tuple[bytes, int]:
    """The weights after a training, or an attempt at it, and the number of its steps."""
    learner, draws = network(runtime), torch.Generator().manual_seed(1)
    kept = Unfinished(file, runtime).training(learner.model) if file else None
    feed = feed_of(dataset.train, dataset, runtime)
    with isolated_global_rng(draws):
        steps = train(
            learner, feed, hard_loss(), options, generator=draws, runtime=runtime, what="a toy", kept=kept
        )
    memory = learner.model[0].memory  # type: ignore[index]
    return tensors_to_bytes({**learner.model.state_dict(), "memory": memory}), steps


@pytest.fixture(scope="module")
def dataset(make_dataset: MakeDataset) -> RealDataset:
    return make_dataset()


SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01}


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        (SGD, "fp32"),
        (SGD, "bf16"),
        ({**SGD, "momentum": 0.0}, "fp32"),
        ({"optimizer": "adam"}, "bf16"),
        ({"optimizer": "adamw"}, "fp32"),
    ],
)
def test_interrupted_after_each_epoch(
    changes: dict[str, Any], precision: str, dataset: RealDataset, tmp_path: Path, until: Until
) -> None:
    """With one attempt for each epoch, and with one interruption at each place. bf16 has channels last in memory."""
    options = replace(OPTIONS, **changes)
    runtime = replace(EVERY_EPOCH, bf16=precision == "bf16")
    whole = trained(dataset, None, options, runtime)
    for done in range(EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            trained(dataset, tmp_path / "each", options, until(1, runtime))
        with pytest.raises(KeyboardInterrupt):
            trained(dataset, tmp_path / str(done), options, until(done, runtime))
        again = until(99, runtime)
        assert trained(dataset, tmp_path / str(done), options, again) == whole
        assert notes(again) == ([f"a toy goes on after epoch {done} of {EPOCHS}"] if done else [])
        if done == EPOCHS - 2:
            break
    assert trained(dataset, tmp_path / "each", options, until(99, runtime)) == whole


def test_every_member_of_an_ensemble(
    dataset: RealDataset, make_registry: Any, tmp_path: Path, until: Until
) -> None:
    small, norm = (
        ModelSpec(
            name=name,
            summary="x",
            build=lambda _, request, norm=name: ConvNet(ConvNetOptions(width=4, depth=2, norm=norm), request),
        )
        for name in ("batch", "instance")
    )
    registry: Registry = make_registry(dataset, models=[small, norm])
    settings = {
        "teacher.model": "ensemble",
        "teacher.model.members": ("batch", "instance", "batch"),
        "teacher.epochs": 2,
    }
    recipe = configure(registry, method="wmdd", dataset="tiny", settings=settings).recipe

    def attempt(epochs: int, kept: bool = True) -> tuple[bytes, float, list[str]]:
        runtime = until(epochs)
        teacher = fresh_teacher(recipe, dataset, registry, runtime)
        file = Unfinished(tmp_path / "kept", runtime) if kept else None
        reached = squeeze(teacher, recipe, dataset, runtime, unfinished=file)
        return tensors_to_bytes(teacher.model.state_dict()), reached, notes(runtime)

    *whole, told = attempt(99, kept=False)
    assert told == []
    for epoch in range(1, 6):
        with pytest.raises(KeyboardInterrupt):
            attempt(1)
        *again, _ = attempt_copy(tmp_path, lambda: attempt(99))
        assert again == whole, f"after epoch {epoch}"
    *_, told = attempt(99)
    assert told == ["member 2 of the teacher (batch) goes on after epoch 1 of 2"]


def attempt_copy(folder: Path, attempt: Callable[[], Any]) -> Any:
    """What an attempt returns; the kept file is afterwards as before."""
    before = (folder / "kept").read_bytes()
    result = attempt()
    (folder / "kept").write_bytes(before)
    return result


def test_a_network_of_a_pool_with_the_states_that_it_keeps(
    dataset: RealDataset, make_registry: Any, tmp_path: Path, until: Until
) -> None:
    registry: Registry = make_registry(dataset)
    settings = {"pool.model": "convnet(width=4,depth=2)", "pool.epochs": 4, "pool.checkpoints": 2}
    recipe = configure(registry, method="ncfm", dataset="tiny", ipc=1, settings=settings).recipe

    def attempt(epochs: int, kept: bool = True) -> list[bytes]:
        runtime = until(epochs)
        file = Unfinished(tmp_path / "kept", runtime) if kept else None
        return [
            tensors_to_bytes(state) for state in train_member(1, recipe, dataset, registry, runtime, file)
        ]

    whole = attempt(99, kept=False)
    assert len(whole) == 3
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            attempt(1)
        assert attempt_copy(tmp_path, lambda: attempt(99)) == whole


@pytest.mark.parametrize("place", [0, 40, 4000, -1])
def test_a_damaged_file_is_noticed_and_the_training_starts_again(
    place: int, dataset: RealDataset, tmp_path: Path, until: Until
) -> None:
    file = tmp_path / "unfinished" / "kept"
    with pytest.raises(KeyboardInterrupt):
        trained(dataset, file, runtime=until(2))
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    again = until(99)
    assert trained(dataset, file, runtime=again) == trained(dataset, None)
    assert notes(again) == [
        f"{file} is damaged: its bytes are not those that were written. The work starts again"
    ]


def test_what_belongs_to_another_training_is_not_used(
    dataset: RealDataset, tmp_path: Path, until: Until
) -> None:
    for number, changes in enumerate([{"lr": 0.01}, {"epochs": 5}, {"batch_size": 4}]):
        file = tmp_path / str(number)
        with pytest.raises(KeyboardInterrupt):
            trained(dataset, file, runtime=until(1))
        again, options = until(99), replace(OPTIONS, **changes)
        assert trained(dataset, file, options, again) == trained(dataset, None, options)
        assert notes(again) == [f"{file} belongs to another training, so a toy starts again"]


def test_it_is_kept_at_the_first_epoch_after_the_minutes(
    dataset: RealDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch takes 2 minutes; with 5 minutes that is after epochs 3 and 6 of 7. 20 minutes are too many."""
    now = 0.0
    written: list[float] = []

    class Clock(SilentReporter):
        def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
            nonlocal now
            now += 120

    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module, "write_sealed", lambda path, data: written.append(now))
    for minutes in (5, 20):
        runtime = replace(EVERY_EPOCH, keep_minutes=minutes, reporter=Clock())
        trained(dataset, tmp_path / "kept", replace(OPTIONS, epochs=7), runtime)
    assert written == [360, 720]


def test_the_seconds_of_earlier_attempts_count(
    dataset: RealDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    for seconds, spent in [(7.0, 0.0), (5.0, 7.0), (1.0, 12.0)]:
        kept = Unfinished(tmp_path / "kept", EVERY_EPOCH)
        draws = torch.Generator()
        training = kept.training(model)
        with isolated_global_rng(draws):
            training.resume(optimizer, draws, OPTIONS, steps=1, what="it")
            assert kept.spent == spent
            now += seconds
            training.keep(1, optimizer, draws, OPTIONS, steps=1)


def test_the_file_goes_and_its_folder_with_the_last_one(tmp_path: Path) -> None:
    one, other = (Unfinished(tmp_path / "unfinished" / name, EVERY_EPOCH) for name in ("one", "other"))
    for kept in (one, other):
        kept.write({"x": torch.zeros(1)}, {})
    (tmp_path / "unfinished" / ".one.0123456789ab.tmp").write_bytes(b"what a killed process left")
    one.remove()
    assert not one.file.exists() and other.file.exists()
    other.remove()
    other.remove()
    assert not other.file.parent.exists()
