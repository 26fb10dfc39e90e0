"""--plugin: a plugin of one file, in listings, runs, resumed runs and comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from condense_cli.main import COMMANDS, cli

Invoke = Callable[..., Result]

FILE = """
from condense import EvaluatorSpec, Evaluator, Method, Recover, StudentResult, Use, hookimpl

print("loaded")

class Half(Evaluator):
    def __init__(self, options):
        pass
    def evaluate(self, request):
        return StudentResult(student=request.student, accuracy=0.5, seconds=0.0, steps=1)

@hookimpl
def condense_evaluators():
    return [EvaluatorSpec(name="half", summary="one half", build=Half)]

@hookimpl
def condense_methods():
    kept = Recover(iterations=0)
    return [Method(name="kept", summary="real images", initializer=Use(name="real"), evaluator=Use(name="half"),
        recover=kept, protocol="dc")]
"""
RUN = ["--method", "kept", "--ipc", "1", "--students", "1", "--no-reference", "--device", "cpu"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_idea.py").write_text(FILE)
    return tmp_path / "my_idea.py"


def test_every_command_that_loads_plugins_takes_the_option() -> None:
    def options(*words: str) -> set[str]:
        command = cli.get_command(None, words[0])  # type: ignore[arg-type]
        for word in words[1:]:
            command = command.commands[word]  # type: ignore[union-attr]
        return {name for parameter in command.params for name in parameter.opts}  # type: ignore[union-attr]

    with_shows = [(name,) for name in COMMANDS if name not in ("push", "status")]
    with_shows += [
        (name, "show") for name in ("methods", "datasets", "models", "protocols", "components", "plugins")
    ]
    assert [words for words in with_shows if "--plugin" not in options(*words)] == []


def test_listings_show_what_the_file_brings(condense: Invoke, file: Path) -> None:
    listed = condense("methods", "--plugin", "my_idea.py", "--json")
    assert listed.stderr == "loaded\n"
    (row,) = [row for row in json.loads(listed.stdout) if row["name"] == "kept"]
    assert row["plugin"] == "my-idea"
    assert condense("methods", "--plugin", "my_idea.py", "show", "kept").exit_code == 0
    assert condense("methods", "show", "kept", "--plugin", "my_idea.py").exit_code == 0
    assert condense("methods", "show", "kept").exit_code == 1
    data = json.loads(condense("plugins", "show", "my-idea", "--plugin", "my_idea.py", "--json").stdout)
    assert (data["file"], data["of_file"], len(data["source"])) == (str(file), True, 16)
    assert {part["name"] for part in data["brings"]} == {"half", "kept"}
    assert str(file) in condense("plugins", "--plugin", "my_idea.py").stdout


def test_a_file_that_fails_is_an_error_and_plugins_shows_it(condense: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("\n1 / 0\n")
    where = "import failed (bad.py, line 2): ZeroDivisionError: division by zero"
    result = condense("methods", "--plugin", "bad.py")
    assert result.exit_code == 1
    assert result.stderr == f"Error: --plugin {tmp_path / 'bad.py'}: {where}\n"
    assert where in condense("plugins", "--plugin", "bad.py").stdout
    assert "line 2, in <module>" in condense("plugins", "show", "bad", "--plugin", "bad.py").stdout


def test_a_run_says_what_file_it_was_and_is_resumed_with_it_alone(condense: Invoke, file: Path) -> None:
    with_file = ["--plugin", "my_idea.py"]
    result = condense("run", *RUN, *with_file, "--name", "one", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"][0]["accuracy_mean"] == 0.5
    saved = json.loads(Path("runs/one/run.json").read_text())
    assert saved["plugin_files"] == {"my-idea": str(file)}
    assert set(saved["sources"]) == {"my-idea"}
    for words in (
        ["--resume", "--from", "runs/one"],
        ["--from", "runs/one", "--dry-run"],
        [*RUN, "--resume", "--name", "one"],
    ):
        refused = condense("run", *words)
        assert refused.exit_code == 1
        said = f"Error: runs/one was made with the plugin {file}, which is not loaded; add --plugin {file}\n"
        assert refused.stderr == said
    again = condense("run", "--resume", "--from", "runs/one", *with_file)
    assert again.exit_code == 0, again.output
    evaluated = condense("evaluate", "runs/one", "--students", "1", "--set", "evaluator=half")
    assert f"add --plugin {file}" in evaluated.stderr
    file.write_text(FILE.replace("accuracy=0.5", "accuracy=0.25"))
    edited = condense("run", "--resume", "--from", "runs/one", *with_file)
    assert edited.exit_code == 1
    assert "the source of plugin 'my-idea' has changed" in edited.stderr


def test_the_command_of_a_comparison_has_the_file(condense: Invoke, file: Path) -> None:
    words = ["kept", "--plugin", "my_idea.py", "--seeds", "1", "--no-scores", "--dry-run", "--json"]
    result = condense("compare", *words)
    assert result.exit_code == 0, result.output
    refused = condense("compare", "kept", "--dry-run")
    assert "unknown method 'kept'" in refused.stderr
