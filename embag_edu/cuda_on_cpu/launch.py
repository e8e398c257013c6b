"""RawModule and RawKernel: CuPy's two classes for CUDA source, here for NumPy arrays.

    kernel = RawKernel(source, "scale")
    kernel((grid,), (block,), (x, np.float32(2), np.int32(n)))

Checked mode, the default, runs the kernel in a child process and looks at every access before it
happens. Fast mode runs it in this process, on several cores, and looks at nothing.
"""

from __future__ import annotations

import ctypes
import functools
import json
import math
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu import included, source, toolchain
from embag_edu.cuda_on_cpu import options as given
from embag_edu.cuda_on_cpu.arguments import (
    SHARED_DEFAULT,
    SHARED_MOST,
    check_arguments,
    check_shape,
    check_together,
    quick,
)
from embag_edu.cuda_on_cpu.checked import run
from embag_edu.cuda_on_cpu.counts import Report, raise_for
from embag_edu.cuda_on_cpu.fast import MOST_STACKS, run_parts
from embag_edu.cuda_on_cpu.faults import KernelFault, told_in_short
from embag_edu.cuda_on_cpu.launched import Launched
from embag_edu.cuda_on_cpu.members import with_struct
from embag_edu.cuda_on_cpu.refuse import NotModeled
from embag_edu.cuda_on_cpu.settings import Settings, current
from embag_edu.cuda_on_cpu.worker import Control, Launch, Variable, prepare

REFUSES_THIS = "a GPU's compiler refuses this:"
TRANSLATED = ("-DCUDA_ON_CPU_TRANSLATE_CUCOMPLEX",)  # see native/include/cuComplex.h


class NotFound(ValueError):
    """The source has no kernel, or no variable, of this name."""


