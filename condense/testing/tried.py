"""The checks that are made by runs on made-up images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from condense.recipe.registry import Registry
from condense.testing.declared import refused_form
from condense.testing.elsewhere import gone_on
from condense.testing.findings import Answer, Finding
from condense.testing.measuring import Measured, UnsteadyError
from condense.testing.subjects import COLOUR, GREY
from condense.testing.trial import Outcome, Situation, Trial, differing, sentence_of
from condense.text import counted


class Tried:
    """A trial with what is known of its measurements. Each answer is found when it is first asked for."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self._measured: Mapping[str, Answer] | None = None

    def measured(self) -> Mapping[str, Answer]:
        """Return the answers of the checks "batches" and "state", which need no run."""
        if self._measured is None:
            self._measured = _measured(self.trial)
        return self._measured

    def broken(self) -> Answer | None:
        """Return why nothing more can be tried, or None: the usual run fails, and another check says why."""
        if self.measured()["state"][0] == "failed":
            return "skipped", "nothing runs before the check `state` passes"
        usual = self.trial.on(self.trial.dataset)
        refused = self.refused(usual)
        if refused:
            return refused
        if usual.changed:
            return "skipped", "nothing runs before the check `inputs` passes"
        return ("skipped", "nothing runs before the check `gradients` passes") if usual.error else None

    def refused(self, outcome: Outcome) -> Answer | None:
        """Return why nothing is wrong with settings that were refused, or None: the check `settings` says it."""
        if not outcome.refused:
            return None
        if self.trial.subject.alone:
            return (
                "skipped",
                f"no method of its plugin uses it, and alone it cannot be tried: {outcome.error}",
            )
        if refused_form(self.trial.subject.method, self.trial.registry):
            return "skipped", "nothing runs before the check `settings` passes"
        return None


def _measured(trial: Trial) -> Mapping[str, Answer]:
    nothing: Answer = ("skipped", "no loss of it observes real images")
    try:
        plan = trial.plan()
        if not any(loss.needs.observes for loss in plan.losses):
            return {"batches": nothing, "state": nothing}
        dataset, runtime = trial.images()
        measured = Measured(plan, trial.registry, dataset, runtime)
        lost = measured.lost_by_saving()
    except (Exception, SystemExit) as error:  # What comes of a plugin's code may be anything.
        return dict.fromkeys(("batches", "state"), _unmeasured(trial, error))
    names = " and ".join(loss.name for loss in measured.losses)
    kept = f"{names}, restored from {counted(len(measured.state), 'tensor')}, gives the same"
    return {
        "batches": _parted(measured, f"what {names} measured is the same in one batch and in several"),
        "state": ("failed", lost) if lost else ("passed", kept),
    }


def _unmeasured(trial: Trial, error: BaseException) -> Answer:
    """Return what an error says of losses that cannot be measured. Usually the usual run meets the same one."""
    if isinstance(error, UnsteadyError):
        return "skipped", str(error)
    if trial.on(trial.dataset).error:
        return "skipped", "its losses cannot be fitted, as another check says"
    return "failed", sentence_of(error)


def _parted(measured: Measured, fine: str) -> Answer:
    """Return whether measurements depend on batches. fine: the sentence that says that they do not."""
    try:
        depends = measured.depends_on_batches()
    except UnsteadyError as error:
        return "skipped", str(error)
    except (Exception, SystemExit) as error:  # What comes of a plugin's code may be anything.
        return "failed", f"in several batches: {sentence_of(error)}"
    return ("failed", depends) if depends else ("passed", fine)


def _gradients(tried: Tried) -> Answer:
    usual = tried.trial.on(tried.trial.dataset)
    broken = tried.broken()
    elsewhere = usual.changed or tried.refused(usual) is not None or tried.measured()["state"][0] == "failed"
    if broken and elsewhere:
        return broken
    if usual.error:
        return "failed", usual.error
    steps = tried.trial.steps
    return "passed", f"{counted(steps, 'step')} ran" if steps else "it has no steps, and its images were made"


def _inputs(tried: Tried) -> Answer:
    usual = tried.trial.on(tried.trial.dataset)
    if usual.changed:
        return "failed", usual.error
    return tried.broken() or ("passed", "every tensor was left as it was")


