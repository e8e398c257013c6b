"""The pictures of chapter 02: which numbers of a bag count, who wins, and what rounding does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu import loops
from embag_edu.chapters import style
from embag_edu.spec import Call, make_call

WIDE = 1.6  # a feature


def counting_picture(
    words: Sequence[str],
    input: Any,
    weight: Any,
    mode: str = "mean",
    padding_idx: int | None = None,
    per_sample_weights: Any = None,
) -> style.Picture:
    """Draw one bag from within: its rows, which of them count, and how the output comes about.

    words:  (L,) one for each position, at most 12.
    input:  (L,) ids.
    weight: (V, D) table; the rows in use are drawn with their numbers, D at most 6.
    The rest as in `embag_edu.embedding_bag`, and refused as there.
    """
    ids, table = np.asarray(input), np.asarray(weight)
    if len(ids) > 12 or table.shape[1] > 6 or len(words) != len(ids):
        raise ValueError(
            f"{len(words)} words, {len(ids)} ids, {table.shape[1]} features: a picture shows one "
            "word for each of at most 12 ids, and at most 6 features"
        )
    psw = None if per_sample_weights is None else np.asarray(per_sample_weights)[None]
    call = make_call(ids[None], table, mode=mode, padding_idx=padding_idx, per_sample_weights=psw)
    with np.errstate(invalid="ignore"):
        return _Bag(words, call).draw()


class _Bag:
    """One bag, laid out: a line for each position, the output below."""

    def __init__(self, words: Sequence[str], call: Call) -> None:
        self.words, self.call = words, call
        self.ids, self.psw = call.indices, call.per_sample_weights
        self.counted = loops.positions_of(call, 0)
        output, saved = loops.forward(call)
        self.output = output[0]
        self.winners = None if saved.winners is None else saved.winners[0]
        self.left = 3.4 + 0.2 * max(len(w) for w in words)  # where the features begin
        if self.psw is not None:
            self.left += 1.5

    def draw(self) -> style.Picture:
        features, lines = self.call.embedding_dim, len(self.ids)
        width = self.left + features * WIDE + 5.4
        figure, ax = style.board(width, lines + 2.6 + 1.1 * (self.winners is not None))
        self.draw_heads(ax)
        for position in range(lines):
            self.draw_position(ax, position, -1.0 - position)
        self.draw_output(ax, -1.45 - lines)
        return style.Picture(figure, self.alt())

    def draw_heads(self, ax: Axes) -> None:
        for x, text in ((0.7, "position"), (1.9, "id")):
            style.note(ax, x, -0.6, text, size=style.SMALL, color=style.QUIET)
        style.note(ax, 2.5, -0.6, "word", size=style.SMALL, color=style.QUIET, align="left")
        if self.psw is not None:
            style.note(ax, self.left - 0.85, -0.6, "weight", size=style.SMALL, color=style.QUIET)
        for feature in range(self.call.embedding_dim):
            x = self.left + (feature + 0.5) * WIDE
            style.note(ax, x, -0.6, f"feature {feature}", size=style.SMALL, color=style.QUIET)

    def draw_position(self, ax: Axes, position: int, y: float) -> None:
        """One line: position, id, word, its weight, its row, and what becomes of it."""
        counts = position in self.counted
        ink = style.INK if counts else style.QUIET
        style.note(ax, 0.7, y - 0.5, str(position), color=style.QUIET)
        style.note(ax, 1.9, y - 0.5, str(self.ids[position]), color=ink)
        style.note(ax, 2.5, y - 0.5, self.words[position], color=ink, align="left")
        if self.psw is not None:
            factor = f"{style.show(float(self.psw[position]), 1)} ×"
            style.note(ax, self.left - 0.85, y - 0.5, factor, color=ink)
        row = self.call.weight[self.ids[position]]
        style.cells(ax, _numbers(row), self.left, y, width=WIDE, fill=self.fills(position),
                    hatch="" if counts else "////")  # fmt: skip
        for feature in self.won_by(position):
            corner = (self.left + feature * WIDE + 0.05, y - 0.95)
            ax.add_patch(Rectangle(corner, WIDE - 0.1, 0.9, fill=False, lw=2.2, ec=style.INK))
        end = self.left + self.call.embedding_dim * WIDE + 0.3
        style.note(ax, end, y - 0.5, self.fate(position), align="left", size=style.SMALL,
                   color=ink)  # fmt: skip

    def fills(self, position: int) -> list[Any]:
        """The colors of a row's cells."""
        features = self.call.embedding_dim
        if position not in self.counted:
            return [style.FAINT] * features
        if self.winners is None:
            return [style.tint(style.TEAL, 0.45)] * features
        won = self.won_by(position)
        return [style.AMBER if f in won else style.PALE for f in range(features)]

    def won_by(self, position: int) -> list[int]:
        """The features that a position wins, in mode max."""
        if self.winners is None or position not in self.counted:
            return []
        row = self.ids[position]
        if position != next(p for p in self.counted if self.ids[p] == row):
            return []  # a tie with itself: the first has won
        return [int(feature) for feature in np.flatnonzero(self.winners == row)]

    def fate(self, position: int) -> str:
        """What becomes of a position, in words."""
        if position not in self.counted:
            return "padding: skipped"
        if self.winners is None:
            return "counts"
        won = self.won_by(position)
        if won:
            return f"wins {_features(won)}"
        equal = np.flatnonzero(self.call.weight[self.ids[position]] == self.output)
        return f"ties in {_features(equal)}, but later" if len(equal) else "wins nothing"

    def draw_output(self, ax: Axes, y: float) -> None:
        style.note(ax, self.left - 0.3, y - 0.5, "output", mono=True, align="right")
        style.cells(ax, _numbers(self.output), self.left, y, width=WIDE, fill=style.BLUE,
                    weight="bold")  # fmt: skip
        end = self.left + self.call.embedding_dim * WIDE + 0.3
        style.note(ax, end, y - 0.5, self.formula(), align="left", size=style.SMALL)
        if self.winners is None or not self.counted:
            return
        plain = self.plain_max()
        style.note(ax, self.left - 0.3, y - 1.6, "torch.max", mono=True, align="right")
        style.cells(ax, _numbers(plain), self.left, y - 1.1, width=WIDE, fill=style.FAINT)
        same = np.array_equal(plain, self.output, equal_nan=True)
        said = "of the same rows: equal" if same else "of the same rows: differs"
        style.note(ax, end, y - 1.6, said, align="left", size=style.SMALL)

    def plain_max(self) -> np.ndarray:
        """What torch.max says of the rows that count: NumPy's max has the same rule for NaN."""
        return np.asarray(self.call.weight[self.ids[self.counted]].max(axis=0))

    def formula(self) -> str:
        count, positions = len(self.counted), len(self.ids)
        if not count:
            return "no position counts: zeros"
        if self.call.mode == "max":
            return f"largest of {count} of {positions} rows"
        weighted = " weighted" if self.psw is not None else ""
        total = f"sum of {count}{weighted} row{'s' * (count > 1)}"
        return total if self.call.mode == "sum" else f"({total}) / {count}"

    def alt(self) -> str:
        """The picture in sentences."""
        skipped = [p for p in range(len(self.ids)) if p not in self.counted]
        left_out = f"{_listed(skipped)} are padding and skipped" if skipped else "none is skipped"
        said = [f"One bag of {len(self.ids)} positions ({' '.join(self.words)}), mode "
                f"{self.call.mode}. Of the positions, {left_out}."]  # fmt: skip
        numbers = ", ".join(_numbers(self.output))
        said.append(f"The output is {numbers}: {self.formula()}.")
        for position in self.counted:
            if self.won_by(position):
                word = self.words[position]
                said.append(f"Position {position} ({word}) {self.fate(position)}.")
        if self.winners is not None and self.counted:
            plain = self.plain_max()
            if not np.array_equal(plain, self.output, equal_nan=True):
                said.append(f"torch.max of the same rows differs: {', '.join(_numbers(plain))}.")
        return " ".join(said)


