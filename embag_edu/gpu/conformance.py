"""The small kernels with one answer each, on a GPU, on the CPU, and side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda import launcher
from embag_edu.cuda.resources import read_stored
from embag_edu.cuda_on_cpu import Device, compilers, device, settings, source
from embag_edu.cuda_on_cpu.conformance import Case, features, kinds, neighbors
from embag_edu.cuda_on_cpu.conformance import run as run_case
from embag_edu.gpu.facts import architecture
from embag_edu.gpu.steps import FAILED, PASSED, SKIPPED, Attempt, Probe

TIMES = 20  # launches that must give the same bits
TIMES_ON_CPU = 3  # there the command is only tried


@dataclass(frozen=True)
class Table:
    """A source file with its kernels. file: as in resources.json; names: instances of templates."""

    name: str
    file: str
    code: str
    names: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()

    def module(self, on: Device) -> Any:
        """The source as a module of a device."""
        return on.RawModule(
            code=self.code, options=("-std=c++17",), name_expressions=self.names or None
        )


@cache
def tables() -> tuple[Table, ...]:
    """Every source file whose kernels a GPU can run. (Those of faults.cu would harm it.)"""
    folder = "cuda_on_cpu/conformance"
    near = neighbors.source()
    tables = (
        Table(
            "features",
            f"{folder}/features.cu",
            features.SOURCE,
            tuple(features.NAMES),
            tuple(features.CASES),
        ),
        Table("kinds", f"{folder}/kinds.cu", kinds.SOURCE, tuple(kinds.NAMES), tuple(kinds.CASES)),
        Table(
            "neighbors",
            f"{folder}/neighbors.cu",
            near,
            tuple(source.instances(near)),
            tuple(as_case(row) for row in neighbors.NEIGHBORS if row.fast),
        ),
    )
    return tables + tuple(project_table(path) for path in sorted(launcher.HERE.glob("*.cu")))


def project_table(path: Path) -> Table:
    """One of the project's own files; its kernels have steps of their own, and no cases here."""
    code = launcher.source(path.stem)
    return Table(path.stem, f"cuda/{path.name}", code, tuple(source.instances(code)))


def as_case(row: neighbors.Neighbor) -> Case:
    """A neighbor in the form of the other tables: its arrays get the arguments' dtypes."""

    def expect(*args: Any) -> dict[int, np.ndarray]:
        return {i: np.asarray(a).astype(args[i].dtype) for i, a in row.expect(args).items()}

    return Case(
        row.name,
        row.about,
        row.kernel,
        row.grid,
        row.block,
        row.make,
        expect,
        row.shared_mem,
        atol=row.tolerance,
    )


def launched(case: Case, module: Any, on: Device) -> tuple[str, dict[int, np.ndarray]]:
    """Run a case: what is wrong with it ('' if nothing), and its arrays by their position."""
    arrays: list[Any] = []

    def asarray(array: np.ndarray) -> Any:
        arrays.append(on.asarray(array))
        return arrays[-1]

    problem = run_case(case, module, asarray, on.asnumpy)
    arguments = case.make(np.random.default_rng(0))
    places = [i for i, a in enumerate(arguments) if not isinstance(a, (np.generic, int, float))]
    actual = {}
    for place, array in zip(places, arrays, strict=True):
        actual[place] = np.ascontiguousarray(on.asnumpy(array)).reshape(-1)
        if place in case.order_free:
            actual[place].sort()
    return problem, actual


def too_new(probe: Probe, case: Case) -> str:
    """Why this GPU cannot run the case; '' if it can."""
    here = architecture(probe.gpu)
    wanted = int(case.needs.removeprefix("sm_") or 0)
    return f"needs {case.needs}, the GPU is sm_{here}" if here < wanted else ""


def modules(probe: Probe) -> Iterator[tuple[Table, Any, Attempt]]:
    """The tables with their modules on the device; None for a module that does not compile."""
    for table in tables():
        name = f"{table.name}: compiles"

        def compile_it(table: Table = table) -> str:
            if table.name not in probe.modules:
                module = table.module(probe.gpu)
                module.compile()
                probe.modules[table.name] = module
            return ""

        result = probe.attempt(name, compile_it)
        if "cannot open source file" in result.note:
            result.note += " (NVIDIA's headers: pip install nvidia-cuda-runtime)"
        yield table, probe.modules.get(table.name), result


# ---- the steps -----------------------------------------------------------------------------------


def conformance(probe: Probe) -> Iterator[Attempt]:
    """Every case on the device, against NumPy."""
    for table, module, result in modules(probe):
        yield result
        for case in table.cases if module else ():
            name = f"{table.name}: {case.name}"
            if why := too_new(probe, case):
                yield Attempt(name, SKIPPED, why)
                continue
            yield probe.attempt(name, partial(problem_of, case, module, probe.gpu))


