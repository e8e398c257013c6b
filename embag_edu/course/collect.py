"""From a download to one folder a student: `python -m embag_edu course collect IN... OUT`.

Who a file is from is seen by its name, in the forms of Moodle and Canvas, or by its folder; which
assignment it is, by what stands in it. The newest hand-in of an assignment is kept. The files of a
package are put into one notebook. Nothing of what came in is run.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from embag_edu.course import hand_ins, incoming, notebooks, own, packages, release
from embag_edu.course.grading import original_of
from embag_edu.course.hand_ins import folder_name
from embag_edu.course.incoming import Incoming
from embag_edu.course.marks import cell_text, clean
from embag_edu.course.notebooks import Notebook
from embag_edu.course.packages import FILE, Package

MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)")
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_late)?_(?P<id>\d+)_\d+_(?P<file>.+\.\w+)", re.I)
# Canvas, where an assignment is graded anonymously: a sign of five letters in place of the name
ANONYMOUS = re.compile(
    r"(?P<late>LATE_)?(?P<name>anon_(?P<id>[0-9A-Za-z]{5}))_\d+_(?P<file>.+\.\w+)"
)
FORMS = (MOODLE, ANONYMOUS, CANVAS)
AGAIN = re.compile(r"-(\d+)(?=\.\w+$)")  # Canvas: the second hand-in is x-1.ipynb


@dataclass(frozen=True)
class Sender:
    """Whom a file is from: a name, and the number that a download gives to this person ('')."""

    name: str
    number: str = ""
    late: bool = False
    folder: tuple[str, ...] = ()  # in which a download's own name was found


@dataclass(frozen=True)
class Row:
    """What became of one file. `became`: "taken", "older", "refused", or "not needed"."""

    student: str
    notebook: str
    came_as: str
    became: str
    remark: str = ""


def _form(name: str) -> re.Match[str] | None:
    return next((match for form in FORMS if (match := form.fullmatch(name))), None)


def sender(parts: tuple[str, ...], common: int = 0, forms: bool = True) -> Sender:
    """Whom a file is from, by the first of its folders or names in a download's form.

    Else it is the first folder after the `common` ones, in which all files lie; else the file.
    """
    parts = tuple(unicodedata.normalize("NFC", part) for part in parts)
    for at, part in enumerate(parts if forms else ()):
        if match := _form(part):
            late = bool(match.groupdict().get("late"))
            return Sender(match["name"], match["id"], late, parts[:at])
    name = parts[min(common, len(parts) - 1)]
    return Sender(re.sub(r"\.(zip|ipynb)$", "", name, flags=re.I))


def _senders(files: Sequence[Incoming], originals: dict[str, Notebook]) -> list[Sender]:
    """Whom each of these files is from, which came together.

    A download has what one person sent in one folder: a name in its form in several is none. And
    several files of one assignment in the only folder are from as many students.
    """
    taken = [file for file in files if not file.refused]
    parts = [_outside_package(file.parts, originals) for file in files]
    folders = [each[:-1] for each, file in zip(parts, files, strict=True)
               if len(each) > 1 and not file.refused]  # fmt: skip
    shared = len(os.path.commonprefix(folders)) if folders else 0
    common = min([shared, *(len(each) - 1 for each in folders)])
    found = [sender(each, common) for each in parts]
    places = defaultdict(set)
    for by in found:
        places[by.name, by.number].add(by.folder)
    found = [by if len(places[by.name, by.number]) == 1 else sender(each, common, False)
             for each, by in zip(parts, found, strict=True)]  # fmt: skip
    if len({by.name for by in found}) == 1 and not found[0].number:
        kinds = [_assignment(file, originals) for file in taken]
        stems = {file.parts[-1] for file in taken}
        if len(set(kinds)) < len(kinds) == len(stems):
            return [sender(file.parts[-1:], forms=False) for file in files]
    return found


def _outside_package(parts: tuple[str, ...], originals: dict[str, Notebook]) -> tuple[str, ...]:
    """Where a file was, without the folder of a package: that is nobody's name."""
    is_package = len(parts) > 2 and f"{parts[-2]}.ipynb" in originals
    return (*parts[:-2], parts[-1]) if is_package else parts


