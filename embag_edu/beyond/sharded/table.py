"""One table over W processes: indices travel to the owners of rows, pooled sums travel home.

A process is a *home*: it has bags of its own, and wants their outputs. And it is an *owner*: it has
a rectangle of the table, and answers all homes. A forward is one trip out and one back:

    home:   choose, for each owner, the positions whose row it has (a stable sort by owner)
    owner:  pool what came, bag by bag, with the rows that it has
    home:   join the answers: add them (rows cut), or set them side by side (columns cut)

The backward goes the same ways: gradients of bags travel out, and where weights of positions want a
gradient, one number for each comes home. Rows of the table never travel.

The letters: B bags and n positions at this home, padding left out; b bags and k positions at this
owner, from all homes; D features, d columns of this owner's rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from embag_edu.beyond.sharded.shards import Shard, rows_are_cut
from embag_edu.beyond.sharded.wire import Wire

FAR = 2**31 - 1  # the place of a winner that there is none of


class Bags(NamedTuple):
    """The bags of one home, padding left out."""

    rows: Tensor  # (n,) int64
    lengths: Tensor  # (B,) int64
    weights: Tensor | None  # (n,) per_sample_weights, or None
    wants_grad: bool  # whether these want a gradient
    padding: bool  # whether padding was there: with max_norm its row is rescaled all the same

    @property
    def of_each(self) -> Tensor:
        """(n,) the bag of each position."""
        return bag_numbers(self.lengths)


class Trip(NamedTuple):
    """What a backward needs to know of its forward."""

    home: Bags
    chosen: list[Tensor]  # (W,) of positions of this home, as they were sent to each owner
    bags: list[int]  # (W,) the bags of each home: b in all
    counts: list[int]  # (W,) the positions that came from each home: k in all
    rows: Tensor  # (k,) row within this owner's rectangle
    lengths: Tensor  # (b,) how many of them each bag has
    weights: Tensor | None  # (k,)
    winners: Tensor | None = None  # (b, d) mode max: the entry, 0 to k - 1, that won; k for none
    by_owner: Tensor | None = None  # (B, D) mode max, rows cut: the owner that won, or -1


class Rows(NamedTuple):
    """The gradient of this owner's rectangle, as a message: the rows that it has and their sums."""

    rows: Tensor  # (U,) ascending, each once
    sums: Tensor  # (U, d)


@dataclass(frozen=True)
class Options:
    """What all processes must have alike for a table."""

    name: str
    V: int
    D: int
    shards: Sequence[Shard]
    mode: str
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    optimizer: str = "no optimizer"

    def words(self, dtype: torch.dtype) -> str:
        """All of them, for the header of a call."""
        first = self.shards[0]
        return (
            f"{self.name[:60]}, {self.V} x {self.D}, {str(dtype)[6:]}, first shard "
            f"{len(first.rows)} x {len(first.columns)}, {self.mode}, padding {self.padding_idx}, "
            f"max_norm {self.max_norm}, p {self.norm_type:g}, freq {self.scale_grad_by_freq}, "
            f"{self.optimizer}"
        )


def bag_numbers(lengths: Tensor) -> Tensor:
    """Bag b as many times as it has positions: lengths 2 0 1 give 0 0 2."""
    return torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)


def choose(shards: Sequence[Shard], rows: Tensor) -> list[Tensor]:
    """For each owner the positions that it gets, in their order: those whose row it has."""
    if not rows_are_cut(shards):
        everything = torch.arange(len(rows), device=rows.device)
        return [everything[:0] if shard.empty else everything for shard in shards]
    owners = rows // len(shards[0].rows)
    order = torch.argsort(owners, stable=True)
    return list(order.split(torch.bincount(owners, minlength=len(shards)).tolist()))


# ---- forward ---------------------------------------------------------------------------------


