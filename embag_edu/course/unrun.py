"""Says of a name that is not there, in a notebook: perhaps the cell that defines it was not run."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


def watch_names() -> None:
    """In Jupyter and IPython: a NameError of a cell gets a line on cells that were not run."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and not shell.custom_exceptions:  # there is room for one handler
        shell.set_custom_exc((NameError,), _show)


def _show(
    shell: Any,
    kind: type[NameError],
    error: NameError,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    last = trace
    while last.tb_next is not None:
        last = last.tb_next
    in_cell = last.tb_frame.f_globals is shell.user_global_ns
    if in_cell and error.name and not isinstance(error, UnboundLocalError):
        error.add_note(f"(Perhaps the cell above that defines `{error.name}` was not run.)")
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
