"""The pictures of chapter 07: threads over an array, a warp's lanes over memory, two mappings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style
from embag_edu.cuda_on_cpu.counts import LineCount

SECTOR = 32  # bytes that memory moves at a time
MOST_THREADS, MOST_ELEMENTS = 128, 40

# -------------------------------------------------------------------------- threads and elements


def grid_picture(n: int, block: int, grid: int) -> style.Picture:
    """The threads of a launch, one row for each block, and the n elements that they are meant for.

    A thread shows its i = blockIdx.x * blockDim.x + threadIdx.x. A thread with i >= n has no
    element; an element without a thread is left undone. At most 128 threads (16 in a block, 12
    blocks) and 40 elements; ValueError above that.
    """
    if not (1 <= block <= 16 and 1 <= grid <= 12 and grid * block <= MOST_THREADS):
        raise ValueError(
            f"block is {block!r}, grid {grid!r}; a picture shows blocks of 1 to 16 threads, "
            f"1 to 12 of them, and at most {MOST_THREADS} threads"
        )
    if not 1 <= n <= MOST_ELEMENTS:
        raise ValueError(f"n is {n!r}; a picture shows 1 to {MOST_ELEMENTS} elements")
    figure, ax = style.board(max(block, 0.7 * n) + 6.4, grid + 4.5, unit=0.38)
    left = 3.4
    style.side_note(ax, left, -0.6, "threadIdx.x", size=style.SMALL)
    for thread in range(block):
        style.note(ax, left + thread + 0.5, -0.6, str(thread), color=style.QUIET, size=7.5)
    for b in range(grid):
        _draw_block(ax, left, -1.0 - b, b, block, n)
    style.note(
        ax, left + block + 0.35, -1.0 - grid / 2, _many(grid * block, "thread"), align="left"
    )
    _draw_elements(ax, left, -grid - 2.0, n, block, grid)
    return style.Picture(figure, _grid_alt(n, block, grid))


def _draw_block(ax: Axes, x: float, y: float, b: int, block: int, n: int) -> None:
    style.side_note(ax, x, y - 0.5, f"block {b}", mono=False)
    for thread in range(block):
        i = b * block + thread
        if i < n:
            style.cells(ax, [i], x + thread, y, fill=style.bag_color(b))
            continue
        ax.add_patch(Rectangle((x + thread + 0.06, y - 0.94), 0.88, 0.88, fill=False, lw=1.1,
                               ls=(0, (2.5, 2)), ec=style.QUIET))  # fmt: skip
        style.note(ax, x + thread + 0.5, y - 0.5, str(i), color=style.QUIET, size=style.SMALL)


def _draw_elements(ax: Axes, x: float, y: float, n: int, block: int, grid: int) -> None:
    style.side_note(ax, x, y - 0.5, "array")
    for i in range(n):
        done = i < grid * block
        fill, hatch = (style.bag_color(i // block), "") if done else (style.PAPER, "/////")
        style.cells(ax, [i], x + 0.7 * i, y, width=0.7, size=7, fill=fill, hatch=hatch)
        if not done:
            ax.add_patch(Rectangle((x + 0.7 * i + 0.04, y - 0.96), 0.62, 0.92, fill=False, lw=1,
                                   ec=style.RED))  # fmt: skip
    style.note(ax, x, y - 1.5, _grid_told(n, block, grid), align="left", size=style.SMALL)


def _grid_told(n: int, block: int, grid: int) -> str:
    threads = grid * block
    told = f"{_many(threads, 'thread')}, {_many(n, 'element')}: "
    if threads < n:
        many = f"elements {threads} to {n - 1}"
        return told + f"nobody does {many if n - threads > 1 else f'element {threads}'}"
    if threads > n:
        many = f"threads with i from {n} to {threads - 1} have none"
        return told + (many if threads - n > 1 else f"the thread with i = {n} has none")
    return told + "one thread for each"


def _grid_alt(n: int, block: int, grid: int) -> str:
    return (
        f"{_many(grid, 'block')} of {_many(block, 'thread')}, a row for each block, over an array "
        f"of {_many(n, 'element')}. "
        f"A thread's number is i = block number times {block} plus its place in the block, and "
        f"element i has the color of its block. {_grid_told(n, block, grid)}."
    )


# -------------------------------------------------------------------------- lanes and addresses


def lanes(count: LineCount) -> style.Picture:
    """The 32 lanes of a warp above the sectors of memory that one request of theirs moves.

    count: a line of a report (`report.line(...)`) to global memory; its `example` is drawn. Bytes
    that a lane asked for are dark, bytes that are moved beside them are hatched. ValueError for a
    count of shared memory, or one without an example.
    """
    asked = [(lane, at) for lane, at in enumerate(count.example) if at >= 0]
    if count.shared or not asked:
        why = "it is shared memory, which has no sectors" if count.shared else "it has no example"
        raise ValueError(f"count is of line {count.line}, {count.array!r}: {why}")
    touched = sorted({at // SECTOR for _, at in asked})
    figure, ax = style.board(38, 11.8, unit=0.27)
    left_of = _draw_sectors(ax, touched, {at for _, at in asked}, count.bytes)
    _draw_lanes(ax, asked, left_of, count.bytes)
    wanted, moved = _request(count)
    style.note(ax, 1, -0.5, f"lanes of one warp, line {count.line}" if count.line else
               "lanes of one warp", align="left", size=style.SMALL)  # fmt: skip
    told = (
        f"{_many(len(touched), 'sector')}: {moved:,} bytes moved, {wanted} asked for "
        f"({100 * wanted / moved:.3g} %)"
    )
    style.note(ax, 1, -11.0, f"{count.array}: {told}", align="left", weight="bold")
    style.note(ax, 37, -11.0, "dark: asked for; hatched: moved for nothing", align="right",
               size=style.SMALL, color=style.QUIET)  # fmt: skip
    return style.Picture(figure, _lanes_alt(count, asked, touched, told))


def _request(count: LineCount) -> tuple[int, int]:
    """Bytes asked for (each once) and bytes moved, in the example."""
    addresses = {at for at in count.example if at >= 0}
    return len(addresses) * count.bytes, SECTOR * len({at // SECTOR for at in addresses})


def _draw_sectors(
    ax: Axes, touched: Sequence[int], asked: set[int], size: int
) -> dict[int, tuple[float, float]]:
    """Draw the sectors side by side, a gap where memory is left out. Their left ends and widths."""
    cuts = sum(b > a + 1 for a, b in zip(touched[:-1], touched[1:], strict=True))
    gap = 0.45 if len(touched) <= 16 else 0.22
    width = min(8.0, (36 - gap * cuts) / len(touched))
    x, left_of, before = 1.0, {}, touched[0] - 1
    x += (36 - gap * cuts - width * len(touched)) / 2
    every = 1 if width >= 2.2 else 4 if width >= 0.9 else 8
    for number, sector in enumerate(touched):
        x += gap * (sector != before + 1)
        left_of[sector] = (x, width)
        _draw_sector(ax, x, width, sector, asked, size)
        if number % every == 0:
            style.note(ax, x, -9.9, f"{sector * SECTOR:,}", align="left", size=7,
                       color=style.QUIET)  # fmt: skip
        x, before = x + width, sector
    return left_of


def _draw_sector(ax: Axes, x: float, width: float, sector: int, asked: set[int], size: int) -> None:
    ax.add_patch(Rectangle((x, -9.5), width, 1.6, lw=0, fc=style.FAINT, ec=style.QUIET,
                           hatch="//////"))  # fmt: skip
    for at in sorted(asked):
        if at // SECTOR == sector:
            corner = (x + at % SECTOR / SECTOR * width, -9.5)
            ax.add_patch(Rectangle(corner, width * size / SECTOR, 1.6, lw=0.4, ec=style.PAPER,
                                   fc=style.BLUE))  # fmt: skip
    ax.add_patch(Rectangle((x, -9.5), width, 1.6, fill=False, lw=1.3, ec=style.INK, zorder=3))


def _draw_lanes(
    ax: Axes, asked: Sequence[tuple[int, int]], left_of: dict[int, tuple[float, float]], size: int
) -> None:
    taking = {lane for lane, _ in asked}
    for lane in range(32):
        fill = style.AMBER if lane in taking else style.FAINT
        style.cells(ax, [str(lane)], 1 + lane * 36 / 32, -1.0, width=36 / 32, fill=fill, size=7)
    for lane, at in asked:
        x, width = left_of[at // SECTOR]
        target = x + (at % SECTOR + size / 2) / SECTOR * width
        ax.plot([1 + (lane + 0.5) * 36 / 32, target], [-2.05, -7.85], color=style.INK, lw=0.8,
                alpha=0.75, zorder=2)  # fmt: skip


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _lanes_alt(
    count: LineCount, asked: Sequence[tuple[int, int]], touched: Sequence[int], told: str
) -> str:
    offsets = [at for _, at in asked]
    steps = {b - a for a, b in zip(offsets[:-1], offsets[1:], strict=True)}
    if len(set(offsets)) == 1:
        where = f"all at byte {offsets[0]:,}"
    elif len(steps) == 1:
        where = f"{steps.pop()} bytes from one lane to the next, from byte {offsets[0]:,} on"
    else:
        where = "at bytes " + ", ".join(f"{at:,}" for at in offsets[:4]) + " and so on"
    idle = f" {_many(32 - len(asked), 'lane')} did not take part." if len(asked) < 32 else ""
    verb = {"read": "read", "write": "write", "atomic": "update"}[count.kind]
    return (
        f"{_many(len(asked), 'lane')} of a warp {verb} {count.bytes} bytes each of {count.array}, "
        f"{where}. Lines lead from the lanes to {told}; what was not asked for is hatched.{idle}"
    )


def strided(stride: int) -> LineCount:
    """What 32 lanes ask for that read float32 elements 0, stride, 2 * stride, ... by arithmetic."""
    example = tuple(4 * stride * lane for lane in range(32))
    sectors = len({at // SECTOR for at in example})
    return LineCount(0, "output[i] = input[i * stride];", "input", False, "read", 4, requests=1,
                     lanes=32, sectors=sectors, wanted=4 * len(set(example)),
                     example=example)  # fmt: skip


# -------------------------------------------------------------------------- two mappings


def mapping_picture(B: int = 4, D: int = 8, together: int = 8) -> style.Picture:
    """Which thread computes which element of the output (B, D), mapped by row and by column.

    together: how many threads stand for a warp; the first ones are filled.
    """
    numbers = np.arange(B * D)
    straight, crossed = numbers.reshape(B, D), numbers.reshape(D, B).T
    figure, ax = style.board(2 * D + 8.6, B + 3.4)
    x = 3.2
    for name, table in (("bag = element / D", straight), ("bag = element % B", crossed)):
        first = table < together
        fill = [[style.AMBER if mine else style.FAINT for mine in row] for row in first]
        style.cells(ax, table.tolist(), x, -1.4, fill=fill)
        for bag, d in zip(*np.nonzero(first), strict=True):
            ax.add_patch(Rectangle((x + d + 0.08, -2.32 - bag), 0.84, 0.84, fill=False, lw=1.6,
                                   ec=style.INK, zorder=3))  # fmt: skip
        style.note(ax, x + D / 2, -0.4, name, mono=True)
        style.note(ax, x + D / 2, -1.05, "d = 0, 1, 2, ...", size=style.SMALL, color=style.QUIET)
        rows = int(first.any(axis=1).sum())
        style.note(ax, x + D / 2, -B - 1.95, f"one warp: {_many(rows, 'bag')}", size=style.SMALL)
        x += D + 2.2
    for bag in range(B):
        style.side_note(ax, 3.2, -1.9 - bag, f"bag {bag}", mono=False, size=style.SMALL)
    return style.Picture(
        figure,
        f"Two tables of {B} bags and {D} features; each place holds the number of the thread that "
        f"computes it. With bag = element / D the first {together} threads, outlined, lie in one "
        f"row, side by side in memory. With bag = element % B they go down the columns, through "
        f"{int((crossed < together).any(axis=1).sum())} bags: neighbors in number are {D} "
        "elements apart in memory.",
    )


# -------------------------------------------------------------------------- a GPU

MULTIPROCESSORS = 132  # of an H200; so are the sizes in the picture


def gpu_picture() -> style.Picture:
    """The parts of a GPU that this chapter speaks of, and where a launch's blocks go."""
    figure, ax = style.board(37, 19.5, unit=0.26)
    _part(ax, 0.4, -0.6, 6.0, 6.4, style.PAPER, "host")
    for line, told in enumerate(("your Python:", "launch, copy,", "wait")):
        style.note(ax, 3.4, -2.6 - 1.2 * line, told, size=style.SMALL)
    style.arrow(ax, (6.6, -3.6), (8.6, -3.6))
    style.note(ax, 7.6, -2.9, "queue", size=style.SMALL)
    _part(ax, 8.8, -0.6, 27.6, 18.2, style.PAPER, f"GPU: {MULTIPROCESSORS} multiprocessors")
    _multiprocessor(ax, 9.6, -2.4)
    for k, number in enumerate(("1", "2", "...", f"{MULTIPROCESSORS - 1}")):
        _part(ax, 24.8 + 2.8 * k, -2.4, 2.4, 9.6, style.FAINT, number)
    style.note(ax, 30.2, -12.6, "more multiprocessors", size=style.SMALL, color=style.QUIET)
    _part(ax, 9.6, -13.4, 26.0, 1.7, style.tint(style.TEAL, 0.6), "L2 cache, for all: 50 MB")
    _part(ax, 9.6, -16.2, 26.0, 1.7, style.tint(style.AMBER, 0.7),
          "global memory, where the arrays are: 141 GB")  # fmt: skip
    for y in (-12.0, -15.1):
        style.arrow(ax, (14.0, y), (14.0, y - (1.4 if y == -12.0 else 1.1)))
        style.arrow(ax, (15.4, y - (1.4 if y == -12.0 else 1.1)), (15.4, y))
    return style.Picture(
        figure,
        "The host, where Python runs, puts launches into a queue of the GPU. The GPU, here with "
        f"the sizes of an H200, has {MULTIPROCESSORS} multiprocessors. One is shown in detail: it "
        "holds some blocks at a time, each made of warps of 32 threads, with registers for each "
        "thread, shared memory for each block, and an L1 cache. Below all multiprocessors lie an "
        "L2 cache of 50 MB and the global memory of 141 GB, where the arrays are.",
    )


