"""The picture of one call: the ids, the cuts, the rows they point at, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style

WIDE = 1.2  # a feature of a row
CELL = 1.35  # a position of the strip is wider than high: words stand above it


def bag_picture(
    input: Any,
    offsets: Any = None,
    weight: Any = None,
    mode: str = "sum",
    words: Sequence[str] | None = None,
    padding_idx: int | None = None,
    steady: bool = False,
) -> style.Picture:
    """Draw a small call of embedding_bag: about 3 bags and 10 positions are read well.

    input:   (N,) ids with offsets (B,), or (B, L) ids without.
    weight:  (V, D) table, or None: then the rows are drawn without numbers.
    mode:    "sum", "mean" or "max".
    words:   N words, one for each position, drawn above their ids.
    padding_idx: positions with this id are hatched, and no arrow leaves them.
    steady:  keep room for empty bags, so that all stays in place while offsets change.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode is {mode!r}; it must be 'sum', 'mean' or 'max'")
    ids, ends = _flat(np.asarray(input, dtype=np.int64), offsets)
    if len(ids) > 24 or len(ends) > 9:
        raise ValueError(
            f"input holds {len(ids)} positions in {len(ends) - 1} bags; "
            "a picture can show 24 positions in 8 bags"
        )
    scene = _Scene(ids, ends, weight, mode, words, padding_idx)
    scene.given_offsets, scene.steady = offsets is not None, steady
    return scene.draw()


def _flat(input: np.ndarray, offsets: Any) -> tuple[np.ndarray, np.ndarray]:
    """The ids (N,) and the offsets with the end included (B + 1,)."""
    if input.ndim == 2:
        rows, length = input.shape
        return input.reshape(-1), np.arange(rows + 1) * length
    if input.ndim != 1 or offsets is None:
        raise ValueError(
            f"input has {input.ndim} dimensions; give (N,) ids with offsets, or (B, L) ids"
        )
    return input, np.append(np.asarray(offsets, dtype=np.int64), len(input))


