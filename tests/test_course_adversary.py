"""Hostile and broken submissions in one batch with honest ones (pytest -m adversary -s).

Each gets its own mark; the honest ones' rows are the same to the byte as without the others; no
process is left, and nothing is written. Only loopback addresses are used.
"""

import csv
import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest
from test_course_grading import SOLVED, STUB, cell, handed_in, write

import embag_edu
from embag_edu.course import box, grading, notebooks
from embag_edu.course.exercise import find

pytestmark = pytest.mark.adversary
PACKAGE = Path(embag_edu.__file__).parent
SECRET = "swordfish"
WRONG = "def offsets(lengths):\n    return lengths"
TAKEN = "offsets_of = find('01.offsets').reference"


def answer(body, before=""):
    """A notebook whose answer to 01.offsets is this body of a function (of `lengths`)."""
    lines = "\n".join("    " + line for line in body.split("\n"))
    return handed_in(answer=f"{before}\ndef offsets(lengths):\n{lines}")


def first(text, **more):
    """A notebook whose first cell is this; the answer to 01.offsets is wrong."""
    return handed_in(before=[text], answer=WRONG, **more)


PATCH = "import embag_edu.course as c, embag_edu.course.exercise as e\n"
CUDA = 'extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {}\n'

# name: (notebook, points for 01.predict and 01.offsets). Where a process is ended, 0 for the rest.
FORGED = {
    "check is replaced": (first("def check(name, mine): pass"), 1, 0),
    "check is replaced in the package": (first(PATCH + "c.check = e.check = print"), 1, 0),
    "the comparison is replaced": (
        first(PATCH + "e.differ = e._problem = e._try = lambda *a, **k: ''"), 1, 0),
    "the judge is replaced": (
        first(PATCH + "object.__setattr__(e.find('01.offsets'), 'judge', lambda mine: '')"), 1, 0),
    "the reference is replaced": (
        first(PATCH + "object.__setattr__(e.find('01.offsets'), 'reference', lambda x: x)"), 1, 0),
    "NumPy is replaced": (
        first("import numpy as np\nnp.array_equal = np.allclose = np.all = lambda *a, **k: True"),
        1, 0),
    "Python's own functions are replaced": (
        first("import builtins\nbuiltins.isinstance = lambda *a: True"), 0, 0),
    "errors are not shown": (
        first("get_ipython()._showtraceback = get_ipython().showtraceback = print"), 1, 0),
    "run_cell is replaced": (
        first("s = type(get_ipython())\ns.run_cell = lambda *a, **k: type('R', (), "
              "{'error_before_exec': None, 'error_in_exec': None})()"), 0, 0),
    "values are replaced on the way": (
        first("from embag_edu.course import values\nvalues.packed = lambda *a: [0, 2, 2, 5]"),
        0, 0),
    "messages are written": (
        first("import os\nfor fd in range(3, 99):\n  try: os.write(fd, b'{\"value\": null}\\n')\n"
              "  except OSError: pass"), 0, 0),
    "long messages are written": (
        first("import os\nfor fd in range(3, 99):\n  try:\n    while 1: os.write(fd, b'x' * 9999)"
              "\n  except OSError: pass"), 0, 0),
    "a bomb of brackets is written": (
        first("import os\nfor fd in range(3, 99):\n"
              "  try: os.write(fd, b'[' * 100_000 + b'\\n')\n  except OSError: pass"), 0, 0),
    "the lines to the grader are closed": (
        first("import os\nos.closerange(0, 99)"), 0, 0),
    "frames are searched for the right answer": (
        answer("import sys\nframe = sys._getframe()\nwhile frame:\n"
               "    for value in frame.f_locals.values():\n"
               "        if hasattr(value, 'reference'): return value.reference(lengths)\n"
               "    frame = frame.f_back\nreturn lengths"), 1, 0),
    "memory is searched for the cases": (
        answer("import gc\nfor each in gc.get_objects():\n"
               "    if type(each).__name__ == '_Attempt': return each.expected.result\n"
               "return lengths"), 1, 0),
    "the import of the answer (it is public)": (
        answer("from embag_edu.course.exercise import find\n"
               "return find('01.offsets').reference(lengths)"), 1, 2),
    "a result that is equal to everything": (
        answer("return Equal()", "class Equal:\n    __eq__ = lambda self, other: True"), 1, 0),
    "a list that is equal to everything": (
        answer("return Equal(lengths)", "class Equal(list):\n    __eq__ = lambda s, o: True\n"
               "    __len__ = lambda self: 0"), 1, 0),
    "an array that is equal to everything": (
        answer("import numpy as np\nreturn np.array(lengths).view(Equal)",
               "import numpy as np\nclass Equal(np.ndarray):\n    __eq__ = lambda s, o: True"),
        1, 0),
    "a class that lies about itself": (
        answer("return Liar()", "class Liar:\n    __class__ = property(lambda self: list)"), 1, 0),
    "a pickle that runs code": (
        answer("return Bomb()", "import os\nclass Bomb:\n"
               "    __reduce__ = lambda self: (os.system, ('touch {folder}/pickled',))"), 1, 0),
    "an array of objects that runs code": (
        answer("import numpy as np\nreturn np.array([Bomb()])", "import os\nclass Bomb:\n"
               "    __reduce__ = lambda self: (os.system, ('touch {folder}/pickled',))"), 1, 0),
    "an error named as the check's own": (
        answer("raise ExerciseFailed", "class ExerciseFailed(AssertionError): pass"), 1, 0),
    "an error that cannot be shown": (
        answer("raise Odd", "class Odd(Exception):\n    __str__ = lambda self: 1 / 0"), 1, 0),
    "SystemExit": (answer("raise SystemExit(0)"), 1, 0),
    "KeyboardInterrupt": (answer("raise KeyboardInterrupt"), 1, 0),
    "an error of no Exception": (answer("raise BaseException"), 1, 0),
    "exit": (first("exit()"), 1, 0),
    "nested results": (answer("x = []\nfor _ in range(10**5): x = [x]\nreturn x"), 1, 0),
    "a list in itself": (answer("x = []\nx.append(x)\nreturn x"), 1, 0),
    "an endless generator": (answer("while True: yield 0"), 1, 0),
    "a number of a million digits": (answer("return [10 ** 10 ** 6]"), 1, 0),
    "a large result": (answer("return 'x' * 200_000_000"), 1, 0),
    "recursion": (answer("return offsets(lengths)"), 1, 0),
    "the answer is a number": (handed_in(answer="offsets = 5"), 1, 0),
    "the answer is a class": (handed_in(answer="class offsets: pass"), 1, 0),
    "everything is deleted": (first("%reset -f\ndel __builtins__"), 1, 0),
    "imports are hooked": (
        first("import sys\nsys.meta_path.clear(); sys.modules.clear(); sys.path.clear()"), 0, 0),
    "json is replaced": (first("import json\njson.dumps = lambda *a, **k: '{\"value\": []}'"),
                         0, 0),
}  # fmt: skip

