"""The cache of compiled kernels: where it is, what is in it, how large it may grow.

An entry is a folder under a name made of everything that it was made from. It is written elsewhere
and then renamed, so that no half-written one is ever seen; its digest is checked when it is used,
and one that does not fit is made again. The entry that was used last goes last.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LIMIT = 512 << 20  # bytes of all entries together
_EVERY = 16  # so many new entries are made between two looks at the size of all
_LEFT = re.compile(r"new-\w{8}")  # by a process that was ended while it compiled
_made = 0


def folder() -> Path:
    """Where compiled kernels are kept: EMBAG_CACHE, else this user's folder for caches."""
    if os.environ.get("EMBAG_CACHE"):
        return Path(os.environ["EMBAG_CACHE"])
    return of_this_user() or _temporary(tempfile.gettempdir())


def of_this_user() -> Path | None:
    """Ours in this user's folder for caches; None where that cannot be written."""
    named = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    usual = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    try:
        caches = Path(os.environ.get(named) or Path.home() / usual)
        ours = caches / "embag_edu" / "cuda_on_cpu"
        ours.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=ours):
            return ours
    except (OSError, RuntimeError):  # RuntimeError: a user without a home, as in containers
        return None


@functools.cache
def _temporary(shared: str) -> Path:
    """A folder of ours alone in a folder that all users share: we load libraries from it."""
    if hasattr(os, "getuid"):
        ours = Path(shared) / f"embag_edu_{os.getuid()}"
        try:
            ours.mkdir(mode=0o700, exist_ok=True)
            there = ours.lstat()
        except OSError:
            there = None
        closed = there is not None and stat.S_IMODE(there.st_mode) == 0o700
        if there and closed and stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid():
            return ours
    return Path(tempfile.mkdtemp(prefix="embag_edu_", dir=shared))  # a name that nobody can guess


def cached(key: str, make: Callable[[Path], object]) -> Path:
    """The folder `key` of the cache. `make` fills it where it is missing or damaged."""
    global _made
    entry = folder() / key
    if _whole(entry):
        os.utime(entry)  # used now: among the last to go
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix="new-") as place:
        made = Path(place) / "entry"
        made.mkdir()
        make(made)
        (made / "digest").write_text(_digest(made), encoding="ascii")
        _put(made, entry)
    _made += 1
    if _made % _EVERY == 1:
        shrink(keep=entry)
    return entry


def _digest(entry: Path) -> str:
    """Of the names and bytes of an entry's files."""
    files = sorted(file for file in entry.iterdir() if file.name != "digest")
    digests = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _whole(entry: Path) -> bool:
    try:
        return (entry / "digest").read_text(encoding="ascii") == _digest(entry)
    except (OSError, ValueError):
        return False


def _put(made: Path, entry: Path) -> None:
    """Rename into place. Where another process was faster, its entry is as good as ours."""
    for _ in range(3):
        try:
            os.rename(made, entry)
            return
        except OSError:
            if _whole(entry):
                return
            shutil.rmtree(entry, ignore_errors=True)  # half-written or damaged
    raise OSError(f"the cache entry {entry} cannot be replaced; remove it by hand")


# ---- its size ----


def entries() -> list[tuple[float, int, Path]]:
    """When each entry was last used, its bytes, its folder; the oldest first."""
    found = []
    for entry in folder().iterdir() if folder().is_dir() else ():
        if not ((entry / "digest").is_file() or _LEFT.fullmatch(entry.name)):
            continue  # not ours
        try:
            size = sum(file.stat().st_size for file in entry.iterdir())
            found.append((entry.stat().st_mtime, size, entry))
        except OSError:  # another process has removed it
            continue
    return sorted(found)


def shrink(limit: int | None = None, keep: Path | None = None) -> int:
    """Remove the oldest entries until all together take `limit` bytes; how many were removed."""
    limit = LIMIT if limit is None else limit
    known = [e for e in entries() if not (_LEFT.fullmatch(e[2].name) and _young(e[0]))]
    total, removed = sum(size for _, size, _ in known), 0
    for _, size, entry in known:
        if total <= limit or entry == keep:
            break
        shutil.rmtree(entry, ignore_errors=True)
        total, removed = total - size, removed + 1
    return removed


def _young(moment: float) -> bool:
    """Whether another process may still be writing it."""
    return time.time() - moment < 3600


def main(words: Sequence[str] | None = None) -> int:
    """The command `python -m embag_edu cache`: show what is kept, or remove it."""
    parser = argparse.ArgumentParser("python -m embag_edu cache", description="compiled kernels")
    parser.add_argument("--empty", action="store_true", help="remove all of them")
    empty = parser.parse_args(words).empty
    found = entries()
    size = sum(size for _, size, _ in found) / 2**20
    print(f"{folder()}: {len(found)} entries, {size:.1f} MiB (up to {LIMIT >> 20} MiB are kept)")
    if empty:
        print(f"removed: {shrink(limit=-1)}")
    elif found:
        print("--empty removes them: each is then compiled again when it is needed")
    return 0
