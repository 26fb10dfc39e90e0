"""Devices, precision, and settings of the process that are put back."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from condense import runtime as module
from condense.errors import OptionError
from condense.runtime import Runtime, SilentReporter, available_cores, make_runtime, process_settings

CPU = torch.device("cpu")
# The least number float64 has is far below; this one is denormal, so flushing makes it 0.
DENORMAL = 1e-310


def denormals_survive() -> bool:
    return bool(torch.tensor(DENORMAL, dtype=torch.float64).mul(1.0).item() != 0)


@pytest.mark.parametrize("device", ["nonsense", "cpuu:0", ""])
def test_a_device_that_does_not_exist(device: str) -> None:
    with pytest.raises(
        OptionError, match=f"device '{device}' cannot be used.*try --device cpu or --device auto"
    ):
        make_runtime(device, "fp32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(OptionError, match="device 'cuda' cannot be used"):
        make_runtime("cuda", "auto")


@pytest.mark.parametrize(("available", "kind"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_cuda_where_there_is_one(
    available: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    asked: list[str] = []
    monkeypatch.setattr(torch, "empty", lambda _size, device: asked.append(device.type))
    assert make_runtime("auto", "fp32").device.type == kind
    assert asked == [kind]


@pytest.mark.parametrize(
    ("avx512", "amx", "fast"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_bfloat16_is_chosen_where_the_processor_has_it(
    avx512: bool, amx: bool, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert make_runtime("cpu", "auto").bf16 is fast
    assert make_runtime("cpu", "bf16").bf16 is True
    assert make_runtime("cpu", "fp32").bf16 is False


def test_a_torch_that_cannot_tell_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert make_runtime("cpu", "auto").bf16 is False


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_on_cuda_goes_by_its_capability(
    capability: tuple[int, int], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert module._fast_bf16(torch.device("cuda", 0)) is fast


def test_other_devices_stay_with_float32() -> None:
    assert module._fast_bf16(torch.device("mps")) is False


@pytest.mark.parametrize(
    ("bf16", "dtype", "text"),
    [(True, torch.bfloat16, "cpu, bfloat16"), (False, torch.float32, "cpu, float32")],
)
def test_precision_decides_autocast_and_the_layout_on_cpus_is_channels_last(
    bf16: bool, dtype: torch.dtype, text: str
) -> None:
    runtime = Runtime(CPU, bf16, SilentReporter())
    model = runtime.place(nn.Conv2d(3, 4, 3))
    images = runtime.images(torch.randn(2, 3, 8, 8))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert next(model.parameters()).is_contiguous(memory_format=torch.channels_last)
    with runtime.autocast():
        assert model(images).dtype == dtype
    assert runtime.describe() == text


def test_a_runtime_is_described_by_its_kind_and_not_by_the_devices_index() -> None:
    found = {
        (runtime.describe(), runtime.precision)
        for index in (None, 0, 1)
        for runtime in [Runtime(torch.device("cuda", index), True, SilentReporter())]
    }
    assert found == {("cuda, bfloat16", "bf16")}
    assert Runtime(CPU, False, SilentReporter()).precision == "fp32"


def test_process_settings_are_put_back() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    with process_settings(Runtime(CPU, False, SilentReporter())):
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == before


@pytest.mark.parametrize("bf16", [True, False])
def test_denormals_are_flushed_with_bfloat16_only(bf16: bool) -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormals")
    assert denormals_survive()
    with process_settings(Runtime(CPU, bf16, SilentReporter())):
        assert denormals_survive() is not bf16
    assert denormals_survive()


def printed(script: str, environment: dict[str, str]) -> list[int]:
    """Return the numbers that a script prints in a process of its own, with no other setting of memory around it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "THP_MEM_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**ours, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


FAULTS = """
import resource
import torch
from condense.runtime import SilentReporter, Runtime, process_settings

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1])

def fill(times):
    before = pages()
    for _ in range(times):
        torch.ones(4 * 2**20)  # 16 MiB
    return pages() - before

torch.set_num_threads(1)
with process_settings(Runtime(torch.device("cpu"), False, SilentReporter())):
    first, again, during = fill(1), fill(40), resident()
print(first, again, during - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("environment", [{}, {"MALLOC_TOP_PAD_": "131072"}])
def test_freed_memory_is_taken_again_until_the_end(environment: dict[str, str]) -> None:
    first, again, freed = printed(FAULTS, environment)
    if environment:  # the user's settings stay: every tensor takes its pages anew
        assert again > 38 * first
    else:
        assert again < 10 * first  # a few times, until blocks of that size have their places
        assert freed > 0.9 * 16 * 2**20 / resource.getpagesize()


HUGE_PAGES = """
import resource, torch
from condense.runtime import make_runtime

torch.set_num_threads(1)
make_runtime("cpu", "fp32")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(64 * 2**20)  # 256 MiB, which no setting keeps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SETTING_OF_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not SETTING_OF_HUGE_PAGES.exists() or "[madvise]" not in SETTING_OF_HUGE_PAGES.read_text(),
    reason="the system gives huge pages to nobody, or to everybody",
)
@pytest.mark.parametrize("environment", [{}, {"THP_MEM_ALLOC_ENABLE": "0"}])
def test_large_tensors_lie_in_huge_pages(environment: dict[str, str]) -> None:
    (faults,) = printed(HUGE_PAGES, environment)
    small = 2**28 / resource.getpagesize()
    if environment:  # the user's choice stays
        assert faults > 0.9 * small
    else:
        assert faults < 0.1 * small


def test_process_settings_are_put_back_after_an_error() -> None:
    before = torch.backends.cudnn.deterministic
    with pytest.raises(ZeroDivisionError), process_settings(Runtime(CPU, True, SilentReporter())):
        raise ZeroDivisionError
    assert torch.backends.cudnn.deterministic == before
    assert denormals_survive()


@pytest.mark.parametrize(
    ("cores", "platform", "loaders"),
    [
        (1, "linux", 0),
        (4, "linux", 0),
        (5, "linux", 5),
        (16, "linux", 16),
        (96, "linux", 16),
        (16, "darwin", 0),
    ],
)
def test_processes_decode_where_threads_cannot_keep_the_cores_busy(
    cores: int, platform: str, loaders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    monkeypatch.setattr(sys, "platform", platform)
    assert make_runtime("cpu", "fp32", loaders=None).loaders == loaders
    assert make_runtime("cpu", "fp32", loaders=3).loaders == 3
    assert make_runtime("cpu", "fp32").loaders == 0


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert available_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_the_decoder_is_part_of_the_description() -> None:
    plain = make_runtime("cpu", "fp32")
    assert plain.describe() == "cpu, float32"
    assert replace(plain, jpeg_decoder="cuda").describe() == "cpu, float32, JPEG decoded by CUDA"
