"""Marks for handed-in notebooks: `python -m embag_edu grade submissions/*.ipynb --csv marks.csv`.

Each notebook is run in a kernel of its own, with a time limit for every cell. The reader's cells
are run as they were handed in; the check cells are put back as they are in book/solutions, so that
a changed or deleted check earns nothing.

WARNING. The readers' code is not sandboxed: it runs with your rights, on your machine, and can read
and delete your files. Run it in a container or a virtual machine that holds nothing else. Nor is
this proof against an attack on the checker itself: a notebook that replaces parts of embag_edu
from inside can give itself marks. Read what looks odd.
"""

from __future__ import annotations

import argparse
import copy
import csv
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embag_edu.course import notebooks
from embag_edu.course.notebooks import Cell, Notebook, is_check, is_solution, marks

SAFE = "from embag_edu.course import check\n"  # before a check: the name may have been replaced
WARNING = "Note: the handed-in code is run on this machine as it is, without a sandbox."


@dataclass(frozen=True)
class Mark:
    """The mark for one cell of one notebook. points is None where a person has to read it."""

    notebook: str
    exercise: str
    points: int | None
    out_of: int
    remark: str


# -------------------------------------------------------------------------- one notebook


def restored(submitted: Notebook, original: Notebook) -> Notebook:
    """What is run: the handed-in cells, with every check cell put back as `original` has it.

    original is the reader's copy that was handed out. A check cell that was deleted comes back at
    the end; one that was copied counts once, at its first place. A cell is known by its grade_id,
    or by its cell id where a tool has dropped the metadata.
    """
    checks = {marks(cell)["grade_id"]: cell for cell in original["cells"] if is_check(cell)}
    known = {cell.get("id"): marks(cell).get("grade_id") for cell in original["cells"]}
    waiting = dict(checks)
    cells = []
    for cell in submitted["cells"]:
        grade_id = marks(cell).get("grade_id") or known.get(cell.get("id"))
        if grade_id not in checks:
            cells.append(_plain(cell))
        elif grade_id in waiting:
            cells.append(_guarded(waiting.pop(grade_id)))
    cells += [_guarded(cell) for cell in waiting.values()]
    for number, cell in enumerate(cells):  # ids must be unique to be run
        cell["id"] = f"cell-{number}"
    return {**copy.deepcopy(original), "cells": cells}


def _plain(cell: Cell) -> Cell:
    """A handed-in cell, without any claim to be a check."""
    made = {"cell_type": cell["cell_type"], "source": notebooks.source(cell), "metadata": {}}
    return made | ({"outputs": [], "execution_count": None} if _is_code(cell) else {})


def _guarded(cell: Cell) -> Cell:
    made = copy.deepcopy(cell)
    made["source"] = SAFE + notebooks.source(cell)
    return made


def _is_code(cell: Cell) -> bool:
    return bool(cell["cell_type"] == "code")


def run(notebook: Notebook, seconds: int) -> tuple[Notebook, str]:
    """Run all cells in a new kernel, going on after errors. Returns the notebook and a remark.

    A cell that takes longer than `seconds` is interrupted and counts as failed. When the kernel
    dies, the cells after that have not run, and the remark says so.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    node: Any = nbformat.from_dict(notebook)
    remark = ""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            node,
            timeout=seconds,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "Timeout", "evalue": f"over {seconds} s", "traceback": []},
            allow_errors=True,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute(env=_environment())
        except (DeadKernelError, CellTimeoutError) as error:
            remark = f"stopped early: {type(error).__name__}"
    return node, remark


def _environment() -> dict[str, str]:
    """The environment of the kernel: it imports the embag_edu that is grading, and no other."""
    home = str(Path(__file__).parents[2])
    path = [home, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def _passed(cell: Cell) -> bool:
    """Did this check cell run, without an error?"""
    errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
    return cell["execution_count"] is not None and not errors


def _why(cell: Cell, remark: str) -> str:
    """The first line of a check's error."""
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            return str(output["evalue"] or output["ename"]).splitlines()[0]
    return remark or ("" if cell["execution_count"] else "was not run")


# -------------------------------------------------------------------------- all of them


