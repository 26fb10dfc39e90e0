"""The checks of the conformance kit by name, what each of them found, and a report of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from condense.text import counted

State = Literal["passed", "failed", "skipped"]
# What a check found of one thing: the state, and a sentence.
Answer = tuple[State, str]

# Every check with what it means, in the order in which they are reported.
CHECKS: Mapping[str, str] = {
    "import": "A package is imported within a second, and without torch.",
    "options": "Every option can be set from text, and comes back from run.json as it was.",
    "settings": "Every preset, kind of images, number of images and variant makes a run.",
    "gradients": "Every loss is a finite number with a finite gradient to the pixels.",
    "inputs": "Nothing that a component is shown is changed in place.",
    "batches": "Measurements do not depend on how real images are split into batches.",
    "state": "A loss that is restored from its saved state gives what the fitted one gives.",
    "one-image": "One image per class is enough.",
    "one-class": "A chunk may hold one class.",
    "channels": "Images may be grey or in colour.",
    "repeats": "Two runs with one seed give the same bytes.",
    "resume": "A run that is interrupted and goes on in another process gives the same bytes.",
    "images": "A dataset has the images, labels and counts that the contract and its spec promise.",
    "reload": "A dataset that is loaded twice is the same.",
    "absent": "A dataset whose files are not there says so in a sentence.",
    "students": "Students of a protocol are trained to a finite loss, and twice alike.",
    "shapes": "A network gives logits, features and finite gradients for images of several sizes.",
    "weights": "One seed gives a network the same first weights.",
    "memory": "A network remembers parameters and buffers, and nothing else.",
    "stored": "Stored images have the shape of images, and gradients from what is decoded of them.",
    "apart": "What is decoded depends on its own stored image alone.",
    "unfolding": "The lines for people without condense decode as `decode` does.",
    "pieces": "An executor leaves the bytes of one process, and tells what pieces report.",
    "failure": "The error of a piece arrives as it was raised.",
    "workers": "Workers end with their run, also with one that fails.",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found of one thing.

    check: its name, a key of `CHECKS`. subject: what was looked at, such as "method 'wmdd'".
    state: "skipped" where there was nothing to look at, or where another check says why nothing runs.
    text: a sentence.
    """

    check: str
    subject: str
    state: State
    text: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one check found of everything. state, text: of the first that failed, else a summary."""

    check: str
    meaning: str
    state: State
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What all checks found. subject: "plugin 'wmdd'"."""

    subject: str
    findings: Sequence[Finding]

    @property
    def failed(self) -> list[Finding]:
        """The findings that failed."""
        return [finding for finding in self.findings if finding.state == "failed"]

    def of(self, check: str) -> list[Finding]:
        """Return the findings of one check."""
        return [finding for finding in self.findings if finding.check == check]

    def rows(self) -> list[Row]:
        """Return a row for each check that was asked for, in the order of `CHECKS`."""
        found = [(check, self.of(check)) for check in CHECKS]
        return [_row(check, findings) for check, findings in found if findings]

    def text(self) -> str:
        """Return what failed, a line for each, or a line that says that nothing did."""
        if not self.failed:
            return f"{self.subject}: every check passed"
        lines = [
            f"{finding.check}: {finding.subject}: {finding.text}\n  wanted: {CHECKS[finding.check]}"
            for finding in self.failed
        ]
        return "\n".join([f"{self.subject}: {counted(len(self.failed), 'finding')} failed", *lines])


def _row(check: str, findings: Sequence[Finding]) -> Row:
    by_state: dict[State, list[Finding]] = {"failed": [], "passed": [], "skipped": []}
    for finding in findings:
        by_state[finding.state].append(finding)
    state: State = next(state for state, ones in by_state.items() if ones)
    first, count = by_state[state][0], len(by_state[state])
    if len(findings) == 1:
        text = first.text
    elif state == "failed":
        fail = "fails" if count == 2 else "fail"
        more = f" ({count - 1} more of {len(findings)} {fail})" if count > 1 else ""
        text = f"{first.subject}: {first.text}{more}"
    elif state == "passed":
        rest = "" if count == len(findings) else f"; there was nothing to look at in {len(findings) - count}"
        text = f"All {count} pass{rest}. First {first.subject}: {first.text}"
    else:
        text = first.text
    return Row(check=check, meaning=CHECKS[check], state=state, text=text)
