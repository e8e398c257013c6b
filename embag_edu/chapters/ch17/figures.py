"""The pictures of chapter 17: who owns what, who sends what to whom, who has how much to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embag_edu.beyond.sharded.plan import Table, predict
from embag_edu.beyond.sharded.shards import SHARDINGS, Shard, cut
from embag_edu.chapters import style
from embag_edu.chapters.ch10.figures import skewed

OWNERS = 6  # as many as there are colors

# -------------------------------------------------------------------------- who owns what


def cut_picture(V: int = 8, D: int = 8, world: int = 4) -> style.Picture:
    """A table (V, D), three times: row-, column- and table-wise. A cell shows its owner's number.

    ValueError for more than 6 processes.
    """
    if not 1 <= world <= OWNERS:
        raise ValueError(f"world is {world}; valid: 1 to {OWNERS}")
    figure, ax = style.board(3 * D + 6, V + 2.4)
    told = []
    for at, sharding in enumerate(SHARDINGS):
        x, shards = 1 + at * (D + 2), cut(V, D, world, sharding, owner=1 % world)
        owners = owners_of(shards, V, D)
        fills = [[style.bag_color(owner) for owner in row] for row in owners]
        style.note(ax, x + D / 2, -0.7, f"{sharding}-wise", weight="bold")
        style.cells(ax, owners.tolist(), x, -1.3, fill=fills)
        told.append(f"{sharding}-wise {_owned(shards)}")
    style.side_note(ax, 1, -1.3 - V / 2, "V", mono=False)
    return style.Picture(
        figure,
        f"A table of {V} rows and {D} columns, cut three ways among {world} processes; each cell "
        f"shows the number of its owner. {'; '.join(told)}.",
    )


def owners_of(shards: Sequence[Shard], V: int, D: int) -> np.ndarray:
    """(V, D) the owner of each number."""
    owners = np.full((V, D), -1)
    for owner, shard in enumerate(shards):
        owners[np.ix_(shard.rows, shard.columns)] = owner
    return owners


def _owned(shards: Sequence[Shard]) -> str:
    sizes = [f"{len(s.rows)} x {len(s.columns)}" if not s.empty else "nothing" for s in shards]
    return f"they own {', '.join(sizes)}"


# -------------------------------------------------------------------------- who sends what


def sent_picture(sent: Any, what: str = "bytes") -> style.Picture:
    """A heat map: what each process, a row, sends to each other one, a column. sent: (W, W)."""
    sent = np.asarray(sent)
    world, most = len(sent), max(int(sent.max()), 1)
    figure, ax = style.board(2.2 * world + 8.5, world + 2.8)
    x, y = 4.0, -1.9
    fill = [[style.tint(style.BLUE, 0.08 + 0.85 * value / most) for value in row] for row in sent]
    labels = [[f"{value:,}" if value else "–" for value in row] for row in sent.tolist()]
    style.cells(ax, labels, x, y, width=2.2, fill=fill)
    style.note(ax, x + 1.1 * world, y + 1.1, "to process", weight="bold")
    for process in range(world):
        style.note(ax, x + 2.2 * process + 1.1, y + 0.4, str(process))
        style.side_note(ax, x, y - process - 0.5, f"from {process}", mono=False)
        total = f"{sent[process].sum():,} in all"
        style.note(ax, x + 2.2 * world + 0.4, y - process - 0.5, total, align="left")
    away = sent.sum(axis=1)
    return style.Picture(
        figure,
        f"A heat map of {world} by {world}: the {what} that each process sends to each other one. "
        f"Process by process they send {', '.join(f'{n:,}' for n in away)}; the largest number "
        f"between two is {most:,}.",
    )


# -------------------------------------------------------------------------- who has how much to do


def loads(skew: float, world: int = 4, N: int = 8192, V: int = 4096) -> dict[str, np.ndarray]:
    """(W,) the share of all numbers that each owner reads, for N positions drawn with this skew."""
    rows = skewed(N, V, skew)
    shuffled = np.random.default_rng(17).permutation(V)[rows]
    blocks = -(-V // world)
    return {
        "rows in blocks": np.bincount(rows // blocks, minlength=world) / N,
        "rows, ids shuffled": np.bincount(shuffled // blocks, minlength=world) / N,
        "columns": np.full(world, 1 / world),
    }


def load_picture(skew: float, world: int = 4) -> style.Picture:
    """Bars: what each owner has to read, with rows in blocks, with shuffled ids, with columns."""
    found = loads(skew, world)
    figure, axes = style.figure(9.2, 2.7, 1, len(found), sharey=True)
    for k, (ax, (name, share)) in enumerate(zip(axes, found.items(), strict=True)):
        ax.bar(range(world), 100 * share, 0.75, color=style.tint(style.COLORS[k], 0.75),
               edgecolor=style.INK, lw=0.6, hatch=style.HATCHES[k])  # fmt: skip
        ax.axhline(100 / world, color=style.INK, lw=1, ls=(0, (4, 2)))
        ax.set(title=name, xlabel="owner", xticks=range(world), ylim=(0, 105))
        for owner, part in enumerate(share):
            box = {"facecolor": style.PAPER, "linewidth": 0, "pad": 0.8}
            ax.text(owner, 100 * part + 3, f"{100 * part:.0f}", ha="center", bbox=box)
    axes[0].set(ylabel="% of all that is read")
    told = [
        f"{name}: {', '.join(f'{100 * p:.0f}' for p in share)}" for name, share in found.items()
    ]
    return style.Picture(
        figure,
        f"Bars for {world} owners, rows drawn with skew {skew:.2f}: per cent of all numbers that "
        f"each has to read. {'; '.join(told)}. A dashed line marks an even share, "
        f"{100 / world:.0f}.",
    )


# -------------------------------------------------------------------------- more processes


def growth_picture(
    table: Table, worlds: Sequence[int] = (2, 8, 32, 128, 512, 1000)
) -> style.Picture:
    """What the busiest process sends in a step, by the number of processes and the sharding."""
    figure, ax = style.figure(7.2, 3.3)
    told = []
    for k, sharding in enumerate(SHARDINGS):
        sent = [predict(table, world, sharding).sent.max() / 1e6 for world in worlds]
        ax.plot(worlds, sent, color=style.dark(style.COLORS[k]), ls=style.LINES[k],
                marker=style.MARKERS[k], lw=2, label=f"{sharding}-wise")  # fmt: skip
        told.append(f"{sharding}-wise from {sent[0]:,.1f} to {sent[-1]:,.1f}")
    rows = [
        (w - 1) / w * table.positions * (2 * table.D * table.itemsize + 8) / 1e6 for w in worlds
    ]
    ax.plot(worlds, rows, color=style.INK, ls=":", lw=2, label="rows sent home, one by one")
    ax.set(xscale="log", yscale="log", xlabel="processes", ylabel="MB sent in a step")
    ax.legend(frameon=False)
    return style.Picture(
        figure,
        f"Four curves: megabytes that the busiest process sends in a step, for {worlds[0]} to "
        f"{worlds[-1]} processes, bags of {table.positions / table.bags:g} positions. "
        f"{'; '.join(told)}. Rows sent home one by one stay between {rows[0]:,.1f} and "
        f"{rows[-1]:,.1f}.",
    )
