"""What was handed in, and by whom: files, folders and patterns to paths with names."""

from __future__ import annotations

import csv
import glob
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embag_edu.course.marks import clean

RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
CHECKPOINTS = ".ipynb_checkpoints"  # Jupyter's own copies


@dataclass(frozen=True)
class HandIn:
    """A notebook file and whose it is."""

    path: Path
    student: str


def found(given: Sequence[str | Path], roster: dict[str, str] | None = None) -> list[HandIn]:
    """The notebooks of files, folders (all .ipynb below them) and patterns like 'in/*.ipynb'.

    A name is the roster's where a part of the path stands there. Else it is the file's own; or,
    where files of one name lie in several folders, that of the first folder in which they differ.
    A file that is not there is listed all the same: it gets a mark that says so.
    """
    paths = list(dict.fromkeys(path for each in given for path in _paths(str(each))))
    return [HandIn(path, _by_roster(path, roster or {}) or name)
            for path, name in zip(paths, _names(paths), strict=True)]  # fmt: skip


def _paths(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        return sorted(p for p in path.rglob("*.ipynb") if CHECKPOINTS not in p.parts)
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
    return matches or [path]  # a shell of Windows hands '*.ipynb' on as it is


def _names(paths: Sequence[Path]) -> list[str]:
    stems = Counter(path.stem for path in paths)
    shared = [path for path in paths if stems[path.stem] > 1]
    depth = _first_difference([path.absolute().parts for path in shared])
    return [path.absolute().parts[depth] if stems[path.stem] > 1 else path.stem for path in paths]


def _first_difference(parts: Sequence[tuple[str, ...]]) -> int:
    """The first place at which not all of these are alike."""
    return next(
        (at for at, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1), -1
    )


def read_roster(path: str | Path) -> dict[str, str]:
    """A roster: CSV with two columns, a name of a file or folder, and a student.

    A first row that begins with "file" or "folder" is a heading. ValueError for a row that lacks
    one of the two.
    """
    roster = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not any(row) or (number == 1 and row[0].strip().lower() in ("file", "folder")):
                continue
            if len(row) < 2 or not row[0].strip() or not row[1].strip():
                raise ValueError(
                    f"{path}, row {number}: {row} needs two columns: a file or folder, a student"
                )
            roster[row[0].strip()] = row[1].strip()
    return roster


def _by_roster(path: Path, roster: dict[str, str]) -> str:
    """The student of this path: by the path itself, its file's name, then the folders upwards."""
    keys = [str(path), path.name, path.stem, *reversed(path.parts[:-1])]
    return next((roster[key] for key in keys if key in roster), "")


def without_hand_in(hand_ins: Sequence[HandIn], roster: dict[str, str]) -> list[str]:
    """The students of the roster from whom there is nothing."""
    there = {each.student for each in hand_ins}
    return [student for student in dict.fromkeys(roster.values()) if student not in there]


def folder_name(student: str) -> str:
    """A name of a student as that of a folder, on every system."""
    name = unicodedata.normalize("NFC", clean(student))
    fits = (unicodedata.category(c)[0] in "LMN" or c in " .,'()-_" for c in name)
    safe = "".join(c if good else "_" for c, good in zip(name, fits, strict=True))
    safe = safe.strip(" .'-")[:80].strip() or "unnamed"
    return f"{safe}_" if safe.partition(".")[0].lower() in RESERVED else safe
