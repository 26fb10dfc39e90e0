"""`condense protocols`: the ways of training students."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.inspection import listing_group


def _lines(_ctx: click.Context) -> list[dict[str, str]]:
    from condense.protocols import PROTOCOLS

    return [{"name": protocol.name, "summary": protocol.summary} for protocol in PROTOCOLS.values()]


def _details(_ctx: click.Context, name: str) -> list[dict[str, Any]]:
    from condense.protocols import protocol_named
    from condense_cli.offers import protocol_data

    return [protocol_data(protocol_named(name))]


command = listing_group(
    "protocols",
    summary="List the evaluation protocols; `protocols show NAME` prints one.",
    columns=("name", "summary"),
    lines=_lines,
    details=_details,
)