def forward(options: Options, weight: Tensor, wire: Wire, home: Bags) -> tuple[Tensor, Trip]:
    """The output of this home's bags, (B, D), and what the backward needs. max_norm comes first.

    weight: this process's rectangle. All processes call this together.
    """
    chosen = choose(options.shards, home.rows)
    kind = "no weights" if home.weights is None else f"weights, gradient {home.wants_grad}"
    numbers = [[len(home.lengths), len(positions), home.padding] for positions in chosen]
    told = wire.agree(f"forward of {options.words(weight.dtype)}, {kind}", numbers)
    trip = _travel(options, weight, wire, home, chosen, told)
    if options.max_norm is not None:
        _renorm(options, weight, wire, trip, any(row[2] for row in told))
    if options.mode == "max":
        return _forward_max(options, weight, wire, trip)
    part = pooled(weight, trip.rows, trip.lengths, trip.weights)
    output = _joined(options, part, wire, trip)
    return _of_mean(options, output, home), trip


def _travel(
    options: Options,
    weight: Tensor,
    wire: Wire,
    home: Bags,
    chosen: list[Tensor],
    told: list[list[int]],
) -> Trip:
    """The way out: lengths, rows and weights of positions to their owners."""
    mine = options.shards[wire.rank]
    bags, counts = [row[0] for row in told], [row[1] for row in told]
    of_each, B = home.of_each, len(home.lengths)
    lengths = [
        torch.bincount(of_each[positions], minlength=B).int()[: 0 if shard.empty else B]
        for positions, shard in zip(chosen, options.shards, strict=True)
    ]
    came = [home.lengths.new_empty(0 if mine.empty else b, dtype=torch.int32) for b in bags]
    lengths = torch.cat(wire.swap("lengths", lengths, came)).long()
    came = [home.rows.new_empty(count) for count in counts]
    rows = torch.cat(wire.swap("indices", [home.rows[each] for each in chosen], came))
    weights = None
    if home.weights is not None:
        came = [weight.new_empty(count) for count in counts]
        weights = torch.cat(wire.swap("weights", [home.weights[each] for each in chosen], came))
    return Trip(home, chosen, bags, counts, rows - mine.rows.start, lengths, weights)


def pooled(table: Tensor, rows: Tensor, lengths: Tensor, weights: Tensor | None) -> Tensor:
    """The (weighted) sum of each bag, (b, d), in the order of the positions."""
    if not len(lengths):
        return table[:0]
    ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return F.embedding_bag(
        rows, table, ends, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _answers(options: Options, kind: str, part: Tensor, wire: Wire, trip: Trip) -> list[Tensor]:
    """The way home: each owner's (b, d) in pieces to the homes; (W,) of (B, d) came here."""
    B = len(trip.home.lengths)
    came = [part.new_empty(B, len(shard.columns)) for shard in options.shards]
    if options.shards[wire.rank].empty:
        part = part.new_empty(sum(trip.bags), 0)
    return wire.swap(kind, part.split(trip.bags), came)


def _joined(options: Options, part: Tensor, wire: Wire, trip: Trip) -> Tensor:
    """The answers in one output, (B, D): side by side, or added in the order of the owners."""
    answers = _answers(options, "outputs", part, wire, trip)
    output = part.new_zeros(len(trip.home.lengths), options.D)
    begun = set()
    for shard, answer in zip(options.shards, answers, strict=True):
        if shard.empty:
            continue
        place = output[:, shard.columns.start : shard.columns.stop]
        place.copy_(place + answer if shard.columns.start in begun else answer)
        begun.add(shard.columns.start)
    return output


def _of_mean(options: Options, values: Tensor, home: Bags) -> Tensor:
    """Mode mean divides at home: only there a bag is whole. An empty one stays zero."""
    if options.mode != "mean":
        return values
    return values / home.lengths.clamp(min=1).to(values.dtype)[:, None]


# ---- max -------------------------------------------------------------------------------------


def _forward_max(options: Options, weight: Tensor, wire: Wire, trip: Trip) -> tuple[Tensor, Trip]:
    """A pair travels home for each number: the value, and its place in the bag."""
    of_each = bag_numbers(trip.lengths)
    joined = rows_are_cut(options.shards)
    places = _places(wire, trip) if joined else _since_start(trip.lengths)
    values, winners = largest(weight[trip.rows], places, of_each, len(trip.lengths))
    trip = trip._replace(winners=winners)
    if not joined:
        return _joined(options, values, wire, trip), trip
    far = places.new_tensor([FAR])
    won = torch.cat([places, far])[winners].int()
    all_values = torch.stack(_real(options, _answers(options, "outputs", values, wire, trip)))
    all_places = torch.stack(_real(options, _answers(options, "places", won, wire, trip)))
    output, by_owner = first_largest(all_values, all_places)
    return output, trip._replace(by_owner=by_owner)


def _real(options: Options, answers: list[Tensor]) -> list[Tensor]:
    return [a for a, shard in zip(answers, options.shards, strict=True) if not shard.empty]


def _since_start(lengths: Tensor) -> Tensor:
    """The place of each position in its bag, (n,)."""
    starts = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum()), device=lengths.device) - starts[bag_numbers(lengths)]


