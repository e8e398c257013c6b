"""Reads CUDA C++ source without a compiler: its kernels, their parameters, its variables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from embag_edu.cuda_on_cpu.tokens import (
    ATTRIBUTES,
    EMPTY,
    WORD,
    Token,
    bare,
    before,
    begin_of,
    close,
    cut,
    end_of,
    read_once,
    split,
    visible,
    written,
)

_BASIC = {"int", "unsigned", "signed", "char", "short", "long", "float", "double", "bool", "void"}
_QUALIFIERS = EMPTY | {"const", "volatile"}
_NO_NAMES = _BASIC | _QUALIFIERS


class TemplateParameter(NamedTuple):
    """`typename T = float` is ("T", "typename", "float"); `int N` is ("N", "int", "")."""

    name: str
    kind: str
    default: str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    type:    text, such as "const float* __restrict__". Arrays are written as pointers.
    pointer: whether it is a pointer; const: whether what it points to is const.
    dtype:   NumPy's name of the value or of what is pointed to ("float32", "bfloat16", "void");
             None when unknown. lanes: 4 for float4 (whose dtype is "float32"), else 1.
    size:    its bytes, where the compiler has told them; else 0.
    struct:  NumPy's dtype of a struct, or of what is pointed to, where its members can be read.
    """

    name: str
    type: str
    pointer: bool = False
    const: bool = False
    dtype: str | None = None
    lanes: int = 1
    size: int = 0
    struct: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Kernel:
    """One `__global__` function.

    max_threads: what __launch_bounds__ says, as text; "" without. space: its namespaces, "mine::".
    """

    name: str
    template_parameters: tuple[TemplateParameter, ...]
    parameters: tuple[Parameter, ...]
    line: int
    extern_c: bool
    max_threads: str
    space: str = ""


class GlobalVariable(NamedTuple):
    """A `__constant__` or `__device__` variable of the file: "scale", "mine::scale"."""

    name: str
    constant: bool
    line: int


# ---- Kernels ----


@read_once
def kernels(code: str, options: Sequence[str] | None = None) -> Mapping[str, Kernel]:
    """All `__global__` functions of the source, by name.

    Of several with one name, the last counts. Explicit instantiations and specializations are
    passed over: they have the parameters of their template.
    """
    found = visible(code, options)
    heads = [i for i, t in enumerate(found) if t.text == "__global__" and t.depth == 0]
    spaces = namespaces(found)
    read = ((_kernel(found, i), spaces[i]) for i in heads)
    return {
        kernel.name: replace(kernel, space=space) for kernel, space in read if kernel is not None
    }


def _kernel(found: list[Token], i: int) -> Kernel | None:
    first = begin_of(found, i)
    template: list[Token] = []
    if found[first].text == "template":
        if found[first + 1].text != "<":
            return None  # an explicit instantiation
        last = close(found, first + 1)
        template, first = found[first + 2 : last], last + 1
    at = _parenthesis(found, max(first, i))
    name = found[at - 1]
    if found[at].text != "(" or not WORD.fullmatch(name.text):
        return None  # an explicit specialization, name<float>(...), or half a declaration
    head = found[first:at]
    listed = split(found[at + 1 : close(found, at)])
    return Kernel(
        name.text,
        tuple(_template_parameter(part) for part in split(template)),
        tuple(_parameter(part) for part in listed if written(part) != "void"),
        name.line,
        name.extern_c or '"C"' in [t.text for t in head],
        _launch_bounds(head),
    )


def _parenthesis(found: Sequence[Token], i: int) -> int:
    """The index of the next round bracket that is not an attribute's."""
    while i < len(found) - 1 and found[i].text != "(":
        attribute = found[i].text in ATTRIBUTES and found[i + 1].text == "("
        i = close(found, i + 1) + 1 if attribute else i + 1
    return min(i, len(found) - 1)


def _launch_bounds(head: Sequence[Token]) -> str:
    """The first argument of __launch_bounds__: "256", "16 * 16", "BLOCK"."""
    at = next((i for i, token in enumerate(head) if token.text == "__launch_bounds__"), None)
    if at is None or at + 1 == len(head):
        return ""
    parts = split(head[at + 2 : close(head, at + 1)])
    return " ".join(token.text for token in parts[0]) if parts else ""


def _parameter(part: list[Token]) -> Parameter:
    part = bare(before(part, "="))
    texts = [t.text for t in part]
    if "(" in texts:  # a pointer to a function or to an array: its name stands in the brackets
        inside = part[texts.index("(") : texts.index(")")]
        names = [t for t in inside if WORD.fullmatch(t.text) and t.text not in _NO_NAMES]
        name = names[-1].text if names else ""
        return Parameter(name, written([t for t in part if not names or t != names[-1]]))
    declared = before(part, "[")
    bounds = part[close(part, len(declared)) + 1 :] if len(declared) < len(part) else []
    kind, name = type_and_name(declared)
    if len(declared) == len(part):
        return Parameter(name, written(kind))
    return Parameter(
        name, f"{written(kind)} (*){written(bounds)}" if bounds else f"{written(kind)}*"
    )


