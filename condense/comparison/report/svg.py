"""Drawings of matplotlib for use inside a page: ids are unique, fonts and colours come from the page."""

from __future__ import annotations

import html
import re

from condense.comparison.report.palette import COLOURS

_ELEMENT = re.compile(r"<svg\b[^>]*>(.*)</svg>", re.DOTALL)
_VIEW = re.compile(r'viewBox="([^"]*)"')
_DEFAULTS = re.compile(r"<defs>\s*<style\b.*?</style>\s*</defs>", re.DOTALL)
_IDENTITY = re.compile(r'\bid="([^"]*)"')
_URL = re.compile(r"url\(#([^)]*)\)")
_LINK = re.compile(r'\bxlink:href="#([^"]*)"')
_STYLE = re.compile(r'style="([^"]*)"')
_FONT = re.compile(r"font-family: [^;]*(; )?")
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """Return the drawing as an <svg> element for use inside HTML. Colours of the palette become CSS variables.

    name: unique in the page; ids get it as a prefix. title, description: for readers who cannot see the drawing.
    Raises ValueError if `text` is not an SVG drawing with a viewBox.
    """
    view, body = _parts(text, name)
    return (
        f'<svg class="chart" viewBox="{view}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>{body}</svg>'
    )


def symbol(text: str, name: str) -> str:
    """Return the drawing as a <symbol> with the id `name`, which <use> can show any number of times."""
    view, body = _parts(text, name)
    return f'<symbol id="{name}" viewBox="{view}">{body}</symbol>'


def _parts(text: str, name: str) -> tuple[str, str]:
    """Return the drawing's viewBox and the content of its <svg> element."""
    found, view = _ELEMENT.search(text), _VIEW.search(text)
    if found is None or view is None:
        raise ValueError("this is not an SVG drawing with a viewBox")
    body = _DEFAULTS.sub("", found[1])
    body = _IDENTITY.sub(rf'id="{name}-\1"', body)
    body = _URL.sub(rf"url(#{name}-\1)", body)
    body = _LINK.sub(rf'href="#{name}-\1"', body)
    return view[1], _STYLE.sub(lambda match: f'style="{_themed(match[1])}"', body).strip()


def _themed(style: str) -> str:
    """Return a style attribute with the palette's variables and without a font, so that it gets the page's."""
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, variable)
    return _FONT.sub("", style)
