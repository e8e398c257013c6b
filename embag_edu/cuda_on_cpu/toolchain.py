"""From CUDA source to a library that runs here: compilers, flags, the cache, compile errors.

A compiled kernel lies in the cache under a name made of everything that it was made from: source,
options, flags, compiler, and this package's own C++ files. An entry is a folder that is written
elsewhere and then renamed, so that no half-written one is ever seen; its digest is checked when it
is used, and one that does not fit is made again.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embag_edu.cuda_on_cpu import source
from embag_edu.cuda_on_cpu.refuse import refuse
from embag_edu.cuda_on_cpu.rewrite import rewrite

HERE = Path(__file__).parent
NATIVE = HERE / "native"
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
COMMON = (
    "-std=c++17 -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -fvisibility=hidden "
    # A GPU does not fuse across statements here, takes wrapped integers and looks at one memory
    # through any type; -fno-math-errno lets sqrtf be one instruction.
    "-ffp-contract=off -fwrapv -fno-strict-aliasing -fno-math-errno "
    "-fno-delete-null-pointer-checks -UNDEBUG -w"
).split()
FAST = ["-O2", "-funroll-loops"]  # unrolled, the first kernel of the book takes 0.86 of the time
# -O1 without what would merge, split or move the reader's accesses: counts stand for lines.
CHECKED = (
    "-DCUDA_ON_CPU_CHECKED -O1 -gdwarf-4 -fno-omit-frame-pointer -fno-unroll-loops "
    "-fno-optimize-sibling-calls"
).split()
WATCHED = "-fsanitize=thread -fsanitize=bounds -fsanitize=integer-divide-by-zero".split()
ONLY_GCC = (
    "-fsanitize-coverage=trace-pc -fno-tree-vectorize -fno-tree-slp-vectorize "
    "-fno-reorder-blocks -gno-variable-location-views"
).split()
ONLY_CLANG = (
    "-fsanitize-coverage=bb,trace-pc,no-prune -fno-vectorize -fno-slp-vectorize -fno-finite-loops "
    "-mllvm -tsan-instrument-read-before-write=1 -mllvm -disable-loop-idiom-all "
    "-mllvm -unroll-threshold=0 -mllvm -unroll-runtime=false "
    "-mllvm -hoist-common-insts=false -mllvm -sink-common-insts=false"
).split()
# What NVRTC takes: the first kind means something here, the second nothing on a CPU.
PASSED = ("-D", "-U", "-I")
IGNORED = tuple(
    "-std --std -arch --gpu-architecture -lineinfo --generate-line-info -G --device-debug -dopt "
    "-default-device --device-as-default-execution-space --restrict -w --fmad -fmad "
    "--use_fast_math -use_fast_math --maxrregcount -maxrregcount --ptxas-options -Xptxas "
    "--extra-device-vectorization".split()
)


class CompilerMissing(RuntimeError):
    """No C++ compiler was found on this machine."""


class CompileError(RuntimeError):
    """The source is not valid. errors: (line, column, text); log: the compiler's own words."""

    def __init__(self, errors: list[tuple[int, int, str]], log: str, code: str):
        self.errors, self.log = errors, log
        lines = code.split("\n")
        told = []
        for line, column, text in errors[:3]:
            shown = lines[line - 1] if 0 < line <= len(lines) else ""
            told.append(
                f"line {line}: {text}\n  {line:4} | {shown}\n       | {' ' * (column - 1)}^"
            )
        super().__init__("the kernel source does not compile\n" + ("\n".join(told) or log))


def compilers() -> dict[str, list[str]]:
    """The compilers of this machine by name, the preferred one first, with their commands."""
    found = {name: [name] for name in ("g++", "clang++", "c++") if shutil.which(name)}
    if importlib.util.find_spec("ziglang"):
        found["ziglang"] = [sys.executable, "-m", "ziglang", "c++"]
    return found


