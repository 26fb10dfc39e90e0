"""`condense plugins`: states, where a plugin failed, what one brings, names that two offer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
AddPlugins = Callable[..., None]

BROKEN = """
from condense import hookimpl

def half(number):
    return 1 / number

@hookimpl
def condense_methods():
    return [half(0)]
"""
PLACE = "condense_methods failed (plugin_broken.py, line 5): ZeroDivisionError: division by zero"
RIVAL = """
from condense import Method, Recover, hookimpl

print("words that are no JSON")

@hookimpl
def condense_methods():
    return [Method(name="wmdd", summary="another of this name", recover=Recover(iterations=0))]
"""
HOPEFUL = """
from condense import Method, Recover, hookimpl

@hookimpl
def condense_methods():
    kept = Recover(iterations=0)
    return [Method(name="hopeful", summary="x", recover=kept, presets={"imagenete": {"initializer": "real"}})]
"""


def test_each_plugin_has_its_version_module_and_state(condense: Invoke) -> None:
    result = condense("plugins")
    assert result.exit_code == 0
    assert "Worth knowing" not in result.stdout
    assert "Set aside" not in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("wmdd")]
    assert line.split()[2:] == ["condense_wmdd.plugin", "works"]


def test_a_failure_is_told_with_hook_file_and_line(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(broken=BROKEN)
    result = condense("plugins")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("broken")]
    assert line.endswith("set aside")
    assert f"broken  {PLACE}" in result.stdout
    plugins = json.loads(condense("plugins", "--json").stdout)["plugins"]
    (broken,) = [plugin for plugin in plugins if not plugin["works"]]
    assert (broken["name"], broken["state"], broken["problem"]) == ("broken", "set aside", PLACE)
    assert (broken["hook"], broken["failed_line"]) == ("condense_methods", 5)
    assert Path(broken["failed_file"]).name == "plugin_broken.py"


def test_one_that_was_set_aside_is_shown_with_its_traceback(
    condense: Invoke, add_plugins: AddPlugins
) -> None:
    add_plugins(broken=BROKEN)
    text = condense("plugins", "show", "broken").stdout
    assert PLACE in " ".join(text.split())
    assert "Traceback (most recent call last):" in text
    assert "in half\n    return 1 / number" in text
    data = json.loads(condense("plugins", "show", "broken", "--json").stdout)
    assert data["traceback"].endswith("ZeroDivisionError: division by zero\n")
    assert json.loads(condense("plugins", "--json", "show", "broken").stdout) == data


@pytest.mark.parametrize("words", [["methods"], ["plugins"], ["run", "--method", "random", "--dry-run"]])
def test_traceback_shows_where_plugins_failed(
    condense: Invoke, add_plugins: AddPlugins, words: list[str]
) -> None:
    add_plugins(broken=BROKEN)
    shown = condense("--traceback", *words).stderr
    assert shown.startswith("Plugin 'broken' was set aside:\nTraceback (most recent call last):\n")
    assert "ZeroDivisionError: division by zero" in shown
    assert "Traceback" not in condense(*words).stderr


def test_other_commands_point_to_the_plugin_set_aside(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(broken=BROKEN)
    result = condense("methods", "--json")
    assert result.stderr == "Set aside: broken; `condense plugins` says why\n"
    assert json.loads(result.stdout)
    assert condense("--disable-plugin", "broken", "methods").stderr == ""
    assert condense("plugins").stderr == condense("plugins", "show", "broken").stderr == ""


def test_a_disabled_plugin_is_listed_as_that(condense: Invoke) -> None:
    lines = condense("--disable-plugin", "wmdd", "plugins").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("wmdd")]
    assert line.endswith("disabled")
    assert "Set aside" not in lines


def test_one_that_works_is_shown_with_what_it_brings(condense: Invoke) -> None:
    data = json.loads(condense("plugins", "show", "wmdd", "--json").stdout)
    brought = {(part["kind"], part["name"]) for part in data["brings"]}
    assert {
        ("method", "wmdd"),
        ("feature target", "barycenter"),
        ("regularizer", "class-batchnorm"),
    } <= brought
    assert data["distribution"] == "condense-toolkit"
    assert Path(data["file"]).parts[-2:] == ("condense_wmdd", "plugin.py")
    assert (data["state"], data["problem"], data["traceback"]) == ("works", "", "")
    text = condense("plugins", "show", "wmdd").stdout
    for part in (data["file"], data["source"], *(part["name"] for part in data["brings"])):
        assert part in text


def test_an_unknown_plugin_is_answered_with_the_nearest(condense: Invoke) -> None:
    result = condense("plugins", "show", "wmd")
    assert result.exit_code == 1
    assert "unknown plugin 'wmd'. Did you mean 'wmdd'?" in result.stderr


def test_what_a_plugin_prints_stays_out_of_json(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(rival=RIVAL)
    result = condense("plugins", "--json")
    assert "words that are no JSON" in result.stderr
    assert json.loads(result.stdout)["contested"] == [
        {
            "name": "wmdd",
            "kind": "method",
            "plugins": "rival, wmdd",
            "outcome": "clash: plugins 'rival' and 'wmdd' offer it, so none counts; disable one",
        }
    ]


def test_names_that_two_plugins_offer_are_named(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(rival=RIVAL)
    listed = condense("plugins").stdout.partition("Offered by more than one plugin")[2]
    (line,) = [line for line in listed.partition("Worth knowing")[0].splitlines() if line.strip()]
    assert line.split()[:3] == ["method", "wmdd", "clash:"]
    for plugin in ("rival", "wmdd"):
        assert "clash: plugins 'rival' and 'wmdd' offer it" in condense("plugins", "show", plugin).stdout


def test_a_preset_without_a_dataset_is_worth_knowing(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(hopeful=HOPEFUL)
    notes = json.loads(condense("plugins", "--json").stdout)["notes"]
    (note,) = [entry["note"] for entry in notes if entry["plugin"] == "hopeful"]
    assert "the preset 'imagenete'" in note
    assert note.endswith("did you mean 'imagenette'?")
    assert json.loads(condense("plugins", "show", "hopeful", "--json").stdout)["notes"] == [note]


@pytest.mark.thorough
@pytest.mark.slow
def test_torch_at_import_is_worth_knowing(tmp_path: Path) -> None:
    """In a process of its own, where nothing has imported it before."""
    (tmp_path / "plugin_slow.py").write_text("import torch\n")
    info = tmp_path / "slow-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[condense]\nslow = plugin_slow\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from condense_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "plugins", "--json"], capture_output=True, text=True, check=True
    )
    (note,) = [note["note"] for note in json.loads(done.stdout)["notes"] if note["plugin"] == "slow"]
    assert " s and brings torch" in note
