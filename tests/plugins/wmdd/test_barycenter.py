"""Barycenters against POT's emd2, scikit-learn, brute force, answers known by hand, and symmetries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import ot
import pytest
import torch
from condense_wmdd import transport
from condense_wmdd.barycenter import SOLVERS, Barycenter, wasserstein_barycenter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from condense.errors import NumericalError, OptionError, UnknownNameError

every_solver = pytest.mark.parametrize("solver", SOLVERS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def solve(
    points: Tensor, atoms: int, solver: str = "quantize", seed: int = 0, **options: float
) -> Barycenter:
    return wasserstein_barycenter(points, atoms, solver=solver, generator=seeded(seed), **options)


def mixture(n: int, dim: int, modes: int, seed: int, spread: float = 3.0) -> Tensor:
    source = seeded(seed)
    centres = spread * torch.randn(modes, dim, generator=source)
    return centres[torch.randint(modes, (n,), generator=source)] + torch.randn(n, dim, generator=source)


def features(n: int, dim: int, seed: int) -> Tensor:
    return mixture(n, dim, 8, seed, spread=0.6).relu()


def w2(points: Tensor, found: Barycenter) -> float:
    """W2² by POT, with distances by plain differences: no code in common with what is tested."""
    x, b = points.double().cpu().numpy(), found.atoms.double().cpu().numpy()
    costs = ((x[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    weights = found.weights.double().cpu().numpy()
    return float(ot.emd2(np.full(len(x), 1 / len(x)), weights / weights.sum(), costs, numItermax=10**7))


def partitions(n: int, k: int) -> Iterator[list[int]]:
    """Every labelling of n points in exactly k groups, one for each set partition."""
    for labels in itertools.product(range(k), repeat=n):
        firsts = [labels.index(label) for label in range(k) if label in labels]
        if len(firsts) == k and firsts == sorted(firsts):
            yield list(labels)


def brute_force(points: Tensor, k: int, equal: bool = False) -> float:
    """The least mean squared distance to the group means over all partitions (in equal groups)."""
    x, best = points.double().numpy(), np.inf
    for labels in partitions(len(x), k):
        sizes = np.bincount(labels, minlength=k)
        if equal and sizes.min() != sizes.max():
            continue
        means = np.stack([x[np.array(labels) == j].mean(0) for j in range(k)])
        best = min(best, float(((x - means[labels]) ** 2).sum(1).mean()))
    return best


def nobody_is_empty(points: Tensor, found: Barycenter) -> None:
    """Each atom weighs at least one point, weights are whole points, and they sum to 1."""
    shares = found.weights.double() * len(points)
    assert shares.min() > 0.999
    assert torch.allclose(shares, shares.round(), atol=1e-3)
    assert float(found.weights.double().sum()) == pytest.approx(1, abs=1e-6)


@every_solver
@pytest.mark.parametrize(("n", "dim", "k"), [(60, 3, 4), (90, 40, 10), (200, 2, 17), (20, 100, 12)])
def test_the_cost_is_what_pot_finds(solver: str, n: int, dim: int, k: int) -> None:
    points = mixture(n, dim, 5, seed=n)
    found = solve(points, k, solver)
    assert found.atoms.shape == (k, dim) and found.weights.shape == (k,)
    assert found.atoms.dtype == found.weights.dtype == torch.float32
    assert found.cost == pytest.approx(w2(points, found), rel=1e-6)
    assert found.weights.min() > 0
    assert float(found.weights.double().sum()) == pytest.approx(1, abs=1e-6)


@every_solver
def test_two_diracs_are_found_whole(solver: str) -> None:
    points = torch.tensor([[0.0, 0.0]] * 4 + [[3.0, 4.0]] * 4)
    # A start with both atoms on one Dirac is a fixed point of the paper's solver: take a seed that has one each.
    seed = next(
        s for s in range(50) if len(points[torch.randperm(8, generator=seeded(s))[:2]].unique(dim=0)) == 2
    )
    found = solve(points, 2, solver, seed=seed)
    order = found.atoms[:, 0].argsort()
    assert torch.allclose(found.atoms[order], torch.tensor([[0.0, 0.0], [3.0, 4.0]]), atol=1e-5)
    assert torch.allclose(found.weights, torch.tensor([0.5, 0.5]), atol=1e-4)
    assert found.cost == pytest.approx(0, abs=1e-6)


def test_free_weights_follow_the_shares_and_uniform_ones_split_a_dirac() -> None:
    points = torch.tensor([[0.0]] * 6 + [[4.0]] * 2)
    free = solve(points, 2)
    assert sorted(free.weights.tolist()) == [0.25, 0.75]
    assert free.cost == 0
    # Half the mass has to serve 2 points at 0 and 2 at 4: its mean is 2, at distance 2 from half of the points.
    uniform = solve(points, 2, "balanced")
    assert sorted(uniform.atoms.flatten().tolist()) == pytest.approx([0, 2])
    assert uniform.cost == pytest.approx(0.5 * 4)


@pytest.mark.parametrize("solver", ["quantize", "balanced"])
def test_as_many_atoms_as_points_cost_nothing(solver: str) -> None:
    points = torch.randn(23, 5, generator=seeded(1))
    found = solve(points, 23, solver)
    assert found.cost == pytest.approx(0, abs=1e-12)
    nobody_is_empty(points, found)
    assert {tuple(row) for row in found.atoms.tolist()} == {tuple(row) for row in points.tolist()}


@every_solver
def test_one_atom_is_the_mean(solver: str) -> None:
    points = torch.randn(31, 4, generator=seeded(2))
    found = solve(points, 1, solver)
    assert torch.allclose(found.atoms[0], points.mean(0), atol=1e-6)
    assert found.weights.tolist() == [1]
    assert found.cost == pytest.approx(float(points.double().var(0, correction=0).sum()), rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("solver", ["quantize", "balanced"])
def test_duplicated_points_leave_no_atom_empty(solver: str, k: int) -> None:
    # float64: the rounding of 5/9 to float32 would have a cost of its own.
    points = torch.tensor([[1.3, -0.7, 1 / 3]] * 5 + [[0.1, 0.2, 0.3]] * 4, dtype=torch.float64)
    found = solve(points, k, solver)
    assert found.weights.min() > 0
    assert found.cost == pytest.approx(w2(points, found), rel=1e-6, abs=1e-12)
    if solver == "quantize":
        nobody_is_empty(points, found)
        assert found.cost == pytest.approx(0 if k > 1 else w2(points, found), abs=1e-12)


@every_solver
def test_identical_points_cost_nothing(solver: str) -> None:
    points = torch.full((7, 3), 0.1)
    found = solve(points, 4, solver)
    assert torch.allclose(found.atoms, points[:4])
    assert found.weights.min() > 0
    assert found.cost == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    n=st.integers(1, 14),
    dim=st.integers(1, 4),
    restarts=st.integers(1, 3),
    iterations=st.integers(1, 4),
)
def test_no_atom_is_ever_empty(data: st.DataObject, n: int, dim: int, restarts: int, iterations: int) -> None:
    """Small integers make many ties and duplicates; few iterations stop the solver before it has settled."""
    rows = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    points = torch.tensor(data.draw(st.lists(rows, min_size=n, max_size=n)), dtype=torch.float32)
    k = data.draw(st.integers(1, n))
    found = solve(points, k, restarts=restarts, iterations=iterations)
    nobody_is_empty(points, found)
    assert found.cost == pytest.approx(w2(points, found), rel=1e-5, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 8), k=st.integers(1, 3))
@example(seed=95924, n=5, k=3)  # greedy starts alone end at 0.3989; the best partition costs 0.3526
def test_quantize_finds_the_best_partition_of_a_few_points(seed: int, n: int, k: int) -> None:
    points = torch.randn(n, 2, generator=seeded(seed))
    found = solve(points, k, seed=seed, restarts=64)
    assert found.cost == pytest.approx(brute_force(points, k), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("groups", "size"), [(2, 4), (3, 2), (2, 3), (4, 2)])
def test_balanced_finds_the_best_equal_partition_of_a_few_points(groups: int, size: int) -> None:
    centres = 5 * torch.eye(groups)
    points = centres.repeat(size, 1) + torch.randn(groups * size, groups, generator=seeded(groups))
    found = solve(points, groups, "balanced")
    assert found.cost == pytest.approx(brute_force(points, groups, equal=True), rel=1e-5)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_balanced_is_never_below_the_best_equal_partition(seed: int) -> None:
    points = torch.randn(6, 2, generator=seeded(seed))
    assert solve(points, 3, "balanced").cost >= brute_force(points, 3, equal=True) * (1 - 1e-6)


def test_balanced_weights_are_exactly_uniform_and_better_than_its_start() -> None:
    points = mixture(100, 6, 4, seed=3)
    start, found = solve(points, 8), solve(points, 8, "balanced")
    assert torch.equal(found.weights, torch.full((8,), 1 / 8))
    uniform_start = Barycenter(start.atoms, found.weights, 0.0)
    assert found.cost < w2(points, uniform_start)
    assert found.cost >= start.cost


def test_balanced_never_rises_from_one_iteration_to_the_next() -> None:
    points = mixture(120, 4, 7, seed=4)
    costs = [solve(points, 9, "balanced", iterations=bound, tolerance=0).cost for bound in range(1, 9)]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(costs))


def test_alternating_improves_on_its_start_and_frees_the_weights() -> None:
    points = mixture(150, 6, 5, seed=5)
    drawn = points[torch.randperm(150, generator=seeded(0))[:8]]
    found = solve(points, 8, "alternating")
    assert found.cost < w2(points, Barycenter(drawn, torch.full((8,), 1 / 8), 0.0))
    assert found.weights.std() > 0
    assert found.cost >= solve(points, 8).cost


def test_dual_variables_are_the_slope_of_the_cost_in_the_weights() -> None:
    points, atoms = mixture(40, 3, 3, seed=6).double(), torch.randn(5, 3, generator=seeded(6)).double()
    weights = torch.tensor([0.11, 0.19, 0.23, 0.17, 0.3], dtype=torch.float64)
    _, duals, cost = transport.exact_transport(points, atoms, weights)
    step = 1e-5 * torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0], dtype=torch.float64)
    change = transport.transport_cost(points, atoms, weights + step) - cost
    assert change == pytest.approx(float(duals @ step), rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_projection_to_the_simplex_meets_its_optimality_conditions(entries: list[float]) -> None:
    vector = torch.tensor(entries, dtype=torch.float64)
    found = transport.project_to_simplex(vector)
    assert float(found.sum()) == pytest.approx(1)
    assert found.min() >= 0
    # The gradient of the distance is one constant where the weight is positive, and not smaller elsewhere.
    gradient = found - vector
    assert float(gradient[found > 0].max() - gradient.min()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("points", "k"),
    [
        (mixture(600, 8, 12, seed=7), 12),
        (mixture(500, 16, 10, seed=8), 25),
        (mixture(400, 2, 6, seed=9), 15),
        (features(600, 64, seed=10), 10),
        (features(500, 128, seed=11), 40),
        (features(90, 256, seed=12), 20),
    ],
    ids=[
        "mixture-8d",
        "mixture-16d",
        "mixture-2d",
        "features-64d",
        "features-128d",
        "fewer-points-than-dims",
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_quantize_is_within_one_percent_of_scikit_learn(points: Tensor, k: int, seed: int) -> None:
    reference = KMeans(k, n_init=10, random_state=seed).fit(points.double().numpy()).inertia_ / len(points)
    found = solve(points, k, seed=seed)
    assert found.cost <= 1.01 * reference
    nobody_is_empty(points, found)


@every_solver
def test_the_same_seed_gives_the_same_bits(solver: str) -> None:
    points = features(150, 20, seed=15)
    first, again = solve(points, 7, solver, seed=3), solve(points, 7, solver, seed=3)
    assert torch.equal(first.atoms, again.atoms) and torch.equal(first.weights, again.weights)
    assert first.cost == again.cost


def test_the_order_of_the_points_does_not_matter_for_clear_clusters() -> None:
    points = torch.eye(5).repeat(12, 1) * 20 + torch.randn(60, 5, generator=seeded(16))
    shuffled = points[torch.randperm(60, generator=seeded(17))]
    one, other = solve(points, 5), solve(shuffled, 5)
    assert one.cost == pytest.approx(other.cost, rel=1e-6)
    gaps = torch.cdist(one.atoms.double(), other.atoms.double()).min(1).values
    assert gaps.max() < 1e-4


@every_solver
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), power=st.integers(-30, 30), shift=st.integers(-64, 64))
def test_moving_and_scaling_the_points_moves_and_scales_the_atoms(
    solver: str, seed: int, power: int, shift: int
) -> None:
    # 32 multiples of 1/1024: sum, mean and shift are exact, so rounding cannot break a near-tie differently.
    points = (torch.randn(32, 3, generator=seeded(seed), dtype=torch.float64) * 1024).round() / 1024
    scale = 2.0**power
    plain = solve(points, 4, solver, seed=seed)
    moved = solve((points + shift) * scale, 4, solver, seed=seed)
    assert torch.allclose(moved.atoms / scale - shift, plain.atoms, rtol=1e-8, atol=1e-8)
    assert torch.allclose(moved.weights, plain.weights, rtol=1e-8, atol=1e-8)
    assert moved.cost == pytest.approx(plain.cost * scale**2, rel=1e-8)


@every_solver
def test_a_far_offset_costs_no_precision(solver: str) -> None:
    # Multiples of 1/64 survive + 1e4 in float32 unrounded, so both problems are the same one.
    points = (mixture(200, 8, 6, seed=18) * 64).round() / 64
    far = points + 1e4
    assert torch.equal(far - 1e4, points)
    near_found, far_found = solve(points, 10, solver), solve(far, 10, solver)
    # The atoms are rounded to float32's spacing at 1e4, about 1e-3.
    assert torch.allclose(far_found.atoms - 1e4, near_found.atoms, atol=1e-3)
    assert far_found.cost == pytest.approx(near_found.cost, rel=1e-5)
    assert far_found.cost == pytest.approx(w2(far, far_found), rel=1e-6)


def test_values_whose_squares_overflow_float32_are_no_trouble() -> None:
    points = mixture(50, 3, 3, seed=19)
    found = solve(points * 2.0**80, 3)
    assert found.cost == pytest.approx(solve(points, 3).cost * 2.0**160, rel=1e-6)


@pytest.mark.parametrize(
    ("given_dtype", "wanted"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_the_result_is_float64_only_for_float64(given_dtype: torch.dtype, wanted: torch.dtype) -> None:
    found = solve(torch.randn(20, 3, generator=seeded(20)).to(given_dtype), 4)
    assert found.atoms.dtype == found.weights.dtype == wanted


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    solve(features(60, 8, seed=21), 5)
    assert torch.equal(before, torch.get_rng_state())


def test_more_atoms_than_points_are_refused() -> None:
    with pytest.raises(OptionError, match="asked for 10 atoms of 7 points"):
        solve(torch.zeros(7, 2), 10)


@pytest.mark.parametrize(
    ("points", "k", "options", "text"),
    [
        (torch.zeros(7, 2), 0, {}, "asked for 0 atoms"),
        (torch.zeros(7), 2, {}, r"\(7,\)"),
        (torch.zeros(7, 2, 2), 2, {}, r"\(7, 2, 2\)"),
        (torch.zeros(0, 2), 1, {}, r"\(0, 2\)"),
        (torch.zeros(7, 2, dtype=torch.long), 2, {}, "int64"),
        (torch.zeros(7, 2), 2, {"restarts": 0}, "restarts"),
        (torch.zeros(7, 2), 2, {"iterations": 0}, "iterations"),
        (torch.zeros(7, 2), 2, {"tolerance": -1.0}, "tolerance"),
        (torch.zeros(7, 2), 2, {"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_unusable_arguments_are_named(points: Tensor, k: int, options: dict[str, float], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        solve(points, k, **options)


def test_an_unknown_solver_gets_the_list_and_a_guess() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'quantize'"):
        solve(torch.zeros(3, 2), 2, "quantise")


@every_solver
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(solver: str, bad: float) -> None:
    points = torch.zeros(5, 2)
    points[3, 1] = bad
    with pytest.raises(NumericalError, match="1 of 5 points"):
        solve(points, 2, solver)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_solver
def test_a_gpu_gives_a_result_there_of_the_same_quality_and_the_same_bits_twice(solver: str) -> None:
    points = features(400, 64, seed=22)
    there = points.cuda()
    first, again = solve(there, 12, solver), solve(there, 12, solver)
    assert first.atoms.is_cuda and first.weights.is_cuda
    assert torch.equal(first.atoms, again.atoms) and first.cost == again.cost
    assert first.cost == pytest.approx(w2(points, first), rel=1e-6)
    assert first.cost == pytest.approx(solve(points, 12, solver).cost, rel=0.01)
