"""What the types of a kernel's parameters are, read from the source: for a GPU.

On the CPU the compiler knows them: each library tells the signature of its kernels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from embag_edu.cuda_on_cpu.preprocessor import macros
from embag_edu.cuda_on_cpu.source import (
    Kernel,
    Parameter,
    TemplateParameter,
    kernels,
    type_and_name,
)
from embag_edu.cuda_on_cpu.tokens import (
    EMPTY,
    SourceError,
    Token,
    bare,
    before,
    cut,
    end_of,
    nesting,
    split,
    tokens,
    written,
)

_LONG = "int32" if sys.platform == "win32" else "int64"  # as CUDA: `long` is the host's
_SCALARS = f"""
    float float32, double float64, bool bool, void void, half float16, __half float16,
    nv_bfloat16 bfloat16, __nv_bfloat16 bfloat16, char int8, char unsigned uint8, short int16,
    short unsigned uint16, int int32, unsigned uint32, long {_LONG}, long unsigned u{_LONG},
    long long int64, long long unsigned uint64, int8_t int8, int16_t int16, int32_t int32,
    int64_t int64, uint8_t uint8, uint16_t uint16, uint32_t uint32, uint64_t uint64,
    size_t uint64, ptrdiff_t int64, intptr_t int64, uintptr_t uint64,
    complex<float> complex64, complex<double> complex128,
    thrust::complex<float> complex64, thrust::complex<double> complex128"""
_VECTORS = f"""
    char int8, uchar uint8, short int16, ushort uint16, int int32, uint uint32, long {_LONG},
    ulong u{_LONG}, longlong int64, ulonglong uint64, float float32, double float64"""
_PAIRS = """
    half2 float16, __half2 float16, nv_bfloat162 bfloat16, __nv_bfloat162 bfloat16,
    cuComplex float32, cuFloatComplex float32, cuDoubleComplex float64"""


def _table(text: str) -> dict[str, str]:
    rows = (row.split() for row in text.split(","))
    return {" ".join(words): dtype for *words, dtype in rows}


_DTYPES = {name: (dtype, 1) for name, dtype in _table(_SCALARS).items()}
_DTYPES |= {name: (dtype, 2) for name, dtype in _table(_PAIRS).items()}
for _lanes in (1, 2, 3, 4):
    _DTYPES |= {f"{name}{_lanes}": (dtype, _lanes) for name, dtype in _table(_VECTORS).items()}


@dataclass(frozen=True)
class TypeRead:
    """`const float* const` is base "float", const, and one star that is const itself."""

    base: str
    const: bool = False
    stars: tuple[bool, ...] = ()

    @property
    def text(self) -> str:
        stars = "".join("* const" if const else "*" for const in self.stars)
        return ("const " if self.const else "") + self.base + stars

    @property
    def element(self) -> tuple[str | None, int]:
        """dtype and lanes of the value, or of what the one star points to."""
        words = self.base.split()
        kept = sorted(w for w in words if w not in ("int", "signed")) or ["int"]
        dtype, lanes = _DTYPES.get(" ".join(kept), (None, 1)) if words else (None, 1)
        unknown = len(self.stars) > 1 or (dtype == "void" and not self.stars)
        return (None, 1) if unknown else (dtype, lanes)


def resolve(part: Sequence[Token], scope: dict[str, TypeRead]) -> TypeRead:
    """The type that `part` writes, where `scope` says what the names of types stand for."""
    texts = [t.text for t in part if t.text not in EMPTY | {"volatile"}]
    if "(" in texts and texts[texts.index("(") + 1 :][:3] == ["*", ")", "["]:
        texts = texts[: texts.index("(") + 2]  # a pointer to an array points to its elements
        texts.remove("(")
    levels = list(nesting([Token(text, 0, 0) for text in texts]))
    stars = [i for i, text in enumerate(texts) if text == "*" and levels[i] == 0]
    if {"(", "&", "["} & set(texts) or "..." in texts:
        return TypeRead(written(part))
    first = stars[0] if stars else len(texts)
    base = [text for text in texts[:first] if text != "const"]
    base = base[1:] if base[:1] == ["::"] else base[2:] if base[:2] == ["std", "::"] else base
    const = "const" in texts[:first]
    outer = tuple(texts[i + 1 : i + 2] == ["const"] for i in stars)
    inner = scope.get(base[0]) if len(base) == 1 else None
    if inner is None:
        return TypeRead(written([Token(text, 0, 0) for text in base]), const, outer)
    if not inner.stars:
        return replace(inner, const=inner.const or const, stars=outer)
    return replace(inner, stars=(*inner.stars[:-1], inner.stars[-1] or const, *outer))


def aliases(code: str, options: Sequence[str] | None) -> dict[str, TypeRead]:
    """What `typedef`, `using`, `#define NAME type` and -DNAME=type say at the level of the file.

    A name that the file defines in two ways (in two branches of an #if) is taken as unknown.
    """
    scope: dict[str, TypeRead] = {}
    for name, part in _definitions(code, options):
        found = resolve(part, scope)
        scope[name] = found if scope.get(name, found) == found else TypeRead("?")
    for name, text in macros(options or ()).items():
        scope[name] = resolve(cut(text), scope)
    return scope


def _definitions(code: str, options: Sequence[str] | None) -> Iterator[tuple[str, Sequence[Token]]]:
    found = tokens(code, options)
    for i, token in enumerate(found):
        if token.directive and token.text == "define" and found[i - 1].text == "#":
            body = [t for t in found[i + 1 : i + 24] if t.directive == token.directive]
            if len(body) > 1 and body[1].start > body[0].start + len(body[0].text):
                yield body[0].text, body[1:]
        elif token.depth == 0 and token.text == "typedef":
            part, name = type_and_name(bare(found[i + 1 : end_of(found, i)]))
            if name and not {"(", "["} & {t.text for t in part}:
                yield name, part
        elif token.depth == 0 and token.text == "using" and found[i - 1].text != ">":
            statement = found[i + 1 : end_of(found, i)]
            if len(statement) > 2 and statement[1].text == "=":
                yield statement[0].text, statement[2:]


def parameters(code: str, expression: str, options: Sequence[str] | None = None) -> list[Parameter]:
    """The parameters of one kernel, with every type resolved as far as it can be read.

    expression: "scale", or an instance of a template: "forward<float, long long, 4>".
    options:    of the compiler; -DNAME=type is read, and answers to #ifdef NAME.
    Raises ValueError for a kernel that the source does not have, or a wrong template argument.
    """
    found = cut(expression.strip().lstrip("&"))
    name = written(before(found, "<"))
    known = kernels(code, options)
    if name not in known:
        raise ValueError(
            f"the source has no __global__ function `{name}`; it has {', '.join(known) or 'none'}"
        )
    kernel, scope = known[name], aliases(code, options)
    opened = len(before(found, "<"))
    scope |= _template_scope(kernel, expression, split(found[opened + 1 : -1]), scope)
    return [_resolved(parameter, scope) for parameter in kernel.parameters]


def _template_scope(
    kernel: Kernel, expression: str, given: list[list[Token]], scope: dict[str, TypeRead]
) -> dict[str, TypeRead]:
    """What the template's parameters stand for in this instance."""
    wanted = kernel.template_parameters
    listed = ", ".join(f"{p.kind} {p.name}".strip() for p in wanted)
    if any("..." in p.kind for p in wanted):
        raise SourceError(kernel.line, f"`{kernel.name}` has a parameter pack: write it out")
    if len(given) > len(wanted) or any(not p.default for p in wanted[len(given) :]):
        says = f"is a template of <{listed}>" if wanted else "is not a template"
        raise ValueError(
            f"`{expression}` does not fit: `{kernel.name}` {says}, so name it "
            + (f"such as {kernel.name}<{_example(wanted)}>" if wanted else f"`{kernel.name}`")
        )
    found: dict[str, TypeRead] = {}
    for i, parameter in enumerate(wanted):
        here = scope if i < len(given) else scope | found
        found[parameter.name] = resolve(
            given[i] if i < len(given) else cut(parameter.default), here
        )
    return found


def _example(wanted: Sequence[TemplateParameter]) -> str:
    return ", ".join(p.default or ("float" if p.kind == "typename" else "4") for p in wanted)


def _resolved(parameter: Parameter, scope: dict[str, TypeRead]) -> Parameter:
    found = resolve(cut(parameter.type), scope)
    dtype, lanes = found.element
    const = found.const if len(found.stars) < 2 else found.stars[-2]
    pointer = bool(found.stars)
    return Parameter(parameter.name, found.text, pointer, pointer and const, dtype, lanes)
