"""The exercises, for an instructor: `python -m embag_edu course guide`.

The file book/teaching/exercises.md is what this prints. No answer is shown, not even a wrong one:
several wrong numbers would tell the right ones.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from embag_edu.course import assignments, minutes, notebooks
from embag_edu.course.assignments import questions, sections
from embag_edu.course.exercise import Exercise, find
from embag_edu.course.notebooks import Notebook, source

HEAD = """\
# The exercises, and what their wrong answers show

Made by `python -m embag_edu course guide`; do not change it by hand. For each exercise:

- its points, and its minutes: to read what is given, and 3 for each point;
- **Where to look**: its first hint;
- **Wrong answers**, each by what a student is told who gives it. (A piece of a sentence stands in a
  longer message.) The tests of the project give all these answers, and see them refused. What many
  students are told is a subject for the next meeting;
- **Not shown**: what an answer that passes may still do wrong;
- **Variants**: what each student has of their own, and what makes all of them as hard.

No answer stands here. But the sentences come close to some: keep the page to yourself until the
hand-in.
"""
SIGNS = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[*|]|\](?=\()")  # that mean something there


def guide(paths: Sequence[Path]) -> str:
    """The page, in Markdown, for the solutions notebooks of these paths."""
    return "\n".join([HEAD, *(line for path in paths for line in _assignment(path))]).rstrip()


def main(argv: list[str]) -> int:
    """`guide [CHAPTER...] [--book FOLDER]`: print the page."""
    return assignments.main(argv, "guide", lambda paths, packages: guide(paths))


def _assignment(path: Path) -> Iterator[str]:
    notebook = notebooks.solved(path)
    times, title = minutes_of(notebook), source(notebook["cells"][0]).splitlines()[0]
    yield f"#{title}\n"
    for asked in questions(notebook):
        by_hand = ", marked by hand" * asked.by_hand
        yield f"### {asked.name}: {text(asked.title)}\n"
        yield f"Points: {asked.points}{by_hand}. Minutes: {times[asked.name]}.\n"
        for name in () if asked.by_hand else asked.name.split("+"):
            yield from _exercise(find(name))


def _exercise(exercise: Exercise) -> Iterator[str]:
    yield f"**Where to look:** {text(exercise.hints[0])}\n"
    yield "**Wrong answers:**\n"
    messages = dict.fromkeys(text(wrong.message) for wrong in exercise.wrong)
    yield from (f"- {message}" for message in messages)
    yield f"\n**Not shown:** {text(exercise.unproved)}\n"
    if exercise.vary:
        yield f"**Variants:** {text(exercise.vary.__doc__ or '')}\n"


def minutes_of(notebook: Notebook) -> dict[str, int]:
    """Minutes for each question: the reading of its section, shared out, and its points."""
    found = {}
    for section in sections(notebook):
        asked = questions({**notebook, "cells": section})
        for each in asked:
            reading = minutes.reading_of({**notebook, "cells": section}) / len(asked)
            found[each.name] = round(reading + minutes.POINT * each.points)
    return found


def text(plain: str) -> str:
    """A sentence as Markdown on one line: signs outside `code` stand for themselves."""
    parts = " ".join(plain.split()).split("`")
    for at in range(0, len(parts), 2):
        parts[at] = SIGNS.sub(r"\\\g<0>", html.escape(parts[at], quote=False))
    return "`".join(parts)