class _Scene:
    """One call, laid out: the strip on top, below it the table at the left, the output right."""

    def __init__(self, ids: np.ndarray, ends: np.ndarray, weight: Any, mode: str,
                 words: Sequence[str] | None, padding_idx: int | None) -> None:  # fmt: skip
        self.ids, self.ends, self.mode, self.words = ids, ends, mode, words
        self.weight = None if weight is None else np.asarray(weight)
        self.padding_idx = padding_idx
        self.rows = sorted({int(i) for i in ids})
        self.num_bags = len(ends) - 1
        self.given_offsets, self.steady = True, False
        self.features = 3 if self.weight is None else self.weight.shape[1]
        self.bag_of = np.repeat(np.arange(self.num_bags), np.diff(ends))
        self.output = self.computed()
        shown = () if self.weight is None else (self.weight[self.rows], self.output)
        self.decimals = style.digits(*shown)
        self.word_of = dict(zip(map(int, ids), words, strict=True)) if words is not None else {}

    def counted(self, bag: int) -> list[int]:
        """The ids that count in a bag, in their order, padding left out."""
        found = self.ids[self.ends[bag] : self.ends[bag + 1]]
        return [int(i) for i in found if i != self.padding_idx]

    # ---------------------------------------------------------------- the parts of the drawing
    def draw(self) -> style.Picture:
        labels = max((len(f"{word} {row}") for row, word in self.word_of.items()), default=3)
        left = max(2.2, 0.2 * labels + 0.6)
        strip_top = 1.35 if self.words is not None else 0.75
        table_top = strip_top + 3.2 + self.room_below_strip()
        height = table_top + max(len(self.rows), 1.6 * self.num_bags) + 0.3
        output_left = left + self.features * WIDE + 4.2
        right = output_left + self.features * WIDE + self.formula_width()
        figure, ax = style.board(max(left + len(self.ids) * CELL, right) + 0.4, height)
        self.draw_strip(ax, left, -strip_top)
        starts = self.draw_table(ax, left, -table_top)
        self.draw_output(ax, output_left, -table_top, starts)
        return style.Picture(figure, self.alt())

    def draw_strip(self, ax: Axes, x: float, y: float) -> None:
        """The words, the positions, the ids in their bags' colors, and the cuts between them."""
        padding = [i == self.padding_idx for i in self.ids]
        fills = [style.FAINT if p else style.bag_color(int(b))
                 for p, b in zip(padding, self.bag_of, strict=True)]  # fmt: skip
        hatches = ["////" if p else "" for p in padding]
        if len(self.ids):
            style.cells(ax, self.ids, x, y, width=CELL, fill=fills, hatch=hatches, weight="bold")
        style.side_note(ax, x, y - 0.5, "input")
        style.positions(ax, len(self.ids), x, y, width=CELL)
        for position, word in enumerate(self.words if self.words is not None else ()):
            style.note(ax, x + (position + 0.5) * CELL, y + 0.78, word)
        style.bag_brackets(ax, self.ends, x, y - 1.0, width=CELL)
        if self.given_offsets:
            lowest = y - 1.4 - self.room_below_strip()
            style.offset_marks(ax, self.ends[:-1], x, y - 1.0, lowest, width=CELL)

    def room_below_strip(self) -> float:
        """How far down the names of the bags go: an empty bag's name stands a step lower."""
        empty = self.ends[:-1][np.diff(self.ends) == 0]
        at_one_cut = int(np.unique(empty, return_counts=True)[1].max()) if len(empty) else 0
        steps = max(self.num_bags - 1, at_one_cut) if self.steady else at_one_cut
        return 0.6 + (0.4 + 0.45 * steps if steps else 0.0)

    def draw_table(self, ax: Axes, x: float, y: float) -> dict[int, tuple[float, float]]:
        """The rows that are pointed at. Returns for each id the place where its arrows begin."""
        wide = self.features * WIDE
        style.note(ax, x, y + 0.4, "weight", mono=True, align="left")
        style.note(ax, x + 1.75, y + 0.4, "only the rows in use", align="left", size=style.SMALL,
                   color=style.QUIET)  # fmt: skip
        starts = {}
        for line, row in enumerate(self.rows):
            hatch = "////" if row == self.padding_idx else ""
            values = [None] * self.features if self.weight is None else self.weight[row]
            style.cells(ax, values, x, y - line, width=WIDE, hatch=hatch, decimals=self.decimals,
                        size=style.SIZE + 1 - self.decimals)  # fmt: skip
            label = f"{self.word_of[row]}  {row}" if row in self.word_of else f"row {row}"
            style.note(ax, x - 0.2, y - line - 0.5, label, align="right")
            starts[row] = (x + wide + 0.08, y - line - 0.5)
        return starts

    def draw_output(self, ax: Axes, x: float, y: float, starts: dict[int, Any]) -> None:
        """A row for each bag, spread over the table's height, and the arrows that end in it."""
        step = max(1.6, len(self.rows) / max(self.num_bags, 1))
        style.note(ax, x, y + 0.4, "output", mono=True, align="left")
        style.note(ax, x + 1.75, y + 0.4, f"one row for each bag, mode {self.mode}", align="left",
                   size=style.SMALL, color=style.QUIET)  # fmt: skip
        for bag in range(self.num_bags):
            top, color = y - bag * step - (step - 1) / 2, style.bag_color(bag)
            row = [None] * self.features if self.output is None else self.output[bag]
            style.cells(ax, row, x, top, width=WIDE, fill=color, weight="bold",
                        decimals=self.decimals, size=style.SIZE + 1 - self.decimals)  # fmt: skip
            for used in sorted(set(self.counted(bag))):
                style.flow(ax, starts[used], (x - 0.12, top - 0.5), color=style.dark(color),
                           line=style.bag_line(bag))  # fmt: skip
            end = x + self.features * WIDE + 0.25
            style.note(ax, end, top - 0.26, f"bag {bag}", color=style.dark(color),
                       weight="bold", align="left")  # fmt: skip
            style.note(ax, end, top - 0.72, self.formula(bag), align="left", size=style.SMALL)

    # ---------------------------------------------------------------- what it says
    def computed(self) -> np.ndarray | None:
        """The output (B, D), by the package itself; None where there is no table."""
        if self.weight is None:
            return None
        from embag_edu import embedding_bag

        offsets = self.ends[:-1]
        found = embedding_bag(
            self.ids, self.weight, offsets, mode=self.mode, padding_idx=self.padding_idx
        )
        return np.asarray(found)

    def formula(self, bag: int) -> str:
        """A bag in words: 'row 3 + row 5', 'max of rows 3, 5'."""
        ids = self.counted(bag)
        if not ids:
            return "no rows: zeros"
        if len(ids) == 1:
            return f"row {ids[0]}"
        listed = ", ".join(map(str, ids))
        if self.mode == "max":
            return f"largest of rows {listed}"
        total = "rows " + " + ".join(map(str, ids))
        return total if self.mode == "sum" else f"({total}) / {len(ids)}"

    def formula_width(self) -> float:
        return 0.6 + 0.165 * max((len(self.formula(b)) for b in range(self.num_bags)), default=5)

    def alt(self) -> str:
        """The picture in sentences."""
        bags = "1 bag" if self.num_bags == 1 else f"{self.num_bags} bags"
        how = "cut by offsets into" if self.given_offsets else "the rows of a 2-D array, and make"
        parts = [f"{len(self.ids)} positions of input are {how} {bags}."]
        for bag in range(self.num_bags):
            span = slice(self.ends[bag], self.ends[bag + 1])
            ids = " ".join(str(int(i)) for i in self.ids[span])
            said = f" ({' '.join(self.words[span])})" if self.words is not None else ""
            holds = f"holds the ids {ids}{said}" if ids else "is empty"
            parts.append(f"Bag {bag} {holds}; its output is {self.formula(bag)}.")
        if self.padding_idx is not None:
            parts.append(f"Id {self.padding_idx} is padding and does not count.")
        return " ".join(parts)


README_TEXTS = ("Love this top!", "I love this dress!", "Great fit")  # three whole real reviews


def readme_picture() -> style.Picture:
    """Three of the shortest reviews as bags, over a small table: the README's picture."""
    from embag_edu.data import bags, reviews, tokenize, vocabulary

    known = vocabulary(review.text for review in reviews())
    words = [word for text in README_TEXTS for word in tokenize(text)]
    input, offsets = bags([known.encode(text) for text in README_TEXTS])
    random = np.random.default_rng(7)
    weight = random.integers(-9, 10, (len(known), 3)) / 10
    return bag_picture(input, offsets, weight, "sum", words)
