"""How a table is cut: every process owns a rectangle of it, or nothing.

    row-wise     V is cut: a rectangle is ceil(V / W) whole rows
    column-wise  D is cut: a rectangle is ceil(D / W) whole columns
    table-wise   nothing is cut: one process owns the whole table

One rule serves all three. A position of the input goes to every owner whose rectangle has its row;
an owner's answer is worth the columns of its rectangle.

The letters: W processes, V rows, D features; a process has B bags of its own, with N positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SHARDINGS = ("row", "column", "table")
HEADER = 256  # bytes that go before each call: see `wire`


@dataclass(frozen=True)
class Shard:
    """The rectangle of a table that one process owns: no rows and no columns if it owns nothing."""

    rows: range
    columns: range

    @property
    def empty(self) -> bool:
        """Whether it holds no number: such a process is a home, and no owner."""
        return not self.rows


NOTHING = Shard(range(0), range(0))


def cut(V: int, D: int, world: int, sharding: str, owner: int = 0) -> list[Shard]:
    """The shard of each process. owner: who has the table, table-wise.

    Raises ValueError for a sharding that is none, for no process, or an owner that is none.
    """
    if world < 1:
        raise ValueError(f"world is {world}; valid: 1 process or more")
    if sharding not in SHARDINGS:
        raise ValueError(f"sharding is {sharding!r}; valid: {', '.join(SHARDINGS)}")
    if not 0 <= owner < world:
        raise ValueError(f"owner is {owner}; valid: a process, 0 to {world - 1}")
    if sharding == "row":
        return [Shard(rows, range(D)) if rows else NOTHING for rows in blocks(V, world)]
    if sharding == "column":
        return [Shard(range(V), columns) if columns else NOTHING for columns in blocks(D, world)]
    return [Shard(range(V), range(D)) if process == owner else NOTHING for process in range(world)]


def blocks(length: int, world: int) -> list[range]:
    """0 to length in `world` blocks of one size; the last ones are shorter, or empty."""
    size = -(-length // world)
    return [range(min(k * size, length), min((k + 1) * size, length)) for k in range(world)]


def rows_are_cut(shards: Sequence[Shard]) -> bool:
    """Whether a bag may have positions at several owners, so that their answers must be joined."""
    return len({shard.rows for shard in shards if not shard.empty}) > 1


def traffic(
    shards: Sequence[Shard],
    me: int,
    other: int,
    bags: Sequence[int],
    counts: Sequence[Sequence[int]],
    itemsize: int = 4,
    mode: str = "sum",
    weights: bool = False,
) -> Counter[str]:
    """The bytes that `me` sends to `other` in one forward and one backward, by what they are.

    bags:   (W,) the bags of each process.
    counts: (W, W) counts[home][owner], the positions that home sends to owner.
    weights: with per_sample_weights that want a gradient.
    Headers, and what max_norm sends column-wise, are left out.
    """
    sent: Counter[str] = Counter()
    joined = mode == "max" and rows_are_cut(shards)
    if other == me:
        return sent
    if not shards[other].empty:  # from me, a home, to an owner
        sent["lengths"] = 4 * bags[me]
        sent["indices"] = 8 * counts[me][other]
        sent["weights"] = counts[me][other] * itemsize * weights
        sent["places"] = 4 * counts[me][other] * joined
        sent["gradients"] = bags[me] * len(shards[other].columns) * itemsize
    if not shards[me].empty:  # from me, an owner, to a home
        sent["outputs"] = bags[other] * len(shards[me].columns) * itemsize
        sent["places"] += 4 * bags[other] * len(shards[me].columns) * joined
        sent["weight gradients"] = counts[other][me] * itemsize * weights
    return +sent
