"""Several networks as one: trained apart, asked together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.models.catalog import EnsembleOptions, ModelRequest
from condense.recipe.method import Use


class Ensemble(nn.Module):
    """Networks side by side. Its logits are the mean of theirs.

    names: what users call each member. members: the networks, each from images (B, C, H, W) to logits (B, K).
    """

    def __init__(self, names: Sequence[str], members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32."""
        return torch.stack([member(images).float() for member in self.members]).mean(dim=0)


def build_ensemble(options: EnsembleOptions, request: ModelRequest) -> nn.Module:
    """A fresh ensemble. Raises ModelError where the request gives no way to build the members."""
    if request.build is None:
        raise ModelError("an ensemble builds its members through ModelRequest.build, and there is none")
    chosen = {"pretrained": True} if options.pretrained else {}
    return Ensemble(
        options.members, [request.build(Use(name=name, options=chosen)) for name in options.members]
    )
