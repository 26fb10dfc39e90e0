"""What must hold of the code as a whole: who may import whom, what is quick, how files look."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "condense": ROOT / "condense",
    "condense_wmdd": ROOT / "plugins" / "wmdd" / "condense_wmdd",
    "condense_baselines": ROOT / "plugins" / "baselines" / "condense_baselines",
    "condense_cli": ROOT / "cli" / "condense_cli",
}
LIBRARY = ("condense", "condense_wmdd", "condense_baselines")
LONGEST = 350


def sources(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{package} has no source files"
    return found


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports anywhere, also inside functions and by name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= {name for name in PACKAGES if node.value.startswith((f"{name}.", f"{name}:"))}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("condense", {"condense_wmdd", "condense_baselines", "condense_cli"}),
        ("condense_wmdd", {"condense_baselines", "condense_cli"}),
        ("condense_baselines", {"condense_wmdd", "condense_cli"}),
        ("condense_cli", {"condense_wmdd", "condense_baselines"}),
    ],
)
def test_who_may_import_whom(package: str, forbidden: set[str]) -> None:
    offences = {path.name: found for path in sources(package) if (found := imported(path) & forbidden)}
    assert offences == {}


def test_the_scan_sees_imports_of_every_form(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(
        "import condense_wmdd.plugin\n"
        "def later():\n"
        "    from condense_cli import main\n"
        "BUILD = 'condense_baselines.plugin:hook'\n"
        "from . import sibling\n"
    )
    assert imported(path) >= {"condense_wmdd", "condense_cli", "condense_baselines"}


HEAVY = ("torch", "ot", "numpy", "PIL", "timm", "torchvision", "sklearn")


@pytest.mark.parametrize(
    "statement",
    [
        "import condense",
        "from condense.recipe.registry import load_registry\nload_registry()",
        "from condense.recipe.registry import load_registry\n"
        "from condense.recipe.config import resolve\n"
        "resolve(load_registry(), method='wmdd').to_dict()",
        "from condense.recipe.registry import load_registry\n"
        "from condense.recipe.settings import options_of\n"
        "from condense.recipe.method import Use\n"
        "options_of(Use(name='barycenter'), 'feature target', load_registry())",
    ],
    ids=["import", "registry", "resolve", "options"],
)
def test_what_answers_at_once_imports_nothing_heavy(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


@pytest.mark.parametrize("package", LIBRARY)
def test_the_library_never_prints(package: str) -> None:
    calls = [
        f"{path.name}:{node.lineno}"
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


@pytest.mark.parametrize("package", LIBRARY)
def test_the_library_never_seeds_the_global_generator(package: str) -> None:
    """`condense.rng` alone does, and puts it back."""
    offences = [
        f"{path.name}:{node.lineno}"
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.manual_seed", "random.seed", "np.random.seed", "torch.seed")
        and path.name != "rng.py"
    ]
    assert offences == []


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_readable(package: str) -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in sources(package)}
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}
