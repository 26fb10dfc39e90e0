"""What must hold of the code as a whole: who may import whom, what is quick, how files look."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "condense": ROOT / "condense",
    "condense_wmdd": ROOT / "plugins" / "wmdd" / "condense_wmdd",
    "condense_baselines": ROOT / "plugins" / "baselines" / "condense_baselines",
    "condense_ray": ROOT / "plugins" / "ray" / "condense_ray",
    "condense_slurm": ROOT / "plugins" / "slurm" / "condense_slurm",
    "condense_cli": ROOT / "cli" / "condense_cli",
    "condense_mean_feature": ROOT / "examples" / "plugin-mean-feature" / "condense_mean_feature",
    "benchmarks": ROOT / "benchmarks",
    "tools": ROOT / "tools",
}
LIBRARY = ("condense", "condense_wmdd", "condense_baselines", "condense_ray", "condense_slurm")
PLUGINS = ("condense_wmdd", "condense_baselines", "condense_ray", "condense_slurm", "condense_mean_feature")
LONGEST = 350

# A room is a package or top-level module; it may import rooms on lower floors and nothing else. docs/architecture.md
# says what each room is for.
FLOORS = (
    ("condense.errors", "condense.rng", "condense.text", "condense.version"),
    ("condense.recipe", "condense.runtime", "condense.storage.files"),
    ("condense.data",),
    ("condense.models", "condense.storage", "condense.executors"),
    ("condense.engine",),
    ("condense.runs", "condense.builtin", *PLUGINS),
    ("condense.comparison", "condense.testing"),
    ("condense.comparison.report",),
    ("condense.api", "condense.sharing"),
    ("condense", "condense_cli"),
    ("benchmarks", "tools"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS, 1) for room in rooms}


def sources(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{package} has no source files"
    return found


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package, base in PACKAGES.items():
        for path in sources(package):
            parts = (package, *path.relative_to(base).with_suffix("").parts)
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


@functools.cache
def public_homes() -> dict[str, str]:
    """The module in which each public name of condense lives."""
    stub = ast.parse((ROOT / "condense" / "__init__.pyi").read_text())
    return {
        alias.name: f"condense.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """The project's modules that a file imports anywhere, also inside functions and for types alone.

    A public name counts as an import of the module that it lives in.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules():
                    yield full
                elif node.module == "condense":
                    yield public_homes()[alias.name]
                elif node.module in modules():
                    yield node.module


def room_of(module: str) -> str:
    return max(
        (room for room in FLOOR_OF if module == room or module.startswith(f"{room}.")),
        key=len,
        default=module,
    )


@functools.cache
def arrows() -> frozenset[tuple[str, str]]:
    """Every import from one module of the project to another."""
    return frozenset(
        (module, target)
        for module, path in modules().items()
        for target in imported_modules(ast.parse(path.read_text()))
        if target != module
    )


def test_every_module_has_a_floor() -> None:
    top = {
        f"condense.{path.stem}" for path in (ROOT / "condense").glob("[!_]*") if path.suffix in ("", ".py")
    }
    assert top <= set(FLOOR_OF)
    assert {room_of(module) for module in modules()} == set(FLOOR_OF)


def test_no_room_imports_one_on_its_own_floor_or_above() -> None:
    upward = sorted(
        f"{module} (floor {FLOOR_OF[room_of(module)]}) imports {target} (floor {FLOOR_OF[room_of(target)]})"
        for module, target in arrows()
        if room_of(module) != room_of(target) and FLOOR_OF[room_of(target)] >= FLOOR_OF[room_of(module)]
    )
    assert upward == []


def test_no_module_imports_itself_through_others() -> None:
    left = {module: {target for source, target in arrows() if source == module} for module in modules()}
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


def test_the_house_stays_small() -> None:
    assert len(FLOORS) <= 11
    assert len(FLOOR_OF.keys() - set(PLUGINS)) <= 23


def test_the_scan_sees_imports_of_every_form() -> None:
    tree = ast.parse(
        "import condense.text\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from condense.data.dataset import RealDataset\n"
        "def later():\n"
        "    from condense.storage import files\n"
        "    from condense import Loss, load\n"
        "from . import sibling\n"
    )
    assert sorted(imported_modules(tree)) == [
        "condense.data.dataset",
        "condense.engine.components",
        "condense.sharing",
        "condense.storage.files",
        "condense.text",
    ]


@pytest.mark.parametrize("package", PLUGINS)
def test_plugins_import_the_public_names_and_nothing_else_of_condense(package: str) -> None:
    offences = [
        f"{path.name}:{node.lineno}"
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("condense."))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("condense.") for alias in node.names))
    ]
    assert offences == []


@pytest.mark.parametrize("package", ["condense", "condense_cli"])
def test_the_host_names_no_plugin(package: str) -> None:
    """Plugins are found through their entry points; a string such as "condense_wmdd.plugin" would bypass that."""
    named = [
        f"{path.name}:{node.lineno}"
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(
            ("condense_wmdd.", "condense_baselines.", "condense_wmdd:", "condense_baselines:")
        )
    ]
    assert named == []


