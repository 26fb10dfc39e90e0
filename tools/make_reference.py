"""Write docs/reference.md from the docstrings: the fields of methods and protocols, and all public names.

    python tools/make_reference.py

The public names are those of condense/__init__.pyi and condense/testing/__init__.pyi. A constant is described by the
text below its assignment, by the comment above it, or else by the docstring of its class.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docstrings import Entry, blocks, told

from condense.recipe.fields import hints_of, wanted
from condense.recipe.method import Method, Pool, Recover, Student, Teacher, Use, Weighted
from condense.recipe.protocol import Protocol
from condense.recipe.published import Published
from condense.recipe.selection import Selection
from condense.recipe.training import Augment, Training
from condense.recipe.variant import Variant
from condense.text import setting_text

ROOT = Path(__file__).parents[1]
STUBS = {"condense": ROOT / "condense", "condense.testing": ROOT / "condense" / "testing"}
PAGE = ROOT / "docs" / "reference.md"
# What methods and protocols are made of, in the order of the page.
SETTINGS: tuple[type, ...] = (
    *(
        Method,
        Use,
        Weighted,
        Recover,
        Augment,
        Training,
        Teacher,
        Pool,
        Selection,
        Student,
        Variant,
        Published,
    ),
    Protocol,
)
INTRODUCTION = """\
# Reference

This page is made from the docstrings by `python tools/make_reference.py`. [plugins.md](plugins.md) explains what the
parts are for.

## Fields of methods and protocols

A method is a `Method`, a protocol a `Protocol`, and the others are parts of these. Defaults stand as `--set` takes
them. `condense methods show NAME` and `condense protocols show NAME` print the values of a method and of a protocol,
and `condense run --dry-run` those of a run.
"""
_NOWHERE = object()
PUBLIC = """
## Public names

These names can be imported from `condense`, and plugins import nothing else. `help(condense.NAME)` says more.
"""
TESTING = """
## Names for tests

The tests of a plugin can import these from `condense.testing` as well.
"""


def public_names(package: str = "condense") -> Iterator[tuple[str, str]]:
    """Yield each public name of a package with the module that it lives in, in alphabetical order."""
    stub = STUBS[package] / "__init__.pyi"
    found = {
        alias.name: f"{package}.{node.module}"
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
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


def fields_of(kind: type) -> str:
    """Return the section of one dataclass: what it is, and a table of its fields.

    Fields of a base class are in the table if their default is another; for the others it is named. Raises ValueError
    for a field without a description.
    """
    base = kind.__base__ if kind.__base__ in SETTINGS else None
    above = _defaults(base) if base else {}
    changed = {name: here for name, here in _defaults(kind).items() if above.get(name, _NOWHERE) != here}
    own = {name: changed[name] for name in sorted(changed, key=lambda name: name in above)}
    texts = {**(told(base.__doc__ or "") if base else {}), **told(kind.__doc__ or "")}
    if missing := [name for name in own if name not in texts]:
        raise ValueError(f"the docstring of {kind.__name__} says nothing of {', '.join(missing)}")
    prose = [part for part in blocks(kind.__doc__ or "") if isinstance(part, str)]
    rows = [
        f"| `{name}` | {_default(default)} | {_values(hints_of(kind)[name])} | {_told(texts[name], name)} |"
        for name, default in own.items()
    ]
    inherited = ", ".join(f"`{name}`" for name in above if name not in own)
    lines = [f"### `{kind.__name__}`", "", *_spaced(prose), "| field | default | values | meaning |"]
    lines += ["|---|---|---|---|", *rows]
    if inherited and base:
        lines += ["", f"The other fields are those of {_reference(base)}: {inherited}."]
    return "\n".join(lines)


def _spaced(paragraphs: list[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        yield _linked(paragraph)
        yield ""


def _defaults(kind: type) -> Mapping[str, Any]:
    found = {}
    for field in dataclasses.fields(typing.cast(Any, kind)):
        factory = field.default_factory
        found[field.name] = field.default if factory is dataclasses.MISSING else factory()
    return found


def _default(value: Any) -> str:
    """Return a default as `--set` takes it. Parts with fields of their own are written as Python writes them."""
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, Use):
        return f"`{value.name}`"
    if dataclasses.is_dataclass(value):
        changed = [
            f"{name}={getattr(value, name)!r}"
            for name, usual in _defaults(type(value)).items()
            if getattr(value, name) != usual
        ]
        return f"`{type(value).__name__}({', '.join(changed)})`"
    if isinstance(value, Mapping) or value in ((), ""):
        return "nothing"
    return f"`{setting_text(value)}`"


def _values(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    return _linked(wanted(hint))


def _told(entry: Entry, name: str) -> str:
    """Return what is said of a field; what is said of several stands at the first of them."""
    if name != entry.names[0]:
        return f"as `{entry.names[0]}`"
    return _linked(entry.text.removesuffix(".")).replace("|", "\\|")


def _linked(text: str) -> str:
    """Return a text of a docstring with links to the classes of this page, whatever the module they are named by."""
    shown = {kind.__name__: kind for kind in SETTINGS}

    def link(found: re.Match[str]) -> str:
        name = found.group(1)
        return _reference(shown[name]) if name in shown else f"`{name}`"

    in_backticks = re.sub(r"`condense\.(?:[a-z_]+\.)*([A-Z]\w*)`", link, text)
    return re.sub(r"(?<![`\w])(?:a )?condense\.([A-Z]\w*)", link, in_backticks)


def _reference(kind: type) -> str:
    return f"[`{kind.__name__}`](#{kind.__name__.lower()})"


def table_of_names(package: str = "condense") -> str:
    """Return the table of the public names of a package."""
    sections = {kind.__name__: _reference(kind) for kind in SETTINGS}
    rows = [
        f"| {sections.get(name, f'`{name}`')} | {description(name, module).replace('|', chr(92) + '|')} |"
        for name, module in public_names(package)
    ]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def reference() -> str:
    """Return the whole page."""
    sections = "\n\n".join(fields_of(kind) for kind in SETTINGS)
    names = f"{PUBLIC}\n{table_of_names()}\n{TESTING}\n{table_of_names('condense.testing')}\n"
    return f"{INTRODUCTION}\n{sections}\n{names}"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
