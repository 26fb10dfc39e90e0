"""`condense plugins new`: make the package of a plugin, which works at once and is there to be changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from condense_cli.loaded import plugin_option, registry_of
from condense_cli.options import json_option

if TYPE_CHECKING:
    from condense.recipe.registry import Registry

# Each file of the package, with its template; {package} is the name of the code's folder.
FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    ".gitignore": "gitignore.j2",
    "{package}/__init__.py": "package/__init__.py.j2",
    "{package}/plugin.py": "package/plugin.py.j2",
    "{package}/losses.py": "package/losses.py.j2",
    "{package}/py.typed": "package/py.typed.j2",
    "tests/test_plugin.py": "tests/test_plugin.py.j2",
}
_PREFIX = "condense-"


@click.command("new")
@click.argument("name")
@click.option(
    "--out", metavar="DIR", default=".", show_default=True, help="Folder in which the package is made."
)
@plugin_option
@json_option
@click.pass_context
def new(ctx: click.Context, name: str, out: str, as_json: bool) -> None:
    """Make the package of a plugin, which works at once.

    It is called condense-NAME and has a feature target, a regularizer, a method with variants, tests and a README.
    """
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.plugins import new_plugin_table

    folder = Path(out) / f"{_PREFIX}{name}"
    check_new_name(name, registry_of(ctx))
    files = write_package(name, folder)
    if as_json:
        write_json({"name": name, "path": str(folder), "files": files})
    else:
        write(make_console(), *new_plugin_table(name, str(folder), files))


def check_new_name(name: str, registry: Registry) -> None:
    """Raise OptionError for a name that a plugin, its package or its parts cannot have here."""
    from condense.errors import OptionError
    from condense.recipe.registry import KINDS
    from condense.recipe.specs import is_name

    if not is_name(name):
        raise OptionError(
            f"a plugin's name is lower-case words joined by hyphens, such as my-idea, not {name!r}"
        )
    if name.startswith(_PREFIX):
        raise OptionError(f"the package is called {_PREFIX}NAME anyway; write {name.removeprefix(_PREFIX)}")
    if name in {status.name for status in registry.plugins}:
        raise OptionError(f"there is a plugin {name!r} already; `condense plugins` lists them")
    for kind, _ in KINDS.values():
        for part in (name, f"{name}-means", f"{name}-smoothness"):
            owner = registry.plugin_of(kind, part)
            if owner:
                raise OptionError(f"plugin {owner!r} offers a {kind} {part!r} already; choose another name")
    if importlib.util.find_spec(package_of(name)):
        raise OptionError(f"there is a Python package {package_of(name)} already; choose another name")


def package_of(name: str) -> str:
    """Return the name of the Python package of a plugin."""
    return f"condense_{name.replace('-', '_')}"


def write_package(name: str, folder: Path) -> list[str]:
    """Write the package of a plugin into a new folder, whole or not at all, and return the names of its files.

    Raises StorageError if the folder exists or cannot be written.
    """
    import jinja2

    from condense.recipe.hooks import API_VERSION
    from condense.storage.files import replace_folder
    from condense.version import host_version

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("condense_cli", "plugin_template"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    words = {"name": name, "package": package_of(name), "api": API_VERSION, "version": host_version()}
    names = []
    with replace_folder(folder) as made:
        for file, template in FILES.items():
            path = made / file.format(package=words["package"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(environment.get_template(template).render(words), encoding="utf-8", newline="\n")
            names.append(path.relative_to(made).as_posix())
    return names
