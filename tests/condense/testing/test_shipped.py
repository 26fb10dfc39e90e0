"""WMDD, all baselines and condense's own parts keep the contract that plugins of others are held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense.recipe.registry import HOST, load_registry
from condense.testing import CHECKS, check_plugin
from condense.testing.offered import CHECKS_OF, KIND_OF

SHIPPED = ("wmdd", "baselines")


@pytest.mark.thorough
def test_what_is_shipped_passes_every_check_but_resume() -> None:
    """Another process would import torch again, which takes a third of the time."""
    registry = load_registry()
    report = check_plugin(
        *SHIPPED, checks=[check for check in CHECKS if check not in ("resume", *KIND_OF)], registry=registry
    )
    methods = {offer.spec.name for offer in registry.offers("method") if offer.plugin in SHIPPED}
    tried = {finding.subject for finding in report.of("gradients")}
    assert {f"method {name!r}" for name in methods} <= tried
    assert len(methods) >= 15
    # Nothing is passed over silently: what is skipped has no measurements to look at.
    skipped = {(finding.check, finding.text) for finding in report.findings if finding.state == "skipped"}
    nothing = "no loss of it observes real images"
    assert skipped <= {("batches", nothing), ("state", nothing)}
    assert {finding.subject for finding in report.of("state") if finding.state == "passed"} >= {
        "method 'wmdd'",
        "method 'g-vbsm'",
    }


@pytest.mark.slow
@pytest.mark.thorough
def test_runs_of_what_is_shipped_go_on_in_another_process() -> None:
    report = check_plugin(*SHIPPED, checks=["resume"], registry=load_registry())
    assert {finding.state for finding in report.findings} == {"passed"}


@pytest.mark.parametrize("kind", ["dataset", "model", "parametrization"])
def test_what_condense_offers_itself_keeps_the_contract(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Data is not there but for what is part of the package."""
    monkeypatch.setenv("CONDENSE_DATA_DIR", str(tmp_path))
    registry = load_registry()
    report = check_plugin(HOST, checks=CHECKS_OF[kind], registry=registry)
    names = {f"{kind} {offer.spec.name!r}" for offer in registry.offers(kind) if offer.plugin == HOST}
    one_of_many = {f"{kind} {offer.spec.name!r}" for offer in registry.offers(kind) if _takes(offer.spec)}
    looked_at = {(finding.check, finding.subject) for finding in report.findings if finding.state == "passed"}
    if kind == "dataset":
        assert {subject for check, subject in looked_at if check == "absent"} == names - {
            "dataset 'fashion-mini'"
        }
        assert {("images", "dataset 'fashion-mini'"), ("reload", "dataset 'fashion-mini'")} <= looked_at
    else:
        here = {*CHECKS_OF[kind]} - {"unfolding"}
        assert {(check, name) for check in here for name in names - one_of_many} <= looked_at


def _takes(spec: object) -> bool:
    return bool(getattr(spec, "takes", ""))


@pytest.mark.parametrize("plugin", [HOST, pytest.param("baselines", marks=pytest.mark.slow)])
def test_protocols_that_are_shipped_train_students(plugin: str) -> None:
    report = check_plugin(plugin, checks=CHECKS_OF["protocol"], registry=load_registry())
    assert {finding.state for finding in report.findings} == {"passed"}
    assert len(report.findings) >= 2


@pytest.mark.thorough
@pytest.mark.slow
def test_executors_that_are_shipped_do_the_work_of_one_process() -> None:
    """Those of a cluster have their own tests, as no cluster is here."""
    report = check_plugin(HOST, checks=CHECKS_OF["executor"], registry=load_registry())
    assert {finding.subject for finding in report.findings} == {"executor 'local'", "executor 'processes'"}
    assert {finding.state for finding in report.findings} == {"passed"}


def test_an_executor_without_its_cluster_is_skipped_with_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    report = check_plugin("slurm", checks=CHECKS_OF["executor"], registry=load_registry())
    assert {finding.state for finding in report.findings} == {"skipped"}
    assert all("jobs cannot be handed in" in finding.text for finding in report.findings)
