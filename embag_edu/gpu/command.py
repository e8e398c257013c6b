"""python -m embag_edu gpu: everything that an NVIDIA GPU can show about this package, in 8 minutes.

A new step joins by one line in STEPS.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from embag_edu.bench import recorded
from embag_edu.cuda_on_cpu import Device, device, settings
from embag_edu.cuda_on_cpu.device import Gpu, usable_cupy
from embag_edu.gpu import beyond, conformance, first_kernel, operator, peers, programs, times
from embag_edu.gpu.facts import device_facts, versions
from embag_edu.gpu.steps import FAILED, NOT_REACHED, PASSED, Probe, Step, blank, run
from embag_edu.text import aligned

STEPS = [
    Step(
        "conformance", "what CUDA means, and whole kernels, against NumPy", conformance.conformance
    ),
    Step("kernels", "the project's kernels against torch's, or NumPy's", first_kernel.kernels),
    Step("determinism", "20 launches of each exact kernel, bit for bit", conformance.determinism),
    Step("side-by-side", "the same kernels here and on the CPU", conformance.side_by_side),
    Step("clauses", "every clause of the conformance check, for our kernels", operator.clauses),
    Step("bits", "20 runs of every version, bit for bit, and the CPU's bits", operator.bits),
    Step(
        "streams",
        "other streams, a graph, nothing waited for, no memory kept",
        operator.streams,
        True,
    ),
    Step("large", "a table of more than 2**31 numbers", operator.large, True),
    Step("resources", "registers and memory, as the driver sees them", conformance.resources, True),
    Step("stopwatch", "a forward by two stopwatches", times.stopwatches, True),
    Step("ladder", "every version beside torch's, shapes A and B", times.ladder, True),
    Step("peers", "ours beside cuEmbed, Triton and torch.compile", peers.peers, True),
    Step("sweep", "ours beside torch's over D and L", times.sweep, True),
    Step("check", "what the check of indices costs", times.check_costs, True),
    Step("beyond", "fused steps, many tables, short rows, against the loops", beyond.beyond),
    Step("programs", "training, NCCL, tests, chapters", programs.programs, True, most=300.0),
    Step("candidates", "forwards that no GPU has timed yet, A and B", times.candidates, True),
]
EVERY = 5.0  # seconds from one writing of the record to the next, within a step
CLOSING = 0.9  # of the minutes: then nothing more is begun. At the end of them all is given up.


def main(words: Sequence[str]) -> int:
    """Exit status: 0 nothing failed and something ran, 1 something failed, 2 no GPU, wrong call."""
    given = parse(words)
    steps = [s for s in STEPS if given.only is None or s.name.startswith(given.only)]
    if not steps or given.minutes <= 0:
        named = ", ".join(s.name for s in STEPS)
        print(
            f"--minutes must be above 0, and --only one of {named}; "
            f"found {given.minutes:g} and {given.only!r}",
            file=sys.stderr,
        )
        return 2
    if given.list:
        print(aligned((step.name, step.says) for step in steps))
        return 0
    chosen = choose(given.on)
    if isinstance(chosen, str):
        print(chosen, file=sys.stderr)
        return 2
    return carry_out(steps, chosen, given.minutes, given.json)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu gpu", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write what was found ('-': print it)")
    parser.add_argument("--minutes", type=float, default=8.0, help="the most it may take (8)")
    parser.add_argument("--only", metavar="NAME", help="one step, or the beginning of its name")
    parser.add_argument("--list", action="store_true", help="list the steps and end")
    parser.add_argument(
        "--on",
        choices=["cuda", "cpu"],
        default="cuda",
        help="cpu: try the command itself without a GPU; nothing is timed",
    )
    return parser.parse_args(words)


def choose(kind: str) -> Device | str:
    """The device; or one sentence that says why there is none."""
    if kind == "cpu":
        return device("cpu")
    cupy, why_not = usable_cupy()
    if cupy is not None:
        return Gpu(cupy)
    return (
        f"This command needs a machine with an NVIDIA GPU, and {why_not}. With a driver there: "
        "pip install 'embag_edu[gpu]'; to try the command without a GPU: --on cpu"
    )


def carry_out(steps: list[Step], gpu: Device, minutes: float, path: str | None) -> int:
    """Do the steps, print one line for each, write the JSON. Returns the exit status."""
    begin = time.monotonic()
    probe = Probe(gpu, until=begin + CLOSING * 60 * minutes)
    record = heading(gpu, minutes) | {"steps": [blank(step) for step in steps]}
    quiet, lock = path == "-", threading.Lock()

    def keep(seconds: float = 0.0) -> None:
        """Write the record, if it is that many seconds old."""
        age = time.monotonic() - begin
        with lock:  # the watch may be writing, too
            if age >= record.get("seconds", 0.0) + seconds:
                record.update(seconds=round(age, 3), passed=exit_status(record) == 0)
                write(record, path)

    def give_up() -> None:
        for step in record["steps"]:
            if step["note"] == "running":
                step |= {"status": FAILED, "note": f"did not come back in {minutes:g} minutes"}
        keep()
        print("Given up: a kernel or a compiler did not come back in time.", file=sys.stderr)
        leave(1)

    def tell(step: dict[str, Any]) -> None:
        keep()
        if not quiet:
            print(line(step), flush=True)

    watch = threading.Timer(max(0.0, begin + 60 * minutes - time.monotonic()), give_up)
    watch.daemon = True
    watch.start()
    try:
        if not quiet:
            print(top(record), flush=True)
        with settings(mode="fast") if not probe.is_gpu else contextlib.nullcontext():
            run(steps, probe, record["steps"], tell, lambda: keep(EVERY))
    finally:
        watch.cancel()
    keep()
    print(json.dumps(record, indent=1) if quiet else closing(record))
    return exit_status(record)


def leave(status: int) -> None:
    """End the process even though a kernel still runs."""
    sys.stdout.flush()
    os._exit(status)


def heading(gpu: Device, minutes: float) -> dict[str, Any]:
    """What the record says before any step."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "made by": "python -m embag_edu gpu",
        "date": now.isoformat(timespec="seconds"),
        "device": device_facts(gpu),
        "versions": versions(gpu),
        "minutes": minutes,
    }


