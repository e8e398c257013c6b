"""The reader's own copy of the book, `my_book/`: nothing that a reader writes in it is ever lost.

    python -m embag_edu book      make or renew it, and print its folder

A file that the reader has not changed is renewed when the book's is. One that the reader has
changed is never touched: the book's new version comes beside it, as 03_backward_new.ipynb. A file
that is missing comes back, so whoever wants a page afresh renames or deletes it.

"Changed" is what a reader can write: of a notebook, its cells' types, texts and attachments.
Outputs, execution counts, metadata and empty cells do not count, for running a page changes them.
So the outputs of a page that was only run are replaced when that page is renewed.

What was copied is recorded in the folder, in RECORD: the record says which folder is a copy, too.
Standard library only, and no import of ours: run.py loads this file by its path.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[2] / "book"
# From a wheel, the book lies in the package.
BOOK = CLONE if (CLONE / "solutions").is_dir() else Path(__file__).resolve().parents[1] / "_book"
RECORD = ".embag_edu.json"
ABOUT = "What was copied from book/, by hash. Do not edit; without this file nothing is lost."
# {file: {"book": hash of the bytes that were copied, "known": hashes of what the book had written
# in it, "gone": short hashes of the cells that the version before had and this one has not}}
Record = dict[str, dict[str, Any]]
Plan = list[tuple[str, str]]  # (place in the copy, file of the book)


class NotCopied(Exception):
    """The copy could not be made or renewed. Its text is one line: what is wrong, and the fix."""


def folder() -> Path | None:
    """The working copy that this process is in: the current folder or one above it, else the one
    that the environment variable EMBAG_BOOK names; None where neither is a working copy.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted under our feet
        return None
    named = os.environ.get("EMBAG_BOOK")
    for place in [here, *here.parents, *([Path(named).resolve()] if named else [])]:
        if (place / RECORD).is_file():
            return place
    return None


# -------------------------------------------------------------------------- what a reader writes


def digest(name: str, data: bytes) -> str:
    """A hash of what a reader can have written in a file of this name."""
    try:
        return _hash("\n".join(_cells(name, data)).encode())
    except (ValueError, TypeError, LookupError, AttributeError):
        return _hash(data)  # no notebook (or one that is half saved): all of its bytes count


def _cells(name: str, data: bytes) -> list[str]:
    """What is written in each cell of a notebook. Raises an error for what is none."""
    if not name.endswith(".ipynb"):
        raise ValueError(name)
    cells = []
    for cell in json.loads(data)["cells"]:
        text = "".join(cell["source"]).replace("\r\n", "\n")
        if text.strip():
            written = [cell["cell_type"], text, cell.get("attachments") or {}]
            cells.append(json.dumps(written, sort_keys=True))
    return cells


def _cell_hashes(name: str, data: bytes) -> set[str]:
    """A short hash of each cell; none for what is no notebook."""
    try:
        return {_hash(cell.encode())[:16] for cell in _cells(name, data)}
    except (ValueError, TypeError, LookupError, AttributeError):
        return set()


def _digest_of(path: Path) -> str:
    """The same of a file; "" where there is none, and a word for what is no file."""
    if path.is_file():
        return digest(path.name, path.read_bytes())
    return "no file" if os.path.lexists(path) else ""  # a folder, or a link that leads nowhere


# -------------------------------------------------------------------------- making and renewing


def renew(book: Path, copy: Path) -> list[str]:
    """Make `copy` from the folder `book`, or bring it up to date. Returns the lines to tell.

    Raises NotCopied where that cannot be done, wholly or in part; what was there is as it was.
    It may be broken off at any moment: the next call goes on from there.
    """
    first = not copy.exists()
    if book.resolve() in (copy.resolve(), *copy.resolve().parents):
        raise NotCopied(f"{copy} lies in the book itself: name another folder for your copy.")
    try:
        copy.mkdir(parents=True, exist_ok=True)
        record = _read_record(copy)
        plan = list(_plan(book, copy, record))
        # The record goes first: a file is known as the book's before it is there.
        if plan or not (copy / RECORD).exists():
            _write_record(copy, record)
        written, failed = _deliver_all(book, copy, plan, record)
        if plan:
            _write_record(copy, record)
    except OSError as error:
        raise NotCopied(_no_rights(copy, error)) from None
    if failed:
        raise NotCopied(
            f"{len(failed)} of {len(plan)} files could not be written, {failed[0]} among them. See"
            f" that the disk has room, that no program has them open, and that you may write in"
            f" {copy}; then run this again."
        )
    return _told(copy, written, first)


def _names(book: Path) -> list[str]:
    """The files of the book, as "exercises/01_bags.ipynb", without hidden ones."""
    paths = (path.relative_to(book) for path in book.rglob("*") if path.is_file())
    shown = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in shown)


def _plan(book: Path, copy: Path, record: Record) -> Iterator[tuple[str, str]]:
    """What is to be written. Makes it known to `record`."""
    own = _written_in_the_book(book)
    for name in _names(book):
        data = (book / name).read_bytes()
        place = _place(copy, name, data, record)
        if place:
            texts = [] if name in own else [digest(name, data)]
            before = _digest_of(copy / place)
            known = before in record.get(place, {}).get("known", []) and before not in texts
            record.setdefault(place, {})["known"] = ([before] if known else []) + texts
            yield place, name


