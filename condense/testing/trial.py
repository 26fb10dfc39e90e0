"""Runs of a few steps on made-up images, in which a method is tried: on colour and grey images, with one image, ..."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from condense.data.dataset import RealDataset
from condense.engine.plan import Plan, make_plan
from condense.engine.real import real_dataset
from condense.errors import CondenseError, InputChangedError, OptionError
from condense.recipe.config import RunConfig
from condense.recipe.registry import HOST, Registry
from condense.recipe.resolve import configure
from condense.recipe.settings import assign, complete, flatten
from condense.runs.pipeline import run
from condense.runtime import Runtime, SilentReporter, make_runtime
from condense.storage.files import file_hash, read_json
from condense.storage.run_folder import RunFolder
from condense.testing.subjects import COLOUR, GREY, Subject

Situation = Literal["usual", "one image", "one class"]

SEED = 3
_IPC = 2
_STEPS = 2
# The options of the network that stands for all that condense offers.
_NETWORK = {"width": 8, "depth": 2, "norm": "batch"}
# What is compared by the bytes of its files.
_PIECES = (".safetensors", ".png")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    path: its directory.
    error: why it failed, a sentence; "" if it did not.
    changed: whether it failed because a component changed in place what it was shown.
    refused: whether its settings were refused, or a component that is tried alone refused what is beside it.
    """

    path: Path
    error: str = ""
    changed: bool = False
    refused: bool = False


class Interruption(KeyboardInterrupt):
    """The end of a run that is interrupted on purpose."""


class Interrupter(SilentReporter):
    """Interrupts a run when one chunk of it is finished and a step of another."""

    def __init__(self, path: Path) -> None:
        self._first = RunFolder(path).chunk(0)

    def advance(self, count: int, values: Any = None) -> None:
        """Raise Interruption if the first chunk is finished, and a step of the second."""
        if count and self._first.exists():
            raise Interruption


class Trial:
    """A subject with the runs that were made of it. Each is made when it is first asked for.

    registry: knows the made-up images and the recipe of the subject. folder: where the runs lie.
    """

    def __init__(self, subject: Subject, registry: Registry, folder: Path) -> None:
        self.subject, self.registry, self._folder = subject, registry, folder
        self._configs: dict[tuple[str, Situation], RunConfig] = {}
        self._outcomes: dict[tuple[str, Situation, str], Outcome] = {}

    @cached_property
    def dataset(self) -> str:
        """The made-up images on which the subject works: in colour, or grey if it works on these alone."""
        fails = self.on(COLOUR).error and not self.on(COLOUR).changed
        return GREY if fails and not self.on(GREY).error else COLOUR

    def on(self, dataset: str, attempt: str = "") -> Outcome:
        """Return the outcome of the usual run on some of the made-up images. attempt: as in `outcome`."""
        return self._outcome(dataset, "usual", attempt)

    def outcome(self, situation: Situation, attempt: str = "") -> Outcome:
        """Return the outcome of a run. attempt: another text for each run of the same situation."""
        return self._outcome(self.dataset, situation, attempt)

    def interrupted(self) -> Outcome:
        """Return the outcome of a run of one class in a chunk that is interrupted in the second chunk."""
        return self._outcome(self.dataset, "one class", "interrupted")

    def _outcome(self, dataset: str, situation: Situation, attempt: str) -> Outcome:
        key = (dataset, situation, attempt)
        if key not in self._outcomes:
            name = "-".join(filter(None, (self.subject.method, *key))).replace(" ", "-")
            self._outcomes[key] = self._made(dataset, situation, self._folder / name, attempt)
        return self._outcomes[key]

    def _made(self, dataset: str, situation: Situation, path: Path, attempt: str) -> Outcome:
        reporter = Interrupter(path) if attempt == "interrupted" else None
        try:
            config = self.config(dataset, situation)
        except CondenseError as error:
            return Outcome(path=path, error=str(error), refused=True)
        if reporter:  # every step of a chunk is kept, and the run goes on in the middle of one
            config = replace(config, machine=replace(config.machine, keep_minutes=0.0))
        try:
            run(config, path, registry=self.registry, reporter=reporter)
        except InputChangedError as error:
            return Outcome(path=path, error=str(error), changed=True)
        except Interruption:
            return Outcome(path=path)
        except OptionError as error:
            return Outcome(path=path, error=str(error), refused=self.subject.alone)
        except (Exception, SystemExit) as error:  # What comes of a plugin's code may be anything.
            return Outcome(path=path, error=sentence_of(error))
        return Outcome(path=path)

    def config(self, dataset: str, situation: Situation) -> RunConfig:
        """Return the configuration of a run, cut down to what a check needs. Raises CondenseError."""
        key = (dataset, situation)
        if key not in self._configs:
            self._configs[key] = self._config(dataset, situation)
        return self._configs[key]

    def _config(self, dataset: str, situation: Situation) -> RunConfig:
        config = configure(
            self.registry,
            method=self.subject.method,
            dataset=dataset,
            ipc=1 if situation == "one image" else _IPC,
            seed=SEED,
            students=self.subject.students,
            reference=False,
            device="cpu",
            precision="fp32",
            alone=False,
        )
        now = flatten(config)
        for key, value in _cuts(
            config, make_plan(config, self.registry), self.registry, situation, self.subject.epochs
        ).items():
            if now.get(key) != value:
                config = assign(config, key, value, self.registry)
        return complete(config, self.registry)

    @property
    def steps(self) -> int:
        """How many steps each chunk takes."""
        return self.config(self.dataset, "usual").recipe.recover.iterations

    def plan(self) -> Plan:
        """Return the plan of the usual run. Raises CondenseError."""
        return make_plan(self.config(self.dataset, "usual"), self.registry)

    def images(self) -> tuple[RealDataset, Runtime]:
        """Return the made-up images, and what computes them."""
        config, runtime = self.config(self.dataset, "usual"), make_runtime("cpu", "fp32")
        return real_dataset(config.recipe, config.machine, self.registry, runtime), runtime