def find_compiler() -> list[str]:
    """The command of a C++ compiler: EMBAG_CXX, g++, clang++, c++, or that of the package ziglang.

    EMBAG_CXX is one of these names, or a command. Raises CompilerMissing where there is none.
    """
    found, wanted = compilers(), os.environ.get("EMBAG_CXX")
    if wanted:
        return found.get(wanted) or wanted.split()
    if found:
        return next(iter(found.values()))
    raise CompilerMissing(
        "CUDA kernels run here through a C++ compiler, and none was found. "
        "Run: pip install 'embag_edu[compiler]' (it brings one as a Python package), "
        "or install g++ or clang++"
    )


@functools.cache
def is_gcc(compiler: tuple[str, ...]) -> bool:
    """Whether the command is GCC's; else it is clang's, or zig's."""
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    return "clang" not in said and "zig" not in " ".join(compiler)


@functools.cache
def version(compiler: tuple[str, ...]) -> str:
    """The first line of what the compiler says of itself."""
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True)
    return (said.stdout or said.stderr).split("\n")[0]


def cache_folder() -> Path:
    """Where compiled kernels are kept: EMBAG_CACHE, else this user's folder for caches."""
    if os.environ.get("EMBAG_CACHE"):
        return Path(os.environ["EMBAG_CACHE"])
    home = Path.home()
    places = {
        "win32": Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")),
        "darwin": home / "Library" / "Caches",
    }
    place = places.get(sys.platform, Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache"))
    folder = place / "embag_edu" / "cuda_on_cpu"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:  # no home, or one that cannot be written
        return Path(tempfile.gettempdir()) / "embag_edu_cuda_on_cpu"


def check_options(options: Sequence[str]) -> list[str]:
    """The options that mean something here; ValueError for one that is not known."""
    kept, known = [], tuple(options)
    for option in known:
        if option.startswith(PASSED):
            kept.append(option)
        elif not option.startswith(IGNORED):
            raise ValueError(
                f"options: {option!r} is not known here; -D, -U and -I are passed on, "
                "-std and NVRTC's options for tuning are taken and change nothing on a CPU"
            )
    return kept


@dataclass(frozen=True)
class Job:
    """One source to compile: all that its library depends on."""

    code: str
    expressions: tuple[str, ...]
    options: tuple[str, ...]
    checked: bool
    compiler: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        """Those of the scheduler and of the kernel alike."""
        return [*COMMON, *(CHECKED if self.checked else FAST)]

    def command(self, *words: str | Path) -> list[str]:
        """The compiler with these words behind it."""
        return [*self.compiler, *map(str, words)]

    def key(self, *more: object) -> str:
        """A name for what is made of this job (or only of `more`), this compiler and our files."""
        made_from = more or (self.code, self.expressions, self.options)
        text = repr((made_from, self.flags, self.compiler, version(self.compiler)))
        return hashlib.sha256(text.encode() + _own_files()).hexdigest()[:24]


def build(
    code: str, expressions: Sequence[str], options: Sequence[str] = (), checked: bool = True
) -> Path:
    """The library of these kernels, from the cache or made now.

    expressions: kernel names and template instances; kernel number k is exported as launch_k.
    Raises CompileError in the lines of `code`, CompilerMissing, NotModeled, ValueError.
    """
    refuse(code, options)
    kept = tuple(check_options(options))
    job = Job(code, tuple(expressions), kept, checked, tuple(find_compiler()))
    return cached(job.key(), lambda folder: _make(folder, job)) / f"kernel{SUFFIX}"


def variable_memory(library: ctypes.CDLL, number: int) -> tuple[int, int, bool]:
    """Address and size of variable `number` of a loaded library, and whether it is const."""
    address, size = getattr(library, f"global_{number}"), getattr(library, f"global_size_{number}")
    address.restype, size.restype = ctypes.c_void_p, ctypes.c_ulonglong
    return address(), size(), bool(getattr(library, f"global_fixed_{number}")())


@functools.cache
def _own_files() -> bytes:
    files = sorted([*NATIVE.glob("*.h"), *NATIVE.glob("*.cpp"), *NATIVE.glob("include/**/*.*h")])
    return b"".join(
        f.read_bytes()
        for f in [
            *files,
            Path(__file__),
            HERE / "tokens.py",
            HERE / "source.py",
            HERE / "rewrite.py",
        ]
    )


# ---- the cache ----


def cached(key: str, make: Callable[[Path], object]) -> Path:
    """The folder `key` of the cache. `make` fills it where it is missing or damaged."""
    entry = cache_folder() / key
    if not _whole(entry):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix="new-") as folder:
            made = Path(folder) / "entry"
            made.mkdir()
            make(made)
            (made / "digest").write_text(_digest(made))
            _put(made, entry)
    return entry


