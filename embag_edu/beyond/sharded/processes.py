"""Run a function in several processes on this machine, with a deadline: for tests and notebooks.

    outcomes = run(job, 4, "row", timeout=30)

starts 4 processes, joins them by gloo, calls `job("row")` in each and gives what each returned. At
the deadline the processes that are left are ended. At work, `torchrun` starts the processes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

# What a process has from the start; torch's first backward would import the last one, in a second.
PRELOADED = [
    "torch.distributed",
    "embag_edu.beyond.sharded.module",
    "torch.fx.experimental.symbolic_shapes",
]
END = "end"  # a file: all have written


class Outcome(NamedTuple):
    """What became of one process."""

    value: Any = None  # what the job returned
    error: BaseException | None = None  # what it raised
    seconds: float = 0.0  # how long the job ran
    exitcode: int | None = None  # as in multiprocessing; None where the deadline ended it


def run(job: Callable[..., Any], world: int, *args: Any, timeout: float = 60.0) -> list[Outcome]:
    """job(*args) in `world` processes; the outcome of each, in the order of their ranks.

    job: a function of a module, no lambda and no function of a notebook; what it takes and returns
    can be pickled. timeout: seconds until processes that still run are ended.
    """
    context = _context()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_in_process, args=(rank, world, folder, timeout, job, args))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        written = [Path(folder, str(rank)) for rank in range(world)]
        _wait(processes, written, time.monotonic() + timeout)
        Path(folder, END).touch()
        return [_outcome(*pair) for pair in zip(processes, written, strict=True)]


def values(outcomes: list[Outcome]) -> list[Any]:
    """What each process returned; raises the error of the first that failed."""
    for rank, outcome in enumerate(outcomes):
        if outcome.error is not None:
            raise outcome.error
        if outcome.exitcode != 0:
            raise RuntimeError(f"process {rank} ended with exit code {outcome.exitcode}")
    return [outcome.value for outcome in outcomes]


def _context() -> Any:
    """A forkserver that has torch already: a process starts in a fifth of a second."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _wait(processes: list[BaseProcess], written: list[Path], deadline: float) -> None:
    """Until each process has written what its job gave, or has ended; or until the deadline."""
    while time.monotonic() < deadline:
        pairs = zip(processes, written, strict=True)
        if all(path.exists() or process.exitcode is not None for process, path in pairs):
            return
        time.sleep(0.005)


def _outcome(process: BaseProcess, written: Path) -> Outcome:
    process.join(5 if written.exists() else 0)
    exitcode = process.exitcode
    if exitcode is None:
        process.kill()
        process.join()
    if not written.exists():  # it was killed, or ended itself
        return Outcome(exitcode=exitcode)
    value, error, seconds = pickle.loads(written.read_bytes())
    return Outcome(value, error, seconds, exitcode)


def _in_process(
    rank: int, world: int, folder: str, timeout: float, job: Callable[..., Any], args: Any
) -> None:
    """Start, do the job, write what it gave, and stay until all have: others may still listen."""
    torch.set_num_threads(1)
    limit = timedelta(seconds=timeout)
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", meet, timeout=limit, rank=rank, world_size=world)
    begin, value, error = time.monotonic(), None, None
    try:
        value = job(*args)
    except Exception as raised:
        error = raised
    written = Path(folder, f"{rank}.part")
    written.write_bytes(pickle.dumps((value, error, time.monotonic() - begin)))
    written.rename(Path(folder, str(rank)))
    while Path(folder).exists() and not Path(folder, END).exists():
        time.sleep(0.005)
    os._exit(0)  # a group whose peers are gone may wait, or abort, when it is taken down
