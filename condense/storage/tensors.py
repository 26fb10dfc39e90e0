"""Tensors as safetensors files, which run no code when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from condense.errors import StorageError, cannot_read
from condense.storage.files import check_size, write_bytes

_NONE: Mapping[str, str] = {}


def tensors_to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = _NONE) -> bytes:
    """Return tensors as a safetensors file in memory; the same tensors and metadata give the same bytes.

    Tensors may have any stride, share memory or be on a device: contiguous copies are stored.
    """
    copies = {
        name: torch.clone(tensor.detach().cpu(), memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    raw = memoryview(safetensors.torch.save(copies, metadata=dict(metadata)))
    del copies  # which may take much memory
    # safetensors writes metadata in hash map order, which differs between processes.
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(bytes(raw[8 : 8 + size]))
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, raw[8 + size :]])


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = _NONE) -> None:
    """Write tensors and metadata as a safetensors file. Raises StorageError if that fails."""
    write_bytes(path, tensors_to_bytes(tensors, metadata))


def read_tensors(path: Path, most: int | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, on the CPU, and its metadata.

    most: the maximum size of the file in bytes; None allows any.

    Raises StorageError if the file is missing, larger or broken.
    """
    check_size(path, most)
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except OSError as error:
        raise cannot_read(path, error) from error
    # Types of numbers that torch does not have are told in any of the last three ways.
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path} is not a valid safetensors file ({error}); it was cut off: delete it and run again"
        ) from error


def tensors_from_bytes(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata that `tensors_to_bytes` was given. data: exactly what it returned."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return safetensors.torch.load(data), header.get("__metadata__", {})


def tensor_of(
    tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], dtype: torch.dtype, path: Path
) -> Tensor:
    """Return one tensor of a file. Raises StorageError unless it is there with this shape and this type of numbers."""
    found = tensors.get(name)
    if found is None:
        raise StorageError(f"{path} has no tensor {name!r}; delete it and run again")
    if tuple(found.shape) != tuple(shape) or found.dtype != dtype:
        raise StorageError(
            f"{path}: {name!r} must be {tuple(shape)} {dtype}, not {tuple(found.shape)} {found.dtype}; delete the file "
            "and run again"
        )
    return found


def tensors_of_parts(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of several parts as "part/name"; `tensors_below` gives those of one part back."""
    return {f"{part}/{name}": value for part, some in parts.items() for name, value in some.items()}


def tensors_below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with "name/", without that prefix."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
