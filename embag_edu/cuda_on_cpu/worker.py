"""The child process in which checked kernels run: a wild pointer takes it down, and nothing else.

It is started by checked.py as a file of its own and imports the standard library only, so that it
is there in a few hundredths of a second. One request is one line of JSON, and so is one answer.
"""

import ctypes
import functools
import json
import mmap
import sys

MAX_SPANS = 64
REACH = 1 << 40  # bytes: so near to each other a process loads its libraries


class Element(ctypes.Structure):
    """recorder.cpp's Watch::Element."""

    _fields_ = [
        ("span", ctypes.c_int),
        ("block", ctypes.c_uint),
        ("bytes", ctypes.c_uint),
        ("offset", ctypes.c_longlong),
    ]


class Watch(ctypes.Structure):
    """recorder.cpp's Watch."""

    _fields_ = [
        ("low", ctypes.c_uint64),
        ("high", ctypes.c_uint64),
        ("start", ctypes.c_uint64 * MAX_SPANS),
        ("end", ctypes.c_uint64 * MAX_SPANS),
        ("writable", ctypes.c_ubyte * MAX_SPANS),
        ("n_spans", ctypes.c_uint),
        ("n_arrays", ctypes.c_uint),
        ("log_limit", ctypes.c_uint),
        ("interrupt", ctypes.c_uint),
        ("progress", ctypes.c_uint64),
        ("shadow_limit", ctypes.c_uint64),
        ("image_low", ctypes.c_uint64),
        ("image_high", ctypes.c_uint64),
        ("n_studied", ctypes.c_uint),
        ("studied", Element * 4),
    ]


class Control(ctypes.Structure):
    """cuda_on_cpu.h's Control."""

    _fields_ = [
        ("stacks", ctypes.c_void_p * 1024),
        ("leave", ctypes.c_void_p),
        ("thread", ctypes.c_uint64),
        ("overrun", ctypes.c_void_p),
        ("interrupt", ctypes.c_uint64),
    ]


