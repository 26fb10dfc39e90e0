"""How pretrained weights want their images: size, crop and normalisation, as their library says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense.data.preprocessing import Preprocessing
from condense.errors import ModelError
from condense.models.catalog import ResNetOptions, TimmOptions, ZooOptions
from condense.models.zoo import check_timm, check_torchvision, facts_of_timm, torchvision_weights
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.recipe.specs import imported


def preprocessing_of(use: Use, registry: Registry) -> Preprocessing | None:
    """Return how the pretrained weights of a network want their images, or None for a network without any.

    Raises UnknownNameError for an unknown network, and ModelError if the members of an ensemble want different ones.
    """
    spec, argument = registry.model(use.name)
    options = options_of(use, "model", registry)
    if use.name == "ensemble":
        return _of_members(options.members, pretrained=options.pretrained, registry=registry)
    if not spec.preprocessing:
        return None
    found: Preprocessing | None = imported(spec.name, spec.preprocessing)(options, argument)
    return found


def of_resnet18(options: ResNetOptions, argument: str) -> Preprocessing | None:
    """Return what torchvision's weights of ResNet-18 want."""
    return _of_torchvision("resnet18") if options.pretrained else None


def of_torchvision(options: ZooOptions, argument: str) -> Preprocessing | None:
    """Return what torchvision's weights of a network want. Raises UnknownNameError for an unknown network."""
    check_torchvision(argument)
    return _of_torchvision(argument) if options.pretrained else None


def of_timm(options: TimmOptions, argument: str) -> Preprocessing | None:
    """Return what timm's weights of a network want. Raises UnknownNameError for an unknown network."""
    check_timm(argument)
    return _of_timm(argument) if options.pretrained else None


def of_hub(options: TimmOptions, argument: str) -> Preprocessing | None:
    """Return what weights on the Hugging Face hub want."""
    return _of_timm(f"hf-hub:{argument}") if options.pretrained else None


def _of_torchvision(name: str) -> Preprocessing:
    wanted = torchvision_weights(name).transforms()
    size = int(wanted.crop_size[0])
    return Preprocessing(
        size=size,
        resize_share=wanted.resize_size[0] / size,
        mean=tuple(wanted.mean),
        std=tuple(wanted.std),
    )


def _of_timm(name: str) -> Preprocessing:
    from timm.data import resolve_data_config

    facts: Mapping[str, Any] = resolve_data_config(pretrained_cfg=dict(facts_of_timm(name)))
    return Preprocessing(
        size=int(facts["input_size"][-1]),
        resize_share=1 / facts["crop_pct"],
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )


def _of_members(members: tuple[str, ...], *, pretrained: bool, registry: Registry) -> Preprocessing | None:
    if not pretrained:
        return None
    found = {
        name: preprocessing_of(Use(name=name, options={"pretrained": True}), registry) for name in members
    }
    if len(set(found.values())) > 1:
        listed = "; ".join(f"{name}: {wanted}" for name, wanted in found.items())
        raise ModelError(
            f"the members of an ensemble see the same images, and their pretrained weights want others: {listed}"
        )
    return next(iter(found.values()))
