"""Tensors come back as they were, from files that are the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from condense.errors import StorageError
from condense.storage.tensors import read_tensors, tensors_from_bytes, tensors_to_bytes, write_tensors


def test_tensors_of_any_layout_come_back(tmp_path: Path) -> None:
    base = torch.arange(48.0).view(2, 3, 2, 4)
    tensors = {
        "channels last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 3),
        "shared": base,
        "part": base[0],
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    write_tensors(tmp_path / "t.safetensors", tensors, {"ünï": '"quoted"\n'})
    found, metadata = read_tensors(tmp_path / "t.safetensors")
    assert metadata == {"ünï": '"quoted"\n'}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0)
    in_memory, told = tensors_from_bytes(tensors_to_bytes(tensors, metadata))
    assert told == metadata and in_memory.keys() == found.keys()
    assert all(torch.equal(in_memory[name], found[name]) for name in found)
    write_tensors(tmp_path / "bare.safetensors", {"x": base})
    assert read_tensors(tmp_path / "bare.safetensors")[1] == {}


def test_tensor_files_are_the_same_in_every_process() -> None:
    # safetensors itself orders metadata by a hash with a random seed per process.
    what = "{name: torch.ones(2) for name in 'cab'}, {name: name for name in 'zyxwvuts'}"
    write = f"sys.stdout.buffer.write(tensors.tensors_to_bytes({what}))"
    code = f"import sys, torch; from condense.storage import tensors; {write}"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    tensors, metadata = {name: torch.ones(2) for name in "cab"}, {name: name for name in "zyxwvuts"}
    assert tensors_to_bytes(tensors, metadata) == other
    header = other[8 : 8 + int.from_bytes(other[:8], "little")]
    assert list(json.loads(header)["__metadata__"]) == sorted("zyxwvuts")
    assert len(header) % 8 == 0


def test_tensors_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(StorageError, match="there is no file"):
        read_tensors(path)
    write_tensors(path, {"x": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StorageError, match=r"t\.safetensors is not a valid safetensors file"):
        read_tensors(path)
