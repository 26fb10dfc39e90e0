"""The networks that come with condense. Imports no torch."""

from __future__ import annotations

from condense.models.options import ConvNetOptions, EnsembleOptions, ResNetOptions, ZooOptions
from condense.specs import ModelSpec

MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="convnet",
        summary="ConvNet of the condensation literature, for small images",
        source="Gidaris & Komodakis, CVPR 2018; Zhao et al., ICLR 2021, arXiv 2006.05929",
        options=ConvNetOptions,
        build="condense.models.convnet:build_convnet",
    ),
    ModelSpec(
        name="resnet18",
        summary="ResNet-18 with a stem that fits the size of the images",
        source="He et al., CVPR 2016, arXiv 1512.03385",
        options=ResNetOptions,
        build="condense.models.zoo:build_resnet18",
    ),
    ModelSpec(
        name="torchvision",
        summary="any classifier of torchvision by its name",
        source="https://pytorch.org/vision",
        options=ZooOptions,
        build="condense.models.zoo:build_torchvision",
        takes="NAME",
    ),
    ModelSpec(
        name="timm",
        summary="any classifier of timm by its name",
        source="https://huggingface.co/docs/timm",
        options=ZooOptions,
        build="condense.models.zoo:build_timm",
        takes="NAME",
    ),
    ModelSpec(
        name="ensemble",
        summary="several networks as one: trained apart, their logits averaged",
        options=EnsembleOptions,
        build="condense.models.ensemble:build_ensemble",
    ),
)
