"""Students in a stack: each learns what it learns alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.components import EvaluationRequest
from condense.engine.evaluate import StudentEvaluator
from condense.engine.together import Learner, each_by_itself, stackable, train_together
from condense.engine.training import hard_loss, train
from condense.engine.unfinished import Unfinished
from condense.errors import ModelError, NumericalError
from condense.models.network import Network
from condense.recipe.protocol import Protocol
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment, Optimizer, Training
from condense.runtime import Runtime, make_runtime
from condense.storage.distilled import DistilledDataset

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
OPTIONS = Training(
    epochs=3,
    batch_size=8,
    lr=0.02,
    weight_decay=0.01,
    augment=Augment(crop_scale=(0.5, 1.0), flip=True, cutmix=1.0),
)


def learner(dataset: RealDataset, network: Network, seed: int) -> Learner:
    return Learner(
        network=network,
        feed=feed_of(dataset.train, dataset, RUNTIME),
        generator=torch.Generator().manual_seed(seed),
        what=f"student {seed}",
    )


def learn(learners: Sequence[Learner], options: Training, runtime: Runtime, *kept: Unfinished | None) -> int:
    """Train a stack whose labels are hard."""
    return train_together(learners, each_by_itself([hard_loss()] * len(learners)), options, runtime, *kept)


def trainable(make_network: MakeNetwork, dataset: RealDataset, seed: int, norm: str = "batch") -> Network:
    network = make_network(dataset, seed=seed, norm=norm)
    network.model.requires_grad_(True)
    return network


@pytest.mark.parametrize(("optimizer", "norm"), [("sgd", "batch"), ("sgd", "instance"), ("adamw", "none")])
def test_each_learns_what_it_learns_alone(
    optimizer: Optimizer, norm: str, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Weights and running statistics after nine steps, from other starts and in other orders.

    Adam divides by the size of a gradient, so that it makes weights of the rounding where a norm takes a bias away.
    """
    dataset = make_dataset()
    options = replace(OPTIONS, optimizer=optimizer, lr=0.02 if optimizer == "sgd" else 0.001)
    networks = [trainable(make_network, dataset, seed, norm) for seed in range(3)]
    steps = learn(
        [learner(dataset, network, seed) for seed, network in enumerate(networks)], options, RUNTIME
    )
    found = [network.model.state_dict() for network in networks]
    assert not torch.equal(*(next(iter(state.values())) for state in found[:2]))
    for seed in range(3):
        alone = trainable(make_network, dataset, seed, norm)
        own = learner(dataset, alone, seed)
        assert steps == train(
            alone, own.feed, hard_loss(), options, generator=own.generator, runtime=RUNTIME, what=own.what
        )
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(found[seed][name], value, rtol=1e-3, atol=1e-4)
    assert not any(network.model.training for network in networks)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_after_each_epoch(
    optimizer: Optimizer, make_dataset: MakeDataset, make_network: MakeNetwork, impatient: Any, tmp_path: Path
) -> None:
    """One attempt for each epoch leaves the very weights and running statistics of one attempt at all of them."""
    dataset = make_dataset()
    options = replace(OPTIONS, optimizer=optimizer, lr=0.02 if optimizer == "sgd" else 0.001)

    def attempt(file: Path | None, runtime: Runtime) -> tuple[int, list[dict[str, Tensor]]]:
        networks = [trainable(make_network, dataset, seed) for seed in range(2)]
        learners = [learner(dataset, network, seed) for seed, network in enumerate(networks)]
        steps = learn(learners, options, runtime, Unfinished(file, runtime) if file else None)
        return steps, [network.model.state_dict() for network in networks]

    def patient(epochs: int) -> Runtime:
        return replace(RUNTIME, keep_minutes=0, reporter=impatient(epochs))

    steps, whole = attempt(None, RUNTIME)
    file = tmp_path / "stack"
    for _ in range(options.epochs - 1):
        with pytest.raises(KeyboardInterrupt):
            attempt(file, patient(1))
    last = patient(99)
    again, found = attempt(file, last)
    assert again == steps
    reporter: Any = last.reporter
    assert reporter.notes == ["the stack of student 0 and student 1 goes on after epoch 2 of 3"]
    for one, other in zip(found, whole, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_kept_of_another_stack_is_not_taken(
    make_dataset: MakeDataset, make_network: MakeNetwork, impatient: Any, tmp_path: Path
) -> None:
    """Two stacks of equal sizes and settings, whose first student is the same."""
    dataset = make_dataset()

    def attempt(seeds: Sequence[int], file: Path | None, runtime: Runtime) -> list[Tensor]:
        networks = [trainable(make_network, dataset, seed) for seed in seeds]
        learners = [learner(dataset, network, seed) for seed, network in zip(seeds, networks, strict=True)]
        learn(learners, OPTIONS, runtime, Unfinished(file, runtime) if file else None)
        return [value for network in networks for value in network.model.state_dict().values()]

    file, whole = tmp_path / "stack", attempt((0, 2), None, RUNTIME)
    with pytest.raises(KeyboardInterrupt):
        attempt((0, 1), file, replace(RUNTIME, keep_minutes=0, reporter=impatient(1)))
    assert file.exists()
    patient = impatient(99)
    found = attempt((0, 2), file, replace(RUNTIME, reporter=patient))
    assert [note.partition("belongs")[2] for note in patient.notes] == [
        " to another training, so the stack of student 0 and student 2 starts again"
    ]
    assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True))


