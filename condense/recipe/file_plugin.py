"""A plugin of one file, which is not installed: research without packaging."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from condense.errors import PluginError, cannot_read
from condense.recipe.source_text import source_digest
from condense.recipe.specs import is_name


@dataclass(frozen=True)
class PluginFile:
    """A file that is a plugin. name: its own name with hyphens. content: what it held when it was read."""

    name: str
    path: Path
    content: bytes

    @property
    def source(self) -> str:
        """The hash of its source, as `source_digest` makes it."""
        return source_digest([(self.path.name, self.content)])

    @property
    def module(self) -> str:
        """The name of its module: that of the file, with digits, so that no other module has it."""
        place = hashlib.sha256(f"{self.path}\0".encode() + self.content).hexdigest()
        return f"{self.path.stem}_{place[:8]}"

    def imported(self) -> ModuleType:
        """Run the file and return its module, or the module of an earlier time, if path and content are the same.

        What runs is `content`, so that code and hash agree even if the file changes meanwhile.
        """
        if self.module in sys.modules:
            return sys.modules[self.module]
        spec = spec_from_file_location(self.module, self.path)
        assert isinstance(spec, ModuleSpec)
        module = module_from_spec(spec)
        sys.modules[self.module] = module
        try:
            exec(compile(self.content, str(self.path), "exec"), vars(module))
        except BaseException:
            del sys.modules[self.module]
            raise
        return module


def read_plugin_file(path: Path) -> PluginFile:
    """Return a file as a plugin. Raises PluginError for a name that does not fit, StorageError if it cannot be read."""
    name = path.stem.lower().replace("_", "-").strip("-")
    if path.suffix != ".py":
        raise PluginError(f"--plugin takes a Python file, such as my_loss.py, not {path}")
    if not is_name(name):
        raise PluginError(
            f"the plugin {path} needs a name of letters and digits joined by underscores, such as my_loss.py"
        )
    try:
        return PluginFile(name=name, path=path, content=path.read_bytes())
    except OSError as error:
        raise cannot_read(path, error) from error
