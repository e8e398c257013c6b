"""The pictures of chapter 15: where tables and bags lie, and what one call saves."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from embag_edu.beyond.tables import Layout, Table
from embag_edu.beyond.tables_bytes import series
from embag_edu.chapters import style

SMALL = (
    Table("shop", 3, 2, ("shop",)),
    Table("word", 4, 2, ("title", "text")),
    Table("age", 2, 2, ("age",)),
)


def joined_picture() -> style.Picture:
    """Three tables one below the other, and which feature reads which."""
    layout = Layout(SMALL)
    figure, ax = style.figure(7.2, 4.0, 1, 1)
    ax.axis("off")
    R = int(layout.limits.sum())
    ax.set(xlim=(-3.4, 5.2), ylim=(-R - 0.2, 0.9))
    ax.text(-2.6, 0.35, "features", ha="center")
    ax.text(1.0, 0.35, "joined tables", ha="center")
    ax.text(3.1, 0.35, "row, and global row", ha="center")
    for t, table in enumerate(layout.tables):
        base = int(layout.base[t])
        color = style.tint((style.BLUE, style.AMBER, style.RED)[t], 0.45)
        for row in range(table.num_embeddings):
            ax.add_patch(_box(0.2, -(base + row) - 1, 1.6, 0.9, color))
            ax.text(3.1, -(base + row) - 0.5, f"{table.name} {row}   =   {base + row}",
                    ha="center", va="center")  # fmt: skip
        for k, name in enumerate(table.feature_names):
            y = -base - 0.5 - 1.2 * k
            ax.text(-2.6, y, name, ha="center", va="center")
            ax.annotate("", (0.1, -base - 0.5), (-1.9, y), arrowprops={"arrowstyle": "->"})
    told = "; ".join(
        f"{table.name} has {table.num_embeddings} rows from global row {base} on, read by "
        f"{' and '.join(table.feature_names)}"
        for table, base in zip(layout.tables, layout.base, strict=True)
    )
    return style.Picture(figure, f"Three tables as one, one below the other: {told}.")


def _box(x: float, y: float, width: float, height: float, color: Any) -> Any:
    """A filled box with an edge."""
    return Rectangle((x, y), width, height, facecolor=color, edgecolor=style.INK, lw=0.6)


def counts(tables: int, widths: int, positions: int = 4096) -> dict[str, tuple[int, int]]:
    """Launches of a forward, launches of a step, sorts: of T calls, and of one.

    Each table has one reader and as many positions; the widths are dealt out in turn.
    """
    of_width = [len(range(k, tables, widths)) for k in range(min(widths, tables))]
    together = 2 + sum(series(positions * many) for many in of_width)
    return {
        "launches, forward": (tables, 1),
        "launches, step": (tables * (2 + series(positions)), together),
        "sorts": (tables, 1),
    }


def launches_picture(tables: int, widths: int) -> style.Picture:
    """Bars of what T calls and one call need."""
    found = counts(tables, widths)
    figure, ax = style.figure(8.0, 3.0, 1, 1)
    for at, (name, (apart, together)) in enumerate(found.items()):
        look = {"edgecolor": style.INK, "lw": 0.6}
        ax.barh(-at + 0.19, apart, 0.36, color=style.AMBER, hatch="////", **look)
        ax.barh(-at - 0.19, together, 0.36, color=style.BLUE, **look)
        ax.text(apart, -at + 0.19, f" T calls: {apart}", va="center")
        ax.text(together, -at - 0.19, f" one call: {together}", va="center")
        ax.text(-0.02, -at, name, va="center", ha="right", transform=ax.get_yaxis_transform())
    ax.set(yticks=[], xlim=(0, 1.3 * max(max(both) for both in found.values())))
    ax.spines["left"].set_visible(False)
    ways = "one width" if widths == 1 else f"{widths} widths"
    figure.suptitle(f"{tables} tables of {ways}, 4,096 positions each",
                    x=0.01, ha="left", fontsize=11)  # fmt: skip
    told = "; ".join(f"{name} {a} and {b}" for name, (a, b) in found.items())
    return style.Picture(
        figure,
        f"Bars for {tables} tables of {ways} with 4,096 positions each, of T calls and of one "
        f"call: {told}.",
    )


def wrapped(rows: int, D: int) -> int:
    """The element at which a table begins, in 32 bits: what is left of rows * D."""
    with np.errstate(over="ignore"):
        return int(np.int32(rows) * np.int32(D))