def _places(wire: Wire, trip: Trip) -> Tensor:
    """(k,) the place of each position in its whole bag, which only its home knows."""
    places = _since_start(trip.home.lengths).int()
    came = [places.new_empty(count) for count in trip.counts]
    return torch.cat(wire.swap("places", [places[each] for each in trip.chosen], came)).long()


def largest(values: Tensor, places: Tensor, bag: Tensor, bags: int) -> tuple[Tensor, Tensor]:
    """Of each bag and feature the largest value, (b, d), and the entry that it came from.

    values (k, d), places and bag (k,). The first of equals wins. A NaN wins at place 0 and nowhere
    else. Where nobody wins: 0, and entry k.
    """
    k, d = values.shape
    never = values.isnan() & (places > 0)[:, None]
    keys = torch.where(values.isnan(), torch.inf, values).masked_fill(never, -torch.inf)
    to = bag[:, None].expand(k, d)
    best = keys.new_full((bags, d), -torch.inf).scatter_reduce_(0, to, keys, "amax")
    entries = torch.arange(k, device=bag.device)[:, None].expand(k, d)
    entries = entries.masked_fill(never | (keys != best[bag]), k)
    winners = entries.new_full((bags, d), k).scatter_reduce_(0, to, entries, "amin")
    return torch.cat([values, values.new_zeros(1, d)]).gather(0, winners), winners


