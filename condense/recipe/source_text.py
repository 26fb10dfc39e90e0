"""What the source of a plugin is known by: a hash of its words, to which comments and layout do not belong."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator

_DIGITS = 16


def source_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of Python files, given by their names and contents.

    Comments and layout do not count.
    """
    found = hashlib.sha256()
    for name, content in files:
        words = without_layout(content)
        found.update(f"{name}\0{len(words)}\0".encode())
        found.update(words)
    return found.hexdigest()[:_DIGITS]


def without_layout(content: bytes) -> bytes:
    """Return a Python file as its words, without comments, blank lines and the breaks of lines within brackets.

    It is the same for every version of Python. A file that is no Python is returned as it is.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
        return "\0".join(_words(text)).encode(errors="surrogatepass")
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        return content


def _words(text: str) -> Iterator[str]:
    """Yield the tokens of Python code. A formatted string is one token, as Python 3.11 has it, and later ones not."""
    lines = [f"{line}\n" for line in text.split("\n")]
    depth, began = 0, (1, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("FSTRING_START", "TSTRING_START"):
            began = began if depth else token.start
            depth += 1
        elif kind in ("FSTRING_END", "TSTRING_END"):
            depth -= 1
            if not depth:
                yield _between(lines, began, token.end)
        elif not depth and kind in ("NEWLINE", "INDENT", "DEDENT"):
            yield f"<{kind}>"
        elif not depth and kind not in ("COMMENT", "NL", "ENDMARKER"):
            yield token.string


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text between two places, each a line from 1 and a column from 0."""
    part = lines[start[0] - 1 : end[0]]
    part[-1] = part[-1][: end[1]]
    part[0] = part[0][start[1] :]
    return "".join(part)
