"""Medoids: the best one-to-one assignment, and that slot j gets the image of atom j, also as the start of WMDD."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from condense_baselines.initializers.medoids import Medoids, assign
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import condense
from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, InitialRequest
from condense.errors import DataError, OptionError
from condense.models.network import Network
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]
MakeRegistry = Callable[..., Registry]


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def cost(features: Tensor, atoms: Tensor, chosen: Any) -> float:
    return sum(float(((features[i] - atom) ** 2).sum()) for i, atom in zip(chosen, atoms, strict=True))


@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_assignment_is_the_best_of_all(atoms: int, more: int, dim: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    features = torch.randn(atoms + more, dim, generator=draws, dtype=torch.float64)
    wanted = torch.randn(atoms, dim, generator=draws, dtype=torch.float64)
    chosen = assign(features, wanted).tolist()
    assert len(set(chosen)) == atoms
    least = min(cost(features, wanted, p) for p in itertools.permutations(range(atoms + more), atoms))
    assert cost(features, wanted, chosen) == pytest.approx(least, rel=1e-9, abs=1e-12)


def test_two_atoms_that_share_their_nearest_image_part() -> None:
    assert assign(column(5.0, 1.0, -3.0), column(0.8, 0.9)).tolist() == [2, 1]
    assert assign(column(5.0, 1.0, -1.5), column(0.9, 0.8)).tolist() == [1, 2]


def test_the_nearest_images_where_none_is_shared() -> None:
    assert assign(column(0, 10, 20, 30), column(29, 1, 12)).tolist() == [3, 0, 1]


class Wanting(FeatureTarget):
    """A target that wants these features, if any."""

    def __init__(self, features: Tensor | None) -> None:
        self.features = features

    def slot_features(self) -> Tensor | None:
        return self.features


def test_slot_j_gets_the_image_of_feature_j_of_the_first_target_with_any(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    own = dataset.train.of_class(1)
    picks = own[[4, 0, 6]]
    near = make_request(dataset, teacher, 3, label=1).observe(picks).features + 1e-4
    atoms = torch.stack([torch.full_like(near, 7.0), near, near.flip(0)])
    targets = (Wanting(None), Wanting(atoms), Wanting(atoms.flip(1)))
    found = Medoids(NoOptions()).images(make_request(dataset, teacher, 3, label=1, targets=targets))
    assert torch.equal(found, dataset.training_images(picks))


@pytest.mark.parametrize(("targets", "named"), [((), "none"), ((Wanting(None),), "Wanting")])
def test_without_a_target_that_wants_features(
    targets: tuple[FeatureTarget, ...],
    named: str,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_request: MakeRequest,
) -> None:
    dataset = make_dataset()
    asked = make_request(dataset, make_network(dataset), 3, label=1, targets=targets)
    with pytest.raises(OptionError, match=f"there is {named}; add it with --set targets.barycenter=1"):
        Medoids(NoOptions()).images(asked)


def test_too_few_images(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    asked = make_request(dataset, make_network(dataset), 8, label=1, targets=(Wanting(torch.zeros(3, 8, 4)),))
    with pytest.raises(DataError, match="class 'class 1' has 7 training images, fewer than the 8 asked for"):
        Medoids(NoOptions()).images(asked)


@pytest.mark.slow
def test_wmdd_starts_from_the_medoids_of_its_atoms(
    tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    """Kept as they are, they are the images of the method medoids; optimised, they start from these."""

    def run(method: str, **settings: Any) -> condense.DistilledDataset:
        return condense.run(
            method=method,
            dataset="tiny",
            ipc=3,
            students=0,
            out=tmp_path,
            device="cpu",
            precision="fp32",
            settings={"initializer": "medoids", **settings},
            registry=make_registry(make_dataset()),
        ).distilled

    plain, kept = run("medoids"), run("wmdd", iterations=0)
    moved = run("wmdd", iterations=1, lr=1e-4)
    assert torch.equal(plain.images, kept.images)
    assert torch.equal(plain.weights, kept.weights)
    assert (moved.images.int() - plain.images.int()).abs().max() <= 1


def test_an_initializer_that_looks_for_targets_in_vain_says_so(
    tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    with pytest.raises(OptionError, match="needs a target that says which feature each image should have"):
        condense.run(
            method="medoids",
            dataset="tiny",
            ipc=2,
            students=0,
            out=tmp_path,
            device="cpu",
            without=["barycenter"],
            registry=make_registry(make_dataset()),
        )
