"""Assignments that are a package of files, such as my_bag: handed in as its folder, or its files.

`collect` packs the files of one student into a notebook, with a cell for each:

    %%writefile my_bag/loops.py
    ...

So all that comes after takes it as it takes any other. The answer to each exercise of a package is
these texts; what judges it is a `PackageTask`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embag_edu.course import exercise
from embag_edu.course.exercise import Exercise
from embag_edu.course.notebooks import Cell, Notebook, source
from embag_edu.course.outside import Kernel

WRITTEN = re.compile(r"%%writefile (\w+)/(\w+\.(?:py|cu))\n")
FILE = re.compile(r"\w+\.(py|cu)")
Texts = Mapping[str, str]  # the text of each file, by its name


@dataclass(frozen=True)
class Package:
    """A package that is an assignment, with an exercise for each stage of it.

    name       of its folder. Its exercises are called "NN.name"
    exercises  called when they are asked for
    notebook   the assignment: a section for each exercise, as in a solutions notebook
    model      the files of the model answer
    """

    name: str
    exercises: Callable[[], Sequence[Exercise]]
    notebook: Callable[[], Notebook]
    model: Callable[[], Texts]

    @property
    def file(self) -> str:
        """The name of the assignment's notebook."""
        return f"{self.name}.ipynb"

    def packed(self, texts: Texts) -> Notebook:
        """Files as a notebook of this assignment. Run in an empty folder, it writes them."""
        title, *_ = self.notebook()["cells"]
        return {"cells": [title, *(self._cell(name, text) for name, text in sorted(texts.items()))],
                "metadata": {}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip

    def _cell(self, name: str, text: str) -> Cell:
        text = f"%%writefile {self.name}/{name}\n{text}"
        return {"cell_type": "code", "id": f"file-{name.replace('.', '-')}", "metadata": {},
                "execution_count": None, "outputs": [], "source": text}  # fmt: skip


@dataclass(frozen=True)
class PackageTask:
    """The judge of an exercise whose answer is a package's files.

    here     here(folder) in the reader's own notebook: '' where it is right, else what to say
    outside  the same of the files of a hand-in. start() gives a new box, in which nothing has run;
             until is the time (`time.monotonic`) when the answer must be known
    """

    package: str
    here: Callable[[Any], str]
    outside: Callable[[Texts, Callable[[], Kernel], float], str]

    def __call__(self, mine: Any) -> str:
        return self.here(mine)


_registered: dict[str, Package] = {}


def register(package: Package) -> None:
    """Make a package known. Whoever imports the chapters does so."""
    _registered[package.name] = package


def packages(patterns: Sequence[str] | None = None) -> list[Package]:
    """All packages; or those that a pattern such as "03.my_bag" or "*.my_bag" names."""
    exercise.import_chapters()
    known = list(_registered.values())
    return known if patterns is None else [each for each in known if named(each, patterns)]


def named(package: Package, patterns: Sequence[str]) -> list[str]:
    """The patterns that ask for exercises of a package: "05.*" does not."""
    return [pattern for pattern in patterns if pattern.endswith(f".{package.name}")]


def _find(name: str) -> Exercise | None:
    for package in packages([name]):
        for each in package.exercises():
            if each.name == name:
                return each
    return None


exercise.elsewhere.append(_find)


def texts(notebook: Notebook, package: str) -> dict[str, str]:
    """The files that the cells of a notebook hold: see `Package.packed`."""
    found = {}
    for cell in notebook["cells"]:
        written = WRITTEN.match(source(cell)) if cell["cell_type"] == "code" else None
        if written and written[1] == package:
            found[written[2]] = source(cell)[written.end() :]
    return found