class RawModule:
    """CUDA source with its kernels, compiled when one is first asked for; as cupy.RawModule.

    code:             the source. name_expressions: the instances of templates, "scale<float>".
    options:          -D, -U and -I as for a compiler; options that tune GPU code change nothing.
    translate_cucomplex: what cuComplex.h declares is CuPy's complex<T>, with operators.
    enable_cooperative_groups: threads may wait for the whole grid: `cg::this_grid().sync()`.
    jitify: changes nothing. path is refused.
    """

    _kernel_class: type[RawKernel]

    @told_in_short()
    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool = False,
    ):
        if path is not None and code is None:
            raise NotModeled(0, "path: compiled GPU code cannot run here; pass the source as code=")
        if path is not None:
            raise TypeError("code= and path= are both given: give one of them")
        if not isinstance(code, str):
            raise TypeError(f"code is {code!r}; it must be a string, the CUDA source")
        if name_expressions is not None and backend != "nvrtc":
            raise ValueError(f"backend is {backend!r}; valid with name_expressions: 'nvrtc'")
        self.code, self.backend, self.translate_cucomplex = code, backend, bool(translate_cucomplex)
        self.options = (*given.in_one_word(options), *TRANSLATED * self.translate_cucomplex)
        self.enable_cooperative_groups = bool(enable_cooperative_groups)
        self.name_expressions = None if name_expressions is None else tuple(name_expressions)
        self.arch = given.architecture(self.options) or current().arch
        seen = given.seen(self.options, self.arch)
        self._text = included.readable(code, self.options, self.arch)
        self._shown = included.shown(code, self.options)
        self._kernels = source.kernels(self._text, seen)
        own = [k.name for k in self._kernels.values() if k.extern_c]
        self._names = list(dict.fromkeys([*own, *(name_expressions or ())]))
        self._variables = source.global_variables(self._text, seen)
        self._declared: list[Variable] = []  # of the first library that was loaded
        self._values: dict[str, np.ndarray] = {}  # of the variables, from launch to launch
        self._parameters: dict[str, list[source.Parameter]] = {}
        self._files: dict[tuple[bool, str | None], Path] = {}
        self._fast: list[tuple[ctypes.CDLL, list[Variable]]] = []
        self._lock = threading.Lock()
        self._told = False

    @told_in_short()
    def get_function(self, name: str) -> RawKernel:
        """The kernel `name`: one with extern "C", or one of the name_expressions."""
        if name not in self._names:
            raise NotFound(self._no_kernel(name))
        return self._kernel_class(self.code, name, self.options, module=self)

    def _no_kernel(self, name: str) -> str:
        there = f"there is no kernel {name!r} in the source; there are: "
        there += ", ".join(self._names) or "none"
        kernel = self._kernels.get(source.kernel_name(name))
        if kernel is not None and kernel.template_parameters:
            return f"{there}. Name the instances of a template in name_expressions"
        if kernel is not None:
            return f'{there}. Write extern "C" before __global__, or the name is changed by C++'
        return f'{there}. A kernel is written as extern "C" __global__ void {name}(...)'

    def compile(self, log_stream: Any = None) -> None:
        """Compile now, for the mode that is set; otherwise the first launch does it.

        log_stream: a file to which `warnings` are written.
        """
        self._library_file(current().mode == "checked")
        if log_stream is not None:
            log_stream.write("".join(f"warning: {text}\n" for text in self.warnings))

    def __reduce__(self) -> tuple:
        """For pickle and copy: made anew from its source, its variables as they are declared."""
        given = {
            "code": self.code,
            "options": self.options,
            "backend": self.backend,
            "translate_cucomplex": self.translate_cucomplex,
            "enable_cooperative_groups": self.enable_cooperative_groups,
            "name_expressions": self.name_expressions,
        }
        return _module_again, (type(self), given)

    @told_in_short()
    def get_global(self, name: str) -> np.ndarray:
        """The memory of a __constant__ or __device__ variable, as bytes: `.view(dtype)` it.

        What is written there is there in the next launch.
        """
        names = [v.name for v in self._variables]
        if name not in names:
            raise NotFound(
                f"there is no variable {name!r}; there are: {', '.join(names) or 'none'}"
            )
        with self._lock:
            self._own()
        return self._values[name]

    def _library_file(self, checked: bool) -> Path:
        """Looked up once for each mode and compiler: the cache reads the whole library."""
        wanted = checked, os.environ.get("EMBAG_CXX")
        if wanted not in self._files or not self._files[wanted].exists():
            self._files[wanted] = toolchain.build(
                self.code, self._names, self.options, checked, self.arch
            )
        return self._files[wanted]

    @property
    def warnings(self) -> list[str]:
        """What compilers say of the source, beside the errors that they raise.

        The C++ compiler's warnings of likely mistakes; and where NVRTC is installed and the source
        was compiled for checked mode, what a GPU's compiler refuses.
        """
        said = [toolchain.said(file) for file in self._files.values()]
        found = [text for one in said for text in one["warnings"]]
        found += [f"{REFUSES_THIS} {t}" for one in said for t in one["refusals"]]
        return list(dict.fromkeys(found))

    def _tell_refusals(self) -> None:
        """Warn once of what a GPU's compiler refuses: what is found here does not depend on it."""
        refusals = [text for text in self.warnings if text.startswith(REFUSES_THIS)]
        if refusals and not self._told:
            self._told = True
            warnings.warn("\n".join(refusals), stacklevel=5)

    def _own(self) -> list[Variable]:
        """The variables as declared. Before the first launch these are their values."""
        if len(self._declared) < len(self._variables):
            file = self._library_file(current().mode == "checked")
            self._declared = _variables(ctypes.CDLL(str(file)), len(self._variables))
            for variable, declared in zip(self._variables, self._declared, strict=True):
                value = np.frombuffer(bytearray(declared.declared), np.uint8)
                self._values[variable.name] = value
        return self._declared

    def _libraries(self, cores: int) -> list[tuple[ctypes.CDLL, list[Variable]]]:
        """Fast mode: a copy of the library for every core, for its state is the core's own."""
        if len(self._fast) < cores:
            file = self._library_file(checked=False)
            for _ in range(cores - len(self._fast)):
                handle, copy = tempfile.mkstemp(suffix=toolchain.SUFFIX, dir=_copies())
                os.close(handle)
                shutil.copy(file, copy)
                library = ctypes.CDLL(copy)
                library.cuda_on_cpu_report.restype = ctypes.c_char_p
                self._fast.append((library, _variables(library, len(self._variables))))
        return self._fast[:cores]

    def _copy_variables(self, places: list[Variable], out: bool) -> None:
        for variable, own, there in zip(self._variables, self._own(), places, strict=True):
            copy = there.get if out else there.put
            copy(self._values[variable.name].ctypes.data, own.pointers)


def _variables(library: ctypes.CDLL, n: int) -> list[Variable]:
    return [Variable(library, i) for i in range(n)]


def _module_again(kind: type[RawModule], given: dict) -> RawModule:
    return kind(**given)


_folder: tempfile.TemporaryDirectory | None = None