ENDS = {
    "a dead kernel": (first("import os; os._exit(0)"), 0, 0),
    "a segmentation fault": (first("import ctypes; ctypes.string_at(0)"), 0, 0),
    "abort": (first("import os; os.abort()"), 0, 0),
    "killed": (first("import os; os.kill(os.getpid(), 9)"), 0, 0),
    "stopped": (first("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"), 0, 0),
    "its own group killed": (first("import os; os.killpg(0, 9)"), 0, 0),
    "everything in sight killed": (first("import os; os.kill(-1, 9)"), None, 0),
    "deaf": (first("sum(range(10**13))"), 0, 0),
    "deaf to signals": (
        first("import signal\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n"
              "  except OSError: pass\nwhile True: pass"), 0, 0),
    "endless in threads": (
        first("import threading\ndef run():\n  while True: pass\n"
              "for _ in range(8): threading.Thread(target=run).start()"), None, 0),
    "200 MB of output": (first("for _ in range(200): print('x' * 10**6)"), 1, 0),
    "endless output": (first("while True: print('x' * 10**6)"), 1, 0),
    "output by another process": (first("!yes"), None, 0),
    "memory": (first("x = []\nwhile True: x.append(bytearray(10**8))"), None, 0),
    "memory of NumPy": (first("import numpy as np\nx = np.ones((10**4, 10**7))"), 1, 0),
    "memory in a result": (answer("import numpy as np\nreturn np.zeros(10**9, np.int8)"), None, 0),
    "memory of many processes": (
        first("import os\nfor _ in range(12):\n  if not os.fork():\n    x = bytearray(10**9)\n"
              "    import time; time.sleep(30)"), None, 0),
    "forks (bounded)": (
        first("import os, time\nfor _ in range(2000):\n  try:\n    if not os.fork(): "
              "time.sleep(20); os._exit(0)\n  except OSError: pass"), None, 0),
    "threads": (
        first("import threading, time\nfor _ in range(5000):\n"
              "  threading.Thread(target=time.sleep, args=[20], daemon=True).start()"), None, 0),
    "open files": (first("x = [open('/dev/null') for _ in range(10**5)]"), None, 0),
    "a large file": (first("open('x', 'wb').write(bytes(2 << 30))"), None, 0),
    "many files": (first("for i in range(20_000): open(f'x{i}', 'w').write('x' * 10_000)"), 1, 0),
    "a fatal signal in a call": (answer("import os; os.kill(os.getpid(), 11)"), 1, 0),
    "a debugger": (first("import pdb; pdb.set_trace()"), None, 0),
    "input": (first("input()"), 1, 0),
}  # fmt: skip