def collect(
    given: Sequence[Path],
    out: Path,
    originals: dict[str, Notebook],
    roster: dict[str, str] | None = None,
    due: datetime | None = None,
) -> list[Row]:
    """Write out/STUDENT/NOTEBOOK.ipynb, and two tables: collected.csv and roster.csv.

    roster: name, login, number or folder -> student. due: what is newer is called late.
    """
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: name a new folder")
    came: list[Incoming] = []
    senders: list[Sender] = []
    for group in _groups(given):
        files = [f for f in group if f.refused or f.parts[-1][:1] != "."]
        came += files
        senders += _senders(files, originals)
    names = _students(senders, roster or {})
    rows, groups, packed = [], defaultdict(list), defaultdict(list)
    package = next((each for each in packages.packages() if each.file in originals), None)
    for file, by in zip(came, senders, strict=True):
        name = names[by.name, by.number]
        late = by.late or (due is not None and file.when > due)
        if package and not file.refused and _may_be_part(package, file):
            packed[name].append((file, late))
        elif file.refused or not file.parts[-1].lower().endswith(".ipynb"):
            rows.append(Row(name, "", file.place, "refused", file.refused or "no notebook"))
        else:
            groups[name, _assignment(file, originals)].append((file, late))
    for name, found in sorted(packed.items()):
        assert package is not None
        rows += _pack(out, name, package, found)
    written = {(row.student, row.notebook) for row in rows if row.became == "taken"}
    for (name, notebook), found in sorted(groups.items()):
        if (name, notebook) in written:
            rows += [Row(name, notebook, file.place, "not needed", "the files count")
                     for file, _ in found]  # fmt: skip
        else:
            rows += _keep_newest(out, name, notebook, found)
    _write_tables(out, rows, roster or {})
    return rows


def _groups(given: Sequence[Path]) -> Iterator[list[Incoming]]:
    """What came in each folder; and the files that were given one by one."""
    yield from (list(incoming.read(path)) for path in given if path.is_dir())
    paths = [path.absolute() for path in given if not path.is_dir()]
    if paths:
        base = os.path.commonpath([path.parent for path in paths])
        yield [f for path in paths for f in incoming.one(path, path.relative_to(base).parts)]


def _students(senders: Sequence[Sender], roster: dict[str, str]) -> dict[tuple[str, str], str]:
    """The student of each (name, number): by the roster, else the name as that of a folder.

    Where several people have one name, the number stands behind it.
    """
    listed = {by: roster.get(by.number) or roster.get(by.name) for by in senders}
    # Who has one name: for those of the roster, people with other numbers.
    people: dict[str, set[str]] = defaultdict(set)
    for by, name in listed.items():
        person = by.number if name else f"{by.name} {by.number}"
        people[folder_name(name or by.name).casefold()] |= {person} - {""}
    found = {}
    for by, name in listed.items():
        label = name or by.name
        several = len(people[folder_name(label).casefold()]) > 1
        found[by.name, by.number] = folder_name(f"{label} {by.number}" if several else label)
    return found


def _assignment(file: Incoming, originals: dict[str, Notebook]) -> str:
    """The name of the notebook that was handed out; for what is none of them, the file's own."""
    try:
        original = original_of(notebooks.parsed(file.data), list(originals.values()))
        return next(name for name, each in originals.items() if each is original)
    except ValueError:
        return f"{folder_name(file.parts[-1][: -len('.ipynb')])}.ipynb"


def _canvas(name: str) -> re.Match[str] | None:
    return ANONYMOUS.fullmatch(name) or CANVAS.fullmatch(name)


def _age(entry: tuple[Incoming, bool]) -> tuple[int, datetime]:
    """Canvas numbers what was handed in again; else the time of the file counts."""
    named = (AGAIN.search(part) for part in entry[0].parts if _canvas(part))
    return max((int(again[1]) for again in named if again), default=0), entry[0].when