def _digest(entry: Path) -> str:
    """Of the names and bytes of an entry's files."""
    files = sorted(file for file in entry.iterdir() if file.name != "digest")
    digests = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _whole(entry: Path) -> bool:
    try:
        return (entry / "digest").read_text() == _digest(entry)
    except (OSError, ValueError):
        return False


def _put(made: Path, entry: Path) -> None:
    """Rename into place. Where another process was faster, its entry is as good as ours."""
    for _ in range(3):
        try:
            os.rename(made, entry)
            return
        except OSError:
            if _whole(entry):
                return
            shutil.rmtree(entry, ignore_errors=True)  # half-written or damaged
    raise OSError(f"the cache entry {entry} cannot be replaced; remove it by hand")


# ---- compiling ----


def _make(folder: Path, job: Job) -> Path:
    variables = source.global_variables(job.code, job.options)
    ends = [f"CUDA_ON_CPU_KERNEL({i}, {name})" for i, name in enumerate(job.expressions)]
    ends += [f"CUDA_ON_CPU_GLOBAL({i}, {v.name})" for i, v in enumerate(variables)]
    head = [f'#include "{(NATIVE / "cuda_on_cpu.h").as_posix()}"']
    # A kernel may be called as a function of the C library is: `index`, `div`, `gamma`.
    extern_c = [k.name for k in source.kernels(job.code, job.options).values() if k.extern_c]
    head += [f"#define {name} cuda_kernel_{name}" for name in extern_c] + ['#include "kernel.cu"']
    rewritten = rewrite(job.code, job.options)
    (folder / "kernel.cu").write_text(rewritten, encoding="utf-8")
    (folder / "kernel.cpp").write_text("\n".join([*head, *ends, ""]), encoding="utf-8")
    with ThreadPoolExecutor(2) as both:  # the runtime and the kernel at the same time
        runtime = both.submit(_runtime, job)
        kernel = both.submit(_compile, folder, job)
        objects = [kernel.result(), *runtime.result()]
    return _link(folder, objects, job)


def _compile(folder: Path, job: Job) -> Path:
    words = [*job.flags, *job.options, "-I", str(NATIVE / "include"), str(folder / "kernel.cpp")]
    made = folder / "kernel.o"
    if not job.checked:
        _run(job.command(*words, "-c", "-o", made), job.code)
        return made
    own = ONLY_GCC if is_gcc(job.compiler) else ONLY_CLANG
    command = job.command(*words, *WATCHED, *own, "-S", "-o", folder / "kernel.s")
    try:
        _run(command, job.code)
    except CompileError:
        if own is ONLY_GCC or "CUDA_ON_CPU_WHOLE" not in (folder / "kernel.cu").read_text():
            raise
        _run([*command, "-DCUDA_ON_CPU_IN_PARTS"], job.code)
    # latin-1: clang writes bytes of debug information that are no UTF-8, and they must stay.
    assembly = (folder / "kernel.s").read_text(encoding="latin-1")
    labeled = folder / "labeled.s"
    labeled.write_text("\n".join(_labeled(assembly)) + "\n", encoding="latin-1")
    _run(job.command("-c", labeled, "-o", made), job.code)
    return made


