"""The rooms of the package and the arrows between them, read from the imports.

`python .ci/architecture.py` prints rooms, floors, arrows, circles and lines; with --write it also
puts the picture and the table of ARCHITECTURE.md in place. `tests/test_architecture.py` holds both,
and the rules, to the code.
"""

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "embag_edu"
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Room:
    """A folder of the package, or a file beside the folders, and what it may import."""

    wing: str  # "library", "book" or "top"
    does: str
    ours: str = ""  # rooms
    outside: str = ""  # packages of others; NumPy is everybody's


IMPLEMENTATIONS = "loops vectorized cuda"
LIBRARY = f"spec arrays text data cuda_on_cpu {IMPLEMENTATIONS} api nn beyond check bench gpu train"
# From the bottom up: a room may import only rooms above it in this list.
ROOMS = {
    "spec": Room("library", "what a call means; raises every error about the values of a call"),
    "arrays": Room("library", "tensors as arrays, and back", "spec", "torch cupy ml_dtypes"),
    "text": Room("library", "what commands print: tables, a bar", "", "tqdm"),
    "data": Room("library", "the reviews"),
    "cuda_on_cpu": Room(
        "library", "runs, checks and counts CUDA C++ without a GPU", "", "cupy ml_dtypes"
    ),
    "loops": Room("library", "the implementation to read: plain loops, the oracle", "spec"),
    "vectorized": Room("library", "the same on whole arrays", "spec", "scipy"),
    "cuda": Room("library", "the same as CUDA kernels", "spec cuda_on_cpu", "cuda"),
    "api": Room("library", "the public functions, on arrays", f"spec {IMPLEMENTATIONS}"),
    "nn": Room(
        "library",
        "torch: functional, module, autograd",
        f"spec arrays {IMPLEMENTATIONS} api cuda_on_cpu",
        "torch cupy ml_dtypes",
    ),
    "beyond": Room(
        "library",
        "fused optimizers, many tables, short rows, a table on many machines",
        f"spec arrays {IMPLEMENTATIONS} api cuda_on_cpu nn",
        "torch scipy cupy ml_dtypes fbgemm_gpu torchrec",
    ),
    "check": Room(
        "library",
        "clauses, cases, comparison, report, ledger",
        "spec arrays text loops api nn",
        "torch cloudpickle IPython ml_dtypes onnxruntime onnxscript torchao",
    ),
    "bench": Room(
        "library",
        "workloads, the byte model, times, records",
        f"spec arrays text data {IMPLEMENTATIONS} api nn beyond check",
        "torch tqdm scipy fbgemm_gpu",
    ),
    "gpu": Room(
        "library",
        "the one command for a machine with a GPU",
        "spec arrays text cuda_on_cpu cuda api nn beyond check bench",
        "torch cupy ml_dtypes triton",
    ),
    "train": Room(
        "library",
        "models on the reviews",
        "text data cuda_on_cpu cuda nn beyond check bench",
        "torch tqdm IPython",
    ),
    "course": Room(
        "book",
        "what an exercise is; hand out, collect, mark",
        LIBRARY,
        "IPython traitlets torch",
    ),
    "chapters": Room(
        "book",
        "exercises, figures and controls of each chapter",
        f"{LIBRARY} course",
        "torch matplotlib PIL ipywidgets IPython",
    ),
    "web": Room(
        "book",
        "the book as a static site, its controls in every state",
        f"{LIBRARY} course chapters",
        "sphinx docutils pygments nbformat torch",
    ),
    "commands": Room(
        "top", "python -m embag_edu", f"{LIBRARY} course chapters web", "torch cupy tqdm"
    ),
}
# Files beside the folders, and the room that they are.
FILES = {"": "api", "__main__": "commands", "environment": "commands", "figures": "commands"}
# What a name in an f-string that is imported can be. Other names stand for any one name.
CHOICES = {"implementation": f"(?:{IMPLEMENTATIONS.replace(' ', '|')})"}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The Python files of the package, by module name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def room_of(module: str) -> str:
    """The room that a module of ours belongs to."""
    first = (module.split(".") + [""])[1]
    return FILES.get(first, first)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """What a file imports, wherever it stands: modules of ours by name, and what is outside.

    `import_module`, f-strings in it included, and any string that is the name of a module of ours
    count as imports. "?" stands for an `import_module` of something that is not known here.
    """
    tree = parsed(path)
    groups = {k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "group"}
    for node in ast.walk(tree):
        if node in groups:  # the name of a group of entry points: nothing is imported by it
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path, known)
            full = (f"{module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else module for name in full)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from named(node.args[0], known)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            yield from [name] if name in known and name != PACKAGE else []


def absolute(node: ast.ImportFrom, path: Path, known: dict[str, Path]) -> str:
    """The module of a `from ... import`, with the dots in front of it resolved."""
    if not node.level:
        return str(node.module)
    mine = next((name for name, file in known.items() if file == path), "").split(".")
    up = node.level - (path.name == "__init__.py")
    return ".".join([*mine[: len(mine) - up], *filter(None, [node.module])])


def named(argument: ast.expr, known: dict[str, Path]) -> list[str]:
    """The modules that `import_module(argument)` can import."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if not isinstance(argument, ast.JoinedStr):
        return ["?"]
    pattern = ""
    for part in argument.values:
        if isinstance(part, ast.Constant):
            pattern += re.escape(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            pattern += CHOICES.get(ast.unparse(part.value), r"\w+")
    return [name for name in known if re.fullmatch(pattern, name)]


def entry_points(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """(module, host) of each entry point in pyproject.toml: the module is plugged into the host.

    A script's host is the shell, which is outside.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"the shell": project.get("scripts", {}), **project.get("entry-points", {})}
    for host, points in groups.items():
        yield from ((value.partition(":")[0], host) for value in points.values())


def files(root: Path = ROOT) -> Graph:
    """The arrows between the files of the package, by module name; entry points are among them."""
    known = modules(root)
    graph = {name: set(imported(path, known)) & set(known) for name, path in known.items()}
    for module, host in entry_points(root):
        if module in known:  # pytest's plugin stands outside the package
            graph[module] |= {host} & set(known)
    return {name: aims - {name} for name, aims in graph.items()}


def rooms(graph: Graph) -> Graph:
    """The arrows between the rooms."""
    found: Graph = {room_of(name): set() for name in graph}
    for name, aims in graph.items():
        found[room_of(name)] |= {room_of(aim) for aim in aims} - {room_of(name)}
    return found


def outside(root: Path = ROOT) -> Graph:
    """The packages of others that each room imports; "?" for an import that only a run knows."""
    found: Graph = {}
    known = modules(root)
    for name, path in known.items():
        first = {each.partition(".")[0] for each in imported(path, known)}
        found.setdefault(room_of(name), set()).update(first - {PACKAGE, *sys.stdlib_module_names})
    return found


def reached(graph: Graph, start: str) -> set[str]:
    """All that can be reached from a node, in one step or more."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += graph[node]
    return seen


def circles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that reach each other."""
    beyond = {node: reached(graph, node) for node in graph}
    groups = {
        tuple(sorted({a} | {b for b in beyond[a] if a in beyond[b]}))
        for a in graph
        if a in beyond[a]
    }
    return [list(group) for group in sorted(groups)]


def floors(graph: Graph) -> list[list[str]]:
    """The nodes by floor: each stands right above the highest that it points at."""
    left, found = dict(graph), []
    while left:
        floor = [node for node, aims in left.items() if not aims & set(left)]
        if not floor:
            raise ValueError(f"a circle among {sorted(left)}")
        found.append(sorted(floor))
        left = {node: aims for node, aims in left.items() if node not in floor}
    return found


def picture(graph: Graph) -> str:
    """The rooms as a Mermaid diagram; an arrow that follows from others is left out."""
    lines = ["```mermaid", "flowchart TD"]
    for wing in ("book", "library"):
        lines.append(f'  subgraph {wing}["the {wing}"]')
        lines += [f"    {name}" for name, room in reversed(ROOMS.items()) if room.wing == wing]
        lines.append("  end")
    for name in reversed(ROOMS):
        through = set().union(*(reached(graph, aim) for aim in graph[name]))
        direct = [aim for aim in reversed(ROOMS) if aim in graph[name] - through]
        lines += [f"  {name} --> {aim}" for aim in direct]
    return "\n".join([*lines, "```"])


def table() -> str:
    """Who may import whom, from the top down."""
    lines = ["| room | what it does | may import | of others |", "| --- | --- | --- | --- |"]
    for name, room in reversed(ROOMS.items()):
        ours = room.ours.replace(LIBRARY, "the-library").replace(IMPLEMENTATIONS, "implementations")
        told = ", ".join(ours.split()).replace("-", " ") or "nothing of ours"
        lines.append(f"| `{name}` | {room.does} | {told} | {', '.join(room.outside.split())} |")
    return "\n".join(lines)


def written(text: str) -> str:
    """The text of ARCHITECTURE.md with picture and table as they are now."""
    for name, block in {"picture": picture(rooms(files())), "table": table()}.items():
        begin, end = (
            f"<!-- {name}: python .ci/architecture.py --write -->",
            f"<!-- end of {name} -->",
        )
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{block}\n\n{end}{rest.partition(end)[2]}"
    return text


def lines_of(room: str) -> int:
    """The lines of Python in a room."""
    mine = (path for name, path in modules().items() if room_of(name) == room)
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in mine)


def main(words: list[str]) -> None:
    """Print what there is; write it where --write is asked for."""
    graph = files()
    between = rooms(graph)
    print(f"{len(graph)} files, {len(between)} rooms, {sum(map(len, between.values()))} arrows")
    print(f"circles between rooms: {circles(between)}\ncircles between files: {circles(graph)}")
    if not circles(between):
        for number, floor in reversed(list(enumerate(floors(between)))):
            print(f"floor {number}: {', '.join(f'{room} ({lines_of(room)})' for room in floor)}")
    if "--write" in words:
        page = ROOT / "ARCHITECTURE.md"
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
