"""`condense compare`: methods side by side."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.comparing import WHAT, compare_by, comparison_options
from condense_cli.options import RepeatableCommand, set_option


@click.command("compare", cls=RepeatableCommand)
@click.argument("methods", metavar="METHOD...", nargs=-1, required=True)
@set_option(WHAT, "Change a setting of all rows, or with METHOD:KEY=VALUE of one method's; repeatable.")
@comparison_options
@click.pass_context
def command(ctx: click.Context, /, methods: tuple[str, ...], **options: Any) -> None:
    """Compare methods under one teacher, the same students, protocols and seeds.

    The first METHOD is the one that the others are compared to. What is finished below --out is used again,
    what is unfinished goes on; a method that fails says why, and the others go on.
    """
    from condense.comparison.api import design_compare

    for method in methods:
        if "," in method:
            separate = " ".join(part for part in method.split(",") if part)
            raise click.UsageError(
                f"methods stand apart, with spaces between them: condense compare {separate}"
            )
    compare_by(ctx, design_compare, methods, **options)
