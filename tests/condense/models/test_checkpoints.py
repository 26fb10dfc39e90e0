"""Filling networks from files of weights: usual wrappings, and what does not fit."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.errors import ModelError
from condense.models.build import build_network
from condense.models.catalog import MODELS
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import Offer, Registry
from condense.rng import generator
from condense.runtime import make_runtime

KINDS = ("model",)
REGISTRY = Registry({"model": {spec.name: Offer("condense", spec) for spec in MODELS}}, (), {})
RUNTIME = make_runtime("cpu", "fp32")


def dataset(size: int = 16, classes: int = 3, channels: int = 1) -> RealDataset:
    labels = torch.arange(classes)
    split = Split(MemoryImages(torch.zeros(classes, channels, size, size, dtype=torch.uint8)), labels)
    return RealDataset(
        name="toy",
        classes=tuple("abcdefgh"[:classes]),
        train=split,
        test=split,
        size=size,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def convnet(classes: int = 3, seed: int = 0, channels: int = 1, **options: Any) -> Network:
    use = Use(name="convnet", options={"width": 4, "depth": 2, **options})
    return build_network(use, dataset(classes=classes, channels=channels), REGISTRY, RUNTIME, generator(seed))


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Checkpoints that fit.


def as_safetensors(state: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in state.items()}


def as_torch(content: object, path: Path) -> Path:
    torch.save(content, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": prefixed(state, "module.")},
        lambda state: prefixed(state, "_orig_mod."),
        lambda state: prefixed(state, "module._orig_mod."),
        lambda state: prefixed(state, "_orig_mod.module."),
        lambda state: {"state_dict": prefixed(state, "model."), "pytorch-lightning_version": "2"},
        lambda state: {
            name.replace("features.", "features._orig_mod."): value for name, value in state.items()
        },
        lambda state: {"state_dict": zeros(state), "state_dict_ema": state},
        lambda state: {
            "model": zeros(state),
            "model_ema": {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
        },
        lambda state: {"ema": {"state_dict": state}, "model": zeros(state)},
        lambda state: {"state_dict": state, "state_dict_ema": None, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"model": state, "best": np.float64(0.5), "seen": np.float32(2)},
        lambda state: {name: value for name, value in state.items() if "num_batches_tracked" not in name},
        lambda state: {**state, "aux1.fc.weight": torch.zeros(2, 2), "AuxLogits.fc.bias": torch.zeros(2)},
    ],
    ids=[
        *("bare", "state_dict", "model", "model_state_dict", "parallel", "parallel below state_dict"),
        *("compiled", "parallel and compiled", "compiled and parallel", "lightning", "compiled inside"),
        *(
            "timm's average",
            "torchvision's average",
            "average below ema",
            "with arguments",
            "with numbers of numpy",
        ),
        *("without counters", "with classifiers for training"),
    ],
)
def test_a_state_dict_saved_by_torch(wrap: Any, tmp_path: Path) -> None:
    wanted, network = weights_of(convnet(seed=1)), convnet(seed=0)
    load_checkpoint(network, as_torch(wrap(wanted), tmp_path / "weights"))
    assert same(weights_of(network), wanted)


def test_a_safetensors_file(tmp_path: Path) -> None:
    wanted, network = weights_of(convnet(seed=1)), convnet(seed=0)
    load_checkpoint(network, as_safetensors(wanted, tmp_path / "weights"))
    assert same(weights_of(network), wanted)


# Checkpoints that do not.


def refused(network: Network, path: Path, message: str) -> None:
    before = weights_of(network)
    with pytest.raises(ModelError, match=message):
        load_checkpoint(network, path)
    assert same(weights_of(network), before)


@pytest.mark.parametrize("save", [as_safetensors, as_torch])
def test_what_does_not_fit_is_named(save: Any, tmp_path: Path) -> None:
    path = save(weights_of(convnet()), tmp_path / "weights")
    refused(convnet(width=8), path, r"features.0.weight is \(4, 1, 3, 3\) there and \(8, 1, 3, 3\) here")
    refused(
        convnet(classes=5), path, "It was trained for 3 classes, and the dataset has 5; take one for these"
    )
    refused(convnet(channels=3), path, "It was trained on images with 1 channels, and these have 3")
    refused(
        convnet(depth=3), path, "architecture ConvNet: missing: features.8.weight.*--set teacher.model=NAME"
    )
    refused(convnet(norm="none"), path, "architecture ConvNet: not expected: features.1")
    use = Use(name="resnet18")
    resnet = build_network(use, dataset(), REGISTRY, RUNTIME, generator(0))
    refused(
        resnet,
        path,
        r"architecture ResNet: missing: conv1.weight, bn1.weight, bn1.bias and \d+ more; not expected: ",
    )


def timm_network(name: str, size: int, **options: Any) -> Network:
    use = Use(name=f"timm:{name}", options=options)
    return build_network(use, dataset(size=size, channels=3), REGISTRY, RUNTIME, generator(0))


def test_the_likely_cause_is_named(tmp_path: Path) -> None:
    def build(use: Use, size: int) -> Network:
        return build_network(use, dataset(size=size, channels=3), REGISTRY, RUNTIME, generator(0))

    large = as_torch(weights_of(build(Use(name="resnet18"), 128)), tmp_path / "large")
    cause = r"conv1.weight is \(64, 3, 7, 7\) there and \(64, 3, 3, 3\) here. It has another stem; .*stem=imagenet"
    refused(build(Use(name="resnet18"), 32), large, cause)
    vit = as_torch(weights_of(timm_network("vit_tiny_patch16_224", 64, patch_size=16)), tmp_path / "vit")
    refused(
        timm_network("vit_tiny_patch16_224", 64),
        vit,
        "It has other patches: --set teacher.model.patch_size=16",
    )
    moved = timm_network("vit_tiny_patch16_224", 96, patch_size=16)
    refused(moved, vit, "It was trained for another number of patches")
    state = weights_of(convnet())
    headless = {name: value for name, value in state.items() if not name.startswith("classifier.")}
    refused(convnet(), as_torch(headless, tmp_path / "headless"), "It was saved without its classifier")


def test_a_whole_network_is_not_loaded(tmp_path: Path) -> None:
    path = as_torch(nn.Linear(2, 2), tmp_path / "whole")
    wanted = r"it holds torch.nn.modules.linear.Linear, and code in files is not run; save the weights alone"
    refused(convnet(), path, wanted)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_not_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"absent{suffix}"
    refused(convnet(), path, f"there is no checkpoint {path}; --teacher takes a .safetensors file")
    refused(convnet(), tmp_path, "there is no checkpoint")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"junk", b"<html>not found</html>", b"\x80\x02.", b"PK\x03\x04half a zip"]
)
def test_a_file_that_is_no_checkpoint(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refused(convnet(), path, f"checkpoint {path} cannot be read: ")


@given(st.binary(max_size=40))
@example(b"\x80\x02e")
@example(b"\x80\x02J.")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_junk_gets_past_as_another_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    network = Network(nn.Linear(2, 2), "tiny")
    with pytest.raises(ModelError):
        load_checkpoint(network, path)


@pytest.mark.parametrize("content", [[1, 2], 3, {"epoch": 3}, {"state_dict": {"lr": 0.1}}])
def test_a_file_that_holds_no_weights(content: object, tmp_path: Path) -> None:
    refused(convnet(), as_torch(content, tmp_path / "weights"), "holds no state dict")


class Malicious:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(writer: str, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    path = tmp_path / "weights.pt"
    content = {"state_dict": weights_of(convnet()), "extra": Malicious(target)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"extra": Malicious(target)}))
    refused(convnet(), path, "cannot be read")
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists(), "the file was harmless, so this test showed nothing"
