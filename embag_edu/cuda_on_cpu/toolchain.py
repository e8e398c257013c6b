"""From CUDA source to a library that runs here: compilers, flags, compile errors.

A compiled kernel lies in the cache under a name made of everything that it was made from: source,
included files, options, flags, compiler, and this package's own C++ files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from embag_edu.cuda_on_cpu import cache, host, nvrtc, preprocessor, source
from embag_edu.cuda_on_cpu.compilers import environment, find_compiler, is_gcc, version
from embag_edu.cuda_on_cpu.included import INCLUDE, placed, readable, shown
from embag_edu.cuda_on_cpu.options import ARCH, check_options, folders, seen, standard
from embag_edu.cuda_on_cpu.refuse import refuse
from embag_edu.cuda_on_cpu.rewrite import rewrite
from embag_edu.cuda_on_cpu.tokens import tokens

HERE = Path(__file__).parent
NATIVE = HERE / "native"
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
COMMON = (
    "-fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -fvisibility=hidden "
    # A GPU does not fuse across statements here, takes wrapped integers and looks at one memory
    # through any type; -fno-math-errno lets sqrtf be one instruction.
    "-ffp-contract=off -fwrapv -fno-strict-aliasing -fno-math-errno "
    "-fno-delete-null-pointer-checks -UNDEBUG"
).split()
# Of the warnings those that tell of a wrong result, and of what is no CUDA.
WARNINGS = "-Wvla -Wunused-value -Wunused-variable -Wuninitialized -Wno-narrowing".split()
FAST = ["-O2", "-funroll-loops"]  # unrolled, the first kernel of the book takes 0.86 of the time
# -O1 without what would merge, split or move the reader's accesses: counts stand for lines.
CHECKED = (
    "-DCUDA_ON_CPU_CHECKED -O1 -gdwarf-4 -fno-omit-frame-pointer -fno-unroll-loops "
    "-fno-optimize-sibling-calls"
).split()
WATCHED = "-fsanitize=thread -fsanitize=bounds -fsanitize=integer-divide-by-zero".split()
ONLY_GCC = (
    "-fsanitize-coverage=trace-pc -fno-tree-vectorize -fno-tree-slp-vectorize "
    "-fno-reorder-blocks -gno-variable-location-views --param=tsan-distinguish-volatile=1 "
    "-fno-tree-sra -fno-ipa-sra"
).split()
ONLY_CLANG = (
    "-fsanitize-coverage=bb,trace-pc,no-prune -fno-vectorize -fno-slp-vectorize -fno-finite-loops "
    "-mllvm -tsan-instrument-read-before-write=1 -mllvm -disable-loop-idiom-all "
    "-mllvm -disable-vector-combine -mllvm -unroll-threshold=0 -mllvm -unroll-runtime=false "
    "-mllvm -hoist-common-insts=false -mllvm -sink-common-insts=false "
    "-mllvm -tsan-distinguish-volatile=1"
).split()


class CompileError(RuntimeError):
    """The source is not valid. errors: (line, column, text); log: the compiler's own words."""

    def __init__(self, errors: list[tuple[int, int, str]], log: str, code: str):
        self.errors, self.log = errors, log
        lines = code.split("\n")
        told = []
        for line, column, text in errors[:3]:
            shown = lines[line - 1] if 0 < line <= len(lines) else ""
            place = source.place_of(code, line)
            told.append(f"{place}: {text}\n  {line:4} | {shown}" if line else text)
            if line and column <= len(shown) + 1:  # else the place is one in the translated line
                told[-1] += f"\n       | {' ' * (column - 1)}^"
        super().__init__("the kernel source does not compile\n" + ("\n".join(told) or log))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the text, without the way through the package's own code."""
        return f"CompileError: {self}".splitlines()


