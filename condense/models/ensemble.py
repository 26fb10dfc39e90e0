"""Ensembles: several networks that are trained apart and used as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.models.catalog import EnsembleOptions, ModelRequest
from condense.recipe.method import Use


class Ensemble(nn.Module):
    """An ensemble of networks. Its logits are the mean of the logits of its members.

    names: the name of each member, as users type it.
    members: the networks; each maps images (B, C, H, W) to logits (B, K).
    """

    def __init__(self, names: Sequence[str], members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) float32."""
        return torch.stack([member(images).float() for member in self.members]).mean(dim=0)


def build_ensemble(options: EnsembleOptions, request: ModelRequest) -> nn.Module:
    """Return a new ensemble. Raises ModelError if the request has no `build` for the members."""
    if request.build is None:
        raise ModelError("an ensemble builds its members through ModelRequest.build, and there is none")
    chosen = {"pretrained": True} if options.pretrained else {}
    return Ensemble(
        options.members, [request.build(Use(name=name, options=chosen)) for name in options.members]
    )