def _keep_newest(
    out: Path, student: str, notebook: str, found: Sequence[tuple[Incoming, bool]]
) -> list[Row]:
    *older, newest = sorted(found, key=_age)
    path = out / student / notebook
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(newest[0].data)
    rows = [Row(student, notebook, newest[0].place, "taken", "late" * newest[1])]
    for file, late in older:
        same = "the same bytes" if file.data == newest[0].data else "another text"
        rows.append(Row(student, notebook, file.place, "older", same + ", late" * late))
    return rows


def _may_be_part(package: Package, file: Incoming) -> bool:
    """Is it in a package's folder, or of the kinds that a package holds?"""
    return package.name in file.parts[:-1] or bool(FILE.fullmatch(_name_in_package(file)))


def _name_in_package(file: Incoming) -> str:
    """loops.py, which Canvas may have called doejane_11_12_loops-1.py."""
    given = _canvas(file.parts[-1])
    return AGAIN.sub("", given["file"]) if given else file.parts[-1]


def _pack(
    out: Path, student: str, package: Package, found: Sequence[tuple[Incoming, bool]]
) -> list[Row]:
    """Put the newest file of each name into one notebook. A folder of the package's name counts;
    where there is none, all files do."""
    inside = [entry for entry in found if entry[0].parts[-2:-1] == (package.name,)]
    rows: list[Row] = []
    texts: dict[str, str] = {}
    for file, late in sorted(found, key=_age, reverse=True):
        name, text = _name_in_package(file), _text(file)
        belongs = FILE.fullmatch(name) and (not inside or (file, late) in inside)
        if not belongs:
            became, why = "not needed", f"no file of {package.name}"
        elif name in texts:
            same = "the same text" if text == texts[name] else "another text"
            became, why = "older", same + ", late" * late
        elif text is None:
            became, why = "refused", "not text in UTF-8"
        else:
            texts[name] = text
            became, why = "taken", "late" * late
        rows.append(Row(student, package.file * bool(belongs), file.place, became, why))
    path = out / student / package.file
    if texts:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebooks.written(package.packed(texts)), encoding="utf-8")
    return rows


def _text(file: Incoming) -> str | None:
    try:
        return file.data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def _write_tables(out: Path, rows: Sequence[Row], roster: dict[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "collected.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__annotations__)
        writer.writerows([cell_text(value) for value in vars(row).values()] for row in rows)
    there = sorted({row.student for row in rows if row.became == "taken"})
    absent = sorted({folder_name(name) for name in roster.values()} - set(there))
    with open(out / "roster.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("folder", "student"), *((n, n) for n in there + absent)])


def main(argv: list[str]) -> int:
    """`collect IN... OUT [--roster FILE] [--due TIME] [--release OF]`. 1: some were refused."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course collect")
    parser.add_argument("given", nargs="+", type=Path, metavar="in", help="folders, zips, files")
    parser.add_argument("out", type=Path, help="a new folder: one folder a student")
    parser.add_argument("--roster", help="a CSV file: name, login, number or folder; student")
    parser.add_argument("--due", type=datetime.fromisoformat, help='"2026-10-12 23:59"')
    parser.add_argument("--release", help="what was handed out (by default, the whole book)")
    own.add_option(parser)
    options = parser.parse_args(argv)
    try:
        missing = [str(path) for path in options.given if not path.exists()]
        if missing:
            raise FileNotFoundError(f"there is no {', '.join(missing)}")
        roster = hand_ins.read_roster(options.roster) if options.roster else {}
        originals = release.named(options.release) if options.release else {
            path.name: notebooks.student_copy(notebooks.solved(path))
            for path in notebooks.solutions()
        } | {
            package.file: notebooks.student_copy(notebooks.as_counted(package.notebook()))
            for package in packages.packages()
        }  # fmt: skip
        rows = collect(options.given, options.out, originals, roster, options.due)
    except (OSError, ValueError) as error:
        print(f"Not collected. {clean(str(error))}")
        return 2
    taken = [row for row in rows if row.became == "taken"]
    for row in rows:
        if row.became != "not needed" and (row not in taken or row.remark):
            told = f"{row.became}: {row.came_as} ({row.student}). {row.remark}"
            print(clean(told))
    written = {(row.student, row.notebook) for row in taken}
    print(f"{len(written)} notebooks of {len(dict(written))} students in", options.out)
    return 1 if any(row.became == "refused" for row in rows) else 0
