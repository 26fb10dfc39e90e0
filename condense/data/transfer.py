"""The way of a batch from the memory of the host to the device that computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transfer:
    """How tensors come to a device. A reader that works ahead stages them, and the one that needs them places them.

    device: the device.
    pin: copies a tensor into pinned memory, from which the device fetches it while the host goes on; None where that
        gains nothing.
    """

    device: torch.device
    pin: Callable[[Tensor], Tensor] | None = None

    def staged(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the host where the device fetches it from. A tensor that is on a device stays there."""
        return self.pin(tensor) if self.pin is not None and tensor.device.type == "cpu" else tensor

    def placed(self, tensor: Tensor) -> Tensor:
        """Return a tensor on the device. From pinned memory it may still be on its way; the device's work waits for it.

        The pinned memory is not used for anything else before the tensor has arrived: PyTorch sees to that.
        """
        return tensor.to(self.device, non_blocking=True)


def transfer_to(device: torch.device) -> Transfer:
    """Return the way to a device: through pinned memory to a CUDA device, straight to any other."""
    return Transfer(device, Tensor.pin_memory if device.type == "cuda" else None)