TRY = "def attempt(f):\n    try: f()\n    except BaseException: pass\n"
REACHING = {
    "detached processes": (
        first("import os, time\nfor _ in range(3):\n  if not os.fork():\n    os.setsid()\n"
              "    if os.fork(): os._exit(0)\n    time.sleep(99)\n    os._exit(0)"), None, 0),
    "a detached process of the shell": (first("!(setsid sleep 99 >/dev/null 2>&1 &)"), 1, 0),
    "a process that hears no SIGTERM": (
        first("import subprocess\nsubprocess.Popen(['sh', '-c', \"trap '' TERM; sleep 99\"])"),
        1, 0),
    "signals to the parents": (
        first("import os\nfor line in open('/proc/self/status'):\n"
              "  if line.startswith('PPid'): os.kill(int(line.split()[1]), 19)"), None, 0),
    "other submissions rewritten": (
        first(TRY + "import pathlib\nfor path in pathlib.Path('{folder}').rglob('*.ipynb'):\n"
              "  attempt(lambda: path.write_text('[]'))"), 1, 0),
    "other submissions deleted": (first("!rm -rf {folder}"), 1, 0),
    "marks written": (
        first(TRY + "attempt(lambda: open('{folder}/marks.csv', 'a').write('alice,2'))"), 1, 0),
    "the package edited": (
        first(TRY + "import embag_edu.course.differ as d\n"
              "attempt(lambda: open(d.__file__, 'a').write('\\ndiffer = print'))"), 1, 0),
    "a startup file": (
        first(TRY + "import site, os\nfor place in [*site.getsitepackages(), '/usr/lib/python3']:\n"
              "  attempt(lambda: open(os.path.join(place, 'hostile.pth'), 'w').write('import x'))"),
        1, 0),
    "a startup file of IPython": (
        first("!mkdir -p {home}/.ipython/profile_default/startup\n"
              "!touch {home}/.ipython/profile_default/startup/hostile.py"), 1, 0),
    "a shell's startup file": (first("!echo hostile >> {home}/.bashrc"), 1, 0),
    "the cache of kernels": (
        first("!for f in {cache}/*/digest; do echo x > $f; done; rm -rf {cache}/*"), 1, 0),
    "the private cache poisoned": (
        first("!for f in $EMBAG_CACHE/*/*; do echo x > $f; done"), 1, 0),
    "a symbolic link": (
        first("import os\nfor d in ('.', os.environ['HOME'], os.environ['TMPDIR']):\n"
              "  os.symlink('{folder}', os.path.join(d, 'link'))"), 1, 0),
    "a secret read": (
        answer("raise ValueError(open('{folder}/secret.txt').read())"), 1, 0),
    "the environment read": (
        answer("import os\nraise ValueError(str(dict(os.environ)))"), 1, 0),
    "processes' environments read": (
        answer("import glob\nfound = ''\nfor path in glob.glob('/proc/*/environ'):\n"
               "    try: found += open(path, errors='replace').read()\n"
               "    except OSError: pass\nraise ValueError(found[found.find('EMBAG'):])"), 1, 0),
    "processes' memory written": (
        first(TRY + "import glob\nfor path in glob.glob('/proc/[0-9]*/mem'):\n"
              "  attempt(lambda: open(path, 'r+b').write(b'x'))"), None, 0),
    "settings of the machine": (
        first("!echo x > /proc/sys/kernel/hostname; echo 0 > /proc/sysrq-trigger; hostname x"),
        1, 0),
    "the network": (
        first(TRY + "import socket\nattempt(lambda: "
              "socket.create_connection(('127.0.0.1', {port}), 1).send(b'hello'))"), 1, 0),
    "a server": (
        first("import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()"), 1, 0),
    "a socket without a file": (
        first(TRY + "import socket\ns = socket.socket(socket.AF_UNIX)\n"
              "attempt(lambda: (s.connect('\\0embag_edu_adversary'), s.send(b'hello')))"), 1, 0),
    "shared memory": (
        first("from multiprocessing import shared_memory as m\n"
              "x = m.SharedMemory('embag_hostile', create=True, size=10**6)"), None, 0),
    "mounts": (
        first("!mount -o remount,rw,bind /usr; mount -o remount,rw,bind {package}; umount -l /usr\n"
              "!unshare --user --map-root-user --mount mount -o remount,rw,bind {package}\n"
              "!touch {package}/hostile /usr/hostile"), 1, 0),
    "a new root": (first(TRY + "import os\nattempt(lambda: os.chroot('/proc/1/root'))"), 1, 0),
    "limits raised": (
        first(TRY + "import resource as r\n"
              "attempt(lambda: r.setrlimit(r.RLIMIT_NPROC, (10**6, 10**6)))"), 1, 0),
    "devices": (first("!mknod disk b 254 0; cat /dev/vda | head -c 1; ls /dev/pts"), 1, 0),
}  # fmt: skip


