"""Barycenters of many clouds at once: each is that of the cloud alone, in less calls and in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from condense_wmdd import barycenter, transport
from condense_wmdd.barycenter import SOLVERS, Barycenter, Solver, wasserstein_barycenters
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from condense.errors import NumericalError, OptionError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(n: int, dim: int, seed: int) -> Tensor:
    source = seeded(seed)
    centres = 0.6 * torch.randn(8, dim, generator=source)
    return (centres[torch.randint(8, (n,), generator=source)] + torch.randn(n, dim, generator=source)).relu()


def solve(
    clouds: list[Tensor], atoms: int, seeds: list[int] | None = None, **options: Any
) -> list[Barycenter]:
    generators = [seeded(seed) for seed in (seeds or range(len(clouds)))]
    return wasserstein_barycenters(clouds, atoms, generators=generators, **options)


def same(one: Barycenter, other: Barycenter) -> None:
    """The same clusters, and the same means within rounding."""
    assert torch.equal(one.weights, other.weights)
    torch.testing.assert_close(one.atoms, other.atoms, rtol=1e-6, atol=1e-7)
    assert one.cost == pytest.approx(other.cost, rel=1e-9, abs=1e-12)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("sizes", "dim", "k"),
    [
        ((90, 77, 90, 81, 60, 77), 16, 5),
        ((30, 41, 38), 200, 12),  # a Gram matrix
        ((300, 40, 41, 299), 64, 10),  # with and without one
        ((7, 3, 7, 30, 5, 9), 4, 3),  # all partitions, and starts that are drawn
        ((20, 5, 90), 8, 1),
        ((6, 6, 6), 3, 6),
    ],
    ids=["direct", "gram", "both", "few", "one-atom", "atom-each"],
)
def test_together_gives_what_each_cloud_alone_gives(
    sizes: tuple[int, ...], dim: int, k: int, dtype: torch.dtype
) -> None:
    clouds = [features(n, dim, seed).to(dtype) for seed, n in enumerate(sizes)]
    alone = [solve([cloud], k, [seed])[0] for seed, cloud in enumerate(clouds)]
    for together in (0, 3000, 2**26):
        for one, other in zip(alone, solve(clouds, k, together=together), strict=True):
            same(one, other)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.1, 0.5])
def test_together_and_alone_stop_after_the_same_iterations(iterations: int, tolerance: float) -> None:
    clouds = [features(n, 6, seed=n) for n in (50, 57, 44, 63, 61)]
    alone = [
        solve([cloud], 7, [seed], iterations=iterations, tolerance=tolerance)[0]
        for seed, cloud in enumerate(clouds)
    ]
    found = solve(clouds, 7, iterations=iterations, tolerance=tolerance, together=2**26)
    for one, other in zip(alone, found, strict=True):
        same(one, other)


def test_neither_the_order_nor_the_neighbours_of_a_cloud_matter() -> None:
    clouds = [features(n, 12, seed=n) for n in (70, 64, 80, 75)]
    first = solve(clouds, 6, [0, 1, 2, 3], together=2**26)
    turned = solve(clouds[::-1], 6, [3, 2, 1, 0], together=2**26)[::-1]
    strangers = [1e3 * clouds[0], clouds[1], clouds[3].flip(0), clouds[2] - 50]
    among_others = solve(strangers, 6, [9, 1, 7, 8], together=2**26)
    for one, other in zip(first, turned, strict=True):
        same(one, other)
    same(first[1], among_others[1])


@settings(deadline=None, max_examples=40)
@given(data=st.data(), dim=st.integers(1, 3), k=st.integers(1, 5), restarts=st.integers(1, 3))
def test_ties_and_duplicates_leave_no_atom_empty(
    data: st.DataObject, dim: int, k: int, restarts: int
) -> None:
    """Small integers in clouds of unequal sizes. Each share is a number of points, and the cost that of the atoms."""
    rows = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    clouds = [
        torch.tensor(data.draw(st.lists(rows, min_size=k, max_size=16)), dtype=torch.float32)
        for _ in range(data.draw(st.integers(2, 4)))
    ]
    for cloud, found in zip(clouds, solve(clouds, k, restarts=restarts, together=2**26), strict=True):
        shares = found.weights.double() * len(cloud)
        assert shares.min() > 0.999
        assert torch.allclose(shares, shares.round(), atol=1e-4)
        gaps = (cloud.double()[:, None] - found.atoms.double()).square().sum(2)
        assert found.cost == pytest.approx(float(gaps.min(1).values.mean()), rel=1e-9, abs=1e-12)


def test_scales_that_differ_by_far_stay_apart() -> None:
    clouds = [features(50, 5, 0) * 2.0**60, features(44, 5, 1) * 2.0**-60, features(47, 5, 2) + 1e4]
    for seed, (cloud, found) in enumerate(zip(clouds, solve(clouds, 4, together=2**26), strict=True)):
        same(found, solve([cloud], 4, [seed])[0])


class _Calls(TorchDispatchMode):
    """Counts the operations on tensors, each of which would start kernels on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_together_takes_a_small_part_of_the_calls() -> None:
    clouds = [features(40 + seed % 3, 8, seed) for seed in range(16)]
    counts = []
    for together in (0, 2**26):
        with _Calls() as calls:
            solve(clouds, 5, together=together)
        counts.append(calls.count)
    assert counts[1] < counts[0] / 5


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(3, 400), max_size=30),
    k=st.integers(1, 3),
    dim=st.sampled_from([2, 300, 2000]),
    together=st.sampled_from([0, 10_000, 10**6]),
)
def test_batches_hold_every_cloud_once_and_keep_to_the_limit(
    sizes: list[int], k: int, dim: int, together: int
) -> None:
    clouds = [torch.empty(n, dim, device="meta") for n in sizes]
    search = barycenter._Search(k, "quantize", 10, None, 1e-6)
    batches = list(barycenter._batches(clouds, search, together))
    assert sorted(number for batch in batches for number in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len({barycenter.kind_of(sizes[number], dim, k, 10) for number in batch}) == 1
        largest = max(sizes[number] for number in batch)
        assert len(batch) == 1 or len(batch) * largest * dim <= together


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("solver", ["balanced", "alternating"])
def test_linear_programmes_are_solved_in_threads(solver: Solver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two solves waits for the other to begin: one after the other would break the barrier."""
    clouds = [features(30, 4, seed) for seed in range(2)]
    alone = [solve([cloud], 4, [seed], solver=solver)[0] for seed, cloud in enumerate(clouds)]
    barrier, original = threading.Barrier(2, timeout=60), getattr(transport, solver)

    def waits(*given: Any) -> Any:
        barrier.wait()
        return original(*given)

    monkeypatch.setattr(transport, solver, waits)
    for one, other in zip(alone, solve(clouds, 4, solver=solver), strict=True):
        assert torch.equal(one.atoms, other.atoms) and torch.equal(one.weights, other.weights)
        assert one.cost == other.cost


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_cloud_has_no_barycenter(solver: Solver) -> None:
    assert solve([], 3, solver=solver) == []


def test_the_cloud_that_cannot_be_solved_is_named() -> None:
    good, bad = torch.zeros(5, 2), torch.zeros(5, 2)
    bad[3, 1] = torch.nan
    with pytest.raises(NumericalError, match="1 of 5 points in cloud 1 hold"):
        solve([good, bad], 2)
    with pytest.raises(OptionError, match="asked for 4 atoms of 3 points in cloud 2"):
        solve([good, good, good[:3]], 4)
    with pytest.raises(
        OptionError, match=r"2, torch.float32 and cpu; got 3, torch.float32 and cpu in cloud 1"
    ):
        solve([good, torch.zeros(5, 3)], 2)
    with pytest.raises(
        OptionError, match=r"2, torch.float32 and cpu; got 2, torch.float64 and cpu in cloud 1"
    ):
        solve([good, good.double()], 2)
    with pytest.raises(OptionError, match="got 1 generators for 2 clouds"):
        wasserstein_barycenters([good, good], 2, generators=[seeded(0)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_solves_clouds_together_and_gives_the_same_bits_twice() -> None:
    clouds = [features(n, 64, seed=n).cuda() for n in (400, 390, 120, 8)]
    first, again, alone = (solve(clouds, 8, together=limit) for limit in (None, None, 0))
    for one, other, single in zip(first, again, alone, strict=True):
        assert one.atoms.is_cuda
        assert torch.equal(one.atoms, other.atoms) and one.cost == other.cost
        assert one.cost == pytest.approx(single.cost, rel=0.01)
