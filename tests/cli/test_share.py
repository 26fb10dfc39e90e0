"""`condense push` with a stand-in for the library, and `condense import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

import condense.sharing
from condense.recipe.registry import Registry
from condense.storage.hub import Pushed


@pytest.fixture
def registries() -> list[Registry]:
    """What the library was asked to take parametrizations from."""
    return []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, registries: list[Registry]) -> list[dict[str, Any]]:
    """What the library was asked to push."""
    found: list[dict[str, Any]] = []

    def push(path: str, name: str, **options: Any) -> Pushed:
        registries.append(options.pop("registry"))
        found.append({"path": path, "name": name, **options})
        return Pushed(
            name=f"me/{name}",
            url=f"https://huggingface.co/datasets/me/{name}",
            private=options.get("private", False),
            images=20,
            teacher=False,
            needs_teacher="online" in path,
            licence="MIT" if "known" in path else "",
        )

    monkeypatch.setattr(condense.sharing, "push", push)
    return found


def test_push_says_who_sees_it_and_under_which_licence(condense: Any, asked: list[dict[str, Any]]) -> None:
    result: Result = condense("push", "runs/known", "mini", "--private", "--message", "first")
    assert result.exit_code == 0, result.output
    assert asked == [{"path": "runs/known", "name": "mini", "private": True, "message": "first"}]
    for text in ("its owner alone", "MIT (of the real images)", "condense evaluate hf:me/mini", "not needed"):
        assert text in result.output
    assert "https://huggingface.co/datasets/me/mini" in result.output


def test_only_what_is_given_is_passed_on(condense: Any, asked: list[dict[str, Any]]) -> None:
    result = condense("push", "runs/online", "mini")
    assert asked == [{"path": "runs/online", "name": "mini"}]
    assert "everybody" in result.output
    assert "of the real images not known" in result.output
    assert "others need it for the protocol" in " ".join(result.output.split())


def test_a_plugin_in_a_file_decodes_what_is_pushed(
    condense: Any, asked: list[dict[str, Any]], registries: list[Registry], tmp_path: Path
) -> None:
    file = tmp_path / "mirrored.py"
    file.write_text(
        "from condense import Parametrization, ParametrizationSpec, hookimpl\n"
        "@hookimpl\n"
        "def condense_parametrizations():\n"
        '    return [ParametrizationSpec(name="mirrored", summary="x", build=Parametrization)]\n'
    )
    result = condense("push", "runs/known", "mini", "--plugin", str(file))
    assert result.exit_code == 0, result.output
    assert registries[0].find("parametrization", "mirrored").summary == "x"


def test_push_as_json(condense: Any, asked: list[dict[str, Any]]) -> None:
    result = condense("push", "runs/known", "mini", "--public", "--no-teacher", "--json")
    assert asked == [{"path": "runs/known", "name": "mini", "private": False, "teacher": False}]
    assert json.loads(result.stdout)["url"] == "https://huggingface.co/datasets/me/mini"


def test_what_is_no_artifact(condense: Any, tmp_path: Path) -> None:
    result = condense("push", str(tmp_path / "none"), "mini")
    assert result.exit_code == 1
    assert "there is no folder" in result.output


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """One image for each class of fashion-mini, normalised, in two experiments."""
    images = torch.randn(10, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-0.8, 2)
    file = tmp_path / "res_DC.pt"
    torch.save({"data": [[images, torch.arange(10)]] * 2}, file)
    return file


def test_import_evaluate_and_compare(condense: Any, published: Path) -> None:
    result = condense("import", str(published), "--dataset", "fashion-mini", "--method", "dc")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "10: 1 for each of 10 classes" in text
    assert "taken as normalised by mean 0.286 and deviation 0.353" in text
    assert "experiment 0 of 2 is taken" in text
    assert "judge it condense evaluate runs/dc-fashion-mini-1ipc" in text
    quick = ("--set", "protocol.epochs=1", "--set", "protocol.model.width=8", "--device", "cpu")
    judged = condense("evaluate", "runs/dc-fashion-mini-1ipc", "--students", "1", *quick)
    assert judged.exit_code == 0, judged.output
    assert "protocol dc: 1 epoch" in " ".join(judged.output.split())
    row = "imported:runs/dc-fashion-mini-1ipc"
    planned = condense("compare", "wmdd", row, "--ipc", "1", "--dry-run", "--json")
    assert planned.exit_code == 0, planned.output
    assert [one["label"] for one in json.loads(planned.stdout)["rows"]] == ["wmdd", "dc (imported)", "random"]


def test_import_as_json(condense: Any, published: Path) -> None:
    words = ("--experiment", "1", "--std", "0.353", "--mean", "0.2861", "--ipc", "1", "--name", "mine")
    result = condense(
        "import", str(published), "--dataset", "fashion-mini", "--method", "dc", *words, "--json"
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["path"], data["labels"], data["images"]) == ("runs/mine", "hard", 10)
    assert data["protocol"]["name"] == "dc"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--method", "dc"], "Missing option '--dataset'"),
        (["--dataset", "fashion-mini"], "Missing option '--method'"),
        (["--dataset", "fashion-mini", "--method", "dc", "--mean", "a,b"], "is not a list of numbers"),
        (["--dataset", "fashion-mini", "--method", "dc", "--ipc", "2"], "asked for, and there are 1"),
    ],
)
def test_import_refuses(words: list[str], text: str, condense: Any, published: Path) -> None:
    result = condense("import", str(published), *words)
    assert result.exit_code != 0
    assert text in result.output
