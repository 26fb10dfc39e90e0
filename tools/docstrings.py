"""Reads the docstrings of this project: paragraphs, and lists of fields or arguments with what is said of each.

Such a list is a paragraph whose lines begin with names and a colon; further lines of an entry are indented:

    lr: the initial learning rate.
    crop_start, crop_share: a curriculum of crops, which
        begins at the first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_ENTRY = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")
_PUBLIC = re.compile(r"`condense\.([A-Za-z]\w*)`")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Some names, of fields or arguments, and the one text about them."""

    names: tuple[str, ...]
    text: str


def blocks(docstring: str) -> Iterator[str | tuple[Entry, ...]]:
    """Yield the parts of a docstring in order: paragraphs as they stand, and lists of entries."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        yield _entries(paragraph) or paragraph


def told(docstring: str) -> Mapping[str, Entry]:
    """Return what a docstring says of each name in its lists."""
    lists = (block for block in blocks(docstring) if not isinstance(block, str))
    return {name: entry for entries in lists for entry in entries for name in entry.names}


def markdown(docstring: str, public: Mapping[str, str]) -> str:
    """Return a docstring as Markdown: lists of entries as lists, public names as links.

    public: the target of the link of each public name, `condense.NAME`. Other names in backticks stay as they are.
    """
    parts = []
    for block in blocks(docstring):
        if isinstance(block, str):
            parts.append(block)
        else:
            lines = (f"- {', '.join(f'`{name}`' for name in entry.names)}: {entry.text}" for entry in block)
            parts.append("\n".join(lines))
    return _PUBLIC.sub(lambda found: _link(found, public), "\n\n".join(parts))


def _link(found: re.Match[str], public: Mapping[str, str]) -> str:
    name = found.group(1)
    return f"[`{name}`][{public[name]}]" if name in public else found.group()


def _entries(paragraph: str) -> tuple[Entry, ...]:
    """Return the entries of a paragraph that is a list of them, else ()."""
    found: list[tuple[tuple[str, ...], list[str]]] = []
    for line in paragraph.splitlines():
        start = _ENTRY.fullmatch(line)
        if start:
            found.append((tuple(start.group(1).split(", ")), [start.group(2)]))
        elif found and line.startswith(" "):
            found[-1][1].append(line.strip())
        else:
            return ()
    return tuple(Entry(names=names, text=" ".join(lines)) for names, lines in found)
