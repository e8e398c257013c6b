"""The times: every version of the ladder beside torch's own kernels, on one GPU, in one run.

What makes them comparable is in `bench.stopwatch`. All results are held against float64 first.
What is told: medians, quartiles, the least, and the run's copy rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.arrays import to_array, to_tensor
from embag_edu.bench import traffic
from embag_edu.bench.recorded import DTYPES, SHAPES
from embag_edu.bench.stopwatch import (
    CACHE,
    Job,
    OnGpu,
    median_of,
    on_host,
    summary,
    take_turns,
)
from embag_edu.bench.workloads import Workload, inputs
from embag_edu.check import rounding
from embag_edu.cuda import checking
from embag_edu.cuda.launch_backward import grad_weight
from embag_edu.cuda.launch_forward import VERSIONS, Work, forward, sum_bags
from embag_edu.gpu import first_kernel
from embag_edu.gpu.facts import architecture, torch_with_gpu
from embag_edu.gpu.operator import call_of, chosen
from embag_edu.gpu.steps import FAILED, PASSED, SKIPPED, Attempt, Probe, last_line
from embag_edu.spec import Call

TORCH, TURNS, SAMPLE = "torch", 11, 12
THEIRS = (TORCH, "index_add_", "cuEmbed", "Triton")  # how names of peers begin
SLOW = 0.02  # seconds: who takes longer has few turns
SKEWS = (("uniform", 1.0), ("zipf", 1.05), ("zipf", 1.15))
ALGORITHMS = (
    "add_elements",
    "add_rows",
    "add_packs",
    "add_joined",
    "run_sums",
    "piece_sums",
    "piece_packs",
)
SWEEP_D, SWEEP_L = (4, 16, 64, 128, 256, 1024), (1, 4, 16, 64, 256, 1024, 4096)
SHORT = 16  # bags up to this length are timed by the version for short bags, too
SWEEP_N = 1 << 18  # positions of each call of the sweep
SMALL = (Workload(100_000, 4, 1_024, 1), Workload(100_000, 64, 1_024, 20))  # launches are all
TINY = Workload(100_000, 64, 64, 10)  # the host is all
SWEEP_DTYPES = ("float32", "bfloat16")


Judge = Callable[["Loaded", str], tuple[dict[str, Job], list[str]]]
"""The jobs of a step whose results are correct, and the names of the others."""


@dataclass
class Loaded:
    """One workload on the GPU: for us, and for torch on the same memory."""

    work: Workload
    torch: Any
    call: Call
    weight: Any  # torch's tensors from here on
    indices: Any
    offsets: Any
    upstream: Any

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return int(self.weight.element_size())

    @property
    def forward_bytes(self) -> int:
        """The logical bytes of the byte model."""
        sizes = self.work.features, len(self.indices), self.work.bags
        return traffic.forward_logical(*sizes, w=self.item)

    @property
    def grad_output(self) -> Any:
        """The upstream gradient as our array."""
        return to_array(self.upstream)

    def positions_of(self, row: int) -> Any:
        """The bags of the positions that hold a row, (n,)."""
        where = self.torch.nonzero(self.indices == row).reshape(-1)
        return self.torch.searchsorted(self.offsets, where, right=True) - 1


def load(work: Workload, torch: Any, where: str = "cuda") -> Loaded:
    """The arguments of a workload, drawn from its seed; table and upstream gradient by the GPU."""
    torch.manual_seed(0)
    dtype = getattr(torch, work.dtype)
    indices, offsets = (torch.as_tensor(array, device=where) for array in inputs(work, 0))
    weight = torch.randn(work.rows, work.features, device=where).to(dtype)
    upstream = torch.randn(work.bags, work.features, device=where).to(dtype)
    arrays = {"weight": weight, "indices": indices, "offsets": offsets}
    call = call_of(work, **{name: to_array(tensor) for name, tensor in arrays.items()})
    return Loaded(work, torch, call, weight, indices, offsets, upstream)


# ---- who takes part ------------------------------------------------------------------------------


def forwards(loaded: Loaded) -> dict[str, Job]:
    """Every version of the forward, the package's own choice where L is known, torch, and peers."""
    known = call_of(loaded.work, flat=False, **arrays_of(loaded.call))
    ours = {f"version {v}": partial(summed, loaded.call, v) for v in VERSIONS}
    ours["version 8, L known"] = partial(summed, known, 8)
    return ours | {TORCH: partial(torch_forward, loaded)} | unfused(loaded)


