"""DM's target: against loops over classes, features and images, and what it is shown in recover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from condense_baselines.losses.mean_embedding import MeanEmbedding
from condense_baselines.options import RealBatchOptions
from condense_baselines.recipes.dm import DM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.siamese import SiameseDraw, draw_siamese
from condense.engine import chunks
from condense.engine.chunks import Chunk
from condense.engine.components import WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen(features: Tensor, labels: Sequence[int]) -> Observation:
    count = len(features)
    return Observation(
        images=torch.zeros(count, 1, 2, 2),
        batch=BatchLabels.of_real(torch.tensor(labels)),
        features=features,
        logits=torch.zeros(count, 2),
    )


def slow_loss(synthetic: Tensor, labels: Sequence[int], real: Tensor, real_labels: Sequence[int]) -> float:
    """Class by class, feature by feature, image by image."""
    total = 0.0
    for label in sorted(set(labels)):
        mine = [row for row, own in zip(synthetic.tolist(), labels, strict=True) if own == label]
        theirs = [row for row, own in zip(real.tolist(), real_labels, strict=True) if own == label]
        for column in range(synthetic.shape[1]):
            mean = sum(row[column] for row in mine) / len(mine)
            wanted = sum(row[column] for row in theirs) / len(theirs)
            total += (mean - wanted) ** 2
    return total


@given(
    st.lists(st.sampled_from([(0, 1, 3), (1, 2, 2), (4, 3, 1)]), min_size=1, max_size=3, unique=True),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_loss_against_loops(classes: list[tuple[int, int, int]], width: int, seed: int) -> None:
    """classes: label, synthetic images, real images; classes of a batch need not have equally many."""
    draws = seeded(seed)
    labels = [label for label, count, _ in classes for _ in range(count)]
    real_labels = [label for label, _, count in reversed(classes) for _ in range(count)]
    features = torch.randn(len(labels), width, generator=draws)
    real = torch.randn(len(real_labels), width, generator=draws)
    got = MeanEmbedding(RealBatchOptions()).loss(seen(features, labels), seen(real, real_labels))
    assert got.shape == ()
    assert got.item() == pytest.approx(slow_loss(features, labels, real, real_labels), rel=1e-4, abs=1e-6)


def test_squares_are_summed_over_classes_and_features() -> None:
    """Once more of either doubles the loss: a mean would stay."""
    features, real = torch.tensor([[3.0, 0.0], [1.0, 4.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    target = MeanEmbedding(RealBatchOptions())
    one = target.loss(seen(features, [0, 0]), seen(real, [0, 0]))
    assert one.item() == 2.0  # means (2, 2) and (1, 1)
    both = target.loss(seen(features.repeat(2, 1), [0, 0, 1, 1]), seen(real.repeat(2, 1), [0, 0, 1, 1]))
    wide = target.loss(seen(features.repeat(1, 2), [0, 0]), seen(real.repeat(1, 2), [0, 0]))
    assert both.item() == wide.item() == 4.0


def test_equal_means_of_other_images_have_no_loss_and_no_gradient() -> None:
    features = torch.tensor([[3.0, 0.0], [1.0, 4.0], [5.0, 5.0]], requires_grad=True)
    real = torch.tensor([[2.0, 2.0], [2.0, 2.0], [0.0, 7.0], [10.0, 3.0]])
    target = MeanEmbedding(RealBatchOptions())
    loss = target.loss(seen(features, [0, 0, 1]), seen(real, [0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros(3, 2))


def test_a_batch_of_no_real_images() -> None:
    with pytest.raises(ValueError, match="real_batch must be at least 1, not 0"):
        RealBatchOptions(real_batch=0)


def needs_of(options: RealBatchOptions) -> Needs:
    """What the plugin declares for the target with these options."""
    found: Needs = load_registry().find("feature target", "mean-embedding").needs_of(options)
    return found


@pytest.mark.parametrize("real", [1, 256])
def test_it_wants_real_images_of_one_class_in_a_random_network(real: int) -> None:
    needs = needs_of(RealBatchOptions(real_batch=real))
    assert needs.network == "random"
    assert needs.at_once == "one class"
    assert needs.real_per_class == real
    assert not needs.observes
    assert not needs.weight_gradients


class Watched(MeanEmbedding):
    """Keeps what it sees."""

    def __init__(self, options: RealBatchOptions) -> None:
        super().__init__(options)
        self.seen: list[tuple[Observation, Observation]] = []
        self.losses: list[float] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        self.seen.append((synthetic, real))
        loss = super().loss(synthetic, real)
        self.losses.append(float(loss.detach()))
        return loss


def recovered(
    dataset: RealDataset, make_network: MakeNetwork, images: Tensor, target: MeanEmbedding, steps: int
) -> Tensor:
    """All synthetic images (3 * ipc, C, S, S) after a few steps with DM's own options."""
    ipc = len(images) // 3
    chunk = Chunk(
        index=0,
        labels=torch.arange(3).repeat_interleave(ipc),
        slots=torch.arange(ipc).repeat(3),
        weights=torch.full((3 * ipc,), 1 / ipc),
        images=images,
    )

    def fresh(draws: torch.Generator) -> Network:
        return make_network(dataset, norm="instance", seed=int(torch.randint(2**31, (), generator=draws)))

    return recover_chunk(
        chunk,
        [WeightedLoss(name="mean-embedding", loss=target, weight=1.0, needs=needs_of(target.options))],
        Networks(None, fresh),
        replace(DM.recover, iterations=steps),
        dataset,
        generator=seeded(),
        runtime=RUNTIME,
        log=lambda *_: None,
    )


