"""The device and the precision of a run, and the reporting of its progress."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from condense.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CompileSetting = Literal["auto", "on", "off", "graphs"]
# The minimum number of equal steps for which "auto" compiles, by type of device.
_STEPS_TO_COMPILE = {"cpu": 2000, "cuda": 500}

# Cores that the threads of one process keep busy with decoding, and the processes that are started without being asked.
_CORES_OF_THREADS = 4
_MOST_LOADERS = 16

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BLOCK = 128 * 2**20  # bytes; smaller blocks stay with the process


class Reporter(Protocol):
    """A receiver of progress messages, which come in order. At most one piece of work is under way."""

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Report that a piece of work of `total` units begins."""

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Report that `count` more units are done.

        values: losses or accuracies to show; only some calls give them.
        """

    def finish(self, summary: str = "") -> None:
        """Report that the piece of work is done."""

    def note(self, text: str) -> None:
        """Report something that the user should know."""


class SilentReporter:
    """A reporter that shows nothing."""

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Do nothing."""

    def finish(self, summary: str = "") -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Runtime:
    """The device and the precision of a run, and its reporter.

    device: the device that computes tensors.
    bf16: whether networks run in bfloat16 (autocast).
    reporter: receives the progress of the run.
    loaders: processes that decode images from files while this one computes; 0: threads of this one.
    jpeg_decoder: what decodes JPEG files at each read, libjpeg or the CUDA device, whose pixels differ.
    keep_minutes: after how many minutes an unfinished training or recovery is kept again.
    compile: whether the passes of networks are compiled in steps on pixels and in students' training, which changes
        the last bits: as in `condense.recipe.config.Machine`, or what `for_steps` made of it.
    """

    device: torch.device
    bf16: bool
    reporter: Reporter
    loaders: int = 0
    jpeg_decoder: Literal["cpu", "cuda"] = "cpu"
    keep_minutes: float = 5.0
    compile: CompileSetting = "off"

    def for_steps(self, steps: int) -> Runtime:
        """Return the runtime of a piece of work of at least `steps` equal steps, which may be too few to compile."""
        return replace(self, compile=compile_for(self.compile, self.device.type, steps))

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format: channels-last with bfloat16 and on CPUs, where it is faster, otherwise contiguous."""
        import torch

        last = self.bf16 or self.device.type == "cpu"
        return torch.channels_last if last else torch.contiguous_format

    @property
    def precision(self) -> Literal["bf16", "fp32"]:
        """The precision in which networks run."""
        return "bf16" if self.bf16 else "fp32"

    def autocast(self) -> torch.autocast:
        """Return the context in which networks run forward."""
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def place(self, model: nn.Module) -> nn.Module:
        """Return the network on the device, in the memory format."""
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def images(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) on the device, in the memory format."""
        return images.to(device=self.device, memory_format=self.memory_format, non_blocking=True)

    def describe(self) -> str:
        """Return the device type and the precision as text for users, such as "cpu, bfloat16"."""
        decoder = ", JPEG decoded by CUDA" if self.jpeg_decoder == "cuda" else ""
        return f"{self.device.type}, {'bfloat16' if self.bf16 else 'float32'}{decoder}"


def make_runtime(
    device: str,
    precision: str,
    reporter: Reporter | None = None,
    loaders: int | None = 0,
    jpeg_decoder: Literal["cpu", "cuda"] = "cpu",
    compile: CompileSetting = "off",
) -> Runtime:
    """Return the runtime for a device and a precision, named as in `condense.recipe.config.Machine`.

    The value "auto" selects CUDA if it is available, and bfloat16 if the device computes it fast. loaders: None
    chooses by the cores. Raises OptionError if the device cannot be used, or is not one that decodes JPEG files or
    captures graphs as asked.
    """
    import torch

    _use_huge_pages()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device {device!r} cannot be used ({reason}); try --device cpu or --device auto"
        ) from error
    if jpeg_decoder == "cuda" and chosen.type != "cuda":
        raise OptionError(
            f"the JPEG decoder of CUDA needs a CUDA device, not {device}; use --jpeg-decoder cpu"
        )
    if compile == "graphs" and chosen.type != "cuda":
        raise OptionError(
            f"graphs of kernels are captured on a CUDA device, not on {device}; use --compile on"
        )
    bf16 = precision == "bf16" or (precision == "auto" and _fast_bf16(chosen))
    processes = usual_loaders() if loaders is None else loaders
    return Runtime(chosen, bf16, reporter or SilentReporter(), processes, jpeg_decoder, compile=compile)


