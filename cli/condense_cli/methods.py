"""`condense methods`: the recipes there are."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group
from condense_cli.registry import registry_of


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    from condense_cli.offers import line_of

    return [line_of(offer, "method") for offer in registry_of(ctx).offers("method")]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense_cli.offers import method_data, offer_named

    registry = registry_of(ctx)
    return [method_data(offer_named(registry, "method", name), registry)]


command = listing_group(
    "methods",
    summary="List the methods; `methods show NAME` prints one.",
    columns=("name", "plugin", "summary"),
    lines=_lines,
    details=_details,
)