def _channels(tried: Tried) -> Answer:
    broken = tried.broken()
    if broken:
        return broken
    for name, word in ((COLOUR, "colour"), (GREY, "grey")):
        outcome = tried.trial.on(name)
        refused = tried.refused(outcome)
        if refused:
            return refused
        if outcome.error:
            return "failed", f"{word} images: {outcome.error}"
    return "passed", "colour and grey images were tried"


def _in_situation(situation: Situation, text: str) -> Callable[[Tried], Answer]:
    def answer(tried: Tried) -> Answer:
        broken = tried.broken()
        if broken:
            return broken
        outcome = tried.trial.outcome(situation)
        return ("failed", outcome.error) if outcome.error else ("passed", text)

    return answer


def _repeats(tried: Tried) -> Answer:
    first = _comparable(tried)
    if not isinstance(first, Outcome):
        return first
    second = tried.trial.outcome("one class", "again")
    if second.error:
        return "failed", f"the second run failed, and the first did not: {second.error}"
    return _compared(first, second, "a second run")


def _comparable(tried: Tried) -> Outcome | Answer:
    """Return a whole run in several chunks, or why there is none."""
    broken = tried.broken()
    if broken:
        return broken
    outcome = tried.trial.outcome("one class")
    if outcome.error:
        return "skipped", "no run ends before the check `one-class` passes"
    return outcome


def _compared(first: Outcome, second: Outcome, what: str) -> Answer:
    other = differing(first.path, second.path)
    if other:
        return "failed", (
            f"{other} is another in {what}; draw from the generator that is passed in, keep nothing outside of the "
            "component and nothing from step to step, and rely on no order of a set"
        )
    return "passed", f"{what} gave the same bytes"


_ANSWERS: Mapping[str, Callable[[Tried], Answer]] = {
    "gradients": _gradients,
    "inputs": _inputs,
    "batches": lambda tried: tried.measured()["batches"],
    "state": lambda tried: tried.measured()["state"],
    "one-image": _in_situation("one image", "one image per class ran"),
    "one-class": _in_situation("one class", "chunks of one class ran"),
    "channels": _channels,
    "repeats": _repeats,
}
OF_TRIALS = (*_ANSWERS, "resume")


def findings_of(trials: Sequence[Trial], wanted: Sequence[str], registry: Registry) -> Iterator[Finding]:
    """Yield what each of the wanted checks finds of each trial."""
    all_tried = [Tried(trial) for trial in trials]
    for check in wanted:
        if check in _ANSWERS:
            for tried in all_tried:
                yield _finding(check, tried, _ANSWERS[check](tried))
    if "resume" in wanted:
        yield from _resumed(all_tried, registry)


def _resumed(all_tried: Sequence[Tried], registry: Registry) -> Iterator[Finding]:
    """Yield what "resume" finds. All runs go on in one other process, because each process imports torch first."""
    if registry.chosen is None:
        unknown = "another process cannot load a registry that was put together by hand"
        yield from (_finding("resume", tried, ("skipped", unknown)) for tried in all_tried)
        return
    wholes = [_comparable(tried) for tried in all_tried]
    stopped = [
        tried.trial.interrupted() if isinstance(whole, Outcome) else None
        for tried, whole in zip(all_tried, wholes, strict=True)
    ]
    ends = gone_on([one.path for one in stopped if one and not one.error], registry.chosen)
    for tried, whole, part in zip(all_tried, wholes, stopped, strict=True):
        if not isinstance(whole, Outcome) or part is None:
            assert not isinstance(whole, Outcome)
            yield _finding("resume", tried, whole)
        elif part.error:
            yield _finding(
                "resume", tried, ("failed", f"the run failed before it was interrupted: {part.error}")
            )
        elif ends[str(part.path)]:
            yield _finding("resume", tried, ("failed", f"it did not go on: {ends[str(part.path)]}"))
        else:
            yield _finding("resume", tried, _compared(whole, part, "a run that another process finished"))


def _finding(check: str, tried: Tried, answer: Answer) -> Finding:
    state, text = answer
    return Finding(check=check, subject=tried.trial.subject.title, state=state, text=text)