def _labeled(assembly: str) -> Iterator[str]:
    """A label behind every call of the runtime, and a table of labels and source lines.

    The compiler says in .loc which file and line an instruction comes from. Inside a piece of our
    own header (the copy of a float4) the last line of the kernel counts. It says line 0 where it
    knows none: then the last line is the best guess, and stands in the table as a negative number.
    """
    local, under = ("L", "_") if sys.platform == "darwin" else (".L", "")
    ours: set[str] = set()
    table: list[int] = []
    line, known = 0, False
    for text in assembly.split("\n"):
        text = _LIBRARY_CALL.sub(r"\1__tsan_\2", text)
        yield text
        words = text.split()
        if not words:
            continue
        if words[0] == ".file" and len(words) > 2 and words[-1].strip('"').endswith("kernel.cu"):
            ours.add(words[1])
        elif words[0] == ".cfi_startproc":
            line = 0
        elif words[0] == ".loc" and words[1] in ours:
            line, known = int(words[2]) or line, words[2] != "0"
        elif words[0] in ("call", "callq", "bl") and _CALLED.search(words[1]):
            yield f"{local}coc{len(table)}:"
            table.append(line if known else -line)
    names = f"{under}cuda_on_cpu_labels", f"{under}cuda_on_cpu_n_labels"
    yield f"\t.data\n\t.globl {names[0]}, {names[1]}\n\t.p2align 3\n{names[0]}:"
    yield from (f"\t.quad {local}coc{i}, {line}" for i, line in enumerate(table))
    yield f"\t.quad 0, 0\n{names[1]}:\n\t.quad {len(table)}"


# A compiler makes calls of these from loops and copies of structs: they are watched as well.
_LIBRARY_CALL = re.compile(r"^(\s*(?:callq?|bl)\s+_?)(memcpy|memmove|memset)\b")
_CALLED = re.compile(r"__tsan_|__sanitizer_cov|11cuda_on_cpu")


def _runtime(job: Job) -> list[Path]:
    """The scheduler, and for checked mode the recorder: compiled once, whatever the kernel."""
    files = ["scheduler.cpp", "recorder.cpp"] if job.checked else ["scheduler.cpp"]
    flags = ["-O2" if flag == "-O1" else flag for flag in job.flags]
    entry = cache_folder() / f"runtime-{job.key('runtime')}"
    wanted = [entry / f"{Path(file).stem}.o" for file in files]
    if not all(w.exists() for w in wanted):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix="new-") as folder:
            for file, w in zip(files, wanted, strict=True):
                _run(job.command(*flags, "-c", NATIVE / file, "-o", Path(folder) / w.name), "")
            entry.mkdir(exist_ok=True)
            for w in wanted:
                os.replace(Path(folder) / w.name, w)
    return wanted


def _link(folder: Path, objects: list[Path], job: Job) -> Path:
    library = folder / f"kernel{SUFFIX}"
    command = job.command("-shared", *objects, "-o", library)
    if "ziglang" in job.compiler:  # with the C++ library zig would first compile it: over a minute
        command = [*job.compiler[:-1], "cc", "-nostdlib", *command[len(job.compiler) :]]
    _run(command, "")
    for file in folder.iterdir():
        if file != library:
            file.unlink()
    return library


def _run(command: list[str], code: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise CompileError(_errors(done.stderr), done.stderr, code)


def _errors(log: str) -> list[tuple[int, int, str]]:
    """(line, column, text) of each error; one in a macro of ours stands where the macro is used."""
    errors, in_macro = [], ""
    place = r"(\S+):(\d+):(\d+): (?:fatal )?(error|note): (.*)"
    for file, line, column, kind, text in re.findall(place, log):
        theirs = file.endswith("kernel.cu")
        if theirs and (kind == "error" or in_macro):
            errors.append((int(line), int(column), text if kind == "error" else in_macro))
        in_macro = "" if theirs else text if kind == "error" else in_macro
    return errors
