"""Pages that are made from the package: the ledger, the clauses, the sources, the API."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path

from embag_edu.check import LEDGER, all_clauses
from embag_edu.check.clauses import Clause
from embag_edu.check.ledger import PEERS
from embag_edu.course.minutes import chapters, minutes_of
from embag_edu.course.notebooks import read
from embag_edu.web.copied import ROOT, escaped, place_of

API = """embag_edu embag_edu.spec embag_edu.loops embag_edu.vectorized embag_edu.cuda embag_edu.nn
embag_edu.nn.functional embag_edu.check embag_edu.course""".split()
CITED = re.compile(r"(\d+)(?:, (?:row ([\w-]+)|(\d+)))?")  # of "spec 3, row 4b", what follows spec
KERNEL = re.compile(r"__global__ void\s+(?:__launch_bounds__\((?:[^()]|\([^)]*\))*\)\s+)?(\w+)\(")
HELPER = re.compile(r"struct\s+(?:alignas\(.*\)\s+)?(\w+)|__device__ [\w ]+?(\w+)\(")
FENCE = "`" * 8


def ledger() -> str:
    """Every entry of the ledger, with its program."""
    lines = [
        "# The ledger",
        "Where torch departs from its own page, or from itself. `python -m embag_edu ledger --run`"
        " runs each program on your torch, and says which of them still shows what it says here."
        " At the end stand peers: where FBGEMM is no yardstick for fused optimizers.",
    ]
    for entry in (*LEDGER, *PEERS):
        on = "CUDA" if entry.device == "cuda" else "the CPU"
        lines += [
            f"## {entry.name}",
            escaped(entry.says),
            f"**Instead:** {escaped(entry.instead)}",
            f"**Seen** with {entry.peer} {escaped(entry.versions)}, on {on}."
            f" **Issue:** {escaped(entry.issue)}.",
        ]
        if entry.clauses:
            named = ", ".join(f"[`{name}`](clauses.md#{place(name)})" for name in entry.clauses)
            lines.append(f"**Clauses that it excuses:** {named}.")
        lines.append(f"```python\n{textwrap.dedent(entry.repro).strip()}\n```")
    return "\n\n".join(lines) + "\n"


def clauses() -> str:
    """The table of clauses, group by group."""
    every = all_clauses()
    lines = [
        "# The table of clauses",
        f"A clause is one sentence of the [specification](embag_edu/SPEC.md), with calls that try"
        f" it: {len(every)} clauses, {sum(len(c.cases) for c in every):,} calls."
        " `python -m embag_edu check FUNCTION --only NAME` asks one of them of your function.",
    ]
    for group, members in groupby(every, key=lambda clause: clause.name.partition(".")[0]):
        rows = (
            f'| <a id="{place(c.name)}"></a>`{c.name}` | {escaped(c.rule)} | {cited(c)} '
            f"| {len(c.cases)} |"
            for c in members
        )
        lines.append(f"## {group}")
        lines.append(
            "\n".join(
                ["| clause | what it says | rule | calls |", "| --- | --- | --- | --- |", *rows]
            )
        )
    return "\n\n".join(lines) + "\n"


def place(name: str) -> str:
    """The id of a clause on its page."""
    return f"clause-{name.replace('.', '-')}"


def cited(clause: Clause) -> str:
    """The source of a clause, as a link to its rule: spec 3, row 4b -> SPEC.md#spec-3-4b."""
    found = CITED.search(clause.source)
    if not found:
        return escaped(clause.source)
    rule = f"spec-{found[1]}" + (f"-{found[2]}" if found[2] else "")
    return f"[{clause.source}](embag_edu/SPEC.md#{rule})"


def chapter_list() -> str:
    """The chapters with the minutes that they take."""
    lines = ["# The chapters", "| chapter | to read | exercises |", "| --- | --- | --- |"]
    for path in chapters(ROOT / "book"):
        reading, doing = minutes_of(path).stated.split(" + ")
        lines.append(
            f"| [](book/{path.name}) | {reading} minutes "
            f"| [{doing} minutes](book/exercises/{path.name}) |"
        )
    return "\n".join([lines[0], "", *lines[1:], ""])


def sources() -> set[Path]:
    """The files that have a page of source: what chapters show, the kernels, what the API lists."""
    found = set((ROOT / "embag_edu" / "cuda").glob("*.cu*"))
    for path in chapters(ROOT / "book"):
        for cell in read(path)["cells"]:
            if shown := cell["metadata"].get("embag_edu", {}).get("shows"):
                found.add(ROOT / place_of(shown)[0])
    for module in map(import_module, API):
        found.add(Path(str(module.__file__)))
        names = getattr(module, "__all__", ())
        found |= {file for name in names if (file := source_file(getattr(module, name)))}
    return found


def source_file(thing: object) -> Path | None:
    """The file of the package in which a function or class is defined."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        return None
    file = Path(inspect.getsourcefile(thing) or "")
    return file if ROOT in file.parents else None


def source_list(paths: list[Path]) -> str:
    """The page that leads to the sources."""
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    links = "\n".join(f"- [{escaped(name)}]({name}.md)" for name in names)
    return (
        "# The sources\n\nThe files of the package that the book shows, and those behind the"
        " [API](api.md). Each function, class and kernel has a place of its own, and each line an"
        f" address: `loops.py.html#L-12`.\n\n{links}\n"
    )


def source(path: Path) -> str:
    """A source file, part by part: each function, class or kernel under a heading of its own."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    starts = dict(parts_of(text, path.suffix))
    language = "python" if path.suffix == ".py" else "cuda"
    title = f"# {escaped(path.relative_to(ROOT).as_posix())}"
    made, begin, name = ["---\norphan: true\n---", title], 1, ""  # not in the navigation: so many
    for start in [*sorted(starts), len(lines) + 1]:
        block = "\n".join(lines[begin - 1 : start - 1]).rstrip()
        made += [f"## `{name}`"] if name else []
        if block.strip():
            options = f":lineno-start: {begin}\n:class: source"
            made.append(f"{FENCE}{{code-block}} {language}\n{options}\n\n{block}\n{FENCE}")
        begin, name = start, starts.get(start, "")
    return "\n\n".join(made) + "\n"


def parts_of(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """(first line, name) of each function, class or kernel, the comment right above it included."""
    lines = text.splitlines()
    if suffix != ".py":
        begin = 1
        for part in re.split(r"\n[ \t]*\n", text):  # a kernel has no blank line inside
            if found := KERNEL.search(part) or HELPER.search(part):
                yield begin, next(filter(None, found.groups()))
            begin += part.count("\n") + 2
        return
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            number = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            while number > 1 and lines[number - 2].startswith("#"):
                number -= 1
            yield number, node.name


def api() -> Iterator[tuple[str, str]]:
    """(name, text) of the page of each module, made by autodoc from the docstrings."""
    for name in API:
        order = "" if hasattr(import_module(name), "__all__") else "\n   :member-order: bysource"
        listed = f".. automodule:: {name}\n   :members:{order}"
        yield name, f"# {name}\n\n{FENCE}{{eval-rst}}\n{listed}\n{FENCE}\n"
    links = "\n".join(f"- [](api/{name}.md): {first_line(name)}" for name in API)
    tree = "\n".join(f"api/{name}" for name in API)
    yield "", f"# API\n\n{links}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


def first_line(name: str) -> str:
    """The first line of a module's docstring."""
    return (inspect.getdoc(import_module(name)) or "").partition("\n")[0]