HEAVY = ("torch", "ot", "numpy", "PIL", "timm", "torchvision", "sklearn", "scipy", "matplotlib")


def free_of_torch() -> list[str]:
    """The modules that must import nothing heavy; freedom from torch is a matter of place."""
    exact = {
        "condense",
        "condense.api",
        "condense.sharing",
        "condense.builtin",
        "condense.errors",
        "condense.rng",
        "condense.runtime",
    }
    exact |= {"condense.text", "condense.version", "condense.engine.plan"}
    exact |= {f"condense.data.{name}" for name in ("fetching", "kinds", "preprocessing", "shares")}
    exact |= {
        "condense.engine.parts",
        "condense.engine.epochs",
        "condense.engine.work",
        "condense.engine.price",
        "condense.comparison.amount",
    }
    exact |= {"condense.engine.labels", "condense.storage.files", "condense.storage.run_folder"}
    exact |= {
        f"condense.{name}"
        for name in (
            "data.ahead",
            "runs.ahead",
            "runs.journal",
            "runs.repeat",
            "runs.status",
            "storage.manifest",
        )
    }
    exact |= {f"condense.comparison.{name}" for name in ("ahead", "columns", "command", "design", "given")}
    exact |= {"condense.runs.graph", "condense.comparison.graph"}
    exact |= {f"condense.comparison.{name}" for name in ("imported", "outcome", "remarks")}
    exact |= {f"condense.comparison.{name}" for name in ("rows", "terms", "workspace")}
    places = ("condense.recipe", "condense_baselines.recipes", "condense.executors")
    endings = (".catalog", ".plugin", ".options", ".method")
    return sorted(
        module
        for module in modules()
        if module in exact
        or any(module == place or module.startswith(f"{place}.") for place in places)
        or (module.endswith(endings) and not module.startswith(("condense_cli", "condense_mean_feature")))
    )


def floor_table() -> list[tuple[int, str, list[tuple[str, str]]]]:
    """The rooms in docs/architecture.md: floor, room, and which parts of it are free of torch."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if re.match(r"\| \d+ \| `", line)]
    return [
        (int(floor), room, re.findall(r"`([^`]+)`|\b(all)\b", free))
        for floor, rooms, _, free in rows
        for room in re.findall("`([^`]+)`", rooms)
    ]


OUTSIDE = {"cli/condense_cli/": "condense_cli", "condense/__init__": "condense"}
OUTSIDE |= {"benchmarks/": "benchmarks", "tools/": "tools"}


def named(room: str) -> str:
    return OUTSIDE.get(room, f"condense.{room.strip('/').replace('/', '.')}")


def test_the_page_has_every_room_once_on_its_floor() -> None:
    found = [(named(room), floor) for floor, room, _ in floor_table() if not room.endswith("*")]
    assert len(dict(found)) == len(found)
    assert dict(found) == {room: floor for room, floor in FLOOR_OF.items() if room not in PLUGINS}


@pytest.mark.parametrize(
    "room", ["comparison/", "engine/", "models/", "storage/", "executors/", "data/", "recipe/"]
)
def test_the_page_says_what_is_free_of_torch(room: str) -> None:
    [listed] = [free for _, name, free in floor_table() if name == room]
    inside = {module for module in modules() if room_of(module) == named(room)}
    free = inside & set(free_of_torch())
    if listed == [("", "all")]:
        assert free == inside
    else:
        assert {f"{named(room)}.{name}" for name, _ in listed} == free


def test_places_free_of_torch_import_nothing_heavy() -> None:
    found = free_of_torch()
    assert len(found) > 25
    program = (
        "import importlib, sys\n"
        f"for name in {found!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "    assert not loaded, f'{name} imports {loaded}'\n"
        "from condense.recipe.registry import load_registry\n"
        "from condense.recipe.resolve import configure\n"
        "from condense.engine.plan import make_plan\n"
        "registry = load_registry()\n"
        "make_plan(configure(registry, method='wmdd'), registry).stages()\n"
        f"assert not [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", [*LIBRARY, "condense_cli"])
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


@pytest.mark.parametrize("package", [*LIBRARY, "condense_cli"])
def test_files_stay_readable(package: str) -> None:
    lengths = {
        str(path.relative_to(PACKAGES[package])): len(path.read_text().splitlines())
        for path in sources(package)
    }
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}


@pytest.mark.parametrize("package", [*LIBRARY, "condense_cli"])
def test_functions_stay_readable(package: str) -> None:
    """Docstrings do not count: a public function may have many arguments to explain."""
    long = []
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) else None
                shown = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
                if (node.end_lineno or 0) - node.lineno + 1 - shown > 60:
                    long.append(f"{path.name}:{node.lineno} {node.name}")
    assert long == []


def test_imports_are_absolute() -> None:
    """The scan of imports reads no relative ones."""
    relative = [
        f"{path}:{node.lineno}"
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