def source(text):
    """A notebook of chapter 07 whose answer to 07.axpy is this CUDA source."""
    return f"my_axpy = r'''{text}'''"


HOST = "#include <stdlib.h>\n#include <unistd.h>\n#include <stdio.h>\n"
FORGE = (
    "static int forged = [] { for (int fd = 3; fd < 99; fd++) dprintf(fd, "
    '"{\\"value\\": null, \\"launched\\": {\\"failed\\": false}}\\n"); return 0; }();\n'
)
KERNELS = {
    "a kernel that does nothing": CUDA,
    "a static constructor": HOST + 'static int x = system("touch {folder}/kernel");\n' + CUDA,
    "a constructor that forges": HOST + FORGE + CUDA,
    "a constructor that ends the process": HOST + "static int x = (_exit(0), 0);\n" + CUDA,
    "a constructor that does not end": "static int x = [] { while (true); return 0; }();\n" + CUDA,
    "system in the kernel": HOST + CUDA.replace("{}", '{ system("touch {folder}/kernel"); }'),
    "a file of the machine": '#include "{folder}/secret.txt"\n' + CUDA,
    "a bomb of macros": "#define A x x x x x x x x x x\n" + "".join(
        f"#define {b} {' '.join([a] * 10)}\n" for a, b in zip("ABCDEFGH", "BCDEFGHI", strict=True)
    ) + "int f() { I; }\n" + CUDA,
    "no CUDA": "hello",
    "a large source": "// " + "x" * 10_000_000 + "\n" + CUDA,
}  # fmt: skip