def exit_status(record: dict[str, Any]) -> int:
    """0 only if nothing failed and something ran."""
    found = {step["status"] for step in record["steps"]}
    return 0 if PASSED in found and FAILED not in found else 1


def write(record: dict[str, Any], path: str | None) -> None:
    """Write the JSON, if it goes to a file."""
    if path and path != "-":
        recorded.write(path, record)


# ---- what is printed -----------------------------------------------------------------------------


def top(record: dict[str, Any]) -> str:
    """The device and the versions."""
    facts = [f"{key}: {value}" for key, value in record["device"].items() if key != "kind"]
    facts += [f"{key}: {value}" for key, value in record["versions"].items()]
    mark = "" if record["device"]["kind"] == "cuda" else "device: CPU, not a GPU\n"
    return mark + "\n".join(facts) + "\n"


def line(step: dict[str, Any]) -> str:
    """One step in a line, and what went wrong below it."""
    counts = [
        f"{n} {word}"
        for word in (PASSED, FAILED, "skipped")
        if (n := sum(r["status"] == word for r in step["results"]))
    ]
    told = "; ".join(filter(None, [", ".join(counts), step["note"]]))
    lines = [f"{step['name']:14} {step['status']:12} {step['seconds']:7.1f} s  {told}"]
    wrong = [r for r in step["results"] if r["status"] != PASSED]
    lines += [f"    {r['status']}: {r['name']}: {r['note']}" for r in wrong[:10]]
    lines += [f"    ... and {len(wrong) - 10} more, in the JSON"] if len(wrong) > 10 else []
    lines += [times for r in step["results"] for times in times_of(r)]
    return "\n".join(lines)


def times_of(result: dict[str, Any]) -> list[str]:
    """The times in a result, one line for each implementation."""
    if "bytes_per_second" in result:
        return [f"    copy: {result['bytes_per_second'] / 1e9:.0f} GB/s, read and written"]
    return [
        f"    {result['name']}: {who} {c['median_ms']:.4f} ms "
        + (f"{c['logical_bytes_per_second'] / 1e9:.0f} GB/s" if "of_copy_rate" in c else "")
        for who, c in result.get("implementations", {}).items()
    ]


def closing(record: dict[str, Any]) -> str:
    """The last line."""
    missed = [step["name"] for step in record["steps"] if step["status"] == NOT_REACHED]
    failed = [step["name"] for step in record["steps"] if step["status"] == FAILED]
    told = f"failed: {', '.join(failed)}" if failed else "nothing failed"
    told += f"; not reached: {', '.join(missed)}" if missed else ""
    mark = (
        "" if record["device"]["kind"] == "cuda" else " This was a CPU: it proves nothing of GPUs."
    )
    return f"\n{told}. {record['seconds']:.0f} seconds.{mark}"
