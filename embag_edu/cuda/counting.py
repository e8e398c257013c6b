"""Checked launches, on the CPU, of what a host side launches: the source of the book's counts.

watch(host, run)  -> what run() returns, and the report of each kernel that it launched
total(reports, "sectors", "weight")  -> a count, over all of them
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import patch

from embag_edu.cuda import launcher, source
from embag_edu.cuda_on_cpu import RawModule, Report, settings

Change = tuple[str, str]  # a part of a file's text, and what is to stand in its place


def watch(
    host: Any, run: Callable[[], Any], order: int = 0, change: Change | None = None
) -> tuple[Any, tuple[Report, ...]]:
    """What `run()` returns, where all that a host side launches is checked.

    host: the module whose launches are watched: embag_edu/cuda/forward.py or backward.py.
    Also the reports of these launches, which are made on the CPU, also where there is a GPU. What
    others launch meanwhile runs there too, and is not reported. Faults are raised.
    """
    reports: list[Report] = []

    def recorded(file: str, name: str, *parameters: Any) -> Any:
        instance = watched_kernel(file, name, *parameters, change=change)

        def launched(grid: tuple, block: tuple, args: tuple) -> None:
            instance(grid, block, args)
            reports.append(instance.report)

        return launched

    on_the_cpu = patch.dict(os.environ, EMBAG_DEVICE="cpu")
    ours = patch.object(host, "kernel", recorded)
    with on_the_cpu, ours, settings(mode="checked", order=order):
        return run(), tuple(reports)


def total(
    reports: Iterable[Report],
    name: str,
    array: str | None = None,
    kind: str | None = None,
    shared: bool = False,
) -> int:
    """The sum of a count over launches: of one array, of reads or writes or atomics, or of all."""
    return sum(
        getattr(line, name)
        for report in reports
        for line in report.lines
        if line.shared == shared and array in (None, line.array) and kind in (None, line.kind)
    )


def watched_kernel(file: str, name: str, *parameters: Any, change: Change | None = None) -> Any:
    """`launcher.kernel` for checked launches on the CPU, whose counts no compiler changes.

    change: another text for a part of the file. ValueError if that does not stand there once.
    """
    return _instance(file, launcher.expression(name, *parameters), change)


@functools.cache
def _instance(file: str, expression: str, change: Change | None) -> Any:
    code = source(file)
    if change:
        if code.count(change[0]) != 1:
            raise ValueError(
                f"change: {change[0]!r} stands in {file}.cu {code.count(change[0])} times, not once"
            )
        code = code.replace(*change)
    module = RawModule(code=_loaded_whole(code), name_expressions=[expression])
    return module.get_function(expression)


def _loaded_whole(code: str) -> str:
    """The source, in which a Pack is copied at once, as a GPU does.

    clang would copy it element by element, and then four requests were counted for one. float4 and
    its kin are protected from that by cuda_on_cpu.h; a struct of the source itself is not.
    """
    whole = "Pack() = default; CUDA_ON_CPU_COPY_WHOLE(Pack) };"
    for end in ("{ T element[PACK]; };", "  T element[PACK];\n};"):
        code = code.replace(end, end.removesuffix("};") + whole)
    return code
