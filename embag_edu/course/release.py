"""What students get: `python -m embag_edu course release OUT [--exercises 03.slope,05.*]`.

OUT is a folder, or a zip file by its name. Beside the notebooks it holds AGENTS.md, and
release.json: which package made it, the questions with their points, and a hash of each cell. So a
term is stable: `originals` gives the notebooks as they were handed out, and refuses what was
changed since; `frozen` keeps the package.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import hashlib
import inspect
import json
import re
import textwrap
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from embag_edu import __version__
from embag_edu.course import (
    frozen,
    hand_ins,
    notebooks,
    own,
    packages,
    values,
    variants,
    visible,
)
from embag_edu.course.assignments import Question, question, questions, sections
from embag_edu.course.exercise import Case, exercises
from embag_edu.course.hand_ins import folder_name
from embag_edu.course.notebooks import BEGIN, END, LEFTOVERS, Notebook, ReleaseError, marks, source

RECORD = "release.json"
AGENTS = "AGENTS.md"  # asks AI helpers of students to hint, and not to solve
REGION = re.compile(rf"^[^\n]*{BEGIN}[^\n]*\n(.*?)^[^\n]*{END}", re.S | re.M)
LEAST = 15  # signs, without white space: a shorter text may stand anywhere by chance
LEAST_OWN = 8  # of the instructor's own
Files = dict[str, bytes]  # name in the release -> what the file holds


# -------------------------------------------------------------------------- what is handed out


def made(book_dir: str | Path, patterns: list[str], variant: int | None = None) -> Files:
    """The files of a release. ReleaseError where nothing fits a pattern, or a solution is found.

    variant: the number of a student whose exercises have numbers of their own.
    """
    files: Files = {}
    record: dict[str, Any] = {"embag_edu": __version__, "package": frozen.digest(frozen.package()),
                              "questions": {}, "cells": {}}  # fmt: skip
    solved = models(book_dir, patterns, variant)
    for file, notebook in solved.items():
        copy, name = notebooks.student_copy(notebook), f"exercises/{file}"
        files[name] = notebooks.written(copy).encode()
        files |= {f"exercises/{n}": text.encode() for n, text in visible.files(copy).items()}
        record["questions"] |= {each.name: each.points for each in questions(notebook)}
        record["cells"][name] = _hashes(copy)
    files[AGENTS] = (notebooks.BOOK / "teaching" / AGENTS).read_bytes()
    files[RECORD] = (json.dumps(record, indent=1) + "\n").encode()
    refuse_solutions(files, book_dir, list(solved.values()))
    return files


def models(
    book_dir: str | Path, patterns: list[str], variant: int | None = None
) -> dict[str, Notebook]:
    """The solutions notebooks of what is handed out, by file name: for the instructor alone."""
    unused, found = set(patterns), {}
    if not notebooks.solutions(book_dir):
        raise ReleaseError(f"there is no notebook in {Path(book_dir) / 'solutions'}")
    for file, solved, wanted in _assignments(book_dir, patterns):
        for pattern in wanted:
            unused -= {pattern} if any(fits(q, [pattern]) for q in questions(solved)) else set()
        solved = chosen(solved, wanted)
        if file in found:
            raise ReleaseError(f"two notebooks are called {file}: rename your own")
        if questions(solved):
            found[file] = solved if variant is None else variants.varied(solved, variant)
    if unused:
        raise ReleaseError(f"no question of {book_dir} is called {', '.join(sorted(unused))}")
    return found


def _assignments(
    book_dir: str | Path, patterns: list[str]
) -> Iterator[tuple[str, Notebook, list[str]]]:
    """The solutions notebooks, by file name, and the patterns that may choose from them.

    A package is handed out only where a pattern names it.
    """
    for path in notebooks.solutions(book_dir):
        yield path.name, notebooks.solved(path), patterns
    for package in packages.packages(patterns):
        yield (
            package.file,
            notebooks.as_counted(package.notebook()),
            packages.named(package, patterns),
        )


def made_for(
    students: Iterable[str], seed: str, book_dir: str | Path, patterns: list[str]
) -> dict[str, Files]:
    """For each student, by the name of a folder, the files of a release with numbers of their own.

    ReleaseError where two students have the same name.
    """
    names = list(map(folder_name, students))
    if len(set(map(str.casefold, names))) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ReleaseError(
            f"two students of the roster are called {twice!r}: tell them apart there"
        )
    return {name: made(book_dir, patterns, variant=variants.number(seed, name)) for name in names}


def fits(asked: Question, patterns: list[str]) -> bool:
    """Does a pattern name this question? "03.*" names the answers marked by hand (03-why) too."""
    names = [*asked.name.split("+"), asked.name, asked.name.replace("-", ".", 1)]
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def chosen(notebook: Notebook, patterns: list[str]) -> Notebook:
    """The notebook with those sections only that ask a question of these patterns; all for []."""
    if not patterns:
        return notebook
    first, *rest = sections(notebook)
    names = {each.name for each in questions(notebook) if fits(each, patterns)}
    kept = [each for each in rest if names & {question(cell) for cell in each}]
    return {**notebook, "cells": [cell for each in [first, *kept] for cell in each]}


def _hashes(notebook: Notebook) -> dict[str, str]:
    texts = {cell["id"]: json.dumps([source(cell), marks(cell)], sort_keys=True)
             for cell in notebook["cells"]}  # fmt: skip
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


# -------------------------------------------------------------------------- what must not be there


def refuse_solutions(files: Files, book_dir: str | Path, solved: Sequence[Notebook] = ()) -> None:
    """ReleaseError, with the place, where a file holds what only the instructor may see.

    That is the text of a solution region, a hint, what a wrong answer is told, or a hidden case. It
    is looked for in each file's bytes and in each text of a notebook, outputs and metadata too,
    whatever the white space. solved: more notebooks than the book's, such as those of a variant.
    """
    book = [notebooks.read(path) for path in notebooks.solutions(book_dir)]
    kept_back: dict[str, str] = {}
    for secrets, least in ((_of_regions([*book, *solved]), LEAST), (_of_exercises(), LEAST),
                           (_of_own(), LEAST_OWN)):  # fmt: skip
        squeezed_ones = ((_squeezed(text), what) for what, text in secrets)
        kept_back |= {text: what for text, what in squeezed_ones if len(text) >= least}
    for name, data in files.items():
        for place, text in _texts(name, data):
            squeezed = _squeezed(text)
            for leftover in LEFTOVERS:
                if leftover in text:
                    raise ReleaseError(f"{name}, {place}: '{leftover}' is left over")
            for secret, what in kept_back.items():
                if secret in squeezed:
                    raise ReleaseError(f"{name}, {place}: this is {what}: {secret[:60]!r}")


def _of_regions(solved: Iterable[Notebook]) -> Iterator[tuple[str, str]]:
    for notebook in solved:
        for cell in notebook["cells"]:
            for region in REGION.findall(source(cell)):
                yield f"the solution of cell {cell['id']!r}", region


def _of_exercises() -> Iterator[tuple[str, str]]:
    for exercise in exercises():
        if not own.is_own(exercise.name):  # of those, students get the hints in a file
            yield from ((f"a hint for {exercise.name}", text) for text in exercise.hints)
        told = f"what a wrong answer to {exercise.name} is told"
        yield from ((told, wrong.message) for wrong in exercise.wrong)


def _of_own() -> Iterator[tuple[str, str]]:
    """Of the instructor's own file: right answers, hidden cases as Python and as JSON, the seed."""
    mine = own.in_use()
    if mine:
        yield "your SEED", mine.seed
    for exercise in exercises() if mine else ():
        if own.is_own(exercise.name):
            right = exercise.reference
            text = body(right) if inspect.isfunction(right) else str(right)
            yield f"the right answer to {exercise.name}", text
        seen = set(_arguments(exercise.cases()))
        for text in _arguments(exercise.hidden()):
            if text not in seen:
                yield f"a hidden case of {exercise.name}", text


