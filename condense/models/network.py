"""A network that shows its logits, the features that its classifier gets, and the inputs of its layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.models.ensemble import Ensemble
from condense.models.observation import BatchLabels, Observation
from condense.models.taps import Summary, Tap, channels_of_input, norm_input, patches_of_input
from condense.recipe.needs import Statistic

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


# torchvision's names of the part of a network that ends in its classifier.
_HEADS = ("fc", "classifier", "head", "heads")


def classifiers_of(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the layers that turn features into logits. There is one, or several whose logits are averaged.

    timm's `get_classifier()` names them. For other networks it is the last Linear of the part that torchvision
    calls `fc`, `classifier`, `head` or `heads`, or else the last Linear of all.

    Raises ModelError if there is none.
    """
    ask = getattr(model, "get_classifier", None)
    answer = ask() if callable(ask) else ()
    named = answer if isinstance(answer, (tuple, list, nn.ModuleList)) else (answer,)
    layers = tuple(
        layer for layer in named if isinstance(layer, nn.Module) and not isinstance(layer, nn.Identity)
    )
    if layers:
        return layers
    parts = [part for name, part in model.named_children() if name in _HEADS]
    for part in (*parts[-1:], model):
        linears = [module for module in part.modules() if isinstance(module, nn.Linear)]
        if linears:
            return (linears[-1],)
    raise ModelError(
        f"{type(model).__name__} has no linear classifier, so its features cannot be found; choose another network"
    )


class Seen(NamedTuple):
    """The tensors of one pass: logits (B, K) and features (B, D), both float32, and the summaries of layers by name."""

    logits: Tensor
    features: Tensor
    norms: dict[str, Summary]
    channels: dict[str, Summary]
    patches: dict[str, Summary]


class Network:
    """A network, trained or new, together with the taps that read the inputs of its layers.

    model: maps normalised images (B, C, H, W) to logits (B, K).
    name: the name that users typed.
    member: the index of the network in its ensemble; 0 outside an ensemble.
    """

    def __init__(self, model: nn.Module, name: str, *, member: int = 0) -> None:
        self.model = model
        self.name = name
        self.member = member
        self.compiled: Network | None = None  # made by `condense.models.compiled`
        self._parts: tuple[Network, ...] = ()
        if isinstance(model, Ensemble):
            parts = enumerate(zip(model.members, model.names, strict=True))
            self._parts = tuple(Network(part, called, member=index) for index, (part, called) in parts)
        norms, convolutions = {}, {}
        for layer, module in model.named_modules():
            if isinstance(module, _BATCH_NORMS) and module.track_running_stats:
                norms[layer] = module
            elif isinstance(module, nn.Conv2d):
                convolutions[layer] = module
        self._norms = Tap(norms, norm_input)
        self._channels = Tap(convolutions, channels_of_input)
        self._patches = Tap(convolutions, patches_of_input)

    @property
    def members(self) -> tuple[Network, ...]:
        """The networks of an ensemble; for any other network, the network itself."""
        return self._parts or (self,)

    def layers_of(self, statistic: Statistic) -> tuple[str, ...]:
        """Return the names of the layers whose inputs a statistic reads, in network order.

        These are the BatchNorm layers with running statistics, or the two-dimensional convolutions.
        """
        return tuple((self._norms if statistic == "batchnorm" else self._channels).layers)

    def frozen(self) -> Network:
        """Return the network itself, in eval mode and without gradients for its weights."""
        self.model.eval().requires_grad_(False)
        return self

    def logits(self, images: Tensor) -> Tensor:
        """Return logits (B, K) float32 for images (B, C, H, W). Raises ModelError for a network with other outputs."""
        result = self._forward(images)
        if not isinstance(result, Tensor):
            raise ModelError(
                f"{self.name!r} turns images into a {type(result).__name__} and not into logits; choose another network"
            )
        return result.float()

    def begin_step(self) -> None:
        """Say that a step of optimization begins: tensors that earlier passes returned are not read again."""

    def _forward(self, images: Tensor) -> object:
        return self.model(images)

    def observe(
        self, images: Tensor, batch: BatchLabels, statistics: Collection[Statistic] = ()
    ) -> Observation:
        """Run a batch through the network and return what losses may use. Gradients flow to `images`.

        images: (B, C, H, W), normalised.
        batch: the labels, slots and weights of the images.
        statistics: the layers whose inputs are read.

        The features of an ensemble are the features of its members, concatenated; so are those of a network
        with several classifiers.

        Raises ModelError for statistics of an ensemble (ask its members), and for a network without features.
        """
        if len(self.members) > 1 and statistics:
            raise ModelError(
                f"{self.name!r} is {len(self.members)} networks, whose layers can be seen through one at a time only; "
                "choose another network"
            )
        seen = self._seen(images, statistics)
        return Observation(
            images=images,
            batch=batch,
            features=seen.features,
            logits=seen.logits,
            moments=self._norms.moments(seen.norms),
            convolutions=self._channels.moments(seen.channels),
            patches=self._patches.moments(seen.patches),
            parameters=tuple(weight for weight in self.model.parameters() if weight.requires_grad),
            member=self.member,
        )

    def _seen(self, images: Tensor, statistics: Collection[Statistic]) -> Seen:
        with self.watched(statistics, images.shape[-1]) as look:
            return look(images)

    @contextmanager
    def watched(self, statistics: Collection[Statistic], size: int) -> Iterator[Callable[[Tensor], Seen]]:
        """Yield a function that runs images (B, C, size, size) through the network and returns what is seen of them.

        Hooks are on the layers inside the block, and the function works there only.
        """
        moments, convolutions = "batchnorm" in statistics, "convolutions" in statistics
        with ExitStack() as taps:
            kept = [
                inputs
                for member in self.members
                for inputs in taps.enter_context(member._classifier_inputs())
            ]
            norms = taps.enter_context(self._norms.opened(size)) if moments else {}
            channels = taps.enter_context(self._channels.opened(size)) if convolutions else {}
            patches = taps.enter_context(self._patches.opened(size)) if convolutions else {}
            collected: list[list[Tensor] | dict[str, Summary]] = [*kept, norms, channels, patches]

            def look(images: Tensor) -> Seen:
                logits = self.logits(images)
                if not all(kept):
                    raise ModelError(
                        f"{self.name}: the classifier was not called, so there are no features to match"
                    )
                features = _side_by_side([inputs[-1].flatten(1).float() for inputs in kept])
                seen = Seen(logits, features, dict(norms), dict(channels), dict(patches))
                for tensors in collected:
                    tensors.clear()
                return seen

            yield look

    @contextmanager
    def _classifier_inputs(self) -> Iterator[list[list[Tensor]]]:
        """Yield a list for each classifier. It collects the inputs of that classifier inside the block."""
        layers = classifiers_of(self.model)
        inputs: list[list[Tensor]] = [[] for _ in layers]

        def keep(index: int, _module: nn.Module, given: tuple[Any, ...]) -> None:
            inputs[index].append(given[0])

        handles = [
            layer.register_forward_pre_hook(functools.partial(keep, index))
            for index, layer in enumerate(layers)
        ]
        try:
            yield inputs
        finally:
            for handle in handles:
                handle.remove()


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """Return tensors (B, d) concatenated to (B, D). A single tensor is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
