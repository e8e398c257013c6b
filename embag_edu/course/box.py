"""A process of its own for each submission, with little to reach and a limit for everything.

In every case: a new home and folder for temporary files, an environment of a few names, limits on
memory, processes, files and output, and an end for whatever is left over.

Where Linux lets a user make namespaces (`unshare` is one of the standard tools), the box also has
a file system of its own: Python and the package are there, read-only, and nothing else of this
machine; what is written is in memory. It has no network, and sees no process but its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from embag_edu.course.processes import descendants, end_family, resident
from embag_edu.cuda_on_cpu import cache

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "EMBAG_CXX", "SYSTEMROOT")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGE = Path(__file__).parents[1]
NAMESPACES, PLAIN = "namespaces", "plain"
SAID = {
    NAMESPACES: "each notebook runs in namespaces of its own: without network, with Python and "
    "this package read-only, and nothing else of this machine in sight",
    PLAIN: "each notebook has a process and folders of its own, and limits; but it can read what "
    "you can read, and reach the network. This system offers no more: for strangers' code, use a "
    "container or a virtual machine that holds nothing else",
}

# Called with: the new root, the cache, what is to be seen there, "--", the command.
SETUP = r"""
set -e
root=$1 cache=$2; shift 2
mount -t tmpfs -o size=512m,mode=755 none "$root"
see() { mount --bind "$1" "$root$1"; mount -o remount,bind,ro "$root$1"; }
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root$1"; see "$1"
    elif [ -e "$1" ]; then mkdir -p "$root${1%/*}"; touch "$root$1"; see "$1"; fi
    shift
done
for link in bin lib lib64 sbin; do
    if [ -L /$link ]; then ln -s "$(readlink /$link)" "$root/$link"; fi
done
mkdir -p "$root/proc" "$root/dev/shm" "$root/tmp" "$root/old"
cd "$root"
mkdir -p box/home box/work box/cache box/new box/other
for each in null zero random urandom; do touch dev/$each; mount --bind /dev/$each dev/$each; done
mount -t proc -o ro,nosuid,nodev,noexec proc proc
layers=lowerdir=$cache,upperdir=$root/box/new,workdir=$root/box/other,userxattr
if [ -d "$cache" ]; then mount -t overlay -o "$layers" overlay box/cache || true; fi
pivot_root . old
umount -l /old
rmdir /old
cd /box/work
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs sh -c '"$@"; exit $?' sh "$@"
"""
UNSHARE = "setpriv --pdeathsig KILL unshare --user --map-root-user --mount --net --pid --ipc --uts"
ETC = "/etc/ld.so.cache /etc/passwd /etc/group /etc/localtime /etc/alternatives".split()


@dataclass(frozen=True)
class Limits:
    """What one box may take. Sizes are in bytes."""

    memory: int = 16 << 30  # of addresses, for each process
    processes: int = 512
    file_size: int = 1 << 30
    open_files: int = 512


RESIDENT = 4 << 30  # bytes of memory that a box may really use, all its processes together


class Box:
    """Starts `inside` in a box. `read` and `write` lead to it; `why` says why it was ended."""

    def __init__(self, protection: str = "", limits: Limits = Limits()) -> None:  # noqa: B008
        self.folder = Path(tempfile.mkdtemp(prefix="embag_edu_box_"))
        self.why, self._ended, self._lock = "", threading.Event(), threading.Lock()
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        inside = [sys.executable, "-m", "embag_edu.course.inside", json.dumps(asdict(limits))]
        apart = (protection or available()) == NAMESPACES
        place = Path("/box") if apart else self.folder
        for name in ("home", "work", "tmp", "cache"):
            (self.folder / name).mkdir()
        self.process = subprocess.Popen(
            _apart(self.folder, inside) if apart else inside,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            cwd=self.folder / "work", env=_environment(place, apart), start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.write: Any = self.process.stdin
        self.read: Any = self.process.stdout
        threading.Thread(target=self._watch, args=[limits.processes], daemon=True).start()

    def _watch(self, processes: int) -> None:
        """End the box when all that runs in it takes too much together."""
        while not self._ended.wait(0.25):
            family = [self.process.pid, *descendants(self.process.pid)]
            if len(family) > processes:
                self.end(f"it had more than {processes} processes")
            elif sum(map(resident, family)) > RESIDENT:
                self.end(f"it used more than {RESIDENT >> 30} GiB of memory")

    def said(self) -> str:
        """The last line that the process wrote to stderr before it was ready."""
        self._errors.seek(0)
        lines = self._errors.read(100_000).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self, why: str = "") -> None:
        """End all that runs in the box. The first reason that is given stays."""
        with self._lock:
            self.why = self.why or why
            if not self._ended.is_set():  # later, its number may be another process's
                end_family(self.process.pid)
                self.process.wait()
            self._ended.set()

    def close(self) -> None:
        """End it, and remove what it has written."""
        self.end()
        for file in (self.read, self.write, self._errors):
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def available() -> str:
    """NAMESPACES where this system lets us make them, else PLAIN."""
    if sys.platform != "linux" or not (shutil.which("unshare") and shutil.which("setpriv")):
        return PLAIN
    with tempfile.TemporaryDirectory() as folder:
        command = _apart(Path(folder), [sys.executable, "-c", ""])
        try:
            done = subprocess.run(command, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return PLAIN
    return NAMESPACES if done.returncode == 0 else PLAIN


def _apart(folder: Path, command: list[str]) -> list[str]:
    """The command in namespaces of its own. `folder` is where its file system is put together."""
    root = folder / "root"
    root.mkdir()
    seen = ["/usr", sys.prefix, sys.base_prefix, str(PACKAGE), *ETC]
    # packages may lie elsewhere: the user's own, or an environment that a .pth file names
    seen += [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    compiler = shutil.which(os.environ.get("EMBAG_CXX", ""))
    seen += [str(Path(compiler).parent)] if compiler else []
    seen += [
        f"/{name}" for name in ("bin", "lib", "lib64", "sbin") if not Path("/", name).is_symlink()
    ]
    sets_up = ["--fork", "--kill-child", "sh", "-c", SETUP, "sh", str(root), str(cache.folder())]
    return [*UNSHARE.split(), *sets_up, *dict.fromkeys(seen), "--", *command]


def _environment(place: Path, apart: bool) -> dict[str, str]:
    """The box imports the embag_edu that is grading, and no other."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    tmp, home = "/tmp" if apart else str(place / "tmp"), str(place / "home")
    return kept | dict.fromkeys(THREADS, "1") | {
        "HOME": home, "USERPROFILE": home, "TMPDIR": tmp, "TEMP": tmp, "TMP": tmp,
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1",
        "EMBAG_CACHE": str(place / "cache"), "EMBAG_DEVICE": "cpu",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }  # fmt: skip
