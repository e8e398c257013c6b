"""The pictures of chapter 03: which way gradients flow, and to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu import loops
from embag_edu.chapters import style
from embag_edu.spec import NOBODY, Call, Saved, make_call

WIDE = 1.7  # a value, with the sign that marks a difference before it
STEP = 1.55  # from one bag to the next


def two_ways_picture() -> style.Picture:
    """The forward from the table to the loss, and the backward from the loss to the table."""
    figure, ax = style.board(22.4, 5.2)
    above = [("weight", "(V, D)"), ("output", "(B, D)"), ("loss", "one number")]
    below = [("grad_weight", "(V, D)"), ("grad_output", "(B, D)"), ("1", "")]
    lefts, width = (2.6, 9.6, 16.6), 3.8
    for x, one, other in zip(lefts, above, below, strict=True):
        _box(ax, x, -0.5, width, *one, fill=style.tint(style.BLUE, 0.16))
        _box(ax, x, -3.3, width, *other, fill=style.tint(style.AMBER, 0.45))
    for left, word in zip(lefts, ("embedding_bag", "what follows"), strict=False):
        style.arrow(ax, (left + width + 0.1, -1.15), (left + 6.9, -1.15))
        style.note(ax, left + width + 1.6, -0.75, word, size=style.SMALL)
        style.arrow(ax, (left + 6.9, -3.95), (left + width + 0.1, -3.95), line="--")
    style.note(ax, 8.0, -3.55, "this chapter", size=style.SMALL, weight="bold")
    style.note(ax, 15.0, -3.55, "given to us", size=style.SMALL)
    style.note(ax, 0.1, -1.15, "forward", align="left", weight="bold")
    style.note(ax, 0.1, -3.95, "backward", align="left", weight="bold")
    return style.Picture(
        figure,
        "Two rows of boxes. Above, the forward goes from left to right: weight (V, D), through "
        "embedding_bag to output (B, D), through whatever follows to the loss, one number. Below, "
        "the backward goes from right to left: from the loss to grad_output (B, D), which is given "
        "to us, and from there to grad_weight (V, D), which this chapter computes. Each gradient "
        "has the shape of the array above it.",
    )


def _box(ax: Axes, x: float, y: float, width: float, name: str, shape: str, *, fill: Any) -> None:
    patch = Rectangle((x, y - 1.3), width, 1.3, facecolor=fill, edgecolor=style.INK, linewidth=1)
    ax.add_patch(patch)
    style.note(ax, x + width / 2, y - (0.42 if shape else 0.65), name, mono=True)
    style.note(ax, x + width / 2, y - 0.94, shape, size=style.SMALL)


# ---- curves ---------------------------------------------------------------------------------


def step_picture(steps: Any, errors: Any) -> style.Picture:
    """The error of a central difference for many step sizes, both on logarithmic axes.

    steps:  (n,) step sizes h, positive.
    errors: (n,) |slope found - true slope|; zeros are drawn at 1e-16.
    """
    steps, found = np.asarray(steps), np.maximum(errors, 1e-16)
    best = steps[np.argmin(found)]
    figure, ax = style.figure(6.4, 3.0)
    ax.loglog(steps, found, "o-", color=style.BLUE, ms=4, lw=1.4)
    ax.axvline(best, color=style.dark(style.AMBER), ls="--", lw=1.2)
    ax.set(xlabel="step h", ylabel="error of the slope")
    ax.text(0.02, 0.06, "too small:\nrounding", transform=ax.transAxes)
    ax.text(0.98, 0.06, "too large:\nthe curve bends", transform=ax.transAxes, ha="right")
    return style.Picture(
        figure,
        "The error of the slope against the step h is a V. It is least near the middle, where a "
        "dashed line stands, between 1e-7 and 1e-4. To the right it grows with the square of h, "
        "because the curve bends; to the left it grows as h shrinks, because the two losses round "
        "to nearly equal numbers.",
    )


def kink_picture() -> style.Picture:
    """max(2, x) as x moves through 2: flat, a corner, a slope of 1."""
    x = np.linspace(0, 4, 81)
    figure, ax = style.figure(6.4, 3.0)
    ax.plot(x, np.maximum(2, x), color=style.BLUE, lw=2)
    ax.plot([1.25, 2.75], [1.625, 2.375], color=style.dark(style.AMBER), ls="--", lw=1.6)
    ax.plot(2, 2, "o", color=style.INK, ms=6)
    ax.set(xlabel="x, a value of the second row", ylabel="output: max(2, x)", ylim=(1.2, 4.2))
    ax.text(0.7, 2.15, "the first row wins:\nslope 0", ha="center")
    ax.text(2.85, 3.3, "the second row wins:\nslope 1", ha="right")
    ax.text(2.85, 1.85, "a tie: the central difference\ngives 1/2, torch gives 0", va="center")
    return style.Picture(
        figure,
        "The maximum of 2 and x, drawn against x: level at 2 while x is smaller, with slope 0; "
        "rising with slope 1 once x is larger. At x = 2 the line has a corner. A dashed line of "
        "slope one half through the corner shows what a central difference finds there; torch "
        "gives this second row 0 and the first row everything.",
    )


# ---- from grad_output to grad_weight --------------------------------------------------------


def gradient_picture(
    input: Any,
    offsets: Any,
    weight: Any,
    grad_output: Any,
    mode: str = "sum",
    padding_idx: int | None = None,
    faulty: Any = None,
    fault: str = "a faulty backward",
) -> style.Picture:
    """Where the gradient of each bag goes, and beside it what a faulty backward would answer.

    input, offsets, weight, mode, padding_idx: of the call; about 4 bags and 6 rows read well.
    grad_output: (B, D) the upstream gradient.
    faulty:      (V, D) another gradient, or None; cells that differ get the sign ≠ and a frame.
    fault:       what is wrong with it, in a few words.
    """
    weight = np.asarray(weight, np.float64)
    upstream = np.asarray(grad_output, np.float64)
    call = make_call(
        np.asarray(input), weight, np.asarray(offsets), mode=mode, padding_idx=padding_idx
    )
    _, saved = loops.forward(call)
    right = loops.grad_weight(call, saved, upstream)
    faulty = None if faulty is None else np.asarray(faulty, np.float64)
    scene = _Flow(call, saved, upstream, right, faulty, fault)
    return style.Picture(scene.draw(), scene.alt())


class _Flow:
    """grad_output at the left, the table's gradient in the middle, a wrong one at the right."""

    def __init__(self, call: Call, saved: Saved, upstream: np.ndarray, right: Any,
                 faulty: np.ndarray | None, fault: str) -> None:  # fmt: skip
        self.call, self.saved, self.upstream = call, saved, upstream
        self.right, self.faulty, self.fault = right, faulty, fault
        shown = [upstream, self.right] + ([] if faulty is None else [faulty])
        self.decimals = style.digits(*shown)
        self.differs = np.zeros(self.right.shape, bool)
        if faulty is not None:
            self.differs = ~np.isclose(self.right, faulty, rtol=1e-9, atol=1e-12)

    def draw(self) -> Any:
        """The whole figure."""
        wide = self.call.embedding_dim * WIDE
        left, middle = 3.1, 3.1 + wide + 5.4
        end = middle + wide + (0.3 if self.faulty is None else wide + 2.9)
        tall = max(self.call.num_embeddings, self.call.num_bags * STEP)
        figure, ax = style.board(max(end, 15), tall + 2.7)
        top = -1.5
        self.draw_upstream(ax, left, top, tall)
        self.draw_gradient(ax, middle, top, tall)
        if self.faulty is not None:
            self.draw_faulty(ax, middle + wide + 2.6, top, tall)
            style.note(ax, 0.1, -tall - 2.2, self.verdict(), align="left", weight="bold")
        return figure

    def draw_upstream(self, ax: Axes, x: float, top: float, tall: float) -> None:
        """A row for each bag, and arrows to the rows that its gradient reaches."""
        call, wide = self.call, self.call.embedding_dim * WIDE
        style.note(ax, x, top + 0.5, "grad_output", mono=True, align="left")
        for bag in range(call.num_bags):
            y = top - bag * STEP - (tall - call.num_bags * STEP) / 2 - (STEP - 1) / 2
            color = style.bag_color(bag)
            style.cells(ax, self.upstream[bag], x, y, width=WIDE, fill=color, weight="bold",
                        decimals=self.decimals)  # fmt: skip
            style.note(ax, x - 0.2, y - 0.28, f"bag {bag}", align="right", weight="bold",
                       color=style.dark(color))  # fmt: skip
            span = call.indices[call.offsets[bag] : call.offsets[bag + 1]]
            rows = f"rows {' '.join(map(str, span))}" if len(span) else "empty"
            style.note(ax, x - 0.2, y - 0.75, rows, align="right", size=style.SMALL)
            for row in self.reached(bag):
                end = (x + wide + 3.85, self.row_top(top, tall, row) - 0.5)
                style.flow(ax, (x + wide + 0.1, y - 0.5), end, color=style.dark(color),
                           line=style.bag_line(bag))  # fmt: skip

    def row_top(self, top: float, tall: float, row: int) -> float:
        return top - row - (tall - self.call.num_embeddings) / 2

    def reached(self, bag: int) -> list[int]:
        """The rows to which the gradient of a bag flows."""
        if self.saved.winners is not None:
            return sorted({int(row) for row in self.saved.winners[bag]} - {NOBODY})
        return sorted({int(self.call.indices[p]) for p in loops.positions_of(self.call, bag)})

    def draw_gradient(self, ax: Axes, x: float, top: float, tall: float) -> None:
        """The right gradient of the table; rows that get nothing are faint, padding is hatched."""
        style.note(ax, x, top + 0.5, "grad_weight", mono=True, align="left")
        start = self.row_top(top, tall, 0)
        style.cells(ax, self.right, x, start, width=WIDE, decimals=self.decimals,
                    hatch=self.hatches())  # fmt: skip
        for row in range(self.call.num_embeddings):
            style.note(ax, x - 0.2, start - row - 0.5, f"row {row}", align="right")

    def hatches(self) -> list[str]:
        rows = range(self.call.num_embeddings)
        return ["////" if row == self.call.padding_idx else "" for row in rows]

    def draw_faulty(self, ax: Axes, x: float, top: float, tall: float) -> None:
        """The wrong gradient, with a sign, a frame and a warm ground where it is wrong."""
        assert self.faulty is not None
        style.note(ax, x, top + 1.1, "the faulty backward answers", align="left")
        style.note(ax, x, top + 0.5, "grad_weight", mono=True, align="left")
        texts = [
            [("≠ " if bad else "") + style.show(float(value), self.decimals)
             for value, bad in zip(*pair, strict=True)]
            for pair in zip(self.faulty, self.differs, strict=True)
        ]  # fmt: skip
        ground = style.tint(style.RED, 0.35)
        fills = [[ground if bad else style.FAINT for bad in row] for row in self.differs]
        start = self.row_top(top, tall, 0)
        style.cells(ax, texts, x, start, width=WIDE, fill=fills, hatch=self.hatches())
        for row, column in np.argwhere(self.differs):
            corner = (x + column * WIDE + 0.05, start - row - 0.95)
            ax.add_patch(Rectangle(corner, WIDE - 0.1, 0.9, fill=False, edgecolor=style.INK,
                                   linewidth=1.6, zorder=5))  # fmt: skip

    def verdict(self) -> str:
        """What a test with this upstream gradient would say."""
        count, of = int(self.differs.sum()), self.differs.size
        if count:
            return f"≠  {count} of {of} cells differ: this test sees the fault."
        return f"=  0 of {of} cells differ: this test cannot see the fault."

    def alt(self) -> str:
        """The picture in sentences."""
        parts = [f"grad_output flows from {self.call.num_bags} bags to the rows of the table, "
                 f"mode {self.call.mode}."]  # fmt: skip
        for bag in range(self.call.num_bags):
            values = " ".join(style.show(float(v), self.decimals) for v in self.upstream[bag])
            rows = " and ".join(map(str, self.reached(bag))) or "none"
            parts.append(f"Bag {bag} holds {values}; it reaches rows: {rows}.")
        if self.call.padding_idx is not None:
            parts.append(f"Row {self.call.padding_idx} is padding and gets zero.")
        if self.faulty is not None:
            parts.append(f"Beside it a faulty backward ({self.fault}). {self.verdict()[3:]}")
        return " ".join(parts)