def _copies() -> str:
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="cuda_on_cpu_", ignore_cleanup_errors=True)
    return _folder.name


class RawKernel:
    """One kernel; call it as kernel(grid, block, args, shared_mem=0), as cupy.RawKernel.

    After a checked launch, `report` tells what was counted and found (a `counts.Report`).
    """

    _module_class: type[RawModule] = RawModule

    @told_in_short()
    def __init__(
        self,
        code: str,
        name: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        *,
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        jitify: bool = False,
        module: RawModule | None = None,
    ):
        if module is None:
            templated = [name] if "<" in name else None
            module = self._module_class(
                code,
                options=options,
                backend=backend,
                name_expressions=templated,
                translate_cucomplex=translate_cucomplex,
                jitify=jitify,
                enable_cooperative_groups=enable_cooperative_groups,
            )
            module.get_function(name)  # says which kernels there are
        self.code, self.name, self.options, self.backend = code, name, tuple(options), backend
        self.report: Report | None = None
        self.shared_limit: int | None = None  # of dynamic shared memory, where it was raised
        self._module = module
        self._number = module._names.index(name)

    def __reduce__(self) -> tuple:
        """For pickle and copy: a kernel of the same module; its report stays behind."""
        return _kernel_again, (type(self), self._module, self.name, self.shared_limit)

    @property
    def enable_cooperative_groups(self) -> bool:
        """Whether a launch is cooperative: its threads may wait for the whole grid."""
        return self._module.enable_cooperative_groups

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """The most bytes of `shared_mem`; who sets it may have up to 227 KiB, with static arrays.

        Raises ValueError for more than that.
        """
        return SHARED_DEFAULT if self.shared_limit is None else self.shared_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, most: int) -> None:
        if not 0 <= int(most) <= SHARED_MOST:
            raise ValueError(
                f"max_dynamic_shared_size_bytes is {most!r}; valid: 0 to {SHARED_MOST}, the most "
                "of compute capability 9.0. Take smaller pieces"
            )
        self.shared_limit = int(most)

    def compile(self, log_stream: Any = None) -> None:
        """Compile now; otherwise the first launch does it."""
        self._module.compile(log_stream)

    @functools.cached_property
    def max_threads_per_block(self) -> int:
        """1024, or what __launch_bounds__ says: the compiler knows it."""
        if self._declaration is None or not self._declaration.max_threads:
            return 1024
        library = ctypes.CDLL(str(self._module._library_file(current().mode == "checked")))
        bounds = getattr(library, f"bounds_{self._number}", None)
        text = self._declaration.max_threads
        return bounds() if bounds else int(text) if text.isdecimal() else 1024

    @property
    def warnings(self) -> list[str]:
        """What compilers say of the module's source: see RawModule.warnings."""
        return self._module.warnings

    @property
    def attributes(self) -> dict[str, int]:
        """Those of CuPy's kernel attributes that exist on a CPU."""
        return {
            "max_threads_per_block": self.max_threads_per_block,
            "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
        }

    @told_in_short()
    def __getattr__(self, name: str) -> Any:
        if name in (
            "num_regs",
            "local_size_bytes",
            "binary_version",
            "ptx_version",
            "shared_size_bytes",
        ):
            raise AttributeError(
                f"{name} is known to NVIDIA's compiler only: "
                "embag_edu.cuda_on_cpu.nvrtc.compile_check tells it, without a GPU"
            )
        raise AttributeError(f"RawKernel has no attribute {name!r}")

    @property
    def parameters(self) -> list[source.Parameter]:
        """What the compiler knows of the parameters' types, with the names of the source."""
        known = self._module._parameters
        if self.name not in known:
            file = self._module._library_file(current().mode == "checked")
            signature = getattr(ctypes.CDLL(str(file)), f"signature_{self._number}")
            signature.restype = ctypes.c_char_p
            types = signature().decode().split()
            kernel = self._declaration
            unnamed = (source.Parameter("", "?"),) * len(types)
            read = kernel.parameters if kernel else unnamed
            typed = [_typed(p, t) for p, t in zip(read, types, strict=True)]
            seen = given.seen(self.options, self._module.arch)
            known[self.name] = [with_struct(self._module._text, p, seen) for p in typed]
        return known[self.name]

    @functools.cached_property
    def _usual(self) -> Callable[[Sequence[Any]], list | None]:
        return quick(self.parameters, np.ndarray)

    @property
    def _declaration(self) -> source.Kernel | None:
        """What the source says of the kernel; None where a macro or a header declares it."""
        return self._module._kernels.get(source.kernel_name(self.name))

    def __call__(
        self,
        grid: tuple,
        block: tuple,
        args: Sequence,
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Run the kernel. Faults raise KernelFault, wrong arguments TypeError or ValueError.

        grid, block: tuples of one to three sizes. args: NumPy arrays and scalars, in the order of
        the parameters. shared_mem: bytes of `extern __shared__` memory. stream: there is one only.
        """
        most = self.max_threads_per_block
        with told_in_short():
            shape = check_shape(self.name, grid, block, shared_mem, most, self.shared_limit)
            together = self.enable_cooperative_groups and check_together(self.name, *shape)
            values = self._usual(args) or check_arguments(self.name, self.parameters, args)
        now = current()
        shared = int(shared_mem), SHARED_DEFAULT if self.shared_limit is None else SHARED_MOST
        text = self._module._shown
        launched = Launched(text, self.name, self.parameters, values, *shape, together)
        self.report = None
        if now.mode == "fast":
            self._run_fast(launched, now, shared)
        else:
            self._run_checked(launched, now, shared)

    def _run_checked(self, launched: Launched, now: Settings, shared: tuple[int, int]) -> None:
        module = self._module
        file = module._library_file(checked=True)
        module._tell_refusals()
        with module._lock:
            own = list(zip(module._variables, module._own(), strict=True))
        try:
            found = run(file, self._number, launched, now, shared, own, module._values)
        except KernelFault as fault:
            self.report = fault.report
            raise
        self.report = Report(launched, found)
        print(found["printed"], end="")
        if now.raise_faults or found.get("stopped"):
            raise_for(self.report)
        if self.report.unchecked:
            warnings.warn(f"kernel {self.name}: {self.report.verdict}", stacklevel=3)

    def _run_fast(self, launched: Launched, now: Settings, shared: tuple[int, int]) -> None:
        module, total = self._module, int(np.prod(launched.grid, dtype=np.int64))
        writes = any(not v.constant for v in module._variables)  # one copy for all
        threads = math.prod(launched.block)
        most = 1 if writes or launched.cooperative else min(now.cores, total)
        cores = max(min(most, MOST_STACKS // threads), 1)
        pointers, _keep = _pointers(launched.values)
        with module._lock:
            libraries, places = zip(*module._libraries(cores), strict=True)

            def part(k: int, control: Control) -> str | None:
                module._copy_variables(places[k], out=False)
                launch = prepare(
                    Launch(),
                    launched.grid,
                    launched.block,
                    total * k // cores,
                    total * (k + 1) // cores,
                    shared,
                    now.order,
                    launched.cooperative,
                    pointers,
                    control,
                )
                failed = getattr(libraries[k], f"launch_{self._number}")(ctypes.byref(launch))
                report = libraries[k].cuda_on_cpu_report().decode(errors="replace")
                return report if failed or '"printed":""' not in report else None

            parts = [functools.partial(part, k) for k in range(cores)]
            told = run_parts(parts, libraries[0], now.seconds)
            if writes:
                module._copy_variables(places[0], out=True)
        for report in filter(None, told):
            found = json.loads(report)
            print(found["printed"], end="")
            for fault in found["faults"]:
                fault["text"] = fault["text"] or f"{now.seconds:g}"
            raise_for(Report(launched, found))


RawModule._kernel_class = RawKernel


def _kernel_again(
    kind: type[RawKernel], module: RawModule, name: str, shared_limit: int | None
) -> RawKernel:
    kernel = kind(module.code, name, module.options, module.backend, module=module)
    kernel.shared_limit = shared_limit
    return kernel


def _typed(read: source.Parameter, true: str) -> source.Parameter:
    """ "const*float32/4:8" tells: a pointer to const float4."""
    text, _, size = true.rpartition(":")
    kind, _, lanes = text.replace("const", "").replace("*", "").partition("/")
    return replace(
        read,
        pointer="*" in text,
        const="const" in text,
        dtype=None if kind == "?" else kind,
        lanes=int(lanes or 1),
        size=int(size),
    )


def _pointers(values: Sequence) -> tuple[ctypes.Array, list]:
    """A C array of pointers to the values; the second result keeps them alive."""
    keep = [
        np.array([v.ctypes.data], np.uint64) if isinstance(v, np.ndarray) else np.atleast_1d(v)
        for v in values
    ]
    return (ctypes.c_void_p * max(1, len(keep)))(*[k.ctypes.data for k in keep]), keep
