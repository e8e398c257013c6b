"""The pictures of chapter 08: lanes of a warp, loads under way, what each version asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style
from embag_edu.cuda.counting import Counted
from embag_edu.cuda.prediction import SECTOR, WARP, LanePlan, planned

NAMES = {
    1: "1  thread per element",
    2: "2  warp per bag, 16 bytes",
    3: "3  loads in flight",
    4: "4  teams of lanes",
    5: "5  parts of bags",
    6: "6  pieces of work",
    7: "7  only long bags cut",
    8: "8  copies in flight",
}

# ---- pictures -------------------------------------------------------------------------------


def lanes_picture(version: int, D: int, L: int) -> style.Picture:
    """The 32 lanes of the first warp: which bag and features each has; what 8 bags ask for."""
    plan = planned(version, D, L)
    figure, ax = style.board(35, 7.2, unit=0.3)
    _draw_warp(ax, plan)
    working = int((plan.d[0] >= 0).sum())
    told = _told(D, L, plan, working)
    for line, text in enumerate(told):
        style.note(ax, 1, -4.6 - line, text, align="left", size=style.SMALL + (line == 0),
                   weight="bold" if line == 0 else "normal")  # fmt: skip
    return style.Picture(
        figure, f"The 32 lanes of a warp in version {version}, D = {D}. " + " ".join(told)
    )


def _draw_warp(ax: Axes, plan: LanePlan) -> None:
    style.note(ax, 1, -0.6, "lanes of the first warp: above the lane, below its first feature d",
               align="left", size=style.SMALL, color=style.QUIET)  # fmt: skip
    for lane in range(WARP):
        d, bag = int(plan.d[0, lane]), int(plan.bag[0, lane])
        x = 1 + lane * 33 / WARP
        style.note(ax, x + 0.5, -1.4, str(lane), size=6.5, color=style.QUIET)
        fill, hatch = (style.bag_color(bag), "") if d >= 0 else (style.PAPER, "/////")
        label = str(d) if d >= 0 else ""
        style.cells(ax, [label], x, -1.8, width=33 / WARP, size=6.5, fill=fill, hatch=hatch)
    edges = [0, *(np.flatnonzero(np.diff(plan.bag[0])) + 1), WARP]
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        if (plan.d[0, a:b] >= 0).any():
            name = f"bag {plan.bag[0, a]}" if b - a >= 4 else str(plan.bag[0, a])
            style.note(ax, 1 + (a + b) / 2 * 33 / WARP, -3.3, name, size=style.SMALL)


def _told(D: int, L: int, plan: LanePlan, working: int) -> list[str]:
    N, warps = 8 * L, len(plan.d)
    (requests, sectors), (asked, moved) = plan.rows, plan.indices
    return [
        f"{working} of 32 lanes have features, {4 * plan.pack} bytes a load; "
        f"{warps} warp{'s' * (warps > 1)} for 8 bags of {L}.",
        f"Rows, {N * D * 4:,} bytes: {requests:,} requests, {sectors:,} sectors, "
        f"{sectors / requests:.1f} a request.",
        f"Indices, {N * 8:,} bytes: {asked:,} requests, {moved:,} sectors, "
        f"{moved / asked:.1f} a request.",
    ]


def flight_picture(rows: int = 8, U: int = 4) -> style.Picture:
    """A drawing of waiting, not a measurement: loads one after another, and U at a time."""
    figure, ax = style.board(34, rows * 0.9 + 4.2, unit=0.3)
    for x, width, at_once in ((1.0, 20.5, 1), (23.0, 10.0, U)):
        name = "one load at a time" if at_once == 1 else f"{at_once} loads at a time"
        style.note(ax, x, -0.7, name, align="left", weight="bold")
        unit = 2.1
        for row in range(rows):
            begin = row // at_once * unit * (1 + 0.12 * at_once) + row % at_once * 0.12
            left, y = x + begin, -1.6 - 0.9 * row
            ax.add_patch(Rectangle((left, y - 0.6), unit, 0.6, fc=style.PALE, ec=style.INK,
                                   lw=0.8, hatch="////"))  # fmt: skip
            ax.add_patch(Rectangle((left + unit, y - 0.6), 0.22, 0.6, fc=style.BLUE, lw=0))
        end = -1.6 - 0.9 * rows - 0.3
        style.arrow(ax, (x, end), (x + width, end))
        style.note(ax, x + width - 0.4, end - 0.7, "time", align="right", size=style.SMALL)
    told = "hatched: the row is under way; solid: it is added. Drawn, not measured."
    style.note(ax, 1, -rows * 0.9 - 3.6, told, align="left", size=style.SMALL, color=style.QUIET)
    return style.Picture(
        figure,
        f"Two time lines for {rows} rows, drawn and not measured. With one load at a time each row "
        f"is asked for only when the one before has been added: {rows} waits, one after another. "
        f"With {U} at a time the waits of {U} rows overlap: {-(-rows // U)} waits.",
    )


# Made up: how long each row is under way, from its asking on. Some are nearer than others.
TOOK = (2.1, 1.6, 2.9, 1.8, 2.4, 1.5, 2.7, 2.0, 1.7, 2.8, 1.6, 2.2)
ASK, ADD = 0.12, 0.22


class Flight(NamedTuple):
    """When each row is asked for, has come, and has been added."""

    asked: np.ndarray
    come: np.ndarray
    added: np.ndarray

    def under_way(self) -> tuple[np.ndarray, np.ndarray]:
        """(times, rows): from each time to the next so many rows are under way."""
        times = np.unique(np.concatenate([self.asked, self.come, [self.added[-1]]]))
        at = times[:-1, None]
        return times, ((self.asked <= at) & (at < self.come)).sum(axis=1)

    def average(self) -> float:
        """How many rows are under way on average, from the first asking to the last addition."""
        times, under = self.under_way()
        return float((under * np.diff(times)).sum() / (times[-1] - times[0]))


def fly(rows: int, U: int, ring: bool) -> Flight:
    """Rows asked for U at a time, each U after all of the last are added; or in a ring of U places.

    In a ring, row r is asked for as soon as row r - U has been added.
    """
    asked, come, added = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    for r in range(rows):
        free = r - U if ring else r // U * U - 1  # this row must have been added
        after = [asked[r - 1] + ASK] * (r > 0) + [added[free]] * (free >= 0)
        asked[r] = max(after, default=0.0)
        come[r] = asked[r] + TOOK[r % len(TOOK)]
        added[r] = max(come[r], added[r - 1] if r else 0.0) + ADD
    return Flight(asked, come, added)


def ring_picture(rows: int = 12, U: int = 4) -> style.Picture:
    """A drawing, not a measurement: rows U at a time, and in a ring of U places."""
    figure, ax = style.board(36, rows * 0.7 + 7.6, unit=0.3)
    told = []
    for x, ring in ((1.0, False), (19.0, True)):
        flight = fly(rows, U, ring)
        name = f"a ring of {U} places" if ring else f"{U} loads at a time"
        style.note(ax, x, -0.7, name, align="left", weight="bold")
        _draw_flight(ax, flight, x, U)
        _, under = flight.under_way()
        told.append((int((under[:-1] == 0).sum()), float(flight.added[-1]), flight.average()))
    note = "hatched: the row is under way; solid: it is added. Drawn, not measured."
    style.note(ax, 1, -rows * 0.7 - 6.9, note, align="left", size=style.SMALL, color=style.QUIET)
    (gaps, end, few), (none, earlier, more) = told
    return style.Picture(
        figure,
        f"Two time lines for {rows} rows, drawn and not measured; below each, how many rows are "
        f"under way. {U} at a time: the next {U} are asked for when the last {U} are added. "
        f"Moments with nothing under way, before the end: {gaps}. In a ring of {U} places a row is "
        f"asked for whenever one has been added. Such moments: {none}. The last row is added after "
        f"{earlier / end:.0%} of the time. On average {few:.1f} rows are under way in batches, and "
        f"{more:.1f} in the ring.",
    )


def _draw_flight(ax: Axes, flight: Flight, x: float, U: int) -> None:
    wide, rows = 1.3, len(flight.asked)
    for r in range(rows):
        left, y = x + flight.asked[r] * wide, -1.5 - 0.7 * r
        ax.add_patch(Rectangle((left, y - 0.5), TOOK[r % len(TOOK)] * wide, 0.5, fc=style.PALE,
                               ec=style.INK, lw=0.8, hatch="////"))  # fmt: skip
        at = x + (flight.added[r] - ADD) * wide
        ax.add_patch(Rectangle((at, y - 0.5), ADD * wide, 0.5, fc=style.BLUE, lw=0))
    low, high = -rows * 0.7 - 5.4, 0.6
    times, under = flight.under_way()
    for begin, end, n in zip(times[:-1], times[1:], under, strict=True):
        ax.add_patch(Rectangle((x + begin * wide, low), (end - begin) * wide, n * high,
                               fc=style.AMBER, lw=0))  # fmt: skip
    mean = low + flight.average() * high
    ax.plot([x, x + times[-1] * wide], [mean, mean], color=style.INK, lw=1.2, ls=(0, (4, 2)))
    told = f"rows under way; dashed: {flight.average():.1f} on average"
    style.note(ax, x, low + U * high + 0.7, told, align="left", size=style.SMALL)
    style.arrow(ax, (x, low), (x + 16.4, low))
    style.note(ax, x + 16.2, low - 0.6, "time", align="right", size=style.SMALL)


# ---- bags and pieces -------------------------------------------------------------------------

MOST_POSITIONS = 24


class Cut(NamedTuple):
    """A long bag's positions within one piece: the partial sum in row 0 or 1 of the piece."""

    piece: int
    row: int
    bag: int
    begin: int
    end: int


