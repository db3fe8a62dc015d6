"""Device: where networks draw. It is chosen once a run, and in force while generators load.

Noise is drawn on the CPU with a row's own generator and moved, so that a device differs in its arithmetic alone.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    import torch

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
MEMORY = 2e9  # bytes of a GPU that a process which draws may take: context, networks, a block of images
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, WSL
_in_force: ContextVar[str] = ContextVar("device of the networks that are loaded", default=CPU)


def kind_of(device: str) -> str:
    """`cpu` or `cuda`, without a number."""
    return device.partition(":")[0]


def choose(asked: str = AUTO, begun: str | None = None, here: bool = True) -> str:
    """The device that `--device` asks for: cpu, or cuda and its number. `begun` is the kind a cohort was begun on.

    `auto` is that kind, else a GPU where there is one; not `here`, on machines of which nothing is known, the CPU.
    Raises InputError: no such device here, or another kind than the cohort's, whose files would differ.
    """
    if not isinstance(asked, str) or not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", asked):
        raise InputError(f"--device: expected auto, cpu, cuda or cuda:N, got {asked!r}")
    if begun is not None and asked != AUTO and kind_of(asked) != begun:
        raise InputError(
            f"--device {asked}: the cohort was begun on {begun}, and files of two kinds of device differ in their last "
            f"digits; go on with --device {begun}, or choose another folder"
        )
    if not here:
        if asked.startswith(f"{CUDA}:"):
            raise InputError(f"--device {asked}: workers elsewhere are given a GPU each; say --device cuda")
        return (begun or CPU) if asked == AUTO else asked
    if asked == AUTO and begun is None:
        return f"{CUDA}:0" if _gpus() else CPU
    wanted = begun if asked == AUTO and begun is not None else asked
    if wanted == CPU:
        return CPU
    place, gpus = int(wanted.partition(":")[2] or 0), _gpus()
    if place >= gpus:
        has = "PyTorch sees no CUDA device here" if not gpus else f"PyTorch sees {gpus} here, from cuda:0 on"
        why = " (the cohort was begun on one)" if asked == AUTO else ""
        raise InputError(f"--device {wanted}{why}: {has}; choose another, or a machine that has it")
    return f"{CUDA}:{place}"


def _gpus() -> int:
    """CUDA devices (ROCm's too) that PyTorch sees; PyTorch is not loaded where there is no driver."""
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in _DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextmanager
def using(device: str) -> Iterator[None]:
    """Networks that weights.restore() fills inside the block go to this device."""
    before = _in_force.set(device)
    try:
        yield
    finally:
        _in_force.reset(before)


def in_force() -> str:
    """The device of using(); the CPU outside of it."""
    return _in_force.get()


def half_is_fast(device: "torch.device") -> bool:
    """Whether bfloat16 is native on the device; where it is emulated it is slower than float32."""
    import torch

    if device.type == CPU:
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return device.type == CUDA and torch.cuda.is_bf16_supported(including_emulation=False)


def processes(device: str, cores: int) -> int:
    """How many processes draw by default: one a core, on a GPU as many as its free memory holds."""
    if kind_of(device) == CPU:
        return cores
    import torch

    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return max(1, min(cores, int(free // MEMORY)))


@contextmanager
def steady(device: str) -> Iterator[None]:
    """One thread, so that sums do not depend on how they are split; on a GPU kernels that give the same bits twice."""
    import torch
    from threadpoolctl import threadpool_limits

    threads, before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            if kind_of(device) == CUDA:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                # cumsum has no such kernel by name; along rows, as it is used here, it is one
                warnings.filterwarnings("ignore", message=".*deterministic")
                # its other name, use_deterministic_algorithms, loads the compiler: 1.5 s and 50 MB a process
                torch.set_deterministic_debug_mode("warn")
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(before)
