"""What a bug report has to say about the machine: `python -m embag_edu report`.

Only versions, counts and names of products are told. No path, no user name and no host name is.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

from embag_edu import __version__
from embag_edu.text import aligned

CUPY_BUILDS = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
PACKAGES = ("numpy", "torch", "matplotlib", "jupyterlab", "ipywidgets", "ml_dtypes")
MISSING = "not installed"


def report() -> str:
    """The environment in a few lines, one fact a line. Nothing is changed; takes some seconds.

    It never raises: a part of the environment that is broken is told as broken.
    """
    facts = {
        "embag_edu": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": _system(),
        "processors": _processors(),
        **{package: _version(package) for package in PACKAGES},
        "compiler": _compiler(),
        "cupy": _cupy(),
        "GPU": _gpu(),
    }
    return aligned(facts.items())


def _system() -> str:
    """The operating system and the kind of processor."""
    named: dict[str, Callable[[], str]] = {
        "Darwin": lambda: "macOS " + platform.mac_ver()[0],
        "Windows": lambda: "Windows " + platform.release(),
        "Linux": _linux,
    }
    system = named.get(platform.system(), platform.system)()
    return f"{system}, {platform.machine() or 'unknown processor'}"


def _linux() -> str:
    """The distribution, and the C library, which decides which wheels can be installed."""
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = "Linux"
    return f"{name}, {' '.join(platform.libc_ver()) or 'another libc'}"


def _processors() -> str:
    """How many processors there are, and how many of them this process may use."""
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    return str(there) if usable == there else f"{there}, of which {usable} for this process"


def _version(package: str) -> str:
    """The version of an installed package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING


def _compiler() -> str:
    """The C++ compiler that CUDA kernels run through where there is no GPU."""
    from embag_edu.cuda_on_cpu import compilers

    try:
        command = compilers.find_compiler()
        name = "ziglang, " if "ziglang" in command else ""
        return name + compilers.version(tuple(command))
    except Exception as error:  # this report never raises
        return str(error).split(". ")[0]


def _cupy() -> str:
    """CuPy's version and which build it is: there is one for each CUDA."""
    builds = ((build, _version(build)) for build in CUPY_BUILDS)
    found = [f"{version} ({build})" for build, version in builds if version != MISSING]
    return ", ".join(found) or f"{MISSING} (needed on a GPU only)"


def _gpu() -> str:
    """The GPUs that CuPy or torch can use, or that there is none."""
    asked = {"CuPy": _attempt(_gpus_of_cupy), "torch": _attempt(_gpus_of_torch)}
    found = [f"{gpus} (seen by {who})" for who, gpus in asked.items() if gpus]
    return "; ".join(found) or "none that can be used: the book does not need one"


def _attempt(find: Callable[[], str]) -> str:
    """What `find` says; '' where there is no GPU, or no package, or one that does not work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may name paths
            return find()
    except Exception:  # a driver that is missing, too old or broken has many ways to say so
        return ""


def _gpus_of_cupy() -> str:
    import cupy

    runtime: Any = cupy.cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"] for i in range(runtime.getDeviceCount())]
    return ", ".join(name.decode() for name in names)


def _gpus_of_torch() -> str:
    import torch

    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def main(words: list[str]) -> int:
    """Print the report."""
    print(report())
    return 0