def compile_for(setting: CompileSetting, device: str, steps: int) -> CompileSetting:
    """Return whether a piece of work of at least `steps` equal steps is compiled.

    device: its type. The setting "auto" becomes "off" where compiling takes longer than it saves, and where there is no
    compiler; it stays "auto" otherwise, so that a network that does not compile runs as it is.
    """
    if setting == "auto" and (steps < _STEPS_TO_COMPILE.get(device, math.inf) or not _has_compiler(device)):
        return "off"
    return setting


def _has_compiler(device: str) -> bool:
    """Whether PyTorch finds what it compiles with: Triton for CUDA, a C++ compiler for a CPU."""
    if device == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "cl"))


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int:
    """Return the memory of this computer in bytes, or 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, others may lack the names.
        return 0


def usual_loaders() -> int:
    """Return how many processes decode images where nobody says how many.

    The threads of one process keep about four cores busy, since Python's lock lets one of them at a time prepare a
    file. So there are none with up to four cores, and elsewhere as many as cores, at most 16. Where processes are not
    forked they take seconds to start for every pass, so there are none.
    """
    cores = available_cores()
    return min(cores, _MOST_LOADERS) if cores > _CORES_OF_THREADS and sys.platform == "linux" else 0


def _fast_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Only AVX512-BF16 and AMX are fast; emulated bfloat16 is slower than float32. PyTorch may drop these
        # private functions: a missing one counts as "no".
        asks = (
            getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return any(ask() for ask in asks if ask is not None)
    return False


@contextmanager
def process_settings(runtime: Runtime) -> Iterator[None]:
    """Set the settings of the whole process inside the block, and restore the numeric ones afterwards.

    With bf16, denormals are flushed to zero and cuDNN may use TF32. cuDNN is deterministic, so that one seed
    gives the same bytes. Memory that tensors on the CPU have freed stays with the process until the end of the block.
    """
    import torch

    flushes = float(torch.tensor(2.0**-130) * 0.5) == 0.0
    if runtime.bf16:
        torch.set_flush_denormal(True)
    kept = _keep_freed_memory()
    try:
        with convolutions(tf32=runtime.bf16):
            yield
    finally:
        if not flushes:
            torch.set_flush_denormal(False)
        if kept:
            ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def _keep_freed_memory() -> bool:
    """Let the C library keep the memory that is freed, for the next tensors. Return whether it does.

    glibc gives large blocks back to the system as soon as they are freed. A step of training frees and takes the same
    blocks again, and the system fills each page with zeros each time: on a CPU that takes up to a third of the step.
    Blocks of 128 MiB and more are still given back, because a few kept ones that no later tensor fits into would fill
    the memory. The setting holds for the whole process, and nothing is set where the environment does so itself.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
    )


def _use_huge_pages() -> None:
    """Have PyTorch ask for memory in pages of 2 MiB, of which the system hands out and clears fewer than of 4 KiB.

    PyTorch reads the variable when it makes its first tensor on the CPU, so that a program that has made one before
    keeps its pages, and so does one in whose environment the variable is set. Processes that are started later have it.
    Systems whose huge pages are neither "always" nor "madvise" ignore it.
    """
    if sys.platform == "linux":
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextmanager
def convolutions(*, tf32: bool) -> Iterator[None]:
    """Make cuDNN convolutions deterministic inside the block, with 11 bits of precision (TF32) or all 24."""
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
        yield