def arrays_of(call: Call) -> dict[str, Any]:
    """The arrays of a call by name."""
    return {"weight": call.weight, "indices": call.indices, "offsets": call.offsets}


def summed(call: Call, version: int | str | None = None) -> Any:
    """The output of one version; by default of the one that `choose` takes."""
    return sum_bags(Work(call), version)[0]


def torch_forward(loaded: Loaded, weight: Any = None, sparse: bool = False) -> Any:
    """torch's own operator."""
    return loaded.torch.nn.functional.embedding_bag(
        loaded.indices,
        loaded.weight if weight is None else weight,
        loaded.offsets,
        mode="sum",
        include_last_offset=True,
        sparse=sparse,
    )


def unfused(loaded: Loaded) -> dict[str, Job]:
    """Gather, then reduce: three times the bytes. (float32 only.)"""
    if loaded.work.dtype != "float32":
        return {}
    torch, lengths = loaded.torch, loaded.offsets.diff()

    def gather_and_reduce() -> Any:
        return torch.segment_reduce(loaded.weight[loaded.indices], "sum", lengths=lengths)

    return {"gather, segment_reduce": gather_and_reduce}


def backwards(loaded: Loaded) -> dict[str, Job]:
    """Every algorithm for the dense gradient, torch's, and index_add_ on the spread gradient."""
    torch, grad_output = loaded.torch, loaded.grad_output
    leaf = loaded.weight.detach().requires_grad_()
    output = torch_forward(loaded, leaf)

    def by_torch() -> Any:
        return torch.autograd.grad(output, leaf, loaded.upstream, retain_graph=True)[0]

    def by_index_add() -> Any:
        spread = torch.repeat_interleave(loaded.upstream, loaded.work.length, 0)
        return torch.zeros_like(loaded.weight).index_add_(0, loaded.indices, spread)

    ours = {name: partial(grad_weight, loaded.call, None, grad_output, name) for name in ALGORITHMS}
    return {**ours, TORCH: by_torch, "index_add_": by_index_add}


def sparse_steps(loaded: Loaded) -> dict[str, Job]:
    """Forward and backward with a sparse gradient: ours, by how it is checked, and torch's."""
    torch, grad_output = loaded.torch, loaded.grad_output
    call = call_of(loaded.work, sparse=True, **arrays_of(loaded.call))
    leaf = loaded.weight.detach().requires_grad_()

    def ours(mode: str) -> Any:
        with checking(mode):
            return grad_weight(call, forward(call)[1], grad_output)

    def by_torch() -> Any:
        output = torch_forward(loaded, leaf, sparse=True)
        return torch.autograd.grad(output, leaf, loaded.upstream)[0]

    return {
        "ours": partial(ours, "trusted"),
        "ours, indices checked": partial(ours, "wait"),
        "ours, checked later": partial(ours, "later"),
        TORCH: by_torch,
    }


# ---- is it correct? ------------------------------------------------------------------------------


def within(loaded: Loaded, actual: Any, parts: Any, narrow: bool = False) -> bool:
    """Whether `actual` (D,) is the sum of parts (n, D) float64, as far as rounding lets it.

    narrow: sums are kept in the dtype of weight, so every addition may round to it.
    """
    exact, scale = (sums.cpu().numpy() for sums in (parts.sum(0), parts.abs().sum(0)))
    each = len(parts) * rounding.units(loaded.work.dtype).stored if narrow else 0.0
    bound = rounding.bound(loaded.work.dtype, len(parts), scale, exact, each)
    return first_kernel.within(actual.double().cpu().numpy(), exact, bound)


def as_tensor(result: Any) -> Any:
    """An output of ours, or of torch's, as torch's."""
    return result.detach() if hasattr(result, "detach") else to_tensor(result)


def wrong_forward(loaded: Loaded, array: Any, narrow: bool = False) -> bool:
    """Whether some of a sample of bags is wrong."""
    actual = as_tensor(array)
    for b in np.linspace(0, loaded.work.bags - 1, SAMPLE).astype(int):
        begin, end = loaded.offsets[b : b + 2].tolist()
        rows = loaded.weight[loaded.indices[begin:end]].double()
        if not within(loaded, actual[b], rows, narrow):
            return True
    return False