def _arguments(cases: Iterable[Case]) -> Iterator[str]:
    """Each argument of these cases as Python and as JSON."""
    for case in cases:
        for value in (*case.args, *case.kwargs.values()):
            yield from (repr(value), json.dumps(values.packed(value, [])))


def body(function: Callable[..., Any]) -> str:
    """The text of a function, without its head and its docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    (found,) = ast.parse(text).body[:1]
    if not isinstance(found, ast.FunctionDef):
        return text
    first = found.body[ast.get_docstring(found) is not None :]
    return "\n".join(text.splitlines()[first[0].lineno - 1 : first[-1].end_lineno])


def _texts(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    yield "the file as it is", data.decode("utf-8", "replace")
    if name.endswith(".ipynb"):
        notebook = json.loads(data)
        yield "metadata", "\n".join(_strings(notebook["metadata"]))
        for cell in notebook["cells"]:
            yield f"cell {cell['id']!r}", "".join(_strings(cell))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    if isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, str):
        yield value


def _squeezed(text: str) -> str:
    return "".join(text.split())


# -------------------------------------------------------------------------- out, and in again


def beside(out: Path) -> Path:
    """The folder for the solutions: never in what is handed out."""
    return out.with_name(f"{out.name.removesuffix('.zip')}.solutions")


def write(files: Files, out: Path) -> None:
    """Write a folder or a zip file. FileExistsError where there is something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is there already: name a new folder or zip file")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".zip":
        with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as packed:
            for name, data in files.items():
                packed.writestr(name, data)
        return
    for name, data in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def originals(release: str | Path, student: str = "") -> list[Notebook]:
    """The notebooks as they were handed out: see `named`."""
    return list(named(release, student).values())


