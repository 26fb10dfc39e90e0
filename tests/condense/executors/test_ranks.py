"""Ranks: what torchrun says in the environment, and which device each has. tests/cli/test_teacher.py starts some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from condense.errors import OptionError
from condense.executors.ranks import LostRankError, Ranks

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "29500",
}


def test_torchrun_tells_number_and_count() -> None:
    assert Ranks.started(TORCHRUN) == Ranks(number=5, count=8, local=1, of_computer=4)


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_process_without_all_of_it_is_alone(missing: str) -> None:
    assert Ranks.started({**TORCHRUN, missing: ""}) is None
    assert Ranks.started({key: value for key, value in TORCHRUN.items() if key != missing}) is None


def ranks(count: int) -> list[Ranks]:
    return [Ranks(number, count, number, count) for number in range(count)]


@pytest.fixture
def four_cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    yield


@pytest.mark.usefixtures("four_cards")
def test_each_rank_has_a_gpu_of_its_own() -> None:
    cards = ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert [rank.device("cuda") for rank in ranks(4)] == cards
    assert [rank.device("auto") for rank in ranks(3)] == cards[:3]
    assert ranks(1)[0].device("cuda:2") == "cuda:2"
    assert [rank.device("cpu") for rank in ranks(5)] == ["cpu"] * 5


@pytest.mark.usefixtures("four_cards")
@pytest.mark.parametrize(("count", "device", "has"), [(5, "cuda", 4), (5, "auto", 4), (2, "cuda:1", 1)])
def test_two_ranks_never_share_a_gpu(count: int, device: str, has: int) -> None:
    with pytest.raises(OptionError, match=f"{count} processes .* need a GPU each, .* has {has}; start fewer"):
        ranks(count)[0].device(device)


def test_without_a_gpu_all_are_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [rank.device("auto") for rank in ranks(2)] == ["cpu", "cpu"]
    with pytest.raises(OptionError, match="need a GPU each, and --device cuda has 0"):
        ranks(2)[0].device("cuda")


def test_several_ranks_on_mps_are_refused() -> None:
    with pytest.raises(OptionError, match="not on mps; use --device cpu"):
        ranks(2)[0].device("mps")


def one_rank(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """A rank without others. Its store has a free port, because torch looks at this environment too."""
    for key, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }.items():
        monkeypatch.setenv(key, value)
    found = Ranks.started()
    assert found is not None
    return found


def test_a_group_of_one_averages_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with one_rank(monkeypatch).group(torch.device("cpu")) as peers:
        assert (peers.share.number, peers.share.of) == (0, 1)
        assert float(peers.mean(torch.tensor(3.0))) == 3.0
        assert peers.from_first(lambda: {"a": 1}) == {"a": 1}
        with peers.in_turn():
            assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"), LostRankError),
        (torch.distributed.DistBackendError("NCCL communicator was aborted"), LostRankError),
        (RuntimeError("shapes differ"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_the_end_of_another_rank_is_told_apart_from_errors_of_this_one(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, becomes: type[BaseException]
) -> None:
    rank = one_rank(monkeypatch)
    with pytest.raises(becomes) as found, rank.group(torch.device("cpu")):
        raise error
    assert type(found.value) is becomes
    if becomes is LostRankError:
        assert "another of the 1 processes" in str(found.value)
        assert found.value.__cause__ is error
    # Whoever asks first speaks, and an error of its own made this rank ask.
    other = Ranks(1, 2, 1, 2)
    vars(other)["_store"] = rank._store
    assert other.speaks == (becomes is LostRankError)


def test_one_rank_speaks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    first = one_rank(monkeypatch)
    second = Ranks(1, 2, 1, 2)
    vars(second)["_store"] = first._store
    assert second.speaks
    assert not first.speaks
    assert second.speaks
