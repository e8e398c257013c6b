"""The files of my_bag: made from the model, by the marks of the stages in it.

A line "# ======== Stage 02 (...) ========" begins a stage: the functions below it (in kernels.cu
the kernels) are its *parts*. A part that is not built yet has its text and no body: a stub.
"""

from __future__ import annotations

import ast
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

MODEL = Path(__file__).with_name("model")
FOLDER = "my_bag"  # the name of the reader's folder, and of the package in it
HEADING = re.compile(r"^(?:#|//) ======== (?:Stage (\d\d)|Given)")
KERNEL = re.compile(r'^extern "C" __global__ void (\w+)\(')
NOT_OWN = "The model's, not my own."
STUBS = ("raise NotSupported(", "// your code here")
NOTHING, ALL = "00", "99"


@dataclass(frozen=True)
class Part:
    """A function or a kernel: its lines are lines[start:end], its body lines[body:end]."""

    name: str
    stage: str  # "" where it is given
    start: int
    body: int
    end: int


class NotReadable(ValueError):
    """A file of the reader's is no Python: its parts can't be told apart."""


def names() -> list[str]:
    """The files, those without a stage first."""
    found = [path.name for path in MODEL.iterdir() if path.suffix in (".py", ".cu")]
    return sorted(found, key=lambda name: (first_stage(name), name))


def first_stage(name: str) -> str:
    """The stage that first needs a file; "" for those that are given."""
    stages = [part.stage for part in parts(name, model_text(name)) if part.stage]
    return min(stages, default="")


def model_text(name: str) -> str:
    """The model's file, all stages of it."""
    return (MODEL / name).read_text(encoding="utf-8")


def parts(name: str, text: str) -> list[Part]:
    """The parts of a file, in order."""
    lines = text.splitlines()
    ranges = _kernels(lines) if name.endswith(".cu") else _functions(name, text)
    return [Part(part, _stage_at(lines, start), start, body, end)
            for part, start, body, end in ranges]  # fmt: skip


def _stage_at(lines: list[str], at: int) -> str:
    headings = (HEADING.match(line) for line in reversed(lines[:at]))
    return next((match[1] or "" for match in headings if match), "")


def _functions(name: str, text: str) -> list[tuple[str, int, int, int]]:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise NotReadable(f"{name}, line {error.lineno}: {error.msg}") from None
    found = []
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for each in inner:
            if isinstance(each, ast.FunctionDef):
                told = ast.get_docstring(each) is not None
                body = (each.body[0].end_lineno if told else each.body[0].lineno - 1) or 0
                start = min([each.lineno, *(d.lineno for d in each.decorator_list)]) - 1
                found.append((prefix + each.name, start, body, each.end_lineno or 0))
    return found


def _kernels(lines: list[str]) -> list[tuple[str, int, int, int]]:
    found = []
    for start, line in enumerate(lines):
        if match := KERNEL.match(line):
            body = next(i for i in range(start, len(lines)) if lines[i].endswith("{")) + 1
            end = next((i for i in range(body, len(lines)) if lines[i] == "}"), len(lines))
            found.append((match[1], start, body, end))
    return found


# -------------------------------------------------------------------------- the model at a stage


def text_at(name: str, stage: str, without: str = "") -> str:
    """The model's file as it is when `stage` is done: later parts are stubs, and `without` is."""
    text = model_text(name)
    lines = text.splitlines()
    for part in reversed(parts(name, text)):
        if part.stage > stage or part.name == without:
            lines[part.body : part.end] = _stub(name, part, lines)
    return "\n".join(lines) + "\n"


def _stub(name: str, part: Part, lines: list[str]) -> list[str]:
    first = next(line for line in lines[part.body :] if line.strip())
    indent = first[: len(first) - len(first.lstrip())]
    if name.endswith(".cu"):
        return [f"{indent}{STUBS[1]}"]
    return [f'{indent}{STUBS[0]}"stage {part.stage}: {part.name}")']


