"""The compile check without a GPU: NVIDIA's own compiler, NVRTC, from two wheels.

    pip install nvidia-cuda-nvrtc nvidia-cuda-runtime

No driver is needed, and no GPU. `compile_check(source)` says whether a GPU's compiler takes it, and
what each kernel needs: registers, shared memory, what is spilled.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
_INSTALL = "pip install nvidia-cuda-nvrtc nvidia-cuda-runtime"
_LIBRARIES = ("*/lib/libnvrtc.so.*", "*/bin/nvrtc64_*.dll", "*/bin/*/nvrtc64_*.dll")


@dataclass(frozen=True)
class Resources:
    """What one kernel needs, as the assembler reports it; bytes are per block (shared memory) or
    per thread (spills, stack). Dynamic shared memory is not in it: the launch decides on that."""

    registers: int = 0
    shared_bytes: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    stack_bytes: int = 0
    constant_bytes: int = 0


@dataclass(frozen=True)
class CompileResult:
    """What NVRTC made of a source.

    errors:    one line each, "line 3: identifier ... is undefined"; empty when `ok`.
    resources: by name expression, and by name for kernels that no expression names.
    """

    ok: bool
    log: str
    resources: dict[str, Resources] = field(default_factory=dict)
    ptx: str | None = None
    cubin: bytes = b""

    @property
    def errors(self) -> list[str]:
        if self.ok:
            return []
        pattern = r"^kernel\.cu\((\d+)\): (?:catastrophic )?error: (.*)$"
        found = [f"line {line}: {text}" for line, text in re.findall(pattern, self.log, re.M)]
        found += re.findall(
            r"^(?!kernel\.cu)\S.*\(\d+\): (?:catastrophic )?error: .*$", self.log, re.M
        )
        found += re.findall(r"^(?:ptxas|nvrtc)\s*(?:fatal|error)\s*:.*$", self.log, re.M)
        return found or [self.log.strip() or "NVRTC failed without a word"]


# ---- The library ----


@functools.cache
def _find() -> tuple[Path | None, Path | None]:
    """The newest NVRTC of the wheels, and the folder of cuda_fp16.h that goes with it."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    libraries = [
        path
        for root in roots
        for pattern in _LIBRARIES
        for path in root.glob(pattern)
        if "builtins" not in path.name and ".alt" not in path.name
    ]
    library = max(libraries, key=_version_in_name, default=None)
    headers = [path.parent for root in roots for path in root.glob("*/include/cuda_fp16.h")]
    beside = library.parents[1] / "include" if library else None
    return library, beside if beside in headers else max(headers, default=None)


def _version_in_name(path: Path) -> list[int]:
    """[13] of libnvrtc.so.13 and of nvrtc64_130_0.dll, so that the newest is the largest."""
    dll = re.match(r"nvrtc64_(\d+)\d_", path.name)
    return [int(dll[1])] if dll else [int(n) for n in re.findall(r"\d+", path.name)]


def available() -> str:
    """'' where the compile check can run here; else a sentence that says why not."""
    if sys.platform == "darwin":
        return "NVIDIA has no CUDA compiler for macOS: run the compile check on Linux or Windows"
    library, headers = _find()
    if library is None:
        return f"NVRTC, NVIDIA's compiler, is not installed: {_INSTALL}"
    if headers is None:
        return f"NVIDIA's header cuda_fp16.h is not installed: {_INSTALL}"
    try:
        _library()
    except OSError as error:
        return f"NVRTC at {library.name} does not load: {error}"
    return ""


