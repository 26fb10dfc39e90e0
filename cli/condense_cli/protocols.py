"""`condense protocols`: the ways of training students."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group
from condense_cli.registry import registry_of


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    from condense_cli.offers import line_of

    return [line_of(offer, "protocol") for offer in registry_of(ctx).offers("protocol")]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense_cli.offers import offer_named, protocol_data

    registry = registry_of(ctx)
    return [protocol_data(offer_named(registry, "protocol", name), registry)]


command = listing_group(
    "protocols",
    summary="List the evaluation protocols; `protocols show NAME` prints one.",
    columns=("name", "plugin", "summary"),
    lines=_lines,
    details=_details,
)