def problem_of(case: Case, module: Any, on: Device) -> str:
    """What is wrong with a case on a device; '' if nothing is."""
    return launched(case, module, on)[0]


def side_by_side(probe: Probe) -> Iterator[Attempt]:
    """Every case on the device and on the CPU, fast and checked: the results are compared."""
    try:
        compilers.find_compiler()
    except compilers.CompilerMissing as missing:
        yield Attempt("the CPU", SKIPPED, f"only the GPU is judged: {missing}")
        return
    for table, module, result in modules(probe):
        if not module:
            yield result
            continue
        twin = table.module(device("cpu"))
        for case in table.cases:
            if not too_new(probe, case):
                name = f"{table.name}: {case.name}"
                yield probe.attempt(name, partial(compared, probe, name, case, module, twin))


def compared(probe: Probe, name: str, case: Case, module: Any, twin: Any) -> Attempt:
    """One case on the device and twice on the CPU: the largest difference, and whether it may be.

    Two results that are each within the tolerance of what is expected may be twice as far apart.
    """
    here = launched(case, module, probe.gpu)[1]
    problems, largest = [], 0.0
    for mode in ("fast", "checked"):
        with settings(mode=mode):
            other = launched(case, twin, device("cpu"))[1]
        for place, array in here.items():
            largest = max(largest, distance(array, other[place]))
            if not alike(case, array, other[place]):
                problems.append(f"argument {place} differs from the CPU's ({mode})")
    data = {"largest_difference": largest, "exact": case.exact}
    return Attempt(name, FAILED if problems else PASSED, "; ".join(problems), data)


def alike(case: Case, a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits; or, where the case has a tolerance, no further apart than twice that."""
    if case.exact or a.dtype.kind != "f":
        return a.tobytes() == b.tobytes()
    with np.errstate(all="ignore"):  # NaN is never within a tolerance
        wide = b.astype(np.float64)
        return bool((np.abs(a - wide) <= 2 * (case.atol + case.rtol * np.abs(wide))).all())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays; 0.0 for equal bits, NaN and infinities among them."""
    if a.tobytes() == b.tobytes():
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    same = a.view(f"V{a.itemsize}") == b.view(f"V{b.itemsize}")
    return float(np.where(same, 0.0, apart).max())


def determinism(probe: Probe) -> Iterator[Attempt]:
    """The exact cases, again and again: always the same bits."""
    for table, module, result in modules(probe):
        if not module:
            yield result
            continue
        for case in table.cases:
            if case.exact and not too_new(probe, case):
                name = f"{table.name}: {case.name}"
                yield probe.attempt(name, partial(repeated, probe, case, module))


def repeated(probe: Probe, case: Case, module: Any) -> str:
    """'' if all launches of a case gave the same bits."""
    first: list[bytes] = []
    times = TIMES if probe.is_gpu else TIMES_ON_CPU
    for time in range(times):
        arrays = launched(case, module, probe.gpu)[1]
        bits = [array.tobytes() for array in arrays.values()]
        first = first or bits
        if bits != first:
            return f"launch {time + 1} of {times} gave other bits than the first"
    return ""


def resources(probe: Probe) -> Iterator[Attempt]:
    """What the driver says that each kernel needs, beside what is stored for its architecture."""
    stored = read_stored()
    arch = f"sm_{architecture(probe.gpu)}"
    for table, module, result in modules(probe):
        if not module:
            yield result
            continue
        for kernel, row in stored.get("files", {}).get(table.file, {}).items():
            name = f"{table.name}: {kernel}"
            if row and min(map(number, row)) > architecture(probe.gpu):
                yield Attempt(name, SKIPPED, f"the kernel begins with {min(row, key=number)}")
                continue
            yield probe.attempt(name, partial(needs, name, module, kernel, row.get(arch)))


def number(arch: str) -> int:
    """90 of "sm_90"."""
    return int(arch.removeprefix("sm_"))


def needs(name: str, module: Any, kernel_name: str, stored: dict[str, Any] | None) -> Attempt:
    """One kernel's registers and memory. Another NVRTC may allot others: no number is a failure."""
    kernel = module.get_function(kernel_name)
    registers = int(kernel.num_regs)
    data = {
        "registers": registers,
        "local_bytes": int(kernel.local_size_bytes),
        "shared_bytes": int(kernel.shared_size_bytes),
        "stored": stored,
    }
    note = "" if stored else "nothing is stored for this architecture"
    return Attempt(name, PASSED if registers > 0 else FAILED, note, data)
