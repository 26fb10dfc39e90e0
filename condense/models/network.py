"""A network with its eyes open: logits, the features its classifier sees, and the inputs of its BatchNorm layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.moments import per_image_moments
from condense.observation import Moments, Observation, Roster

# By layer: the two moments of each image, and the layer's running mean and variance.
_Seen = dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def classifier_of(model: nn.Module) -> nn.Module:
    """The layer that turns features into logits: timm's own answer, or else the last Linear.

    Raises ModelError where there is none.
    """
    ask = getattr(model, "get_classifier", None)
    if callable(ask):
        answer = ask()
        if isinstance(answer, nn.Module) and not isinstance(answer, nn.Identity):
            return answer
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ModelError(f"{type(model).__name__} has no linear classifier, so its features cannot be found")
    return linears[-1]


class Network:
    """A trained or fresh network together with the taps that show what it sees of a batch.

    model: maps images (B, C, H, W), normalised, to logits (B, K). name: how users called it.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self.model = model
        self.name = name
        self._classifier = classifier_of(model)
        self._norms = {
            layer: module
            for layer, module in model.named_modules()
            if isinstance(module, _BATCH_NORMS) and module.track_running_stats
        }
        self._layer_of: Tensor | None = None

    @property
    def batch_norm_layers(self) -> tuple[str, ...]:
        """The names of the BatchNorm layers with running statistics, in the order of the network."""
        return tuple(self._norms)

    def frozen(self) -> Network:
        """Itself, in eval mode and without gradients to its weights."""
        self.model.eval().requires_grad_(False)
        return self

    def logits(self, images: Tensor) -> Tensor:
        """(B, K) float32 for images (B, C, H, W)."""
        result: Tensor = self.model(images)
        return result.float()

    def observe(self, images: Tensor, roster: Roster, *, moments: bool) -> Observation:
        """Run a batch through and keep what the components may look at. Gradients flow to `images`.

        images: (B, C, H, W), whose classes, slots and weights `roster` holds. moments: whether to tap BatchNorm.
        """
        features: list[Tensor] = []
        seen: _Seen = {}
        with self._tapped(features, seen if moments else None):
            logits = self.logits(images)
        if not features:
            raise ModelError(f"{self.name}: the classifier was not called, so there are no features to match")
        return Observation(
            images=images,
            roster=roster,
            features=features[-1].flatten(1).float(),
            logits=logits,
            moments=self._moments(seen) if moments else None,
            parameters=tuple(weight for weight in self.model.parameters() if weight.requires_grad),
        )

    def _moments(self, seen: _Seen) -> Moments | None:
        layers = tuple(layer for layer in self._norms if layer in seen)
        if not layers:
            return None
        means, seconds, centres, variances = zip(*(seen[layer] for layer in layers), strict=True)
        if self._layer_of is None or self._layer_of.device != means[0].device:
            self._layer_of = torch.block_diag(*(torch.ones(mean.shape[1], 1) for mean in means)).to(
                means[0].device
            )
        return Moments(
            mean=torch.cat(means, dim=1),
            second=torch.cat(seconds, dim=1),
            running_mean=torch.cat(centres).float(),
            running_var=torch.cat(variances).float(),
            layers=layers,
            layer_of=self._layer_of,
        )

    @contextmanager
    def _tapped(self, features: list[Tensor], seen: _Seen | None) -> Iterator[None]:
        def keep_features(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            features.append(inputs[0])

        handles = [self._classifier.register_forward_pre_hook(keep_features)]
        if seen is not None:
            for layer, norm in self._norms.items():
                handles.append(norm.register_forward_pre_hook(_moment_hook(layer, norm, seen)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _moment_hook(layer: str, norm: nn.Module, seen: _Seen) -> Any:
    def keep_moments(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        centre, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        if norm.training:
            # The layer is about to update both in place.
            centre, variance = centre.clone(), variance.clone()
        seen[layer] = (*per_image_moments(inputs[0], centre), centre, variance)

    return keep_moments
