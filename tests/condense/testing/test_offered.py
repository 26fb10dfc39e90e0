"""Datasets, protocols, networks, parametrizations and executors that are wrong in one way are caught by their check."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from condense.recipe.registry import KINDS, Registry
from condense.testing import check_plugin, examine_plugin
from condense.testing.offered import CHECKS_OF, KIND_OF
from condense.testing.time_limit import limited

# Writes a plugin with some of its text changed, installs it, and returns its name and what is offered then.
Written = Callable[..., tuple[str, Registry]]

EXECUTOR = CHECKS_OF["executor"]

# For each check: what is changed in the sound plugin, into what, and words of the finding.
FAULTS: dict[str, tuple[str, str, str]] = {
    "images": ('"images": (24, 9)', '"images": (24, 10)', "its spec says images=(24, 10), and (24, 9) came"),
    "reload": (
        "pixels, labels = torch.load(file)",
        "pixels, labels = torch.load(file)\n    pixels = pixels.roll(next(built), dims=3)",
        "the train images or their order are others",
    ),
    "absent": (
        'raise DataError(f"{file} is not there; put it there")',
        'raise FileNotFoundError("d-images.pt")',
        "from an empty folder it raises FileNotFoundError: d-images.pt",
    ),
    "students": ("lr=0.01", "lr=1e30", "colour images: "),
    "shapes": ("self.first(images)", "self.first(images.detach())", "no gradient to the pixels"),
    "weights": (
        "self.seen = 0",
        "self.seen = 0\n        torch.nn.init.constant_(self.last.bias, next(built))",
        "last.bias is another in a second network",
    ),
    "memory": (
        "        return self.last(F",
        "        self.seen += self.training\n        return self.seen + self.last(F",
        "other logits in train mode",
    ),
    "stored": (
        "halves.repeat_interleave(2, dim=2)\n\n    def unf",
        "halves.detach().repeat_interleave(2, dim=2)\n\n    def unf",
        "has no gradient to the stored pixels",
    ),
    "apart": (
        "halves = torch.stack(stored.chunk",
        "stored = stored + 0.1 * stored.mean(dim=0) * (len(stored) > 1)\n        halves = torch.stack(stored.chunk",
        "stored image 0 alone is decoded to other images than beside 2 more",
    ),
    "unfolding": (
        '    return halves.repeat_interleave(2, dim=2)\\n"',
        '    return halves\\n"',
        "`unfold` gives",
    ),
    "pieces": (
        "facts = self.site.do(piece, Told(piece, self.tell))",
        "facts = self.site.do(piece, Told(piece, lambda *told: None))",
        "pieces reported 0 units of work where",
    ),
    "failure": (
        "error=error, seconds",
        "error=RuntimeError('lost'), seconds",
        "a piece raised DataError, and RuntimeError: lost came",
    ),
    "workers": (
        "facts = self.site.do(piece, Told(piece, self.tell))",
        "facts = self.site.do(piece, Told(piece, self.tell))\n"
        "            stays = os.fork() if piece.kind == 'teacher' else -1\n"
        "            if not stays:\n"
        "                signal.alarm(20)\n"
        "                try:\n"
        "                    self.site.do(None, None)  # is told of, and cannot be done\n"
        "                except AttributeError:\n"
        "                    signal.pause()\n"
        "                finally:\n"  # a child must not go on with the tests
        "                    os._exit(1)",
        "is still there",
    ),
}


def test_there_is_a_fault_for_every_check() -> None:
    assert list(FAULTS) == list(KIND_OF)


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.testing.executors._TO_END", 0.5)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that stays is forked")
@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_caught_by_its_check(check: str, write_offers: Written) -> None:
    old, new, words = FAULTS[check]
    name, registry = write_offers(old, new)
    report = examine_plugin(name, checks=CHECKS_OF[KIND_OF[check]], registry=registry)
    assert {finding.check for finding in report.failed} == {check}, report.text()
    [finding] = report.failed
    assert words in finding.text
    assert "Traceback" not in report.text()


def test_the_plugin_without_a_fault_passes(write_offers: Written) -> None:
    name, registry = write_offers()
    report = check_plugin(name, checks=list(KIND_OF), registry=registry)
    assert [(finding.check, finding.state) for finding in report.findings] == [
        (check, "passed") for check in KIND_OF
    ]


@pytest.mark.parametrize(
    ("check", "old", "new", "words"),
    [
        ("images", "labels[place]", "labels[place] + 1", "training labels of dataset 'd-"),
        ("images", '"classes": 3', '"classes": 4', "its spec says classes=4, and 3 came"),
        ("images", 'like="small-colour"', 'like="small-grey"', "images of 3x8x8 are 'small-colour'"),
        ("images", "name=request.name", 'name="mine"', "it calls itself 'mine'"),
        ("images", "return RealDataset(", "return dict(", "it was loaded as dict"),
        ("images", "pixels[place]", "pixels[place].float()", "torch.uint8 are wanted"),
        ("students", 'Use(name="n-NAME")', 'Use(name="nobody")', "unknown model 'nobody'"),
        (
            "shapes",
            "Linear(16, request.classes)",
            "Linear(16, 7)",
            "the logits of 2 images and 3 classes are (2, 7)",
        ),
        ("shapes", "2).flatten(1)", "images.shape[2] // 4).flatten(1)", "raise ModelError for images"),
        ("stored", '"minimum_side": 2', '"minimum_side": 3', "encode takes images of 3x2x2"),
        (
            "stored",
            "return torch.cat([small[::2], small[1::2]], dim=2)",
            "return small",
            "encode of parametrization",
        ),
        (
            "pieces",
            "yield OneByOne(own, tell)",
            "yield own",
            "a run of several pieces failed: AttributeError",
        ),
        ("pieces", "class Forked(Executor)", "class Forked", "which is not a condense.Executor"),
    ],
)
def test_other_faults_are_caught_as_well(
    check: str, old: str, new: str, words: str, write_offers: Written
) -> None:
    name, registry = write_offers(old, new)
    [finding] = examine_plugin(name, checks=[check], registry=registry).findings
    assert (finding.state, words in finding.text) == ("failed", True), finding.text


def test_files_that_are_not_there_are_no_fault(write_offers: Written, tmp_path: Path) -> None:
    name, registry = write_offers()
    (tmp_path / "d-images.pt").unlink()
    report = check_plugin(name, checks=["images", "reload"], registry=registry)
    for finding in report.findings:
        assert finding.state == "skipped"
        assert finding.text.startswith("nothing could be looked at: ")
        assert "d-images.pt is not there" in finding.text


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a signal ends the wait")
@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        (
            "return int(self.piece is None)",
            "time.sleep(60)",
            dict.fromkeys(EXECUTOR, "a run of several pieces did not end: no piece was begun in 600 s"),
        ),
        (
            "        return [self.done(piece)]",
            "        return [self.done(piece)] + [time.sleep(60)]",
            dict.fromkeys(EXECUTOR, "a run of several pieces did not end: "),
        ),
        (  # also where it waits at its end, and where it goes on after any error
            "        yield OneByOne(own, tell)",
            "        try:\n            yield OneByOne(own, tell)\n        finally:\n"
            "            with contextlib.suppress(Exception):\n                time.sleep(60)",
            dict.fromkeys(EXECUTOR, "a run of several pieces did not end: "),
        ),
        (
            "        self.options = options\n\n    @contextlib",
            "        time.sleep(60)\n\n    @contextlib",
            dict.fromkeys(EXECUTOR, "it was not built after 600 s"),
        ),
        (
            "return Failed(piece=piece, error=error, seconds=time.perf_counter() - began)",
            "time.sleep(60)",
            {"failure": "a piece raised DataError, and its run did not end: "},
        ),
    ],
)
def test_an_executor_that_hangs_fails_with_a_sentence(
    old: str, new: str, failed: dict[str, str], write_offers: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("torch._dynamo")  # which must not be cut short, and optimizers import it
    # The last one must finish two runs first, on a busy computer too, and fails in the third.
    limits = iter([2.0] * 2 if len(failed) > 1 else [60.0, 60.0, 60.0, 2.0])
    monkeypatch.setattr("condense.testing.executors.limited", lambda _: limited(next(limits)))
    before = signal.getsignal(signal.SIGALRM)
    name, registry = write_offers(old, new)
    report = examine_plugin(name, checks=EXECUTOR, registry=registry)
    assert {finding.check for finding in report.failed} == {*failed}, report.text()
    for finding in report.failed:
        assert failed[finding.check] in finding.text
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_executor_that_lacks_something_is_skipped(write_offers: Written) -> None:
    name, registry = write_offers(
        "yield OneByOne(own, tell)", "raise DataError('no cluster here; start one')\n        yield"
    )
    report = check_plugin(name, checks=CHECKS_OF["executor"], registry=registry)
    text = "it cannot be tried here: no cluster here; start one"
    assert [(finding.state, finding.text) for finding in report.findings] == [("skipped", text)] * 3


def test_an_executor_needs_a_registry_that_others_can_load(write_offers: Written) -> None:
    name, registry = write_offers()
    offers = {kind: {offer.spec.name: offer for offer in registry.offers(kind)} for kind, _ in KINDS.values()}
    bare = Registry(offers, registry.plugins, registry.contested)
    [finding] = examine_plugin(name, checks=["pieces"], registry=bare).findings
    assert finding.state == "skipped" and "put together by hand" in finding.text


def test_what_is_one_of_many_is_not_built(write_offers: Written) -> None:
    name, registry = write_offers('build="PARTS:network"', 'build="PARTS:network", takes="PATH"')
    report = check_plugin(name, checks=CHECKS_OF["model"], registry=registry)
    text = f"it is one of many, n-{name}:PATH, so none was built"
    assert {(finding.state, finding.text) for finding in report.findings} == {("skipped", text)}


def test_a_network_may_refuse_images(write_offers: Written) -> None:
    name, registry = write_offers(
        "        self.seen = 0\n",
        "        self.seen = 0\n        if request.size > 100:\n            raise DataError('too large for it')\n",
    )
    [finding] = check_plugin(name, checks=["shapes"], registry=registry).findings
    assert finding.text == "images of 3x32x32, 1x28x28 were shown; 3x128x128: too large for it"


def test_a_check_says_that_there_is_nothing_for_it(write_plugin: Written) -> None:
    name, registry = write_plugin()
    report = examine_plugin(name, checks=["images", "settings"], registry=registry)
    assert [(one.check, one.state) for one in report.findings] == [
        ("settings", "passed"),
        ("images", "skipped"),
    ]
    assert report.of("images")[0].text == "it offers no dataset"


def test_the_kit_waits_for_no_process_that_has_ended() -> None:
    """The first question of `workers` is about processes that are waited for by nobody."""
    from condense.testing.executors import _left

    child = os.posix_spawn("/bin/true", ["/bin/true"], {}) if hasattr(os, "posix_spawn") else 0
    if not child:
        pytest.skip("the test makes a process that nobody waits for")
    try:
        assert _left({child}) == ()
    finally:
        os.waitpid(child, 0)
    assert _left({os.getpid()}) == (os.getpid(),)
