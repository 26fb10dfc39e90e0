"""The README and the pages of docs: command lines can be typed, links lead somewhere, tables say what the code says."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from condense_cli.main import cli
from markdown_it import MarkdownIt
from markdown_it.token import Token

from condense.recipe.registry import KINDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
MARKDOWN = MarkdownIt("commonmark")
# What stands for something that is said elsewhere on the page: "(as above)", CUTS, "...".
ABBREVIATION = re.compile(r"\([^)]*\)|\bCUTS\b|(?<!\S)\.\.\.")
# Rooms of the architecture page that stand for several modules, or for a module under another name.
ROOMS = {
    "condense/__init__": ["condense"],
    "cli/condense_cli/": ["condense_cli"],
    "plugins/*": ["condense_wmdd", "condense_baselines", "condense_ray", "condense_slurm"],
    "examples/*": ["condense_mean_feature"],
    "benchmarks/": ["benchmarks"],
    "tools/": ["tools"],
}


def tokens(page: Path) -> Iterator[Token]:
    for token in MARKDOWN.parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def commands(page: Path) -> list[str]:
    """Every command line of condense in the code blocks of a page, continued lines as one."""
    blocks = [token.content for token in tokens(page) if token.type in ("fence", "code_block")]
    lines = [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return [line for line in lines if re.match(r"(\w+=\S+ )*(\S*/)?condense ", line)]


def words(command: str) -> list[str]:
    """What stands behind `condense`, without comments and abbreviations."""
    found = shlex.split(ABBREVIATION.sub("", command), comments=True)
    return found[next(i for i, word in enumerate(found) if word.endswith("condense")) + 1 :]


def parse(command: click.Command, given: list[str], context: click.Context, *, complete: bool) -> None:
    """Raise UsageError if click would. complete: whether the required words must be there."""
    if isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(given)
        if rest:
            name, below, rest = command.resolve_command(context, rest)
            assert below is not None
            parse(below, rest, click.Context(below, info_name=name, parent=context), complete=complete)
        return
    try:
        command.make_context(context.info_name, given, parent=context.parent)
    except click.MissingParameter:
        if complete:
            raise
    except click.exceptions.Exit:  # --help
        pass


# The usage lines of docs/cli.md, with [OPTIONS], are made from the commands.
COMMANDS = [(page.name, text) for page in PAGES for text in commands(page) if "[OPTIONS]" not in text]
# What a dry run cannot check: an earlier run, a dataset of the hub, an artifact, a plugin that is not here, an
# abbreviation.
ELSEWHERE = re.compile(
    rf"--resume|--from|hf:|imported:|mean-feature|my-idea|spread|--plugin|{ABBREVIATION.pattern}"
)
DRY = [
    (page, text)
    for page, text in COMMANDS
    if words(text)[0] in ("run", "compare", "sweep", "ablate") and not ELSEWHERE.search(text)
]


def test_the_scan_finds_commands() -> None:
    assert {page for page, _ in COMMANDS} >= {"README.md", "CONTRIBUTING.md", "cli.md", "plugins.md"}
    assert {page for page, _ in DRY} >= {"README.md", "CONTRIBUTING.md", "cli.md", "results.md"}
    given = words("OMP=1 .venv/bin/condense compare a (as above) --ipc 1 CUTS  # why")
    assert given == ["compare", "a", "--ipc", "1"]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_documented_command_has_these_options(page: str, command: str) -> None:
    complete = not ABBREVIATION.search(command)
    parse(cli, words(command), click.Context(cli, info_name="condense"), complete=complete)


@pytest.mark.parametrize("command", ["run --ip 3", "runn", "run --ipc many", "compare"])
def test_a_wrong_command_is_noticed(command: str) -> None:
    with pytest.raises(click.UsageError):
        parse(cli, command.split(), click.Context(cli, info_name="condense"), complete=True)


@pytest.mark.parametrize(("page", "command"), DRY)
def test_a_documented_command_has_names_and_settings_that_exist(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("ray", "submitit"):  # each executor has the name of its package
        asked = f"--executor {package}" in command or f"--executor '{package}" in command
        if asked and importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    monkeypatch.chdir(tmp_path)
    named = [word.partition(":")[2] for word in words(command) if word.startswith("folder:")]
    for folder, split, label, number in product(named, ("train", "val"), ("cat", "dog"), range(10)):
        file = tmp_path / folder / split / label / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for word in words(command):
        if word.endswith((".pt", ".pth", ".safetensors")):
            (tmp_path / word.rpartition("=")[2]).touch()
    done = CliRunner().invoke(cli, [*words(command), "--dry-run"])
    assert done.exit_code == 0, done.output


def anchors(page: Path) -> list[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in (str(token.attrGet("href") or token.attrGet("src") or "") for token in tokens(page)):
        path, _, anchor = link.partition("#")
        if not re.match(r"\w+:", link):
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_hook_has_a_section_in_the_guide_for_plugins() -> None:
    headings = re.findall(r"^### `(\w+)`$", (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"), re.M)
    assert sorted(headings) == sorted(KINDS)


def test_the_architecture_page_has_every_room_on_its_floor() -> None:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "tests" / "test_architecture.py")
    assert spec and spec.loader
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = {}
    for floor, rooms in re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M):
        for room in re.findall(r"`(.+?)`", rooms):
            names = ROOMS.get(room, ["condense." + room.rstrip("/").replace("/", ".")])
            found.update(dict.fromkeys(names, int(floor)))
    assert found == module.FLOOR_OF
