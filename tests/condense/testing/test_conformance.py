"""The kit itself: what it is asked for, what it leaves out and why, and how it says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import condense.testing
from condense.errors import PluginError, UnknownNameError
from condense.recipe.registry import KINDS, Registry
from condense.testing import (
    CHECKS,
    Finding,
    Report,
    check_method,
    check_plugin,
    examine_method,
    examine_plugin,
)
from condense.testing.subjects import subjects_of, with_offers

# Writes a plugin with some of its text changed, installs it, and returns its name and what is offered then.
Written = Callable[..., tuple[str, Registry]]
QUICK = ["options", "settings", "gradients"]


def test_every_name_of_the_stub_can_be_imported() -> None:
    assert all(getattr(condense.testing, name) is not None for name in condense.testing.__all__)


def test_a_method_is_tried_with_the_parts_of_all_plugins(write_plugin: Written) -> None:
    name, registry = write_plugin()
    report = check_method(f"m-{name}", checks=QUICK, registry=registry)
    assert {finding.subject for finding in report.findings} == {f"method 'm-{name}'"}
    [options] = report.of("options")
    # Those of the target, and none of the regularizer, the initializer, `identity` and the evaluator.
    assert options.text.startswith("2 options of 4 components")


def test_a_failed_check_is_an_assertion_error_that_says_what_was_wanted(write_plugin: Written) -> None:
    name, registry = write_plugin(".square().mean()", ".square().mean().detach()")
    with pytest.raises(AssertionError, match="without a gradient") as caught:
        check_plugin(name, checks=QUICK, registry=registry)
    assert CHECKS["gradients"] in str(caught.value)
    with pytest.raises(AssertionError, match="without a gradient"):
        check_method(f"m-{name}", checks=QUICK, registry=registry)


def test_what_no_method_uses_is_tried_alone(write_plugin: Written) -> None:
    unused = ('regularizers={"r-NAME": Weighted(0.1)}', "regularizers={}")
    name, registry = write_plugin(*unused)
    subjects, made = subjects_of(name, with_offers(registry))
    assert [subject.title for subject in subjects] == [f"method 'm-{name}'", f"regularizer 'r-{name}'"]
    [method] = made
    assert [*method.targets, *method.regularizers] == ["cross-entropy", f"r-{name}"]
    report = examine_plugin(name, checks=["gradients"], registry=registry)
    assert [finding.state for finding in report.findings] == ["passed", "passed"]


PICKY = (
    "class Start(Initializer):",
    "from condense import OptionError\n\n\nclass Start(Initializer):\n"
    "    def check(self, targets):\n        raise OptionError('no target has slots')\n",
)


def test_an_initializer_that_no_method_uses_may_refuse_the_target_that_it_is_tried_with(
    write_plugin: Written,
) -> None:
    name, registry = write_plugin(*PICKY, 'initializer=Use(name="i-NAME")', 'initializer=Use(name="real")')
    report = examine_plugin(name, checks=["gradients", "channels"], registry=registry)
    alone = [finding for finding in report.findings if finding.subject == f"initializer 'i-{name}'"]
    assert {finding.state for finding in alone} == {"skipped"}
    assert all("alone it cannot be tried: no target has slots" in finding.text for finding in alone)
    assert report.failed == []


def test_a_method_whose_initializer_refuses_its_target_fails(write_plugin: Written) -> None:
    name, registry = write_plugin(*PICKY)
    [finding] = examine_plugin(name, checks=["gradients"], registry=registry).findings
    assert (finding.state, finding.text) == ("failed", "no target has slots")


def test_an_error_in_several_batches_alone_is_told(write_plugin: Written) -> None:
    name, registry = write_plugin(
        "mine = F.one_hot", "assert len(real.batch.classes) == 3\n        mine = F.one_hot"
    )
    report = examine_plugin(name, checks=["batches", "state", "gradients"], registry=registry)
    assert [finding.check for finding in report.failed] == ["batches"]
    assert "in several batches: feature target" in report.failed[0].text
    assert "AssertionError" in report.failed[0].text


def test_a_loss_that_draws_for_itself_is_not_blamed_on_its_state(write_plugin: Written) -> None:
    name, registry = write_plugin(
        "return self.options.scale * (means",
        "draws = torch.Generator()\n        draws.seed()\n"
        "        return torch.rand((), generator=draws) * self.options.scale * (means",
    )
    report = examine_plugin(name, checks=["batches", "state", "repeats"], registry=registry)
    assert [finding.check for finding in report.failed] == ["repeats"]
    [state] = report.of("state")
    assert state.state == "skipped" and "`repeats`" in state.text


def test_a_registry_of_ones_own_has_no_other_process(write_plugin: Written) -> None:
    name, registry = write_plugin()
    offers = {kind: {offer.spec.name: offer for offer in registry.offers(kind)} for kind, _ in KINDS.values()}
    bare = Registry(offers, registry.plugins, registry.contested)
    [resume] = examine_plugin(name, checks=["resume"], registry=bare).findings
    assert resume.state == "skipped" and "put together by hand" in resume.text


def test_names_that_do_not_exist_are_refused(write_plugin: Written) -> None:
    name, registry = write_plugin()
    with pytest.raises(UnknownNameError, match="unknown plugin 'plan'"):
        examine_plugin("plan", registry=registry)
    with pytest.raises(UnknownNameError, match="unknown method"):
        examine_method("nobody", registry=registry)
    with pytest.raises(UnknownNameError, match="unknown check 'speed'"):
        examine_plugin(name, checks=["speed"], registry=registry)


def test_a_plugin_that_was_set_aside_is_refused_with_its_reason(write_plugin: Written) -> None:
    name, registry = write_plugin("@dataclass(", "1 / 0\n@dataclass(")
    with pytest.raises(PluginError, match=r"was set aside: .*division by zero"):
        examine_plugin(name, registry=registry)


def test_a_row_names_the_first_that_failed_and_counts_the_others() -> None:
    findings = [
        Finding(check="gradients", subject=f"method {name!r}", state=state, text="x")
        for name, state in (("a", "passed"), ("b", "failed"), ("c", "failed"))
    ]
    report = Report(subject="plugin 'p'", findings=findings)
    [row] = report.rows()
    assert (row.state, row.text) == ("failed", "method 'b': x (1 more of 3 fails)")
    assert row.meaning == CHECKS["gradients"]
    assert report.text().startswith("plugin 'p': 2 findings failed")