# -------------------------------------------------------------------------- the batch


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A book of two notebooks, a secret, and what the hostile ones are told of the machine."""
    folder = tmp_path_factory.mktemp("adversary")
    write(folder / "book" / "solutions" / "01_bags.ipynb", SOLVED)
    region = "### BEGIN SOLUTION\nmy_axpy = ''\n### END SOLUTION"
    cells = [
        cell("axpy", region, solution=True),
        cell("axpy-check", 'check("07.axpy", my_axpy)', grade=True, locked=True, points=2),
    ]
    write(folder / "book" / "solutions" / "07_first_kernel.ipynb", {**SOLVED, "cells": cells})
    (folder / "secret.txt").write_text(SECRET)
    return folder


def submissions(place, port):
    """Write all of them; name -> the expected points."""
    known = {"folder": place, "home": Path.home(), "port": port, "package": PACKAGE,
             "cache": box.cache.folder()}  # fmt: skip
    wanted = {}
    for name, (notebook, *points) in (FORGED | ENDS | REACHING).items():
        text = notebooks.written(notebook)
        for word, value in known.items():
            text = text.replace(f"{{{word}}}", str(value))
        path = place / "in" / f"{name.replace('/', ' ')}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        wanted[path.stem] = points
    axpy = notebooks.read(place / "book" / "solutions" / "07_first_kernel.ipynb")
    for name, text in KERNELS.items():
        axpy["cells"][0]["source"] = source(text.replace("{folder}", str(place)))
        write(place / "kernels" / f"{name}.ipynb", axpy)
        wanted[name] = [0]
    axpy["cells"][0]["source"] = source(find("07.axpy").reference)
    write(place / "kernels" / "~ right kernel.ipynb", axpy)
    wanted["~ right kernel"] = [2]
    return wanted


HONEST = {"0 right": SOLVED, "a stub": STUB, "z right": SOLVED}


def marked(place, folder, seconds):
    """The rows of the CSV file, by student."""
    out = place.parent / "marks.csv"
    words = [str(place / folder), "--csv", str(out), "--book", str(place / "book")]
    grading.main([*words, "--seconds", seconds, "--total", "90"])
    rows = {}
    for row in list(csv.reader(out.open(encoding="utf-8", newline="")))[1:]:
        rows.setdefault(row[0].lstrip("'"), []).append(row)
    return rows


def state(*folders):
    """What lies in these folders: names and digests."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files
            if "__pycache__" not in path.parts}  # fmt: skip


def processes():
    """The processes whose command or environment speaks of a box, or that sleep for 99 seconds."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"embag_edu_box" in words or b"sleep\x0099" in words or b"course.inside" in words:
            found.add(int(entry.name))
    return found


class Listener:
    """Counts what comes in on a port of the loopback address, and on a socket without a file."""

    def __init__(self):
        self.heard = 0
        tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        unix.bind("\0embag_edu_adversary")
        unix.listen()
        self.port = tcp.getsockname()[1]
        for each in (tcp, unix):
            threading.Thread(target=self.listen, args=[each], daemon=True).start()

    def listen(self, server):
        while True:
            server.accept()
            self.heard += 1


@pytest.mark.skipif(box.available() != box.NAMESPACES, reason="no namespaces on this machine")
def test_no_submission_touches_another_or_the_machine(place, monkeypatch):
    monkeypatch.setenv("EMBAG_SECRET", SECRET)
    monkeypatch.setenv("EMBAG_CACHE", str(place / "cache"))  # others write in theirs
    (place / "cache" / "entry").mkdir(parents=True)
    (place / "cache" / "entry" / "digest").write_text("of a kernel")
    for name, notebook in HONEST.items():
        write(place / "in" / f"{name}.ipynb", notebook)
    alone = marked(place, "in", "10")
    listener = Listener()
    wanted = submissions(place, listener.port)
    assert len(wanted) >= 60
    startup = Path.home() / ".ipython" / "profile_default" / "startup"
    folders = [place, PACKAGE, box.cache.folder()]
    before = state(*folders)
    home = [Path.home() / ".bashrc", *startup.glob("*")]
    kept = {path: path.read_bytes() for path in home if path.is_file()}
    running = processes()
    rows = marked(place, "in", "5") | marked(place, "kernels", "40")
    failed = {name: rows[name] for name in HONEST if rows[name] != alone[name]}
    for name, points in wanted.items():
        own = [row[3] for row in rows[name]][: len(points)]
        if any(p is not None and str(p) != actual for p, actual in zip(points, own, strict=True)):
            failed[name] = points, rows[name]
        print(f"{name}: {own} {rows[name][-2 if len(rows[name]) > 1 else 0][5][:90]}")
    left = {
        "marks": failed,
        "a secret": SECRET in str(rows),
        "processes": processes() - running,
        "files": dict(state(*folders).items() ^ before.items()),
        "startup files": [p for p, text in kept.items() if p.read_bytes() != text],
        "new startup files": set(startup.glob("*")) - set(home),
        "shared memory": {n for n in os.listdir("/dev/shm") if "hostile" in n},
        "heard": listener.heard,
    }
    print({what: found for what, found in left.items() if found})
    assert not any(left.values())
