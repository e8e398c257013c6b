"""The files that came in: from folders, and from zip files in which anything may stand.

Nothing is unpacked, only read; what is no plain file with a plain name is refused, and named.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from embag_edu.course.hand_ins import CHECKPOINTS
from embag_edu.course.notebooks import LARGEST

TOTAL = 1 << 30  # bytes that are read out of one zip file, and out of those in it
ENTRIES = 20_000  # of one zip file
SKIPPED = {CHECKPOINTS, "__MACOSX", "__pycache__"}  # what programs leave behind


@dataclass(frozen=True)
class Incoming:
    """A file that came in.

    parts  where it was, from the folder that was given: ("alice", "work.zip", "03.ipynb")
    refused  why it is not taken; '' where it is
    """

    parts: tuple[str, ...]
    when: datetime
    data: bytes = b""
    refused: str = ""

    @property
    def place(self) -> str:
        return "/".join(self.parts)


def read(given: Path) -> Iterator[Incoming]:
    """All files of a folder, and of the zip files in it."""
    for folder, folders, names in os.walk(given):
        for name in sorted(folders):
            if (Path(folder) / name).is_symlink():
                names.append(name)
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            path = Path(folder) / name
            yield from one(path, path.relative_to(given).parts)


def one(path: Path, parts: tuple[str, ...]) -> Iterator[Incoming]:
    """One file; of a zip file, all that is in it."""
    try:
        found = path.lstat()
        when = datetime.fromtimestamp(found.st_mtime)
        if not stat.S_ISREG(found.st_mode):
            yield Incoming(parts, when, refused="a link" if path.is_symlink() else "no plain file")
        elif path.suffix.lower() == ".zip":
            with path.open("rb") as file:
                yield from _zip(file, parts, when, [TOTAL])
        elif found.st_size > LARGEST:
            yield Incoming(parts, when, refused=f"larger than {LARGEST:,} bytes")
        else:
            yield Incoming(parts, when, path.read_bytes())
    except OSError as error:
        yield Incoming(parts, datetime.min, refused=str(error))


def _zip(
    file: IO[bytes], parts: tuple[str, ...], when: datetime, left: list[int]
) -> Iterator[Incoming]:
    """left: how many bytes may still be read, in one place for a zip file and those in it."""
    try:
        with zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
            if len(entries) > ENTRIES:
                raise zipfile.BadZipFile(f"it has {len(entries):,} entries")
            for entry in entries:
                yield from _entry(packed, entry, parts, left)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield Incoming(parts, when, refused=f"a zip file that cannot be read: {error}")


def _name(entry: zipfile.ZipInfo) -> str:
    """An entry's name. Many programs write UTF-8 and do not say so; then it is read as cp437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _entry(
    packed: zipfile.ZipFile, entry: zipfile.ZipInfo, outer: tuple[str, ...], left: list[int]
) -> Iterator[Incoming]:
    inner = tuple(_name(entry).replace("\\", "/").split("/"))
    parts = (*outer, *inner)
    try:
        when = datetime(*entry.date_time)
    except ValueError:
        when = datetime.min
    why = _refused(entry, inner, left)
    if why:
        yield Incoming(parts, when, refused=why)
    if why or entry.is_dir() or SKIPPED & set(inner):
        return
    try:
        with packed.open(entry) as file:
            data = file.read(min(LARGEST, left[0]) + 1)  # the size it states may be a lie
    except Exception as error:  # zlib and others have errors of their own
        yield Incoming(parts, when, refused=f"cannot be unpacked: {error}")
        return
    left[0] -= len(data)
    if len(data) > LARGEST or left[0] < 0:
        yield Incoming(parts, when, refused="larger than it says")
    elif inner[-1].lower().endswith(".zip") and sum(p.lower().endswith(".zip") for p in parts) < 4:
        yield from _zip(io.BytesIO(data), parts, when, left)
    else:
        yield Incoming(parts, when, data)


def _refused(entry: zipfile.ZipInfo, inner: tuple[str, ...], left: list[int]) -> str:
    """Why an entry is not even opened; '' where it may be."""
    if ".." in inner:
        return "its name leads out of the zip file"
    if inner[0] == "" or inner[0][1:2] == ":":
        return "its name is absolute"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if kind == stat.S_IFLNK else "no plain file"
    if entry.flag_bits & 1:
        return "encrypted"
    if entry.file_size > min(LARGEST, left[0]):
        return f"too large when unpacked ({entry.file_size:,} bytes)"
    return ""
