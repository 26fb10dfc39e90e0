"""Numbers with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """ "1 chunk", "3 chunks"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
