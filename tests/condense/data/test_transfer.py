"""Transfers to a device, with a stand-in for one that fetches from pinned memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from condense.data import feed as module
from condense.data.dataset import MemoryImages
from condense.data.feed import Feed
from condense.data.transfer import Transfer, transfer_to
from condense.recipe.training import Augment
from condense.runtime import make_runtime

CPU = torch.device("cpu")


@dataclass
class Host:
    """A host whose pinned memory is known by its addresses."""

    pinned: dict[int, Tensor] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)

    def pin(self, tensor: Tensor) -> Tensor:
        copied = tensor.clone()
        self.pinned[copied.data_ptr()] = copied
        self.threads.add(threading.get_ident())
        return copied


@dataclass(frozen=True)
class StandIn(Transfer):
    """A transfer to the CPU that notes of each tensor of pixels that it places whether it comes from pinned memory."""

    host: Host = field(default_factory=Host)
    from_pinned: list[bool] = field(default_factory=list)

    def placed(self, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.uint8:
            self.from_pinned.append(tensor.data_ptr() in self.host.pinned)
        return super().placed(tensor).clone()


class OnDemand:
    """Images that are not in memory."""

    def __init__(self, pixels: Tensor) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._pixels.shape[1:]
        return channels, height, width

    def read(self, indices: Tensor) -> Tensor:
        return self._pixels[indices]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    host = Host()
    made = StandIn(CPU, host.pin, host)
    monkeypatch.setattr(module, "transfer_to", lambda device: made)
    return made


def feed(images: OnDemand | MemoryImages) -> Feed:
    labels, runtime = torch.arange(len(images)) % 3, make_runtime("cpu", "fp32")
    return Feed(images, labels, size=4, mean=(0.5,), std=(0.25,), runtime=runtime)


PIXELS = torch.arange(11 * 16, dtype=torch.uint8).view(11, 1, 4, 4)


def test_batches_that_are_read_ahead_are_pinned_by_the_reader(stand_in: StandIn) -> None:
    images = [batch.images for batch in feed(OnDemand(PIXELS)).test_batches(4)]
    assert stand_in.from_pinned == [True] * 3
    assert stand_in.host.threads and threading.get_ident() not in stand_in.host.threads
    torch.testing.assert_close(torch.cat(images), (PIXELS.float() / 255 - 0.5) / 0.25)


def test_pinning_changes_no_batch(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches() -> list[Tensor]:
        draws = torch.Generator().manual_seed(1)
        read = feed(OnDemand(PIXELS)).training_batches(Augment(flip=True), 4, draws)
        return [batch.images for batch in read]

    through_pinned = batches()
    monkeypatch.setattr(module, "transfer_to", transfer_to)
    assert all(torch.equal(one, other) for one, other in zip(through_pinned, batches(), strict=True))
    assert stand_in.from_pinned == [True] * 3


def test_images_that_live_on_the_device_are_moved_once_and_not_pinned(stand_in: StandIn) -> None:
    resident = feed(MemoryImages(PIXELS))
    assert sum(len(batch.images) for batch in resident.test_batches(4)) == 11
    resident.centre(torch.tensor([1, 2]))
    assert stand_in.from_pinned == [False]
    assert not stand_in.host.pinned


def test_what_is_on_a_device_is_not_staged() -> None:
    """As pixels are that a CUDA device has decoded."""
    host = Host()
    elsewhere = torch.zeros(3, device="meta")
    assert Transfer(torch.device("meta"), host.pin).staged(elsewhere) is elsewhere
    assert not host.pinned


def test_only_cuda_fetches_from_pinned_memory() -> None:
    assert transfer_to(torch.device("cuda:1")) == Transfer(torch.device("cuda:1"), Tensor.pin_memory)
    for kind in ("cpu", "mps"):
        way = transfer_to(torch.device(kind))
        assert way.pin is None
        tensor = torch.ones(2)
        assert way.staged(tensor) is tensor
    assert transfer_to(CPU).placed(tensor := torch.ones(2)) is tensor
