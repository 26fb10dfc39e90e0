"""A recovery that is interrupted after any step of a chunk, and goes on, ends with the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from condense.errors import StorageError
from condense.runtime import SilentReporter

STEPS = 5
SMALL = "convnet(width=4,depth=2)"
INNER = {"recover.inner.batch_size": 4, "recover.network": SMALL}
POOL = {"pool.model": SMALL, "pool.networks": 2, "pool.epochs": 1}

# What changes from step to step: pixels and their optimizer alone; networks that learn, with one optimizer or several;
# draws of a pool; students that are unrolled.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "teacher": ("wmdd", {"recover.schedule": "cosine", "recover.augment.crop_scale": (0.3, 1.0)}),
    "judged": ("wmdd", {"select.students": 1, "select.epochs": 1, "select.snapshots": 2}),
    "momentum": ("dc", {**INNER, "recover.network_steps": 3, "targets.gradient-match.real_batch": 2}),
    "networks": (
        "feature-regression",
        {
            **INNER,
            "recover.networks": 2,
            "recover.network_steps": 2,
            "targets.feature-regression.real_batch": 2,
            "parametrization": "identity",
        },
    ),
    "pool": (
        "idc",
        {
            **POOL,
            "recover.inner_images": 4,
            "recover.inner.batch_size": 4,
            "recover.network": "teacher",
            "recover.network_steps": 3,
            "targets.gradient-distance.network": "pool",
            "targets.gradient-distance.real_batch": 2,
            "parametrization": "identity",
        },
    ),
    "draws": (
        "ncfm",
        {**POOL, "pool.random": 0.5, "parametrization": "identity", "recover.network_steps": 2},
    ),
    "unrolled": (
        "unrolled",
        {
            "recover.network": SMALL,
            "recover.networks": 2,
            "recover.network_steps": 3,
            "recover.inner_steps": 2,
            "recover.inner.batch_size": 4,
            "select.students": 0,
        },
    ),
}


class OneStep(SilentReporter):
    """Ends an attempt when a step of recover is done and kept. The last step of a chunk is not kept, and ends none."""

    def __init__(self, stopped: type[BaseException]) -> None:
        self._stopped, self._stage, self._done = stopped, "", 0
        self.notes: list[str] = []

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._stage = stage

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if self._stage != "recover" or values:
            return
        if self._done == count:  # the steps of earlier attempts
            self._done = -count
            return
        if count == 1 and self._done > 1 - STEPS:
            raise self._stopped
        self._done = 0

    def note(self, text: str) -> None:
        self.notes.append(text)
        if "goes on after step" in text:
            self._done = int(text.split()[-3])


def files(site: Any, path: Path) -> dict[str, bytes]:
    """The files that a run is for; no time stands in them."""
    wanted = ("chunks/", "distilled/", "measurements", "teacher")
    return {name: content for name, content in site.tree(path).items() if name.startswith(wanted)}


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_kept(case: str, site: Any, tmp_path: Path, impatient: Any) -> None:
    method, more = CASES[case]
    settings = {"recover.iterations": STEPS, "log_every": 1, **more}
    options: dict[str, Any] = {"students": 0, "reference": False, "settings": settings}
    whole = site.run(method, name="whole", **options)
    told: list[str] = []
    for attempt in range(40):
        reporter = OneStep(impatient.Stopped)
        try:
            result = site.run(
                method, name="one", reporter=reporter, resume=attempt > 0, keep_minutes=0, **options
            )
            break
        except impatient.Stopped:
            told += reporter.notes
    else:
        pytest.fail("it does not come to an end")
    told += reporter.notes
    assert files(site, result.path) == files(site, whole.path)
    assert site.metrics(result.path) == site.metrics(whole.path)
    assert result.choice == whole.choice
    going_on = [note for note in told if "goes on after step" in note]
    assert going_on[:4] == [f"chunk 0 goes on after step {done} of 5" for done in (1, 2, 3, 4)]
    assert not list(tmp_path.rglob("unfinished"))


def test_a_teacher_that_comes_out_different_is_refused_in_the_middle_of_a_chunk(
    site: Any, impatient: Any, request: pytest.FixtureRequest
) -> None:
    """SRe2L measures nothing, so that the half of its first chunk is all that the teacher was used for."""
    options = {"students": 0, "reference": False, "keep_minutes": 0, "name": "one"}
    with pytest.raises(impatient.Stopped):
        site.run("sre2l", reporter=OneStep(impatient.Stopped), **options)
    teacher = site.out / "one" / "teacher.safetensors"
    assert not list(teacher.parent.glob("chunks/*")) and not list(teacher.parent.glob("measurements*"))
    content = bytearray(teacher.read_bytes())
    content[-1] ^= 1
    teacher.write_bytes(content)
    request.getfixturevalue("another_teacher")
    with pytest.raises(StorageError, match="has other weights, so the images of this run do not belong"):
        site.run("sre2l", resume=True, **options)
