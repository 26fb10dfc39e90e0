"""Relabel: what the teacher says of the synthetic images as they are saved."""

from __future__ import annotations

from dataclasses import replace

import torch

from condense.data.dataset import MemoryImages
from condense.data.feed import Feed
from condense.models.network import Network
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset


@torch.no_grad()
def relabel(
    distilled: DistilledDataset, teacher: Network, runtime: Runtime, batch_size: int = 512
) -> DistilledDataset:
    """The dataset with the teacher's logits (n, K) of each 8-bit image, for label mode "soft"."""
    feed = Feed(
        MemoryImages(distilled.images),
        size=distilled.images.shape[-1],
        mean=distilled.mean,
        std=distilled.std,
        runtime=runtime,
    )
    logits = []
    teacher.model.eval()
    for batch in feed.test_batches(batch_size):
        with runtime.autocast():
            logits.append(teacher.logits(batch.images).cpu())
    return replace(distilled, soft_labels=torch.cat(logits), label_mode="soft")