def wrong_backward(loaded: Loaded, array: Any, narrow: bool = False) -> bool:
    """Whether some row of a sample, with the hottest, is wrong, or a row too many is there."""
    actual = as_tensor(array)
    hottest = int(loaded.indices.mode().values)
    sample = loaded.indices[:: max(len(loaded.indices) // SAMPLE, 1)][:SAMPLE].tolist()
    for row in [hottest, *sample]:
        parts = loaded.upstream[loaded.positions_of(row)].double()
        if not within(loaded, actual[row], parts, narrow):
            return True
    return bool((actual.any(1)).sum() > len(loaded.indices.unique()))


def wrong_sparse(loaded: Loaded, gradient: Any) -> bool:
    """Whether some of a sample of entries is not its bag's upstream gradient."""
    if isinstance(gradient, loaded.torch.Tensor):
        rows, values = gradient._indices()[0], gradient._values()
    else:
        rows = to_tensor(gradient.indices[0])
        values = as_tensor(gradient.values)
    some = loaded.torch.arange(0, len(loaded.indices), max(len(loaded.indices) // 1000, 1))
    some = some.to(rows.device)
    bags_of = loaded.torch.searchsorted(loaded.offsets, some, right=True) - 1
    expected = loaded.upstream[bags_of], loaded.indices[some]
    return not (values[some].equal(expected[0]) and rows[some].equal(expected[1]))


# ---- the steps -----------------------------------------------------------------------------------


def with_torch(probe: Probe, act: Callable[[Any], Iterator[Attempt]]) -> Iterator[Attempt]:
    """The results of act(torch), on the GPU; or one that says why there are none."""
    torch, why_not = torch_with_gpu(probe.gpu)
    if torch is None:
        yield Attempt(TORCH, SKIPPED, f"nothing to be compared with: {why_not}")
        return
    with chosen(probe.gpu.kind):
        yield from act(torch)


def workloads(dtypes: Iterable[str] = DTYPES) -> Iterator[Workload]:
    """Shapes A and B, each skew, each dtype."""
    for V, D, B, L in SHAPES.values():
        for skew, exponent in SKEWS:
            for dtype in dtypes:
                yield Workload(V, D, B, L, skew, exponent, dtype=dtype)


def compared(
    clock: OnGpu,
    step: str,
    work: Workload,
    torch: Any,
    rates: dict[str, float],
    judge: Judge | None = None,
) -> Attempt:
    """All implementations of one step at one workload. Who is wrong has no time."""
    loaded = load(work, torch)
    jobs, wrong = (judge or correct_ones)(loaded, step)
    times = turns_of(jobs, clock)
    logical = loaded.forward_bytes if step == "forward" else None
    implementations = {
        name: first_kernel.numbers(seconds, times.get(TORCH), logical, rates["copy"])
        for name, seconds in times.items()
    }
    data = {
        "workload": asdict(work),
        "step": step,
        "dtype": work.dtype,
        "cache": CACHE,
        "distinct_rows": int(loaded.indices.unique().numel()),
        "logical_bytes": logical,
        "implementations": implementations,
    }
    note = f"wrong results: {', '.join(wrong)}" if wrong else ""
    # (torch's own 16-bit gradient may lose bits on a hot row: that is no fault of ours)
    ours = [name for name in wrong if not name.startswith(THEIRS)]
    return Attempt(f"{step} {work.name}", FAILED if ours else PASSED, note, data)


def correct_ones(loaded: Loaded, step: str) -> tuple[dict[str, Job], list[str]]:
    """The implementations of a step whose result is correct, and the names of the others."""
    kinds: dict[str, tuple[Any, Any]] = {
        "forward": (forwards, wrong_forward),
        "backward": (backwards, wrong_backward),
        "sparse": (sparse_steps, wrong_sparse),
    }
    make, is_wrong = kinds[step]
    return sorted_out(make(loaded), lambda _, result: is_wrong(loaded, result))


def sorted_out(
    jobs: dict[str, Job], is_wrong: Callable[[str, Any], bool]
) -> tuple[dict[str, Job], list[str]]:
    """The jobs whose result is correct; the names of the others, with the error of who raised one.

    One that does not compile must not cost the others their times.
    """
    wrong = {}
    for name, job in jobs.items():
        try:
            if is_wrong(name, job()):
                wrong[name] = name
        except Exception as error:
            wrong[name] = f"{name} ({last_line(error)})"
    return {name: job for name, job in jobs.items() if name not in wrong}, list(wrong.values())


def turns_of(jobs: dict[str, Job], clock: OnGpu) -> dict[str, list[float]]:
    """Seconds of each job in each turn; fewer turns for slow ones."""
    return take_turns({name: [job] for name, job in jobs.items()}, clock, TURNS, slow=SLOW)


def copy_rates(clock: OnGpu) -> dict[str, float]:
    """Bytes a second, read and written: of a large copy, and of one that moves as much as A."""
    V, D, B, L = SHAPES["A"]
    moved = {
        "copy": 2 << 30,
        "copy of 161 MB": B * L * D * 4 + B * L * 8,
        "of 82 MB": B * L * D * 2,
    }
    return {name: first_kernel.copy_rate(clock, size // 2) for name, size in moved.items()}


def ladder(probe: Probe) -> Iterator[Attempt]:
    """The copy rate; then forward, backward, and both with sparse gradients, at A and B."""

    return with_torch(probe, partial(all_compared, probe, ("forward", "backward", "sparse")))


def all_compared(
    probe: Probe,
    steps: Iterable[str],
    torch: Any,
    dtypes: Iterable[str] = DTYPES,
    judge: Judge | None = None,
) -> Iterator[Attempt]:
    """The copy rate, then each step at shapes A and B, each skew, each dtype."""
    clock = OnGpu(probe.gpu)
    rates = copy_rates(clock)
    yield Attempt("copy", data={"bytes_per_second": rates["copy"], "rates": rates})
    for step in steps:
        for work in workloads(dtypes):
            act = partial(compared, clock, step, work, torch, rates, judge)
            yield probe.attempt(f"{step} {work.name}", act)
            give_memory_back(probe, torch)


def candidates(probe: Probe) -> Iterator[Attempt]:
    """Forwards that no GPU has timed yet beside version 8 and torch's, at A and B.

    The last step: one of them waits for copies by hand, and nobody has seen it on a GPU.
    """

    def judge(loaded: Loaded, step: str) -> tuple[dict[str, Job], list[str]]:
        versions: list[int | str] = [8, "8 bytes"]
        versions += ["bulk"] if architecture(probe.gpu) >= 90 else []
        jobs: dict[str, Job] = {f"version {v}": partial(summed, loaded.call, v) for v in versions}
        jobs[TORCH] = partial(torch_forward, loaded)
        return sorted_out(jobs, lambda _, result: wrong_forward(loaded, result))

    return with_torch(probe, partial(all_compared, probe, ["forward"], judge=judge))


def stopwatches(probe: Probe) -> Iterator[Attempt]:
    """The stopwatch of all other steps, and the one of older records, which reads no buffer.

    Both in one run: the difference of a forward is what it costs to write back what the cache held.
    """

    def act(torch: Any) -> Iterator[Attempt]:
        clocks = {"reads": OnGpu(probe.gpu), "does not read": OnGpu(probe.gpu, reads=False)}
        for shape in SHAPES.values():
            work = Workload(*shape)
            yield probe.attempt(f"stopwatch {work.name}", partial(both_ways, clocks, work, torch))
            give_memory_back(probe, torch)

    return with_torch(probe, act)


def both_ways(clocks: dict[str, OnGpu], work: Workload, torch: Any) -> Attempt:
    """Ours, torch's and a copy, by each clock."""
    loaded = load(work, torch)
    jobs: dict[str, Job] = {
        "ours": partial(summed, loaded.call),
        TORCH: partial(torch_forward, loaded),
    }
    data: dict[str, Any] = {"workload": asdict(work), "logical_bytes": loaded.forward_bytes}
    for name, clock in clocks.items():
        times = turns_of(jobs, clock)
        data[name] = {who: summary(times[who], times[TORCH]) for who in jobs}
        data[name]["copy_bytes_per_second"] = first_kernel.copy_rate(clock)
    return Attempt(f"stopwatch {work.name}", data=data)


def give_memory_back(probe: Probe, torch: Any) -> None:
    """Of both pools: tables of gigabytes follow one another."""
    probe.gpu.xp.get_default_memory_pool().free_all_blocks()
    torch.cuda.empty_cache()


def sweep(probe: Probe) -> Iterator[Attempt]:
    """The package's own choice against torch over D and L, forward and backward."""

    def act(torch: Any) -> Iterator[Attempt]:
        clock = OnGpu(probe.gpu)
        works = [Workload(100_000, D, SWEEP_N // L, L) for D in SWEEP_D for L in SWEEP_L]
        for dtype in SWEEP_DTYPES:
            for work in (replace(work, dtype=dtype) for work in (*works, *SMALL)):
                yield probe.attempt(f"sweep {work.name}", partial(against, clock, work, torch))

    return with_torch(probe, act)


def against(clock: OnGpu, work: Workload, torch: Any) -> Attempt:
    """Ours and torch's at one workload, forward and backward, on the GPU and on the host."""
    loaded = load(work, torch)
    gradients = backwards(loaded)
    steps: dict[str, dict[str, Job]] = {
        "forward": {"ours": partial(summed, loaded.call), TORCH: partial(torch_forward, loaded)},
        "backward": {"ours": gradients["piece_packs"], TORCH: gradients[TORCH]},
    }
    if work.length <= SHORT:
        known = call_of(work, flat=False, **arrays_of(loaded.call))
        steps["forward"] |= {"ours, L known": partial(summed, known)}
        steps["forward"] |= {"ours, short bags": partial(summed, known, "short")}
    judges: dict[str, Callable[[str, Any], bool]] = {
        "forward": lambda name, result: name != TORCH and wrong_forward(loaded, result),
        "backward": lambda name, result: name != TORCH and wrong_backward(loaded, result),
    }
    data: dict[str, Any] = {"workload": asdict(work), "dtype": work.dtype}
    wrong: list[str] = []
    for step, is_wrong in judges.items():
        jobs, bad = sorted_out(steps[step], is_wrong)
        wrong += bad
        times = turns_of(jobs, clock)
        medians = {name: 1e3 * float(np.median(seconds)) for name, seconds in times.items()}
        data[step] = {f"{name}_ms": median for name, median in medians.items()}
        data[step]["of_torch"] = medians["ours"] / medians[TORCH] if "ours" in medians else None
        data[step]["host_us"] = {
            name: 1e6 * float(np.median(clock.queueing(job, 20))) for name, job in jobs.items()
        }
    note = f"wrong results: {', '.join(wrong)}" if wrong else ""
    return Attempt(f"sweep {work.name}", FAILED if wrong else PASSED, note, data)


def check_costs(probe: Probe) -> Iterator[Attempt]:
    """What the check of indices costs: on the GPU alone, and in a loop of calls, with the host."""

    def act(torch: Any) -> Iterator[Attempt]:
        clock = OnGpu(probe.gpu)
        for work in (TINY, SMALL[1], Workload(*SHAPES["B"])):
            yield probe.attempt(f"check {work.name}", partial(checked_cost, clock, work, torch))

    return with_torch(probe, act)


def checked_cost(clock: OnGpu, work: Workload, torch: Any) -> Attempt:
    """Milliseconds a call, in a loop, by how it is checked, and of torch's."""
    loaded = load(work, torch)

    def ours(mode: str) -> None:
        with checking(mode):
            forward(loaded.call)

    jobs: dict[str, Job] = {
        "checked": partial(ours, "wait"),
        "checked later": partial(ours, "later"),
        "trusted": partial(ours, "trusted"),
        TORCH: partial(torch_forward, loaded),
    }
    both = sparse_steps(loaded)
    data = {
        "workload": asdict(work),
        "ms_a_call": {name: looped(clock, job) for name, job in jobs.items()},
        "ms_forward_and_sparse_backward": {n: looped(clock, job) for n, job in both.items()},
    }
    return Attempt(f"check {work.name}", data=data)


def looped(clock: OnGpu, job: Job, times: int = 100) -> float:
    """Milliseconds a call of a loop, from the first to when the GPU is done."""

    def loop() -> None:
        for _ in range(times):
            job()
        clock.synchronize()

    loop()  # compiled
    return 1e3 * median_of(loop, on_host, 5) / times