def _part(
    ax: Axes, x: float, y: float, width: float, height: float, fill: object, name: str
) -> None:
    """A box with its top left corner at (x, y), and its name at the top, inside."""
    ax.add_patch(Rectangle((x, y - height), width, height, fc=fill, ec=style.INK, lw=1.0))
    style.note(ax, x + width / 2, y - 0.85, name, size=style.SMALL, weight="bold")


def _multiprocessor(ax: Axes, x: float, y: float) -> None:
    """One multiprocessor: two blocks of two warps, and its memories."""
    _part(ax, x, y, 14.8, 9.6, style.FAINT, "multiprocessor 0")
    for block in (0, 1):
        left = x + 0.5 + 7.0 * block
        _part(
            ax,
            left,
            y - 1.6,
            6.8,
            5.0,
            style.tint(style.BLUE, 0.15),
            ("a block", "another block")[block],
        )
        for warp in (0, 1):
            top = y - 3.3 - 1.0 * warp
            style.note(ax, left + 0.2, top - 0.35, f"warp {warp}", align="left", size=7)
            for lane in range(32):
                at = (left + 1.9 + 0.145 * lane, top - 0.65)
                ax.add_patch(Rectangle(at, 0.1, 0.6, fc=style.BLUE, lw=0))
        style.note(ax, left + 3.4, y - 5.85, "its shared memory", size=7)
        ax.add_patch(Rectangle((left + 0.5, y - 6.3), 5.8, 0.85, fill=False, ec=style.INK, lw=0.8))
    style.note(ax, x + 7.4, y - 7.4, "registers: 65,536 of 4 bytes, shared out to the threads",
               size=7.5)  # fmt: skip
    style.note(ax, x + 7.4, y - 8.6, "shared memory and L1 cache: 256 KB together", size=7.5)
