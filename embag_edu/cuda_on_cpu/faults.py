"""What a fault is called, and the sentences that tell it to the reader."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda_on_cpu.arguments import SHARED_DEFAULT, SHARED_MOST
from embag_edu.cuda_on_cpu.launched import DYNAMIC, STATIC, Launched, unravel
from embag_edu.cuda_on_cpu.source import place_of

READ, WRITE, ATOMIC, STEP = range(4)  # runtime.h: Access
DOES = ("reads", "writes", "atomically updates")


def shown_alone(error: Exception) -> Exception:
    """The error; a notebook shows its text, without the way through the package's own code."""
    error._render_traceback_ = lambda: f"{type(error).__name__}: {error}".splitlines()  # type: ignore[attr-defined]
    return error


@contextlib.contextmanager
def told_in_short() -> Iterator[None]:
    """What is wrong with a call goes on, to be shown alone. Also a decorator."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, MemoryError) as error:
        raise shown_alone(error) from None


class Touch(NamedTuple):
    """One access to the element of a race. epoch: between which barriers; round: of its loops."""

    thread: int
    access: int
    epoch: int
    round: int
    line: int


class KernelFault(RuntimeError):
    """A kernel did something that CUDA does not allow, or that ends in another result every time.

    kind: "out of bounds", "race", ...; line, lines: in the source; array: the name of the parameter
    or shared array; thread, block: three numbers each; report: all that was found and counted (a
    `counts.Report`).
    """

    def __init__(self, text: str, fault: dict, launched: Launched, report: Any):
        super().__init__(text)
        shown_alone(self)
        self.kind: str = fault["kind"]
        self.line: int = fault["line"]
        self.lines = sorted({n for n in (fault["line"], fault["other_line"]) if n})
        self.array = launched.place(fault["span"])
        self.thread = launched.thread(fault["thread"])
        self.block = unravel(fault["block"], launched.grid)
        self.report: Any = report
        self._made_of = (text, fault, launched, report)

    def __reduce__(self):
        return KernelFault, self._made_of


def tell(launched: Launched, found: dict) -> str:
    """All faults of a launch, a paragraph each."""
    faults = found["faults"]
    told = [f"kernel {launched.kernel}: {_paragraph(f, launched)}" for f in faults[:4]]
    more = len(faults) - 4 + found.get("more_faults", 0)
    return "\n\n".join(told + ([f"... and {more} more"] if more > 0 else []))


def _paragraph(f: dict, launched: Launched) -> str:
    what, fix = SENTENCES[f["kind"]](f, launched)
    return "\n".join([f"{f['kind']}: {what}", *_lines(f, launched), f"Likely fix: {fix}"])


def _lines(f: dict, launched: Launched) -> list[str]:
    numbers = dict.fromkeys(n for n in (f["line"], f["other_line"]) if n)
    return [f"    {place_of(launched.code, line)}: {launched.text(line)}" for line in numbers]


def tell_note(f: dict, launched: Launched) -> str:
    """A note: what would be a fault, and why it is none here."""
    what = SENTENCES[f["kind"]](f, launched)[0]
    return "\n".join([f"note, {f['kind']}: {what}", *_lines(f, launched), NOTES[f["why"]]])


def element(offset: int, array: np.ndarray | None, size: int) -> str:
    """The name of what lies at a byte offset: "element 7", "element (1, 3)", "byte 12"."""
    if array is None:
        return f"byte {offset}" if size <= 1 or offset % size else f"element {offset // size}"
    i = offset // array.itemsize
    if array.ndim > 1 and 0 <= i < array.size:
        return f"element {tuple(int(n) for n in np.unravel_index(i, array.shape))}"
    return f"element {i}"


def _size(array: np.ndarray | None, f: dict, launched: Launched) -> str:
    if array is not None:
        shape = f", shape {array.shape}" if array.ndim != 1 else ""
        plural = "s" if array.size != 1 else ""
        return f"which has {array.size} element{plural} ({array.dtype}{shape})"
    if f["span"] <= STATIC:
        return f"which has {launched.shared_arrays[STATIC - f['span']][1]} bytes"
    return (
        "of which the launch has asked for too little (shared_mem=)" if f["span"] == DYNAMIC else ""
    )


def _who(f: dict, launched: Launched) -> str:
    return launched.at(f["thread"], f["block"])


def _does(f: dict, launched: Launched) -> str:
    """ "thread (3, 0, 0) of block (0, 0, 0) reads"."""
    return f"{_who(f, launched)} {DOES[f['access']]}"


def _out_of_bounds(f, launched):
    array, name = launched.array(f["span"]), launched.place(f["span"])
    where = element(f["offset"], array, f["bytes"])
    if array is not None and f["bytes"] > array.itemsize:
        where += f" and the next ones, {f['bytes']} bytes in all,"
    fix = "guard the index, such as `if (i < n)`, and check how it is made up"
    if re.search(r"\bif\s*\([^;{}]*[<>]", launched.code):
        fix = "a condition is missing, or lets too much pass; check how the index is made up"
    longer = _longer(f, launched)
    if longer:
        fix = f"`{name}` is shorter than {longer}: guard the index by the length of this array"
    if f["span"] == DYNAMIC:
        fix = "ask for more with shared_mem=, or guard the index"
    return f"{_does(f, launched)} {where} of `{name}`, {_size(array, f, launched)}.", fix


def _longer(f: dict, launched: Launched) -> str:
    """ "n = 8", where this whole number lets an index pass that is past the end of the array."""
    array = launched.array(f["span"])
    if array is None:
        return ""
    at, values = f["offset"] // array.itemsize, launched.values
    for parameter, value in zip(launched.parameters, values, strict=True):
        if isinstance(value, np.integer) and array.size <= at < value:
            return f"{parameter.name} = {value}"
    return ""


def _misaligned(f, launched):
    n, name = f["bytes"], launched.place(f["span"])
    if f["offset"] % n == 0:
        return (
            f"{_does(f, launched)} {n} bytes at once from byte {f['offset']} of `{name}`, but the "
            f"memory of `{name}` itself does not begin at a multiple of {n}: it is a view into "
            "another array.",
            f"pass a copy, {name}.copy(), or use single elements where the start is not a multiple",
        )
    return (
        f"{_does(f, launched)} {n} bytes at once from byte {f['offset']} of `{name}`; an access of "
        f"{n} bytes must begin at a multiple of {n}.",
        "use the wide type only where every row begins at such a multiple, else single elements",
    )


def _wild(f, launched):
    pairs = zip(launched.parameters, launched.values, strict=True)
    null = [p.name for p, v in pairs if p.pointer and not isinstance(v, np.ndarray)]
    if null:
        return (
            f"{_does(f, launched)} {f['bytes']} bytes at an address that lies in no array, perhaps "
            f"through `{'` or `'.join(null)}`, for which None was passed.",
            f"ask `if ({null[0]})` before it is used, or pass an array",
        )
    return (
        f"{_does(f, launched)} {f['bytes']} bytes at an address that lies in no array.",
        "look at how the pointer or index is made: an int that overflows, a value never set, "
        "a pointer that is not the kernel's",
    )


def _unwritten(f, launched):
    where = element(f["offset"], None, f["bytes"])
    return (
        f"{_does(f, launched)} {where} of `{launched.place(f['span'])}`, where no thread of this "
        "block has written yet. Shared memory does not begin as zeros.",
        "write every element before it is read; if another thread writes it, is there a "
        "__syncthreads() in between?",
    )


def _race(f, launched):
    where = element(f["offset"], launched.array(f["span"]), f["bytes"])
    name = f"`{launched.place(f['span'])}`" + (" (shared)" if f["span"] < 0 else "")
    other = launched.at(f["other_thread"], f["other_block"])
    return (
        f"{other} {DOES[f['other_access']]} {where} of {name}, and {_does(f, launched)} it, with "
        f"nothing that puts the two in order. Seen {_times(f['count'])}.",
        _order(f, launched),
    )


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _order(f: dict, launched: Launched) -> str:
    """What would put the two accesses of a race in order."""
    if f["block"] != f["other_block"]:
        apart = "put grid.sync() between the two, " if launched.cooperative else ""
        return f"blocks run in any order: {apart}use an atomic, or let one block own the element"
    touches: Sequence[Touch] = f.get("studied", ())
    writers = [t for t in touches if t.access != READ]
    if any(_together(a, b) for a in writers for b in writers):
        return (
            "several threads write the element in the same step, so no barrier helps: use an "
            "atomic (atomicAdd), or let one thread own the element"
        )
    fix = _barrier(f, launched, touches)
    both = {t.thread for t in writers} >= {f["thread"], f["other_thread"]}
    if not touches or (both and not _handed_on(touches)):
        fix = f"perhaps {fix}; where both threads update the element, an atomic"
    return fix


def _handed_on(touches: Sequence[Touch]) -> bool:
    """A thread reads the element in a round in which it does not write it."""
    wrote = {(t.thread, t.epoch, t.round) for t in touches if t.access != READ}
    return any((t.thread, t.epoch, t.round) not in wrote for t in touches)


def _together(a: Touch, b: Touch) -> bool:
    """Two threads write at one place, in one round of their loops: no barrier can part them."""
    both_atomic = a.access == b.access == ATOMIC
    return a.thread != b.thread and a[2:] == b[2:] and not both_atomic


def _barrier(f: dict, launched: Launched, touches: Sequence[Touch]) -> str:
    """Where a barrier is missing: between two lines, within a line, at the end of a round."""
    what = (
        "__syncthreads()" if math.prod(launched.block) > 32 else "__syncthreads() or __syncwarp()"
    )
    one, two = (_touch(f, touches, who) for who in ("other_", ""))
    between, at_end = f"put {what} between the two lines", "at the end of each round of the loop"
    if one and two and one.round != two.round:
        first, second = sorted((one, two), key=lambda t: t.round)
        return (
            f"{between}, or {at_end} if both lie in it"
            if first.line < second.line
            else (f"put {what} {at_end}")
        )
    if f["line"] != f["other_line"]:
        return between
    loops = (
        len({t.round for t in touches if t.line == f["line"] and t.epoch == touches[0].epoch}) > 1
    )
    again = ", and once more at the end of each round of the loop" if loops else ""
    return f"read into a variable first, then {what}, then write{again}"


def _touch(f: dict, touches: Sequence[Touch], who: str) -> Touch | None:
    wanted = f[f"{who}thread"], f[f"{who}access"], f[f"{who}line"]
    return next((t for t in touches if (t.thread, t.access, t.line) == wanted), None)


def _divergent(f, launched):
    one, other = launched.thread(f["thread"]), launched.thread(f["other_thread"])
    if f["why"] == "ended":
        what = (
            f"threads of the block, thread {other} among them, had ended when thread {one} and "
            "the rest went on at the barrier."
        )
    elif f["why"] == "one line":
        what = f"threads {one} and {other} wait at two barriers of one line."
    else:
        what = (
            f"thread {one} waits at the barrier in line {f['line']}, thread {other} at the one "
            f"in line {f['other_line']}."
        )
    return (
        what + " A barrier must be reached by all threads of the block, at the same place.",
        "move __syncthreads() out of the branch; do not return early, but skip the work",
    )


def _deadlock(f, launched):
    a, _, b, _, ended = f["text"].split()
    words = {"barrier": "in __syncthreads()", "warp": "in a warp operation"}
    what = f"{f['count']} threads wait {words[a]} in line {f['line']}"
    if b != "none":
        other = launched.thread(f["other_thread"])
        what += f", while thread {other} waits {words[b]} in line {f['other_line']}"
    return (
        f"{what}, {ended} have ended: nobody can go on.",
        "let all threads that are waited for reach the same barrier or warp operation",
    )


def _grid_barrier(f, launched):
    what = f"{_who(f, launched)} waits for the whole grid"
    if f["text"] == "launch":
        return (
            f"{what}, but this launch is not cooperative: its blocks need not run together.",
            "RawKernel(..., enable_cooperative_groups=True), or split the kernel there",
        )
    other = unravel(f["other_block"], launched.grid)
    return (
        f"{what}, but block {other} has ended: nobody can go on.",
        "let all blocks come to every grid.sync(), those without work too",
    )


def _mask(f, launched):
    words = f["text"].split()
    if f["why"] == "active":
        what = (
            f"{_who(f, launched)} asks for the active lanes in a branch. Which lanes of a warp run "
            "it together is for the GPU to choose."
        )
    elif words[0] == "self":
        what = (
            f"{_who(f, launched)} (lane {f['thread'] % 32}) calls a warp operation with the mask "
            f"{words[1]}, which does not name its own lane."
        )
    else:
        what = (
            "lanes of one warp wait in warp operations with different masks: "
            f"{words[1]} in line {f['line']}, {words[3]} in line {f['other_line']}."
        )
    return (
        what,
        "give all lanes that take part one mask with exactly their bits; 0xffffffff for all",
    )


def _shuffle(f, launched):
    lane, why, mask = f["text"].split()
    reasons = {
        "ended": "has already ended",
        "missing": "does not exist: the last warp is not full",
        "outside": f"is not in the mask {mask}",
    }
    return (
        f"{_who(f, launched)} reads lane {lane} in a shuffle; that lane {reasons[why]}. "
        "The value is undefined.",
        "keep all lanes of the warp until the shuffle and name them in the mask, or read only "
        "lanes that take part",
    )


def _index(f, launched):
    index, _, kind = f["text"].partition(" ")
    return (
        f"{_who(f, launched)} uses index {index} in an array of type {kind}.",
        "make the array larger or guard the index",
    )


def _async(f, launched):
    if f["text"].startswith("size"):
        size = f["text"].split()[1]
        return (
            f"{_who(f, launched)} copies {size} bytes asynchronously; valid: 4, 8 or 16.",
            "copy in pieces of 4, 8 or 16 bytes",
        )
    return (
        f"{_does(f, launched)} `{launched.place(f['span'])}` while an asynchronous copy to it is "
        "on its way.",
        "close the batch with __pipeline_commit() and wait for it: __pipeline_wait_prior(n) waits "
        "for all batches but the last n. Then a barrier, if other threads read it",
    )


def _endless(f, launched):
    seconds, *blocks = f["text"].split()  # no blocks: fast mode
    told = f"; {int(blocks[0]):,} of {int(blocks[1]):,} blocks had ended" if blocks else ""
    waits = "another block" if blocks else "another thread"
    return (
        f"the kernel had not ended after {seconds} seconds and was stopped{told}. It was last seen "
        f"in {_who(f, launched)}.",
        f"look at the condition of the loop. One that waits for {waits} may wait for ever here. "
        "Perhaps there is only much to do: settings(seconds=...) allows more",
    )


def _time_limit(f, launched):
    seconds, done, total = f["text"].split()
    needed = float(seconds) * int(total) / int(done)
    return (
        f"the kernel was stopped after {seconds} seconds, when {int(done):,} of {int(total):,} "
        "blocks had ended and the next ones were going on.",
        f"perhaps nothing is wrong: at this pace all blocks take {needed:,.0f} seconds. Launch on "
        f"less data, allow more with settings(seconds={1.5 * needed:.0f}), or leave the checks out "
        'with settings(mode="fast")',
    )


def _zero(f, launched):
    return (
        f"{_who(f, launched)} divides an integer by zero. A GPU goes on with a meaningless number.",
        "guard it: `n ? x / n : 0`",
    )


def _assertion(f, launched):
    return (
        f"{_who(f, launched)}: the assertion `{f['text']}` does not hold.",
        "find out which value breaks it: printf works in kernels",
    )


def _too_much_shared(f, launched):
    static, dynamic, most, names = f["text"].split(" ", 3)
    arrays = f"static shared arrays up to `{names}` take {static} bytes"
    if int(static) > SHARED_DEFAULT:
        return (
            f"the {arrays}; valid: up to {SHARED_DEFAULT}.",
            "make them smaller, or make one of them extern __shared__, and set "
            "kernel.max_dynamic_shared_size_bytes",
        )
    both = int(static) + int(dynamic)
    if both > SHARED_MOST:
        fix = f"ask for at most {SHARED_MOST - int(static)} bytes with shared_mem="
    else:
        fix = f"set kernel.max_dynamic_shared_size_bytes = {dynamic} before the launch"
    return (
        f"the {arrays}, and shared_mem= asks for {dynamic} more: {both} bytes in all; "
        f"valid: up to {most}.",
        fix,
    )


def _crash(f, launched):
    if f["text"] in ("stack", "pointer"):  # fast mode
        what = "ran over the end of its stack" if f["text"] == "stack" else "used a wild pointer"
        fix = (
            "a local array that is too large (each thread has 512 KiB), or a recursion without end"
        )
        look = "launch it in checked mode, which names the line and the array"
        return f"{_who(f, launched)} {what}.", fix if f["text"] == "stack" else look
    return (
        f"the process that ran the kernel died ({f['text']}); it was last seen in "
        f"{_who(f, launched)}.",
        "a local array that is too large (each thread has 512 KiB), or a recursion without end",
    )


def _read_only(f, launched):
    where = element(f["offset"], launched.array(f["span"]), f["bytes"])
    return (
        f"{_does(f, launched)} {where} of `{launched.place(f['span'])}`, which the kernel has "
        "declared const (or __constant__).",
        "take the const away, or write to another array",
    )


SENTENCES: dict[str, Callable[[dict, Launched], tuple[str, str]]] = {
    "out of bounds": _out_of_bounds,
    "misaligned": _misaligned,
    "read-only": _read_only,
    "wild pointer": _wild,
    "uninitialized shared memory": _unwritten,
    "race": _race,
    "divergent barrier": _divergent,
    "deadlock": _deadlock,
    "grid barrier": _grid_barrier,
    "warp mask": _mask,
    "shuffle source": _shuffle,
    "array index": _index,
    "async copy": _async,
    "endless": _endless,
    "time limit": _time_limit,
    "division by zero": _zero,
    "assertion": _assertion,
    "shared memory": _too_much_shared,
    "crash": _crash,
}

# What would be a fault, and why it is only noted.
NOTES = {
    "ended": "No fault: a barrier waits only for threads that have not ended, on GPUs of compute "
    "capability 7.0 and above. Older ones may hang.",
    "one line": "No fault here: all threads wait at a barrier. CUDA's guide asks that it be the "
    "same one.",
    "same value": "No fault here: both write the same value.",
    "guess": "No fault: the value that was read is only a guess, and the compare-and-swap decides.",
    "active": "No fault here: all lanes that came to the branch were named. __ballot_sync before "
    "the branch makes sure of it.",
}
