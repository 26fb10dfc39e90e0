"""Networks of torchvision and timm, built for the classes, channels and size of a dataset's images."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from condense.errors import ModelError, OptionError, UnknownNameError
from condense.models.catalog import ModelRequest, ResNetOptions, TimmOptions, ZooOptions
from condense.models.network import classifiers_of

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# The side length that torchvision's ViTs are built for.
_PUBLISHED_SIDE = 224
# torchvision's networks that have further classifiers for training.
_WITH_AUXILIARY = ("googlenet", "inception_v3")
# What timm puts before the name of a network that is not its own: on the Hugging Face hub, or in a folder.
ELSEWHERE = ("hf-hub", "local-dir")
# A ViT for small images sees at least this many patches side by side, as the published ones with large patches do.
_FEWEST_PATCHES = 7


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
        stride, padding = {"tiny": (2, 3), "cifar": (1, 1)}[stem]
        model.conv1 = nn.Conv2d(
            request.channels, 64, kernel_size=3, stride=stride, padding=padding, bias=False
        )
        model.maxpool = nn.Identity()
    elif request.channels != 3:
        model.conv1 = nn.Conv2d(request.channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return cast("nn.Module", model)


def build_torchvision(options: ZooOptions, request: ModelRequest) -> nn.Module:
    """Return a classifier of torchvision by its name, e.g. "torchvision:mobilenet_v3_small".

    Raises UnknownNameError if there is none, and ModelError if weights cannot be fetched or the network cannot be
    built for the images.
    """
    return _torchvision(request.argument, request, pretrained=options.pretrained)


def build_timm(options: TimmOptions, request: ModelRequest) -> nn.Module:
    """Return a classifier of timm by its name, e.g. "timm:convnext_atto" or "timm:hf-hub:OWNER/NAME".

    "timm:local-dir:PATH" is one in a folder with config.json and model.safetensors. A network that is made for
    images of one size is built for the size of these images.

    Raises UnknownNameError if there is none, and ModelError if weights cannot be fetched or the network cannot be
    built for the images.
    """
    import timm

    name, small = request.argument, _for_size(request.argument, options, request)
    arguments = {"num_classes": request.classes, "in_chans": request.channels, **small}
    try:
        return cast("nn.Module", timm.create_model(name, pretrained=options.pretrained, **arguments))
    except TypeError as error:
        raise _not_adapted(name, small, error) from error
    except Exception as error:  # timm, huggingface_hub and what they fetch with raise many kinds
        if options.pretrained or _elsewhere(name):
            raise _not_fetched(f"timm:{name}", _where_timm_has(name), error) from error
        raise ModelError(
            f"timm:{name} cannot be built for images of {request.size}x{request.size} ({_line(error)}); "
            "choose another network"
        ) from error


def build_hub(options: TimmOptions, request: ModelRequest) -> nn.Module:
    """Return a classifier of timm on the Hugging Face hub, "hf-hub:OWNER/NAME", as `build_timm` does."""
    named = ModelRequest(
        argument=f"hf-hub:{request.argument}",
        classes=request.classes,
        channels=request.channels,
        size=request.size,
    )
    return build_timm(options, named)


def torchvision_weights(name: str) -> WeightsEnum:
    """Return the first weights that torchvision published for a network: those of the field's papers.

    Later ones, which torchvision calls DEFAULT, come from longer trainings. They differ for mobilenet_v2, one of
    G-VBSM's teachers, and for resnet50.
    """
    from torchvision import models

    return cast("WeightsEnum", next(iter(models.get_model_weights(name))))


def _torchvision(name: str, request: ModelRequest, *, pretrained: bool) -> nn.Module:
    from torchvision import models

    check_torchvision(name)
    more: dict[str, Any] = {"aux_logits": False} if name in _WITH_AUXILIARY else {}
    if pretrained:
        try:
            model = models.get_model(name, weights=torchvision_weights(name), **more)
        except (OSError, RuntimeError) as error:
            raise _not_fetched(f"torchvision:{name}", _where_torchvision_has(name), error) from error
        if request.classes != 1000:
            _replace_classifier(model, request.classes)
    else:
        more |= {"init_weights": True} if more else {}
        if name.startswith("vit_") and request.size != _PUBLISHED_SIDE:
            more["image_size"] = request.size
        try:
            model = models.get_model(name, weights=None, num_classes=request.classes, **more)
        except AssertionError as error:
            raise ModelError(
                f"torchvision:{name} cannot be built for images of {request.size}x{request.size}: {error} Choose "
                "another network; timm's ViTs take patches of any size"
            ) from error
    if request.channels != 3:
        _replace_stem(model, request.channels, pretrained=pretrained)
    return cast("nn.Module", model)


def _replace_stem(model: nn.Module, channels: int, *, pretrained: bool) -> None:
    """Make the first convolution of a network for colour images take this number of channels.

    Pretrained filters are summed over the colours, as in timm: they then see a grey image in colour.
    """
    path, old = next(found for found in model.named_modules() if isinstance(found[1], nn.Conv2d))
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        kernel_size=cast("tuple[int, int]", old.kernel_size),
        stride=cast("tuple[int, int]", old.stride),
        padding=cast("tuple[int, int]", old.padding),
        bias=old.bias is not None,
    )
    if pretrained:
        with torch.no_grad():
            new.weight.copy_(old.weight.sum(dim=1, keepdim=True) / channels)
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    if getattr(model, "transform_input", False):
        raise ModelError(
            f"the pretrained {type(model).__name__} takes colour images alone; choose another network"
        )
    _put(model, path, new)


def check_torchvision(name: str) -> None:
    """Raise UnknownNameError if torchvision has no classifier of that name."""
    from torchvision import models

    valid = models.list_models(module=models)
    if name not in valid:
        raise _unknown("torchvision", name, valid)


def check_timm(name: str) -> None:
    """Raise UnknownNameError if timm has no network of that name, or no weights of that tag."""
    import timm

    if _elsewhere(name):
        return
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    architecture, _, tag = name.partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = f"its tags are {', '.join(tags)}" if tags else "there are none of this network"
        raise UnknownNameError(f"timm:{architecture} has no weights with the tag {tag!r}; {known}")


def _elsewhere(name: str) -> bool:
    return name.partition(":")[0] in ELSEWHERE


def _for_size(name: str, options: TimmOptions, request: ModelRequest) -> dict[str, int]:
    """Return timm's arguments that fit a network to the size of the images; none if it fits as it is."""
    check_timm(name)
    side, patch = request.size, options.patch_size
    facts = facts_of_timm(name)
    published = int(facts["input_size"][-1]) if facts.get("fixed_input_size") else side
    found = {"img_size": side} if published != side else {}
    if patch and side % patch:
        raise ModelError(f"images of {side}x{side} cannot be cut into patches of patch_size={patch}")
    if patch:
        return {**found, "patch_size": patch}
    usual = _usual_patch(name) if found else None
    if usual is None:
        return found
    if not options.pretrained and (side % usual or side // usual < _FEWEST_PATCHES):
        fitting = [
            size for size in range(1, usual + 1) if side % size == 0 and side // size >= _FEWEST_PATCHES
        ]
        if _takes_patch_size(name):
            return {**found, "patch_size": max(fitting, default=1)}
    if side % usual:
        raise ModelError(
            f"timm:{name} cuts images into patches of {usual}x{usual}, and images of {side}x{side} are not a multiple "
            "of that; choose another size of the images, or another network"
        )
    return found


@functools.cache
def facts_of_timm(name: str) -> Mapping[str, Any]:
    """Return what timm knows about the pretrained weights of a network: size of images, normalisation, origin."""
    import timm

    if _elsewhere(name):
        found: Mapping[str, Any] = _untrained(name).pretrained_cfg
        return found
    settings = timm.get_pretrained_cfg(name)
    return {} if settings is None else settings.to_dict()


@functools.cache
def _usual_patch(name: str) -> int | None:
    """Return the side length of the patches that a network of timm is published with, or None if it has none."""
    from timm.layers import PatchEmbed

    cut = next((part for part in _untrained(name).modules() if isinstance(part, PatchEmbed)), None)
    return None if cut is None else int(cut.patch_size[0])


@functools.cache
def _takes_patch_size(name: str) -> bool:
    """Return whether the size of the patches of a network of timm can be set."""
    try:
        _untrained(name, patch_size=8)
    except TypeError:
        return False
    return True


def _untrained(name: str, **arguments: Any) -> Any:
    """Return a network of timm with its published sizes. The global generator is left as it was."""
    import timm

    with torch.random.fork_rng(devices=[]):
        try:
            return timm.create_model(name, pretrained=False, **arguments)
        except TypeError:
            raise
        except Exception as error:  # timm, huggingface_hub and what they fetch with raise many kinds
            raise ModelError(
                f"timm:{name} could not be built ({_line(error)}). {_where_timm_has(name)}"
            ) from error


def _not_adapted(name: str, arguments: dict[str, int], error: TypeError) -> Exception:
    """Return the error for a network of timm that does not take the arguments which fit it to the images."""
    if "patch_size" in arguments:
        return OptionError(f"the patches of timm:{name} have one size; leave patch_size out ({error})")
    made_for = facts_of_timm(name)["input_size"][-1]
    return ModelError(
        f"timm:{name} is made for images of {made_for}x{made_for} and takes no other size; choose another network"
    )


def _replace_classifier(model: nn.Module, classes: int) -> None:
    (old,) = classifiers_of(model)
    assert isinstance(old, nn.Linear)
    path = next(name for name, module in model.named_modules() if module is old)
    _put(model, path, nn.Linear(old.in_features, classes))


def _put(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)


def _unknown(library: str, name: str, valid: Sequence[str]) -> UnknownNameError:
    """Return the error for an unknown network of a library. It has several hundred, too many for a message."""
    begins = [other for other in valid if name and other.startswith(name)]
    alike = [
        *begins,
        *(other for other in difflib.get_close_matches(name, valid, n=12) if other not in begins),
    ]
    guess = f" Did you mean {alike[0]!r}?" if alike else ""
    shown = alike[:12] or valid[:12]
    return UnknownNameError(
        f"unknown {library} model {name!r}.{guess} There are {len(valid)}, {'alike' if alike else 'such as'}: "
        f"{', '.join(shown)}"
    )


def _where_timm_has(name: str) -> str:
    """Return where the weights of a network of timm lie, and how to use them without a network connection."""
    kind, _, page = name.partition(":")
    if kind == "local-dir":
        return f"{page} needs config.json and model.safetensors, as a page of timm's networks on the hub has them"
    if kind != "hf-hub":
        facts = facts_of_timm(name)
        page = facts.get("hf_hub_id", "")
        if not page:
            return (
                f"They are at {facts['url']}" if facts.get("url") else "timm has no weights of this network"
            )
    return (
        f"Put config.json and model.safetensors of https://huggingface.co/{page} into a folder and write "
        "timm:local-dir:FOLDER"
    )


def _where_torchvision_has(name: str) -> str:
    address = torchvision_weights(name).url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return f"Put {address} into {folder}"


def _not_fetched(name: str, where: str, error: Exception) -> ModelError:
    return ModelError(
        f"the weights of {name} could not be fetched ({_line(error)}). {where}; or give weights for these classes "
        "with --teacher FILE, or start from random weights with --set teacher.model.pretrained=false"
    )


def _line(error: Exception) -> str:
    """Return the text of an error of a library on one line of limited length."""
    return " ".join(str(error).split())[:200] or type(error).__name__
