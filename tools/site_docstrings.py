"""Lets mkdocstrings read this project's docstrings: lists of fields become lists, public names become links."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))  # mkdocstrings imports this file by its path alone.

from docstrings import markdown
from make_reference import public_names


class ProjectDocstrings(griffe.Extension):
    """Rewrites every docstring as Markdown once it has been read."""

    def __init__(self) -> None:
        self._links = {name: f"condense.{name}" for name, _ in public_names()}

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value, self._links)
