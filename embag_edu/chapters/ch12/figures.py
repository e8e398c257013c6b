"""The pictures of chapter 12: strides, the trilinear form, two ways to fold a batch, the table.

`strides_picture` takes a tensor of torch's; nothing in this file needs torch itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style

# -------------------------------------------------------------------------- strides


def strides_picture(tensor: Any) -> style.Picture:
    """A tensor's numbers: in memory, as its strides find them, and row by row as a kernel would.

    tensor: (rows, columns), at most 5 by 5, of whole numbers. ValueError else.
    """
    shape, strides = tuple(tensor.shape), tuple(tensor.stride())
    if len(shape) != 2 or not all(1 <= size <= 5 for size in shape):
        raise ValueError(f"tensor has the shape {shape}; valid: two dimensions, each 1 to 5")
    span = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    memory = [int(number) for number in tensor.as_strided((span,), (1,)).tolist()]
    right = [[memory[i * strides[0] + j * strides[1]] for j in range(shape[1])]
             for i in range(shape[0])]  # fmt: skip
    read = [[memory[at] if (at := i * shape[1] + j) < span else None for j in range(shape[1])]
            for i in range(shape[0])]  # fmt: skip
    _draw = _strides_board(memory, shape)
    figure, ax, y = _draw
    x = 3.4
    for name, grid in ((f"strides {strides}", right), ("as a kernel reads", read)):
        style.note(ax, x, y + 0.5, name, align="left")
        style.cells(ax, _labels(grid), x, y, fill=_fills(grid, right), hatch=_hatches(grid, right))
        x += max(shape[1] + 1.0, 6.2)
    return style.Picture(figure, _strides_alt(shape, strides, memory, right, read))


def _strides_board(memory: list[int], shape: tuple[int, ...]) -> tuple[Any, Axes, float]:
    wide = max(len(memory) + 4.0, 3.6 + 2 * max(shape[1] + 1.0, 6.2))
    figure, ax = style.board(wide, 3.6 + shape[0])
    style.side_note(ax, 3.4, -1.5, "in memory", mono=False)
    style.positions(ax, len(memory), 3.4, -1.0)
    style.cells(ax, memory, 3.4, -1.0, fill=style.tint(style.BLUE, 0.25))
    return figure, ax, -3.1


def _labels(grid: list[list[int | None]] | list[list[int]]) -> list[list[Any]]:
    return [["?" if value is None else value for value in row] for row in grid]


def _fills(grid: Any, right: Any) -> list[list[Any]]:
    good, bad = style.tint(style.BLUE, 0.25), style.tint(style.RED, 0.45)
    return [[good if value == wanted else bad for value, wanted in zip(*rows, strict=True)]
            for rows in zip(grid, right, strict=True)]  # fmt: skip


def _hatches(grid: Any, right: Any) -> list[list[str]]:
    return [["" if value == wanted else "////" for value, wanted in zip(*rows, strict=True)]
            for rows in zip(grid, right, strict=True)]  # fmt: skip


def _strides_alt(shape: Any, strides: Any, memory: Any, right: Any, read: Any) -> str:
    wrong = [v is not None and v != w for v, w in zip(sum(read, []), sum(right, []), strict=True)]
    outside = sum(value is None for value in sum(read, []))
    return (
        f"In memory lie {len(memory)} numbers: {' '.join(map(str, memory))}. The tensor of shape "
        f"{shape} with strides {strides} shows them as {right}. A kernel that knows no strides "
        f"reads them row by row: {sum(wrong)} of {len(wrong)} are the wrong number, and {outside} "
        "lie behind the end."
    )


# -------------------------------------------------------------------------- three functions

CORNERS = {
    "output": ("output(W, s)", "(B, D), like g"),
    "weight": ("grad_weight(g, s)", "(V, D), like W"),
    "weights": ("grad_per_sample_weights(g, W)", "(N,), like s"),
}


def trilinear_picture() -> style.Picture:
    """T(W, s, g) in the middle; around it its three partial derivatives, and theirs."""
    figure, ax = style.board(19, 9.4)
    places = {"output": (9.5, -1.2), "weight": (3.6, -7.9), "weights": (15.4, -7.9)}
    looks = {"output": style.BLUE, "weight": style.AMBER, "weights": style.TEAL}
    for name, (x, y) in places.items():
        color = style.tint(looks[name], 0.35)
        box = Rectangle((x - 3.2, y - 0.9), 6.4, 1.8, fc=color, ec=style.INK, lw=1.2)
        ax.add_patch(box)
        style.note(ax, x, y + 0.28, CORNERS[name][0], mono=True, weight="bold")
        style.note(ax, x, y - 0.4, CORNERS[name][1], size=style.SMALL)
    style.note(ax, 9.5, -4.6, "T(W, s, g)", weight="bold", size=13)
    style.note(ax, 9.5, -5.4, "one number, linear in each", size=style.SMALL)
    _edge(ax, (7.2, -2.3), (3.9, -6.8), "s stays", (3.6, -4.2))
    _edge(ax, (11.8, -2.3), (15.1, -6.8), "W stays", (15.4, -4.2))
    _edge(ax, (7.1, -7.9), (11.9, -7.9), "g stays", (9.5, -8.5))
    return style.Picture(
        figure,
        "A triangle of three functions around T(W, s, g), which is one number. At its corners: "
        "output of W and s, grad_weight of g and s, grad_per_sample_weights of g and W. Each is "
        "the derivative of T by the letter that it lacks, and has that letter's shape. A double "
        "arrow joins each two: the derivatives of each function are the other two, and the letter "
        "that both take stays as it is.",
    )


def _edge(ax: Axes, start: Any, end: Any, text: str, at: tuple[float, float]) -> None:
    style.arrow(ax, start, end)
    style.arrow(ax, end, start)
    style.note(ax, at[0], at[1], text, size=style.SMALL)


# -------------------------------------------------------------------------- folds

ROWS, INPUT, OFFSETS = 3, (2, 0, 1, 2), (0, 1)
DIFFERS = ("tables", "bags", "both")


def fold_picture(differs: str = "tables", members: int = 3) -> style.Picture:
    """How a batch becomes one call: features side by side, or bags one after another.

    differs: what each member has of its own: "tables", "bags" or "both". members: 1 to 4.
    """
    if differs not in DIFFERS or not 1 <= members <= 4:
        raise ValueError(
            f"differs is {differs!r} and members {members}; valid: one of {DIFFERS}, and 1 to 4"
        )
    return _side_by_side(members) if differs == "tables" else _one_after_another(differs, members)


def _side_by_side(n: int) -> style.Picture:
    figure, ax = style.board(16, 8.2)
    style.side_note(ax, 4.4, -1.0, "input, for all", mono=False)
    style.cells(ax, INPUT, 4.4, -0.5)
    style.bag_brackets(ax, (*OFFSETS, len(INPUT)), 4.4, -1.5)
    style.side_note(ax, 4.4, -5.0, "one wide table", mono=False)
    for k in range(n):
        style.note(ax, 5.4 + 2 * k, -3.2, f"member {k}", size=style.SMALL)
        grid = [[_value(k, row, d) for d in range(2)] for row in range(ROWS)]
        style.cells(ax, grid, 4.4 + 2 * k, -3.5, fill=_member(k), hatch=style.HATCHES[k])
    style.note(ax, 4.4, -7.3, f"output: 2 bags of {2 * n} features, cut into {n} × 2",
               align="left")  # fmt: skip
    return style.Picture(
        figure,
        f"Features side by side. All {n} members have the same input, rows {_told(INPUT)} in two "
        f"bags. Their tables of {ROWS} rows and 2 features stand beside each other as one table of "
        f"{ROWS} rows and {2 * n} features. One call gives 2 bags of {2 * n} features, which are "
        f"cut into {n} outputs of 2.",
    )


def _one_after_another(differs: str, n: int) -> style.Picture:
    tables = n if differs == "both" else 1
    figure, ax = style.board(max(4 * n, 9) + 5.6, 5.6 + ROWS * tables)
    inputs = [[(row + k) % ROWS for row in INPUT] for k in range(n)]
    shifted = [row + ROWS * k * (tables > 1) for k, rows in enumerate(inputs) for row in rows]
    offsets = [begin + len(INPUT) * k for k in range(n) for begin in OFFSETS]
    style.side_note(ax, 4.9, -1.4, "one long input", mono=False)
    for k in range(n):
        style.note(ax, 6.9 + 4 * k, -0.5, f"member {k}", size=style.SMALL)
        style.cells(ax, shifted[4 * k : 4 * k + 4], 4.9 + 4 * k, -0.9, fill=_member(k),
                    hatch=style.HATCHES[k])  # fmt: skip
    style.offset_marks(ax, offsets, 4.9, -1.9, -2.7)
    style.side_note(ax, 4.9, -3.6 - ROWS * tables / 2,
                    "one tall table" if tables > 1 else "the table", mono=False)  # fmt: skip
    for k in range(tables):
        grid = [[_value(k, row, d) for d in range(2)] for row in range(ROWS)]
        top = -3.6 - ROWS * k
        style.cells(ax, grid, 4.9, top, fill=_member(k) if tables > 1 else style.FAINT,
                    hatch=style.HATCHES[k] if tables > 1 else "")  # fmt: skip
        for row in range(ROWS):
            style.note(ax, 7.3, top - row - 0.5, f"row {ROWS * k + row}", align="left",
                       size=style.SMALL)  # fmt: skip
    style.note(ax, 4.9, -4.5 - ROWS * tables, f"output: {2 * n} bags of 2 features, cut into "
               f"{n} × 2", align="left")  # fmt: skip
    return style.Picture(figure, _line_alt(n, tables, inputs, shifted, offsets))


def _line_alt(n: int, tables: int, inputs: Any, shifted: Any, offsets: Any) -> str:
    told = "; ".join(_told(rows) for rows in inputs)
    moved = (
        f"The tables of all members stand below each other, {ROWS * n} rows, and member k's rows "
        f"are raised by {ROWS} k: {_told(shifted)}."
        if tables > 1
        else "The table is the same for all."
    )
    return (
        f"Bags one after another. The members have the rows {told}. One call has them all in one "
        f"long input, and its offsets, raised by {len(INPUT)} from member to member, are "
        f"{_told(offsets)}. {moved} It gives {2 * n} bags, which are cut into {n} outputs of 2."
    )


def _member(k: int) -> Any:
    return style.tint(style.bag_color(k), 0.4)


def _value(k: int, row: int, d: int) -> int:
    return 10 * (k + 1) + 2 * row + d


def _told(numbers: Any) -> str:
    return " ".join(map(str, numbers))


# -------------------------------------------------------------------------- the table


def table_picture(found: Mapping[str, Mapping[str, str]]) -> style.Picture:
    """The answers of `embag_edu.check.transforms.table`: a full box for yes, a hatched one for no.

    found: {implementation: {column: "yes" or the reason}}; a column that was not asked is a dot.
    """
    columns = list(dict.fromkeys(name for answers in found.values() for name in answers))
    figure, ax = style.board(5.0 + 2.2 * len(columns), 1.4 + 1.2 * len(found))
    for at, column in enumerate(columns):
        style.note(ax, 5.85 + 2.2 * at, -0.6, column, size=style.SMALL)
    for line, (name, answers) in enumerate(found.items()):
        y = -1.1 - 1.2 * line
        style.side_note(ax, 4.7, y - 0.5, name)
        for at, column in enumerate(columns):
            said = answers.get(column)
            fill, hatch, text = _look(said)
            style.cells(ax, [text], 4.75 + 2.2 * at, y, width=2.2, fill=[fill], hatch=[hatch],
                        weight="bold" if said == "yes" else "normal")  # fmt: skip
    return style.Picture(figure, _table_alt(found, columns))


def _look(said: str | None) -> tuple[Any, str, str]:
    if said is None:
        return style.FAINT, "", "·"
    return (style.TEAL, "", "yes") if said == "yes" else (style.tint(style.RED, 0.5), "////", "no")


def _table_alt(found: Mapping[str, Mapping[str, str]], columns: list[str]) -> str:
    told = []
    for name, answers in found.items():
        no = [column for column in columns if answers.get(column, "yes") != "yes"]
        unasked = [column for column in columns if column not in answers]
        told.append(
            f"{name}: yes to all that was asked"
            + (f" but {', '.join(no)}" if no else "")
            + (f" (not asked: {', '.join(unasked)})" if unasked else "")
        )
    return (
        f"A table with a line for each of {len(found)} implementations and the columns "
        f"{', '.join(columns)}. {'. '.join(told)}."
    )


# -------------------------------------------------------------------------- the training step

PARTS = {"forward": style.BLUE, "backward": style.AMBER, "the rest": style.PALE}
LOOKS = {"forward": "", "backward": "////", "the rest": "...."}


def parts_of_step(record: Mapping[str, Any], name: str) -> dict[str, dict[str, float]]:
    """{implementation: {"forward", "backward", "the rest", "train"}}, medians in milliseconds.

    The rest is what a training step takes beyond a forward and a backward timed alone. name: of a
    workload in the record. Raises ValueError where the record lacks it.
    """
    found: dict[str, dict[str, float]] = {}
    for implementation in ("torch", "vectorized"):
        medians = {
            entry["step"]: float(entry["median_ms"])
            for entry in record["results"]
            if entry["name"] == name and entry["implementation"] == implementation
        }
        missing = {"forward", "backward", "train"} - medians.keys()
        if missing:
            raise ValueError(f"the record has no {', '.join(sorted(missing))} of {name!r}")
        alone = medians["forward"] + medians["backward"]
        medians["the rest"] = medians["train"] - alone
        found[implementation] = {part: medians[part] for part in (*PARTS, "train")}
    return found


def step_picture(record: Mapping[str, Any], name: str) -> style.Picture:
    """The training step of both as bars of its parts, from a record of `bench --train`."""
    parts = parts_of_step(record, name)
    figure, ax = style.figure(8.2, 2.5)
    for line, of in enumerate(parts.values()):
        left = 0.0
        for part, color in PARTS.items():
            ax.barh(line, of[part], 0.6, left=left, color=color, hatch=LOOKS[part],
                    edgecolor=style.INK, lw=0.8, label=part if line == 0 else None)  # fmt: skip
            left += of[part]
        ax.text(left, line, f" {of['train']:.1f}", va="center")
    ax.set(yticks=[0, 1], yticklabels=list(parts), ylim=(1.6, -0.6), xlabel="milliseconds")
    longest = max(of["train"] for of in parts.values())
    ax.set_xlim(0, 1.12 * longest)
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    figure.supxlabel(f"{name}; {record['device']['cpu']}, 1 thread", fontsize=style.SMALL)
    return style.Picture(figure, _step_alt(parts, name, record))


def _step_alt(parts: Any, name: str, record: Mapping[str, Any]) -> str:
    told = [
        f"{implementation}: "
        + ", ".join(f"{part} {of[part]:.1f}" for part in PARTS)
        + f", together {of['train']:.1f}"
        for implementation, of in parts.items()
    ]
    ratio = np.divide(parts["vectorized"]["train"], parts["torch"]["train"])
    return (
        f"One training step at {name} as two bars of parts, in milliseconds. {'; '.join(told)}. "
        f"Ours takes {ratio:.2f} of torch's time. {record['device']['cpu']}, 1 thread."
    )
