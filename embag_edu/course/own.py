"""The instructor's own: a Python file outside the package, used with `--own FILE`.

    EXERCISES = [Exercise("90.longest", ...)]         of chapters that the book does not have
    HIDDEN = {"03.slope": lambda: [Case(...), ...]}   more cases for the book's, which nobody sees
    POINTS = {"03.slope": 3, "03-ones-answer": 1}     what the book's count in this course
    SEED = "a secret"                                 other random calls, and the seed of variants

Each of the four may be missing. The notebook of the exercises is FILE.ipynb, beside FILE.py.
`validate.py` tries a file before it is used, `visible.py` is what students get of an exercise.
"""

from __future__ import annotations

import argparse
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from embag_edu.course import exercise as exercise_module
from embag_edu.course.exercise import NAME, Case, Exercise, base, chapters, find, unregister

NAMES = ("EXERCISES", "HIDDEN", "POINTS", "SEED")
PACKAGE = Path(__file__).parents[1]


class OwnError(ValueError):
    """A file of the instructor's that cannot be used. Says why."""


@dataclass(frozen=True)
class Own:
    """What such a file holds."""

    path: Path
    exercises: tuple[Exercise, ...] = ()
    hidden: Mapping[str, Callable[[], Sequence[Case]]] = field(default_factory=dict)
    points: Mapping[str, int] = field(default_factory=dict)
    seed: str = ""

    @property
    def notebook(self) -> Path:
        """Where the notebook of the exercises is, or should be."""
        return self.path.with_suffix(".ipynb")

    def changed(self, exercise: Exercise) -> Exercise:
        """An exercise as it is in this course."""
        new: dict[str, Any] = {}
        if exercise.name in self.hidden:
            new["hidden"] = self.hidden[exercise.name]
        if exercise.name in self.points:
            new["points"] = self.points[exercise.name]
        if self.seed and exercise.random_call:
            new["seed"] = self.seed
        return replace(exercise, **new) if new else exercise


_in_use: list[Own] = []


def in_use() -> Own | None:
    """The file that is in use in this process."""
    return _in_use[0] if _in_use else None


def use(path: str | Path) -> Own:
    """Let the exercises of a file be found, and change the book's as it says. OwnError if not."""
    leave()
    found = _checked(_read(Path(path)))
    numbers = {each.name[:2] for each in found.exercises}
    for number in numbers:
        of = [each for each in found.exercises if each.name[:2] == number]
        exercise_module.register(number, lambda of=of: of)  # type: ignore[misc]
    exercise_module.changes.append(found.changed)
    _in_use.append(found)
    return found


def leave() -> None:
    """As it was before `use`."""
    for found in _in_use:
        for each in found.exercises:
            unregister(each.name[:2])
        exercise_module.changes.remove(found.changed)
    _in_use.clear()


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--own FILE` to a command: the file is in use as soon as the words are read."""
    said = "a Python file of your own: exercises, hidden cases, points (see `course validate`)"
    parser.add_argument("--own", metavar="FILE", type=_used, help=said)


def _used(path: str) -> Own:
    try:
        found = use(path)
    except OwnError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if found.exercises and not found.notebook.exists():
        raise argparse.ArgumentTypeError(
            f"there is no {found.notebook}: `python -m embag_edu course validate {path}` makes it"
        )
    return found


def without_option(argv: Sequence[str]) -> list[str]:
    """The words of a command without `--own FILE`."""
    pairs = zip(["", *argv], argv, strict=False)
    return [word for before, word in pairs
            if "--own" not in (before, word) and not word.startswith("--own=")]  # fmt: skip


def files() -> dict[str, bytes]:
    """The file in use and its notebook, for the copy that a release keeps: own/NAME -> bytes."""
    found = in_use()
    paths = [found.path, found.notebook] if found else []
    return {f"own/{path.name}": path.read_bytes() for path in paths if path.exists()}


def is_own(name: str) -> bool:
    """Is this an exercise of the file in use?"""
    found = in_use()
    return found is not None and base(name) in {each.name for each in found.exercises}


# -------------------------------------------------------------------------- reading one


def _read(path: Path) -> Own:
    path = path.absolute()
    if any(path.is_relative_to(seen) for seen in (PACKAGE, sys.prefix, "/usr")):
        raise OwnError(f"{path} is where handed-in code can read it: keep it somewhere else")
    module = ModuleType("own_exercises")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there
    linecache.checkcache(str(path))
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        exec(code, vars(module))
    except OSError as error:
        raise OwnError(f"{path}: {error.strerror}") from None
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)
                 if f.filename == str(path)]  # fmt: skip
        where = f", line {lines[-1]}" if lines else ""
        raise OwnError(f"{path.name}{where}: {type(error).__name__}: {error}") from None
    given = {name.lower(): getattr(module, name) for name in NAMES if hasattr(module, name)}
    if not given:
        raise OwnError(f"{path.name} has none of {', '.join(NAMES)}")
    given["exercises"] = tuple(given.get("exercises", ()))
    return Own(path, **given)


def _checked(own: Own) -> Own:
    """What can be seen without running anything: names, types, what goes together."""
    names = [each.name if isinstance(each, Exercise) else each for each in own.exercises]
    for each, name in zip(own.exercises, names, strict=True):
        if not isinstance(each, Exercise):
            raise OwnError(f"EXERCISES: {each!r} is no Exercise")
        if names.count(name) > 1:
            raise OwnError(f"EXERCISES: there are two called {name!r}")
        if name[:2] in chapters():
            raise OwnError(f"EXERCISES: chapter {name[:2]} is the book's; take another, like '90'")
        tools = each.tools
        if tools and (tools.__module__.partition(".")[0] != "embag_edu"):
            raise OwnError(f"{name}: tools must be a function of embag_edu.course.tools")
    _check_tables(own)
    return own


def _check_tables(own: Own) -> None:
    for table in (own.hidden, own.points):
        if not isinstance(table, Mapping):
            raise OwnError(f"HIDDEN and POINTS are dicts, name -> what it has; found {table!r}")
        for name in table:
            if name in {each.name for each in own.exercises}:
                raise OwnError(f"{name} is your own: give it hidden= and points= in its Exercise")
            if NAME.fullmatch(name) or table is own.hidden:
                _find(name)
    for name, cases in own.hidden.items():
        if not callable(cases) or _find(name).judge is not None:
            raise OwnError(f"HIDDEN: {name} wants a function that returns cases, and no judge")
    for name, points in own.points.items():
        if type(points) is not int or points < 1:
            raise OwnError(f"POINTS: {name} has {points!r}; it must be 1 or more, and whole")
    if not isinstance(own.seed, str):
        raise OwnError(f"SEED is {own.seed!r}; it must be a text")


def _find(name: str) -> Exercise:
    try:
        return find(name)
    except LookupError as error:
        raise OwnError(str(error)) from None