def test_an_evaluator_gives_each_student_the_draws_that_it_has_alone(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    picks = torch.cat([dataset.train.of_class(label)[:3] for label in range(3)])
    distilled = DistilledDataset(
        images=dataset.train.images.read(picks),
        labels=torch.arange(3).repeat_interleave(3),
        slots=torch.arange(3).repeat(3),
        weights=torch.full((9,), 1 / 3),
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
        ipc=3,
    )
    built: list[Network] = []

    def build(draws: torch.Generator) -> Network:
        built.append(trainable(make_network, dataset, int(torch.randint(2**31, (), generator=draws))))
        return built[-1]

    def request(student: int) -> EvaluationRequest:
        return EvaluationRequest(
            distilled=distilled,
            dataset=dataset,
            protocol=Protocol(name="plain", epochs=4, batch_size=4, lr=0.02, optimizer="sgd"),
            student=student,
            seed=7,
            build_student=build,
            teacher=None,
            runtime=RUNTIME,
        )

    evaluator = StudentEvaluator(NoOptions())
    together = evaluator.evaluate_together([request(0), request(1)])
    alone = [evaluator.evaluate(request(student)) for student in range(2)]
    for one, other in zip(together, alone, strict=True):
        assert (one.student, one.steps) == (other.student, other.steps)
    for stacked, single in zip(built[:2], built[2:], strict=True):
        for name, value in single.model.state_dict().items():
            torch.testing.assert_close(stacked.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_network_that_draws_while_it_is_trained_makes_no_stack() -> None:
    def network(*layers: nn.Module) -> Network:
        return Network(nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 3)), "plain")

    assert stackable(network(nn.BatchNorm1d(64)))
    assert not stackable(network(nn.Dropout(0.5)))


def test_other_architectures_make_no_stack(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    networks = [make_network(dataset, width=width) for width in (8, 16)]
    with pytest.raises(ModelError, match="these networks do not make a stack: "):
        learn([learner(dataset, network, 0) for network in networks], OPTIONS, RUNTIME)


def test_a_loss_that_is_not_finite_is_named(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    networks = [trainable(make_network, dataset, seed) for seed in range(2)]
    with torch.no_grad():
        next(networks[1].model.parameters()).fill_(torch.nan)
    with pytest.raises(
        NumericalError, match="the loss of student 1 became nan in epoch 1; lower its learning rate"
    ):
        learn([learner(dataset, network, seed) for seed, network in enumerate(networks)], OPTIONS, RUNTIME)