def grade(
    paths: Sequence[str | Path], book_dir: str | Path = notebooks.BOOK, seconds: int = 60
) -> list[Mark]:
    """Mark handed-in notebooks. Each belongs to the solutions notebook with the most of its cells.

    paths:   handed-in .ipynb files, under any names.
    seconds: the time limit for one cell.
    A notebook that cannot be read, or belongs to no solutions notebook, gets one Mark that says so.
    """
    originals = [
        notebooks.student_copy(notebooks.read(path))
        for path in sorted((Path(book_dir) / "solutions").glob("*.ipynb"))
    ]
    return [mark for path in paths for mark in _grade_one(Path(path), originals, seconds)]


def _grade_one(path: Path, originals: Sequence[Notebook], seconds: int) -> list[Mark]:
    try:
        submitted = notebooks.read(path)
        original = _original_of(submitted, originals)
    except (OSError, ValueError, KeyError) as error:
        return [Mark(path.stem, "-", 0, 0, f"not marked: {error}")]
    done, remark = run(restored(submitted, original), seconds)
    by_id = {marks(cell)["grade_id"]: cell for cell in done["cells"] if is_check(cell)}
    found = []
    for cell in original["cells"]:
        if is_check(cell):
            found.append(_mark_of(path.stem, by_id[marks(cell)["grade_id"]], remark))
        elif is_solution(cell) and marks(cell).get("grade"):
            out_of = int(marks(cell)["points"])
            found.append(Mark(path.stem, marks(cell)["grade_id"], None, out_of, "to be read"))
    return found


def _mark_of(name: str, cell: Cell, remark: str) -> Mark:
    out_of = int(marks(cell)["points"])
    exercise = "+".join(notebooks.checked_names(cell))
    points = out_of if _passed(cell) else 0
    return Mark(name, exercise, points, out_of, _why(cell, remark))


def _original_of(submitted: Notebook, originals: Sequence[Notebook]) -> Notebook:
    def names(notebook: Notebook) -> set[str]:
        cells = notebook["cells"]
        ids = {str(cell.get("id")) for cell in cells}
        return ids | {str(marks(cell).get("grade_id")) for cell in cells if marks(cell)}

    common = [len(names(submitted) & names(original)) for original in originals]
    if not common or max(common) == 0:
        raise ValueError("it belongs to no notebook of book/solutions")
    return originals[common.index(max(common))]


# -------------------------------------------------------------------------- the table


def table(found: Sequence[Mark]) -> str:
    """The marks as a text table, with a sum for each notebook."""
    rows = [("notebook", "exercise", "points", "remark")]
    for name in dict.fromkeys(mark.notebook for mark in found):
        own = [mark for mark in found if mark.notebook == name]
        for mark in own:
            shown = f"{'?' if mark.points is None else mark.points} / {mark.out_of}"
            rows.append((name, mark.exercise, shown, mark.remark))
        total, out_of = sum(m.points or 0 for m in own), sum(m.out_of for m in own)
        unread = sum(m.out_of for m in own if m.points is None)
        rows.append((name, "total", f"{total} / {out_of}", f"{unread} to be read" * bool(unread)))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join([*(t.ljust(w) for t, w in zip(row, widths, strict=False)), row[3]])
             for row in rows]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


def write_csv(found: Sequence[Mark], path: str | Path) -> None:
    """The marks as a CSV file: one line for each exercise of each notebook."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["notebook", "exercise", "points", "out_of", "remark"])
        for mark in found:
            points = "" if mark.points is None else mark.points
            writer.writerow([mark.notebook, mark.exercise, points, mark.out_of, mark.remark])


def main(argv: list[str] | None = None) -> int:
    """`grade NOTEBOOK... [--csv FILE] [--seconds N] [--book FOLDER]`."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu grade", epilog=WARNING)
    parser.add_argument("notebook", nargs="+", help="handed-in notebooks")
    parser.add_argument("--csv", help="also write the marks to this file")
    parser.add_argument("--seconds", type=int, default=60, help="time limit for a cell (60)")
    parser.add_argument("--book", default=str(notebooks.BOOK), help="the folder with solutions/")
    options = parser.parse_args(argv)
    print(WARNING, file=sys.stderr)
    found = grade(options.notebook, options.book, options.seconds)
    print(table(found))
    if options.csv:
        write_csv(found, options.csv)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