# ---- real reviews ---------------------------------------------------------------------------


def touched_picture(
    touched: Any, counts: Any, sizes: Any, labels: dict[int, str], columns: int = 100
) -> style.Picture:
    """Which rows of a large table a small batch touches, and how large gradients are by frequency.

    touched: (V,) True where a batch gives a row a gradient; drawn as a square.
    counts:  (V,) how often each row occurs in all reviews.
    sizes:   (V,) the length of each row's gradient from all reviews.
    labels:  rows to be named in the second panel: row -> word.
    """
    touched, counts, sizes = np.asarray(touched, bool), np.asarray(counts), np.asarray(sizes)
    figure, (left, right) = style.figure(9.4, 3.7, 1, 2, width_ratios=(1, 1.15))
    _mosaic(left, touched, columns)
    known = (counts > 0) & (sizes > 0)
    right.loglog(
        counts[known], sizes[known], ".", color=style.MIDDLE, ms=3, alpha=0.7, rasterized=True
    )
    for number, (row, word) in enumerate(labels.items()):
        lift = (16, 28)[number % 2]
        right.annotate(
            word, (counts[row], sizes[row]), (-6, lift), textcoords="offset points", ha="center",
            arrowprops={"arrowstyle": "-", "color": style.INK, "lw": 0.7},
        )  # fmt: skip
        right.plot(counts[row], sizes[row], "o", color=style.dark(style.AMBER), ms=5)
    right.set(xlabel="times that the word occurs", ylabel="length of its gradient")
    right.set_ylim(top=10 * sizes.max())
    right.set_title("all reviews: frequent words get more", loc="left")
    share = 100 * touched.mean()
    return style.Picture(
        figure,
        f"Left: the {len(touched):,} rows of the table, line by line. A batch gives "
        f"{touched.sum():,} of them, {share:.0f} in 100, a gradient (squares); all others, the "
        "padding row in the top left corner among them, stay at zero (empty). Right: for all "
        "reviews, the length of each word's gradient against how often it occurs: the more often, "
        f"the longer, in the main. {', '.join(labels.values())} are named.",
    )


def _mosaic(ax: Axes, touched: np.ndarray, columns: int) -> None:
    lines, rest = divmod(len(touched), columns)
    for corner, width, height in (((0, 0), columns, lines), ((0, lines), rest, 1)):
        ax.add_patch(Rectangle(corner, width, height, facecolor=style.FAINT, linewidth=0))
    row, column = np.divmod(np.flatnonzero(touched), columns)
    ax.plot(column + 0.5, row + 0.5, "s", color=style.INK, ms=2.2, mew=0)
    ax.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=style.RED, lw=1.5))
    ax.annotate("row 0: padding", (0.5, 0.5), (14, 10), textcoords="offset points", va="bottom",
                annotation_clip=False, arrowprops={"arrowstyle": "-", "lw": 0.7})  # fmt: skip
    ax.set(xlim=(0, columns), ylim=(lines + 1, 0), aspect="equal")
    ax.set_axis_off()
    share = f"{touched.sum():,} of {len(touched):,} rows touched"
    ax.text(0, -0.02, f"squares: {share}", transform=ax.transAxes, va="top")
    ax.set_title("one small batch\n", loc="left")