def without(name: str, text: str, stage: str, own: set[str], replaced: set[str]) -> str:
    """The text with stubs for the `replaced` parts, and for `own` ones that are the model's."""
    lines = text.splitlines()
    for part in reversed(parts(name, text)):
        body = body_of(name, text, part)
        taken = part.name in own and NOT_OWN in body
        if body.strip() and (taken or part.name in replaced):
            lines[part.body : part.end] = _stub(name, replace(part, stage=stage), lines)
    return text if lines == text.splitlines() else "\n".join(lines) + "\n"


def body_of(name: str, text: str, part: Part) -> str:
    """The lines of a part below its text."""
    return "\n".join(text.splitlines()[part.body : part.end])


def is_stub(name: str, text: str, part: Part) -> bool:
    """Whether nothing has been written there yet."""
    code = [line.strip() for line in body_of(name, text, part).splitlines() if line.strip()]
    return len(code) <= 1 and all(line.startswith(STUBS) for line in code)


def write_model(
    folder: Path, stage: str, change: tuple[str, str, str] | None = None, without: str = ""
) -> None:
    """The model as it is when `stage` is done, as a package in `folder`.

    without: a part that is a stub, too.
    change: (file, old, new): another text for one place. ValueError if old is not there just once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names():
        text = text_at(name, stage, without)
        if change and change[0] == name:
            if text.count(change[1]) != 1:
                raise ValueError(f"{change[1]!r} stands {text.count(change[1])} times in {name}")
            text = text.replace(change[1], change[2])
        (folder / name).write_text(text, encoding="utf-8")


# -------------------------------------------------------------------------- the reader's files


def start(folder: Path, stage: str) -> list[str]:
    """Write the files that `stage` needs and that are not there yet, as stubs. Their names."""
    missing = [n for n in names() if first_stage(n) <= stage and not (folder / n).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for name in missing:
        (folder / name).write_text(text_at(name, NOTHING), encoding="utf-8")
    return missing


def fill(folder: Path, stage: str, everything: bool = False) -> tuple[list[str], Path | None]:
    """Take the model's parts of all stages before `stage`, marked as not one's own.

    Only where there is a stub; with `everything`, in the place of one's own parts too.
    Returns the parts that were taken, and the folder with a copy of what was there before.
    """
    was_there = folder.exists()
    start(folder, stage)
    new, taken = {}, []
    for name in names():
        if first_stage(name) <= stage:
            old = (folder / name).read_text(encoding="utf-8")
            new[name], found = _filled(name, old, stage, everything)
            taken += found
    copy = _copied(folder, stage) if taken and was_there else None
    for name, text in new.items():
        (folder / name).write_text(text, encoding="utf-8")
    return taken, copy


def _filled(name: str, text: str, stage: str, everything: bool) -> tuple[str, list[str]]:
    model = model_text(name)
    theirs = {part.name: part for part in parts(name, model) if "" < part.stage < stage}
    try:
        mine = [part for part in parts(name, text) if part.name in theirs]
    except NotReadable:
        if not everything:
            raise
        text = text_at(name, NOTHING)
        mine = [part for part in parts(name, text) if part.name in theirs]
    lines, taken = text.splitlines(), []
    for part in reversed(mine):
        if everything or is_stub(name, text, part):
            body = body_of(name, model, theirs[part.name]).splitlines()
            first = next(line for line in body if line.strip())
            indent = first[: len(first) - len(first.lstrip())]
            mark = "//" if name.endswith(".cu") else "#"
            lines[part.body : part.end] = [f"{indent}{mark} {NOT_OWN}", *body]
            taken.append(f"{name}: {part.name}")
    return "\n".join(lines) + "\n", taken[::-1]


def _copied(folder: Path, stage: str) -> Path:
    """A copy of the folder beside it, under a name that is free."""
    base, number = f"{folder.name}_before_{stage}", 1
    while (folder.parent / (base + f"_{number}" * (number > 1))).exists():
        number += 1
    copy = folder.parent / (base + f"_{number}" * (number > 1))
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy
