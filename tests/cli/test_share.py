"""`condense push`, with a stand-in for the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import condense.api
from condense.storage.hub import Pushed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library was asked to push."""
    found: list[dict[str, Any]] = []

    def push(path: str, name: str, **options: Any) -> Pushed:
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

    monkeypatch.setattr(condense.api, "push", push)
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


def test_push_as_json(condense: Any, asked: list[dict[str, Any]]) -> None:
    result = condense("push", "runs/known", "mini", "--public", "--no-teacher", "--json")
    assert asked == [{"path": "runs/known", "name": "mini", "private": False, "teacher": False}]
    assert json.loads(result.stdout)["url"] == "https://huggingface.co/datasets/me/mini"


def test_what_is_no_artifact(condense: Any, tmp_path: Path) -> None:
    result = condense("push", str(tmp_path / "none"), "mini")
    assert result.exit_code == 1
    assert "there is no folder" in result.output
