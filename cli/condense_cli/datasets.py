"""`condense datasets`: the real images there are to condense."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group
from condense_cli.registry import registry_of


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    from condense_cli.offers import line_of

    return [line_of(offer, "dataset") for offer in registry_of(ctx).offers("dataset")]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense_cli.offers import offer_named, spec_data

    return [spec_data(offer_named(registry_of(ctx), "dataset", name.partition(":")[0]), "dataset")]


command = listing_group(
    "datasets",
    summary="List the datasets; `datasets show NAME` prints one.",
    columns=("name", "plugin", "summary"),
    lines=_lines,
    details=_details,
)
