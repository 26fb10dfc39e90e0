"""Check the links of a site that was built: `python tools/check_site.py build/site`.

Every link within the site has to lead to a file and, with an anchor, to an element of that page. Pages may link to
other sites, which are not asked, but they load nothing from them.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attributes of elements that a browser fetches by itself, in contrast to links that people follow.
_LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """What a page offers and asks for.

    anchors: the ids of its elements.
    links: where its elements lead, each with whether a browser fetches it by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[tuple[str, bool]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in the ids and the links of an element."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value is not None:
                self.links.add((value, (tag, name) in _LOADED))


def problems(site: Path) -> list[str]:
    """Return a line for every link that leads nowhere, and for everything that a page loads from elsewhere."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path.resolve()] = page = Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        for link, loaded in sorted(page.links):
            if problem := _problem(link, loaded, path, pages, site.resolve()):
                found.append(f"{path.relative_to(site.resolve())}: {link}: {problem}")
    return found


def _problem(link: str, loaded: bool, path: Path, pages: dict[Path, Page], site: Path) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "loaded from another site" if loaded else ""
    address = unquote(parts.path)
    # The page for missing pages links from the top, because it is shown at any depth.
    start = site if address.startswith("/") else path.parent
    target = (start / address.lstrip("/")).resolve() if address else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "there is no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "the page has no such anchor"
    return ""


def main(folder: str) -> None:
    """Print every problem of a site, and exit with 1 if there is one."""
    site = Path(folder)
    found = problems(site)
    count = len(list(site.rglob("*.html")))
    if not count:
        sys.exit(f"{folder} has no pages; build the site first: python -m mkdocs build")
    if found:
        sys.exit("\n".join(found))
    print(f"the links of {count} pages lead somewhere")


if __name__ == "__main__":
    main(*sys.argv[1:])
