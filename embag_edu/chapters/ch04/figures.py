"""The pictures of chapter 04: reduceat's trap, a bag as a row of a matrix, bags cut into pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style


def reduceat_picture(values: Sequence[float], offsets: Sequence[int]) -> style.Picture:
    """What np.add.reduceat makes of the bags of a strip of values, and what the bags hold.

    values:  (N,) at most 16, one feature of the gathered rows.
    offsets: (B,) starts, each below N, as reduceat wants them.
    """
    cuts = [*offsets, len(values)]
    bags = list(zip(cuts[:-1], cuts[1:], strict=True))
    right = [sum(values[begin:end]) for begin, end in bags]
    found = np.add.reduceat(np.array(values), np.array(offsets)).tolist()
    figure, ax = style.board(len(values) + 10.5, 6.8)
    bag_of = np.repeat(np.arange(len(bags)), np.diff(cuts)).tolist()
    fill = [style.bag_color(bag) for bag in bag_of]
    style.positions(ax, len(values), 5, -0.6)
    style.cells(ax, list(values), 5, -0.6, fill=fill)
    style.side_note(ax, 5, -1.1, "gathered")
    style.bag_brackets(ax, cuts, 5, -1.6)
    colors = [style.bag_color(bag) for bag in range(len(bags))]
    for y, name, row in ((-4.2, "reduceat", found), (-5.5, "the bags", right)):
        style.cells(ax, row, 5, y, width=1.6, fill=colors)
        style.side_note(ax, 5, y - 0.5, name)
    wrong = [bag for bag in range(len(bags)) if found[bag] != right[bag]]
    for bag in wrong:
        corner = (5 + 1.6 * bag + 0.06, -5.14)
        ax.add_patch(Rectangle(corner, 1.48, 0.88, fill=False, lw=2.4, ec=style.INK))
        style.note(ax, 5.3 + 1.6 * len(bags), -4.7, f"bag {bag} took position {cuts[bag]}",
                   align="left")  # fmt: skip
    said = "; ".join(
        f"bag {bag} is empty and should give 0, but reduceat gives {found[bag]}, the value at "
        f"position {cuts[bag]}, where the next bag begins" for bag in wrong
    )  # fmt: skip
    return style.Picture(
        figure,
        f"{len(values)} gathered values, {', '.join(map(str, values))}, with the offsets "
        f"{', '.join(map(str, offsets))}. reduceat gives {', '.join(map(str, found))}; the sums "
        f"of the bags are {', '.join(map(str, right))}: {said or 'they agree'}.",
    )


def matrix_picture(
    input: Any, offsets: Any, weight: Any, per_sample_weights: Any = None
) -> style.Picture:
    """A bag is a row of a sparse matrix: A (B, V) times weight (V, D) is the output (B, D).

    At most 8 rows in the table, 4 bags and 12 positions. Below: the three arrays that hold A.
    """
    ids, cuts = np.asarray(input), np.append(offsets, len(input))
    table = np.asarray(weight, dtype=float)
    psw = np.ones(len(ids)) if per_sample_weights is None else np.asarray(per_sample_weights)
    bag_of = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    matrix = np.zeros((len(cuts) - 1, len(table)))
    np.add.at(matrix, (bag_of, ids), psw)
    figure, ax = style.board(len(table) + 12.5, len(table) + 5.6)
    _product(ax, matrix, table)
    y = -len(table) - 1.9
    fill = [style.bag_color(bag) for bag in bag_of.tolist()]
    for name, row in (("data", _plain(psw)), ("indices", _plain(ids))):
        style.cells(ax, row, 4.5, y, fill=fill)
        style.side_note(ax, 4.5, y - 0.5, name)
        y -= 1.1
    style.offset_marks(ax, cuts, 4.5, y + 0.1, y - 0.35)
    style.note(ax, 5.2 + len(ids), y - 0.35, "= indptr", mono=True, align="left")
    return style.Picture(
        figure,
        f"A matrix A of {len(matrix)} rows, one for each bag, and {len(table)} columns, one for "
        f"each row of the table, times the table gives the output. A holds "
        f"{' / '.join(' '.join(_plain(row)) for row in matrix)}; its other places are zeros. "
        f"Below it, the three arrays that hold A: data ({' '.join(_plain(psw))}), indices "
        f"({' '.join(_plain(ids))}), which are input, and indptr ({' '.join(map(str, cuts))}), "
        "which are the offsets with the end.",
    )


def _product(ax: Axes, matrix: np.ndarray, table: np.ndarray) -> None:
    bags, rows = matrix.shape
    features = table.shape[1]
    middle = -1 - rows / 2
    y = middle + bags / 2
    fill = [[style.bag_color(b) if v else style.FAINT for v in row] for b, row in
            enumerate(matrix)]  # fmt: skip
    texts = [[text if text != "0" else None for text in _plain(row)] for row in matrix]
    style.cells(ax, texts, 1, y, fill=fill)
    style.note(ax, 1 + rows / 2, y + 0.35, f"A ({bags}, {rows})", mono=True)
    style.note(ax, rows + 1.6, middle, "@", weight="bold", size=13)
    for row in range(rows):
        style.note(ax, rows + 2.5, -1.5 - row, str(row), color=style.QUIET, size=7.5)
        style.note(ax, 1.5 + row, y - bags - 0.25, str(row), color=style.QUIET, size=7.5)
    style.cells(ax, [_plain(row) for row in table], rows + 2.8, -1, width=1.3, fill=style.PALE)
    style.note(ax, rows + 2.8 + 0.65 * features, -0.6, "weight", mono=True)
    left = rows + 3.6 + 1.3 * features
    style.note(ax, left, middle, "=", weight="bold", size=13)
    colors = [style.bag_color(bag) for bag in range(bags)]
    style.cells(ax, [_plain(row) for row in matrix @ table], left + 0.6, y, width=1.5, fill=colors)
    style.note(ax, left + 0.6 + 0.75 * features, y + 0.35, "output", mono=True)


def _plain(row: np.ndarray) -> list[str]:
    return [f"{value:g}".replace("-", "−") for value in np.asarray(row).tolist()]


def pieces_picture(lengths: Sequence[int], limit: int, embedding_dim: int = 64) -> style.Picture:
    """Which bags fall into which piece, if a block holds `limit` rows, and the bytes of a block.

    lengths: of each bag, at most 40 positions together. The rule is that of the package.
    """
    offsets = np.append(0, np.cumsum(lengths))
    total = int(offsets[-1])
    if total > 40 or not 1 <= limit <= 40:
        raise ValueError(
            f"{total} positions and a block of {limit} rows: a picture shows at most 40 positions, "
            "and a block of 1 to 40 rows"
        )
    cut = _cut(offsets, limit)
    unit = 0.42
    figure, ax = style.board(total * unit + 11.5, 0.75 * len(cut) + 4.9)
    left = 3.2
    _strip(ax, left, -0.8, unit, offsets, 0, total)
    style.side_note(ax, left, -1.1, "input")
    for bag, (begin, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        if begin < end:
            style.note(ax, left + (begin + end) / 2 * unit, -0.45, str(bag), size=style.SMALL)
    style.note(ax, left - 0.25, -0.45, "bag", size=style.SMALL, align="right")
    runs = _runs(offsets, cut)
    for number, (begin, end) in enumerate(cut):
        y = -1.9 - 0.75 * number
        _strip(ax, left, y, unit, offsets, begin, end)
        name = f"run {runs[number]}, piece {number}"
        style.side_note(ax, left, y - 0.3, name, mono=False, size=style.SMALL)
        style.note(ax, left + total * unit + 0.3, y - 0.3, _contents(offsets, begin, end),
                   align="left", size=style.SMALL)  # fmt: skip
    y = -2.3 - 0.75 * len(cut)
    bytes_of_a_row = embedding_dim * 4
    for name, rows, hatch in (("(N, D)", total, "////"), ("a block", min(limit, total), "")):
        ax.add_patch(Rectangle((left, y - 0.6), rows * unit, 0.55, fc=style.PALE, ec=style.INK,
                               hatch=hatch, lw=1))  # fmt: skip
        style.side_note(ax, left, y - 0.32, name)
        style.note(ax, left + total * unit + 0.3, y - 0.32,
                   f"{rows} rows, {rows * bytes_of_a_row:,} bytes", align="left",
                   size=style.SMALL)  # fmt: skip
        y -= 0.8
    style.note(ax, left, y - 0.3, f"D = {embedding_dim}, float32", align="left", size=style.SMALL,
               color=style.QUIET)  # fmt: skip
    return style.Picture(figure, _pieces_alt(offsets, limit, cut, bytes_of_a_row))


def _cut(offsets: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """(begin, end) of each piece: whole bags as long as they fit, or a part of a longer bag."""
    found, first = [], 0
    while first < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[first] + limit, "right")) - 1
        stop = max(stop, first + 1)
        begins = range(int(offsets[first]), int(offsets[stop]), limit)
        found += [(begin, min(begin + limit, int(offsets[stop]))) for begin in begins]
        first = stop
    return found


def _runs(offsets: np.ndarray, cut: list[tuple[int, int]]) -> list[int]:
    """The run of each piece: a new one where a bag begins."""
    return [int(run) - 1 for run in np.cumsum(np.isin([begin for begin, _ in cut], offsets))]


def _strip(ax: Axes, x: float, y: float, unit: float, offsets: np.ndarray, begin: int,
           end: int) -> None:  # fmt: skip
    """The positions from begin to end, in their bags' looks."""
    for position in range(begin, end):
        bag = int(np.searchsorted(offsets, position, "right")) - 1
        ax.add_patch(Rectangle((x + position * unit, y - 0.55), unit, 0.55, lw=1.2,
                               fc=style.bag_color(bag), ec=style.PAPER))  # fmt: skip
        if position == offsets[bag]:
            ax.plot([x + position * unit] * 2, [y + 0.06, y - 0.61], color=style.INK, lw=1.8)


