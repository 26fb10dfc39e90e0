"""What a run takes: seconds, memory and bytes on disk from counted work, and what to change to fit a budget."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from condense.engine.plan import Plan
from condense.engine.work import Counts, Work, chunk_sizes
from condense.errors import OptionError
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.needs import POOL_KINDS
from condense.recipe.protocol import Protocol
from condense.recipe.training import Optimizer
from condense.text import byte_size, duration

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30}
# Numbers that an optimizer keeps of every weight.
_MOMENTS: Mapping[Optimizer, int] = {"sgd": 1, "adam": 2, "adamw": 2}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How many images pass a second: forward and backward through a network, and from disk to memory.

    load: None where loading keeps up with the networks. Raises OptionError for a number that is not above 0.
    """

    forward: float
    backward: float
    load: float | None = None

    def __post_init__(self) -> None:
        for name in ("forward", "backward", "load"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"the throughput {name} must be above 0 images per second, not {value}")

    def seconds(self, part: Work) -> float:
        """Return the seconds of a part of work. Real images are loaded while earlier ones pass the networks."""
        passing = part.forward / self.forward + part.backward / self.backward
        loading = part.images / self.load if self.load and part.real else 0.0
        return max(passing, loading)


def parse_throughput(text: str) -> Throughput:
    """Return "forward=900,backward=300", with "load=2000" or without. Raises OptionError for another text."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (side.strip() for side in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in ("forward", "backward", "load") or name in found or math.isnan(number):
            raise OptionError(
                f"{text!r} is not a throughput; write forward=N,backward=N in images per second, and load=N for images "
                "that are read from disk"
            )
        found[name] = number
    missing = [name for name in ("forward", "backward") if name not in found]
    if missing:
        raise OptionError(f"the throughput {text!r} lacks {' and '.join(missing)}, in images per second")
    return Throughput(**found)


def parse_duration(text: str) -> float:
    """Return seconds from "90 s", "30min", "2h" or "1.5 d". Raises OptionError for another text."""
    return _amount(text, _SECONDS, "a time", "2h, 30min or 90s")


def parse_bytes(text: str) -> int:
    """Return bytes from "8GB", "512 MB" or "16 GiB". Raises OptionError for another text."""
    return int(_amount(text, _BYTES, "an amount of memory", "8GB or 512MB"))


def _amount(text: str, units: Mapping[str, int], what: str, example: str) -> float:
    found = _AMOUNT.fullmatch(text.strip())
    unit = found and next((size for name, size in units.items() if name.lower() == found[2].lower()), None)
    if not found or not unit or float(found[1]) <= 0:
        raise OptionError(f"{text!r} is not {what}; write for example {example}")
    return float(found[1]) * unit


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """The memory that one network takes.

    parameters: bytes of its weights and buffers.
    training: bytes that a training step keeps of each image for the way back.
    pixels: the same for a step on pixels, whose weights take no gradients.
    """

    parameters: int
    training: int
    pixels: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """The bytes that a stage has in memory at once.

    fixed: whatever the batch is: weights, gradients and moments of the optimizer.
    per_image: for each image of a batch.
    batch: images of a batch.
    key: the setting that decides `batch`.
    """

    fixed: int
    per_image: int
    batch: int
    key: str

    @property
    def bytes(self) -> int:
        """All bytes of the stage."""
        return self.fixed + self.per_image * self.batch


def loads_of(
    plan: Plan, work: Sequence[Work], counts: Counts, prints: Mapping[str, Footprint]
) -> dict[str, Load]:
    """Return the memory of the stages that train or recover, apart from the process and the dataset.

    prints: of the networks "teacher", "random", "pool", "student" and "judge", as far as the run has them.
    """
    recipe = plan.recipe
    stages = {part.stage for part in work if part.step in ("train", "recover")}
    image = 4 * counts.bytes_of_image
    loads = {}
    if "squeeze" in stages and "teacher" in prints:
        moments = _MOMENTS[recipe.teacher.optimizer]
        network = prints["teacher"]
        batch = min(recipe.teacher.batch_size, counts.train)
        loads["squeeze"] = Load(
            fixed=(2 + moments) * network.parameters,
            per_image=network.training + 2 * image,
            batch=batch,
            key="teacher.batch_size",
        )
    if "pool" in stages and "pool" in prints:
        moments = _MOMENTS[recipe.pool.optimizer]
        network = prints["pool"]
        loads["pool"] = Load(
            fixed=(2 + moments) * network.parameters,
            per_image=network.training + 2 * image,
            batch=min(recipe.pool.batch_size, counts.train),
            key="pool.batch_size",
        )
    if "recover" in stages:
        kinds = {loss.needs.network for loss in plan.losses}
        role_of = {kind: "pool" if kind in POOL_KINDS else kind for kind in sorted(kinds)}
        looked = [prints[role] for role in role_of.values() if role in prints]
        # The stored pixels, their gradient and two moments; a view of the images, which are others if decoded.
        held = plan.images_per_stored
        pixels = 5 * image if held == 1 else 4 * image // held + 3 * image
        loads["recover"] = Load(
            fixed=sum(network.parameters for network in looked),
            per_image=sum(network.pixels for network in looked) + pixels,
            batch=max(chunk_sizes(counts.classes, recipe.ipc, recipe.recover, held)),
            key="recover.batch",
        )
    made = counts.classes * plan.images_per_class
    if "select" in stages and "judge" in prints and recipe.judge:
        loads["select"] = _students(recipe.judge, "judge", prints, image, made)
    if "evaluate" in stages and "student" in prints:
        loads["evaluate"] = _students(plan.evaluation.protocol, "student", prints, image, made)
    return loads


def _students(protocol: Protocol, role: str, prints: Mapping[str, Footprint], image: int, made: int) -> Load:
    """Return the memory of a student's training. image: bytes of one as float32. made: how many images there are."""
    network = prints[role]
    moments = _MOMENTS[protocol.optimizer]
    asked = prints["teacher"].parameters if protocol.labels == "online" and "teacher" in prints else 0
    return Load(
        fixed=(2 + moments) * network.parameters + asked,
        per_image=network.training + 2 * image,
        batch=min(protocol.batch_size, made),
        key="judge.batch_size" if role == "judge" else "protocol.batch_size",
    )


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a run takes.

    work: all of it, stage by stage.
    seconds: of each stage; empty if nobody knows how fast the machine is.
    base: bytes of the process and of images in memory.
    loads: bytes of the stages that train or recover.
    disk: bytes of each file or folder that the run leaves behind.
    """

    work: Sequence[Work]
    seconds: Mapping[str, float] = field(default_factory=dict)
    base: int = 0
    loads: Mapping[str, Load] = field(default_factory=dict)
    disk: Mapping[str, int] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        """The seconds of all stages."""
        return sum(self.seconds.values())

    @property
    def peak(self) -> int:
        """The bytes in memory at the worst moment."""
        return self.base + max((load.bytes for load in self.loads.values()), default=0)


def memory_advice(
    price: Price, budget: int, recipe: Recipe, *, bf16: bool, images_per_stored: int = 1
) -> list[str]:
    """Return what to change so that the peak fits into `budget` bytes; nothing if it fits.

    images_per_stored: how many decoded images one stored image holds.
    """
    if price.peak <= budget:
        return []
    advice = []
    for stage, load in price.loads.items():
        room = budget - price.base - load.fixed
        if load.bytes <= budget - price.base:
            continue
        smaller = room // load.per_image if load.per_image else 0
        whole_class = recipe.ipc * images_per_stored
        least = whole_class if stage == "recover" and recipe.recover.chunk == "classes" else 2
        if smaller >= least:
            advice.append(f"{stage}: --set {load.key}={smaller} instead of {load.batch}")
        elif stage == "recover" and recipe.recover.chunk == "classes" and smaller >= 2:
            advice.append(
                f"recover: a chunk holds a whole class of {whole_class} images, and {smaller} fit; "
                f"--ipc {max(1, smaller // images_per_stored)}, or "
                f"--set recover.chunk=slots --set recover.batch={smaller} where the losses allow it"
            )
        else:
            advice.append(
                f"{stage}: no batch fits beside {byte_size(price.base + load.fixed)}; a smaller network does"
            )
    if not bf16:
        advice.append(
            "--precision bf16 halves most of what is kept for the way back, on devices that compute it fast"
        )
    return advice


def time_advice(price: Price, budget: float, recipe: Recipe, evaluation: Evaluation) -> list[str]:
    """Return what to change so that the run takes `budget` seconds at most; nothing if it does."""
    over = price.total_seconds - budget
    if over <= 0:
        return []
    students = evaluation.students
    wanted = (
        ("recover", "--set recover.iterations=", recipe.recover.iterations),
        ("select", "--set select.students=", recipe.select.students),
        ("select", "--set select.epochs=", recipe.select.epochs),
        ("evaluate", "--students ", students),
        ("evaluate", "--set protocol.epochs=", evaluation.protocol.epochs),
        ("pool", "--set pool.networks=", recipe.pool.networks),
        ("squeeze", "--set teacher.epochs=", 0 if recipe.teacher.checkpoint else recipe.teacher.epochs),
    )
    alone, partly = [], []
    for stage, option, value in wanted:
        seconds = price.seconds.get(stage, 0.0)
        if not seconds or value < 2:
            continue
        fitting = math.floor(value * (seconds - over) / seconds)
        if fitting >= 1:
            alone.append(f"{stage}: {option}{fitting} instead of {value}")
        else:
            partly.append(
                (seconds, f"{stage}: {option}{max(1, value // 2)} saves about {duration(seconds / 2)}")
            )
    if evaluation.reference and students:
        half = price.seconds.get("evaluate", 0.0) / 2
        if half >= over:
            alone.append(f"evaluate: --no-reference saves about {duration(half)}")
        elif half:
            partly.append((half, f"evaluate: --no-reference saves about {duration(half)}"))
    if price.seconds.get("squeeze", 0.0) >= over and not recipe.teacher.checkpoint:
        alone.append(
            "squeeze: --teacher FILE takes a trained teacher, and --teachers DIR keeps one for later runs"
        )
    if alone:
        return alone
    return ["no single change is enough; together:", *(text for _, text in sorted(partly, reverse=True))]