def _place(copy: Path, name: str, data: bytes, record: Record) -> str | None:
    """Where this version of a file belongs; None where the reader has it, or has had it."""
    for place in _beside(name):
        entry, text = record.get(place, {}), _digest_of(copy / place)
        had = entry.get("book") == _hash(data) and (text or place != name)
        if had and not _is_older(copy / place, entry):
            return None
        if text in ("", digest(name, data), *entry.get("known", [])):
            return place
    return None  # not reached: the names never end


def _is_older(path: Path, entry: dict[str, Any]) -> bool:
    """Was a page that was open while it was renewed saved over the new version? It then has cells
    that the new version has not.
    """
    gone = set(entry.get("gone", ()))
    return bool(gone and path.is_file() and gone & _cell_hashes(path.name, path.read_bytes()))


def _beside(name: str) -> Iterator[str]:
    """03.ipynb, 03_new.ipynb, 03_new2.ipynb ...: names that every system takes."""
    yield name
    start, dot, end = name.rpartition(".")
    number = 1
    while True:
        yield f"{start}_new{number if number > 1 else ''}{dot}{end}"
        number += 1


def _written_in_the_book(book: Path) -> set[str]:
    """Files of book/ that are not as git has them: someone has written in them, a reader perhaps.

    They are copied like the others, and then count as changed by the reader.
    """
    command = ["git", "-c", "core.fileMode=false", "diff", "--name-only", "-z", "--relative"]
    try:
        done = subprocess.run(
            [*command, "HEAD", "--", "."],
            cwd=book,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:  # no git here
        return set()
    return set(filter(None, done.stdout.split("\0")))


def _deliver_all(book: Path, copy: Path, plan: Plan, record: Record) -> tuple[Plan, list[str]]:
    """Write what is planned. Returns what was written, and the places where that failed."""
    written, failed = [], []
    for place, name in plan:
        try:
            if _deliver(book / name, copy, place, record):
                written.append((place, name))
        except OSError:
            failed.append(place)
    return written, failed


def _deliver(source: Path, copy: Path, place: str, record: Record) -> bool:
    """Put one file in its place, whole or not at all. Was there anything to write?"""
    data, path = source.read_bytes(), Path(os.path.realpath(copy / place))
    if _digest_of(path) not in ("", digest(place, data), *record[place]["known"]):
        return False  # saved by the reader just now: the next call finds it changed
    before = path.read_bytes() if path.is_file() else b""
    gone = _cell_hashes(place, before) - _cell_hashes(place, data)
    if before != data or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, data)
    record[place] |= {"book": _hash(data), "gone": sorted(gone)}
    return before != data


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, whoever else writes it at the same time."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_record(copy: Path) -> Record:
    """The record of a copy. Without one (or with one that cannot be read) all files that differ
    from the book's count as changed by the reader.
    """
    try:
        files = json.loads((copy / RECORD).read_bytes())["files"]
        return {
            name: {
                "book": e.get("book"),
                "known": list(e["known"]),
                "gone": list(e.get("gone", ())),
            }
            for name, e in files.items()
        }
    except (FileNotFoundError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def _write_record(copy: Path, record: Record) -> None:
    text = json.dumps({"about": ABOUT, "files": record}, indent=1, sort_keys=True)
    replace(copy / RECORD, text.encode())


# -------------------------------------------------------------------------- what is told


def _told(copy: Path, written: Plan, first: bool) -> list[str]:
    if first:
        return [f"Your own copy of the book is {copy}. Write there: it is never overwritten."]
    lines = [
        f"You have changed {name}, and the book has too: its new version is beside it, {place}."
        for place, name in written
        if place != name
    ]
    count = len(written) - len(lines)
    return [f"New in your copy: {count} file{'s' * (count > 1)}.", *lines] if count else lines


def _no_rights(copy: Path, error: OSError) -> str:
    return (
        f"Your copy of the book cannot be written: {error.filename or copy}"
        f" ({error.strerror or error}). Make it a folder that you may write in, or name another"
        " one in the environment variable EMBAG_BOOK; then run this again."
    )


def copy_of(root: Path) -> Path:
    """Where the working copy of the book in `root` belongs: EMBAG_BOOK, or my_book beside it."""
    return Path(os.environ.get("EMBAG_BOOK") or root / "my_book").resolve()


def own_copy() -> Path:
    """Where it belongs here: beside the book of a clone; without one, in the current folder."""
    return copy_of(CLONE.parent) if BOOK == CLONE else folder() or copy_of(Path.cwd())


def main(words: list[str]) -> int:
    """`book`: make or renew the working copy; its folder is printed, all else goes to stderr."""
    if words:
        print("usage: python -m embag_edu book", file=sys.stderr)
        return 0 if words in (["-h"], ["--help"]) else 2
    try:
        copy = own_copy()
        told = renew(BOOK, copy)
    except NotCopied as error:
        print(error, file=sys.stderr)
        return 1
    print(*told, sep="\n", end="\n" if told else "", file=sys.stderr)
    print(copy)
    return 0
