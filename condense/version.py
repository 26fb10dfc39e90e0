"""The version of condense that is installed."""

from __future__ import annotations

import importlib.metadata

# The name on the package index. The import name and the command are `condense`.
DISTRIBUTION = "condense-toolkit"


def host_version() -> str:
    """Return the version of condense that is installed, such as "0.1.0"."""
    return importlib.metadata.version(DISTRIBUTION)
