"""`condense models`: the networks for teachers and students."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group
from condense_cli.registry import registry_of


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    from condense_cli.offers import line_of

    return [line_of(offer, "model") for offer in registry_of(ctx).offers("model")]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense_cli.offers import offer_named, spec_data

    return [spec_data(offer_named(registry_of(ctx), "model", name.partition(":")[0]), "model")]


command = listing_group(
    "models",
    summary="List the networks; `models show NAME` prints one.",
    columns=("name", "plugin", "summary"),
    lines=_lines,
    details=_details,
)
