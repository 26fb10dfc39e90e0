"""What a run takes: the numbers follow from the work, and calibration times the steps that a run makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.engine.plan import make_plan
from condense.engine.work import Counts, work_of
from condense.errors import DataError, ModelError, OptionError, UnknownNameError
from condense.models.network import Network
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.runs import calibrate, timing, usual
from condense.runs.calibrate import Calibration
from condense.runs.estimate import Estimate
from condense.runs.footprint import footprint
from condense.runs.made_up import noise_dataset
from condense.runtime import make_runtime

SETTINGS: dict[str, Any] = {"iterations": 3, "protocol.epochs": 2, "protocol.batch_size": 4}
CHOOSING = ("random", "rded", "herding")  # methods without steps on pixels
RATES = "forward=100,backward=50"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (calibrate, timing):
        monkeypatch.setattr(module, "SECONDS", 0.002)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


def plan(registry: Registry, method: str, **options: Any) -> Estimate:
    usual: dict[str, Any] = {"dataset": "tiny", "ipc": 2, "students": 1, "device": "cpu"}
    settings = {**({} if method in CHOOSING else SETTINGS), **options.pop("settings", {})}
    return condense.plan(registry=registry, method=method, **{**usual, "settings": settings, **options})


@pytest.mark.parametrize("method", ["wmdd", "sre2l", "dm", "dc", "idc", "ncfm", *CHOOSING])
def test_every_stage_with_work_has_seconds(registry: Registry, method: str) -> None:
    found = plan(registry, method, settings={"protocol.epochs": 1}, ipc=1)
    worked = {part.stage for part in found.price.work}
    assert set(found.price.seconds) == worked
    assert all(seconds > 0 for seconds in found.price.seconds.values())
    assert found.price.total_seconds == pytest.approx(sum(found.price.seconds.values()))
    assert found.source == "a few steps timed on this machine"


@pytest.mark.parametrize("labels", ["hard", "soft", "online"])
def test_every_label_mode_can_be_timed(registry: Registry, labels: str) -> None:
    found = plan(registry, "random", settings={"protocol.labels": labels, "protocol.epochs": 1})
    assert found.price.seconds["evaluate"] > 0
    assert ("soft labels" in found.price.disk) == (labels == "soft")


def test_twice_the_work_takes_twice_the_seconds_at_given_throughputs(registry: Registry) -> None:
    once = plan(registry, "wmdd", throughput=RATES)
    twice = plan(registry, "wmdd", throughput=RATES, settings={"iterations": 6})
    assert twice.price.seconds["recover"] > once.price.seconds["recover"]
    chosen = [found.price.seconds["recover"] for found in (once, twice)]
    choose = next(part for part in once.price.work if part.step == "choose").forward / 100
    assert chosen[1] - choose == pytest.approx(2 * (chosen[0] - choose))
    # 3 steps on 6 images, in both directions.
    assert chosen[0] - choose == pytest.approx(18 / 100 + 18 / 50)
    assert once.source == "given throughputs"


def test_a_dataset_without_published_counts_is_looked_at(registry: Registry) -> None:
    counts = plan(registry, "random", throughput=RATES).counts
    assert (counts.classes, counts.train, counts.test, counts.side) == (3, 21, 12, 8)


def test_a_dataset_need_not_be_there(registry: Registry, tmp_path: Path) -> None:
    found = plan(
        registry,
        "random",
        dataset="imagenet-1k",
        data_dir=str(tmp_path),
        throughput=RATES,
        settings={"student.model": "convnet", "student.model.width": 4, "protocol.labels": "hard"},
    )
    assert found.counts.train == 1281167
    assert any("reading and decoding images is not counted" in note for note in found.notes)
    assert found.to_dict()["stages"][-1]["forward"] > 0
    assert list(tmp_path.iterdir()) == []


def test_budgets_give_advice(registry: Registry) -> None:
    found = plan(registry, "wmdd", throughput=RATES, budget_time="0.1s", budget_memory="1MB")
    assert any("no batch fits" in line for line in found.advice)
    assert any("recover.iterations" in line for line in found.advice)
    assert plan(registry, "wmdd", throughput=RATES, budget_time="9h", budget_memory="9TB").advice == ()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"throughput": "fast"}, OptionError),
        ({"budget_time": "soon"}, OptionError),
        ({"budget_memory": "8"}, OptionError),
        ({"dataset": "nope"}, UnknownNameError),
        ({"ipc": 8}, DataError),
        ({"device": "abacus"}, OptionError),
        ({"settings": {"teacher.model": "convnet", "teacher.model.depth": 9}}, ModelError),
    ],
)
def test_what_cannot_work_is_refused(registry: Registry, options: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        plan(registry, "wmdd", **options)


def test_what_is_kept_for_the_way_back_grows_with_the_network(
    registry: Registry, make_network: Callable[..., Any], make_dataset: Callable[..., RealDataset]
) -> None:
    dataset, runtime = make_dataset(), make_runtime("cpu", "fp32")
    small, large = (
        footprint(make_network(dataset, width=width), dataset, ("batchnorm",), runtime) for width in (4, 16)
    )
    assert 0 < small.training < large.training
    assert 0 < small.pixels < large.pixels
    assert small.parameters < large.parameters


def test_a_convolution_keeps_its_input_for_the_weights_alone(
    make_dataset: Callable[..., RealDataset],
) -> None:
    """Weights need a layer's input, pixels do not: training keeps the second layer's 5 floats of each image."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5), torch.nn.Linear(5, 3))
    found = footprint(Network(model, "made-up"), make_dataset(), (), make_runtime("cpu", "fp32"))
    assert found.parameters == 4 * (64 * 5 + 5 + 5 * 3 + 3)
    assert found.training == 4 * 5  # the first layer's input are the images, which are the caller's
    assert found.pixels == 0


def test_made_up_images_have_the_counts_of_the_dataset() -> None:
    counts = Counts(classes=4, train=40, test=8, side=6, channels=3, in_memory=False)
    made = noise_dataset(counts, 2)
    assert (len(made.classes), len(made.train), len(made.test), made.size) == (2, 20, 4, 6)
    assert made.train.images.read(torch.tensor([3, 19])).shape == (2, 3, 6, 6)
    assert len(made.train.of_class(1)) == 10


def test_nothing_is_trained_to_an_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a million steps is timed by a few."""
    chosen = configure(
        registry, method="wmdd", dataset="tiny", ipc=2, students=1, settings={"iterations": 1_000_000}
    )
    taken: list[int] = []
    recover = calibrate.recover_chunk

    def counted(chunk: Any, losses: Any, networks: Any, options: Any, *more: Any, **others: Any) -> Any:
        taken.append(options.iterations)
        return recover(chunk, losses, networks, options, *more, **others)

    monkeypatch.setattr(calibrate, "recover_chunk", counted)
    counts = Counts(classes=3, train=21, test=12, side=8, channels=1, in_memory=True)
    calibration = Calibration(
        plan=make_plan(chosen, registry),
        counts=counts,
        registry=registry,
        runtime=make_runtime("cpu", "fp32"),
    )
    seconds = calibration.seconds(work_of(calibration.plan, counts))
    assert 0 < sum(taken) < 1000
    assert seconds["recover"] > 100


@pytest.mark.parametrize("epochs", [3, 30000])
def test_a_note_says_where_several_processes_will_train_students(
    epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usual, "available_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    settings = {"protocol.epochs": epochs, "protocol.model.width": 8}
    found = plan(load_registry(), "random", dataset="fashion-mini", protocol="dc", ipc=10, settings=settings)
    assert any("times of one process" in note for note in found.notes) == (epochs == 30000)
