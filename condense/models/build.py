"""Construction of networks by name, with initial weights from a generator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.errors import ModelError
from condense.models.catalog import ModelRequest
from condense.models.network import Network
from condense.models.zoo import load_weights
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
    with isolated_global_rng(generator):
        model = _build(use, request, registry)
    return Network(runtime.place(model), use.name)


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


def load_checkpoint(network: Network, path: Path) -> None:
    """Fill a network with weights from a file: .safetensors, or a state dict saved by torch.

    Code in torch files is not run. Raises ModelError if the file cannot be read or does not fit the
    architecture or the classes.
    """
    if not path.is_file():
        raise ModelError(
            f"there is no checkpoint {path}; --teacher takes a .safetensors file or a saved state dict"
        )
    tensors: dict[str, Tensor]
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns about an odd pickle protocol before it fails
                tensors = _state_dict(torch.load(path, map_location="cpu", weights_only=True), path)
    except ModelError:
        raise
    except Exception as error:  # unpickling a damaged file can raise any error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"checkpoint {path} cannot be read: {reason}") from error
    load_weights(network.model, tensors, str(path))


def _state_dict(found: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the result of torch.load, also if it is nested under a usual key.

    The prefix "module." is removed from names. Raises ModelError if there is no state dict.
    """
    if isinstance(found, dict):
        for key in ("state_dict", "model", "model_state_dict"):
            if isinstance(found.get(key), dict):
                found = found[key]
                break
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"checkpoint {path} holds no state dict (names to tensors)")
    return {str(name).removeprefix("module."): value for name, value in found.items()}
