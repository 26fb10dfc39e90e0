"""Equal names for equal work, whatever does not change it; and looking ahead without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import condense
from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Design, design_comparison
from condense.comparison.workspace import Workspace, look_ahead
from condense.data.dataset import RealDataset
from condense.errors import StorageError
from condense.recipe import sources
from condense.recipe.config import Machine, Recipe
from condense.recipe.method import Use
from condense.recipe.registry import KINDS, PluginStatus, Registry, default_registry
from condense.storage.files import write_json
from condense.storage.run_folder import RunFolder

ONE = Machine(device="cuda:0", precision="bf16")


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


def design(registry: Registry, method: str = "wmdd", **terms: Any) -> Design:
    usual: dict[str, Any] = {"dataset": "tiny", "protocol": "fkd", "seeds": 1, "scores": False}
    return design_comparison("compare", method, registry, **{**usual, **terms})


def column(registry: Registry, **terms: Any) -> ColumnSetup:
    (setup,) = design(registry, **terms).columns
    return setup


@pytest.mark.parametrize(
    "other",
    [
        Machine(device="cuda:1", precision="bf16"),
        Machine(device="cuda", precision="bf16"),
        Machine(device="cuda:0", precision="bf16", data_dir="elsewhere"),
    ],
)
def test_a_cell_and_its_students_are_those_of_every_machine_of_a_kind(
    registry: Registry, tmp_path: Path, other: Machine
) -> None:
    one, two = (Workspace(tmp_path, registry, machine) for machine in (ONE, other))
    recipe, setup = design(registry).recipe, column(registry, students=2)
    assert one.cell(recipe) == two.cell(recipe)
    assert one.students(recipe, setup) == two.students(recipe, setup)


@pytest.mark.parametrize("other", [replace(ONE, device="cpu"), replace(ONE, precision="fp32")])
def test_a_machine_of_another_kind_has_cells_of_its_own(
    registry: Registry, tmp_path: Path, other: Machine
) -> None:
    recipe = design(registry).recipe
    one, two = (Workspace(tmp_path, registry, machine).cell(recipe) for machine in (ONE, other))
    assert one.path.parent == two.path.parent and one != two


def test_more_students_come_behind_those_that_are_there(registry: Registry, tmp_path: Path) -> None:
    space, recipe = Workspace(tmp_path, registry, ONE), design(registry).recipe
    two, five = (space.students(recipe, column(registry, students=count)) for count in (2, 5))
    assert (len(two), len(set(five))) == (2, 5)
    assert five[:2] == two
    assert {file.parent for file in five} == {space.cell(recipe).path / "students"}


@pytest.mark.parametrize(
    "terms",
    [
        {"protocol": "dc"},
        {"epochs": 5},
        {"student": "convnet"},
        {"settings": {"protocol.lr": 0.5}},
        {"settings": {"protocol.labels": "soft"}},
        {"settings": {"protocol.augment.cutmix": 0.5}},
    ],
)
def test_students_trained_otherwise_have_other_files_in_the_same_cell(
    registry: Registry, tmp_path: Path, terms: dict[str, Any]
) -> None:
    space = Workspace(tmp_path, registry, ONE)
    recipe, other = design(registry).recipe, design(registry, **terms).recipe
    assert space.cell(recipe) == space.cell(other)
    one, two = space.students(recipe, column(registry)), space.students(other, column(registry, **terms))
    assert [file.parent for file in one] == [file.parent for file in two]
    assert not {*one} & {*two}


def test_the_name_of_a_cell_says_what_is_in_it(registry: Registry, tmp_path: Path) -> None:
    space = Workspace(tmp_path, registry, ONE)
    recipe = replace(design(registry, ipc=5, seed=4).recipe, dataset=Use(name="folder:/home/me/my pets"))
    cell = space.cell(recipe).path
    stem, _, code = cell.name.rpartition("-")
    assert (cell.parent, stem) == (tmp_path / "cells", "wmdd-folder-my-pets-ipc5-seed4")
    assert len(code) == 10 and set(code) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "terms",
    [
        {"method": "random"},
        {"ipc": 5},
        {"seed": 1},
        {"validation": 0.5},
        {"settings": {"lr": 0.5}},
        {"settings": {"teacher.epochs": 3}},
        {"settings": {"regularizers.class-batchnorm": 2}},
    ],
)
def test_every_part_of_a_recipe_decides_the_cell(
    registry: Registry, tmp_path: Path, terms: dict[str, Any]
) -> None:
    space = Workspace(tmp_path, registry, ONE)
    assert space.cell(design(registry).recipe) != space.cell(design(registry, **terms).recipe)


def test_a_checkpoint_is_known_by_its_content(registry: Registry, tmp_path: Path) -> None:
    space = Workspace(tmp_path, registry, ONE)
    files = [tmp_path / name for name in ("one", "copy", "other")]
    for file, content in zip(files, (b"weights", b"weights", b"others"), strict=True):
        file.write_bytes(content)

    def taught_by(file: Path) -> Recipe:
        return design(registry, settings={"teacher.checkpoint": str(file)}).recipe

    one, copy, other = (space.cell(taught_by(file)) for file in files)
    assert one == copy != other


@pytest.mark.parametrize(
    ("plugin", "terms", "takes_part"),
    [
        ("wmdd", {"method": "wmdd"}, True),
        ("wmdd", {"method": "random"}, False),
        ("baselines", {"method": "wmdd"}, False),
        ("baselines", {"method": "random"}, True),
        ("baselines", {"method": "wmdd", "settings": {"regularizers.batchnorm": 1}}, True),
        ("wmdd", {"method": "sre2l", "settings": {"targets.barycenter": 1}}, True),
    ],
)
def test_another_version_of_a_plugin_that_takes_part_makes_another_cell(
    registry: Registry, tmp_path: Path, plugin: str, terms: dict[str, Any], takes_part: bool
) -> None:
    offers = {kind: {offer.spec.name: offer for offer in registry.offers(kind)} for kind, _ in KINDS.values()}
    plugins = tuple(status for status in registry.plugins if status.name != plugin)
    newer = Registry(offers, (*plugins, PluginStatus(plugin, "99", "module")), {})
    recipe = design(registry, **terms).recipe
    one, two = (Workspace(tmp_path, known, ONE).cell(recipe) for known in (registry, newer))
    assert (one != two) == takes_part


def test_a_cell_is_finished_when_everything_is_there_and_run_json_says_so(
    registry: Registry, tmp_path: Path
) -> None:
    asked = design(registry, "random", reference=False, device="cpu", precision="fp32", students=2)
    space = Workspace(tmp_path, registry, asked.machine)
    folder: RunFolder = space.cell(asked.recipe)
    (setup,) = asked.columns

    def done() -> tuple[int, int]:
        found = look_ahead(asked, tmp_path, registry)
        assert (found.path, found.cells, found.students) == (tmp_path / asked.name, 1, 2)
        return found.cells_done, found.students_done

    write_json(space.students(asked.recipe, setup)[1], {})
    write_json(folder.run_json, {"status": "done"})
    folder.distilled.mkdir()
    assert done() == (0, 0)  # without its picture
    folder.grid.touch()
    assert done() == (1, 1)
    write_json(folder.run_json, {"status": "running"})
    assert done() == (0, 0)
    folder.run_json.write_text("{")
    with pytest.raises(StorageError, match="is not valid JSON"):
        done()


LOOK = """
import json, sys
from pathlib import Path
from condense.comparison.design import design_comparison
from condense.comparison.workspace import look_ahead
from condense.recipe import sources
from condense.recipe.registry import default_registry

