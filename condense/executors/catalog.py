"""The executors that condense has itself, and the choice of one."""

from __future__ import annotations

from dataclasses import dataclass

from condense.errors import OptionError
from condense.executors.executor import Executor
from condense.recipe.config import MOST_PROCESSES
from condense.recipe.fields import check_least, checked
from condense.recipe.method import Use
from condense.recipe.networks import parse_network
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.recipe.specs import ExecutorSpec

LOCAL, PROCESSES = "local", "processes"


@checked
@dataclass(frozen=True, kw_only=True)
class ProcessesOptions:
    """Options of `processes`.

    workers: how many; 0 for one for each GPU or each pair of cores.
    threads: of torch that each has; 0 divides those of one process, all of which the teacher of a run has. On a CPU,
        the last bits of sums depend on it.

    Raises ValueError for a negative number.
    """

    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        check_least(self, workers=0, threads=0)


EXECUTORS = [
    ExecutorSpec(
        name=LOCAL,
        summary="this process, one piece after the other",
        build="condense.executors.local:Local",
    ),
    ExecutorSpec(
        name=PROCESSES,
        summary="several processes of this computer, one for each GPU or pair of cores",
        options=ProcessesOptions,
        build="condense.executors.processes:Processes",
    ),
]


def chosen_executor(
    registry: Registry,
    text: str,
    *,
    workers: int | None = None,
    loaders: int | None = None,
    address: str = "",
    jobs: int = 1,
) -> Executor:
    """Return the executor that a text names: "processes", or with options "processes(workers=2)".

    workers, address: options of it; None and "" if they were not given. `local` has neither.
    loaders: processes that decode images, which `local` alone has; None if they were not given.
    jobs: short for "processes(workers=N)".

    Raises OptionError for options that the executor does not have, and for what contradicts itself, UnknownNameError
    for an unknown name, and PluginError if what it needs is not installed.
    """
    name, pairs = parse_network(text)
    if not 1 <= jobs <= MOST_PROCESSES:
        raise OptionError(f"jobs must lie between 1 and {MOST_PROCESSES}, not {jobs}")
    if jobs > 1:
        given = "--workers" if workers is not None else name if name != LOCAL else ""
        if given:
            raise OptionError(
                f"--jobs is short for --executor {PROCESSES} --workers N; leave it out with {given}"
            )
        name, workers = PROCESSES, jobs
    options = dict(pairs)
    if workers is not None:
        if name == LOCAL:
            raise OptionError(
                f"the executor {LOCAL!r} has one worker, this process; choose another with the workers, as in "
                f"--executor {PROCESSES} --workers {workers}. Processes that decode images are --loaders N"
            )
        options["workers"] = str(workers)
    if address:
        options["address"] = address
    spec: ExecutorSpec = registry.find("executor", name)
    executor: Executor = spec.builder()(options_of(Use(name=name, options=options), "executor", registry))
    if not executor.alone and loaders:
        raise OptionError(
            f"loaders must be 0 with the executor {name!r}, not {loaders}: its workers share the cores, and each "
            "decodes with threads"
        )
    if not executor.alone and registry.chosen is None:
        raise OptionError(
            f"the executor {name!r} needs the installed plugins, and this registry is your own: other processes have "
            "the installed plugins alone"
        )
    return executor