def type_and_name(part: list[Token]) -> tuple[list[Token], str]:
    """Part a declaration into its type and its name, "" where it has none."""
    texts = [t.text for t in part]
    if len(texts) < 2 or not WORD.fullmatch(texts[-1]) or texts[-1] in _NO_NAMES:
        return part, ""
    typed = any(text not in _QUALIFIERS for text in texts[:-1])
    if not typed or texts[-2] in ("::", "struct", "union", "enum", "class"):
        return part, ""
    return part[:-1], texts[-1]


def _template_parameter(part: list[Token]) -> TemplateParameter:
    declared = before(part, "=")
    default = written(part[len(declared) + 1 :])
    texts = [t.text for t in declared]
    if texts[0] in ("typename", "class") and "::" not in texts:
        named = WORD.fullmatch(texts[-1]) and len(texts) > 1
        kind = "typename..." if "..." in texts else "typename"
        return TemplateParameter(texts[-1] if named else "", kind, default)
    kind_tokens, name = type_and_name(declared)
    return TemplateParameter(name, written(kind_tokens), default)


FILE = "//file of -I: "  # begins the line before an included file, behind the source itself


def place_of(code: str, line: int) -> str:
    """ "line 3", or "line 80 (tile.cuh:3)" where the line is one of an included file."""
    above = code.split("\n")[:line]
    head = next((i for i in reversed(range(len(above))) if above[i].startswith(FILE)), None)
    if head is None:
        return f"line {line}"
    name = above[head].removeprefix(FILE).replace("\\", "/").split("/")[-1]
    return f"line {line} ({name}:{line - head - 1})"


def kernel_name(expression: str) -> str:
    """ "forward" of "forward<float, 4>", of "&forward<float>" and of "mine::forward"."""
    return expression.split("<")[0].split("::")[-1].strip(" &")


def instances(code: str) -> list[str]:
    """The template instances that comment lines `// instances: f<float>, f<double>` name."""
    lines = (line.strip().removeprefix("// instances:") for line in code.splitlines())
    named = [
        line for line, whole in zip(lines, code.splitlines(), strict=True) if line != whole.strip()
    ]
    return [written(part) for line in named for part in split(cut(line))]


# ---- Variables ----


@read_once
def global_variables(code: str, options: Sequence[str] | None = None) -> Sequence[GlobalVariable]:
    """The `__constant__` and `__device__` variables of the file, in its order; no templates."""
    found = visible(code, options)
    result: list[GlobalVariable] = []
    end, spaces = -1, namespaces(found)
    for i, token in enumerate(found):
        if i > end and token.depth == 0 and token.text in ("__constant__", "__device__"):
            end, first = i, begin_of(found, i)
            head = itertools.takewhile(lambda t: t.text not in ("{", ";"), found[i : i + 512])
            if not is_function(bare([*found[first:i], *head])):
                end = end_of(found, i)
                statement = bare(found[first:end])
                texts = [t.text for t in statement]
                names = [] if "template" in texts else names_of(statement)
                result += [
                    GlobalVariable(spaces[i] + name.text, "__constant__" in texts, name.line)
                    for name in names
                ]
    return result


def namespaces(found: list[Token]) -> list[str]:
    """Of every token, the named namespaces around it: "", "mine::", "mine::inner::"."""
    inside: list[str] = []  # of every open brace
    result = []
    for i, token in enumerate(found):
        if token.text == "}" and inside:
            inside.pop()
        result.append("".join(inside))
        if token.text == "{":
            head = [t.text for t in found[begin_of(found, i) : i]]
            named = head[head.index("namespace") + 1 :] if "namespace" in head else []
            inside.append("".join(named) + "::" if named and "(" not in named else "")
    return result


def is_function(statement: list[Token]) -> bool:
    """Whether a bracket of parameters follows a name before any value or body does."""
    for token, after in zip(statement, [*statement[1:], None], strict=False):
        if token.text == "operator":
            return True
        if token.text in ("=", "{", "["):
            return False
        if token.text == "(":
            return after is None or after.text != "*"
    return False


def names_of(statement: list[Token]) -> list[Token]:
    """The names that a declaration declares: a and b in `float a[32][33], *b = 0`."""
    names = []
    for part in split(bare(statement)):
        texts = [t.text for t in part]
        if "(" in texts and texts[texts.index("(") + 1 :][:1] == ["*"]:
            part = part[texts.index("(") + 1 : texts.index(")")]
        for sign in ("=", "[", "{"):
            part = before(part, sign)
        if part and WORD.fullmatch(part[-1].text):
            names.append(part[-1])
    return names
