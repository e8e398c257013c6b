"""What cuEmbed's kernels ask of memory, counted on the processor beside ours.

    python -m embag_edu.gpu.cuembed_counts --json book/results/cuembed.json

Parts of shapes A and B: as many features, bags as long, a 32nd of the bags and of the table.
Launches are checked. The backward is counted from sorted entries on, without the zeros that it
begins with. Bags and entries are cut into pieces as in the whole shape (cuEmbed's: on an H200).
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu import __version__
from embag_edu.bench.recorded import SHAPES, read, write
from embag_edu.bench.workloads import Workload
from embag_edu.cuda.counting import Counted, count_sum
from embag_edu.cuda.launch_backward import Entries, Work, add_by_pieces, sorted_entries
from embag_edu.cuda.launch_forward import cut_of
from embag_edu.cuda.launcher import BLOCK, recording
from embag_edu.cuda_on_cpu import KernelFault, settings
from embag_edu.gpu import cuembed
from embag_edu.gpu.operator import call_of
from embag_edu.gpu.peers import DTYPES
from embag_edu.gpu.times import SKEWS
from embag_edu.spec import Call

MADE_BY = "python -m embag_edu.gpu.cuembed_counts"
PART, ORDERS = 32, 20


def main(words: Sequence[str] | None = None) -> int:
    """Count, print the table, write the record. Exit status: 0, or 2 where there is no cuEmbed."""
    parser = argparse.ArgumentParser(prog=MADE_BY)
    parser.add_argument("--json", metavar="FILE", help="write the record there")
    given = parser.parse_args(words)
    try:
        about = {"headers": digest(cuembed.folder()), "commit": commit(cuembed.folder())}
    except cuembed.Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    record: dict[str, Any] = {"made by": MADE_BY, "embag_edu": __version__, "cuEmbed": about}
    record |= {"part": PART, "results": list(results()), "bits": bits(), "unset": unset()}
    print(as_table(record, "forward"), as_table(record, "backward"), sep="\n\n")
    if given.json:
        write(given.json, record)
    return 0


def digest(place: Path) -> str:
    """Of the headers, so that it is known which text was counted."""
    texts = [(place / f"embedding_lookup_{name}.cuh").read_bytes() for name in cuembed.HEADERS]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def commit(place: Path) -> str | None:
    """The commit of the copy, if it is one of git's."""
    words = ["git", "-C", str(place), "rev-parse", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


# ---- counting ------------------------------------------------------------------------------------


def results() -> Iterator[dict[str, Any]]:
    """One for each step, shape, skew and dtype: the counts of each implementation."""
    for shape, (V, D, B, L) in SHAPES.items():
        for skew, exponent in SKEWS:
            for dtype in DTYPES:
                whole = Workload(V, D, B, L, skew, exponent, dtype=dtype)
                part = Workload(V // PART, D, B // PART, L, skew, exponent, dtype=dtype)
                about = {"shape": shape, "skew": f"{skew} {exponent}" if exponent > 1 else skew}
                for step, count in (("forward", forwards), ("backward", gradients)):
                    counts = {name: numbers(c) for name, c in count(part, whole).items()}
                    yield about | {"dtype": dtype, "step": step, "counts": counts}


def forwards(part: Workload, whole: Workload) -> dict[str, Counted]:
    """Ours and cuEmbed's, with offsets and with a known length. Bags are cut as in the whole."""
    call, known = call_of(part), call_of(part, flat=False)
    cut = cut_of(shape_of(whole))
    return {
        "ours": count_sum(call, 8, piece=cut),
        "ours, L known": count_sum(known, 8, piece=cut),
        "cuEmbed": counted(lambda: cuembed.forward(call)),
        "cuEmbed, L known": counted(lambda: cuembed.forward(call, known=True)),
    }


def shape_of(work: Workload) -> Call:
    """A call of these shapes whose arrays take no memory."""

    def of_zeros(dtype: Any, *shape: int) -> np.ndarray:
        return np.broadcast_to(np.zeros((), dtype), shape)

    return call_of(
        work,
        weight=of_zeros(work.dtype, work.rows, work.features),
        indices=of_zeros(np.int64, work.bags * work.length),
        offsets=of_zeros(np.int64, work.bags + 1),
    )


def gradients(part: Workload, whole: Workload, order: int = 0) -> dict[str, Counted]:
    """Ours and cuEmbed's dense gradient, from the same sorted entries."""
    work, entries = sorted_work(part)
    lanes = cuembed.loads_of(part.features, work.call.weight.dtype.itemsize)[1]
    piece = cuembed.piece_of(whole.bags * whole.length, lanes)
    return {
        "ours": counted(lambda: ours(work, entries), order),
        "cuEmbed": counted(
            lambda: cuembed.grad_weight(work.call, entries, work.upstream, piece), order
        ),
    }


def sorted_work(part: Workload) -> tuple[Work, Entries]:
    """The backward of a workload, and its entries."""
    upstream = np.random.default_rng(0).standard_normal((part.bags, part.features))
    work = Work(call_of(part), None, upstream.astype(part.dtype), BLOCK)
    with settings(mode="fast"):
        return work, sorted_entries(work)


def ours(work: Work, entries: Entries) -> Any:
    """The gradient by our kernels, from sorted entries on."""
    grad = work.zeros(work.call.weight.dtype)
    add_by_pieces(work, work.upstream, entries, grad)
    return grad


def counted(job: Callable[[], Any], order: int = 0) -> Counted:
    """A result, and the reports of its launches."""
    with recording(order=order) as reports:
        return Counted(job(), reports)


def numbers(found: Counted) -> dict[str, int]:
    """The counts of global memory, and how often a warp asks for shared memory."""
    return {
        "requests": int(found.total("requests")),
        "sectors": int(found.total("sectors")),
        "atomic requests": int(found.total("requests", kind="atomic")),
        "shared requests": int(found.total("requests", shared=True)),
    }


def bits() -> dict[str, Any]:
    """How many different gradients of one call come from 20 orders of the threads."""
    work = Workload(500, 128, 64, 20, "zipf", 1.15)
    found: dict[str, set[bytes]] = {}
    for order in range(ORDERS):
        for name, one in gradients(work, work, order).items():
            found.setdefault(name, set()).add(one.result.tobytes())
    return {"call": work.name, "orders": ORDERS} | {name: len(each) for name, each in found.items()}


def unset() -> dict[str, Any]:
    """What a checked launch says where cuEmbed's last piece is not full; and is the sum right?"""
    part = Workload(500, 128, 63, 19)
    work, entries = sorted_work(part)
    with settings(mode="fast"):
        theirs = cuembed.grad_weight(work.call, entries, work.upstream)
        right = bool(np.allclose(theirs, ours(work, entries), atol=1e-4))
    try:
        gradients(part, part)
    except KernelFault as fault:
        return {"call": part.name, "fault": fault.kind, "right": right}
    return {"call": part.name, "fault": "", "right": right}


# ---- as text -------------------------------------------------------------------------------------


def recorded(path: str | Path) -> dict[str, Any]:
    """A record of this command. Raises FileNotFoundError, ValueError for another file."""
    return read(path, MADE_BY)


Counts = dict[tuple[str, str, str], dict[str, dict[str, int]]]


def counts_of(record: dict[str, Any], step: str, dtype: str = "float32") -> Counts:
    """The counts of a step by (shape, skew, dtype), then by implementation and by count."""
    return {
        (r["shape"], r["skew"], r["dtype"]): r["counts"]
        for r in record["results"]
        if (r["step"], r["dtype"]) == (step, dtype)
    }


def times_theirs(counts: dict[str, dict[str, int]], count: str, known: bool = False) -> float:
    """One of our counts, in parts of cuEmbed's. known: with a known length of bags."""
    also = ", L known" if known else ""
    return counts[f"ours{also}"][count] / counts[f"cuEmbed{also}"][count]


def as_table(record: dict[str, Any], step: str, skews: Sequence[str] = ()) -> str:
    """Requests, sectors, atomics and requests to shared memory in float32, a line for each.

    skews: those to show; all if there is none.
    """
    lines: list[tuple[str, ...]] = [("", "", "", "requests", "sectors", "atomic", "shared")]
    for (shape, skew, _), counts in counts_of(record, step).items():
        for name, found in counts.items() if not skews or skew in skews else ():
            lines.append((shape, skew, name, *(f"{count:,}" for count in found.values())))
    widths = [max(len(line[i]) for line in lines) for i in range(7)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    """Three words to the left, numbers to the right."""
    left = [word.ljust(width) for word, width in zip(words[:3], widths, strict=False)]
    right = [word.rjust(width) for word, width in zip(words[3:], widths[3:], strict=True)]
    return "  ".join(left + right)


if __name__ == "__main__":
    sys.exit(main())
