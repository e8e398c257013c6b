"""Our kernels as the operator: every clause, the same bits, streams, memory, large tables.

On a CPU only the command is tried: a few clauses, small shapes, few runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.bench.stopwatch import SPIN
from embag_edu.bench.workloads import Workload, inputs, table
from embag_edu.check import rounding
from embag_edu.cuda import checking
from embag_edu.cuda.launch_backward import MAX_ALGORITHMS, SPARSE_ALGORITHMS, grad_weight
from embag_edu.cuda.launch_forward import VERSIONS, Work, forward, max_bags, sum_bags
from embag_edu.cuda_on_cpu import device
from embag_edu.gpu.facts import torch_with_gpu
from embag_edu.gpu.first_kernel import within
from embag_edu.gpu.steps import FAILED, PASSED, SKIPPED, Attempt, Probe
from embag_edu.spec import Call

TIMES, TIMES_ON_CPU = 20, 3  # runs that must give the same bits
CALLS = 1000  # after which no more memory may be held than after the first ten
SPIN_MS = 60.0  # the GPU is kept so long, while the host goes on
WORKS = (
    Workload(300, 40, 64, 50, "uniform", lengths="heavy-tailed"),
    Workload(300, 40, 64, 50, "zipf", 1.15, lengths="heavy-tailed"),
    Workload(300, 40, 64, 50, "one hot row", lengths="heavy-tailed"),
    Workload(50, 7, 40, 6, "zipf", 1.15, lengths="uniform"),  # so few that one block sorts them
)
UNWAITED: dict[tuple[tuple[str, Any], ...], str] = {  # what a call is changed by
    (): "",
    (("padding_idx", 0),): ", padding",
    (("padding_idx", 0), ("scale_grad_by_freq", True)): ", padding and frequencies",
    (("mode", "max"), ("padding_idx", 0)): ", max",
}
BLOCKS = (256, 128, 64, 32)
FEW_BAGS = Workload(10_000, 64, 64, 10)  # so few positions that one block of ours sorts them
TORCHS = "the stream of torch"
ATOMIC = ("add_elements", "add_rows", "add_packs", "add_joined")
SORTED = ("run_sums", "piece_sums", "piece_packs")


@contextmanager
def chosen(kind: str) -> Iterator[None]:
    """device() is the CPU or the GPU within it."""
    before = os.environ.get("EMBAG_DEVICE")
    os.environ["EMBAG_DEVICE"] = kind
    try:
        yield
    finally:
        if before is None:
            del os.environ["EMBAG_DEVICE"]
        else:
            os.environ["EMBAG_DEVICE"] = before


def call_of(work: Workload, flat: bool = True, sparse: bool = False, **arrays: Any) -> Call:
    """The workload as a checked call, mode sum, with its arrays on device().

    flat: as positions with offsets; else as (B, L), where all bags are known to be equally long.
    arrays: weight, indices or offsets that are there already.
    """
    if not {"indices", "offsets"} <= set(arrays):
        indices, offsets = inputs(work, 0)
        arrays = {
            "indices": device().asarray(indices),
            "offsets": device().asarray(offsets),
        } | arrays
    weight = arrays.get("weight")
    weight = device().asarray(table(work)) if weight is None else weight
    N = len(arrays["indices"])
    shape = (N,) if flat else (work.bags, work.length)
    return Call(
        arrays["indices"],
        arrays["offsets"],
        weight,
        None,
        "sum",
        None,
        None,
        2.0,
        False,
        sparse,
        shape,
    )


# ---- the step "clauses" --------------------------------------------------------------------------


def clauses(probe: Probe) -> Iterator[Attempt]:
    """Every clause of the conformance table, group by group; two groups on a CPU."""
    try:
        from embag_edu.check import all_clauses, check
    except ImportError as missing:
        yield Attempt("clauses", SKIPPED, f"the check is not installed: {missing}")
        return
    groups = list(dict.fromkeys(clause.name.split(".")[0] for clause in all_clauses()))
    for group in groups if probe.is_gpu else ["forward", "sparse"]:
        with chosen(probe.gpu.kind):
            report = check(
                "cuda", group, same_errors=True, raises=False, isolate=False, explain=False
            )
        words = {"holds": PASSED, "FAILS": FAILED}
        for result in report.results:
            note = str(result.failure) if result.failure else result.note
            data = {"calls": result.tried}
            yield Attempt(result.clause.name, words.get(result.status, SKIPPED), note, data)


# ---- the step "bits" -----------------------------------------------------------------------------


def bits(probe: Probe) -> Iterator[Attempt]:
    """Many runs of each version, bit for bit; and the bits of the same kernels on the CPU.

    Algorithms with atomics are run too: how many results they had is told, and judges nothing.
    """
    for work in WORKS:
        acts = {f"forward {v}": partial(summed, work, v) for v in VERSIONS}
        acts |= {w: partial(gradient, work, w) for w in (*SORTED, *SPARSE_ALGORITHMS, *ATOMIC)}
        acts |= {w: partial(gradient_of_max, work, w) for w in MAX_ALGORITHMS}
        for what, act in acts.items():
            name = f"{what}, {work.name}"
            repeatable = what not in (*ATOMIC, "add_winners")
            yield probe.attempt(name, partial(repeated, probe, name, act, repeatable))


def summed(work: Workload, version: int, run: int) -> bytes:
    """The bits of a forward."""
    return bits_of(sum_bags(Work(call_of(work)), version)[0])


def gradient(work: Workload, algorithm: str, run: int) -> bytes:
    """The bits of a gradient; another block each run."""
    upstream = device().asarray(upstream_of(work))
    gradient = grad_weight(call_of(work), None, upstream, algorithm, BLOCKS[run % len(BLOCKS)])
    return bits_of(getattr(gradient, "values", gradient))


def gradient_of_max(work: Workload, algorithm: str, run: int) -> bytes:
    """The bits of the gradient of a maximum."""
    call = call_of(work)
    call = Call(**{**call.__dict__, "mode": "max"})
    _, saved = forward(call)
    upstream = device().asarray(upstream_of(work))
    return bits_of(grad_weight(call, saved, upstream, algorithm, BLOCKS[run % len(BLOCKS)]))


def upstream_of(work: Workload) -> np.ndarray:
    """A random grad_output, (B, D) float32."""
    size = (work.bags, work.features)
    return np.random.default_rng(7).standard_normal(size, dtype=np.float32)


def bits_of(array: Any) -> bytes:
    """The bytes of an array, wherever it is."""
    return device().asnumpy(array).tobytes()


def repeated(
    probe: Probe, name: str, act: Callable[[int], bytes], repeatable: bool = True
) -> Attempt:
    """How many different results the runs had. It must be one where the same bits are promised."""
    times = TIMES if probe.is_gpu else TIMES_ON_CPU
    with chosen(probe.gpu.kind):
        found = [act(run) for run in range(times)]
    data = {"runs": times, "different": len(set(found)), "promises the same bits": repeatable}
    problems = []
    if repeatable:
        problems += [f"{len(set(found))} different results"] if len(set(found)) > 1 else []
        with chosen("cpu"):
            data["as the CPU"] = act(0) == found[0]
        problems += [] if data["as the CPU"] else ["other bits than on the CPU"]
    return Attempt(name, FAILED if problems else PASSED, "; ".join(problems), data)


# ---- the step "streams" --------------------------------------------------------------------------


def streams(probe: Probe) -> Iterator[Attempt]:
    """Right on other streams, and as a graph; waits for nothing, keeps no memory."""
    work = Workload(10_000, 64, 256, 20)
    with chosen(probe.gpu.kind):
        call, upstream = call_of(work), device().asarray(upstream_of(work))
        expected = both(call, upstream)
        for name in ("a stream of CuPy", TORCHS):
            yield probe.attempt(name, partial(on_another, name, probe, expected, call, upstream))
        for options, what in UNWAITED.items():
            one = replace(call, **dict(options))
            name = f"nothing is waited for{what}"
            yield probe.attempt(name, partial(unwaited, name, probe, one, upstream))
        yield probe.attempt("captured in a graph", partial(captured, probe, FEW_BAGS))
        yield probe.attempt("memory after many calls", partial(kept, probe, call, upstream))
        # last: a capture that fails leaves its stream unusable
        yield probe.attempt("captured in a graph, a sort of CuPy's", partial(captured, probe, work))


def both(call: Call, upstream: Any) -> tuple[bytes, bytes]:
    """The bits of output and gradient."""
    output, saved = forward(call)
    gradient = grad_weight(call, saved, upstream)
    return bits_of(output), bits_of(gradient)


def on_another(name: str, probe: Probe, expected: tuple[Any, Any], *given: Any) -> Attempt | str:
    """'' if a stream of CuPy or of torch gives the same, with arrays made on the default one."""
    cuda = probe.gpu.xp.cuda
    if name == TORCHS:
        torch, why_not = torch_with_gpu(probe.gpu)
        if torch is None:
            return Attempt(name, SKIPPED, why_not)
        made = torch.cuda.Stream()
        stream = cuda.ExternalStream(made.cuda_stream)
    else:
        stream = cuda.Stream(non_blocking=True)
    probe.gpu.synchronize()
    with stream:
        actual = both(*given)
    return "" if actual == expected else "other bits than on the default stream"


def unwaited(name: str, probe: Probe, call: Call, upstream: Any) -> Attempt:
    """A forward and a backward are queued while the GPU is kept busy: the host is back first."""
    spin = probe.gpu.RawKernel(SPIN, "spin")
    spin((1,), (1,), (np.int64(1),))  # compiled
    with checking("trusted"):
        _, saved = forward(call)
        grad_weight(call, saved, upstream)  # compiled, and memory at hand
        probe.gpu.synchronize()
        start = time.perf_counter()
        spin((1,), (1,), (np.int64(SPIN_MS * 1.5e6),))
        grad_weight(call, forward(call)[1], upstream)
        queued = 1e3 * (time.perf_counter() - start)
        probe.gpu.synchronize()
        done = 1e3 * (time.perf_counter() - start)
    waits = queued > 0.5 * done
    note = "the host waited for the GPU" if waits else ""
    data = {"queued_ms": queued, "done_ms": done}
    return Attempt(name, FAILED if waits else PASSED, note, data)


def captured(probe: Probe, work: Workload) -> str:
    """'' if a graph of forward and backward, replayed on other numbers, gives the right bits.

    What is made while a stream is captured belongs to that stream's part of CuPy's memory pool.
    Nothing else takes from there, so what lies between the kernels stays the graph's own.
    """
    call, upstream = call_of(work), device().asarray(upstream_of(work))
    stream = probe.gpu.xp.cuda.Stream(non_blocking=True)
    with checking("trusted"):
        both(call, upstream)  # kernels are loaded: a graph can't hold that
        with stream:
            stream.begin_capture()
            output, saved = forward(call)
            gradient = grad_weight(call, saved, upstream)
            graph = stream.end_capture()
        call.weight[...] = -2 * call.weight
        upstream[...] = 3 * upstream
        call.indices[...] = call.indices[::-1].copy()
        expected = both(call, upstream)
        graph.launch(stream)
        stream.synchronize()
    return "" if (bits_of(output), bits_of(gradient)) == expected else "other bits than launches"


def kept(probe: Probe, call: Call, upstream: Any) -> Attempt:
    """Bytes of the memory pool in use after ten calls, and after CALLS."""
    pool, used = probe.gpu.xp.get_default_memory_pool(), []
    for number in range(CALLS):
        grad_weight(call, forward(call)[1], upstream)
        if number in (9, CALLS - 1):
            probe.gpu.synchronize()
            used.append((pool.used_bytes(), pool.total_bytes()))
    leaks = used[0] != used[-1]
    data = {"calls": CALLS, "used_bytes": [u for u, _ in used], "held_bytes": [t for _, t in used]}
    note = "more memory is in use" if leaks else ""
    return Attempt("memory after many calls", FAILED if leaks else PASSED, note, data)


# ---- the step "large" ----------------------------------------------------------------------------


def large(probe: Probe) -> Iterator[Attempt]:
    """A table of more than 2**31 numbers: rows at both ends, forward, maximum and gradient."""
    D = 128
    V = 2**31 // D + 1000
    name = f"V = {V}, D = {D}, float16"
    free, _ = probe.gpu.xp.cuda.Device().mem_info
    if free < 5 * V * D * 2:
        yield Attempt(name, SKIPPED, f"needs {5 * V * D * 2 / 1e9:.0f} GB of free memory")
        return
    with chosen(probe.gpu.kind):
        call, rows = table_with_ends(probe, V, D)
        for version in VERSIONS:
            yield probe.attempt(
                f"forward {version}, {name}", partial(sum_at_ends, call, rows, version)
            )
        yield probe.attempt(f"maximum, {name}", partial(max_at_ends, call, rows))
        yield probe.attempt(f"gradient, {name}", partial(gradient_at_ends, call))
    probe.gpu.xp.get_default_memory_pool().free_all_blocks()


def table_with_ends(probe: Probe, V: int, D: int) -> tuple[Call, np.ndarray]:
    """Bags over the first and the last rows of a table that holds NaN elsewhere; those rows."""
    numbers = np.r_[0, 1, V // 2, V - 2, V - 1]
    rows = np.random.default_rng(1).standard_normal((len(numbers), D)).astype(np.float16)
    weight = probe.gpu.empty((V, D), np.float16)
    weight.fill(np.nan)
    for number, row in zip(numbers, rows, strict=True):
        weight[int(number)] = probe.gpu.asarray(row)
    indices = probe.gpu.asarray(numbers[[0, 4, 3, 4, 2, 1]])
    offsets = probe.gpu.asarray(np.array([0, 2, 2, 6]))
    work = Workload(V, D, 3, 2, dtype="float16")
    return call_of(work, weight=weight, indices=indices, offsets=offsets), rows.astype(np.float64)


def sum_at_ends(call: Call, rows: np.ndarray, version: int) -> str:
    """'' if the sums are right."""
    actual = device().asnumpy(sum_bags(Work(call), version)[0])
    bags = [rows[[0, 4]], rows[:0], rows[[3, 4, 2, 1]]]
    exact = np.stack([bag.sum(0) for bag in bags])
    scale = np.stack([np.abs(bag).sum(0) for bag in bags])
    bound = rounding.bound(actual.dtype, [[2], [0], [4]], scale, exact)
    return "" if within(actual, exact, bound) else "wrong sums"


def max_at_ends(call: Call, rows: np.ndarray) -> str:
    """'' if the maxima are right."""
    actual = device().asnumpy(max_bags(Work(call))[0])
    expected = np.stack([rows[[0, 4]].max(0), 0 * rows[0], rows[[3, 4, 2, 1]].max(0)])
    return "" if np.array_equal(actual, expected) else "wrong maxima"


def gradient_at_ends(call: Call) -> str:
    """'' if each row has its gradient, and all others have none."""
    xp, V = device().xp, call.num_embeddings
    upstream = xp.asarray(np.array([[1.0], [9.0], [2.0]]).repeat(128, 1).astype(np.float16))
    gradient = grad_weight(call, None, upstream)
    rows = {0: 1, 1: 2, V // 2: 2, V - 2: 2, V - 1: 3}
    wrong = [row for row, value in rows.items() if not bool((gradient[row] == value).all())]
    others = int(xp.count_nonzero(gradient)) - len(rows) * 128
    return "" if not wrong and others == 0 else f"rows {wrong} are wrong, {others} others not zero"
