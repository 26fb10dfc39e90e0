"""A drawing of matplotlib made fit to stand in a page: no ids twice, no style of its own, colours from CSS."""

from __future__ import annotations

import html
import re

from condense.comparison.report.palette import COLOURS

_ELEMENT = re.compile(r"<svg\b[^>]*>(.*)</svg>", re.DOTALL)
_VIEW = re.compile(r'viewBox="([^"]*)"')
_DEFAULTS = re.compile(r"<defs>\s*<style\b.*?</style>\s*</defs>", re.DOTALL)
_IDENTITY = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_LINK = re.compile(r'\bxlink:href="#([^"]*)"')
_STYLE = re.compile(r'style="([^"]*)"')
_FONT = re.compile(r"font-family: [^;]*(; )?")
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """The <svg> element of a drawing for use inside HTML.

    name: unique in the page; ids get it as a prefix. title, description: for those who cannot see it. Colours of
    the palette become CSS variables.
    """
    view, body = _parts(text, name)
    return (
        f'<svg class="chart" viewBox="{view}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>{body}</svg>'
    )


def symbol(text: str, name: str) -> str:
    """The drawing as a <symbol> of that id, to be shown any number of times with <use>."""
    view, body = _parts(text, name)
    return f'<symbol id="{name}" viewBox="{view}">{body}</symbol>'


def _parts(text: str, name: str) -> tuple[str, str]:
    """The drawing's viewBox, and what is inside of its <svg> element."""
    found, view = _ELEMENT.search(text), _VIEW.search(text)
    if found is None or view is None:
        raise ValueError("this is no SVG drawing with a viewBox")
    body = _DEFAULTS.sub("", found[1])
    body = _IDENTITY.sub(rf'id="{name}-\1"', body)
    body = _REFERENCE.sub(rf"url(#{name}-\1)", body)
    body = _LINK.sub(rf'href="#{name}-\1"', body)
    return view[1], _STYLE.sub(lambda match: f'style="{_themed(match[1])}"', body).strip()


def _themed(style: str) -> str:
    """A style attribute with the palette's variables, in the page's own font."""
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, variable)
    return _FONT.sub("", style)
