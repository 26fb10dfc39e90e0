"""Relabel: the teacher's logits of the images as they are saved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from condense.data.dataset import RealDataset
from condense.engine.relabel import relabel
from condense.models.network import Network
from condense.runtime import make_runtime
from condense.storage.distilled import DistilledDataset

RUNTIME = make_runtime("cpu", "fp32")


@pytest.mark.parametrize("batch_size", [1, 4, 6, 512])
def test_the_teachers_logits_of_the_8_bit_images(
    batch_size: int, make_dataset: Callable[..., RealDataset], make_network: Callable[..., Network]
) -> None:
    dataset = make_dataset(channels=3)
    teacher = make_network(dataset)
    teacher.model.train()
    images = torch.randint(
        0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    distilled = DistilledDataset(
        images=images,
        labels=torch.tensor([0, 0, 1, 1, 2, 2]),
        slots=torch.tensor([0, 1] * 3),
        weights=torch.full((6,), 0.5),
        classes=dataset.classes,
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.1),
        ipc=2,
    )
    found = relabel(distilled, teacher, RUNTIME, batch_size)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (distilled.mean, distilled.std))
    one_by_one = [teacher.model.eval()(((image / 255 - mean) / std)[None])[0] for image in images]
    torch.testing.assert_close(found, torch.stack(one_by_one).detach(), rtol=1e-4, atol=1e-5)
    assert (found.dtype, found.device.type, found.requires_grad) == (torch.float32, "cpu", False)
    assert torch.equal(distilled.images, images)
    assert distilled.soft_labels is None
