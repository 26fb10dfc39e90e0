"""Generators by piece: each depends on its name alone, and the global ones stay as they were."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.rng import derive_seed, generator, global_state, isolated_global_rng, set_global_state


@given(st.integers(-(2**70), 2**70), st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=3))
def test_a_seed_lies_in_range_and_depends_on_its_name(seed: int, piece: list[str | int]) -> None:
    derived = derive_seed(seed, *piece)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, *piece)


def test_a_seed_is_half_of_the_first_eight_bytes_of_a_hash() -> None:
    digest = hashlib.sha256(b"3/recover/chunk/2").digest()
    assert (
        derive_seed(3, "recover", "chunk", 2)
        == sum(byte << (8 * k) for k, byte in enumerate(digest[:8])) // 2
    )


def test_pieces_differ_from_each_other() -> None:
    names = [
        (seed, stage, index) for seed in range(5) for stage in ("recover", "evaluate") for index in range(50)
    ]
    assert len({derive_seed(*name) for name in names}) == len(names)


def test_a_generator_draws_the_same_whatever_was_drawn_before() -> None:
    first = torch.randn(5, generator=generator(1, "piece", 0))
    generator(1, "piece", 1)
    torch.randn(3)
    assert torch.equal(first, torch.randn(5, generator=generator(1, "piece", 0)))
    assert not torch.equal(first, torch.randn(5, generator=generator(2, "piece", 0)))


def test_the_global_generator_is_seeded_inside_and_restored_outside() -> None:
    torch.manual_seed(7)
    expected = torch.randn(4)
    torch.manual_seed(7)
    with isolated_global_rng(generator(0, "a")):
        inside = torch.randn(4)
    assert torch.equal(torch.randn(4), expected)
    with isolated_global_rng(generator(0, "a")):
        assert torch.equal(torch.randn(4), inside)
    with isolated_global_rng(generator(0, "b")):
        assert not torch.equal(torch.randn(4), inside)


def test_the_global_generator_is_restored_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), isolated_global_rng(generator(0)):
        torch.randn(4)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def test_two_blocks_from_one_source_draw_differently() -> None:
    source = generator(0)
    draws = []
    for _ in range(2):
        with isolated_global_rng(source):
            draws.append(torch.randn(4))
    assert not torch.equal(*draws)


def test_the_global_generators_go_on_where_they_were() -> None:
    """Also in the middle of a pair: normal draws of NumPy and Python come in twos, of which one is kept."""

    def draws() -> list[float]:
        return [float(torch.randn(())), random.gauss(0, 1), random.random(), float(np.random.randn())]

    with isolated_global_rng(generator(0)):
        draws()
        kept = global_state(torch.device("cpu"))
        expected = [draws() for _ in range(3)]
        draws()
        set_global_state(*kept, torch.device("cpu"))
        assert [draws() for _ in range(3)] == expected
