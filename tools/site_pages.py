"""What the site of the documentation adds to docs/*.md: the pages of the top folder, and one for each group of public
names. mkdocs calls the functions `on_...` when it builds the site (mkdocs.yml).

Links stay as they are in the repository, so that the same files can be read there; here they are turned into those of
the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from make_reference import public_names
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]
# The page of the site that each file of the top folder is.
OF_THE_TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# The groups of public names: page, title, and the modules that the names live in. The first that fits counts.
GROUPS = (
    (
        "api/calls.md",
        "Calls and results",
        ("api", "sharing", "comparison", "runs", "storage", "engine.evaluate"),
    ),
    ("api/components.md", "Components", ("engine", "data.parametrizations")),
    ("api/images.md", "Images and networks", ("data", "models")),
    ("api/recipes.md", "Methods and specs", ("recipe",)),
    ("api/executors.md", "Executors", ("executors",)),
    ("api/errors.md", "Errors", ("errors",)),
)
# The page about the names of condense.testing.
FOR_TESTS = "api/testing.md"
# What public classes have in common, and what has no public name. It is at the end of a page.
IN_COMMON = {"api/recipes.md": ("condense.recipe.specs.Spec", "condense.recipe.specs.LossSpec")}


def page_of(module: str) -> str:
    """Return the page that a public name of a module is on. Raises ValueError for a module of no group."""
    for page, _, rooms in GROUPS:
        if any(f"{module}.".startswith(f"condense.{room}.") for room in rooms):
            return page
    raise ValueError(f"no group of tools/site_pages.py has the public names of {module}")


def pages_of_names() -> dict[str, str]:
    """Return the pages about public names as Markdown, by address. Their text is made of docstrings by mkdocstrings."""
    pages = {page: f"# {title}\n" for page, title, _ in GROUPS}
    for name, module in public_names():
        pages[page_of(module)] += f"\n::: condense.{name}\n"
    tests = "".join(f"\n::: condense.testing.{name}\n" for name, _ in public_names("condense.testing"))
    pages[FOR_TESTS] = f"# Names for tests\n{tests}"
    for page, names in IN_COMMON.items():
        pages[page] += "".join(f"\n::: {name}\n" for name in names)
    return pages


def with_links_of_the_site(text: str, folder: str) -> str:
    """Return a page with relative links as they are on the site, where a page is named by its title.

    folder: where the file is in the repository, from the top: "" or "docs".
    """

    def link(found: re.Match[str]) -> str:
        shown, (path, _, anchor) = found.group(1), found.group(2).partition("#")
        if not path or re.match(r"\w+:", path):
            return found.group()
        inside = posixpath.normpath(posixpath.join(folder, path))
        page = OF_THE_TOP.get(inside, inside.removeprefix("docs/"))
        text = _title(inside) if shown == path else shown
        return f"[{text}]({page}{'#' if anchor else ''}{anchor})"

    return re.sub(r"\[([^]\n]*)\]\(([^)\s]+)\)", link, text)


def _title(path: str) -> str:
    """Return the heading of a page, by its path in the repository."""
    first, _, _ = (ROOT / path).read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("# ")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are no files of docs/."""
    pages = pages_of_names()
    for name, page in OF_THE_TOP.items():
        pages[page] = with_links_of_the_site((ROOT / name).read_text(encoding="utf-8"), "")
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text, inclusion=InclusionLevel.INCLUDED))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page of docs/ into those of the site, and public names of the reference into links."""
    if page.file.src_uri in {*OF_THE_TOP.values(), *pages_of_names()}:
        return markdown
    text = with_links_of_the_site(markdown, "docs")
    if page.file.src_uri == "reference.md":
        text = with_links_of_names(text)
    return text


def with_links_of_names(reference: str) -> str:
    """Return the page of the reference with links from its tables of names to what is said of each."""
    before, heading, rest = reference.partition("\n## Public names\n")
    public, of_tests, tests = rest.partition("\n## Names for tests\n")
    linked = [
        re.sub(r"^\| `(\w+)` \|", rf"| [`\1`][{package}.\1] |", names, flags=re.M)
        for names, package in ((public, "condense"), (tests, "condense.testing"))
    ]
    return f"{before}{heading}{linked[0]}{of_tests}{linked[1]}"
