"""Reads CUDA C++ source without a compiler: its kernels, their parameters, its special variables.

The source is cut into tokens (words, numbers, signs); every function here walks along that list.
This is not a C++ compiler: it knows how a declaration looks, and nothing of what a body means.
Macros are not expanded, except `#define NAME type`.

`#if 0`, `#if 1` and the questions after CUDA_ON_CPU are always answered. Whether any other name is
defined (`#ifdef NAME`, `#if defined(NAME)`) is answered where the compiler's options are given, as
`options=("-DNAME",)` or `options=()`. Of all other questions, both sides are read.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

MACRO = "CUDA_ON_CPU"  # defined while a source is compiled for the CPU, and never on a GPU


class SourceError(ValueError):
    """The source breaks a rule of CUDA, or cannot be read; `.line` is the line (from 1)."""

    def __init__(self, line: int, text: str):
        super().__init__(f"line {line}: {text}" if line else text)
        self.line = line


class NotModeled(SourceError):
    """The source is valid CUDA, but uses a part of it that does not exist on the CPU."""


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
    """

    name: str
    type: str
    pointer: bool = False
    const: bool = False
    dtype: str | None = None
    lanes: int = 1


@dataclass(frozen=True)
class Kernel:
    """One `__global__` function. max_threads: from __launch_bounds__, where it is a number."""

    name: str
    template_parameters: tuple[TemplateParameter, ...]
    parameters: tuple[Parameter, ...]
    line: int
    extern_c: bool
    max_threads: int | None


class GlobalVariable(NamedTuple):
    """A `__constant__` or `__device__` variable of the file."""

    name: str
    constant: bool
    line: int


# ---- From text to tokens ----

