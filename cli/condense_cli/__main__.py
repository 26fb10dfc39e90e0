"""The console script, also as `python -m condense_cli`.

Until the command has handlers of its own, Ctrl-C ends the process at once and without a traceback. Nothing is written
by then. Only the start of Python itself, before this module, is out of reach.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # SIG_IGN, as in a script's background, stays
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from condense_cli.main import main as command

    command()


if __name__ == "__main__":
    main()
