"""`condense plugins check`: its table, its JSON, its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from condense.testing import CHECKS

Invoke = Callable[..., Result]
# A plugin of one file: a regularizer without state.
SOUND = """
from condense import ImagesAlone, Method, Needs, Recover, Regularizer, RegularizerSpec, Weighted, hookimpl


class Edges(Regularizer):
    def __init__(self, options):
        pass

    def loss(self, synthetic, real):
        return synthetic.images.diff(dim=3).square().mean()


@hookimpl
def condense_regularizers():
    return [RegularizerSpec(name="edges", summary="x", needs=Needs(through=ImagesAlone()), build=Edges)]


@hookimpl
def condense_methods():
    losses = {"targets": {"cross-entropy": Weighted()}, "regularizers": {"edges": Weighted()}}
    return [Method(name="edged", summary="x", recover=Recover(iterations=5), **losses)]
"""
QUICK = ["--only", "options", "--only", "gradients"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge_loss.py"
    path.write_text(SOUND)
    return path


@pytest.mark.parametrize("name", ["edge-loss", "edged"])
def test_a_plugin_of_one_file_or_its_method_passes(condense: Invoke, file: Path, name: str) -> None:
    result = condense("plugins", "check", name, "--plugin", str(file), *QUICK)
    assert result.exit_code == 0, result.output
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert [line for line in lines if line and line[0] in CHECKS] == [
        ["options", "passed"],
        ["gradients", "passed"],
    ]
    assert result.stdout.rstrip().endswith(f"{name!r}: every check passed")
    told = result.stderr.splitlines()
    assert told[0].startswith("check: ") and told[0].endswith(f"{name!r}, 2 checks")
    assert told[-1].startswith("check: done in ")


def test_a_check_that_fails_gives_exit_status_1_and_no_traceback(condense: Invoke, file: Path) -> None:
    file.write_text(SOUND.replace(".mean()", ".mean().detach()"))
    result = condense("plugins", "check", "edge-loss", "--plugin", str(file), *QUICK)
    assert result.exit_code == 1
    assert "1 check failed" in result.stdout
    assert "Traceback" not in result.output


def test_json_has_every_finding(condense: Invoke, file: Path) -> None:
    file.write_text(SOUND.replace(".mean()", ".mean().detach()"))
    for words in (["plugins", "check", "edge-loss", "--json"], ["plugins", "--json", "check", "edge-loss"]):
        result = condense(*words, "--plugin", str(file), *QUICK)
        assert result.exit_code == 1
        data = json.loads(result.stdout)
        assert (data["subject"], data["passed"]) == ("plugin 'edge-loss'", False)
        options, gradients = data["checks"]
        assert (options["check"], options["state"]) == ("options", "passed")
        assert gradients["meaning"] == CHECKS["gradients"]
        [finding] = gradients["findings"]
        assert finding["subject"] == "method 'edged'"
        assert "without a gradient" in finding["text"]


def test_unknown_names_are_refused_with_those_that_there_are(condense: Invoke) -> None:
    plugin = condense("plugins", "check", "wmd")
    assert plugin.exit_code == 1
    assert "unknown method 'wmd'. Did you mean 'wmdd'?" in plugin.output
    check = condense("plugins", "check", "wmdd", "--only", "option")
    assert check.exit_code == 1
    assert "unknown check 'option'. Did you mean 'options'?" in check.output
