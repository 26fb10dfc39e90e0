"""Loading one plugin: where it failed, what it prints, what its import costs."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest

from condense.recipe import loading
from condense.recipe.doubts import doubts
from condense.recipe.registry import load_registry

HEAD = "from condense import Method, ModelSpec, Recover, hookimpl\n"


@pytest.mark.parametrize(
    ("source", "hook", "line", "what"),
    [
        (
            "one = 1\nimport there_is_none\n",
            "import",
            2,
            "ModuleNotFoundError: No module named 'there_is_none'",
        ),
        ("one = (\n", "import", 1, "SyntaxError: '(' was never closed"),
        ("raise SystemExit('no licence')\n", "import", 1, "SystemExit: no licence"),
        (
            HEAD
            + "def half(x):\n    return 1 / x\n\n@hookimpl\ndef condense_models():\n    return half(0)\n",
            "condense_models",
            3,
            "ZeroDivisionError: division by zero",
        ),
        (
            HEAD
            + "@hookimpl\ndef condense_methods():\n    return [\n        Method(name='A', summary='x')]\n",
            "condense_methods",
            5,
            "ValueError: ",
        ),
        # What condense refuses is at the head of the hook.
        (
            HEAD + "\n@hookimpl\ndef condense_models():\n    return 3\n",
            "condense_models",
            3,
            "condense_models must",
        ),
        (HEAD + "\n@hookimpl\ndef condense_model():\n    return []\n", "condense_model", 3, "unknown hook"),
        (
            HEAD + "\n\ndef condense_models():\n    return []\n",
            "condense_models",
            4,
            "condense_models is not marked",
        ),
        ("condense_api = 99\n", "", 0, "it speaks version 99"),
    ],
)
def test_a_failure_has_its_hook_its_file_and_its_line(
    shelf: Any, source: str, hook: str, line: int, what: str
) -> None:
    module = shelf.write("bad", source)
    status = shelf.status_of(load_registry(), "bad")
    failure = status.failure
    assert (failure.hook, failure.line) == (hook, line)
    assert failure.what.startswith(what)
    assert failure.file.endswith(f"{module}.py" if line else "")
    assert status.problem.count(f"({module}.py, line {line})") == bool(line)
    assert "Traceback" not in status.problem


def test_the_traceback_begins_in_the_plugins_code(shelf: Any) -> None:
    module = shelf.write("bad", "def fail():\n    raise KeyError('x')\n\nfail()\n")
    lines = shelf.status_of(load_registry(), "bad").failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(", ")[1:] for line in lines if line.startswith("  File")] == [
        ["line 4", "in <module>"],
        ["line 2", "in fail"],
    ]
    assert f"{module}.py" in lines[1]
    assert lines[-1] == "KeyError: 'x'"


def test_an_error_in_another_library_is_at_the_line_that_called_it(shelf: Any) -> None:
    shelf.write("bad", "import json\n\ndata = json.loads('{')\n")
    failure = shelf.status_of(load_registry(), "bad").failure
    assert failure.line == 3
    assert failure.what.startswith("JSONDecodeError")
    assert "decoder.py" in failure.traceback


def test_a_package_that_fails_below_its_plugin_module(shelf: Any, tmp_path: Any) -> None:
    package = tmp_path / "shelf_deep"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text("from shelf_deep import options\n")
    (package / "options.py").write_text("\n\nlimit = undefined\n")
    shelf.install("bad", "shelf_deep.plugin")
    problem = shelf.status_of(load_registry(), "bad").problem
    assert problem == "import failed (options.py, line 3): NameError: name 'undefined' is not defined"


def test_what_a_plugin_prints_goes_to_stderr(shelf: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.write(
        "loud",
        HEAD + "print('at import')\n@hookimpl\ndef condense_models():\n    print('in hook')\n    return []\n",
    )
    assert shelf.status_of(load_registry(), "loud").problem == ""
    assert capsys.readouterr() == ("", "at import\nin hook\n")


def test_a_slow_library_at_import_is_named_with_its_cost(
    shelf: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "shelf_heavy_library.py").write_text("")
    monkeypatch.delitem(sys.modules, "shelf_heavy_library", raising=False)
    monkeypatch.setattr(loading, "HEAVY", ("there_is_none", "shelf_heavy_library"))
    clock = itertools.count(step=1.5)  # seconds between two looks at it
    monkeypatch.setattr(loading.time, "perf_counter", lambda: next(clock))
    shelf.write("aslow", "import shelf_heavy_library\n")
    shelf.write("later", "import shelf_heavy_library\n")
    registry = load_registry()
    slow, later = (shelf.status_of(registry, name) for name in ("aslow", "later"))
    assert (slow.heavy, later.heavy) == (("shelf_heavy_library",), ())
    [doubt] = [doubt for doubt in doubts(registry) if doubt.plugin == "aslow"]
    assert doubt.text.startswith("its import takes 1.5 s and brings shelf_heavy_library; every command waits")