class Launch(ctypes.Structure):
    """cuda_on_cpu.h's Launch."""

    _fields_ = [
        ("call", ctypes.c_void_p),
        ("args", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("first", ctypes.c_ulonglong),
        ("last", ctypes.c_ulonglong),
        ("dynamic_bytes", ctypes.c_ulonglong),
        ("shared_most", ctypes.c_ulonglong),
        ("order", ctypes.c_uint),
        ("cooperative", ctypes.c_uint),
        ("control", ctypes.POINTER(Control)),
    ]


def prepare(launch, grid, block, first, last, shared, order, cooperative, args, control):
    """Fill a Launch; shared: dynamic bytes, and the most with static arrays; args: pointers."""
    launch.control = ctypes.pointer(control)
    launch.args = ctypes.addressof(args)
    launch.grid[:], launch.block[:] = grid, block
    launch.first, launch.last = first, last
    (launch.dynamic_bytes, launch.shared_most), launch.order = shared, order
    launch.cooperative = cooperative
    return launch


class Variable:
    """A __constant__ or __device__ variable of a loaded library, and what it is declared as.

    A pointer in it, to a function or to another variable, is another number in each library: where
    the variable is copied to, what was declared there is written for it.
    """

    def __init__(self, library, number):
        kinds = {"": ctypes.c_void_p, "_size": ctypes.c_ulonglong, "_fixed": ctypes.c_int}
        for kind, returns in kinds.items():
            getattr(library, f"global{kind}_{number}").restype = returns
        self.address, self.size, self.fixed = (
            getattr(library, f"global{kind}_{number}")() for kind in kinds
        )
        self.declared = ctypes.string_at(self.address, self.size)

    @functools.cached_property
    def pointers(self):
        """The declared words that may point into a library, as (place, word): those near to it."""
        if not self.declared.strip(b"\0"):
            return []
        words = memoryview(self.declared[: self.size // 8 * 8]).cast("Q")
        return [(8 * i, w) for i, w in enumerate(words) if w and abs(w - self.address) < REACH]

    def put(self, there, theirs):
        """Take the value that lies there. theirs: the pointers that are declared there."""
        if not self.fixed:
            ctypes.memmove(self.address, there, self.size)
            _exchange(self.address, theirs, {word: self._word(place) for place, word in theirs})

    def get(self, there, theirs):
        """The other way."""
        ctypes.memmove(there, self.address, self.size)
        _exchange(there, theirs, {self._word(place): word for place, word in theirs})

    def _word(self, place):
        return int.from_bytes(self.declared[place : place + 8], sys.byteorder)


def _exchange(start, pointers, words):
    for place, _ in pointers:
        word = ctypes.c_uint64.from_address(start + place)
        word.value = words.get(word.value, word.value)


def image_of(path):
    """The addresses of a loaded library that cannot be written: code, constant tables, texts."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if line.rstrip().endswith(path)]
    except OSError:  # not Linux: constant tables in memory are then reported as wild pointers
        lines = []
    fixed = [words[0].split("-") for words in lines if "w" not in words[1]]
    parts = [(int(start, 16), int(end, 16)) for start, end in fixed]
    return (min(p[0] for p in parts), max(p[1] for p in parts)) if parts else (0, 0)


class Worker:
    """The arena that is mapped, and the libraries that are loaded."""

    def __init__(self):
        self.libraries, self.images, self.variables, self.control = {}, {}, {}, Control()
        self.path = self.arena = None

    def map(self, path, size):
        """Map the arena, a file that the parent has mapped too."""
        if path != self.path:
            with open(path, "r+b") as file:
                self.arena = mmap.mmap(file.fileno(), size)
            self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.arena))
            self.path, self.size = path, size

    def run(self, request):
        """One launch: the report of the library, as text."""
        self.map(request["arena"], request["size"])
        library = self.load(request["library"], len(request["variables"]))
        variables = list(zip(self.variables[request["library"]], request["variables"], strict=True))
        for variable, v in variables:
            variable.put(self.base + v["offset"], v["pointers"])
        library.cuda_on_cpu_watch(ctypes.byref(self.watch(request, variables)))
        values = self.values(request["args"])
        pointers = (ctypes.c_void_p * max(1, len(values)))(*map(ctypes.addressof, values))
        grid, block = request["grid"], request["block"]
        total = grid[0] * grid[1] * grid[2]
        launch = prepare(
            Launch(),
            grid,
            block,
            0,
            total,
            request["shared"],
            request["order"],
            request["cooperative"],
            pointers,
            self.control,
        )
        getattr(library, f"launch_{request['kernel']}")(ctypes.byref(launch))
        for variable, v in variables:
            variable.get(self.base + v["offset"], v["pointers"])
        return library.cuda_on_cpu_report()

    def load(self, path, n_variables):
        """The library; where its read-only data lies, and its variables, is known from now on."""
        if path not in self.libraries:
            library = self.libraries[path] = ctypes.CDLL(path)
            library.cuda_on_cpu_report.restype = ctypes.c_char_p
            self.images[path] = image_of(path)
            self.variables[path] = [Variable(library, i) for i in range(n_variables)]
        return self.libraries[path]

    def values(self, args):
        """Every argument as ctypes memory: an address in the arena, or the bytes of a scalar."""
        return [
            ctypes.c_uint64(self.base + a)
            if isinstance(a, int)
            else ctypes.create_string_buffer(bytes.fromhex(a))
            for a in args
        ]

    def watch(self, request, variables):
        """What the recorder has to know."""
        w = Watch(low=self.base, high=self.base + self.size, progress=self.base)
        w.n_arrays = len(request["spans"])
        w.n_spans = w.n_arrays + len(variables)
        for i, (start, end, writable) in enumerate(request["spans"]):
            w.start[i], w.end[i], w.writable[i] = self.base + start, self.base + end, writable
        for i, (variable, v) in enumerate(variables, w.n_arrays):
            w.start[i], w.end[i] = variable.address, variable.address + variable.size
            w.writable[i] = v["writable"]
        w.log_limit, w.interrupt = request["log"], request["interrupt"]
        w.shadow_limit, w.n_studied = request["shadow_limit"], len(request["studied"])
        for i, element in enumerate(request["studied"]):
            w.studied[i] = Element(*element)
        w.image_low, w.image_high = self.images[request["library"]]
        return w


def main():
    """Answer requests until the parent is gone."""
    worker = Worker()
    sys.stdout.buffer.write(b"{}\n")  # ready: what the parent now measures is the kernel's time
    sys.stdout.buffer.flush()
    for line in sys.stdin:
        try:
            answer = worker.run(json.loads(line))
        except Exception as error:  # an error of ours: the parent shall say it, not wait for ever
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
