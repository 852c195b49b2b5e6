"""The device a run computes on."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["choose_device", "describe_device", "memory_bytes", "seeded"]

# Where Linux keeps the limit of a container.
LIMIT = Path("/sys/fs/cgroup/memory.max")


def choose_device(name: str) -> torch.device:
    """The device called `name`: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`.

    Convolutions and products of float32 keep all their bits from here on. On CUDA, PyTorch rounds
    the factors of convolutions to TF32, 10 bits of mantissa, unless it is told otherwise.

    Raises:
        UsageError: no such device here.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"'{name}' is no device.", "Use auto, cpu, cuda or cuda:N (--device)."
        ) from None
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"The device '{name}' is not supported.", "Use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine shows {torch.cuda.device_count()} CUDA device(s).",
            "Use --device cpu, or check the driver with nvidia-smi.",
        )
    return device


def describe_device(device: torch.device) -> str:
    """What a result says of the device, e.g. `cpu (2 threads)` or `cuda (NVIDIA H100, TF32 off)`.

    TF32 is on where convolutions or products of float32 may be rounded to it now.
    """
    if device.type == "cuda":
        rounded = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
        return f"{device} ({torch.cuda.get_device_name(device)}, TF32 {'on' if rounded else 'off'})"
    return f"{device} ({torch.get_num_threads()} threads)"


def memory_bytes(device: torch.device) -> int | None:
    """All the memory there is, whoever uses it now; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
    try:
        return min(machine, int(LIMIT.read_text("ascii")))
    except (OSError, ValueError):  # no container, or one without a limit: `max`
        return machine


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of `device`, and put them back as they were."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
