"""What is shown as plain text: tables, a bar while something takes its time, short errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

Item = TypeVar("Item")


class Short(Exception):
    """An error that Jupyter shows in its own words, without a traceback: a call was wrong."""

    def _render_traceback_(self) -> list[str]:
        return f"{type(self).__name__}: {self}".splitlines()


def aligned(rows: Iterable[Sequence[object]], sides: str = "<", gap: str = "  ") -> str:
    """The rows as lines, each column as wide as its widest cell.

    rows:  cells are shown by str(); a row may have fewer cells than others.
    sides: "<" (left) or ">" (right) for each column; the last one holds for all that follow.
    gap:   what stands between two columns.

    >>> print(aligned([("bag", "rows"), ("first", 12), ("second", 3)], "<>"))
    bag     rows
    first     12
    second     3
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    sides = sides.ljust(len(widths), sides[-1])
    lines = []
    for row in cells:
        columns = zip(row, sides, widths, strict=False)
        lines.append(gap.join(f"{cell:{side}{width}}" for cell, side, width in columns).rstrip())
    return "\n".join(lines)


def progress(items: Iterable[Item], unit: str = "clause") -> Iterable[Item]:
    """The items, behind a bar where tqdm is installed and somebody watches."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, unit=unit, leave=False, disable=None)  # None: if piped
    return bar