def named(release: str | Path, student: str = "") -> dict[str, Notebook]:
    """The notebooks as they were handed out, by file name, from the folder or zip of a release.

    Of a release with variants, those of this student; of any, where no name is given.
    ReleaseError where a file is missing, or a cell is no longer as it was.
    """
    of = _read(release, RECORD).get("students")
    if of is not None:
        name = folder_name(student) if student else of[0]
        if name not in of:
            raise ReleaseError(f"no variant was handed out to {name!r}. Is it in the roster?")
        return named(Path(release) / f"{name}.zip")
    found = {}
    for name, hashes in _read(release, RECORD)["cells"].items():
        notebook = _read(release, name)
        found[Path(name).name] = notebook
        if _hashes(notebook) != hashes:
            raise ReleaseError(f"{release}: {name} is not as it was handed out")
    return found


def package_of(release: str | Path) -> str:
    """The digest of the package that made a release: see `frozen`."""
    return str(_read(release, RECORD)["package"])


def _read(release: str | Path, name: str) -> dict[str, Any]:
    """A JSON file of a release."""
    try:
        at = zipfile.Path(release) if zipfile.is_zipfile(release) else Path(release)
        return dict(json.loads((at / name).read_text(encoding="utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ReleaseError(f"{release} is no release, or not a whole one: {error}") from None


def _write_variants(options: argparse.Namespace, patterns: list[str]) -> Files:
    """A folder with a zip file for each student of the roster; the files of one of them."""
    mine = own.in_use()
    seed = options.seed or (mine.seed if mine else "")
    if not seed or options.solutions or options.out.suffix.lower() == ".zip":
        raise ReleaseError("--variants wants a --seed, and a folder; it gives no --solutions")
    students = dict.fromkeys(hand_ins.read_roster(options.variants).values())
    if not students:
        raise ReleaseError(f"{options.variants} names no student")
    of = made_for(students, seed, options.book, patterns)
    *_, first = of.values()
    top = json.loads(first[RECORD]) | {"students": list(of), "cells": {}}
    write({RECORD: (json.dumps(top, indent=1) + "\n").encode()}, options.out)
    for name, files in of.items():
        write(files, options.out / f"{name}.zip")
    return first


def main(argv: list[str]) -> int:
    """`release OUT [--exercises NAMES] [--solutions] [--variants ROSTER --seed WORDS] ...`."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course release")
    parser.add_argument("out", type=Path, help="a new folder, or a new file NAME.zip")
    parser.add_argument("--exercises", default="", help="only these: 03.slope,05.*")
    parser.add_argument(
        "--solutions", action="store_true", help="the solutions too, in a folder OUT.solutions"
    )
    parser.add_argument(
        "--variants", metavar="ROSTER", help="numbers of their own for each student"
    )
    parser.add_argument("--seed", default="", help="your secret, by which the numbers are drawn")
    parser.add_argument("--book", default=str(notebooks.BOOK), help="the folder with solutions/")
    own.add_option(parser)
    options = parser.parse_args(argv)
    patterns = [word.strip() for word in options.exercises.split(",") if word.strip()]
    try:
        copy, solutions = frozen.beside(options.out), beside(options.out)
        for path in (copy, solutions):
            if path.exists():
                raise FileExistsError(f"{path} is there already: name a new folder or zip file")
        if options.variants:
            files = _write_variants(options, patterns)
        else:
            files = made(options.book, patterns)
            write(files, options.out)
        if options.solutions:
            found = models(options.book, patterns).items()
            write({name: notebooks.written(each).encode() for name, each in found}, solutions)
        frozen.write(frozen.package(), copy)
    except (ReleaseError, OSError) as error:
        print(f"Not released. {error}")
        return 1
    points = json.loads(files[RECORD])["questions"]
    print(f"{options.out}: {sum(points.values())} points for {', '.join(points)}, in")
    print("\n".join(f"  {name}" for name in files))
    print(f"{copy}: for you alone, to mark by. Keep it beside {options.out}.")
    if options.solutions:
        print(f"{solutions}: the solutions, for you and your tutors.")
    return 0
