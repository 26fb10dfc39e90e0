"""Weights from files: .safetensors, and what people save with torch."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from condense.errors import ModelError, checked_path, no_checkpoint
from condense.models.network import Network, classifiers_of

# The keys under which training scripts keep a state dict. Averaged weights come first, as in timm: they are tested.
_KEYS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema"),
    *("state_dict", "model_state_dict", "model", "network", "net"),
)
# What wrappers put before every name: DataParallel, torch.compile, Lightning and others.
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
# Classifiers that torchvision's networks have for training alone.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_POSITIONS = ("pos_embed", "pos_embedding", "relative_position_bias_table", "relative_position_index")
_FORBIDDEN = re.compile(r"Unsupported (?:global|class|operand)\D*?\b([\w.]*\w)")
_SHOWN = 3
# Plain data that training scripts save beside the weights: their arguments, and numbers of numpy.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int64")),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def load_checkpoint(network: Network, path: Path) -> None:
    """Fill a network with weights from a file: .safetensors, or a state dict saved by torch.

    A state dict may lie under a usual key, and its names may have a usual prefix. Code in torch files is not run.
    Raises ModelError if the file cannot be read or does not fit the architecture or the classes.
    """
    if not checked_path(path).is_file():
        raise no_checkpoint(path)
    tensors = load_file_of_tensors(path)
    _fill(network.model, _renamed(tensors, network.model.state_dict()), str(path))


def load_file_of_tensors(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, on the CPU. Raises ModelError if the file cannot be read or holds none."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            warnings.simplefilter("ignore")  # torch warns about an odd pickle protocol before it fails
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a damaged file can raise any error
        raise ModelError(f"checkpoint {path} cannot be read: {_reason(error)}") from error
    return _state_dict(found, path)


def _reason(error: Exception) -> str:
    forbidden = _FORBIDDEN.search(str(error).replace("GLOBAL", ""))
    if forbidden:
        return (
            f"it holds {forbidden[1]}, and code in files is not run; save the weights alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _state_dict(found: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the result of torch.load, also if it is nested under usual keys."""
    while isinstance(found, dict):
        inner = next((found[key] for key in _KEYS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"checkpoint {path} holds no state dict (names to tensors)")
    return {str(name): value for name, value in found.items()}


def _renamed(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefixes of wrappers, and without what serves training alone."""
    found = {name: value for name, value in tensors.items() if name != "n_averaged" or name in wanted}
    prefix: str | None = ""
    while prefix is not None and found:
        found = {name.removeprefix(prefix): value for name, value in found.items()}
        prefix = next(
            (each for each in _PREFIXES if _all_start(found, each) and not _any_starts(wanted, each)), None
        )
    auxiliary = tuple(each for each in _AUXILIARY if not _any_starts(wanted, each))
    return {
        name.replace("._orig_mod.", "."): value
        for name, value in found.items()
        if not (auxiliary and name.startswith(auxiliary))
    }


def _all_start(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _any_starts(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _fill(model: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Fill a network from a state dict. Raises ModelError that says which names or shapes do not fit, and why."""
    wanted = model.state_dict()
    # torch adds the counters of BatchNorm itself: old files lack them.
    missing = [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]
    surplus = [name for name in tensors if name not in wanted]
    if missing or surplus:
        headless = (
            "It was saved without its classifier. " if not surplus and _of_classifier(model, missing) else ""
        )
        raise ModelError(
            f"checkpoint {origin} does not fit the architecture {type(model).__name__}: "
            f"{_listed('missing', missing)}{_listed('not expected', surplus)}{headless}"
            "choose the architecture with --set teacher.model=NAME"
        )
    misfits = {
        name: (tuple(tensors[name].shape), tuple(tensor.shape))
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    }
    if misfits:
        shown = [f"{name} is {came} there and {here} here" for name, (came, here) in misfits.items()]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise ModelError(
            f"checkpoint {origin} does not fit: {'; '.join(shown[:_SHOWN])}{more}. {_cause(model, misfits)}"
        )
    with torch.no_grad():
        model.load_state_dict(tensors)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"{what}: {shown}; "


def _of_classifier(model: nn.Module, names: Iterable[str]) -> bool:
    """Return whether all of these tensors belong to the network's classifier."""
    try:
        layers = classifiers_of(model)
    except ModelError:
        return False
    paths = tuple(
        f"{path}." for path, module in model.named_modules() if any(module is layer for layer in layers)
    )
    return all(name.startswith(paths) for name in names)


def _cause(model: nn.Module, misfits: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Return the likely cause of tensors (name to shape there and shape here) that do not fit."""
    causes = []
    left = dict(misfits)
    for name in [name for name in left if _of_classifier(model, [name])]:
        came, here = left.pop(name)
        if came[0] != here[0]:
            causes.append(
                f"It was trained for {came[0]} classes, and the dataset has {here[0]}; take one for these classes, or "
                "train one here."
            )
        if len(came) > 1 and came[1:] != here[1:] and not left:
            causes.append("It was trained for images of another size.")
    first = next((name for name, value in model.state_dict().items() if value.dim() == 4), "")
    if first in left:
        came, here = left.pop(first)
        if came[1:2] != here[1:2]:
            causes.append(f"It was trained on images with {came[1]} channels, and these have {here[1]}.")
        if came[2:] != here[2:] and "patch_embed" in first:
            causes.append(f"It has other patches: --set teacher.model.patch_size={came[2]}.")
        elif came[2:] != here[2:]:
            stem = "tiny or cifar" if came[2] == 3 else "imagenet"
            causes.append(f"It has another stem; of resnet18, that is --set teacher.model.stem={stem}.")
        elif came[0] != here[0]:
            causes.append("The architecture has another width: choose it with --set teacher.model=NAME.")
            left.clear()
    if left and all(name.rpartition(".")[2] in _POSITIONS for name in left):
        causes.append(
            "It was trained for another number of patches: choose the size of the images, or patch_size."
        )
    elif left:
        causes.append("The architecture is another one: choose it with --set teacher.model=NAME.")
    return " ".join(dict.fromkeys(causes))
