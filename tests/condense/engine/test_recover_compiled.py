"""Compiled steps: the same bytes for the same seed, and the images of the plain ones but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import WeightedLoss
from condense.engine.measure import measure
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.models import compiled as module
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.registry import default_registry
from condense.recipe.training import Augment
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def recovered(dataset: RealDataset, teacher: Network, setting: str, iterations: int) -> tuple[Tensor, float]:
    """Images after some steps, and the last loss."""
    losses = []
    for kind, name in (("feature target", "barycenter"), ("regularizer", "class-batchnorm")):
        spec = default_registry().find(kind, name)
        options = spec.options()
        losses.append(
            WeightedLoss(name=name, loss=spec.builder()(options), weight=1.0, needs=spec.needs_of(options))
        )
    measure(losses, teacher, dataset, RUNTIME, batch_size=8, seed=0, ipc=2)
    found: list[float] = []

    def log(iteration: int, values: Mapping[str, float]) -> None:
        found.append(values["loss"])

    images = recover_chunk(
        Chunk(
            index=0,
            labels=torch.arange(3).repeat_interleave(2),
            slots=torch.arange(2).repeat(3),
            weights=torch.full((6,), 0.5),
            images=dataset.training_images(torch.arange(6)),
        ),
        losses,
        Networks(teacher, lambda _: teacher),
        Recover(iterations=iterations, lr=0.01, augment=Augment(crop_scale=(0.5, 1.0), flip=True)),
        dataset,
        generator=torch.Generator().manual_seed(5),
        runtime=replace(RUNTIME, compile=setting),  # type: ignore[arg-type]
        log=log,
    )
    return images, found[-1]


def test_a_step_is_one_graph_for_the_pass(
    monkeypatch: pytest.MonkeyPatch, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Two steps: the first looks at each loss for itself and is not compiled."""
    monkeypatch.setattr(module, "BACKEND", "eager")
    dataset = make_dataset()
    teacher = make_network(dataset).frozen()
    plain, loss = recovered(dataset, teacher, "off", 2)
    fast, value = recovered(dataset, teacher, "on", 2)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-3)
    assert value == pytest.approx(loss, rel=1e-4)
    auto, _ = recovered(dataset, teacher, "auto", 2)
    assert torch.equal(auto, plain)
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.thorough
def test_the_same_seed_gives_the_same_bytes(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    found = [recovered(dataset, make_network(dataset).frozen(), "on", 4)[0] for _ in range(2)]
    assert torch.equal(*found)
    plain, _ = recovered(dataset, make_network(dataset).frozen(), "off", 4)
    torch.testing.assert_close(found[0], plain, rtol=0, atol=2e-2)
    torch.compiler.reset()
