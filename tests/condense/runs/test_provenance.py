"""Versions are named, computers are not."""

from __future__ import annotations

import getpass
import platform
from dataclasses import replace

import pytest
import torch

from condense.recipe.registry import PluginStatus, Registry, load_registry
from condense.recipe.resolve import configure
from condense.runs import provenance
from condense.runtime import CompileSetting, make_runtime


def test_versions_of_what_computes_and_of_every_plugin_in_use() -> None:
    base = load_registry()
    broken = PluginStatus("broken", "1.0", "broken_module", "ImportError: no")
    plugins = (*(replace(status, version="2.5") for status in base.plugins), broken)
    found = provenance.versions(Registry({}, plugins, {}))
    assert found["python"] == platform.python_version()
    assert torch.__version__.startswith(found["torch"])
    assert found["plugin wmdd"] == found["plugin baselines"] == "2.5"
    assert not any("broken" in name for name in found)
    assert "plugin condense" not in found
    assert found["condense"]


def test_a_host_is_described_without_a_name() -> None:
    config = configure(load_registry(), method="wmdd")
    found = provenance.host(make_runtime("cpu", "fp32"), config)
    assert found["computes"] == "cpu, float32"
    assert int(found["cores"]) >= 1
    text = " ".join(found.values()).split()
    assert platform.node() not in text
    assert getpass.getuser() not in text


def test_what_is_compiled_is_noted_by_stage() -> None:
    def compiled(setting: CompileSetting, *settings: tuple[str, object], students: int = 1) -> str:
        config = configure(load_registry(), method="wmdd", settings=settings, students=students)
        return provenance.host(make_runtime("cpu", "fp32", compile=setting), config)["compiled"]

    few = (("recover.iterations", 10), ("protocol.epochs", 10))
    assert compiled("off", *few) == compiled("auto", *few) == ""
    assert compiled("on", *few) == "recover, evaluate"
    assert compiled("on", *few, students=0) == "recover"
    assert compiled("on", ("recover.iterations", 0)) == "evaluate"
    assert compiled("on", *few, ("select.students", 1)) == "recover, select, evaluate"


@pytest.mark.parametrize(
    ("before", "now", "computes", "told"),
    [
        ("2", "2", "cpu, float32", False),
        ("2", "1", "cpu, float32", True),
        ("2, 1", "1", "cpu, bfloat16", True),
        ("2", "1", "cuda, bfloat16", False),
    ],
)
def test_other_threads_are_told_where_they_change_bits(
    before: str, now: str, computes: str, told: bool
) -> None:
    note = provenance.other_threads(before, {"threads": now, "computes": computes})
    assert bool(note) == told
    if told:
        assert note.startswith(
            f"threads of each worker: {before} for what is finished, {now} for the rest; on a CPU"
        )


def test_threads_of_all_attempts_are_kept_once_each() -> None:
    assert provenance.with_threads("2", "1") == "2, 1"
    assert provenance.with_threads("2, 1", "2") == "2, 1"
