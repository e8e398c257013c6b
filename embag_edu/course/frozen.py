"""A term is stable: the package as it was when exercises were handed out.

`release` puts a copy of the package beside what it writes, and of the instructor's own file; for
the instructor alone. Where another one is installed when hand-ins are marked, `grade` lets the copy
mark them, in a process of its own, and then names the answers of which the installed one thinks
otherwise.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from embag_edu.course import own
from embag_edu.course.marks import Mark, clean
from embag_edu.text import aligned

PACKAGE = Path(__file__).parents[1]
COPY = "--by-the-copy"  # said to a process that is to mark by the copy
LEFT_OUT = {"__pycache__", "_book"}  # a release holds the notebooks itself


class NotFrozen(ValueError):
    """The package of a release is not the installed one, and its copy is not there."""


def package() -> dict[str, bytes]:
    """All files of the installed package, and the instructor's own that are in use, by name."""
    paths = (p for p in sorted(PACKAGE.rglob("*")) if p.is_file() and not LEFT_OUT & set(p.parts))
    found = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in paths}
    return found | own.files()


def digest(files: Mapping[str, bytes]) -> str:
    """One number for what a package does: of each file's name and bytes."""
    found = hashlib.sha256()
    for name, data in sorted(files.items()):
        found.update(f"{name} {len(data)}\n".encode() + data)
    return found.hexdigest()


def beside(release: str | Path) -> Path:
    """Where the copy for a release lies: week3.frozen.zip for week3 and for week3.zip."""
    path = Path(release)
    return path.with_name(f"{path.name.removesuffix('.zip')}.frozen.zip")


def write(files: Mapping[str, bytes], path: Path) -> None:
    """Write the copy."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)


@contextlib.contextmanager
def copy_of(release: str | Path, wanted: str) -> Iterator[Path]:
    """A folder with the copy for a release. NotFrozen where there is none with this digest."""
    path = beside(release)
    try:
        with zipfile.ZipFile(path) as packed:
            files = {name: packed.read(name) for name in packed.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise NotFrozen(
            f"{release} was made by another version of this package, or of a file of your own, "
            f"and the copy cannot be read ({error}). Put {path.name} back beside it."
        ) from None
    if digest(files) != wanted:
        raise NotFrozen(f"{path} is not the copy that was made with {release}")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(data)
        yield Path(folder)


@contextlib.contextmanager
def own_of(release: str | Path) -> Iterator[None]:
    """Use the instructor's own file that a release was made with, unless another is in use."""
    path = beside(release)
    if own.in_use() or not zipfile.is_zipfile(path):
        yield
        return
    with zipfile.ZipFile(path) as packed, tempfile.TemporaryDirectory() as folder:
        names = [name for name in packed.namelist() if name.startswith("own/")]
        packed.extractall(folder, names)
        try:
            for name in names:
                if name.endswith(".py"):
                    own.use(Path(folder, name))
            yield
        finally:
            own.leave()


def stands_for(wanted: str, copy: bool) -> bool:
    """Is the package that runs the one that made a release, of this digest?

    copy: it should be, in a process that `grade` has started. NotFrozen where it is another one all
    the same: that process must not start one more.
    """
    same = digest(package()) == wanted
    if not same and copy:
        raise NotFrozen(f"the copy of the package was not started: {PACKAGE} ran in its place")
    return same


def grade(copy: Path, words: Sequence[str]) -> int:
    """`course grade` by the copy; its exit status."""
    # -P: else a package in the folder that we are in would come before the copy
    command = [sys.executable, "-P", "-m", "embag_edu", "course", "grade", *words, COPY]
    return subprocess.call(command, env={**os.environ, "PYTHONPATH": str(copy)})


def differences(then: Sequence[Mark], now: Sequence[Mark]) -> str:
    """The answers that have other points now, as a table; '' for none.

    then: as read from a table, where what cannot be shown is missing from names.
    """
    new = {(clean(mark.notebook), mark.exercise): mark for mark in now}
    rows = [("student", "exercise", "as handed out", "now", "what is said now")]
    for old in (mark for mark in then if mark.notebook):
        mark = new.get((clean(old.notebook), old.exercise))
        points, remark = (mark.points, clean(mark.remark)) if mark else ("none", "")
        if points != old.points:
            before = f"{old.points} of {old.out_of}"
            rows.append((old.student, old.exercise, before, str(points), remark))
    return aligned(rows) if len(rows) > 1 else ""
