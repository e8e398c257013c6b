"""Indices and offsets that lie on a GPU: who looks at them, and when an error is raised.

    with checking("wait"):     # the error is raised at once; the host waits for it
    with checking("later"):    # the default: nobody waits, the error comes with a later call
    with checking("trusted"):  # nobody looks
    check_now()                # wait, and raise what was found in calls that are checked later

In "later", kernels read copies in which nothing is bad. An index that is no row of the table counts
for nothing, as padding does, in the output, the sizes of a mean, and gradients; a sparse gradient
has row 0 with zeros in its place. Where offsets are wrong no position counts. What was found stays
on the GPU, and is on its way to the host. The next call that finds it there, of any thread, stream
or device, raises it, in `spec`'s words, before it computes anything; so does a backward that waits
for another reason. Calls are looked at in their order, as far as they are done. An error is raised
once; if several calls were bad, the first is told. A backward that is given what its forward has
saved reads the forward's copies: nobody looks a second time.

Arrays of NumPy are looked at in any case, by `spec.make_call`. In a CUDA graph, rows are skipped
and nobody is told. What torch's autograd does in threads of its own has the mode "later".
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from embag_edu import spec
from embag_edu.cuda.launcher import Plan, device, on_host, prepared, upload
from embag_edu.spec import Call

MODES = ("wait", "later", "trusted")
NOBODY = np.iinfo(np.int64).max  # found nothing
SKIPPED = -1  # in place of a bad index, where the call has no padding_idx

_mode = ContextVar("mode", default="later")


@contextmanager
def checking(mode: str) -> Iterator[None]:
    """Within it, what lies on a GPU is checked at once ("wait"), "later", or not ("trusted").

    ValueError for another mode. It holds for this thread.

    "trusted" is a promise. A bad index that nobody looked at reads, and in the backward writes,
    memory of others.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; valid: {', '.join(map(repr, MODES))}")
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def checked(call: Call, saved: Any = None) -> Call:
    """The call as kernels may take it; or the error of this call ("wait") or of one before it.

    Whatever the host knows of earlier calls is raised here. It waits in "wait" alone.
    saved: of the forward of this call, in a backward: what was looked at there is taken over.
    """
    if on_host(call.indices) or _mode.get() == "trusted":
        return call
    raise_found()
    if saved is not None and saved.checked is not None:
        return _as_in(saved.checked, call)
    features = None if call.max_norm is None else call.embedding_dim
    if _mode.get() == "wait":
        check_input(call.indices, call.offsets, call.num_embeddings, features)
        return call
    return _skipping(call, features)


def check_input(indices: Any, offsets: Any, V: int, D: int | None = None) -> None:
    """Raise RuntimeError, as `spec.make_call` does, for bad indices or offsets (B + 1,).

    D: of a call with max_norm, for which a bad index is an IndexError.
    The arrays are looked at where they are. The host waits for two numbers, and for a few more if
    something is wrong.
    """
    gpu, indices, offsets = device(), upload(indices), upload(offsets)
    found = gpu.asnumpy(_look(indices, offsets, V)["found"][:2])
    if not (found == NOBODY).all():
        found = gpu.asnumpy(_look(indices, offsets, V, SKIPPED)["found"])
        _refuse(Found(*map(int, found)), len(indices), len(offsets) - 1, V, D)


def _look(indices: Any, offsets: Any, V: int, skipped: int | None = None) -> dict[str, Any]:
    """What the kernel `check_input` was given, and what it found, by name.

    skipped: what stands for a bad index in `rows` and `starts`, the copies that `skip_bad` makes.
    """
    plan = _plan(indices.dtype, len(indices), len(offsets) - 1, V, skipped)
    found = device().full(len(Found._fields), NOBODY, np.int64)
    return plan.run(indices=indices, offsets=offsets, found=found)


@functools.lru_cache(maxsize=1024)
def _plan(dtype: np.dtype, N: int, B: int, V: int, skipped: int | None) -> Plan:
    threads, numbers = max(N, B + 1), {"N": N, "B": B, "V": V, "skipped": skipped}
    look = prepared("indices", "check_input", (dtype,), threads)
    if skipped is None:
        return Plan((look,), numbers)
    room = ("rows", N, dtype), ("starts", B + 1, np.int64)
    return Plan((look, prepared("indices", "skip_bad", (dtype,), threads)), numbers, room)


# ---- later ----------------------------------------------------------------------------------


class Found(NamedTuple):
    """What the kernels of indices.cu write of a call; NOBODY stands for nothing."""

    position: int  # the first with a bad index
    bag: int  # the first with a bad offset
    row: int  # what stands at the position
    smallest: int  # of the indices outside [-V, V), which max_norm's error names
    first: int  # offsets: the first, that of the last bag, the end
    last: int
    end: int
    start: int  # the offset of the bad bag, and the next
    next: int


class Finding(NamedTuple):
    """A call that is checked later: what was found, once `arrived.done`."""

    found: np.ndarray  # a Found
    arrived: Any
    sizes: tuple[int, int, int, int | None]  # N, B, V, and with max_norm D


_findings: list[Finding] = []
_lock = threading.Lock()


def _skipping(call: Call, D: int | None) -> Call:
    """The call with copies of indices and offsets in which nothing is bad."""
    padding_idx = SKIPPED if call.padding_idx is None else call.padding_idx
    indices, offsets = upload(call.indices), upload(call.offsets)
    given = _look(indices, offsets, call.num_embeddings, padding_idx)
    coming = device().coming(given["found"])
    if coming is not None:
        with _lock:
            _findings.append(Finding(*coming, (given["N"], given["B"], given["V"], D)))
    return replace(call, indices=given["rows"], offsets=given["starts"], padding_idx=padding_idx)


def _as_in(checked: Call, call: Call) -> Call:
    """The call, with the copies that its forward has made."""
    copies = {name: getattr(checked, name) for name in ("indices", "offsets", "padding_idx")}
    return replace(call, **copies)


def raise_found(wait: bool = False) -> None:
    """Raise what was found in calls that are checked later, as far as the host knows, or `wait`."""
    if not _findings:
        return
    with _lock:
        known = list(takewhile(lambda f: wait or f.arrived.done, _findings))
        del _findings[: len(known)]
    if wait:
        for finding in known:
            finding.arrived.synchronize()
    bad = [f for f in known if f.found[0] != NOBODY or f.found[1] != NOBODY]
    if not bad:
        return
    try:
        _refuse(Found(*map(int, bad[0].found)), *bad[0].sizes)
    except (RuntimeError, IndexError) as error:
        error.add_note(
            "This is said of an earlier call, whose arrays lie on a GPU and are checked later. "
            "What was bad in it was skipped, and all that was computed of its results lacks that."
            + " (Perhaps it was so in others after it.)" * (len(bad) > 1)
            + "\n  To find the call: embag_edu.cuda.checking('wait')."
        )
        raise


def check_now() -> None:
    """Wait for all calls that are checked later, and raise what was found in the first bad one."""
    raise_found(wait=True)


def _refuse(found: Found, N: int, B: int, V: int, D: int | None) -> None:
    """Raise spec's error for what was found."""
    if D is not None and found.smallest != NOBODY:
        spec._check_renorm_range(np.array([found.smallest]), V, D)
    if found.bag != NOBODY:
        starts = np.array([found.first, found.last if found.end == N else found.end])
        spec._check_ends(starts[: max(B, 1)], N)
        spec._with_end(np.array([found.end]), N, include_last_offset=True)
        spec._refuse_order(found.bag, found.start, found.next)
    spec._refuse_index(found.position, found.row, V)
