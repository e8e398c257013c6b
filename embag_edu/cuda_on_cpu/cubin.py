"""Kernels for a GPU, compiled as CuPy compiles them, but without its -ftz=true.

CuPy puts -ftz=true behind the options of every kernel: a float32 number below 2**-126 (a subnormal
one) becomes zero there, and 2e-40 + 1e-40 is 0. torch's kernels keep such numbers, and so does
cuda_on_cpu. CuPy's own compile_using_nvrtc adds no -ftz. What it makes is kept in a file, in the
cache of compiled kernels, and cupy.RawModule loads files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from embag_edu.cuda_on_cpu import cache, included

COOPERATIVE = "enable_cooperative_groups"  # of the launch: it does not change what is compiled
_NVRTC = ("backend", "nvrtc")  # the default, said aloud
RELOCATABLE = ("--device-c", "-dc", "-rdc=true", "--relocatable-device-code=true")


class Module:
    """cupy.RawModule(code=...) with subnormal float32 numbers; compiled when it is first used.

    As cupy.RawModule it raises cupy.cuda.compiler.CompileException. It is no more than CuPy's own
    RawModule, and such numbers become zero, with `backend="nvcc"`, `jitify`, `translate_cucomplex`
    and options for relocatable code, and where this CuPy lacks a function that `compiled` needs.
    """

    def __init__(
        self,
        cupy: Any,
        code: str,
        *,
        options: tuple[str, ...] = (),
        name_expressions: Sequence[str] | None = None,
        **others: Any,
    ):
        self._cupy = cupy
        self._job = code, options, tuple(name_expressions or ())
        self._plain = cupy.RawModule(  # checks what was given, and compiles nothing yet
            code=code, options=options, name_expressions=name_expressions, **others
        )
        self._launch = {key: value for key, value in others.items() if key == COOPERATIVE}
        asked = {key for key, value in others.items() if value and (key, value) != _NVRTC}
        self._exact = asked <= {COOPERATIVE} and not set(options) & set(RELOCATABLE)
        self._loaded: dict[str, tuple[Any, dict[str, str]]] = {}

    def get_function(self, name: str) -> Any:
        """The kernel `name`, or the instance that this name expression stands for."""
        module, mangled = self._of_this_gpu()
        return module.get_function(mangled.get(name, name))

    def compile(self, log_stream: Any = None) -> None:
        """Compile now. log_stream: a file that the compiler's words are written to."""
        module, _ = self._of_this_gpu(log_stream)
        module.compile(*([log_stream] if module is self._plain else []))

    def _of_this_gpu(self, log_stream: Any = None) -> tuple[Any, dict[str, str]]:
        """CuPy's module for the current device's architecture, and the mangled names."""
        if not self._exact:
            return self._plain, {}
        here = self._cupy.cuda.Device().compute_capability
        if here not in self._loaded:
            entry = compiled(self._cupy, *self._job, log_stream)
            self._loaded[here] = self._plain, {}
            if entry is not None:
                path, mangled = str(entry / "kernel.cubin"), entry / "names.json"
                module = self._cupy.RawModule(path=path, **self._launch)
                self._loaded[here] = module, json.loads(mangled.read_text(encoding="utf-8"))
        return self._loaded[here]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_this_gpu()[0], name)


def compiled(
    cupy: Any, code: str, options: tuple[str, ...], names: tuple[str, ...], log_stream: Any = None
) -> Path | None:
    """The folder with kernel.cubin for the current device and names.json: mangled names by `names`.

    From the cache, or made now. None where this CuPy has not the functions for it.
    Raises CuPy's CompileException.
    """
    try:
        compile_it = cupy.cuda.compiler.compile_using_nvrtc
        every_option = cupy._core.core.assemble_cupy_compiler_options(options)
        versions = cupy.__version__, cupy.cuda.nvrtc.getVersion()
        if cupy.cuda.runtime.is_hip:
            return None
    except AttributeError:
        return None

    def make(folder: Path) -> None:
        made, mangled = compile_it(code, every_option, None, "kernel.cu", names, log_stream)
        # CuPy cuts off the last byte, which it takes for the NUL behind a text. In memory Python
        # puts a NUL behind the bytes; in a file it must be written.
        (folder / "kernel.cubin").write_bytes(made + b"\0")
        (folder / "names.json").write_text(json.dumps(mangled or {}), encoding="utf-8")

    where = cupy.cuda.Device().compute_capability, os.environ.get("CUPY_COMPILE_WITH_PTX")
    texts = list(included.included(code, options).values())
    key = repr((code, texts, every_option, names, versions, where)).encode()
    return cache.cached(f"cubin-{sha256(key).hexdigest()[:24]}", make)