def test_real_and_synthetic_images_share_a_view_of_their_class(
    make_dataset: MakeDataset, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All real images as synthetic ones: the means agree under any view, if it is the same. A draw for each class."""
    draws: list[SiameseDraw] = []

    def spy(*arguments: Any, **named: Any) -> SiameseDraw:
        draws.append(draw_siamese(*arguments, **named))
        return draws[-1]

    monkeypatch.setattr(chunks, "draw_siamese", spy)
    dataset = make_dataset(counts=(4, 4, 4))
    images = dataset.training_images(torch.cat([dataset.train.of_class(label) for label in range(3)]))
    target = Watched(RealBatchOptions(real_batch=256))
    found = recovered(dataset, make_network, images, target, steps=8)
    assert max(target.losses) < 1e-8
    torch.testing.assert_close(found, images, rtol=0, atol=1e-3)
    assert len(draws) == 3 * 8
    assert len({draw.operations[0][0] for draw in draws}) > 2
    assert all(len(parameters) == 1 for draw in draws for _, parameters in draw.operations)


def test_one_class_at_a_time_in_a_fresh_network_without_a_graph_for_real_images(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """A class with fewer real images than are asked for gives all it has."""
    dataset = make_dataset(counts=(3, 9, 5))
    target = Watched(RealBatchOptions(real_batch=5))
    recovered(dataset, make_network, torch.randn(6, 1, 8, 8, generator=seeded()), target, steps=2)
    assert [real.batch.labels.tolist() for _, real in target.seen] == [[0] * 3, [1] * 5, [2] * 5] * 2
    assert [synthetic.batch.labels.tolist() for synthetic, _ in target.seen] == [[0, 0], [1, 1], [2, 2]] * 2
    for synthetic, real in target.seen:
        assert synthetic.features.requires_grad
        assert not real.features.requires_grad
        assert real.features.grad_fn is None
        assert synthetic.parameters == ()


def test_the_loss_falls(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """30 steps from noise; the loss of a step is the sum over its three classes."""
    target = Watched(RealBatchOptions())
    dataset = make_dataset(counts=(20, 20, 20))
    recovered(dataset, make_network, torch.randn(6, 1, 8, 8, generator=seeded()), target, steps=30)
    steps = torch.tensor(target.losses).view(30, 3).sum(1)
    assert steps[-5:].mean() < 0.5 * steps[:5].mean()
