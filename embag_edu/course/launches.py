"""CUDA source of an answer, launched in a box: what was written and seen there comes back.

`RemoteKernel` stands for `RawKernel` where a `KernelTask` judges. The source is compiled and run
in the box (what it does on the host's side, it does there); results are compared here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from embag_edu.course import values
from embag_edu.cuda_on_cpu import CompileError, KernelFault, NotModeled, RawKernel, settings
from embag_edu.cuda_on_cpu.arguments import check_arguments
from embag_edu.cuda_on_cpu.counts import Report, fault_of
from embag_edu.cuda_on_cpu.faults import Touch
from embag_edu.cuda_on_cpu.launched import Launched
from embag_edu.cuda_on_cpu.settings import current
from embag_edu.cuda_on_cpu.source import Parameter

# -------------------------------------------------------------------------- in the box


def launch(request: dict[str, Any]) -> dict[str, Any]:
    """Do one launch, as `RemoteKernel` asks for it."""
    args, failed = values.received(request["arguments"], _no_function), False
    try:
        kernel = _kernel(request["code"], request["kernel"])
        with settings(**request["settings"]):
            kernel(tuple(request["grid"]), tuple(request["block"]), args)
    except KernelFault:
        failed = True
    except CompileError as error:
        return {"errors": [error.errors, error.log[:10_000]]}
    except NotModeled as error:
        return {"not modeled": str(error)}
    report = kernel.report
    assert report is not None
    seen = report.launched
    return {
        "failed": failed,
        "after": json.dumps(values.packed(list(args), [])),
        "found": json.dumps(report.found),
        "places": [seen.spans, seen.variables, seen.shared_arrays],
        "parameters": [astuple(each)[:-1] for each in kernel.parameters],
        "warnings": kernel.warnings,
    }


_kernel = functools.lru_cache(maxsize=8)(RawKernel)


def _no_function(*_: Any) -> Any:
    raise ValueError("no argument of a launch is a function")


# -------------------------------------------------------------------------- at the grader's


class RemoteKernel:
    """A kernel whose launches are done in a box. Called like `RawKernel`, with the same faults.

    launch: hands a request over to the box: `Kernel.launch` of `outside`.
    """

    def __init__(self, launch: Callable[..., dict[str, Any]], code: str, name: str) -> None:
        self.launch, self.code, self.name = launch, code, name
        self.report: Report | None = None
        self.parameters: list[Parameter] = []
        self.warnings: list[str] = []

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any]) -> None:
        now = current()
        wanted = {"mode": "checked", "order": now.order, "seconds": now.seconds, "log": now.log}
        answer = self.launch(
            code=self.code, kernel=self.name, grid=grid, block=block, settings=wanted,
            arguments=values.sent(tuple(args), []),
        )  # fmt: skip
        if "errors" in answer:
            errors, log = answer["errors"]
            told = [(int(line), int(column), str(text)) for line, column, text in errors]
            raise CompileError(told, str(log), self.code)
        if "not modeled" in answer:
            raise NotModeled(0, str(answer["not modeled"]))
        self._read(answer, grid, block, args)

    def _read(self, answer: Any, grid: Any, block: Any, args: Sequence[Any]) -> None:
        self.parameters = [Parameter(*each) for each in answer["parameters"]]
        self.warnings = [str(each) for each in answer["warnings"]]
        grid, block = ((*each, 1, 1)[:3] for each in (grid, block))
        given = check_arguments(self.name, self.parameters, args)
        what = self.code, self.name, self.parameters, given
        launched = Launched(*what, grid, block)
        launched.spans, launched.variables, launched.shared_arrays = answer["places"]
        found = json.loads(answer["found"])
        for fault in found["faults"]:
            fault |= {"studied": [Touch(*row) for row in fault.get("studied") or ()]}
        self.report = Report(launched, found)
        if answer["failed"] or found["faults"]:
            raise fault_of(self.report)
        values.write_back(tuple(args), values.unpacked(json.loads(answer["after"]), _no_function))
