"""The words of Python code, without comments and layout."""

from __future__ import annotations

import pytest

from condense.recipe.source_text import without_layout

CODE = """
import math


def area(radius, scale=1):
    # the formula
    if radius < 0:
        raise ValueError(f"no circle has radius {radius!r:>{scale}}, é")  # é
    return (
        math.pi * radius**2
    )
"""
WORDS = [
    *("import", "math", "<NEWLINE>"),
    *("def", "area", "(", "radius", ",", "scale", "=", "1", ")", ":", "<NEWLINE>", "<INDENT>"),
    *("if", "radius", "<", "0", ":", "<NEWLINE>", "<INDENT>"),
    *(
        "raise",
        "ValueError",
        "(",
        'f"no circle has radius {radius!r:>{scale}}, é"',
        ")",
        "<NEWLINE>",
        "<DEDENT>",
    ),
    *("return", "(", "math", ".", "pi", "*", "radius", "**", "2", ")", "<NEWLINE>", "<DEDENT>"),
]
SAME = [
    CODE.replace("    # the formula\n", ""),
    CODE.replace("  # é", "  # another remark"),
    CODE.replace("\n\n\n", "\n"),
    CODE.replace("        math.pi * radius**2\n", "   math.pi  *  radius ** 2\n"),
    CODE.replace("\n        raise", "\n            raise"),
    CODE.replace("\n", "\r\n"),
    "# -*- coding: utf-8 -*-\n" + CODE,
]
OTHER = [
    CODE.replace("radius < 0", "radius <= 0"),
    CODE.replace("no circle", "no  circle"),
    CODE.replace("!r", "!s"),
    CODE.replace(", é", ", e"),
    CODE.replace("    return (", "        return ("),
    CODE.replace("math.pi", "math.tau  # math.pi"),
]


def test_comments_and_layout_do_not_count_and_everything_else_does() -> None:
    words = without_layout(CODE.encode())
    assert words.decode().split("\0") == WORDS
    assert all(without_layout(other.encode()) == words for other in SAME)
    assert len({words, *(without_layout(other.encode()) for other in OTHER)}) == len(OTHER) + 1
    assert without_layout("# coding: latin-1\nname = 'é'\n".encode("latin-1")) == without_layout(
        "name = 'é'".encode()
    )


@pytest.mark.parametrize("content", [b"(", b"\xff\xfe", b"    a\n  b\n", b"# coding: none\n"])
def test_what_is_no_python_counts_as_it_is(content: bytes) -> None:
    assert without_layout(content) == content
