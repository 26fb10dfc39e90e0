"""The options of the executor `submitit`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from condense import check_least, checked


@checked
@dataclass(frozen=True, kw_only=True)
class SubmititOptions:
    """What each job asks SLURM for, and how many there are.

    workers: how many jobs there are at a time; each is one worker.
    partition, account, qos, constraint: as sbatch knows them; "" for the cluster's own.
    time: minutes that a job may take. A piece that is cut off goes on in another job, at most twice.
    gpus: of a job, where the run computes on CUDA; the worker computes on the first. 0 leaves them to `sbatch`.
    cores: CPU cores of a job.
    memory: GiB of a job; 0 for the partition's own.
    threads: of torch that each worker has; 0 for as many as cores without a GPU. On a CPU, the last bits of sums
        depend on it.
    sbatch: further options as on the command line of sbatch: "--gres=gpu:a100:1 --reservation=mine".
    setup: a shell command in each job before the worker starts: "module load cuda".
    folder: where a folder with scripts, logs and messages of the jobs is made, on storage that all computers share.
    cluster: "slurm"; or "local" for processes of this computer in place of jobs, to try things out.

    Raises ValueError for a number below its minimum, and for an `sbatch` of another form.
    """

    workers: int = 4
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: int = 240
    gpus: int = 1
    cores: int = 2
    memory: float = 0.0
    threads: int = 0
    sbatch: str = ""
    setup: str = ""
    folder: str = "slurm-jobs"
    cluster: Literal["slurm", "local"] = "slurm"

    def __post_init__(self) -> None:
        check_least(self, workers=1, time=1, gpus=0, cores=1, memory=0, threads=0)
        if not self.folder:
            raise ValueError("folder must be named; jobs need one on storage that all computers share")
        self.further()

    def further(self) -> dict[str, str | bool]:
        """Return the options in `sbatch` by name; one without a value is True."""
        found: dict[str, str | bool] = {}
        try:
            words = shlex.split(self.sbatch)
        except ValueError as error:
            raise ValueError(f"sbatch cannot be read ({error}): {self.sbatch!r}") from error
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or not name:
                raise ValueError(f"sbatch must hold options of the form --name=value or --name, not {word!r}")
            found[name] = value if equals else True
        return found

    def parameters(self, *, cuda: bool) -> dict[str, object]:
        """Return what submitit is told of every job. cuda: whether the run computes on CUDA."""
        asked: dict[str, object] = {
            "name": "condense",
            "timeout_min": self.time,
            "nodes": 1,
            "tasks_per_node": 1,
            "cpus_per_task": self.cores,
            "gpus_per_node": self.gpus if cuda else 0,
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
            "slurm_additional_parameters": self.further(),
            "slurm_setup": [self.setup] if self.setup else None,
            "local_setup": [self.setup] if self.setup else None,
        }
        return {name: value for name, value in asked.items() if value}
