"""Preflight: what does not take the images is named before any work, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.engine.parts import Part, parts_of
from condense.engine.plan import make_plan
from condense.engine.preflight import preflight
from condense.errors import ModelError, UnknownNameError
from condense.models.catalog import ModelRequest
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import DatasetSpec, ModelSpec, NoOptions
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
TINY = Use(name="tiny")


class Picky(nn.Module):
    """Takes images from 40 pixels on; gives another number of logits, or several outputs, if it is told to."""

    built = 0
    outputs: Any = staticmethod(lambda logits, training: logits)

    def __init__(self, options: NoOptions, request: ModelRequest) -> None:
        super().__init__()
        type(self).built += 1
        self.line = nn.Linear(request.channels, request.classes)
        self.norm = nn.BatchNorm2d(request.channels)

    def forward(self, images: Tensor) -> Any:
        if images.shape[-1] < 40:
            raise RuntimeError("too small\nwith a second line")
        return type(self).outputs(self.line(self.norm(images).mean(dim=(2, 3))), self.training)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Picky, "built", 0)


@pytest.fixture
def tiny(make_dataset: Callable[..., RealDataset]) -> RealDataset:
    return make_dataset()


@pytest.fixture
def registry(tiny: RealDataset, make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(tiny, models=[ModelSpec(name="picky", summary="takes large images", build=Picky)])


def student(name: str, **options: Any) -> Part:
    return Part(role="student", use=Use(name=name, options=options))


def test_the_message_names_network_side_and_what_to_do(tiny: RealDataset, registry: Registry) -> None:
    with pytest.raises(ModelError) as caught:
        preflight(
            [student("convnet", width=4, depth=2), student("picky")], tiny, registry, RUNTIME, chosen=TINY
        )
    assert str(caught.value) == (
        "the student 'picky' cannot look at images of 8x8 (too small). It takes 48x48, which 'tiny' does not have; "
        "choose another network with --set student.model=NAME"
    )


def test_a_dataset_of_another_size_is_advised_where_it_can_be_had(
    tiny: RealDataset, make_registry: Callable[..., Registry]
) -> None:
    from condense.data.options import FolderOptions

    spec = DatasetSpec(
        name="tiny", summary="tiny", build=lambda options, request: tiny, options=FolderOptions
    )
    registry = make_registry(
        models=[ModelSpec(name="picky", summary="takes large images", build=Picky)], datasets=[spec]
    )
    with pytest.raises(ModelError, match=r"It takes 48x48: --set dataset.size=48; or choose another network"):
        preflight([student("picky")], tiny, registry, RUNTIME, chosen=TINY)
    with pytest.raises(
        ModelError, match=r"It takes 48x48; choose another network with --set student.model=NAME$"
    ):
        preflight([student("picky")], tiny, registry, RUNTIME)


def test_networks_of_the_libraries_see_small_images(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    dataset = make_dataset(size=28)
    parts = [student("timm:vit_tiny_patch16_224"), student("timm:resnet10t"), student("resnet18")]
    preflight(parts, dataset, make_registry(dataset), RUNTIME)


@pytest.mark.parametrize(
    ("outputs", "came"),
    [
        (
            lambda logits, training: logits[:, :2],
            r"turns 2 images into \(2, 2\), and logits \(2, 3\) are needed",
        ),
        (
            lambda logits, training: (logits, logits) if training else logits,
            "'picky' turns images into a tuple and not into logits",
        ),
    ],
)
def test_outputs_that_are_not_the_logits(
    outputs: Any,
    came: str,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Picky, "outputs", staticmethod(outputs))
    dataset = make_dataset(size=48)
    registry = make_registry(dataset, models=[ModelSpec(name="picky", summary="odd", build=Picky)])
    with pytest.raises(ModelError, match=came):
        preflight([student("picky")], dataset, registry, RUNTIME)


def test_each_network_flies_once_and_draws_from_no_global_generator(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    dataset = make_dataset(size=48)
    registry = make_registry(dataset, models=[ModelSpec(name="picky", summary="odd", build=Picky)])
    before = torch.get_rng_state()
    preflight([student("picky"), student("picky"), student("picky")], dataset, registry, RUNTIME)
    assert Picky.built == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_pretrained_weights_are_not_fetched(
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import timm

    make = timm.create_model

    def create(name: str, *, pretrained: bool, **arguments: Any) -> nn.Module:
        assert not pretrained
        made: nn.Module = make(name, **arguments)
        return made

    monkeypatch.setattr(timm, "create_model", create)
    dataset = make_dataset(channels=3, size=32)
    preflight([student("timm:resnet10t", pretrained=True)], dataset, make_registry(dataset), RUNTIME)


def test_features_are_wanted_where_a_loss_looks_through_the_network(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    dataset = make_dataset(channels=3, size=32)
    registry = make_registry(dataset)
    squeezenet = Use(name="torchvision:squeezenet1_1")
    preflight([Part(role="teacher", use=squeezenet)], dataset, registry, RUNTIME)
    with pytest.raises(ModelError, match="SqueezeNet has no linear classifier"):
        preflight([Part(role="teacher", use=squeezenet, features=True)], dataset, registry, RUNTIME)


def test_the_networks_of_a_run(tiny: RealDataset, registry: Registry) -> None:
    def roles(method: str, **own: Any) -> list[tuple[str, str, bool]]:
        config = configure(registry, method=method, dataset="tiny", **own)
        return [(part.role, part.use.name, part.features) for part in parts_of(make_plan(config, registry))]

    assert roles("wmdd", students=1) == [("teacher", "convnet", True), ("student", "convnet", False)]
    assert roles("wmdd", students=0, settings=[("student.model", "picky")]) == [("teacher", "convnet", True)]
    assert roles("dm", students=1, settings=[("student.model", "picky"), ("protocol.labels", "hard")])[
        -2:
    ] == [
        ("random network", "convnet", True),
        ("student", "picky", False),
    ]
    with pytest.raises(UnknownNameError):
        preflight([student("timm:absent")], tiny, registry, RUNTIME)
