"""`condense components`: the parts methods are made of."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group
from condense_cli.registry import registry_of


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    from condense_cli.offers import COMPONENT_KINDS, line_of

    registry = registry_of(ctx)
    return [line_of(offer, kind) for kind in COMPONENT_KINDS for offer in registry.offers(kind)]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense_cli.offers import component_offers, spec_data

    return [spec_data(offer, kind) for kind, offer in component_offers(registry_of(ctx), name)]


command = listing_group(
    "components",
    summary="List the parts methods are made of; `components show NAME` prints one.",
    columns=("name", "kind", "plugin", "summary"),
    lines=_lines,
    details=_details,
)
