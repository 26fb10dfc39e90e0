"""The site of the documentation: `make docs` builds it. Here are its parts, and what all of its pages must hold to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt

import condense
import condense.testing

pytest.importorskip("mkdocs", reason="needs mkdocs: pip install 'condense-toolkit[docs]', or make docs")

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{top}.md" for top in ("README", "CONTRIBUTING", "CHANGELOG")),
]
COUNTED = {
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "pre",
    "ul",
    "ol",
    "li",
    "table",
    "tr",
    "td",
    "a",
    "img",
    "em",
    "strong",
}


@pytest.fixture(scope="module", autouse=True)
def site_pages(tools: Callable[[str], ModuleType]) -> ModuleType:
    return tools("site_pages")


@pytest.fixture(scope="module")
def config() -> Any:
    from mkdocs.config import load_config

    return load_config(str(ROOT / "mkdocs.yml"))


class Counting(HTMLParser):
    """Counts the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in COUNTED:
            self.found[tag] += 1


def elements(html: str) -> Counter[str]:
    counting = Counting()
    counting.feed(html)
    return counting.found


def test_pages_read_the_same_on_the_site_and_in_the_repository(config: Any) -> None:
    """mkdocs reads Markdown a little differently than CommonMark, above all lists that are nested."""
    import markdown

    # Colours and links of headings are elements of their own.
    plain = {**config.mdx_configs, "pymdownx.highlight": {"use_pygments": True}, "toc": {}}
    of_the_site = markdown.Markdown(extensions=config.markdown_extensions, extension_configs=plain)
    common = MarkdownIt("commonmark").enable("table")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        of_the_site.reset()
        assert elements(of_the_site.convert(text)) == elements(common.render(text)), page.name


def test_every_page_is_in_the_navigation_once(config: Any, site_pages: ModuleType) -> None:
    named = re.findall(r"[\w/]+\.md", str(config.nav))
    of_docs = {page.name for page in PAGES if page.parent.name == "docs"}
    assert sorted(named) == sorted({*of_docs, *site_pages.OF_THE_TOP.values(), *site_pages.pages_of_names()})


def test_every_public_name_is_on_one_page(site_pages: ModuleType) -> None:
    text = "".join(site_pages.pages_of_names().values())
    assert sorted(re.findall(r"^::: condense\.(\w+)$", text, re.MULTILINE)) == sorted(condense.__all__)
    for_tests = re.findall(r"^::: condense\.testing\.(\w+)$", text, re.MULTILINE)
    assert sorted(for_tests) == sorted(condense.testing.__all__)
    with pytest.raises(
        ValueError, match=r"no group of tools/site_pages.py has the public names of condense\.new"
    ):
        site_pages.page_of("condense.new")


@pytest.mark.parametrize(
    ("folder", "text", "expected"),
    [
        ("", "[a](docs/cli.md#networks)", "[a](cli.md#networks)"),
        ("", "![a](docs/images/distilled.png)", "![a](images/distilled.png)"),
        ("docs", "[a](../CHANGELOG.md), [b](cli.md)", "[a](changelog.md), [b](cli.md)"),
        ("docs", "[a](#needs) [b](https://example.org/x.md)", "[a](#needs) [b](https://example.org/x.md)"),
        # A path as the text of a link becomes the title of the page.
        ("", "[docs/cli.md](docs/cli.md) says", "[The command line](cli.md) says"),
        ("docs", "[cli.md](cli.md#networks)", "[The command line](cli.md#networks)"),
    ],
)
def test_links_are_those_of_the_site(site_pages: ModuleType, folder: str, text: str, expected: str) -> None:
    assert site_pages.with_links_of_the_site(text, folder) == expected


def test_public_names_of_the_reference_are_links(site_pages: ModuleType) -> None:
    page = "| `a` | x |\n\n## Public names\n\n| `b` | y |\n| [`C`](#c) | z |\n\n## Names for tests\n\n| `d` | x |\n"
    expected = page.replace("| `b` |", "| [`b`][condense.b] |").replace("`d`", "[`d`][condense.testing.d]")
    assert site_pages.with_links_of_names(page) == expected


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="other.html#there">', ""),
        ('<a href="#here" id="here">', ""),
        ('<a href="https://example.org">', ""),
        ('<img src="data:image/png;base64,AAAA">', ""),
        ('<a href="gone.html">', "gone.html: there is no such file"),
        ('<a href="other.html#here">', "other.html#here: the page has no such anchor"),
        ('<a href="#here">', "#here: the page has no such anchor"),
        ('<script src="https://example.org/x.js">', "https://example.org/x.js: loaded from another site"),
        ('<link href="//example.org/x.css">', "//example.org/x.css: loaded from another site"),
    ],
)
def test_links_that_lead_nowhere_are_found(body: str, problem: str, tmp_path: Path, tools: Any) -> None:
    check_site = tools("check_site")
    (tmp_path / "page.html").write_text(body)
    (tmp_path / "other.html").write_text('<h1 id="there">')
    assert check_site.problems(tmp_path) == ([f"page.html: {problem}"] if problem else [])


def test_a_site_that_was_not_built_is_an_error(tmp_path: Path, tools: Any) -> None:
    check_site = tools("check_site")
    with pytest.raises(SystemExit, match="has no pages; build the site first"):
        check_site.main(str(tmp_path))
