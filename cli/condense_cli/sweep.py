"""`condense sweep`: one method with several values of its settings."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.comparing import WHAT, compare_by, comparison_options
from condense_cli.options import RepeatableCommand, option, set_option


@click.command("sweep", cls=RepeatableCommand)
@option("--method", section=WHAT, metavar="NAME", required=True, help="`condense methods` lists them.")
@set_option(
    WHAT,
    "A setting and its values, KEY=VALUE,VALUE,...; repeatable. Where a value has commas of its own, put semicolons "
    "between values: recover.augment.crop_scale=0.08,1;0.5,1",
)
@comparison_options
@click.pass_context
def command(
    ctx: click.Context, /, method: str, settings: tuple[tuple[str, str], ...], **options: Any
) -> None:
    """Compare one method with every combination of the values of some settings.

    The first combination is the one that the others are compared to. To choose a setting by its outcome, use
    --validation: what is chosen on the test images says nothing about them any more.
    """
    from condense.comparison.api import design_sweep

    compare_by(ctx, design_sweep, method, settings=settings, **options)
