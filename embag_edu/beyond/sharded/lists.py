"""A table over W processes, in one process: each of them is an entry of a list.

This is the text to read first. A message is a list, sending it is naming it; the loops are those of
`embag_edu.loops`. What really travels between processes is the same (`table`), in whole arrays.

    shards = cut(V, D, world, "row")
    parts = [part_of(weight, shard) for shard in shards]
    outputs = forward(shards, parts, homes, "mean")      # one for each home

homes: for each process a `Home`, its bags. The letters: B bags of a home, N positions, D features,
d columns of a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from embag_edu.beyond.sharded.shards import Shard


class Home(NamedTuple):
    """The bags of one process."""

    indices: np.ndarray  # (N,)
    offsets: np.ndarray  # (B + 1,) with the end
    weights: np.ndarray | None = None  # (N,) per_sample_weights

    @property
    def bags(self) -> int:
        """B."""
        return len(self.offsets) - 1


class Line(NamedTuple):
    """A line of a letter from a home to an owner: one position."""

    position: int
    bag: int
    place: int  # in its bag: 0 is the first
    row: int
    share: float  # its weight; 1 without weights


Letter = list[Line]


def part_of(weight: np.ndarray, shard: Shard) -> np.ndarray:
    """The rectangle of the table that an owner has."""
    return weight[np.ix_(shard.rows, shard.columns)]


def write_letters(shards: Sequence[Shard], home: Home) -> list[Letter]:
    """letters[owner]: the positions whose row the owner has, in the order of the input."""
    letters: list[Letter] = [[] for _ in shards]
    for bag in range(home.bags):
        for position in range(home.offsets[bag], home.offsets[bag + 1]):
            row = int(home.indices[position])
            share = 1.0 if home.weights is None else float(home.weights[position])
            for owner, shard in enumerate(shards):
                if row in shard.rows:
                    place = int(position - home.offsets[bag])
                    letters[owner].append(Line(position, bag, place, row, share))
    return letters


def sums_of(shard: Shard, part: np.ndarray, letter: Letter, bags: int) -> np.ndarray:
    """An owner's answer to one letter: the sum of what it has of each bag, (B, d)."""
    answer = np.zeros((bags, len(shard.columns)))
    for line in letter:
        answer[line.bag] += line.share * part[line.row - shard.rows.start]
    return answer


def join_sums(shards: Sequence[Shard], answers: Sequence[np.ndarray], D: int) -> np.ndarray:
    """At home: an answer is added to the columns that it is of, in the order of the owners."""
    output = np.zeros((len(answers[0]), D))
    for shard, answer in zip(shards, answers, strict=True):
        output[:, shard.columns.start : shard.columns.stop] += answer
    return output


def forward(
    shards: Sequence[Shard], parts: Sequence[np.ndarray], homes: Sequence[Home], mode: str = "sum"
) -> list[np.ndarray]:
    """The output of each home, (B, D). Modes "sum" and "mean"."""
    outputs = []
    for home in homes:
        letters = write_letters(shards, home)
        answers = [
            sums_of(shard, part, letter, home.bags)
            for shard, part, letter in zip(shards, parts, letters, strict=True)
        ]
        output = join_sums(shards, answers, width_of(shards))
        outputs.append(output / divisors(home) if mode == "mean" else output)
    return outputs


def width_of(shards: Sequence[Shard]) -> int:
    """D."""
    return max(shard.columns.stop for shard in shards)


def divisors(home: Home) -> np.ndarray:
    """What a mean divides by, (B, 1). Only the home knows how long a bag is as a whole."""
    return np.maximum(np.diff(home.offsets), 1)[:, None]


def backward(
    shards: Sequence[Shard],
    parts: Sequence[np.ndarray],
    homes: Sequence[Home],
    grad_outputs: Sequence[np.ndarray],
    mode: str = "sum",
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradient of each owner's part, summed over all homes; that of each home's weights."""
    grads = [np.zeros(part.shape) for part in parts]
    grad_weights = [np.zeros(len(home.indices)) for home in homes]
    for home, G, shares in zip(homes, grad_outputs, grad_weights, strict=True):
        upstream = G / divisors(home) if mode == "mean" else G
        letters = write_letters(shards, home)
        for shard, part, letter, grad in zip(shards, parts, letters, grads, strict=True):
            mine = upstream[
                :, shard.columns.start : shard.columns.stop
            ]  # this travels to the owner
            for line in letter:
                row = line.row - shard.rows.start
                grad[row] += line.share * mine[line.bag]
                shares[line.position] += mine[line.bag] @ part[row]  # and this number comes home
    return grads, grad_weights


class Best(NamedTuple):
    """The largest of what an owner has of one bag and feature."""

    value: float
    place: int


def best_of(shard: Shard, part: np.ndarray, letter: Letter) -> dict[tuple[int, int], Best]:
    """An owner's answer in mode "max": for each bag that it has something of, and each column."""
    best: dict[tuple[int, int], Best] = {}
    for line in letter:
        for column, value in zip(shard.columns, part[line.row - shard.rows.start], strict=True):
            mine = Best(float(value), line.place)
            best[line.bag, column] = larger(best.get((line.bag, column)), mine)
    return best


def larger(first: Best | None, second: Best) -> Best:
    """The larger value; of equals the one that stands first in the bag.

    A NaN wins where it is the first of its bag, and nowhere else: so says torch's maximum.
    """
    if first is None or (np.isnan(first.value) and first.place > 0):
        return second
    if np.isnan(first.value) or (np.isnan(second.value) and second.place > 0):
        return first
    if np.isnan(second.value) or second.value > first.value:
        return second
    if second.value == first.value and second.place < first.place:
        return second
    return first


def forward_max(
    shards: Sequence[Shard], parts: Sequence[np.ndarray], homes: Sequence[Home]
) -> list[np.ndarray]:
    """Mode "max": the output of each home, (B, D). An empty bag stays zero."""
    outputs = []
    for home in homes:
        best: dict[tuple[int, int], Best] = {}
        letters = write_letters(shards, home)
        for shard, part, letter in zip(shards, parts, letters, strict=True):
            for key, answer in best_of(shard, part, letter).items():
                best[key] = larger(best.get(key), answer)
        output = np.zeros((home.bags, width_of(shards)))
        for key, winner in best.items():
            output[key] = winner.value
        outputs.append(output)
    return outputs


def counts_of(shards: Sequence[Shard], homes: Sequence[Home]) -> np.ndarray:
    """(W, W) the positions that each home sends to each owner."""
    letters = [write_letters(shards, home) for home in homes]
    return np.array([[len(letter) for letter in of_home] for of_home in letters])
