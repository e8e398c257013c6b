"""The exercises of chapter 17: a table on many machines."""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.course.draw import bags, size, table
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.tools import work_of

# ---- 17.route -------------------------------------------------------------------------------


def route(rows: np.ndarray, V: int, world: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions in the order in which they are sent, and how many go to each owner."""
    owners = rows // -(-V // world)
    return np.argsort(owners, kind="stable"), np.bincount(owners, minlength=world)


def _by_row(rows, V, world):
    return np.argsort(rows, kind="stable"), route(rows, V, world)[1]


def _equals_turned(rows, V, world):
    owners = rows // -(-V // world)
    return np.lexsort((-np.arange(len(rows)), owners)), route(rows, V, world)[1]


def _rows_sent(rows, V, world):
    order, counts = route(rows, V, world)
    return rows[order], counts


def _missing_owners(rows, V, world):
    return route(rows, V, world)[0], np.unique(rows // -(-V // world), return_counts=True)[1]


def _rounded_down(rows, V, world):
    owners = np.minimum(rows // max(V // world, 1), world - 1)
    return np.argsort(owners, kind="stable"), np.bincount(owners, minlength=world)


def _round_robin(rows, V, world):
    owners = rows % world
    return np.argsort(owners, kind="stable"), np.bincount(owners, minlength=world)


def _ends(rows, V, world):
    order, counts = route(rows, V, world)
    return order, np.cumsum(counts)


def _places(rows, V, world):
    order, counts = route(rows, V, world)
    return np.argsort(order), counts


def _route_cases() -> list[Case]:
    random = np.random.default_rng(171)
    many = np.minimum(random.zipf(1.3, 400), 50) - 1
    return [
        Case("two owners", np.array([3, 0, 2, 1]), V=4, world=2),
        Case("five rows, two owners", np.array([4, 2, 3, 0]), V=5, world=2),
        Case("an owner gets nothing", np.array([8, 0, 7, 0]), V=9, world=3),
        Case("rows come twice", np.array([5, 1, 5, 0, 5, 1]), V=6, world=3),
        Case("more owners than rows", np.array([1, 0, 1]), V=2, world=4),
        Case("no position", np.zeros(0, np.int64), V=4, world=2),
        Case("400 positions", many, V=50, world=8),
    ]


def _any_route(random):
    V = size(random, 1, 12)
    return random.integers(0, V, size(random, 0, 14)), V, size(random, 1, 5)


ROUTE = Exercise(
    "17.route",
    "which position goes to which owner",
    route,
    _route_cases,
    random_call=_any_route,
    hints=(
        "Two questions: who owns the row of a position? In which order do all positions stand once "
        "those of owner 0 come first?",
        "The owner is a division by the size of a block, which is rounded up. The order is a sort "
        "of the owners, not of the rows.",
        "np.argsort with kind='stable' on the owners gives the order; np.bincount with minlength "
        "counts, and gives owners without a position their 0.",
    ),
    wrong=(
        Wrong(_by_row, "That is the order of the rows. Sort by owner: within one, keep the order."),
        Wrong(
            _equals_turned, "Positions of one owner have lost their order: sort with kind='stable'."
        ),
        Wrong(_rows_sent, "Those are the rows that are sent. Asked for are their positions."),
        Wrong(_missing_owners, "An owner that gets nothing has a count, too: 0."),
        Wrong(_rounded_down, "A block has V / world rows, rounded up: the last ones are shorter."),
        Wrong(
            _round_robin, "Here owners have blocks of neighboring rows; row % world deals them out."
        ),
        Wrong(_ends, "Asked for is how many go to each owner, not where they end."),
        Wrong(
            _places, "That says where each position goes. Asked for is which position comes next."
        ),
    ),
    points=2,
    returns=("order", "counts"),
    unproved="that the sort is stable for every input: NumPy promises that of kind='stable'.",
)

# ---- 17.home_again --------------------------------------------------------------------------


def home_again(order: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Numbers that came back in the order in which positions were sent, at their positions."""
    found = np.empty_like(shares)
    found[order] = shares
    return found


def _home_again_cases() -> list[Case]:
    random = np.random.default_rng(172)
    return [
        Case("three turned round", np.array([1, 2, 0]), np.array([0.5, 0.25, 4.0])),
        Case("two changed", np.array([1, 0, 2]), np.array([1.0, 2.0, 3.0])),
        Case("as they were", np.arange(4), np.array([4.0, 1.0, 3.0, 1.0])),
        Case("none", np.zeros(0, np.int64), np.zeros(0)),
        Case("60", random.permutation(60), random.normal(size=60).astype(np.float32)),
    ]


def _any_home_again(random):
    n = size(random, 0, 12)
    return random.permutation(n), np.round(random.normal(size=n), 2)


HOME_AGAIN = Exercise(
    "17.home_again",
    "what comes home, at its positions",
    home_again,
    _home_again_cases,
    random_call=_any_home_again,
    hints=(
        "Position order[k] was sent as number k. Where does the answer number k belong?",
        "Sending picked: sent = values[order]. Coming home is the reverse: it puts.",
        "Make an empty array of this length, and assign to it at the indices `order`.",
    ),
    wrong=(
        Wrong(lambda order, shares: shares[order],
              "shares[order] picks once more. What comes home must be put back."),
        Wrong(lambda order, shares: shares.copy(),
              "These stand in the order in which they were sent."),
        Wrong(lambda order, shares: np.sort(shares),
              "The numbers themselves are not to be sorted: each belongs to a position."),
        Wrong(lambda order, shares: home_again(order[::-1], shares),
              "Number k came from position order[k], not from the k-th one from the end."),
        Wrong(lambda order, shares: np.roll(home_again(order, shares), 1),
              "All are one position too far."),
        Wrong(lambda order, shares: home_again(order, shares).astype(np.int64),
              "The numbers have lost what stands behind the point: keep their dtype."),
    ),
    returns="shares at their positions",
    unproved="that `order` is one that a sort has given.",
)  # fmt: skip

# ---- 17.join_max ----------------------------------------------------------------------------

FAR = 2**31 - 1


def join_max(values: np.ndarray, places: np.ndarray) -> tuple[float, int]:
    """Of all owners' answers to one bag and feature: the maximum, and the owner who has it."""
    winner = -1
    for owner in range(len(values)):
        if places[owner] == FAR:
            continue
        if winner < 0 or _wins(values[owner], places[owner], values[winner], places[winner]):
            winner = owner
    return (float(values[winner]), winner) if winner >= 0 else (0.0, -1)


def _wins(value, place, over, its_place):
    if np.isnan(over):
        return False  # a NaN that is answered stands first in its bag
    return np.isnan(value) or value > over or (value == over and place < its_place)


def _answered(values, places):
    return [k for k in range(len(values)) if places[k] != FAR]


def _first_owner(values, places):
    there = _answered(values, places)
    if not there:
        return 0.0, -1
    nan = [k for k in there if np.isnan(values[k])]
    best = nan[0] if nan else max(there, key=lambda k: values[k])
    return float(values[best]), best


def _last_place(values, places):
    value, owner = join_max(values, places)
    same = [k for k in _answered(values, places) if values[k] == value]
    return (value, max(same, key=lambda k: places[k])) if same else (value, owner)


def _no_nan(values, places):
    there = [k for k in _answered(values, places) if not np.isnan(values[k])]
    return join_max(values[there], places[there])[0] if there else 0.0, (
        there[join_max(values[there], places[there])[1]] if there else -1
    )


def _absent_is_zero(values, places):
    return join_max(np.where(places == FAR, 0.0, values), np.where(places == FAR, FAR - 1, places))


def _minus_infinity(values, places):
    value, owner = join_max(values, places)
    return (value if owner >= 0 else -np.inf), owner


def _the_place(values, places):
    value, owner = join_max(values, places)
    return value, int(places[owner]) if owner >= 0 else -1


def _first_in_bag(values, places):
    owner = int(np.argmin(places))
    return (float(values[owner]), owner) if places[owner] != FAR else (0.0, -1)


def _join_max_cases() -> list[Case]:
    nan, inf = np.nan, np.inf
    rows = {
        "the larger wins": ([1.0, 3.0], [0, 2]),
        "a tie goes to the smaller place": ([2.0, 2.0], [3, 1]),
        "a tie, the other way round": ([2.0, 2.0], [1, 3]),
        "an owner has nothing": ([0.0, -2.0], [FAR, 0]),
        "nobody has anything": ([0.0, 0.0], [FAR, FAR]),
        "a NaN stands first": ([nan, 5.0], [0, 1]),
        "a NaN stands first, over infinity": ([inf, nan, 1.0], [2, 0, 1]),
        "minus infinity": ([-inf, -inf, 0.0], [4, 1, FAR]),
        "three owners": ([-1.0, 0.5, 0.5], [0, 4, 2]),
    }
    return [Case(name, np.array(v), np.array(p)) for name, (v, p) in rows.items()]


def _any_join_max(random):
    world = size(random, 1, 5)
    values = np.round(random.normal(size=world))
    places = random.permutation(3 * world)[:world]
    if random.random() < 0.3:
        places[random.integers(world)] = 0
        first = np.flatnonzero(places == 0)
        places[first[1:]] += 100
        values[first[0]] = np.nan
    away = random.random(world) < 0.25
    return np.where(away, 0.0, values), np.where(away, FAR, places)


JOIN_MAX = Exercise(
    "17.join_max",
    "the maximum of many answers",
    join_max,
    _join_max_cases,
    random_call=_any_join_max,
    hints=(
        "Go through the owners, and keep the best so far. Who does not take part at all?",
        "Three rules, in this order: who has nothing is out; a NaN is answered only where it "
        "stands first in its bag, and then it wins; the larger value wins, and of equals the "
        "smaller place.",
        "Compare each answer with the best one: it wins if the best one is no NaN, and it is NaN, "
        "or larger, or equal with a smaller place. If nobody is left, the bag is empty: (0.0, -1).",
    ),
    wrong=(
        Wrong(_first_owner, "Of equal values the first in the bag wins, not the first owner."),
        Wrong(_last_place, "Of equal values the smallest place wins; yours takes the largest."),
        Wrong(_no_nan, "A NaN that is answered stands first in its bag: it wins."),
        Wrong(
            _absent_is_zero, "An owner that has nothing of the bag takes no part, not even with 0."
        ),
        Wrong(_minus_infinity, "An empty bag is 0, as torch has it."),
        Wrong(_the_place, "Asked for is the number of the owner, not the place in the bag."),
        Wrong(_first_in_bag, "That is the first position of the bag. The largest value wins."),
    ),
    points=2,
    returns=("maximum", "owner"),
    unproved="that an owner answers a NaN only where it stands first.",
)

# ---- 17.bytes -------------------------------------------------------------------------------


def bytes_sent(sharding: str, world: int, B: int, n: int, D: int, w: int) -> float:
    """Bytes that a process sends in a forward and a backward, rows drawn evenly."""
    others = world - 1
    if sharding == "row":
        return others * 4 * B + others / world * 8 * n + 2 * others * B * D * w
    return others * 4 * B + others * 8 * n + 2 * others * B * D / world * w


def _own_share(sharding, world, B, n, D, w):
    if sharding == "row":
        return others_of(world) * (4 * B + 2 * B * D * w) + 8 * n
    return bytes_sent(sharding, world, B, n, D, w)


def others_of(world):
    """How many processes there are beside this one."""
    return world - 1


def _to_itself(sharding, world, B, n, D, w):
    return bytes_sent(sharding, world, B, n, D, w) * world / max(world - 1, 1)


def _forward_only(sharding, world, B, n, D, w):
    out = others_of(world) * B * D * w / (1 if sharding == "row" else world)
    return bytes_sent(sharding, world, B, n, D, w) - out


def _no_lengths(sharding, world, B, n, D, w):
    return bytes_sent(sharding, world, B, n, D, w) - others_of(world) * 4 * B


def _whole_rows(sharding, world, B, n, D, w):
    return others_of(world) * (4 * B + 2 * B * D * w) + others_of(world) * n * (
        8 / world if sharding == "row" else 8
    )


def _indices_once(sharding, world, B, n, D, w):
    away = 8 * n * others_of(world)
    return bytes_sent(sharding, world, B, n, D, w) - (
        0 if sharding == "row" else away - away / world
    )


def _rows_home(sharding, world, B, n, D, w):
    if sharding == "row":
        return others_of(world) * 4 * B + others_of(world) / world * n * (8 + 2 * D * w)
    return bytes_sent(sharding, world, B, n, D, w)


def _narrow_indices(sharding, world, B, n, D, w):
    out = others_of(world) * 4 * n / (world if sharding == "row" else 1)
    return bytes_sent(sharding, world, B, n, D, w) - out


def _bytes_cases() -> list[Case]:
    return [
        Case("the example", "row", world=2, B=1, n=2, D=4, w=4),
        Case("the example, by columns", "column", world=2, B=1, n=2, D=4, w=4),
        Case("4 processes, rows", "row", world=4, B=16, n=320, D=32, w=4),
        Case("4 processes, columns", "column", world=4, B=16, n=320, D=32, w=4),
        Case("8 processes, long bags", "row", world=8, B=10, n=4000, D=64, w=2),
        Case("8 processes, long bags, columns", "column", world=8, B=10, n=4000, D=64, w=2),
        Case("one process", "row", world=1, B=8, n=80, D=16, w=4),
    ]


def _any_bytes(random):
    world = size(random, 1, 9)
    sharding = str(random.choice(["row", "column"]))
    B = size(random, 1, 20)
    return sharding, world, B, size(random, 0, 200), world * size(random, 1, 6), size(random, 2, 8)


BYTES = Exercise(
    "17.bytes",
    "predict the bytes on the wire",
    bytes_sent,
    _bytes_cases,
    random_call=_any_bytes,
    hints=(
        "Four things travel: lengths, indices, outputs, gradients. For each: to how many others, "
        "and how much to each?",
        "Lengths go to every other owner, 4 bytes a bag. Of the indices, row-wise each owner gets "
        "its part, column-wise all of them. What this process sends as an owner goes to world - 1 "
        "homes, what it sends as a home to world - 1 owners.",
        "Row-wise an answer is D numbers wide, column-wise D / world; outputs and gradients are "
        "the same amount. Nothing is sent to oneself.",
    ),
    wrong=(
        Wrong(_own_share, "Indices of rows that a process owns itself are not sent."),
        Wrong(_to_itself, "A process sends nothing to itself: there are world - 1 others."),
        Wrong(_forward_only, "The backward is missing: gradients travel as outputs do."),
        Wrong(_no_lengths, "The lengths of the bags travel, too: 4 bytes a bag to each owner."),
        Wrong(_whole_rows, "Column-wise an answer has D / world numbers, not D."),
        Wrong(_indices_once, "Column-wise every owner needs all the indices."),
        Wrong(_rows_home, "No rows travel: one sum for each bag, whatever its length."),
        Wrong(_narrow_indices, "An index has 8 bytes here."),
    ),
    points=2,
    returns="bytes",
    unproved="what messages cost that wait for one another: it is a count, no time.",
)

# ---- 17.place -------------------------------------------------------------------------------


def place(loads: list[int], world: int) -> list[int]:
    """An owner for each table: the largest first, each to the owner who has the least so far."""
    owners, used = [0] * len(loads), [0] * world
    for table_ in sorted(range(len(loads)), key=lambda t: (-loads[t], t)):
        owner = min(range(world), key=lambda o: (used[o], o))
        owners[table_] = owner
        used[owner] += loads[table_]
    return owners


def _as_given(loads, world):
    used, owners = [0] * world, []
    for load in loads:
        owners.append(used.index(min(used)))
        used[owners[-1]] += load
    return owners


def _in_turn(loads, world):
    return [k % world for k in range(len(loads))]


def _fewest_tables(loads, world):
    owners, used = [0] * len(loads), [0] * world
    for t in sorted(range(len(loads)), key=lambda t: (-loads[t], t)):
        owners[t] = used.index(min(used))
        used[owners[t]] += 1
    return owners


def _smallest_first(loads, world):
    owners, used = [0] * len(loads), [0] * world
    for t in sorted(range(len(loads)), key=lambda t: (loads[t], t)):
        owners[t] = used.index(min(used))
        used[owners[t]] += loads[t]
    return owners


def _in_order_of_size(loads, world):
    found = place(loads, world)
    return [found[t] for t in sorted(range(len(loads)), key=lambda t: (-loads[t], t))]


def _busiest(loads, world):
    owners, used = [0] * len(loads), [0] * world
    for t in sorted(range(len(loads)), key=lambda t: (-loads[t], t)):
        owners[t] = used.index(max(used))
        used[owners[t]] += loads[t]
    return owners


def _last_of_equals(loads, world):
    owners, used = [0] * len(loads), [0] * world
    for t in sorted(range(len(loads)), key=lambda t: (-loads[t], t)):
        owners[t] = max(range(world), key=lambda o: (-used[o], o))
        used[owners[t]] += loads[t]
    return owners


def _place_cases() -> list[Case]:
    random = np.random.default_rng(175)
    return [
        Case("the example", [4, 7, 3], 2),
        Case("one large table", [1, 1, 1, 9], 2),
        Case("equal tables", [5, 5, 5, 5], 3),
        Case("more owners than tables", [2, 1], 4),
        Case("no table", [], 2),
        Case("26 tables", [int(x) for x in np.minimum(random.zipf(1.2, 26), 10_000)], 8),
    ]


def _any_place(random):
    return [int(x) for x in random.integers(1, 12, size(random, 0, 9))], size(random, 1, 4)


PLACE = Exercise(
    "17.place",
    "whole tables to owners",
    place,
    _place_cases,
    random_call=_any_place,
    hints=(
        "Deal the tables out one by one. In which order? And to whom?",
        "The largest first; of equal ones the first. Each to the owner whose loads add up to the "
        "least so far; of equal owners the first.",
        "Sort the numbers of the tables by (-load, number). Keep a list of what each owner has; "
        "take the place of its minimum, and add. Return the owners in the order of the tables.",
    ),
    wrong=(
        Wrong(_as_given, "The largest table must come first; yours are dealt out as given."),
        Wrong(_in_turn, "Dealing out in turn does not look at loads."),
        Wrong(_fewest_tables, "Count what the tables bring, not how many there are."),
        Wrong(
            _smallest_first, "Largest first: a large table that comes last makes one owner busy."
        ),
        Wrong(_in_order_of_size, "The owners belong in the order of the tables, as given."),
        Wrong(_busiest, "Give it to the owner who has the least so far."),
        Wrong(_last_of_equals, "Of owners that are equally busy, the first gets it."),
    ),
    points=2,
    returns="owners",
    unproved="that there is no better plan: largest first may be a third off the best.",
)

# ---- 17.sharded_bag: the capstone -------------------------------------------------------------


def sharded_bag(
    parts: list[np.ndarray], indices: np.ndarray, offsets: np.ndarray, mode: str
) -> np.ndarray:
    """The output of one home, (B, D): parts[owner] is its block of rows, the first ones first."""
    B, first, output = len(offsets) - 1, 0, np.zeros((len(offsets) - 1, parts[0].shape[1]))
    bag_of = np.repeat(np.arange(B), np.diff(offsets))
    for part in parts:
        mine = (indices >= first) & (indices < first + len(part))
        np.add.at(output, bag_of[mine], part[indices[mine] - first])
        first += len(part)
    if mode == "mean":
        output /= np.maximum(np.diff(offsets), 1)[:, None]
    return output


def _by_parts(parts, indices, offsets, mode, answer):
    B, first = len(offsets) - 1, 0
    bag_of = np.repeat(np.arange(B), np.diff(offsets))
    output = np.zeros((B, parts[0].shape[1]))
    for part in parts:
        mine = (indices >= first) & (indices < first + len(part))
        output += answer(part, indices[mine] - first, bag_of[mine], B)
        first += len(part)
    return output


def _sum_at(part, rows, bag, B):
    total = np.zeros((B, part.shape[1]))
    np.add.at(total, bag, part[rows])
    return total


def _mean_of_parts(parts, indices, offsets, mode):
    def answer(part, rows, bag, B):
        sizes = np.maximum(np.bincount(bag, minlength=B), 1)[:, None]
        return _sum_at(part, rows, bag, B) / (sizes if mode == "mean" else 1)

    return _by_parts(parts, indices, offsets, mode, answer)


def _mean_of_owners(parts, indices, offsets, mode):
    output = sharded_bag(parts, indices, offsets, "sum")
    return output / len(parts) if mode == "mean" else output


def _once_a_row(parts, indices, offsets, mode):
    def answer(part, rows, bag, B):
        total = np.zeros((B, part.shape[1]))
        total[bag] += part[rows]
        return total

    output = _by_parts(parts, indices, offsets, mode, answer)
    return output / np.maximum(np.diff(offsets), 1)[:, None] if mode == "mean" else output


def _first_owner_only(parts, indices, offsets, mode):
    mine = indices < len(parts[0])
    bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    output = _sum_at(parts[0], indices[mine], bag_of[mine], len(offsets) - 1)
    return output / np.maximum(np.diff(offsets), 1)[:, None] if mode == "mean" else output


def _equal_blocks(parts, indices, offsets, mode):
    """Takes all parts to be as long as the first; an index beyond is the last row."""
    block = len(parts[0])
    bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    output = np.zeros((len(offsets) - 1, parts[0].shape[1]))
    for row, bag in zip(indices, bag_of, strict=True):
        part = parts[min(row // block, len(parts) - 1)] if block else parts[0]
        output[bag] += part[min(row % max(block, 1), len(part) - 1)] if len(part) else 0
    return output / np.maximum(np.diff(offsets), 1)[:, None] if mode == "mean" else output


def _empty_is_nan(parts, indices, offsets, mode):
    output = sharded_bag(parts, indices, offsets, "sum")
    with np.errstate(all="ignore"):
        return output / np.diff(offsets)[:, None] if mode == "mean" else output


def _always_sum(parts, indices, offsets, mode):
    return sharded_bag(parts, indices, offsets, "sum")


def _sharded_case(name: str, lengths: list[int], blocks: list[int], mode: str, seed: int) -> Case:
    random = np.random.default_rng([176, seed])
    parts = [np.round(random.normal(size=(rows, 2)), 1) for rows in blocks]
    indices = random.integers(0, sum(blocks), sum(lengths))
    return Case(name, parts, indices, np.append(0, np.cumsum(lengths)), mode)


def _sharded_cases() -> list[Case]:
    return [
        _sharded_case("two owners", [2, 1], [2, 2], "sum", 0),
        _sharded_case("a mean", [3, 2], [2, 2], "mean", 1),
        _sharded_case("an empty bag", [2, 0, 2], [2, 2], "mean", 2),
        _sharded_case("blocks of other sizes", [4, 3], [3, 1, 2], "sum", 3),
        _sharded_case("a row comes twice", [5], [1, 1], "mean", 4),
        _sharded_case("an owner of nothing", [2, 3], [2, 2, 0], "sum", 5),
        _sharded_case("four owners", [7, 0, 12, 5, 1], [5, 5, 5, 3], "mean", 6),
    ]


def _any_sharded(random):
    blocks = [size(random, 0, 4) for _ in range(size(random, 1, 4))]
    blocks[0] = max(blocks[0], 1)
    parts = [table(random, rows, 2) for rows in blocks]
    indices, offsets = bags(random, sum(blocks))
    return parts, indices, np.append(offsets, len(indices)), str(random.choice(["sum", "mean"]))


TOGETHER = "The results are right, but the table was put together: it has no room at one home."


def _put_together(mine: Any) -> str:
    """One row is asked for; does that take the memory of a part?"""
    parts = [np.zeros((50_000, 8))] * 2
    work = work_of(mine, parts, np.array([60_000]), np.array([0, 1]), "sum")
    return TOGETHER if work.peak > parts[0].nbytes else ""


SHARDED_BAG = Exercise(
    "17.sharded_bag",
    "capstone: a bag whose rows lie at many owners",
    sharded_bag,
    _sharded_cases,
    random_call=_any_sharded,
    hints=(
        "Owner by owner: which positions have a row of its block, and which of its rows is it?",
        "Keep a count of the rows that the owners before have: the block begins there. Add what "
        "the owner has of each bag to the output. A mean is divided at the end, once.",
        "A mask picks the positions whose row lies in the block; indices minus its begin are the "
        "rows of the part. np.add.at adds, also where a bag occurs twice. Divide by the whole "
        "length of each bag, at least 1.",
    ),
    wrong=(
        Wrong(
            _mean_of_parts,
            "Each owner has divided by the number of positions that it has. A mean is divided at "
            "home, by the whole length of the bag.",
        ),
        Wrong(_mean_of_owners, "A mean divides by the positions of the bag, not by the owners."),
        Wrong(
            _once_a_row,
            "output[bag] += rows adds one of several rows of a bag: np.add.at adds them all.",
        ),
        Wrong(_first_owner_only, "Only the first owner was asked."),
        Wrong(_equal_blocks, "Blocks may have other sizes: begin where the owners before end."),
        Wrong(_empty_is_nan, "An empty bag is 0: divide by 1 there."),
        Wrong(_always_sum, "Mode mean divides by the length of the bag."),
        Wrong(lambda parts, *bags: sharded_bag([np.concatenate(parts)], *bags), TOGETHER),
    ),
    points=3,
    tools=_put_together,
    returns="output",
    unproved="what travels: this is one process, with a list.",
)

EXERCISES = (ROUTE, HOME_AGAIN, JOIN_MAX, BYTES, PLACE, SHARDED_BAG)
