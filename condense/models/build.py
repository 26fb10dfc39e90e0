"""Construction of networks by name, with initial weights from a generator."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from condense.data.dataset import RealDataset
from condense.models.catalog import ModelRequest
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.rng import isolated_global_rng
from condense.runtime import Runtime


def build_network(
    use: Use, dataset: RealDataset, registry: Registry, runtime: Runtime, generator: torch.Generator
) -> Network:
    """Return a network for the images and classes of a dataset, on the device.

    generator: the source of the initial weights.

    Raises ModelError if the network does not take such images, and UnknownNameError if the name is unknown.
    """
    request = ModelRequest(
        argument="", classes=len(dataset.classes), channels=dataset.channels, size=dataset.size
    )
    return network_for(use, request, registry, runtime, generator)


def network_for(
    use: Use, request: ModelRequest, registry: Registry, runtime: Runtime, generator: torch.Generator
) -> Network:
    """Return a network for images and classes that no dataset need have; otherwise as `build_network` does."""
    with isolated_global_rng(generator):
        model = _build(use, request, registry)
    return Network(runtime.place(model), use.name)


def weight_bytes(use: Use, request: ModelRequest, registry: Registry) -> int:
    """Return the bytes of a network's weights without making them, or 0 if the network cannot be built like that."""
    try:
        with torch.device("meta"), isolated_global_rng(torch.Generator("cpu").manual_seed(0)):
            model = _build(use, request, registry)
    except (
        Exception
    ):  # Some networks compute with their first weights; building them for real says what is wrong.
        return 0
    return sum(one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers()))


def _build(use: Use, request: ModelRequest, registry: Registry) -> nn.Module:
    """Return a network on the CPU.

    Its weights, and those of the networks that it consists of, come from the global generator.
    """
    spec, argument = registry.model(use.name)

    def another(part: Use) -> nn.Module:
        draws = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        with isolated_global_rng(draws):
            return _build(part, request, registry)

    made: nn.Module = spec.builder()(
        options_of(use, "model", registry), replace(request, argument=argument, build=another)
    )
    return made
