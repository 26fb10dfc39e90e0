"""Write the table of public names at the end of docs/plugins.md, one line from the docstring of each.

    python tools/make_reference.py

The names are those of condense/__init__.pyi. A constant is described by the text below its assignment, by the comment
above it, or else by the docstring of its class.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = ROOT / "condense" / "__init__.pyi"
PAGE = ROOT / "docs" / "plugins.md"
BEGIN = "<!-- public names: made by tools/make_reference.py -->"
END = "<!-- end of public names -->"


def public_names() -> Iterator[tuple[str, str]]:
    """Yield each public name of condense with the module that it lives in, in alphabetical order."""
    found = {
        alias.name: f"condense.{node.module}"
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    yield from sorted(found.items(), key=lambda pair: (pair[0].lower(), pair[0]))


def description(name: str, module_name: str) -> str:
    """Return the first line of what is said of a public name. Raises ValueError if nothing is said."""
    module = importlib.import_module(module_name)
    thing = getattr(module, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        text = inspect.cleandoc(thing.__doc__ or "")
        if text.startswith(f"{name}("):  # What a dataclass says of itself if it has no docstring.
            text = ""
    else:
        text = _said_of_constant(name, inspect.getsource(module))
        if not text and type(thing).__module__ != "builtins":
            text = inspect.getdoc(thing) or ""
    if not text:
        raise ValueError(f"{module_name}.{name} has no description")
    return text.splitlines()[0]


def _said_of_constant(name: str, source: str) -> str:
    """Return the text below the assignment of a name, the comment above it, or ""."""
    body, lines = ast.parse(source).body, source.splitlines()
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(target, ast.Name) and target.id == name for target in targets):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return inspect.cleandoc(str(after.value.value))
        first = node.lineno - 1
        while first and lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(line.removeprefix("#").strip() for line in lines[first : node.lineno - 1])
    return ""


def reference() -> str:
    """Return the table, a row for each public name."""
    rows = [
        f"| `{name}` | {description(name, module).replace('|', chr(92) + '|')} |"
        for name, module in public_names()
    ]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def with_reference(page: str) -> str:
    """Return the page with the part between the two markers made anew. Raises ValueError if a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
