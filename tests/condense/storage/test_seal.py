"""The seal tells runs that were made here from others."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from condense.storage.seal import is_sealed, seal_of

SETTINGS = {"recipe": {"method": "dm"}}


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDENSE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seal"


def test_it_fits_the_settings_that_it_was_made_for(secret: Path) -> None:
    assert not is_sealed({"settings": SETTINGS, "seal": ""})
    seal = seal_of(SETTINGS)
    assert seal == seal_of(SETTINGS)
    assert is_sealed({"settings": SETTINGS, "seal": seal})
    assert not is_sealed({"settings": {"recipe": {"method": "wmdd"}}, "seal": seal})
    if sys.platform != "win32":
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data", [{}, {"seal": None}, {"settings": SETTINGS}, {"settings": SETTINGS, "seal": "é" * 64}]
)
def test_other_data_has_none(data: dict[str, Any]) -> None:
    seal_of(SETTINGS)
    assert not is_sealed(data)


def test_another_user_has_another_secret(secret: Path) -> None:
    seal = seal_of(SETTINGS)
    secret.unlink()
    assert not is_sealed({"settings": SETTINGS, "seal": seal})
    assert seal_of(SETTINGS) != seal


def test_without_a_place_for_the_secret_there_is_no_seal(secret: Path) -> None:
    secret.parent.write_text("a file")
    assert seal_of(SETTINGS) == ""
    assert not is_sealed({"settings": SETTINGS, "seal": ""})
