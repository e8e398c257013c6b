"""What each chapter of the book is made of: one folder a chapter, `ch00`, `ch01`, ...

    exercises.py   its exercises
    figures.py     its pictures; each comes with a text that says what it shows
    widgets.py     its controls: choices, and a picture of each state

What chapters share stands here: `style`, how a picture looks; `board`, on which it is drawn;
`control`, what a control is, in a notebook and on a page; `recorded`, pictures of what a GPU was
measured to do; `detective`, an exercise of two chapters; `my_bag`, the reader's own EmbeddingBag.
Importing this package registers the exercises with `embag_edu.course`; a chapter itself is imported
when it is first asked for.
"""

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embag_edu.course import packages
from embag_edu.course.exercise import Exercise, register
from embag_edu.course.progress import Row, source


def _exercises_of(name: str) -> tuple[Exercise, ...]:
    return tuple(importlib.import_module(f"embag_edu.chapters.{name}.exercises").EXERCISES)


for _folder in pkgutil.iter_modules(__path__):
    if re.fullmatch(r"ch\d\d", _folder.name):
        register(_folder.name[2:], functools.partial(_exercises_of, _folder.name))


def _of_my_bag(what: str) -> Any:
    return getattr(importlib.import_module("embag_edu.chapters.my_bag.handed_in"), what)


packages.register(
    packages.Package(
        "my_bag",
        exercises=lambda: _of_my_bag("EXERCISES"),
        notebook=lambda: _of_my_bag("notebook")(),
        model=lambda: _of_my_bag("model")(),
    )
)


@source
def _stages_of_my_bag(home: Path | None) -> Iterable[Row]:
    checking = importlib.import_module("embag_edu.chapters.my_bag.checking")
    found: Iterable[Row] = checking.rows(home)
    return found
