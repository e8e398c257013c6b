"""Solutions to readers' copies: book/solutions/NN_*.ipynb -> book/exercises/NN_*.ipynb.

A notebook in book/solutions is the only source of its exercises. It is an ordinary notebook that
runs from top to bottom, with nbgrader's cell metadata (schema 3):

    solution: true                the reader writes here; what stands between the two lines
                                  `### BEGIN SOLUTION` and `### END SOLUTION` is taken out
    grade: true, locked: true     a check that counts `points`; it calls check("NN.name", ...)
    solution: true, grade: true   an answer that is marked by hand

A cell with the tag "instructor" is left out. nbgrader itself is not needed; where a notebook is
accepted here, nbgrader's ClearSolutions does the same to it. More is refused here than there.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from embag_edu.course import own, workbook
from embag_edu.course.exercise import UnknownExercise, find

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CODE_STUB = 'raise NotImplementedError("your code here")'
TEXT_STUB = "*Your answer here.*"
LEFTOVERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
NAMED = re.compile(r"""\b(?:check|hint)\(\s*["'](\d\d\.\w+(?:#\d+)?)["']""")
CHECKED = re.compile(r"""\bcheck\(\s*["'](\d\d\.\w+(?:#\d+)?)["']""")
BOOK = workbook.BOOK

Notebook = dict[str, Any]
Cell = dict[str, Any]


class ReleaseError(ValueError):
    """A solutions notebook that must not be handed out as it is. Says which cell, and why."""


# -------------------------------------------------------------------------- looking into a notebook


def source(cell: Cell) -> str:
    """The text of a cell (a file may hold it as a list of lines)."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def marks(cell: Cell) -> dict[str, Any]:
    """The nbgrader metadata of a cell; {} for an ordinary cell."""
    return dict(cell.get("metadata", {}).get("nbgrader", {}))


def is_solution(cell: Cell) -> bool:
    """Does the reader write in this cell?"""
    return bool(marks(cell).get("solution"))


def is_check(cell: Cell) -> bool:
    """Is this a check, which counts points without anyone reading it?"""
    return bool(marks(cell).get("grade")) and not is_solution(cell)


def is_manual(cell: Cell) -> bool:
    """Is this an answer that a person marks?"""
    return bool(marks(cell).get("grade")) and is_solution(cell)


def exercise_names(notebook: Notebook) -> list[str]:
    """The exercises that the code cells of a notebook check or give hints for, in order."""
    code = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return list(dict.fromkeys(name for text in code for name in NAMED.findall(text)))


def checked_names(cell: Cell) -> list[str]:
    """The exercises that one cell checks."""
    return list(dict.fromkeys(CHECKED.findall(source(cell))))


# -------------------------------------------------------------------------- the reader's copy


def student_copy(notebook: Notebook) -> Notebook:
    """The reader's copy of a solutions notebook. The notebook itself stays as it is.

    Solution regions become stubs, outputs and execution counts are cleared, cells tagged
    "instructor" are dropped, cell ids are kept, and the kernel is plain python3.
    Raises ReleaseError for a notebook that could give a solution away, or cannot be marked.
    """
    _check_marks(notebook)
    cells = [_student_cell(cell) for cell in notebook["cells"] if not _for_instructors(cell)]
    for cell in cells:
        for leftover in LEFTOVERS:
            if leftover in source(cell):
                raise ReleaseError(
                    f"{_where(cell)}: '{leftover}' is left over in the reader's copy"
                )
    return {
        "cells": cells,
        "metadata": {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _for_instructors(cell: Cell) -> bool:
    return "instructor" in cell.get("metadata", {}).get("tags", ())


def _student_cell(cell: Cell) -> Cell:
    made = copy.deepcopy({k: v for k, v in cell.items() if k not in ("outputs", "execution_count")})
    made["source"] = _without_solution(cell)
    kept = {k: v for k, v in made.get("metadata", {}).items() if k in ("tags", "nbgrader")}
    kept.get("nbgrader", {}).pop("checksum", None)
    made["metadata"] = kept
    if cell["cell_type"] == "code":
        made |= {"outputs": [], "execution_count": None}
    return made


def _without_solution(cell: Cell) -> str:
    """The text of a cell with every solution region replaced by a stub, indented as it was."""
    stub = CODE_STUB if cell["cell_type"] == "code" else TEXT_STUB
    lines, inside, regions = [], False, 0
    for line in source(cell).split("\n"):
        if BEGIN in line:
            if inside:
                raise ReleaseError(f"{_where(cell)}: '{BEGIN}' inside a region that is still open")
            inside, regions = True, regions + 1
            lines.append(line[: len(line) - len(line.lstrip())] + stub)
        elif END in line:
            if not inside:
                raise ReleaseError(f"{_where(cell)}: '{END}' without a '{BEGIN}' before it")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ReleaseError(f"{_where(cell)}: '{BEGIN}' without an '{END}' after it")
    if regions and not is_solution(cell):
        raise ReleaseError(f"{_where(cell)}: a solution region in a cell that is no solution cell")
    if is_solution(cell) and not regions:
        raise ReleaseError(
            f"{_where(cell)}: a solution cell without a region; put {BEGIN} and {END} around "
            "what the reader is to write"
        )
    return "\n".join(lines)


def _where(cell: Cell) -> str:
    name = marks(cell).get("grade_id") or cell.get("id", "?")
    first = next((line.strip() for line in source(cell).splitlines() if line.strip()), "")
    return f"cell {name!r} ({first[:60]})"


# -------------------------------------------------------------------------- what is refused


def _check_marks(notebook: Notebook) -> None:
    """Grade ids are there and unique, exercises are known, points are what the package says."""
    seen: set[str] = set()
    for cell in notebook["cells"]:
        _known_names(cell)
        given = marks(cell)
        if not (given.get("solution") or given.get("grade")):
            continue
        grade_id = given.get("grade_id")
        if not grade_id or grade_id in seen:
            raise ReleaseError(f"{_where(cell)}: grade_id {grade_id!r} is missing or used twice")
        seen.add(grade_id)
        if given.get("schema_version") != 3:
            raise ReleaseError(f"{_where(cell)}: schema_version must be 3")
        if is_check(cell):
            _check_points(cell)


def _known_names(cell: Cell) -> None:
    for name in NAMED.findall(source(cell)):
        try:
            find(name)
        except UnknownExercise as error:
            raise ReleaseError(f"{_where(cell)}: {error}") from None


def _check_points(cell: Cell) -> None:
    names = checked_names(cell)
    if not names:
        raise ReleaseError(f'{_where(cell)}: a grade cell without a check("NN.name", ...)')
    if not marks(cell).get("locked"):
        raise ReleaseError(f"{_where(cell)}: a grade cell must be locked")
    points = sum(find(name).points for name in names)
    if marks(cell).get("points") != points:
        raise ReleaseError(
            f"{_where(cell)}: points is {marks(cell).get('points')}, and the exercises "
            f"{', '.join(names)} count {points}"
        )


# -------------------------------------------------------------------------- files


def read(path: Path) -> Notebook:
    """A notebook file as a dict."""
    notebook: Notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    if notebook.get("nbformat") != 4:
        raise ReleaseError(f"{path}: nbformat is {notebook.get('nbformat')}; it must be 4")
    return notebook


LARGEST = 50 << 20  # bytes of a handed-in notebook


def read_handed_in(path: Path) -> Notebook:
    """A handed-in notebook, with nothing but its cells' types, texts, ids and nbgrader metadata.

    ValueError, with the reason in words, for a file that is no notebook or a damaged one.
    """
    size = Path(path).stat().st_size
    if size > LARGEST:
        raise ValueError(f"the file has {size:,} bytes; at most {LARGEST:,} are read")
    if not Path(path).is_file():
        raise ValueError("this is no file")
    return parsed(Path(path).read_bytes())


def parsed(data: bytes) -> Notebook:
    """The same of the bytes of a file."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("the file is not text in UTF-8") from None
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"the file is no notebook: {what}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("the file is no notebook of format 4: it has no list of cells")
    return {"cells": [_plain(number, cell) for number, cell in enumerate(notebook["cells"], 1)]}


def _plain(number: int, cell: Any) -> Cell:
    """A cell of a stranger's file, with what counts for a mark; anything else may be odd."""
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        raise ValueError(f"cell {number} is damaged: it has no cell_type")
    text = cell.get("source", "")
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        text = "".join(text)
    if not isinstance(text, str):
        raise ValueError(f"cell {number} is damaged: its source is no text")
    metadata = cell.get("metadata")
    given = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = given.get("grade_id") if isinstance(given, dict) else None
    return {
        "cell_type": cell["cell_type"],
        "source": text,
        "id": cell["id"] if isinstance(cell.get("id"), str) else None,
        "metadata": {"nbgrader": {"grade_id": grade_id}} if isinstance(grade_id, str) else {},
    }


def written(notebook: Notebook) -> str:
    """A notebook as the text of its file: as Jupyter writes it, the same bytes each time."""
    made = copy.deepcopy(notebook)
    for cell in made["cells"]:
        cell["source"] = source(cell).splitlines(keepends=True)
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def solutions(book_dir: str | Path = BOOK) -> list[Path]:
    """The solutions notebooks of the book, in order, then the instructor's own: assignments."""
    mine = own.in_use()
    of_book = sorted((Path(book_dir) / "solutions").glob("[0-9][0-9]*_*.ipynb"))
    return of_book + ([mine.notebook] if mine and mine.exercises else [])


def solved(path: Path) -> Notebook:
    """A solutions notebook, with the points that its questions have in this course."""
    return as_counted(read(path))


def as_counted(notebook: Notebook) -> Notebook:
    """A notebook with the points that its questions have in this course."""
    mine = own.in_use()
    return with_points(notebook, mine.points) if mine and mine.points else notebook


def with_points(notebook: Notebook, points: Mapping[str, int]) -> Notebook:
    """The notebook with other points in the marks of its cells, and in the texts that say them.

    points: of answers that a person marks, by their grade_id. Exercises know their own.
    """
    made, texts = copy.deepcopy(notebook), list[Cell]()  # texts: those of the next question
    sums = {is_check: [0, 0], is_manual: [0, 0]}  # as they were, and as they are
    for cell in made["cells"]:
        texts += [cell] if cell["cell_type"] == "markdown" else []
        if not marks(cell).get("grade"):
            continue
        given, kind = cell["metadata"]["nbgrader"], is_check if is_check(cell) else is_manual
        old, new = given["points"], points.get(given["grade_id"], given["points"])
        if kind is is_check:
            new = sum(find(name).points for name in checked_names(cell))
        given["points"] = new
        sums[kind] = [sums[kind][0] + old, sums[kind][1] + new]
        for text in texts:
            if text is not made["cells"][0]:
                text["source"] = _say_points(source(text), {old: new})
        texts = []
    title = made["cells"][0]
    title["source"] = _say_points(source(title), {old: new for old, new in sums.values()})
    return made


def _say_points(text: str, points: Mapping[int, int]) -> str:
    def said(found: re.Match[str]) -> str:
        new = points.get(int(found[1]), int(found[1]))
        return f"({new} point{'s' * (new != 1)}"

    return re.sub(r"\((\d+) points?", said, text)


def copies(book_dir: str | Path = BOOK) -> Iterator[tuple[Path, str]]:
    """For each notebook in book/solutions: the path of its reader's copy, and that copy's text."""
    book = Path(book_dir)
    for path in solutions(book):
        try:
            yield book / "exercises" / path.name, written(student_copy(read(path)))
        except ReleaseError as error:
            raise ReleaseError(f"{path.name}: {error}") from None


def release(book_dir: str | Path = BOOK) -> list[Path]:
    """Write all of book/exercises from book/solutions. Returns the paths of what was written.

    Nothing is written when any notebook is refused.
    """
    made = list(copies(book_dir))
    for path, text in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return [path for path, _ in made]


def stale(book_dir: str | Path = BOOK) -> list[str]:
    """What book/exercises should be and is not, one sentence for each file; [] when all is well."""
    wanted = dict(copies(book_dir))
    there = set((Path(book_dir) / "exercises").glob("*.ipynb"))
    said = [f"{path.name} has no source in book/solutions" for path in sorted(there - set(wanted))]
    for path, text in wanted.items():
        if path not in there:
            said.append(f"{path.name} is missing")
        elif path.read_text(encoding="utf-8") != text:
            said.append(f"{path.name} is not what its solutions notebook gives")
    return said


def main(argv: list[str] | None = None) -> int:
    """`exercises [--check] [BOOK_FOLDER]`: write the readers' notebooks, or only compare them."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    only_check = "--check" in arguments
    folders = [a for a in arguments if not a.startswith("-")]
    unknown = [a for a in arguments if a.startswith("-") and a != "--check"]
    if unknown or len(folders) > 1:
        print("usage: python -m embag_edu exercises [--check] [BOOK_FOLDER]")
        return 2
    book = Path(folders[0]) if folders else workbook.CLONE
    if not (book / "solutions").is_dir():
        print(f"There is no folder {book / 'solutions'}. Run this in a clone of the book.")
        return 2
    try:
        return _report_stale(book) if only_check else _report_release(book)
    except ReleaseError as error:
        print(f"Not released. {error}")
        return 1


def _report_stale(book: Path) -> int:
    said = stale(book)
    print("\n".join(said) if said else "book/exercises is what book/solutions gives.")
    return 1 if said else 0


def _report_release(book: Path) -> int:
    for path in release(book):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
