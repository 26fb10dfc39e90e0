"""Networks of torchvision and timm."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from condense.errors import CondenseError, ModelError, unknown_name
from condense.models.catalog import ModelRequest, ResNetOptions, ZooOptions


def build_resnet18(options: ResNetOptions, request: ModelRequest) -> nn.Module:
    """Return torchvision's ResNet-18 (He et al., CVPR 2016) with a stem that fits the size of the images.

    Raises ModelError if pretrained weights cannot be fetched or do not take the images.
    """
    from torchvision.models import resnet18

    stem = options.stem
    if stem == "auto":
        stem = "imagenet" if request.size >= 128 else "tiny" if request.size >= 48 else "cifar"
    if options.pretrained:
        return _torchvision("resnet18", request, pretrained=True)
    model = resnet18(weights=None, num_classes=request.classes)
    if stem != "imagenet":
        stride = 2 if stem == "tiny" else 1
        model.conv1 = nn.Conv2d(request.channels, 64, kernel_size=3, stride=stride, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif request.channels != 3:
        model.conv1 = nn.Conv2d(request.channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return cast("nn.Module", model)


def build_torchvision(options: ZooOptions, request: ModelRequest) -> nn.Module:
    """Return a classifier of torchvision by its name, e.g. "torchvision:mobilenet_v3_small".

    Raises UnknownNameError if there is none, and ModelError if the images have no colour or weights cannot be
    fetched.
    """
    return _torchvision(request.argument, request, pretrained=options.pretrained)


def build_timm(options: ZooOptions, request: ModelRequest) -> nn.Module:
    """Return a classifier of timm by its name, e.g. "timm:convnext_atto".

    Raises UnknownNameError if there is none, and ModelError if weights cannot be fetched.
    """
    import timm

    if not timm.is_model(request.argument):
        raise unknown_name("timm model", request.argument, _near(request.argument, timm.list_models()))
    try:
        model = timm.create_model(
            request.argument,
            pretrained=options.pretrained,
            num_classes=request.classes,
            in_chans=request.channels,
        )
    except (OSError, RuntimeError) as error:
        raise _not_fetched(f"timm:{request.argument}", error) from error
    return cast("nn.Module", model)


def _torchvision(name: str, request: ModelRequest, *, pretrained: bool) -> nn.Module:
    from torchvision import models

    valid = models.list_models(module=models)
    if name not in valid:
        raise unknown_name("torchvision model", name, _near(name, valid))
    if request.channels != 3:
        raise ModelError(f"torchvision:{name} takes colour images, and these have {request.channels} channel")
    if not pretrained:
        return cast("nn.Module", models.get_model(name, weights=None, num_classes=request.classes))
    try:
        model = models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise _not_fetched(f"torchvision:{name}", error) from error
    if request.classes != 1000:
        _replace_classifier(model, request.classes)
    return cast("nn.Module", model)


def _replace_classifier(model: nn.Module, classes: int) -> None:
    from condense.models.network import classifier_of

    old = classifier_of(model)
    assert isinstance(old, nn.Linear)
    path = next(name for name, module in model.named_modules() if module is old)
    parent_path, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent_path), leaf, nn.Linear(old.in_features, classes))


def _near(name: str, valid: list[str]) -> list[str]:
    """Return up to 30 names that begin like `name`, or else the first 30.

    A zoo has several hundred names, too many for an error message.
    """
    alike = [other for other in valid if other.startswith(name[:4])]
    return (alike or valid)[:30]


def _not_fetched(name: str, error: Exception) -> CondenseError:
    return ModelError(
        f"the pretrained weights of {name} could not be fetched ({error}). Give weights of your own with "
        "--teacher FILE, or train them here with --set teacher.model.pretrained=false"
    )


def load_weights(model: nn.Module, tensors: dict[str, Any], origin: str) -> None:
    """Fill a network from a checkpoint. Raises ModelError that says which names or shapes do not fit."""
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    if missing or surplus:
        raise ModelError(
            f"checkpoint {origin} does not fit the architecture {type(model).__name__}: "
            f"{_listed('missing', missing)}{_listed('not expected', surplus)}"
            "choose the architecture with --set teacher.model=NAME"
        )
    for name, tensor in wanted.items():
        came = tuple(tensors[name].shape)
        if came != tuple(tensor.shape):
            raise ModelError(
                f"checkpoint {origin} does not fit: {name} is {came} there and {tuple(tensor.shape)} here. "
                "A different number of classes, channels or image size, or another width of the architecture?"
            )
    with torch.no_grad():
        model.load_state_dict(tensors)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{what}: {shown}; "