def _contents(offsets: np.ndarray, begin: int, end: int) -> str:
    """Bags 1 to 3, or part of bag 4."""
    first = int(np.searchsorted(offsets, begin, "right")) - 1
    last = int(np.searchsorted(offsets, end - 1, "right")) - 1
    rows = f"{end - begin} row{'s' * (end - begin > 1)}"
    if first < last:
        return f"bags {first} to {last}, {rows}"
    whole = offsets[first] == begin and offsets[first + 1] == end
    return f"{'' if whole else 'part of '}bag {first}, {rows}"


def _pieces_alt(
    offsets: np.ndarray, limit: int, cut: list[tuple[int, int]], bytes_of_a_row: int
) -> str:
    said = "; ".join(
        f"run {run}, piece {number}: {_contents(offsets, *piece)}"
        for number, (run, piece) in enumerate(zip(_runs(offsets, cut), cut, strict=True))
    )
    rows = int(offsets[-1])
    count = f"{len(cut)} piece{'s' * (len(cut) > 1)}"
    return (
        f"{rows} positions in {len(offsets) - 1} bags, and a block that holds {limit} rows, are "
        f"cut into {count}. {said}. All rows at once take {rows * bytes_of_a_row:,} bytes, a "
        f"block {min(limit, rows) * bytes_of_a_row:,}."
    )
