"""The packages of the extra `hf`, imported when something needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from condense.errors import DataError


def hub_package(name: str) -> ModuleType:
    """Return the package `datasets`, `huggingface_hub` or a module of theirs. Raises DataError if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"Hugging Face's datasets need the package {name.partition('.')[0]!r}, which is not installed here; "
            "install it: pip install 'condense-toolkit[hf]'"
        ) from error
