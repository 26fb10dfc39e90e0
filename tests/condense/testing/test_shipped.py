"""WMDD and all baselines keep the contract that plugins of others are held to."""

from __future__ import annotations

import pytest

from condense.recipe.registry import load_registry
from condense.testing import CHECKS, check_plugin

SHIPPED = ("wmdd", "baselines")


def test_what_is_shipped_passes_every_check_but_resume() -> None:
    """Another process would import torch again, which takes a third of the time."""
    registry = load_registry()
    report = check_plugin(
        *SHIPPED, checks=[check for check in CHECKS if check != "resume"], registry=registry
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