def cuts_of(lengths: Sequence[int], P: int) -> list[Cut]:
    """The partial sums that version 7 writes for bags of these lengths, cut at multiples of P."""
    ends = np.cumsum(lengths)
    cuts = []
    for bag, (begin, end) in enumerate(zip(ends - lengths, ends, strict=True)):
        if end - begin > P:
            for piece in range(begin // P, (end - 1) // P + 1):
                first, last = piece * P, min(piece * P + P, int(ends[-1]))
                row = int(begin > first)  # row 0: the bag of the piece's first position
                cuts.append(Cut(piece, row, bag, max(int(begin), first), min(int(end), last)))
    return cuts


def cut_picture(lengths: Sequence[int], P: int = 4) -> style.Picture:
    """Version 7: a team for each short bag; the long ones cut at the multiples of P.

    lengths: of the bags, together 1 to 24 positions; P: 1 or more. ValueError else.
    """
    N = sum(lengths)
    if not 1 <= N <= MOST_POSITIONS or min(lengths) < 0 or P < 1:
        raise ValueError(
            f"lengths is {list(lengths)} and P is {P}; valid: 1 to {MOST_POSITIONS} positions, "
            "no length below 0, and P from 1 on"
        )
    bag_of = np.repeat(np.arange(len(lengths)), lengths)
    cuts = cuts_of(lengths, P)
    figure, ax = style.board(N + 7.0, 9.6)
    x, y = 6.4, -2.2
    style.side_note(ax, x, y + 0.9, "team for each bag", mono=False)
    _bag_teams(ax, lengths, P, x, y + 0.15)
    style.cells(ax, bag_of.tolist(), x, y, fill=[style.bag_color(int(bag)) for bag in bag_of])
    style.side_note(ax, x, y - 0.5, "bag of each position", mono=False)
    style.side_note(ax, x, y - 1.9, f"team for each {P}", mono=False)
    for piece in range(-(-N // P)):
        _draw_piece(ax, piece, P, N, [c for c in cuts if c.piece == piece], x, y - 1.15)
    style.side_note(ax, x, y - 3.3, "row 0, row 1", mono=False)
    sums = _second_pass(cuts)
    for line, told in enumerate(sums or ["No bag is cut: the second kernel finds nothing."]):
        style.note(ax, x, y - 5.2 - 0.8 * line, told, align="left", size=style.SMALL)
    return style.Picture(figure, _cut_alt(lengths, P, cuts, sums))


def _bag_teams(ax: Axes, lengths: Sequence[int], P: int, x: float, y: float) -> None:
    """A bracket for each bag, dashed where the bag is cut; a stroke where it is empty."""
    begin, empty = 0, dict[int, list[str]]()
    for bag, length in enumerate(lengths):
        if length:
            xs = x + np.array(
                [begin + 0.1, begin + 0.1, begin + length - 0.1, begin + length - 0.1]
            )
            cut = length > P
            ax.plot(xs, [y, y + 0.3, y + 0.3, y], color=style.QUIET if cut else style.INK,
                    lw=1.3, ls=(0, (3, 2)) if cut else "-")  # fmt: skip
            told = f"bag {bag}: {length}" if length > 1 else f"{bag}: 1"
            told += f" > {P}" * cut + ", cut" * (cut and length > 3)
            style.note(ax, x + begin + length / 2, y + 0.75, told, size=style.SMALL)
        else:
            empty.setdefault(begin, []).append(str(bag))
        begin += length
    for at, bags in empty.items():
        ax.plot([x + at] * 2, [y, y + 0.9], color=style.INK, lw=1.3)
        told = f"bag{'s' * (len(bags) > 1)} {', '.join(bags)}: 0"
        style.note(ax, x + at, y + 1.35, told, size=style.SMALL)


def _draw_piece(
    ax: Axes, piece: int, P: int, N: int, cuts: Sequence[Cut], x: float, y: float
) -> None:
    begin, end = piece * P, min(piece * P + P, N)
    xs = x + np.array([begin + 0.1, begin + 0.1, end - 0.1, end - 0.1])
    ax.plot(xs, [y, y - 0.3, y - 0.3, y], color=style.INK, lw=1.3)
    middle, width = x + (begin + end) / 2, min(1.3, (end - begin) / 2)
    style.note(ax, middle, y - 0.75, f"piece {piece}" if P > 2 else str(piece), size=style.SMALL)
    for row in (0, 1):
        bags = [cut.bag for cut in cuts if cut.row == row]
        fill = style.bag_color(bags[0]) if bags else style.FAINT
        left = middle - width + width * row
        style.cells(ax, [bags[0] if bags else "–"], left, y - 1.65, width=width, fill=[fill])


def _second_pass(cuts: Sequence[Cut]) -> list[str]:
    """What the second kernel adds for each long bag, in words."""
    told = []
    for bag in dict.fromkeys(cut.bag for cut in cuts):
        terms = [f"(piece {c.piece}, row {c.row})" for c in cuts if c.bag == bag]
        terms[3:-1] = ["..."] if len(terms) > 5 else terms[3:-1]
        told.append(f"output of bag {bag} = {' + '.join(terms)}")
    return told


def _cut_alt(lengths: Sequence[int], P: int, cuts: Sequence[Cut], sums: Sequence[str]) -> str:
    told = "; ".join(
        f"positions {c.begin} to {c.end - 1} of bag {c.bag} in row {c.row} of piece {c.piece}"
        for c in cuts
    )
    short = [str(bag) for bag, length in enumerate(lengths) if length <= P]
    return (
        f"Bags of {', '.join(map(str, lengths))} positions, and pieces of {P}. Teams write the "
        f"output of the short bags at once: {', '.join(short) or 'there is none'}. The long bags "
        f"leave partial sums: {told or 'none'}. {'. '.join(sums) or 'Nothing is added after'}."
    )


# ---- the ladder ------------------------------------------------------------------------------

PARTS = (  # array, its color and hatch
    ("weight", style.BLUE, ""),
    ("indices", style.AMBER, "////"),
    ("output", style.TEAL, "...."),
    ("other", style.PALE, "xx"),
)


def ladder_picture(counted: Mapping[int, Counted], N: int, D: int) -> style.Picture:
    """Bars of requests and sectors for each position, one for each version, parted by arrays."""
    figure, axes = style.figure(8.6, 0.46 * len(counted) + 1.5, columns=2, sharey=True)
    for ax, name in zip(axes, ("requests", "sectors"), strict=True):
        _draw_bars(ax, counted, name, N)
    least = D * 4 / SECTOR
    axes[1].axvline(least, color=style.INK, ls=(0, (4, 2)), lw=1)
    axes[0].set_yticks(range(len(counted)), [NAMES[version] for version in counted])
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right", frameon=False, fontsize=style.SMALL)
    return style.Picture(figure, _ladder_alt(counted, N, least))


def _draw_bars(ax: Axes, counted: Mapping[int, Counted], name: str, N: int) -> None:
    left = np.zeros(len(counted))
    for array, color, hatch in PARTS:
        share = np.array([_share(one, name, array) / N for one in counted.values()])
        ax.barh(range(len(counted)), share, left=left, color=color, hatch=hatch, height=0.62,
                edgecolor=style.PAPER, label=array)  # fmt: skip
        left += share
    for y, value in enumerate(left):
        ax.text(value + left.max() * 0.015, y, f"{value:.2f}", va="center", fontsize=style.SMALL)
    ax.set_xlim(0, left.max() * 1.16)
    ax.set_title(f"{name} for each position")


def _share(one: Counted, name: str, array: str) -> int:
    if array != "other":
        return one.total(name, array)
    return one.total(name) - sum(one.total(name, known) for known, *_ in PARTS[:-1])


def _ladder_alt(counted: Mapping[int, Counted], N: int, least: float) -> str:
    told = "; ".join(
        f"version {v}: {one.total('requests') / N:.2f} and {one.total('sectors') / N:.2f}"
        for v, one in counted.items()
    )
    return (
        "Bars for each version of the forward: requests, and sectors, for each position, parted "
        f"into weight, indices, output and other arrays. {told}. The rows alone need {least:.0f} "
        "sectors for each position, marked by a dashed line."
    )
