"""`condense ablate`: what each part of a method is good for."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.comparing import WHAT, compare_by, comparison_options
from condense_cli.options import RepeatableCommand, set_option


@click.command("ablate", cls=RepeatableCommand)
@click.argument("method", metavar="METHOD")
@set_option(WHAT, "Change a setting of all rows; repeatable.")
@comparison_options
@click.pass_context
def command(ctx: click.Context, /, method: str, **options: Any) -> None:
    """Compare a method with its variants, or without each of its components.

    Without components where the method names no variants: first whole, then without each target and regularizer.
    """
    from condense.comparison.api import design_ablate

    compare_by(ctx, design_ablate, method, **options)
