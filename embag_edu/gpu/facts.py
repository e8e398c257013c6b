"""Which device this is, and which versions: no path, no name of a host or user."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu import __version__
from embag_edu.cuda_on_cpu import CompilerMissing, Device, compilers


def device_facts(device: Device) -> dict[str, Any]:
    """The device in words and numbers; "kind" is "cuda", or "cpu" for one that is no GPU."""
    if device.kind != "cuda":
        return {"kind": "cpu", "name": "CPU, not a GPU", "compiler": compiler()}
    cupy = device.xp
    number = cupy.cuda.Device().id
    about = cupy.cuda.runtime.getDeviceProperties(number)
    return {
        "kind": "cuda",
        "name": about["name"].decode(),
        "compute capability": f"{about['major']}.{about['minor']}",
        "memory bytes": int(about["totalGlobalMem"]),
        "L2 bytes": int(about["l2CacheSize"]),
        "multiprocessors": int(about["multiProcessorCount"]),
        "shared bytes per block": int(about["sharedMemPerBlock"]),
        "compiler for the CPU": compiler(),
    }


def architecture(device: Device) -> int:
    """90 for a GPU of sm_90; a CPU has the features of every GPU."""
    if device.kind != "cuda":
        return 1000
    cupy = device.xp
    about = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return 10 * int(about["major"]) + int(about["minor"])


def versions(device: Device) -> dict[str, str]:
    """Of all that takes part. What cannot be found out is told as such."""
    found = {
        "python": platform.python_version(),
        "embag_edu": __version__,
        "numpy": np.__version__,
        "torch": _attempt(_torch),
    }
    if device.kind != "cuda":
        return found
    cupy = device.xp
    runtime = cupy.cuda.runtime
    return found | {
        "cupy": cupy.__version__,
        "driver": _attempt(_driver),
        "CUDA of the driver": _attempt(lambda: _dotted(runtime.driverGetVersion())),
        "CUDA runtime": _attempt(lambda: _dotted(cupy.cuda.get_local_runtime_version())),
        "CUDA runtime that CuPy was built with": _attempt(
            lambda: _dotted(runtime.runtimeGetVersion())
        ),
        "NVRTC": _attempt(lambda: ".".join(map(str, cupy.cuda.nvrtc.getVersion()))),
    }


def torch_with_gpu(device: Device) -> tuple[Any, str]:
    """(torch, '') where it sees the GPU; else (None, why not)."""
    if device.kind != "cuda":
        return None, "the device is the CPU"
    try:
        import torch
    except Exception as error:  # not installed, or broken
        return None, f"torch does not load ({type(error).__name__})"
    if not torch.cuda.is_available():
        return None, f"torch {torch.__version__} does not see the GPU"
    return torch, ""


def compiler() -> str:
    """The compiler by which kernels run on the CPU, or why they cannot."""
    try:
        return compilers.version(tuple(compilers.find_compiler()))
    except CompilerMissing as missing:
        return str(missing)


def _torch() -> str:
    import torch

    cuda = torch.version.cuda
    return f"{torch.__version__} ({f'CUDA {cuda}' if cuda else 'without CUDA'})"


def _driver() -> str:
    """The driver's own version, which CUDA does not tell."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
    return told.split()[0]


def _dotted(number: int) -> str:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _attempt(find: Callable[[], str]) -> str:
    try:
        return find()
    except ImportError:
        return "not installed"
    except Exception as error:
        return f"unknown ({type(error).__name__})"
