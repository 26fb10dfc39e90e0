"""Relabel: compute the teacher's logits of the synthetic images as they are saved."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.models.network import Network
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset


@torch.no_grad()
def relabel(distilled: DistilledDataset, teacher: Network, runtime: Runtime, batch_size: int = 512) -> Tensor:
    """Return the teacher's logits (n, K) float32 of each decoded image, on the CPU, without a softmax."""
    feed = distilled.feed(runtime)
    teacher.model.eval()
    logits = []
    for batch in feed.test_batches(batch_size):
        with runtime.autocast():
            logits.append(teacher.logits(batch.images).cpu())
    return torch.cat(logits)
