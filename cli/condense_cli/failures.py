"""How a command ends that did not reach its end."""

from __future__ import annotations

from typing import IO, Any

import click


class Interrupted(click.ClickException):
    """Ctrl-C; the exit status is the one shells give for it. The message says how to go on."""

    exit_code = 130

    def show(self, file: IO[Any] | None = None) -> None:
        """On stderr, as what it is: no error."""
        click.echo(f"\n{self.message}", file=file, err=True)
