"""Runs, checks and counts CUDA C++ on a machine without a GPU, behind CuPy's call signature.

    from embag_edu.cuda_on_cpu import RawKernel
    kernel = RawKernel(source, "scale")
    kernel((grid,), (block,), (x, np.float32(2), np.int32(n)))
    print(kernel.report)

Needs NumPy and a C++ compiler. `device()` gives CuPy where there is a usable GPU, this where not.
"""

from embag_edu.cuda_on_cpu.compilers import CompilerMissing
from embag_edu.cuda_on_cpu.counts import Report, compare
from embag_edu.cuda_on_cpu.device import Device, device
from embag_edu.cuda_on_cpu.faults import KernelFault
from embag_edu.cuda_on_cpu.launch import RawKernel, RawModule
from embag_edu.cuda_on_cpu.refuse import NotModeled
from embag_edu.cuda_on_cpu.settings import Settings, settings
from embag_edu.cuda_on_cpu.toolchain import CompileError

__all__ = [
    "CompileError",
    "CompilerMissing",
    "Device",
    "KernelFault",
    "NotModeled",
    "RawKernel",
    "RawModule",
    "Report",
    "Settings",
    "compare",
    "device",
    "settings",
]
