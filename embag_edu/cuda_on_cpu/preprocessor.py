"""Which lines of a source an #if shuts out, as far as it can be told without a compiler.

A question (`#if __CUDA_ARCH__ >= 800 && defined(FAST)`) is answered where all that it names is
known: what the compiler's options define, what NVIDIA's compiler defines by itself (`predefined`),
and what the source has defined so far. Of all other questions, both sides are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MACRO = "CUDA_ON_CPU"  # defined while a source is compiled for the CPU, and never on a GPU
_MORE = "..."  # beside the macros that are known: there may be others


# What the host's compiler defines and NVRTC does not: forgotten before the source is read.
HOST = (
    "__GNUC__ __GNUC_MINOR__ __clang__ __llvm__ __linux__ __linux linux __unix__ __unix unix "
    "__APPLE__ __MACH__ _WIN32 _WIN64 _MSC_VER __MINGW32__ __x86_64__ __x86_64 __amd64__ __amd64 "
    "__aarch64__ __ELF__ _GNU_SOURCE __GLIBC__ __OPTIMIZE__ NDEBUG"
).split()


def predefined(arch: str, standard: str = "c++17") -> dict[str, str]:
    """What NVRTC defines by itself for an architecture such as "sm_80"."""
    number = re.sub(r"\D", "", arch) + "0"
    once = "__CUDACC__ __CUDACC_RTC__ __CUDA_PREC_DIV __CUDA_PREC_SQRT __NVCC_DIAG_PRAGMA_SUPPORT__"
    return {
        **dict.fromkeys((*once.split(), "__CUDACC_DEVICE_ATOMIC_BUILTINS__"), "1"),
        "__CUDA_ARCH__": number,
        "__CUDA_ARCH_LIST__": number,
        "__CUDA_FTZ": "0",
        "__CUDACC_VER_MAJOR__": "13",
        "__CUDACC_VER_MINOR__": "0",
        "__CUDACC_VER_BUILD__": "0",
        "CUDART_VERSION": "13000",
        "__cplusplus": "202002L" if standard == "c++20" else "201703L",
        "__LP64__": "1",
    }


def macros(options: Sequence[str]) -> dict[str, str]:
    """{"N": "4", "FAST": "1"} of ("-DN=4", "-DFAST"), or of ("-D", "N=4", "-D", "FAST")."""
    joined = "\0".join(options).replace("-D\0", "-D").split("\0")
    pairs = (option[2:].strip().partition("=") for option in joined if option.startswith("-D"))
    return {name: value if sign else "1" for name, sign, value in pairs}


class Branches:
    """The #ifs that are open at a place of a source, and the macros that are defined there.

    options: the compiler's; None where they are not known.
    """

    def __init__(self, options: Sequence[str] | None):
        self.macros = {MACRO: "1", **({_MORE: ""} if options is None else macros(options))}
        # Of every open #if: whether this branch is taken, and whether one up to it was; None where
        # it is not known.
        self.open: list[tuple[bool | None, bool | None]] = []

    @property
    def shut(self) -> bool:
        """Whether this place is surely left out."""
        return any(taken is False for taken, _ in self.open)

    def read(self, words: Sequence[str]) -> bool:
        """Read a directive, as the words behind its `#`; whether it is an #if, #else or #endif."""
        kind = words[0] if words else ""
        if kind in ("if", "ifdef", "ifndef"):
            answer = self._answer(words)
            self.open.append((answer, answer))
        elif kind == "endif" and self.open:
            self.open.pop()
        elif kind.startswith("el") and self.open:
            before = self.open.pop()[1]
            answer = True if kind == "else" else self._answer([kind[2:], *words[1:]])
            taken = False if before or answer is False else (None if before is None else answer)
            self.open.append(
                (taken, before or answer or (None if None in (before, answer) else False))
            )
        else:
            if not self.shut:
                self._define(words)
            return False
        return True

    def _define(self, words: Sequence[str]) -> None:
        if words[:1] == ["define"] and len(words) > 1:
            self.macros[words[1]] = " ".join(words[2:])
        elif words[:1] == ["undef"]:
            self.macros.pop("".join(words[1:2]), None)
        elif words == ["include"]:  # "a file of the reader's" may define more
            self.macros[_MORE] = ""

    def _answer(self, words: Sequence[str]) -> bool | None:
        if words[0] in ("ifdef", "ifndef"):
            there = self._defined("".join(words[1:2]))
            return there if there is None else there == (words[0] == "ifdef")
        text = re.sub(r"([&|=!<>]) (?=[&|=])", r"\1", " ".join(words[1:]))
        text = re.sub(r"defined (?:\( (\w+) \)|(\w+))", lambda m: f"defined({m[1] or m[2]})", text)
        try:
            return bool(self._value(text, 8))
        except (_Unknown, SyntaxError, ArithmeticError, TypeError):
            return None

    def _defined(self, name: str) -> bool | None:
        if name in self.macros:
            return True
        hidden = name.startswith("_") and "__CUDA_ARCH__" not in self.macros
        return None if _MORE in self.macros or hidden else False

    def _value(self, text: str, depth: int) -> int:
        """The value of a question: names replaced by what they stand for, then Python's signs."""

        def stands_for(match: re.Match) -> str:
            name = match["asked"] or match["name"]
            there = self._defined(name)
            if name in ("true", "false"):
                return str(int(name == "true"))
            if there is None or not depth:
                raise _Unknown
            if match["asked"]:
                return str(int(there))
            return str(self._value(self.macros[name], depth - 1)) if there else "0"

        text = re.sub(r"\b(0[xX][\da-fA-F]+|\d+)[uUlL]*\b", r"\1", text)
        text = re.sub(r"defined\((?P<asked>\w+)\)|\b(?P<name>[A-Za-z_]\w*)", stands_for, text)
        if not re.fullmatch(r"[\s\dxXa-fA-F()<>=!+*/%&|-]+", text) or re.search(r"\w\s*\(", text):
            raise _Unknown
        text = re.sub(r"!(?!=)", " not ", text.replace("&&", " and ").replace("||", " or "))
        return int(eval(text.replace("/", "//").strip(), {"__builtins__": {}}))


class _Unknown(Exception):
    """A question that names what is not known."""
