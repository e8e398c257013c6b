"""Answers that are alike: `python -m embag_edu course similar HAND_INS...`.

Names, comments, layout and the order of statements do not count, nor what the notebook hands out,
what stands in the model answer, or what many students write. What is left and stands in two answers
is shown with its places. It is a hint to look, and no verdict: people learn together, and short
answers are alike by themselves, which is why they are not listed.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from embag_edu.course import hand_ins, notebooks, own, packages
from embag_edu.course.assignments import question
from embag_edu.course.exercise import base
from embag_edu.course.grading import original_of
from embag_edu.course.hand_ins import HandIn
from embag_edu.course.marks import clean
from embag_edu.course.notebooks import Cell, Notebook, checked_names, is_solution, marks, source
from embag_edu.course.tokens import runs
from embag_edu.text import aligned

LEAST_RUNS = 12  # in both answers: fewer may be chance
LEAST_SHARE = 0.6  # of the runs of the answer that has fewer
MANY = 4  # students, and a third of all: what so many write is nobody's own
Runs = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Pair:
    """Two answers to one question. The lines are those of the answers' cells, from 1."""

    question: str
    students: tuple[str, str]
    shared: int
    share: float
    lines: tuple[list[int], list[int]]


def answers(notebook: Notebook, original: Notebook) -> dict[str, tuple[str, bool]]:
    """Question -> what is written for it, and whether that is code.

    A cell that an id does not place belongs to the question whose check comes next.
    """
    known = {source(cell).strip() for cell in original["cells"]}
    by_id: dict[str, str] = {}
    current = "elsewhere"
    for cell in reversed(original["cells"]):
        current = question(cell) or current
        if is_solution(cell):
            by_id |= {cell["id"]: current, str(marks(cell).get("grade_id")): current}
    asked, current = set(by_id.values()), "elsewhere"
    found: dict[str, tuple[str, bool]] = {}
    for cell in reversed(notebook["cells"]):
        file, text = _read(cell)
        if file:
            found[file] = text, True
            continue
        current = _placed(cell, by_id, asked) or current
        if source(cell).strip() and source(cell).strip() not in known:
            code = cell["cell_type"] == "code"
            before = found.get(current, ("", code))
            found[current] = f"{source(cell)}\n{before[0]}", before[1] or code
    return found


def _read(cell: Cell) -> tuple[str, str]:
    """The text of a cell; where it holds a file of a package, that is called "my_bag/loops.py"."""
    written = packages.WRITTEN.match(source(cell))
    if not written:
        return "", source(cell)
    text = source(cell)[written.end() :]
    if written[2].endswith(".cu"):  # as it would stand in a cell of Python
        text = 'r"""' + text.replace('"""', "") + '"""'
    return f"{written[1]}/{written[2]}", text


def _placed(cell: Cell, by_id: dict[str, str], asked: set[str]) -> str:
    by_name = "+".join(map(base, checked_names(cell)))
    own = by_id.get(marks(cell).get("grade_id", "")) or by_id.get(cell.get("id") or "")
    return own or (by_name if by_name in asked else "")


def pairs(found: Sequence[HandIn], book_dir: str | Path = notebooks.BOOK) -> list[Pair]:
    """The answers that are alike, the most alike first. What is no notebook is passed over."""
    solved = [notebooks.solved(path) for path in notebooks.solutions(book_dir)]
    originals = [notebooks.student_copy(each) for each in solved]
    for package in packages.packages():
        originals.append(notebooks.student_copy(package.notebook()))
        solved.append(package.packed(package.model()))
    left: dict[str, dict[str, Runs]] = defaultdict(dict)  # question -> student -> runs
    for each in found:
        try:
            submitted = notebooks.read_handed_in(each.path)
            original = original_of(submitted, originals)
        except (OSError, ValueError):
            continue
        number = next(at for at, one in enumerate(originals) if one is original)
        given = _explained(original, solved[number])
        for name, (text, code) in answers(submitted, original).items():
            own = {run: line for run, line in runs(text, code).items() if run not in given}
            left[name].setdefault(each.student, {}).update(own)
    alike = [pair for name, of in left.items() for pair in _alike(name, of)]
    return sorted(alike, key=lambda pair: (-pair.share, pair.question, pair.students))


def _explained(original: Notebook, solved: Notebook) -> set[tuple[str, ...]]:
    """The runs of what is handed out, and of the model answers."""
    texts = [(_read(c)[1], c["cell_type"] == "code") for c in original["cells"] + solved["cells"]]
    return {run for text, code in texts for run in runs(text, code)}


def _alike(name: str, of: dict[str, Runs]) -> list[Pair]:
    often = Counter(run for own in of.values() for run in own)
    many = max(MANY, len(of) / 3)
    rare = {student: {r for r in own if often[r] < many} for student, own in of.items()}
    found = []
    for one, two in combinations(sorted(rare), 2):
        shared = rare[one] & rare[two]
        least = min(len(rare[one]), len(rare[two]))
        if least >= LEAST_RUNS and len(shared) >= LEAST_SHARE * least:
            lines, others = (sorted({of[who][run] for run in shared}) for who in (one, two))
            share = len(shared) / least
            found.append(Pair(name, (one, two), len(shared), share, (lines, others)))
    return found


def main(argv: list[str]) -> int:
    """`similar HAND_INS... [--roster FILE] [--book FOLDER]`: print the pairs."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course similar")
    parser.add_argument("hand_in", nargs="+", help="handed-in notebooks, or folders of them")
    parser.add_argument("--roster", help="a CSV file: name of a file or folder, student")
    parser.add_argument("--book", default=str(notebooks.BOOK), help="the folder with solutions/")
    own.add_option(parser)
    options = parser.parse_args(argv)
    try:
        roster = hand_ins.read_roster(options.roster) if options.roster else {}
    except (OSError, ValueError) as error:
        print(f"Not compared: {error}")
        return 2
    rows: list[Sequence[object]] = [("question", "alike", "student", "lines", "student", "lines")]
    for pair in pairs(hand_ins.found(options.hand_in, roster), options.book):
        (one, two), (lines, others) = map(clean, pair.students), map(_spans, pair.lines)
        rows.append((pair.question, f"{pair.share:.0%}", one, lines, two, others))
    print(aligned(rows) if len(rows) > 1 else "No pair is more alike than the task explains.")
    print("\nThis is a hint to look, and no verdict.")
    return 0


def _spans(lines: Sequence[int]) -> str:
    """[2, 3, 4, 7] as "2-4, 7"."""
    starts = [n for n in lines if n - 1 not in lines]
    ends = [n for n in lines if n + 1 not in lines]
    return ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in zip(starts, ends, strict=True))