def first_largest(values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The answers of some owners, (W, B, D) values and places, joined: (B, D) and who won, or -1.

    The larger value wins, of equals the one with the smaller place; a NaN has place 0 and wins.
    """
    keys = torch.where(values.isnan(), torch.inf, values).masked_fill(places == FAR, -torch.inf)
    places = places.masked_fill(keys != keys.amax(0), FAR)
    place, who = places.min(0)
    output = values.gather(0, who[None])[0]
    nobody = place == FAR
    return output.masked_fill(nobody, 0), who.masked_fill(nobody, -1)


# ---- max_norm --------------------------------------------------------------------------------


def _renorm(options: Options, weight: Tensor, wire: Wire, trip: Trip, padding: bool) -> None:
    """Rescale each row that occurs in any home and is longer than max_norm, in place, once."""
    mine = options.shards[wire.rank]
    rows = trip.rows
    if padding and options.padding_idx in mine.rows:
        assert options.padding_idx is not None
        rows = torch.cat([rows, rows.new_tensor([options.padding_idx - mine.rows.start])])
    rows = torch.unique(rows)
    norms = weight.new_zeros(0, dtype=torch.float64)
    if not mine.empty:
        norms = torch.linalg.vector_norm(weight[rows].double(), options.norm_type, dim=1)
    if len({shard.columns for shard in options.shards if not shard.empty}) > 1:
        norms = _norms_of_parts(options, norms, wire)
    norms = norms.to(weight.dtype).double()
    assert options.max_norm is not None
    scales = torch.where(norms > options.max_norm, options.max_norm / (norms + 1e-7), 1.0)
    weight[rows] *= scales.to(weight.dtype)[:, None]


def _norms_of_parts(options: Options, norms: Tensor, wire: Wire) -> Tensor:
    """Column-wise each owner has a part of every row: the norm of the norms of the parts."""
    parts = [norms[: None if not shard.empty else 0] for shard in options.shards]
    came = parts if not options.shards[wire.rank].empty else [norms[:0]] * wire.world
    parts = torch.stack(_real(options, wire.swap("norms", parts, came)))
    if options.norm_type == 0:
        return parts.sum(0)
    return torch.linalg.vector_norm(parts, options.norm_type, dim=0)


# ---- backward --------------------------------------------------------------------------------


def backward(
    options: Options, weight: Tensor, wire: Wire, trip: Trip, grad_output: Tensor
) -> tuple[Rows, Tensor | None]:
    """The gradient of this owner's rectangle, summed over all homes, and that of home's weights.

    grad_output: (B, D) of this home. The second is (n,), or None where weights want no gradient.
    All processes call this together, once they have agreed on it.
    """
    grad_output = _of_mean(options, grad_output, trip.home)
    if options.mode == "max":
        return _backward_max(options, wire, trip, grad_output), None
    upstream = _to_owners(options, [grad_output] * wire.world, wire, trip)
    of_each = bag_numbers(trip.lengths)
    if not trip.home.wants_grad:
        return touched(options, trip, of_each, upstream), None
    dots = (upstream[of_each] * weight[trip.rows]).sum(1)
    came = [dots.new_empty(len(positions)) for positions in trip.chosen]
    shares = wire.swap("weight gradients", dots.split(trip.counts), came)
    grad_weights = dots.new_zeros(len(trip.home.rows))
    for positions, share in zip(trip.chosen, shares, strict=True):
        grad_weights.index_add_(0, positions, share)
    return touched(options, trip, of_each, upstream), grad_weights


def _to_owners(options: Options, values: Sequence[Tensor], wire: Wire, trip: Trip) -> Tensor:
    """Of values[owner], (B, D), its columns to each owner; (b, d) from all homes comes here."""
    mine = len(options.shards[wire.rank].columns)
    parts = [
        value[:, shard.columns.start : shard.columns.stop]
        for value, shard in zip(values, options.shards, strict=True)
    ]
    return torch.cat(
        wire.swap("gradients", parts, [values[0].new_empty(b, mine) for b in trip.bags])
    )


def touched(options: Options, trip: Trip, bag: Tensor, upstream: Tensor) -> Rows:
    """The backward is a forward over sorted positions: the rows that occur, and their sums."""
    if not len(trip.rows):
        return Rows(trip.rows, upstream[:0])
    order = torch.argsort(trip.rows, stable=True)
    rows, lengths = torch.unique_consecutive(trip.rows[order], return_counts=True)
    weights = None if trip.weights is None else trip.weights[order]
    sums = pooled(upstream, bag[order], lengths, weights)
    if options.scale_grad_by_freq:  # of the global batch: an owner sees all positions of its rows
        sums = sums / lengths.to(sums.dtype)[:, None]
    return Rows(rows, sums)


def _backward_max(options: Options, wire: Wire, trip: Trip, grad_output: Tensor) -> Rows:
    """The gradient of an output goes to the one row that won it; other owners get 0."""
    assert trip.winners is not None
    parts = [grad_output] * wire.world
    if trip.by_owner is not None:
        owners = [r for r, shard in enumerate(options.shards) if not shard.empty]
        won = [
            trip.by_owner == owners.index(r) if r in owners else False for r in range(wire.world)
        ]
        parts = [torch.where(torch.as_tensor(of), grad_output, 0.0) for of in won]
    upstream = _to_owners(options, parts, wire, trip)
    bag, feature = (trip.winners < len(trip.rows)).nonzero(as_tuple=True)
    rows, place = torch.unique(trip.rows[trip.winners[bag, feature]], return_inverse=True)
    sums = upstream.new_zeros(len(rows), upstream.shape[1])
    sums.index_put_((place, feature), upstream[bag, feature], accumulate=True)
    return Rows(rows, sums)