_HIDDEN = re.compile(
    r"""(?P<keep>\b\d(?:[\w.]|'(?=\w))*)        # a number: 1'000 holds no character literal
    | //(?:\\\n|[^\n])*
    | /\*.*?(?:\*/|\Z)
    | \b(?:u8|u|U|L)?R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"
    | "(?:\\.|[^"\\\n])*"
    | '(?:\\.|[^'\\\n])+'""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(r"""\w[\w.]*|"C"|::|->|<<<|<<|<=|>=|\.\.\.|\S""")
_WORD = re.compile(r"[A-Za-z_]\w*")


def strip(code: str) -> str:
    """`code` with comments and literals blanked by spaces: same length, same lines.

    The "C" of `extern "C"` stays, for it is no text but a part of the declaration.
    """

    def blank(match: re.Match) -> str:
        if match["keep"] or match[0] == '"C"':
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return _HIDDEN.sub(blank, code)


class Token(NamedTuple):
    """A word, number or sign, and where it stands.

    depth:     open braces around it, those of `extern "C" {` and namespaces not counted.
    extern_c:  whether an `extern "C" {` is open.
    directive: the line on which its preprocessor directive begins; 0 outside of one.
    """

    text: str
    start: int
    line: int
    depth: int = 0
    extern_c: bool = False
    directive: int = 0


@functools.lru_cache(maxsize=64)
def tokens(code: str, options: tuple[str, ...] | None = None) -> tuple[Token, ...]:
    """All tokens of `code` that the preprocessor lets through, and those of its directives."""
    found: list[Token] = []
    braces: list[str] = []  # of every open brace: "C", "namespace" or "{"
    branches: list[list[str]] = []  # of every open #if: the braces that were open before it
    for token in _alive(list(_cut(strip(code))), _defined(options)):
        if token.directive:
            if found and found[-1].text == "#":
                braces = _branch(token.text, braces, branches)
        elif token.text == "}" and braces:
            braces.pop()
        found.append(token._replace(depth=braces.count("{"), extern_c="C" in braces))
        if token.text == "{" and not token.directive:
            braces.append(_brace(found[-9:-1]))
    return tuple(found)


def _cut(text: str) -> Iterator[Token]:
    line, end, directive, until = 1, 0, 0, 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        line += text.count("\n", end, start)
        end = match.end()
        if start >= until:
            directive = 0
            if match[0] == "#" and not text[text.rfind("\n", 0, start) + 1 : start].strip():
                directive, until = line, _directive_end(text, start)
        yield Token(match[0], start, line, directive=directive)


def _directive_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    while end > 0 and text[end - 1] == "\\":  # the directive goes on in the next line
        end = text.find("\n", end + 1)
    return len(text) if end < 0 else end


def _macros(options: Sequence[str]) -> dict[str, str]:
    """{"N": "4"} of ("-DN=4",), or of ("-D", "N=4")."""
    joined = "\0".join(options).replace("-D\0", "-D").split("\0")
    pairs = (option[2:].strip().partition("=") for option in joined if option.startswith("-D"))
    return {name: value for name, _, value in pairs}


def _defined(options: Sequence[str] | None) -> set[str] | None:
    return None if options is None else set(_macros(options))


def _alive(found: list[Token], defined: set[str] | None) -> Iterator[Token]:
    """The tokens that no #if shuts out. defined: names of macros, None where they are not known."""
    answers: list[bool | None] = []  # of every open #if: True, False, or None where not known
    conditional = False
    for i, token in enumerate(found):
        if token.text == "#" and token.directive:
            words = [t.text for t in found[i + 1 : i + 9] if t.directive == token.directive]
            conditional = _conditional(words, answers, defined)
            if not conditional and False not in answers and defined is not None:
                defined = _define(words, defined)
        if (token.directive and conditional) or False not in answers:
            yield token


def _define(words: list[str], defined: set[str]) -> set[str] | None:
    """The names that are defined after a directive."""
    if words[:1] == ["define"]:
        return defined | set(words[1:2])
    if words[:1] == ["undef"]:
        return defined - set(words[1:2])
    return None if words == ["include"] else defined  # "a file of the reader's" may define more


def _conditional(words: list[str], answers: list[bool | None], defined: set[str] | None) -> bool:
    """Whether the directive is an #if, #else or #endif, which then changes `answers`."""
    kind = words[0] if words else ""
    if kind in ("if", "ifdef", "ifndef"):
        answers.append(_answer(words, defined))
    elif kind == "endif" and answers:
        answers.pop()
    elif kind == "else" and answers:
        answers[-1] = None if answers[-1] is None else not answers[-1]
    elif kind.startswith("elif") and answers:
        answers[-1] = False if answers[-1] else None
    else:
        return False
    return True


def _answer(words: list[str], defined: set[str] | None) -> bool | None:
    if words in (["if", "0"], ["if", "1"]):
        return words[1] == "1"
    question = " ".join(word for word in words if word not in ("(", ")"))
    asked = re.fullmatch(r"(ifdef|ifndef|if defined|if ! defined) (\w+)", question)
    if not asked or (asked[2] != MACRO and (defined is None or asked[2].startswith("_"))):
        return None
    there = asked[2] == MACRO or asked[2] in (defined or ())
    return there == (asked[1] in ("ifdef", "if defined"))


def _branch(kind: str, braces: list[str], branches: list[list[str]]) -> list[str]:
    """Every branch of an #if starts with the braces that were open before it."""
    if kind.startswith("if"):
        branches.append(list(braces))
    elif kind.startswith("el") and branches:
        return list(branches[-1])
    elif kind == "endif" and branches:
        branches.pop()
    return braces


def _brace(before: list[Token]) -> str:
    """What a brace opens, by the words before it: "C", "namespace" or "{"."""
    words = [t.text for t in before if not t.directive]
    if words[-2:] == ["extern", '"C"']:
        return "C"
    while words and (words[-1] == "::" or _WORD.fullmatch(words[-1])):
        if words.pop() == "namespace":
            return "namespace"
    return "{"


# ---- Walking along tokens ----

_OPEN = {"(": ")", "[": "]", "{": "}", "<": ">"}
_ATTRIBUTES = {"__launch_bounds__", "__cluster_dims__", "__align__", "alignas", "__attribute__"}
_EMPTY = {"__restrict__", "__restrict", "restrict", "__grid_constant__", "struct", "enum"}
_EMPTY |= {"typename", "static", "extern", "inline", "__forceinline__", "union", "class"}


def _levels(found: Sequence[Token]) -> Iterator[int]:
    """Of every token, how many brackets are open around it (a bracket is outside of itself).

    < and > are brackets only outside round, square and curly ones: in there they compare.
    """
    opened: list[str] = []
    for token in found:
        if opened and token.text == _OPEN[opened[-1]]:
            opened.pop()
        yield len(opened)
        if token.text in _OPEN and (token.text != "<" or not opened or opened[-1] == "<"):
            opened.append(token.text)


def _close(found: Sequence[Token], i: int) -> int:
    """The index of the bracket that closes the one at `i`; the last index where none does."""
    for j, level in enumerate(_levels(found[i:])):
        if j and level == 0:
            return i + j
    return len(found) - 1


def _split(found: Sequence[Token]) -> list[list[Token]]:
    """Cut at the commas that are in no brackets; an empty list gives no parts."""
    parts: list[list[Token]] = [[]] if found else []
    for token, level in zip(found, _levels(found), strict=True):
        if token.text == "," and level == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _plain(found: Sequence[Token]) -> list[Token]:
    """Without attributes, and without the bodies of structs and unions."""
    kept: list[Token] = []
    i = 0
    while i < len(found):
        text, after = found[i].text, found[i + 1].text if i + 1 < len(found) else ""
        before = {t.text for t in found[max(0, i - 2) : i]}
        if text in _ATTRIBUTES and after == "(":
            i = _close(found, i + 1)
        elif (text == "[" and after == "[") or (text == "{" and before & {"struct", "union"}):
            i = _close(found, i)
        else:
            kept.append(found[i])
        i += 1
    return kept


def _text(found: Sequence[Token]) -> str:
    """The tokens of a type, written as one would: "const float* __restrict__"."""
    text = ""
    for token in found:
        word = _WORD.match(token.text)
        if text and ((word and text[-1] not in "<(:[") or token.text == "(" or text[-1] == ","):
            text += " "
        text += token.text
    return text


def _words(text: str) -> list[Token]:
    return list(_cut(text))


def _visible(code: str, options: Sequence[str] | None) -> list[Token]:
    return [token for token in _tokens(code, options) if not token.directive]


def _tokens(code: str, options: Sequence[str] | None) -> tuple[Token, ...]:
    return tokens(code, None if options is None else tuple(options))


def _begin(found: Sequence[Token], i: int) -> int:
    """The index at which the statement of token `i` begins."""
    while i and found[i - 1].text not in (";", "{", "}"):
        i -= 1
    return i


def _end(found: Sequence[Token], i: int) -> int:
    """The index of the semicolon that ends the statement of token `i`."""
    depth = found[i].depth
    while i < len(found) - 1 and not (found[i].text == ";" and found[i].depth == depth):
        i += 1
    return i


# ---- Kernels ----


def kernels(code: str, options: Sequence[str] | None = None) -> dict[str, Kernel]:
    """All `__global__` functions of the source, by name.

    Of several with one name, the last counts. Explicit instantiations and specializations are
    passed over: they have the parameters of their template.
    """
    found = _visible(code, options)
    heads = [i for i, t in enumerate(found) if t.text == "__global__" and t.depth == 0]
    read = (_kernel(found, i) for i in heads)
    return {kernel.name: kernel for kernel in read if kernel is not None}


def _kernel(found: list[Token], i: int) -> Kernel | None:
    first = _begin(found, i)
    template: list[Token] = []
    if found[first].text == "template":
        if found[first + 1].text != "<":
            return None  # an explicit instantiation
        last = _close(found, first + 1)
        template, first = found[first + 2 : last], last + 1
    at = _parenthesis(found, max(first, i))
    name = found[at - 1]
    if found[at].text != "(" or not _WORD.fullmatch(name.text):
        return None  # an explicit specialization, name<float>(...), or half a declaration
    head = found[first:at]
    listed = _split(found[at + 1 : _close(found, at)])
    return Kernel(
        name.text,
        tuple(_template_parameter(part) for part in _split(template)),
        tuple(_parameter(part) for part in listed if _text(part) != "void"),
        name.line,
        name.extern_c or '"C"' in [t.text for t in head],
        _launch_bounds(head),
    )


def _parenthesis(found: Sequence[Token], i: int) -> int:
    """The index of the next round bracket that is not an attribute's."""
    while i < len(found) - 1 and found[i].text != "(":
        attribute = found[i].text in _ATTRIBUTES and found[i + 1].text == "("
        i = _close(found, i + 1) + 1 if attribute else i + 1
    return min(i, len(found) - 1)


def _launch_bounds(head: Sequence[Token]) -> int | None:
    texts = [t.text for t in head]
    if "__launch_bounds__" not in texts:
        return None
    number = texts[texts.index("__launch_bounds__") + 2]
    return int(number) if number.isdecimal() else None


def _before(part: Sequence[Token], sign: str) -> list[Token]:
    """What stands before the first `sign` that is in no brackets; all of it where there is none."""
    levels = zip(part, _levels(part), strict=True)
    at = (i for i, (token, level) in enumerate(levels) if token.text == sign and level == 0)
    return list(part[: next(at, len(part))])


def _parameter(part: list[Token]) -> Parameter:
    part = _plain(_before(part, "="))
    texts = [t.text for t in part]
    if "(" in texts:  # a pointer to a function or to an array: its name stands in the brackets
        inside = part[texts.index("(") : texts.index(")")]
        names = [t for t in inside if _WORD.fullmatch(t.text) and t.text not in _NO_NAMES]
        name = names[-1].text if names else ""
        return Parameter(name, _text([t for t in part if not names or t != names[-1]]))
    declared = _before(part, "[")
    bounds = part[_close(part, len(declared)) + 1 :] if len(declared) < len(part) else []
    kind, name = _named(declared)
    if len(declared) == len(part):
        return Parameter(name, _text(kind))
    return Parameter(name, f"{_text(kind)} (*){_text(bounds)}" if bounds else f"{_text(kind)}*")


def _named(part: list[Token]) -> tuple[list[Token], str]:
    """Part a declaration into its type and its name, "" where it has none."""
    texts = [t.text for t in part]
    if len(texts) < 2 or not _WORD.fullmatch(texts[-1]) or texts[-1] in _NO_NAMES:
        return part, ""
    typed = any(text not in _QUALIFIERS for text in texts[:-1])
    if not typed or texts[-2] in ("::", "struct", "union", "enum", "class"):
        return part, ""
    return part[:-1], texts[-1]


def _template_parameter(part: list[Token]) -> TemplateParameter:
    declared = _before(part, "=")
    default = _text(part[len(declared) + 1 :])
    texts = [t.text for t in declared]
    if texts[0] in ("typename", "class") and "::" not in texts:
        named = _WORD.fullmatch(texts[-1]) and len(texts) > 1
        kind = "typename..." if "..." in texts else "typename"
        return TemplateParameter(texts[-1] if named else "", kind, default)
    kind_tokens, name = _named(declared)
    return TemplateParameter(name, _text(kind_tokens), default)


# ---- Types ----

_LONG = "int32" if sys.platform == "win32" else "int64"  # as CUDA: `long` is the host's
_SCALARS = f"""
    float float32, double float64, bool bool, void void, half float16, __half float16,
    nv_bfloat16 bfloat16, __nv_bfloat16 bfloat16, char int8, char unsigned uint8, short int16,
    short unsigned uint16, int int32, unsigned uint32, long {_LONG}, long unsigned u{_LONG},
    long long int64, long long unsigned uint64, int8_t int8, int16_t int16, int32_t int32,
    int64_t int64, uint8_t uint8, uint16_t uint16, uint32_t uint32, uint64_t uint64,
    size_t uint64, ptrdiff_t int64, intptr_t int64, uintptr_t uint64"""
_VECTORS = f"""
    char int8, uchar uint8, short int16, ushort uint16, int int32, uint uint32, long {_LONG},
    ulong u{_LONG}, longlong int64, ulonglong uint64, float float32, double float64"""
_PAIRS = "half2 float16, __half2 float16, nv_bfloat162 bfloat16, __nv_bfloat162 bfloat16"


def _table(text: str) -> dict[str, str]:
    rows = (row.split() for row in text.split(","))
    return {" ".join(words): dtype for *words, dtype in rows}


_DTYPES = {name: (dtype, 1) for name, dtype in _table(_SCALARS).items()}
_DTYPES |= {name: (dtype, 2) for name, dtype in _table(_PAIRS).items()}
for _lanes in (1, 2, 3, 4):
    _DTYPES |= {f"{name}{_lanes}": (dtype, _lanes) for name, dtype in _table(_VECTORS).items()}
_BASIC = {"int", "unsigned", "signed", "char", "short", "long", "float", "double", "bool", "void"}
_QUALIFIERS = _EMPTY | {"const", "volatile"}
_NO_NAMES = _BASIC | _QUALIFIERS


@dataclass(frozen=True)
class _Type:
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


def _resolve(part: Sequence[Token], scope: dict[str, _Type]) -> _Type:
    """The type that `part` writes, where `scope` says what the names of types stand for."""
    texts = [t.text for t in part if t.text not in _EMPTY | {"volatile"}]
    if "(" in texts and texts[texts.index("(") + 1 :][:3] == ["*", ")", "["]:
        texts = texts[: texts.index("(") + 2]  # a pointer to an array points to its elements
        texts.remove("(")
    levels = list(_levels([Token(text, 0, 0) for text in texts]))
    stars = [i for i, text in enumerate(texts) if text == "*" and levels[i] == 0]
    if {"(", "&", "["} & set(texts) or "..." in texts:
        return _Type(_text(part))
    first = stars[0] if stars else len(texts)
    base = [text for text in texts[:first] if text != "const"]
    base = base[1:] if base[:1] == ["::"] else base[2:] if base[:2] == ["std", "::"] else base
    const = "const" in texts[:first]
    outer = tuple(texts[i + 1 : i + 2] == ["const"] for i in stars)
    inner = scope.get(base[0]) if len(base) == 1 else None
    if inner is None:
        return _Type(_text([Token(text, 0, 0) for text in base]), const, outer)
    if not inner.stars:
        return replace(inner, const=inner.const or const, stars=outer)
    return replace(inner, stars=(*inner.stars[:-1], inner.stars[-1] or const, *outer))


def _aliases(code: str, options: Sequence[str] | None) -> dict[str, _Type]:
    """What `typedef`, `using`, `#define NAME type` and -DNAME=type say at the level of the file.

    A name that the file defines in two ways (in two branches of an #if) is taken as unknown.
    """
    scope: dict[str, _Type] = {}
    for name, part in _definitions(code, options):
        found = _resolve(part, scope)
        scope[name] = found if scope.get(name, found) == found else _Type("?")
    for name, text in _macros(options or ()).items():
        scope[name] = _resolve(_words(text), scope)
    return scope


def _definitions(code: str, options: Sequence[str] | None) -> Iterator[tuple[str, Sequence[Token]]]:
    found = _tokens(code, options)
    for i, token in enumerate(found):
        if token.directive and token.text == "define" and found[i - 1].text == "#":
            body = [t for t in found[i + 1 : i + 24] if t.directive == token.directive]
            if len(body) > 1 and body[1].start > body[0].start + len(body[0].text):
                yield body[0].text, body[1:]
        elif token.depth == 0 and token.text == "typedef":
            part, name = _named(_plain(found[i + 1 : _end(found, i)]))
            if name and not {"(", "["} & {t.text for t in part}:
                yield name, part
        elif token.depth == 0 and token.text == "using" and found[i - 1].text != ">":
            statement = found[i + 1 : _end(found, i)]
            if len(statement) > 2 and statement[1].text == "=":
                yield statement[0].text, statement[2:]


def parameters(code: str, expression: str, options: Sequence[str] | None = None) -> list[Parameter]:
    """The parameters of one kernel, with every type resolved as far as it can be read.

    expression: "scale", or an instance of a template: "forward<float, long long, 4>".
    options:    of the compiler; -DNAME=type is read, and answers to #ifdef NAME.
    Raises ValueError for a kernel that the source does not have, or a wrong template argument.
    """
    found = _words(expression.strip().lstrip("&"))
    name = _text(_before(found, "<"))
    known = kernels(code, options)
    if name not in known:
        raise ValueError(
            f"the source has no __global__ function `{name}`; it has {', '.join(known) or 'none'}"
        )
    kernel, scope = known[name], _aliases(code, options)
    opened = len(_before(found, "<"))
    scope |= _template_scope(kernel, expression, _split(found[opened + 1 : -1]), scope)
    return [_resolved(parameter, scope) for parameter in kernel.parameters]


def _template_scope(
    kernel: Kernel, expression: str, given: list[list[Token]], scope: dict[str, _Type]
) -> dict[str, _Type]:
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
    found: dict[str, _Type] = {}
    for i, parameter in enumerate(wanted):
        here = scope if i < len(given) else scope | found
        found[parameter.name] = _resolve(
            given[i] if i < len(given) else _words(parameter.default), here
        )
    return found


def _example(wanted: Sequence[TemplateParameter]) -> str:
    return ", ".join(p.default or ("float" if p.kind == "typename" else "4") for p in wanted)


def _resolved(parameter: Parameter, scope: dict[str, _Type]) -> Parameter:
    found = _resolve(_words(parameter.type), scope)
    dtype, lanes = found.element
    const = found.const if len(found.stars) < 2 else found.stars[-2]
    pointer = bool(found.stars)
    return Parameter(parameter.name, found.text, pointer, pointer and const, dtype, lanes)


def instances(code: str) -> list[str]:
    """The template instances that comment lines `// instances: f<float>, f<double>` name."""
    lines = (line.strip().removeprefix("// instances:") for line in code.splitlines())
    named = [
        line for line, whole in zip(lines, code.splitlines(), strict=True) if line != whole.strip()
    ]
    return [_text(part) for line in named for part in _split(_words(line))]


# ---- Variables ----


def global_variables(code: str, options: Sequence[str] | None = None) -> list[GlobalVariable]:
    """The `__constant__` and `__device__` variables of the file, in its order."""
    found = _visible(code, options)
    result: list[GlobalVariable] = []
    end = -1
    for i, token in enumerate(found):
        if i > end and token.depth == 0 and token.text in ("__constant__", "__device__"):
            end = _end(found, i)
            statement = _plain(found[_begin(found, i) : end])
            if not _is_function(statement):
                constant = "__constant__" in [t.text for t in statement]
                names = _declared(statement)
                result += [GlobalVariable(name.text, constant, name.line) for name in names]
            else:
                end = i
    return result


def _is_function(statement: list[Token]) -> bool:
    """Whether a bracket of parameters follows a name before any value or body does."""
    for token, after in zip(statement, [*statement[1:], None], strict=False):
        if token.text == "operator":
            return True
        if token.text in ("=", "{", "["):
            return False
        if token.text == "(":
            return after is None or after.text != "*"
    return False


def _declared(statement: list[Token]) -> list[Token]:
    """The names that a declaration declares: a and b in `float a[32][33], *b = 0`."""
    names = []
    for part in _split(_plain(statement)):
        texts = [t.text for t in part]
        if "(" in texts and texts[texts.index("(") + 1 :][:1] == ["*"]:
            part = part[texts.index("(") + 1 : texts.index(")")]
        for sign in ("=", "[", "{"):
            part = _before(part, sign)
        if part and _WORD.fullmatch(part[-1].text):
            names.append(part[-1])
    return names


def rewrite(code: str, options: Sequence[str] | None = None) -> str:
    """The source as a C++ compiler takes it: its `__shared__` declarations made plain C++.

    `extern __shared__ T x[];` becomes a pointer to the launch's dynamic shared memory. Any other
    becomes a struct of its variables, which `cuda_on_cpu::place` puts into the block's memory, and
    a reference for each of them. Line numbers stay. Raises SourceError where CUDA has an error too.
    """
    found = _tokens(code, options)
    for token in found:
        if token.directive and token.text == "__shared__":
            raise SourceError(token.line, "__shared__ in a macro: write the declaration out")
    visible = [token for token in found if not token.directive]
    shared = [i for i, token in enumerate(visible) if token.text == "__shared__"]
    edits: list[tuple[int, int, str]] = []
    for count, i in enumerate(shared):
        edits += _shared(code, visible, i, count)
    for start, end, text in sorted(edits, reverse=True):
        code = code[:start] + text + code[end:]
    return code


def _shared(code: str, found: list[Token], i: int, count: int) -> list[tuple[int, int, str]]:
    """The edits (start, end, new text) of the declaration around the `__shared__` at `i`."""
    first, last = _begin(found, i), _end(found, i)
    statement, line = found[first:last], found[i].line
    _check_place(found[i], [t.text for t in found[first:i]])
    if found[last].text != ";":
        raise SourceError(line, "this __shared__ declaration has no end: is a semicolon missing?")
    begin, end = found[first].start, found[last].start
    dropped = [t for t in statement if t.text in ("__shared__", "static", "extern")]
    kept = [t for t in statement if t not in dropped]
    if "extern" in [t.text for t in dropped]:
        return [(begin, end + 1, _dynamic(kept, line) + "\n" * code.count("\n", begin, end))]
    _check_no_value(kept, line)
    edits = [(begin, begin, f"struct cuda_shared_{count} {{ ")]
    edits += [(t.start, t.start + len(t.text), "") for t in dropped]
    return [*edits, (end, end + 1, "; };" + _references(kept, count, line))]


def _references(statement: list[Token], count: int, line: int) -> str:
    """Where the struct lies in the block's memory, and a reference to each of its variables."""
    names = [name.text for name in _declared(statement)]
    if not names:
        raise SourceError(
            line, "this __shared__ declares no variable: `__shared__ float tile[32];`"
        )
    at = f"cuda_shared_at_{count}"
    place = f'cuda_on_cpu::place<cuda_shared_{count}>("{", ".join(names)}", {line})'
    return f" auto& {at} = {place};" + "".join(f" auto& {name} = {at}.{name};" for name in names)


def _check_place(token: Token, prefix: list[str]) -> None:
    if prefix.count("(") > prefix.count(")"):
        raise SourceError(
            token.line,
            "__shared__ belongs to a variable, not to a parameter or a type: "
            "a function takes shared memory as a plain pointer, `float* tile`",
        )
    if token.depth == 0:
        raise SourceError(
            token.line, "__shared__ outside of a function: declare it inside the kernel"
        )
    if not set(prefix) <= {"static", "extern", "volatile", "const"}:
        raise SourceError(
            token.line, "__shared__ must begin its declaration: `__shared__ float tile[32];`"
        )


def _check_no_value(statement: list[Token], line: int) -> None:
    plain = _plain(statement)
    for i, (token, level) in enumerate(zip(plain, _levels(plain), strict=True)):
        function = (
            token.text == "(" and plain[i - 1].text != "decltype" and plain[i + 1].text != "*"
        )
        if level == 0 and (token.text in ("=", "{") or function):
            raise SourceError(
                line,
                "a __shared__ variable cannot be given a value where it is declared, in CUDA "
                "neither: let one thread store it, then call __syncthreads()",
            )


def _dynamic(statement: list[Token], line: int) -> str:
    """`TYPE name[]` or `TYPE name[][32]` as a pointer to the dynamic shared memory."""
    made = []
    kind: list[Token] = []
    for part in _split(_plain(statement)):
        declared = _before(part, "[")
        shape = [t.text for t in part[len(declared) :]]
        if shape[:2] != ["[", "]"] or len(declared) < (1 if kind else 2):
            raise SourceError(
                line, "`extern __shared__` declares an array without a size: `tile[]`"
            )
        kind = kind or declared[:-1]
        name, text = declared[-1].text, _text(kind)
        bounds = "".join(shape[2:])
        pointer = f"{text} (*{name}){bounds}" if bounds else f"{text}* {name}"
        cast = f"({text} (*){bounds})" if bounds else f"({text}*)"
        made.append(f"{pointer} = {cast}cuda_on_cpu::dynamic_shared();")
    return " ".join(made)


# ---- What does not exist on the CPU ----

_RUNTIME = "is a call of the host's side: do it in Python, before or after the launch"
_TEXTURE = "textures and surfaces are not modeled: read a plain array, with __ldg if you like"
_TENSOR = "tensor cores are not modeled: multiply with plain loops over shared memory"
_GROUPS = "cooperative groups are not modeled: use __syncthreads, __syncwarp and the shuffles"
_LIBCUDA = "the library cuda:: is not modeled: use the built-in atomics, fences and barriers"
_PTX = f"inline PTX is not modeled: write CUDA C++, or keep it for the GPU by #ifndef {MACRO}"
_HEADERS = {
    "cub/": "CUB is not modeled: write the step with shared memory and warp shuffles",
    "thrust/": "Thrust is not modeled: write the step as a kernel, or do it in NumPy",
    "curand": "cuRAND is not modeled: draw the numbers with NumPy and pass an array",
    "cooperative_groups": _GROUPS,
    "mma.h": _TENSOR,
    "cuda/": _LIBCUDA,
    "nv/": _LIBCUDA,
}
_NAMES = {
    **dict.fromkeys(("asm", "__asm__", "__asm"), _PTX),
    **dict.fromkeys(("cudaTextureObject_t", "cudaSurfaceObject_t"), _TEXTURE),
    **dict.fromkeys(("nvcuda", "wmma", "mma_sync", "load_matrix_sync"), _TENSOR),
    "<<<": "a kernel cannot launch another: launch it from Python",
    "cooperative_groups": _GROUPS,
    "__managed__": "managed memory is not modeled: pass an array to the kernel",
    "__cluster_dims__": "clusters of blocks are not modeled: use single blocks",
}
_TEXTURE_CALL = re.compile(r"(tex|surf)(1D|2D|3D|Cubemap)\w*|texture")
_RUNTIME_CALL = re.compile(r"cuda[A-Z]\w*")


def refuse(code: str, options: Sequence[str] | None = None) -> None:
    """Raise NotModeled for the first thing in the source that does not exist on the CPU."""
    found = _tokens(code, options)
    for token, after in zip(found, [*found[1:], None], strict=False):
        sentence = _refusal(token.text, after.text if after else "")
        if token.text == "include" and token.directive:
            named = re.match(r'include\s*[<"]([^>"]+)', code[token.start :])
            header = named[1] if named else ""
            sentence = next((s for h, s in _HEADERS.items() if header.startswith(h)), "")
        if sentence:
            raise NotModeled(token.line, sentence)


def _refusal(text: str, after: str) -> str:
    if text in _NAMES:
        return _NAMES[text]
    if _TEXTURE_CALL.fullmatch(text) and after in ("(", "<"):
        return _TEXTURE
    if _RUNTIME_CALL.fullmatch(text) and after in ("(", "<"):
        return f"{text} {_RUNTIME}"
    return _LIBCUDA if (text, after) == ("cuda", "::") else ""
