"""A plugin that is wrong in one way is caught by the check that is meant for it, and by that one alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from condense.recipe.registry import Registry
from condense.testing import CHECKS, check_plugin, examine_plugin
from condense.testing.offered import KIND_OF

# Writes a plugin with some of its text changed, installs it, and returns its name and what is offered then.
Written = Callable[..., tuple[str, Registry]]
# The checks that need no other process, which would import torch again, nor anything that the plugin has not.
HERE = [check for check in CHECKS if check not in ("import", "resume", *KIND_OF)]

# For each check: what is changed in the sound plugin, into what, and words of the finding.
FAULTS = {
    "import": ("from dataclasses", "import torch\nfrom dataclasses", "imports torch"),
    "options": (
        'raise ValueError("scale must be above 0")',
        'raise ValueError("scale must be above 0")\n        object.__setattr__(self, "scale", self.scale / 10)',
        "scale of 't-",
    ),
    "settings": ("t-NAME.scale", "t-NAME.scal", "preset 'small-grey': unknown option"),
    "gradients": (
        "synthetic.images.diff(dim=3)",
        "synthetic.images.detach().diff(dim=3)",
        "returned a loss without a gradient to the pixels",
    ),
    "inputs": (
        "mine = F.one_hot",
        "real.features.sub_(1)\n        mine = F.one_hot",
        "changed real.features in place in observe",
    ),
    "batches": (
        "self.sums = self.sums + mine.T @ real.features\n        self.counts = self.counts + mine.sum(dim=0)[:, None]",
        "self.sums = self.sums + mine.T @ real.features / mine.sum(dim=0).clamp_min(1)[:, None]\n"
        "        self.counts = self.counts + (mine.sum(dim=0) > 0)[:, None]",
        "/means differs by",
    ),
    "state": (
        '{"means": self.means, "shift": self.shift}',
        '{"means": self.means, "shift": 0 * self.shift}',
        "its loss is",
    ),
    "one-image": (
        "return synthetic.images.diff(dim=3).square().mean()",
        "return sum(\n            synthetic.images[synthetic.batch.labels == label].std(dim=0).mean()\n"
        "            for label in synthetic.batch.classes\n        )",
        "became nan in recover",
    ),
    "one-class": (
        "return synthetic.images.diff(dim=3).square().mean()",
        "return (synthetic.images[synthetic.batch.labels == synthetic.batch.classes[1]]).square().mean()",
        "IndexError: index 1 is out of bounds",
    ),
    "channels": (
        "synthetic.images.diff(dim=3)",
        "synthetic.images[:, 2].diff(dim=2)",
        "grey images: regularizer 'r-",
    ),
    "repeats": (
        "return torch.rand(shape, generator=request.generator)",
        "draws = torch.Generator()\n        draws.seed()\n        return torch.rand(shape, generator=draws)",
        "chunks/00000.safetensors is another in a second run",
    ),
    "resume": (
        "self.shift = torch.tensor(self.options.shift)",
        "memory['shift'] = self.options.shift\n\n"
        "    @property\n    def shift(self):\n        return torch.tensor(memory.get('shift', 0.0))\n\n"
        "    @shift.setter\n    def shift(self, value):\n        pass",
        "is another in a run that another process finished",
    ),
}


def test_there_is_a_fault_for_every_check() -> None:
    assert [*FAULTS, *KIND_OF] == list(CHECKS)


@pytest.mark.filterwarnings("ignore:std..:UserWarning")
@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_caught_by_its_check(check: str, write_plugin: Written) -> None:
    old, new, words = FAULTS[check]
    name, registry = write_plugin(old, new)
    report = examine_plugin(name, checks={*HERE, check}, registry=registry)
    assert {finding.check for finding in report.failed} == {check}, report.text()
    [finding] = report.failed
    assert words in finding.text
    assert "Traceback" not in report.text()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:std..:UserWarning")
def test_a_loss_that_counts_its_steps_is_caught(write_plugin: Written) -> None:
    """A run that goes on in the middle of a chunk would count from there."""
    name, registry = write_plugin(
        "return synthetic.images.diff(dim=3)",
        "self.steps = getattr(self, 'steps', 0) + 1\n        return self.steps * synthetic.images.diff(dim=3)",
    )
    report = examine_plugin(name, checks={"repeats", "resume"}, registry=registry)
    [finding] = report.failed
    assert finding.check == "resume"
    assert "is another in a run that another process finished" in finding.text
    assert "nothing from step to step" in finding.text


def test_the_plugin_without_a_fault_passes(write_plugin: Written) -> None:
    name, registry = write_plugin()
    report = check_plugin(name, checks=HERE, registry=registry)
    assert [finding.state for finding in report.findings] == ["passed"] * len(HERE)