def _numbers(row: np.ndarray) -> list[str]:
    return [style.show(float(value), 2).replace("nan", "NaN") for value in row]


def _features(numbers: Sequence[int] | np.ndarray) -> str:
    return f"feature{'s' * (len(numbers) > 1)} {_listed(numbers)}"


def _listed(numbers: Sequence[int] | np.ndarray) -> str:
    """0, 2 and 3."""
    *first, last = (str(number) for number in numbers)
    return f"{', '.join(first)} and {last}" if first else last


def staircase_picture() -> style.Picture:
    """A running total of ones, kept in float16 and kept in float32."""
    counts = np.arange(1, 4001)
    half = np.cumsum(np.ones(4000, np.float16), dtype=np.float16)  # each total is rounded
    figure, ax = style.figure(6.2, 2.9)
    ax.plot(counts, counts, color=style.TEAL, lw=2.2, ls="--")
    ax.plot(counts, half, color=style.BLUE, lw=2.4)
    ax.text(3050, 3330, "total kept in float32", color=style.dark(style.TEAL), ha="right")
    ax.text(1950, 1780, "total kept in float16: 2048 + 1 = 2048", color=style.BLUE, va="top")
    ax.set(xlabel="ones added", ylabel="total", xlim=(0, 4100), ylim=(0, 4300),
           xticks=[0, 1000, 2048, 3000, 4000], yticks=[0, 2048, 4000])  # fmt: skip
    return style.Picture(
        figure,
        "Ones are added to a total, up to 4000 of them. Kept in float32, the total rises to 4000. "
        "Kept in float16, it rises to 2048 and stays there, however many ones follow.",
    )


def trailing_picture() -> style.Picture:
    """What torch takes of three positions when the last offset says two, by mode."""
    figure, ax = style.board(17.5, 5.9)
    readings = (("sum", [1, 1, 0], "1 + 5 = 6", "leaves it out"),
                ("mean", [1, 1, 0], "(1 + 5) / 3 = 2", "leaves it out, but divides by 3"),
                ("max", [1, 1, 1], "largest of 1, 5, 9 = 9", "takes it in"))  # fmt: skip
    ax.plot([6.6, 6.6], [-0.9, -5.6], color=style.INK, lw=2.2, ls=(0, (4, 2)))
    style.note(ax, 6.6, -0.5, "offsets[-1] = 2", mono=True, size=style.SMALL)
    for line, (mode, taken, result, words) in enumerate(readings):
        y = -1.1 - 1.6 * line
        style.side_note(ax, 3.6, y - 0.5, f"mode {mode}")
        fills = [style.AMBER if t else style.FAINT for t in taken]
        hatches = ["" if t else "////" for t in taken]
        style.cells(ax, [1, 5, 9], 3.6, y, width=1.5, fill=fills, hatch=hatches, weight="bold")
        style.note(ax, 8.6, y - 0.3, result, align="left", weight="bold")
        style.note(ax, 8.6, y - 0.8, words, align="left", size=style.SMALL)
    return style.Picture(
        figure,
        "Three positions read the values 1, 5 and 9; the last offset says that the bag ends after "
        "two. torch's mode sum leaves the third out and gives 6. Its mode mean leaves it out of "
        "the sum but divides by 3, and gives 2. Its mode max takes it in and gives 9.",
    )