@functools.cache
def _library() -> ctypes.CDLL:
    path = _find()[0]
    if path is None:
        raise RuntimeError(available())
    if sys.platform == "win32":
        os.add_dll_directory(str(path.parent))  # its builtins lie beside it
    for builtins in path.parent.glob("libnvrtc-builtins.so*"):
        ctypes.CDLL(str(builtins))  # NVRTC 13.0 does not look beside itself
    library = ctypes.CDLL(str(path))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def version() -> str:
    """NVRTC's version, such as "13.5"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


class _Program:
    """One nvrtcProgram, from its creation to its end."""

    def __init__(self, code: str, expressions: Iterable[str]):
        self.library, self.handle = _library(), ctypes.c_void_p()
        made = ctypes.byref(self.handle)
        self.call("CreateProgram", made, code.encode(), b"kernel.cu", 0, None, None, program=False)
        for expression in expressions:
            self.call("AddNameExpression", expression.encode())

    def call(self, name: str, *args: object, program: bool = True) -> None:
        """Call nvrtc<name>; raise what it answers when that is an error."""
        first = (self.handle,) if program else ()
        status = getattr(self.library, f"nvrtc{name}")(*first, *args)
        if status:
            text = self.library.nvrtcGetErrorString(status).decode()
            raise RuntimeError(f"nvrtc{name}: {text}")

    def compile(self, options: Sequence[str]) -> bool:
        given = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        try:
            self.call("CompileProgram", len(options), given)
        except RuntimeError:
            return False  # the log says why
        return True

    def get(self, what: str) -> bytes:
        """The "ProgramLog", "PTX" or "CUBIN"."""
        size = ctypes.c_size_t()
        self.call(f"Get{what}Size", ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(size.value, 1))
        self.call(f"Get{what}", buffer)
        return buffer.raw[: size.value]

    def text(self, what: str) -> str:
        return self.get(what).rstrip(b"\0").decode(errors="replace")

    def lowered(self, expression: str) -> str:
        """The name that a name expression has in the machine code."""
        name = ctypes.c_char_p()
        self.call("GetLoweredName", expression.encode(), ctypes.byref(name))
        return (name.value or b"").decode()

    def close(self) -> None:
        self.library.nvrtcDestroyProgram(ctypes.byref(self.handle))


def compile_check(
    code: str, expressions: Sequence[str] = (), arch: str = "sm_80", options: Sequence[str] = ()
) -> CompileResult:
    """Compile CUDA source to machine code, and say what every kernel needs.

    expressions: instances of templates, such as "forward<float, 4>", as name_expressions of CuPy.
    arch:        "sm_80": machine code. ("compute_80" gives PTX only, and no resources.)
    options:     as CuPy's: -DNAME=value, -Ifolder, -std=c++17 (the default).
    A source that does not compile gives ok=False and `errors`; RuntimeError is raised only where
    NVRTC itself is missing (see `available`).
    """
    if why := available():
        raise RuntimeError(why)
    program = _Program(code, expressions)
    try:
        ok = program.compile(_options(arch, options))
        log = program.text("ProgramLog")
        if not ok:
            return CompileResult(False, log)
        names = {program.lowered(expression): expression for expression in expressions}
        cubin = program.get("CUBIN") if arch.startswith("sm_") else b""
        return CompileResult(True, log, _resources(log, names), program.text("PTX") or None, cubin)
    finally:
        program.close()


def _options(arch: str, options: Sequence[str]) -> list[str]:
    standard = any(re.match(r"--?std\b", option) for option in options)
    result = [f"-arch={arch}", *options, f"-I{_find()[1]}"]
    result += [] if standard else ["-std=c++17"]
    return result + (["--ptxas-options=-v"] if arch.startswith("sm_") else [])


_COUNTS = {
    "registers": r"Used (\d+) registers",
    "shared_bytes": r"(\d+) bytes smem",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
    "stack_bytes": r"(\d+) bytes stack frame",
    "constant_bytes": r"(\d+) bytes cmem",
}


def _resources(log: str, names: dict[str, str]) -> dict[str, Resources]:
    """What ptxas -v says in the log; `names` has the expressions of the lowered names."""
    pieces = re.split(r"Compiling entry function '([^']+)' for '[^']+'\n", log)[1:]
    found = {}
    for lowered, text in zip(pieces[::2], pieces[1::2], strict=True):
        counts = {name: sum(map(int, re.findall(p, text))) for name, p in _COUNTS.items()}
        found[names.get(lowered, lowered)] = Resources(**counts)
    return found
