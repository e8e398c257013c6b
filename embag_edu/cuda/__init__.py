"""The project's own CUDA kernels: readable `.cu` files, and their source as text.

module = device().RawModule(code=source("first"))
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def source(name: str) -> str:
    """The text of the file `name`.cu. Raises ValueError for a name that is not there."""
    file = HERE / f"{name}.cu"
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in HERE.glob("*.cu")))
        raise ValueError(f"name is {name!r}; there are: {there}")
    return file.read_text(encoding="utf-8")