@dataclass(frozen=True)
class Job:
    """One source to compile: all that its library depends on."""

    code: str  # as `readable` gives it
    expressions: tuple[str, ...]
    options: tuple[str, ...]
    checked: bool
    compiler: tuple[str, ...]
    arch: str = ARCH
    given: tuple[str, ...] = ()  # the options as they were given
    nvrtc: str = ""  # NVIDIA's compiler, where it is installed: it is asked in checked mode
    alone: str = ""  # the source as it was given
    shown: str = ""  # for messages: see `shown`

    @property
    def seen(self) -> tuple[str, ...]:
        """The options for what reads the source."""
        return seen(self.options, self.arch)

    @property
    def kernels(self) -> Mapping[str, source.Kernel]:
        """All kernels of the source, by name."""
        return source.kernels(self.code, self.seen)

    @property
    def flags(self) -> list[str]:
        """Those of the scheduler and of the kernel alike."""
        return [*COMMON, *(CHECKED if self.checked else FAST)]

    @property
    def flags_of_kernel(self) -> list[str]:
        """Those of the kernel alone. -D and -U come behind our own headers: see `_macros`."""
        early = ("-I", "-DCUDA_ON_CPU", "-DNDEBUG")  # what our headers ask for
        given = [option for option in self.options if option.startswith(early)]
        return [f"-std={standard(self.given)}", *WARNINGS, "-I", str(INCLUDE), *given]

    def command(self, *words: str | Path) -> list[str]:
        """The compiler with these words behind it."""
        return [*self.compiler, *map(str, words)]

    def key(self, *more: object) -> str:
        """A name for what is made of this job (or only of `more`), this compiler and our files."""
        made_from = more or (
            self.code,
            self.expressions,
            self.seen,
            standard(self.given),
            self.nvrtc,
        )
        text = repr((made_from, self.flags, self.compiler, version(self.compiler)))
        return hashlib.sha256(text.encode() + _own_files()).hexdigest()[:24]


def build(
    code: str,
    expressions: Sequence[str],
    options: Sequence[str] = (),
    checked: bool = True,
    arch: str = ARCH,
) -> Path:
    """The library of these kernels, from the cache or made now.

    expressions: kernel names and template instances; kernel number k is exported as launch_k.
    arch:        of the GPU that __CUDA_ARCH__ speaks of: "sm_90".
    Raises CompileError in the lines of `code`, CompilerMissing, NotModeled, ValueError.
    """
    text, whole = readable(code, options, arch), shown(code, options)
    kept = tuple(check_options(options))
    theirs = "" if not checked or nvrtc.available() else nvrtc.version()
    compiler = tuple(find_compiler())
    names, given = tuple(expressions), tuple(options)
    job = Job(text, names, kept, checked, compiler, arch, given, theirs, code, whole)
    return cache.cached(job.key(), lambda folder: _make(folder, job)) / f"kernel{SUFFIX}"


