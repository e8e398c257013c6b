"""Ours beside others on a GPU: NVIDIA's cuEmbed, a kernel in Triton, and what torch.compile makes.

Who is not installed is skipped, and the step says so. A peer whose sums are kept in 16 bits has
that in its name; its result is held to a wider bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from embag_edu.bench.stopwatch import Job
from embag_edu.cuda.launch_backward import (
    Work,
    add_by_pieces,
    numbered,
    sorted_entries,
    starts_of_runs,
)
from embag_edu.cuda.launcher import BLOCK, device
from embag_edu.gpu import cuembed
from embag_edu.gpu.operator import call_of
from embag_edu.gpu.steps import SKIPPED, Attempt, Probe, last_line
from embag_edu.gpu.times import (
    TORCH,
    Loaded,
    all_compared,
    arrays_of,
    as_tensor,
    backwards,
    sorted_out,
    summed,
    torch_forward,
    with_torch,
    wrong_backward,
    wrong_forward,
)

DTYPES = ("float32", "float16")  # cuEmbed has no bfloat16
IN_16_BITS, SORTED = ", sums in 16 bits", ", entries sorted before"
CUEMBED, TRITON, COMPILED = "cuEmbed", "Triton", "torch.compile"


def forwards(loaded: Loaded, absent: dict[str, str]) -> dict[str, Job]:
    """Our choice, torch, and those peers that are not `absent`."""
    known = call_of(loaded.work, flat=False, **arrays_of(loaded.call))
    jobs: dict[str, Job] = {
        "ours": partial(summed, loaded.call),
        "ours, L known": partial(summed, known),
        TORCH: partial(torch_forward, loaded),
    }
    if not absent[CUEMBED]:
        jobs[CUEMBED] = partial(cuembed.forward, loaded.call)
        jobs[f"{CUEMBED}, L known"] = partial(cuembed.forward, loaded.call, known=True)
    if not absent[TRITON]:
        jobs[TRITON] = partial(triton_forward, loaded)
    if not absent[COMPILED]:
        gather_and_sum, rows = compiled(loaded.torch), loaded.indices.view(loaded.work.bags, -1)
        jobs[f"{COMPILED}, L known"] = partial(gather_and_sum, loaded.weight, rows)
    return jobs


def triton_forward(loaded: Loaded) -> Any:
    """A program for each bag: the kernel that one writes first in Triton."""
    from embag_edu.gpu.triton_sum import sum_bags

    return sum_bags(loaded.torch, loaded.weight, loaded.indices, loaded.offsets)


def compiled(torch: Any) -> Any:
    """Gather and sum, made one kernel by torch.compile, which leaves EmbeddingBag as it is.

    One for each shape: from the second shape on it would else make a slower one for all.
    """
    return torch.compile(lambda weight, rows: weight[rows].sum(1), dynamic=False)


def gradients(loaded: Loaded, absent: dict[str, str]) -> dict[str, Job]:
    """Dense gradients: ours and torch's whole; and from sorted entries on, ours and cuEmbed's.

    From there on also compressed: a row of values for each row that occurs, in its order.
    """
    both = backwards(loaded)
    jobs = {"ours": both["piece_packs"], TORCH: both[TORCH]}
    work = Work(loaded.call, None, loaded.grad_output, BLOCK)
    entries = sorted_entries(work)

    def ours_of_sorted() -> Any:
        table = work.zeros(loaded.call.weight.dtype)
        add_by_pieces(work, work.upstream, entries, table)
        return table

    starts = starts_of_runs(entries.keys)
    runs, size = numbered(entries, starts), (len(starts), loaded.work.features)

    def ours_compressed() -> Any:
        values = device().empty(size, loaded.call.weight.dtype)
        add_by_pieces(work, work.upstream, runs, values)
        return values

    jobs |= {f"ours{SORTED}": ours_of_sorted, f"ours{SORTED}, compressed": ours_compressed}
    if not absent[CUEMBED]:
        name, narrow = f"{CUEMBED}{SORTED}", IN_16_BITS if loaded.item == 2 else ""
        theirs = partial(cuembed.grad_weight, loaded.call, grad_output=loaded.grad_output)
        jobs[name + narrow] = partial(theirs, entries)
        jobs[f"{name}, compressed{narrow}"] = partial(theirs, runs, rows=len(starts))
    return jobs


def spread(loaded: Loaded, gradient: Any) -> Any:
    """A gradient as a dense one, (V, D): a compressed one has a row for each row that occurs."""
    values = as_tensor(gradient)
    if len(values) == loaded.work.rows:
        return values
    dense = loaded.torch.zeros_like(loaded.weight)
    dense[loaded.indices.unique()] = values  # unique() sorts
    return dense


def correct_ones(
    loaded: Loaded, step: str, absent: dict[str, str]
) -> tuple[dict[str, Job], list[str]]:
    """The peers whose result is correct, and the names of the others."""
    jobs = (forwards if step == "forward" else gradients)(loaded, absent)

    def is_wrong(name: str, result: Any) -> bool:
        narrow = name.endswith(IN_16_BITS)
        if step == "forward":
            return wrong_forward(loaded, result, narrow)
        return wrong_backward(loaded, spread(loaded, result), narrow)

    return sorted_out(jobs, is_wrong)


def why_absent(torch: Any) -> dict[str, str]:
    """Of each peer, why it does not take part; "" if it does. Each is asked for something small."""
    trials: dict[str, Callable[[], object]] = {
        CUEMBED: cuembed.folder,
        TRITON: lambda: __import__("embag_edu.gpu.triton_sum"),
        COMPILED: lambda: compiled(torch)(
            torch.ones(4, 4, device="cuda"), torch.zeros(2, 2, dtype=torch.int64, device="cuda")
        ),
    }
    return {name: reason(trial) for name, trial in trials.items()}


def reason(trial: Callable[[], object]) -> str:
    """Why a trial failed; "" if it did not."""
    try:
        trial()
    except Exception as error:
        return last_line(error)
    return ""


def peers(probe: Probe) -> Iterator[Attempt]:
    """Forward and dense backward at A and B, three skews, float32 and float16."""

    def act(torch: Any) -> Iterator[Attempt]:
        absent = why_absent(torch)
        for name, why in absent.items():
            yield Attempt(name, SKIPPED, f"takes no part: {why}") if why else Attempt(name)
        judge = partial(correct_ones, absent=absent)
        yield from all_compared(probe, ("forward", "backward"), torch, DTYPES, judge)

    return with_torch(probe, act)
