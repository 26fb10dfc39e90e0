"""The memory that a network takes: its weights, and what autograd keeps of each image for the way back."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.price import Footprint
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.needs import Statistic
from condense.runtime import Runtime

_BATCH = 2


def footprint(
    network: Network, dataset: RealDataset, statistics: Collection[Statistic], runtime: Runtime
) -> Footprint:
    """Return what a network takes, measured on a batch of two images; of an ensemble, one member at a time.

    statistics: the layers whose inputs losses read in the recover stage.
    """
    images = runtime.images(torch.randn(_BATCH, *dataset.train.images.shape))
    labels = BatchLabels.of_real(torch.zeros(_BATCH, dtype=torch.int64, device=images.device))
    weights = [*network.model.parameters(), *network.model.buffers()]
    known = {tensor.untyped_storage().data_ptr() for tensor in (*weights, images)}
    training = pixels = 0
    for member in network.members:
        member.model.train().requires_grad_(True)
        training = max(training, _kept(member.logits, images, known, runtime))
        member.frozen()
        readable = {name for name in statistics if member.layers_of(name)}

        def look(shown: Tensor, member: Network = member, read: Collection[Statistic] = readable) -> object:
            return member.observe(shown, labels, read)

        pixels = max(pixels, _kept(look, images.clone().requires_grad_(True), known, runtime))
    return Footprint(
        parameters=sum(tensor.numel() * tensor.element_size() for tensor in weights),
        training=training // _BATCH,
        pixels=pixels // _BATCH,
    )


def _kept(forward: Callable[[Tensor], object], images: Tensor, known: set[int], runtime: Runtime) -> int:
    """Return the bytes of what autograd keeps of `forward(images)`, without the storages at the `known` addresses."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    # The result holds the graph, and with it every tensor, until all are counted: no address is used twice.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), runtime.autocast():
        result = forward(images)
    del result
    return sum(kept.values())
