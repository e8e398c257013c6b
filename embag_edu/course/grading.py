"""Marks for handed-in notebooks: `python -m embag_edu course grade hand_ins/ --csv marks.csv`.

Each notebook is marked by a process of its own (`marking.py`), which runs its cells in another one
(`box.py`) and judges the answers itself. What one notebook does cannot change another's marks, and
none can end the batch: a file that is damaged, or whose process fails, gets a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from embag_edu.course import box, frozen, hand_ins, marking, notebooks, own, packages, release
from embag_edu.course.exercise import base
from embag_edu.course.hand_ins import HandIn
from embag_edu.course.marking import Job
from embag_edu.course.marks import NOTHING, CsvFile, Mark, clean, read_marks, table, total
from embag_edu.course.notebooks import Notebook, checked_names, marks

RISK = (
    f"Where the system offers namespaces, {box.SAID[box.NAMESPACES]}. Else {box.SAID[box.PLAIN]}."
)
CHANGED = (
    "The marks are those of what made the release: the package, and a file of your own. What is "
    "here now would give others to these answers. To change a mark, add a row for it to the table "
    "of `by-hand`."
)
Originals = Callable[[str], Sequence[Notebook]]  # what was handed out to a student
SPARE = 60.0  # seconds that a process may take beside its notebook


# -------------------------------------------------------------------------- one after the other


def grade(
    given: Sequence[str | Path],
    book_dir: str | Path = notebooks.BOOK,
    seconds: float = 60,
    total: float = 600,
    roster: dict[str, str] | None = None,
) -> list[Mark]:
    """The marks of notebooks, folders of them and patterns, in this process.

    seconds: the time limit for one cell and for one check; total: for one notebook.
    A notebook that cannot be read, or belongs to no solutions notebook, gets one Mark that says so.
    """
    found = hand_ins.found(given, roster)
    jobs = partial(Job, seconds=seconds, total=total, protection=box.available())
    book = handed_out(book_dir)
    return [m for each in found for m in marked(each, lambda _: book, jobs, marking.mark)]


def handed_out(book_dir: str | Path) -> list[Notebook]:
    """The readers' copies of all solutions notebooks, and of the packages."""
    solved = list(map(notebooks.solved, notebooks.solutions(book_dir)))
    solved += [
        notebooks.as_counted(package.notebook()) for package in packages.packages() if solved
    ]
    return list(map(notebooks.student_copy, solved))


def marked(
    each: HandIn,
    originals: Originals,
    job: Callable[..., Job],
    mark: Callable[[Job], list[Mark]],
) -> list[Mark]:
    """The marks of one notebook. Whatever goes wrong with it becomes its mark."""
    path, student = str(each.path), each.student
    try:
        submitted = notebooks.read_handed_in(each.path)
        return mark(job(student, path, submitted, original_of(submitted, originals(student))))
    except Exception as error:
        why = str(error) or type(error).__name__
        return [Mark(student, path, NOTHING, 0, 0, f"not marked: {why}")]


def original_of(submitted: Notebook, originals: Sequence[Notebook]) -> Notebook:
    """What was handed out: the notebook with the most ids and exercises in common."""

    def names(notebook: Notebook) -> set[str | None]:
        cells = notebook["cells"]
        ids = {cell.get("id") for cell in cells} | {marks(c).get("grade_id") for c in cells}
        return ids | {name for cell in cells for name in map(base, checked_names(cell))} - {None}

    common = [len(names(submitted) & names(original) - {None}) for original in originals]
    if not common or max(common) == 0:
        raise ValueError("it belongs to no notebook of book/solutions")
    return originals[common.index(max(common))]


def mark_apart(job: Job) -> list[Mark]:
    """`marking.mark` in a process of its own. RuntimeError where that does not come to its end."""
    # The package that is grading, not one in the folder that we are in.
    command = [sys.executable, "-P", "-m", "embag_edu.course.marking"]
    env = {**os.environ, "PYTHONPATH": str(frozen.PACKAGE.parent)}
    try:
        done = subprocess.run(
            command, env=env, input=json.dumps(dataclasses.asdict(job)), capture_output=True,
            encoding="utf-8", errors="replace", timeout=job.total + SPARE,
        )  # fmt: skip
        return [Mark(**mark) for mark in json.loads(done.stdout)]
    except subprocess.TimeoutExpired:
        raise RuntimeError("the process that marks it did not come to an end") from None
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"the process that marks it failed: {last}") from None


# -------------------------------------------------------------------------- the command