def sentence_of(error: BaseException) -> str:
    """Return an error as a sentence; with its type, if it was not raised for people."""
    if isinstance(error, CondenseError):
        return str(error)
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def differing(one: Path, other: Path) -> str:
    """Return the first file of two run directories that is not the same in both, or "". Accuracies count as well."""
    hashes = [{name: file_hash(path) for name, path in _pieces(folder).items()} for folder in (one, other)]
    for name in sorted({*hashes[0], *hashes[1]}):
        if hashes[0].get(name) != hashes[1].get(name):
            return name
    rows = [read_json(RunFolder(folder).run_json)["outcome"]["rows"] for folder in (one, other)]
    accuracies = [[row["accuracies"] for row in found] for found in rows]
    return "" if accuracies[0] == accuracies[1] else "the accuracies of students"


def _pieces(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in _PIECES}


def _cuts(
    config: RunConfig, plan: Plan, registry: Registry, situation: Situation, epochs: int
) -> dict[str, Any]:
    """Return the settings that make a run short: few steps, small networks. What is short already stays.

    epochs: of students, at most.
    """
    recipe = config.recipe
    recover, pool, teacher = recipe.recover, recipe.pool, recipe.teacher
    cuts: dict[str, Any] = {"teacher.checkpoint": "", "teacher.epochs": min(1, teacher.epochs)}
    if registry.plugin_of("model", teacher.model.name) == HOST and teacher.model.options != _NETWORK:
        cuts["teacher.model"] = "convnet(width=8,depth=2)"
    if recover.iterations:
        cuts["recover.iterations"] = min(_STEPS, recover.iterations)
    held = plan.images_per_stored
    alone = recipe.ipc * held if recover.chunk == "classes" else held
    cuts["recover.batch"] = alone if situation == "one class" else 0
    if recover.network.name != "teacher" and registry.plugin_of("model", recover.network.name) == HOST:
        cuts["recover.network"] = "teacher"
    most = {"recover.networks": 2, "recover.inner.epochs": 1, "recover.inner_images": 8}
    most |= {"recover.measured_views": 1}
    if plan.needs_pool:
        cuts["pool.checkpoints"] = 1
        most |= {"pool.epochs": 1, "pool.networks": 1}
        if registry.plugin_of("model", pool.model.name) == HOST:
            cuts["pool.model"] = "teacher"
    if plan.selects:
        most |= {"select.students": 1, "select.epochs": 1, "select.snapshots": 1}
    if config.evaluation.students:
        most |= {"protocol.epochs": epochs}
    now = flatten(config)
    return cuts | {key: maximum for key, maximum in most.items() if now[key] > maximum}
