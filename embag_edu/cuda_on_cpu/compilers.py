"""The C++ compilers of this machine."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from embag_edu.cuda_on_cpu import cache


class CompilerMissing(RuntimeError):
    """No C++ compiler was found on this machine."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the text, without the way through the package's own code."""
        return f"CompilerMissing: {self}".splitlines()


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
        one_path = [wanted] if shutil.which(wanted) else None  # with a space in it, perhaps
        return found.get(wanted) or one_path or wanted.split()
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
    return "clang" not in _said(compiler).stdout and "zig" not in " ".join(compiler)


@functools.cache
def version(compiler: tuple[str, ...]) -> str:
    """The first line of what the compiler says of itself."""
    said = _said(compiler)
    return (said.stdout or said.stderr).split("\n")[0]


def _said(compiler: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [*compiler, "--version"]
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")


def environment(command: Sequence[str]) -> dict[str, str]:
    """zig keeps files in the user's home, or fails: where none can be written, they go to ours."""
    if "ziglang" not in command or cache.of_this_user():
        return dict(os.environ)
    return {"ZIG_GLOBAL_CACHE_DIR": str(cache.folder() / "zig"), **os.environ}
