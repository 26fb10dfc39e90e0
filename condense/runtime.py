"""Where and how tensors are computed, and who is told about the progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from condense.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Reporter(Protocol):
    """Told what happens, in order. At most one piece of work is under way at a time."""

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """A piece of work of `total` units begins."""

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """`count` units are done; `values` are losses or accuracies worth showing, now and then."""

    def finish(self, summary: str = "") -> None:
        """The piece of work is done."""

    def note(self, text: str) -> None:
        """Something the user should know."""


class SilentReporter:
    """Says nothing."""

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Nothing."""

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Nothing."""

    def finish(self, summary: str = "") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Runtime:
    """Where and how tensors are computed.

    device: the device. bf16: whether networks run in bfloat16 (autocast), with channels last in memory.
    reporter: told about the progress.
    """

    device: torch.device
    bf16: bool
    reporter: Reporter

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels-last with bfloat16, where it is the faster layout; else contiguous."""
        import torch

        return torch.channels_last if self.bf16 else torch.contiguous_format

    @property
    def precision(self) -> Literal["bf16", "fp32"]:
        """The precision that was chosen."""
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
        """Return the type of device and the precision for people: "cpu, bfloat16"."""
        return f"{self.device.type}, {'bfloat16' if self.bf16 else 'float32'}"


def make_runtime(device: str, precision: str, reporter: Reporter | None = None) -> Runtime:
    """Return the runtime for a device and a precision, named as in `condense.recipe.config.Machine`.

    "auto" takes CUDA if there is one, and bfloat16 where it is fast. Raises OptionError for a device that is not there.
    """
    import torch

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
    bf16 = precision == "bf16" or (precision == "auto" and _fast_bf16(chosen))
    return Runtime(chosen, bf16, reporter or SilentReporter())


def _fast_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # AVX512-BF16 or AMX; emulated bfloat16 is slower than float32. Private names, so absent ones mean "no".
        asks = (
            getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return any(ask() for ask in asks if ask is not None)
    return False


@contextmanager
def numeric_settings(runtime: Runtime) -> Iterator[None]:
    """Set what holds for the whole process while a run lasts, and put it back afterwards.

    With bf16, flush denormals and allow TF32. cuDNN is made deterministic, so that one seed gives the same bytes.
    """
    import torch

    flushes = float(torch.tensor(2.0**-130) * 0.5) == 0.0
    if runtime.bf16:
        torch.set_flush_denormal(True)
    try:
        with convolutions(tf32=runtime.bf16):
            yield
    finally:
        if not flushes:
            torch.set_flush_denormal(False)


@contextmanager
def convolutions(*, tf32: bool) -> Iterator[None]:
    """Make cuDNN convolve deterministically inside the block, with 11 bits (TF32) or with all 24."""
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
        yield
