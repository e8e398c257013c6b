"""The pictures of chapter 09: who wins a maximum, who may rescale a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style

# ---- who wins a maximum ---------------------------------------------------------------------

PADDING = None  # in place of a value: this position does not count


class Step(NamedTuple):
    """What one position did to the maximum: `holder` and `best` are those after it."""

    holder: int  # the position that leads; -1 for none yet
    best: float
    why: str


def contest(values: Sequence[float | None]) -> list[Step]:
    """max.cu on one feature of one bag, position by position; None for padding."""
    steps: list[Step] = []
    holder, best = -1, 0.0
    for position, value in enumerate(values):
        if value is None:
            why = "skipped"
        elif holder < 0 or value > best:
            why = "enters" if holder < 0 else "larger"
            holder, best = position, value
        else:
            nan = np.isnan(value) or np.isnan(best)
            why = "NaN: no" if nan else "a tie: no" if value == best else "smaller"
        steps.append(Step(holder, best, why))
    return steps


def contest_picture(*values: float | None) -> style.Picture:
    """One feature of a bag: which position leads after each, and which wins. None for padding."""
    if not 1 <= len(values) <= 12:
        raise ValueError(f"there are {len(values)} values; a picture shows 1 to 12 positions")
    steps, wide = contest(values), 2.0
    figure, ax = style.board(4.6 + wide * len(values), 5.3)
    x = 4.4
    for y, name in (
        (-1.5, "value"),
        (-2.5, "how it fares"),
        (-3.5, "leads, with"),
        (-4.8, "the maximum"),
    ):
        style.side_note(ax, x, y, name, mono=False)
    for i, (value, step) in enumerate(zip(values, steps, strict=True)):
        _draw_step(ax, i, value, step, x + i * wide, wide, i == steps[-1].holder)
    style.note(ax, x + 0.1, -4.8, _verdict(steps[-1]), align="left", weight="bold")
    return style.Picture(figure, _contest_alt(values, steps))


def _draw_step(
    ax: Axes, i: int, value: float | None, step: Step, x: float, wide: float, won: bool
) -> None:
    middle, enters = x + wide / 2, step.why in ("enters", "larger")
    fill = style.AMBER if won else style.PAPER if value is None else style.FAINT
    bold = ["normal", "bold"]
    style.note(ax, middle, -0.6, f"position {i}", color=style.QUIET, size=7.5)
    style.cells(ax, [_number(value)], x, -1.0, width=wide, fill=fill, weight=bold[won],
                hatch="/////" if value is None else "")  # fmt: skip
    style.note(ax, middle, -2.5, step.why, size=style.SMALL, weight=bold[enters])
    leads = "nobody" if step.holder < 0 else f"{step.holder}: {_number(step.best)}"
    style.cells(ax, [leads], x, -3.0, width=wide, fill=style.PALE, size=style.SMALL)


def _number(value: float | None) -> str:
    if value is None:
        return "padding"
    return "NaN" if np.isnan(value) else style.show(float(value))


def _verdict(last: Step) -> str:
    if last.holder < 0:
        return "0, and nobody has won: the winner is −1"
    return f"{_number(last.best)}, won by the row at position {last.holder}"


def _contest_alt(values: Sequence[float | None], steps: Sequence[Step]) -> str:
    told = "; ".join(
        f"position {i} ({_number(value)}) {step.why}"
        for i, (value, step) in enumerate(zip(values, steps, strict=True))
    )
    return (
        f"One feature of a bag, position by position. {told}. The maximum is {_verdict(steps[-1])}."
    )


# ---- who may rescale a row ------------------------------------------------------------------


class Claim(NamedTuple):
    """A warp that comes for its row: what it finds in `claimed`, and what it leaves there."""

    position: int
    row: int
    found: bool  # the bit was set: somebody came before
    bits: int  # of claimed, afterwards


def claims(rows: Sequence[int], order: Sequence[int]) -> list[Claim]:
    """renorm.cu's claims, if the positions come in this order. rows: of the positions, below 32."""
    bits, made = 0, []
    for position in order:
        bit = 1 << rows[position]
        made.append(Claim(position, rows[position], bool(bits & bit), bits | bit))
        bits |= bit
    return made


def claims_picture(rows: Sequence[int], order: Sequence[int], V: int = 8) -> style.Picture:
    """The warps in the order in which they come, the bits that they leave, and who rescales."""
    made = claims(rows, order)
    figure, ax = style.board(15.8 + V, 2.9 + 1.2 * len(made), unit=0.36)
    heads = ((1.5, "comes"), (4.6, "position"), (7.4, "its row"), (V + 12.4, "so the warp"))
    for x, name in (*heads, (9.4 + V / 2, "the bits of `claimed`, afterwards")):
        style.note(ax, x, -0.8, name, size=style.SMALL, color=style.QUIET)
    for row in range(V):
        style.note(ax, 9.9 + row, -1.6, str(row), size=7.5, color=style.QUIET)
    for at, claim in enumerate(made):
        y = -2.0 - 1.2 * at
        style.note(ax, 1.5, y - 0.5, f"{at + 1}.")
        style.note(ax, 4.6, y - 0.5, str(claim.position))
        style.note(ax, 7.4, y - 0.5, str(claim.row), weight="bold")
        _draw_bits(ax, claim, V, 9.4, y)
        told = "leaves" if claim.found else f"rescales row {claim.row}"
        style.note(ax, V + 10.3, y - 0.5, told, align="left",
                   weight="normal" if claim.found else "bold")  # fmt: skip
    return style.Picture(figure, _claims_alt(made))


def _draw_bits(ax: Axes, claim: Claim, V: int, x: float, y: float) -> None:
    bits = [claim.bits >> row & 1 for row in range(V)]
    fills = [style.BLUE if bit else style.FAINT for bit in bits]
    if not claim.found:
        fills[claim.row] = style.AMBER
    style.cells(ax, bits, x, y, fill=fills, size=style.SMALL)


def _claims_alt(made: Sequence[Claim]) -> str:
    told = "; ".join(
        f"position {c.position} for row {c.row}: "
        + ("the bit is set, it leaves" if c.found else "sets the bit, and rescales")
        for c in made
    )
    return f"Warps come for their rows, one after another, and look at the row's bit. {told}."