design = design_comparison("compare", "random", default_registry(), **json.loads(sys.argv[2]))
found = look_ahead(design, Path(sys.argv[1]), default_registry())
heavy = [name for name in ("torch", "numpy", "PIL", "ot") if name in sys.modules]
print(json.dumps([heavy, found.cells, found.cells_done, found.students, found.students_done]))
"""


def test_looking_ahead_imports_no_torch_and_finds_what_the_chosen_device_has_done(tmp_path: Path) -> None:
    terms: dict[str, Any] = {
        "ipc": 1,
        "epochs": 1,
        "scores": False,
        "protocol": "dc",
        "device": "auto",
        "settings": {"teacher.epochs": 0, "teacher.model.width": 8, "protocol.model.width": 8},
    }
    condense.compare("random", seeds=1, students=2, out=tmp_path, registry=default_registry(), **terms)
    asked = json.dumps({**terms, "seeds": 2, "students": 3})
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path), asked], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [[], 2, 1, 6, 2]


@pytest.mark.parametrize(("method", "takes_part"), [("wmdd", True), ("random", False)])
def test_a_changed_plugin_of_the_same_version_makes_another_cell(
    registry: Registry, tmp_path: Path, method: str, takes_part: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = design(registry, method=method).recipe
    space = Workspace(tmp_path, registry, ONE)
    before = space.cell(recipe)
    known = sources.source_hash
    monkeypatch.setattr(
        sources, "source_hash", lambda module: "edited" if "wmdd" in module else known(module)
    )
    assert (space.cell(recipe) != before) == takes_part
