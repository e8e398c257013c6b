"""Which table is cut how, and who owns it: chosen by bytes on the wire, room and load.

    plan([Table("users", V=1_000_000, D=64, positions=4096)], world=8, room=2**34)

Nothing is measured: this is the formula of `shards.traffic`, for an average step. What it leaves
out is the time that messages wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from embag_edu.beyond.sharded.shards import SHARDINGS, Shard, cut

FASTER = 50  # how many bytes memory reads while one goes over the wire: 50 is typical of clusters


@dataclass(frozen=True)
class Table:
    """What a plan must know of a table.

    positions, bags: of one process in a step. hits: (V,) how often each row was read in a sample,
    as `np.bincount(indices, minlength=V)` counts; None takes all rows to be alike.
    state: numbers of optimizer state for each number of the table: 1 for Adagrad, 2 for Adam.
    """

    name: str
    V: int
    D: int
    positions: float
    bags: float
    hits: np.ndarray | None = None
    itemsize: int = 4
    state: float = 0.0

    def shares(self, shards: Sequence[Shard]) -> np.ndarray:
        """(W,) the part of all positions that each owner gets."""
        if self.hits is None:
            return np.array([len(shard.rows) / self.V for shard in shards])
        hits = [self.hits[shard.rows.start : shard.rows.stop].sum() for shard in shards]
        shares: np.ndarray = np.array(hits) / max(self.hits.sum(), 1)
        return shares


@dataclass
class Choice:
    """How one table is cut, and what is predicted of it, for each of the W processes."""

    table: Table
    sharding: str
    owner: int
    sent: np.ndarray  # (W,) bytes that a process sends in a step, forward and backward
    received: np.ndarray  # (W,) bytes that come to it
    load: np.ndarray  # (W,) bytes of the table that an owner reads in a forward
    room: np.ndarray  # (W,) bytes of the table and its state

    @property
    def cost(self) -> np.ndarray:
        """(W,) how busy each process is with it, in bytes on the wire."""
        cost: np.ndarray = self.sent + self.received + self.load / FASTER
        return cost

    @property
    def skew(self) -> float:
        """The busiest owner's load over the mean one: 1 is even."""
        return float(self.load.max() / max(self.load.mean(), 1e-300))


@dataclass
class Plan:
    """A choice for each table."""

    choices: list[Choice] = field(default_factory=list)

    def __getitem__(self, name: str) -> Choice:
        return next(choice for choice in self.choices if choice.table.name == name)

    def total(self, what: str) -> np.ndarray:
        """(W,) "sent", "received", "load", "room" or "cost" of all tables."""
        total: np.ndarray = np.sum([getattr(choice, what) for choice in self.choices], axis=0)
        return total

    def __str__(self) -> str:
        lines = [f"{'table':12} {'sharding':10} {'MB sent':>9} {'GB a process':>13} {'skew':>6}"]
        for each in self.choices:
            way = each.sharding if each.sharding != "table" else f"at {each.owner}"
            lines.append(
                f"{each.table.name:12} {way:10} {each.sent.max() / 1e6:9.2f} "
                f"{each.room.max() / 1e9:13.3f} {each.skew:6.2f}"
            )
        return "\n".join(lines)


def predict(table: Table, world: int, sharding: str, owner: int = 0) -> Choice:
    """Bytes sent, load and room of each process, for one table that is cut in one way."""
    shards = cut(table.V, table.D, world, sharding, owner)
    width = np.array([len(shard.columns) for shard in shards])
    rows = np.array([len(shard.rows) for shard in shards])
    owns, shares = width > 0, table.shares(shards)
    # What a home sends to each owner: lengths and indices, and in the backward gradients.
    out = owns * 4 * table.bags + shares * 8 * table.positions + width * table.bags * table.itemsize
    answers = width * table.bags * table.itemsize  # of an owner to a home
    return Choice(
        table,
        sharding,
        owner,
        sent=out.sum() - out + (world - 1) * answers,
        received=(world - 1) * out + answers.sum() - answers,
        load=shares * world * table.positions * width * table.itemsize,
        room=(rows * width * table.itemsize * (1 + table.state)).astype(float),
    )


def plan(tables: Sequence[Table], world: int, room: float = np.inf) -> Plan:
    """Choose for each table what leaves the busiest process the least to do.

    room: bytes that a process has for tables and their state.

    First each table, the largest first, stays whole if it fits, with the owner who is then least
    busy. Then, as long as it helps, one table is cut or moved. Not always the best plan there is.
    Raises ValueError for a table that fits nowhere.
    """
    made: list[Choice] = []
    for table in sorted(tables, key=lambda each: -each.V * each.D * each.itemsize):
        choices = _fitting(table, world, room, made)
        if not choices:
            least = min(predict(table, world, way).room.max() for way in SHARDINGS[:2])
            raise ValueError(
                f"table {table.name!r} fits nowhere: {least:,.0f} bytes a process at least, "
                f"room is {room:,.0f} for all tables\n  To mend it: more processes, more "
                "room, or rows of fewer bits."
            )
        made.append(min(choices, key=lambda c: (c.sharding != "table", _busiest(made, c))))
    while improved := _improved(made, world, room):
        made = improved
    return Plan(made)


def _fitting(table: Table, world: int, room: float, others: Sequence[Choice]) -> list[Choice]:
    used = sum((other.room for other in others), np.zeros(world))
    choices = [predict(table, world, "table", owner) for owner in range(world)]
    choices += [predict(table, world, sharding) for sharding in SHARDINGS[:2]]
    return [choice for choice in choices if (used + choice.room <= room).all()]


def _busiest(others: Sequence[Choice], choice: Choice) -> float:
    return float(sum((other.cost for other in others), choice.cost).max())


def _improved(made: list[Choice], world: int, room: float) -> list[Choice] | None:
    """The plan with one choice replaced that makes the busiest least busy; None if none does."""
    best, now = None, float(np.sum([choice.cost for choice in made], axis=0).max(initial=0.0))
    for at, choice in enumerate(made):
        others = made[:at] + made[at + 1 :]
        for other in _fitting(choice.table, world, room, others):
            if _busiest(others, other) < now * (1 - 1e-9):
                now = _busiest(others, other)
                best = [*others[:at], other, *others[at:]]
    return best