def main(argv: list[str] | None = None) -> int:
    """`grade FILE_OR_FOLDER... [--csv FILE [--resume]] [--roster FILE] [--jobs N] ...`.

    Exit status: 0 when everything was marked, 1 when something was not, 2 for a wrong call.
    """
    argv = sys.argv[1:] if argv is None else argv
    options = _options(argv)
    with contextlib.ExitStack() as stack:
        try:
            given = options.release
            if given:
                stack.enter_context(frozen.own_of(given))
            book = release.originals(given) if given else handed_out(options.book)
            originals = partial(release.originals, given) if given else lambda _: book
            if not book:
                print(_no_book(options.book), file=sys.stderr)
                return 2
            roster = hand_ins.read_roster(options.roster) if options.roster else {}
            if given and not frozen.stands_for(release.package_of(given), options.by_the_copy):
                return _by_both(options, argv, originals, hand_ins.found(options.hand_in, roster))
            resumed = options.resume and Path(options.csv).exists()
            done = [m for m in read_marks(options.csv) if not m.missing] if resumed else []
            out = CsvFile(options.csv, done) if options.csv else None
        except (OSError, ValueError) as error:
            print(f"Not started: {error}", file=sys.stderr)
            return 2
        return _batch(options, originals, roster, out, done)


def _batch(
    options: argparse.Namespace,
    originals: Originals,
    roster: dict[str, str],
    out: CsvFile | None,
    done: Sequence[Mark],
) -> int:
    """Mark what is not done yet, write and show everything; the exit status."""
    said = f"Handed-in code is run on this machine: {box.SAID[box.available()]}."
    print(said, file=sys.stderr)
    found = hand_ins.found(options.hand_in, roster)
    paths, kept = {str(each.path) for each in found}, {mark.notebook for mark in done}
    everything = [mark for mark in done if mark.notebook in paths]
    left = [each for each in found if str(each.path) not in kept]
    for found_marks in _marked(options, left, originals):
        everything += found_marks
        if out:
            out.write(found_marks)
    absent = [Mark(name, "", NOTHING, 0, 0, "nothing was handed in")
              for name in hand_ins.without_hand_in(found, roster)]  # fmt: skip
    if out:
        out.write(absent)
    print(f"{table(everything + absent)}\n\n{said}")
    return 1 if any(mark.missing for mark in everything) else 0


def _marked(
    options: argparse.Namespace, left: Sequence[HandIn], originals: Originals
) -> Iterator[list[Mark]]:
    """The marks of each notebook, some at the same time; progress is shown."""
    mine = own.in_use()
    job = partial(Job, seconds=options.seconds, total=options.total, protection=box.available(),
                  own=str(mine.path) if mine else "")  # fmt: skip
    mark = partial(marked, originals=originals, job=job, mark=mark_apart)
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, found in enumerate(pool.map(mark, left), 1):
            print(f"{number} of {len(left)}: {_in_short(found)}", file=sys.stderr, flush=True)
            yield found


def _by_both(
    options: argparse.Namespace,
    argv: Sequence[str],
    originals: Originals,
    found: Sequence[HandIn],
) -> int:
    """Mark by the package of the release; then name the answers that the installed one changes."""
    with tempfile.TemporaryDirectory() as folder:
        table = options.csv or str(Path(folder) / "marks.csv")
        with frozen.copy_of(options.release, release.package_of(options.release)) as copy:
            print("Marked by the package that made the release:", file=sys.stderr, flush=True)
            status = frozen.grade(copy, [*own.without_option(argv), "--csv", table])
        then = read_marks(table) if status < 2 else []
    if status < 2:
        print("Once more, by the installed package:", file=sys.stderr, flush=True)
        now = [mark for each in _marked(options, found, originals) for mark in each]
        changed = frozen.differences(then, now)
        none = "The installed package, another one, gives the same points."
        print(f"\n{CHANGED}\n{changed}" if changed else f"\n{none}")
    return status


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embag_edu course grade", epilog=RISK)
    parser.add_argument(frozen.COPY, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("hand_in", nargs="+", help="handed-in notebooks, or folders of them")
    parser.add_argument("--csv", help="also write the marks to this file, as they come")
    parser.add_argument("--resume", action="store_true", help="keep what stands in that file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    parser.add_argument("--roster", help="a CSV file: name of a file or folder, student")
    parser.add_argument("--seconds", type=float, default=60, help="for a cell or a check (60)")
    parser.add_argument("--total", type=float, default=600, help="for a notebook (600)")
    parser.add_argument("--release", help="mark by what was handed out: a release's folder or zip")
    parser.add_argument("--book", default=str(notebooks.BOOK), help="the folder with solutions/")
    own.add_option(parser)
    known = {word for option in parser._actions for word in option.option_strings}
    files = [word for word in argv if word.startswith("-") and word.partition("=")[0] not in known]
    options = parser.parse_args([f"./{word}" if word in files and Path(word).exists() else word
                                 for word in argv])  # fmt: skip
    if options.resume and not options.csv:
        parser.error("--resume keeps what stands in a file: name it with --csv")
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}; it must be 1 or more")
    return options


def _no_book(folder: str) -> str:
    return (
        f"There is no notebook in {Path(folder) / 'solutions'}. The marks need the book's "
        "solutions: run this in a clone of the book, or give its folder with --book."
    )


def _in_short(found: Sequence[Mark]) -> str:
    points, out_of = total(mark.points for mark in found), sum(mark.out_of for mark in found)
    shown = found[0].remark if found[0].missing else f"{points} of {out_of}"
    return clean(f"{found[0].notebook}: {shown}")


if __name__ == "__main__":
    raise SystemExit(main())
