"""What is left of a text when names, comments and layout are taken away: short runs of tokens."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import tokenize
from collections.abc import Iterator

RUN = 6  # tokens; a copy with other names has the same runs
WORDS = 5  # of plain text
CUDA = re.compile(r"__global__|__device__")
C_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
C_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]")
C_WORDS = set(
    "int long float double bool unsigned char void const return if else for while do break "
    "continue threadIdx blockIdx blockDim gridDim min max".split()
)
KEPT = set(keyword.kwlist) | set(dir(builtins))  # nobody can give these another name
LAYOUT = {tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.COMMENT, tokenize.ENCODING}
Line = tuple[int, list[str]]  # the number of a line, and its tokens


def runs(text: str, code: bool = True) -> dict[tuple[str, ...], int]:
    """Each run of tokens in one statement -> the line where it begins, from 1.

    A run does not go from statement to statement: their order does not count.
    """
    found: dict[tuple[str, ...], int] = {}
    length = RUN if code else WORDS
    for number, tokens in _statements(text) if code else _plain(text):
        for at in range(len(tokens) - length + 1):
            found.setdefault(tuple(tokens[at : at + length]), number)
    return found


def _plain(text: str) -> Iterator[Line]:
    yield 1, re.findall(r"\w+", text.casefold())


def _statements(text: str) -> Iterator[Line]:
    """The statements of Python, and those of CUDA source in its strings, as lists of tokens."""
    line: list[str] = []
    start = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
                yield start, line
                line = []
            elif token.type == tokenize.STRING and CUDA.search(token.string):
                yield from _of_cuda(token.string, token.start[0])
            elif token.type not in LAYOUT and not (token.type == tokenize.STRING and not line):
                start = start if line else token.start[0]
                line.append(_known(token.string, line, KEPT, token.type == tokenize.NAME))
    except (tokenize.TokenError, SyntaxError):
        yield start, line  # as far as it is Python


def _of_cuda(text: str, first: int) -> Iterator[Line]:
    """Statements end with ; or a brace. Comments are made blank: lines stay where they are."""
    bare = C_COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    line: list[str] = []
    for found in C_TOKEN.finditer(bare):
        word = found[0]
        line.append(_known(word, line, C_WORDS, word[0].isalpha() or word[0] == "_"))
        if word in ";{}":
            yield first + bare.count("\n", 0, found.start()), line
            line = []


def _known(word: str, before: list[str], kept: set[str], is_name: bool) -> str:
    """A token; for a name that its author has chosen, a sign that is the same for all."""
    own = is_name and word not in kept and before[-1:] != ["."] and not word.startswith("__")
    return "a name" if own else word
