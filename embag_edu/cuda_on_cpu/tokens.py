"""From CUDA C++ source to tokens (words, numbers, signs), and the ways to walk along them.

This is not a C++ compiler: it knows how a declaration looks, and nothing of what a body means.
Macros are not expanded.

The preprocessor's questions are answered where they can be: see preprocessor.py. The answers need
the compiler's options, as `options=("-DNAME",)` or `options=()`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from embag_edu.cuda_on_cpu.preprocessor import Branches


class SourceError(ValueError):
    """The source breaks a rule of CUDA, or cannot be read; `.line` is the line (from 1)."""

    def __init__(self, line: int, text: str):
        super().__init__(f"line {line}: {text}" if line else text)
        self.line = line

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the text, without the way through the package's own code."""
        return f"{type(self).__name__}: {self}".splitlines()


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
WORD = re.compile(r"[A-Za-z_]\w*")


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


Read = TypeVar("Read")


def read_once(read: Callable[..., Read]) -> Callable[..., Read]:
    """Keep what a function of (code, options) found: one source is compiled for many instances."""
    kept = functools.lru_cache(maxsize=64)(read)

    @functools.wraps(read)
    def found(code: str, options: Sequence[str] | None = None) -> Read:
        return kept(code, None if options is None else tuple(options))

    return found


@read_once
def tokens(code: str, options: Sequence[str] | None = None) -> tuple[Token, ...]:
    """All tokens of `code` that the preprocessor lets through, and those of its directives."""
    found: list[Token] = []
    braces: list[str] = []  # of every open brace: "C", "namespace" or "{"
    branches: list[list[str]] = []  # of every open #if: the braces that were open before it
    for token in _alive(list(_cut(strip(code))), options):
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
    last: tuple[str, ...] = ()
    for match in _TOKEN.finditer(text):
        start = match.start()
        line += text.count("\n", end, start)
        end = match.end()
        if start >= until:
            directive = 0
            if match[0] == "#" and not text[text.rfind("\n", 0, start) + 1 : start].strip():
                directive, until = line, _directive_end(text, start)
        yield Token(match[0], start, line, directive=directive)
        last = (*last[-2:], match[0])
        if directive and last[:2] == ("#", "line") and match[0].isdecimal():
            line = (
                int(match[0]) - 1
            )  # of the line behind this directive, whose end is still to come


def _directive_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    while end > 0 and text[end - 1] == "\\":  # the directive goes on in the next line
        end = text.find("\n", end + 1)
    return len(text) if end < 0 else end


def _alive(found: list[Token], options: Sequence[str] | None) -> Iterator[Token]:
    """The tokens that no #if shuts out."""
    branches, conditional = Branches(options), False
    for i, token in enumerate(found):
        if token.text == "#" and token.directive:
            line = [t.text for t in found[i + 1 : i + 64] if t.directive == token.directive]
            conditional = branches.read(line)
        if (token.directive and conditional) or not branches.shut:
            yield token


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
    while words and (words[-1] == "::" or WORD.fullmatch(words[-1])):
        if words.pop() == "namespace":
            return "namespace"
    return "{"


# ---- Walking along tokens ----

_OPEN = {"(": ")", "[": "]", "{": "}", "<": ">"}
ATTRIBUTES = {"__launch_bounds__", "__cluster_dims__", "__align__", "alignas", "__attribute__"}
EMPTY = {"__restrict__", "__restrict", "restrict", "__grid_constant__", "struct", "enum"}
EMPTY |= {"typename", "static", "extern", "inline", "__forceinline__", "union", "class"}


def nesting(found: Sequence[Token]) -> Iterator[int]:
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


def close(found: Sequence[Token], i: int) -> int:
    """The index of the bracket that closes the one at `i`; the last index where none does."""
    for j, level in enumerate(nesting(found[i:])):
        if j and level == 0:
            return i + j
    return len(found) - 1


def split(found: Sequence[Token]) -> list[list[Token]]:
    """Cut at the commas that are in no brackets; an empty list gives no parts."""
    parts: list[list[Token]] = [[]] if found else []
    for token, level in zip(found, nesting(found), strict=True):
        if token.text == "," and level == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def bare(found: Sequence[Token]) -> list[Token]:
    """Without attributes, and without the bodies of structs and unions."""
    kept: list[Token] = []
    i = 0
    while i < len(found):
        text, after = found[i].text, found[i + 1].text if i + 1 < len(found) else ""
        before = {t.text for t in found[max(0, i - 2) : i]}
        if text in ATTRIBUTES and after == "(":
            i = close(found, i + 1)
        elif (text == "[" and after == "[") or (text == "{" and before & {"struct", "union"}):
            i = close(found, i)
        else:
            kept.append(found[i])
        i += 1
    return kept


def written(found: Sequence[Token]) -> str:
    """The tokens of a type, written as one would: "const float* __restrict__"."""
    text = ""
    for token in found:
        word = WORD.match(token.text)
        if text and ((word and text[-1] not in "<(:[") or token.text == "(" or text[-1] == ","):
            text += " "
        text += token.text
    return text


def cut(text: str) -> list[Token]:
    """The tokens of a type or an expression."""
    return list(_cut(text))


def visible(code: str, options: Sequence[str] | None) -> list[Token]:
    """The tokens that are in no directive."""
    return [token for token in tokens(code, options) if not token.directive]


def begin_of(found: Sequence[Token], i: int) -> int:
    """The index at which the statement of token `i` begins."""
    while i and found[i - 1].text not in (";", "{", "}"):
        i -= 1
    return i


def end_of(found: Sequence[Token], i: int) -> int:
    """The index of the semicolon that ends the statement of token `i`."""
    depth = found[i].depth
    while i < len(found) - 1 and not (found[i].text == ";" and found[i].depth == depth):
        i += 1
    return i


def before(part: Sequence[Token], sign: str) -> list[Token]:
    """What stands before the first `sign` that is in no brackets; all of it where there is none."""
    levels = zip(part, nesting(part), strict=True)
    at = (i for i, (token, level) in enumerate(levels) if token.text == sign and level == 0)
    return list(part[: next(at, len(part))])
