"""Templates of pages and cards, which lie beside the modules that fill them in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import PurePosixPath

import jinja2


@functools.cache
def template(path: str, **filters: Callable[..., str]) -> jinja2.Template:
    """Return a template, which is compiled once in a process.

    path: of its file in the package condense, such as "runs/report.html.j2". Below a name that ends in .html.j2, texts
        that are filled in are escaped; another template does that itself.
    filters: functions that it calls by these names.

    Filled in without a name that the template uses, it raises jinja2.UndefinedError.
    """
    file = PurePosixPath(path)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("condense", str(file.parent)),
        autoescape=file.name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.get_template(file.name)
