"""`condense status`: which runs are done, running, interrupted or failed."""

from __future__ import annotations

from pathlib import Path

import click

from condense_cli.options import json_option


@click.command("status")
@click.argument("folder", default="runs")
@json_option
def command(folder: str, as_json: bool) -> None:
    """Say which runs are done, running, interrupted or failed.

    FOLDER is a run directory, or a folder of them; by default it is runs. The cells of comparisons in it are runs too.
    A run that was killed is told from one that still works.
    """
    from condense.errors import StorageError
    from condense.runs.status import states_below
    from condense.text import shown_path
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import status_listing

    found = states_below(Path(folder))
    if not found:
        raise StorageError(f"there is no run in {folder}")
    data = [
        {
            "path": shown_path(state.path),
            "status": state.status,
            "stage": state.stage,
            "seconds": round(state.seconds, 3),
            "failure": shown_path(state.failure),
        }
        for state in found
    ]
    if as_json:
        write_json({"runs": data})
    else:
        write(make_console(), status_listing(data), one_line_each=True)
