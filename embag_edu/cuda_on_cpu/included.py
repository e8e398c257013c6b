"""A source and the files that it includes by -I: as one text to read, and one to tell lines of."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embag_edu.cuda_on_cpu import preprocessor, source
from embag_edu.cuda_on_cpu.compilers import CompilerMissing, environment, find_compiler
from embag_edu.cuda_on_cpu.options import folders, in_one_word, standard
from embag_edu.cuda_on_cpu.tokens import SourceError

INCLUDE = Path(__file__).parent / "native" / "include"  # what we have of CUDA's own headers
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)', re.MULTILINE)


def included(code: str, options: Sequence[str]) -> dict[Path, bytes]:
    """The files that the source includes, and those that these include: where -I finds them.

    Whether an #if shuts an include out is not asked: more files than needed do no harm here.
    """
    last = folders(options)
    found: dict[Path, bytes] = {}
    texts: list[tuple[bytes, list[Path]]] = [(code.encode(), last)]
    while texts:
        text, searched = texts.pop()
        for name in map(os.fsdecode, _INCLUDE.findall(text)):
            for place in (Path(os.path.normpath(folder / name)) for folder in searched):
                if place.is_file() and place not in found and not (INCLUDE / name).is_file():
                    found[place] = place.read_bytes()
                    texts.append((found[place], [place.parent, *last]))
    return found


def shown(code: str, options: Sequence[str]) -> str:
    """The source, and behind it the files that it includes by -I, each under a line that says so.

    Lines of those files are told by their numbers here.
    """
    files = included(code, options).items()
    texts = (f"\n{source.FILE}{path}\n{text.decode(errors='replace')}" for path, text in files)
    return code + "".join(texts)


def readable(code: str, options: Sequence[str], arch: str) -> str:
    """The source for what reads it, with the files that it includes by -I in their places.

    Where there are any, or where a macro declares kernels, the compiler's preprocessor writes it;
    #line gives each line its number in `shown`. Of CUDA's own headers only the #include stays.
    """
    defined = re.findall(r"(?m)^[ \t]*#[ \t]*define\b(?:\\\n|.)*", code)
    macros = any("__global__" in text or "__launch_bounds__" in text for text in defined)
    if not (macros or included(code, options)):
        return code
    whole, text = shown(code, options), ""
    with contextlib.suppress(CompilerMissing):  # which is said when it is to compile
        text = _preprocessed(whole, code, tuple(options), arch, *find_compiler())
    return _in_places(text, whole) if text else code


@functools.lru_cache(maxsize=16)
def _preprocessed(key: str, code: str, options: tuple[str, ...], arch: str, *compiler: str) -> str:
    """What the preprocessor makes of the source; "" where it finds an error, as the compiler will.

    key: all that it depends on.
    """
    head = [f"#undef {name}" for name in preprocessor.HOST]
    for name, value in preprocessor.predefined(arch, standard(options)).items():
        head += [f"#undef {name}", f"#define {name} {value}"]
    given = [option for option in in_one_word(options) if option.startswith(("-D", "-U", "-I"))]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.cu").write_text(code, encoding="utf-8")
        (Path(folder) / "all.cpp").write_text("\n".join([*head, '#include "kernel.cu"', ""]))
        flags = ["-w", "-E", f"-std={standard(options)}", "-DCUDA_ON_CPU", f"-I{INCLUDE}", *given]
        command = [*compiler, *flags, str(Path(folder) / "all.cpp")]
        words: Any = {"encoding": "utf-8", "errors": "replace", "env": environment(command)}
        done = subprocess.run(command, capture_output=True, **words)
    return "" if done.returncode else done.stdout


@contextlib.contextmanager
def placed(whole: str) -> Iterator[None]:
    """A SourceError in a line of an included file names the file."""
    try:
        yield
    except SourceError as error:
        place = source.place_of(whole, error.line)
        error.args = (str(error).replace(f"line {error.line}", place, 1),)
        raise


def _in_places(preprocessed: str, whole: str) -> str:
    """The lines of the source and of its files, with #line; an #include for any other file."""
    first: dict[str, int] = {}  # before the first line of each file
    for i, text in enumerate(whole.split("\n")):
        if text.startswith(source.FILE):
            first.setdefault(text.removeprefix(source.FILE), i + 1)
    made, inside = [], False
    for text in preprocessed.split("\n"):
        marker = re.match(r'# (\d+) "(.*)"(?: (1))?', text)
        if marker is None:
            made += [text] * inside
            continue
        path = Path(os.path.normpath(marker[2]))
        entered, own = inside and marker[3], path.name == "kernel.cu" and str(path) not in first
        inside = own or str(path) in first
        if inside:
            made.append(f"#line {int(marker[1]) + first.get(str(path), 0)}")
        elif entered:
            ours = INCLUDE in path.parents
            made.append(f'#include "{(path.relative_to(INCLUDE) if ours else path).as_posix()}"')
    return "\n".join(made)