def _files_of(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


@functools.cache
def _own_files() -> bytes:
    files = sorted([*NATIVE.glob("*.h"), *NATIVE.glob("*.cpp"), *_files_of(INCLUDE)])
    return b"".join(
        f.read_bytes()
        for f in [
            *files,
            Path(__file__),
            HERE / "tokens.py",
            HERE / "source.py",
            HERE / "rewrite.py",
            HERE / "refuse.py",
            HERE / "host.py",
        ]
    )


# ---- compiling ----


@functools.lru_cache(maxsize=16)  # one source is compiled for many instances
def _check(job: Job) -> None:
    """Raise NotModeled or CompileError for what a GPU's compiler would not take."""
    read_with = seen(job.given, job.arch)
    with placed(job.shown):
        refuse(job.code, read_with)
    errors = host.refused(job.alone, read_with, folders(job.options))
    if errors:
        raise CompileError(errors, "", job.alone)


def _make(folder: Path, job: Job) -> Path:
    _check(replace(job, expressions=(), checked=True))
    variables = source.global_variables(job.code, job.seen)
    # A GPU finds it by its name.
    inside = {name: k.space for name, k in job.kernels.items() if k.extern_c}
    full = [inside.get(name, "") + name for name in job.expressions]
    ends = [f"CUDA_ON_CPU_KERNEL({i}, {name})" for i, name in enumerate(full)]
    ends += [f"CUDA_ON_CPU_GLOBAL({i}, {v.name})" for i, v in enumerate(variables)]
    constants = ["cuda_on_cpu_p", *(v.name for v in variables if v.constant)]
    ends.append(f"CUDA_ON_CPU_CONSTANT({', '.join(constants)})")
    head = [f'#include "{(NATIVE / "cuda_on_cpu.h").as_posix()}"']
    # Our own std is not the source's, and the host's macros are not either.
    head += ["#undef std", "#define std cuda_on_cpu_own_std"]
    ends = ["#undef std", "#define std cuda_on_cpu_std", *ends]
    head += [f"#undef {name}" for name in preprocessor.HOST]
    for name, value in preprocessor.predefined(job.arch, standard(job.given)).items():
        head += [f"#undef {name}", f"#define {name} {value}"]
    ends += _bounds(job)
    head += _macros(job)
    if re.search(r"\bwarpSize\s*=[^=]|\b(int|unsigned|auto|size_t)\s+warpSize\b", job.code):
        head.append("#undef warpSize")  # the source has one of its own
    # A kernel may be called as a function of the C library is, which the linker would mix up:
    # `index`, `exp`. (No such function is called as a member of a struct: `x`, `z`.)
    extern_c = [n for n in inside if not re.search(rf"(\.|->)\s*{n}\b", job.code)]
    head += [f"#define {name} cuda_kernel_{name}" for name in extern_c] + ['#include "kernel.cu"']
    with placed(job.shown):
        rewritten = rewrite(job.code, job.seen)
    (folder / "kernel.cu").write_text(rewritten, encoding="utf-8")
    (folder / "kernel.cpp").write_text("\n".join([*head, *ends, ""]), encoding="utf-8")
    with ThreadPoolExecutor(3) as pool:  # the runtime, the kernel and NVRTC at the same time
        runtime = pool.submit(_runtime, job)
        kernel = pool.submit(_compile, folder, job)
        refusals = pool.submit(_refusals, job)
        objects = [folder / "kernel.o", *runtime.result()]
        said = {"warnings": _warnings(kernel.result()), "refusals": refusals.result()}
    library = _link(folder, objects, job)
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")
    return library


def _macros(job: Job) -> list[str]:
    """What -D and -U say, behind our own headers, which may use any of those names."""
    found = tokens(job.code, job.seen)
    named = [host.included_name(job.code, token) for token in found]
    own = dict.fromkeys(name for name in named if name in host.HEADERS)
    theirs = folders(job.options)
    lines = [f"#include <{n}>" for n in own if not any((f / n).is_file() for f in theirs)]
    for option in job.options:
        name, _, value = option[2:].partition("=")
        if option.startswith(("-D", "-U")) and not name.startswith("CUDA_ON_CPU"):
            lines.append(f"#undef {name.partition('(')[0]}")
        if option.startswith("-D") and not name.startswith("CUDA_ON_CPU"):
            lines.append(f"#define {name} {value if '=' in option else 1}")
    return lines


def _refusals(job: Job) -> list[str]:
    """What a GPU's compiler says against the source, where NVRTC is installed: words, no more."""
    # Headers that come with CuPy, or need some that do: NVRTC's own wheel lacks them.
    brought = r'#\s*include\s*[<"](cupy/|thrust/|cub/|cuda/|cooperative_groups|cuda\.h|cuda_pip)'
    translated = "-DCUDA_ON_CPU_TRANSLATE_CUCOMPLEX" in job.options  # by CuPy, before NVRTC
    theirs = translated or re.search(brought, job.code)
    if not job.checked or not job.nvrtc or theirs:
        return []
    own = [f"-std={standard(job.given)}", *(o for o in job.given if o in host.AS_DEVICE)]
    options = [*job.options, *own]
    known = job.kernels
    named = [e for e in job.expressions if not (e in known and known[e].extern_c)]
    return nvrtc.compile_check(job.alone, named, f"compute_{job.arch[3:]}", options).errors


def _warnings(said: str) -> list[str]:
    """The compiler's warnings that tell of a likely mistake: "line 3: ..."."""
    found = re.findall(
        r"kernel\.cu:(\d+):\d+: warning: (.*) \[-W(?:unused|(?:maybe-)?uninit|sometimes).*\]", said
    )
    return list(dict.fromkeys(f"line {line}: {text}" for line, text in found))


@functools.cache  # each checked launch asks
def said(library: Path) -> dict[str, list[str]]:
    """What was said when a library was made: "warnings" of its compiler, "refusals" of a GPU's."""
    return json.loads(library.with_name("said.json").read_text(encoding="utf-8"))


def _bounds(job: Job) -> list[str]:
    """A function bounds_k for kernel k, that tells what its __launch_bounds__ comes to.

    Not where there is a namespace: what stands in the brackets may mean another thing outside.
    """
    made = []
    if re.search(r"\bnamespace\s+\w+\s*{", job.code):
        return []
    for i, expression in enumerate(job.expressions):
        kernel = job.kernels.get(source.kernel_name(expression))
        if kernel and kernel.max_threads:
            name, arguments = f"cuda_on_cpu_bounds_{i}", expression.partition("<")[1:]
            listed = (
                f"{p.kind} {p.name} = {p.default}".rstrip(" =") for p in kernel.template_parameters
            )
            value = f"{{ static constexpr int value = {kernel.max_threads}; }};"
            head = f"template <{', '.join(listed)}> " if kernel.template_parameters else ""
            full = name + ("".join(arguments) or "<>" if head else "")
            made.append(f"{head}struct {name} {value}")
            made.append(f"CUDA_ON_CPU_EXPORT int bounds_{i}() {{ return {full}::value; }}")
    return made


def _compile(folder: Path, job: Job) -> str:
    """Make kernel.o; what the compiler says."""
    words = [*job.flags, *job.flags_of_kernel, str(folder / "kernel.cpp")]
    made = folder / "kernel.o"
    if not job.checked:
        return _run(job.command(*words, "-c", "-o", made), job.shown)
    own = ONLY_GCC if is_gcc(job.compiler) else ONLY_CLANG
    # clang's driver has no such sanitizer for Windows, its compiler has: we bring the runtime, so
    # the linker need not look for clang's, which zig does not have.
    windows = sys.platform == "win32" and own is ONLY_CLANG
    past = ["-fno-rtlib-defaultlib", "-Xclang"] if windows else []
    command = job.command(*words, *past, *WATCHED, *own, "-S", "-o", folder / "kernel.s")
    try:
        words_of_compiler = _run(command, job.shown)
    except CompileError:
        code = (folder / "kernel.cu").read_text("utf-8")  # a union copies no member by its function
        if own is ONLY_GCC or not ("CUDA_ON_CPU_WHOLE" in code or "union" in code):
            raise
        words_of_compiler = _run([*command, "-DCUDA_ON_CPU_IN_PARTS"], job.shown)
    # latin-1: clang writes bytes of debug information that are no UTF-8, and they must stay.
    assembly = (folder / "kernel.s").read_text(encoding="latin-1")
    labeled = folder / "labeled.s"
    labeled.write_text("\n".join(_labeled(assembly)) + "\n", encoding="latin-1")
    _run(job.command("-c", labeled, "-o", made), job.shown)
    return words_of_compiler


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
_OURS = re.compile(r"\bcuda_(kernel|shared)_")  # names in the translated source


def _runtime(job: Job) -> list[Path]:
    """The scheduler, and for checked mode the recorder: compiled once, whatever the kernel."""
    files = ["scheduler.cpp", "recorder.cpp"] if job.checked else ["scheduler.cpp"]
    flags = ["-w", "-std=c++17", *("-O2" if flag == "-O1" else flag for flag in job.flags)]

    def make(folder: Path) -> None:
        for file in files:
            made = folder / f"{Path(file).stem}.o"
            _run(job.command(*flags, "-c", NATIVE / file, "-o", made), "")

    entry = cache.cached(f"runtime-{job.key('runtime')}", make)
    return [entry / f"{Path(file).stem}.o" for file in files]


def _link(folder: Path, objects: list[Path], job: Job) -> Path:
    library = folder / f"kernel{SUFFIX}"
    command = job.command("-shared", *objects, "-o", library)
    if "ziglang" in job.compiler:  # with the C++ library zig would first compile it: over a minute
        # What is missing of C is found when the library is loaded, except on Windows.
        alone = [] if sys.platform == "win32" else ["-nostdlib"]
        command = [*job.compiler[:-1], "cc", *alone, *command[len(job.compiler) :]]
    if sys.platform == "linux" and "ziglang" not in job.compiler:
        command.append("-Wl,-z,defs")
    try:
        _run(command, job.shown)
    except CompileError as error:
        missing = re.search(r"undefined reference to `([^'`]+)'", error.log)
        if missing is None:
            raise
        name = re.split(r"[(<]", missing[1])[0].split(" ")[-1]
        at = re.search(rf"\b{re.escape(name)}\b", job.shown)
        line = job.shown.count("\n", 0, at.start()) + 1 if at else 0
        text = f"`{missing[1]}` is declared here and defined nowhere"
        raise CompileError([(line, 1, text)], error.log, job.shown) from None
    for file in folder.iterdir():
        if file != library:  # (and what was said of it, which is written behind)
            file.unlink()
    return library


def _run(command: list[str], code: str) -> str:
    """What the compiler says; CompileError where it finds errors, or what CUDA has as an error."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=environment(command)
    )
    errors = _told("(?:fatal )?error" if done.returncode else "warning", done.stderr, code)
    if done.returncode and not errors:
        errors = _told_of_ours(done.stderr, code)
    if not done.returncode:
        errors = [e for e in errors if host.REFUSES in e[2]]
    if done.returncode or errors:
        own = [e for e in errors if not _OURS.search(e[2])]  # ours follow from the reader's
        raise CompileError(own or errors, done.stderr, code)
    return done.stderr


def _told(kind: str, said: str, code: str) -> list[tuple[int, int, str]]:
    told = re.findall(rf"kernel\.cu:(\d+):(?:(\d+):)? {kind}: (.*)", said)
    return [
        (int(line), int(column or 1), host.explained(text, code)) for line, column, text in told
    ]


def _told_of_ours(said: str, code: str) -> list[tuple[int, int, str]]:
    """What a compiler finds in the lines behind the source, and the source is to blame for."""
    notes = [note for note in _told("note", said, code) if note[0] <= code.count("\n") + 1]
    opened = [note[:2] for note in notes if note[2].startswith("to match this")]
    first = re.search(r"error: (.*)", said)
    instance = re.search(r"error: (.*)\n.*CUDA_ON_CPU_KERNEL\(\d+, (.*)\)", said)
    if opened:
        return [(*place, "this bracket is never closed") for place in opened]
    if instance:
        what, expression = instance.groups()
        why = "it does not fit the template" if "no matching function" in what else what
        at = re.search(rf"\b{re.escape(source.kernel_name(expression))}\b", code)
        line = code.count("\n", 0, at.start()) + 1 if at else 0
        return [(line, 1, f"the instance `{expression}` of a kernel cannot be made: {why}")]
    return [(*notes[0][:2], first[1].replace("cuda_kernel_", ""))] if notes and first else []
