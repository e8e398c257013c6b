"""Gradient detectives: a wrong gradient is shown, and the reader names the fault that made it.

    CASES = Detective(chapter=10, faults=FAULTS, draw=draw, expected=..., wrong=..., round=...)
    CASES.accuse(CASES.mystery(7), "lost update")

There is a mystery for every seed, without end; a mystery has one solution only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu.course.exercise import Exercise, Wrong


class Setting(NamedTuple):
    """The small call of a mystery, with scale_grad_by_freq on, and its upstream gradient."""

    mode: str
    indices: np.ndarray  # (N,) rows below V
    offsets: np.ndarray  # (B + 1,) with the end
    per_sample_weights: np.ndarray | None
    padding_idx: int
    grad_output: np.ndarray  # (B, 2)

    def lines(self) -> list[str]:
        """The call in words, a line for each bag."""
        lines = [f"mode {self.mode}, padding_idx {self.padding_idx}, scale_grad_by_freq"]
        for b, (begin, end) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            lines.append(f"  bag {b}: rows {row_text(self.indices[begin:end], 0)}")
            if self.per_sample_weights is not None:
                lines[-1] += f"   weights {row_text(self.per_sample_weights[begin:end])}"
            lines[-1] += f"   grad_output {row_text(self.grad_output[b], 0)}"
        return lines


def draw(random: np.random.Generator, N: int = 8, B: int = 3, V: int = 5) -> Setting:
    """A small call: mode sum with weights, or mode mean."""
    mode = str(random.choice(["sum", "mean"]))
    indices = random.integers(0, V, N)
    offsets = np.array([0, *sorted(random.choice(np.arange(1, N), B - 1, replace=False)), N])
    weights = random.choice([0.5, 2.0, 3.0], N) if mode == "sum" else None
    grad_output = random.choice([-6, -4, -3, -2, 2, 3, 4, 6], (B, 2)).astype(float)
    return Setting(mode, indices, offsets, weights, int(random.integers(V)), grad_output)


def row_text(values: np.ndarray, decimals: int = 2) -> str:
    """Some numbers in a row: "1.00 -0.50"."""
    return " ".join(f"{value + 0.0:.{decimals}f}" for value in values)


@dataclass(frozen=True)
class Mystery:
    """A small call, the expected gradient, and an actual one, made by one fault.

    `fault` is the answer: do not look.
    """

    seed: int
    setting: Setting
    lines: tuple[str, ...] = field(repr=False)  # the call in words
    expected: np.ndarray = field(repr=False)  # (V, 2)
    actual: np.ndarray = field(repr=False)
    fault: str = field(repr=False)

    def __str__(self) -> str:
        lines = [f"mystery {self.seed}: {self.lines[0]}", *self.lines[1:]]
        lines.append("  row       expected         actual")
        for row, (expected, actual) in enumerate(zip(self.expected, self.actual, strict=True)):
            mark = "" if np.allclose(expected, actual) else "   <"
            lines.append(f"    {row} {row_text(expected):>14} {row_text(actual):>14}{mark}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Detective:
    """The mysteries of a chapter, and what is said to an accusation.

    faults    name -> how the fault can be seen
    draw      random -> a Setting
    expected  setting -> its gradient (V, 2)
    wrong     setting -> {fault: the gradients that it can make}, without the faults that it cannot
              have
    lines     setting -> the call in words, as a list of lines
    round     the seeds of the exercise, one for each fault
    instead   fault -> what to say where it did not make the gradient and could have made several
    """

    chapter: int
    faults: Mapping[str, str]
    draw: Callable[[np.random.Generator], Setting]
    expected: Callable[[Setting], np.ndarray]
    wrong: Callable[[Setting], Mapping[str, list[np.ndarray]]]
    round: tuple[int, ...]
    lines: Callable[[Setting], list[str]] = Setting.lines
    instead: Mapping[str, str] = field(default_factory=dict)

    def mystery(self, seed: int) -> Mystery:
        """The mystery of this number: always the same for the same seed; there is no last one."""
        random = np.random.default_rng([self.chapter, seed])
        while True:
            call = self.draw(random)
            expected, wrong = self.expected(call), self.wrong(call)
            name = str(random.choice(sorted(wrong)))
            actual = wrong[name][int(random.integers(len(wrong[name])))]
            others = [g for other, all_of in wrong.items() if other != name for g in all_of]
            if not any(np.allclose(actual, other) for other in [expected, *others]):
                return Mystery(seed, call, tuple(self.lines(call)), expected, actual, name)

    def accuse(self, puzzle: Mystery, name: str) -> None:
        """Print whether this fault made the wrong gradient, and how one could tell.

        Raises ValueError for a name that is no fault.
        """
        print(self.verdict(puzzle, name))

    def verdict(self, puzzle: Mystery, name: str) -> str:
        """What `accuse` prints."""
        if name not in self.faults:
            raise ValueError(f"name is {name!r}; the faults are: {', '.join(self.faults)}")
        if name == puzzle.fault:
            return f"mystery {puzzle.seed}: {name}, right. {self.faults[name]}"
        wrong = self.wrong(puzzle.setting)
        said = f"mystery {puzzle.seed}: not {name}."
        if name not in wrong:
            return f"{said} This call leaves no room for it: look at its options and its rows."
        if name in self.instead:
            return f"{said} {self.instead[name]}"
        row = int(np.abs(wrong[name][0] - puzzle.actual).sum(axis=1).argmax())
        would, is_ = row_text(wrong[name][0][row]), row_text(puzzle.actual[row])
        return f"{said} Then row {row} would be {would}; it is {is_}."

    @property
    def solved(self) -> list[str]:
        """The faults of the round, in order."""
        return [self.mystery(seed).fault for seed in self.round]

    @property
    def not_named(self) -> str:
        """What to say to an answer that is no list of faults."""
        return f"Give six names, in order, out of: {', '.join(self.faults)}."

    def judge(self, mine: Any) -> str:
        """A judge for `Exercise`: '' where all names of the round are right."""
        mine = mine() if callable(mine) else mine
        if not isinstance(mine, (list, tuple)) or len(mine) != len(self.round):
            return self.not_named
        if any(name not in self.faults for name in mine):
            return self.not_named
        told = []
        for seed, name, fault in zip(self.round, mine, self.solved, strict=True):
            if name != fault:
                told += [self.verdict(self.mystery(seed), name)]
                told += [f"What can be seen: {self.faults[fault]}"]
        return "\n".join(told)

    @property
    def shown(self) -> tuple[str, ...]:
        """The texts of the notebook in which the round stands, and then its solution's names."""
        names = "\n".join(f'        "{name}",' for name in self.solved)
        return f"for seed in {self.round}:", f"    return [\n{names}\n    ]"

    def vary(self, exercise: Exercise, random: np.random.Generator) -> Exercise:
        """Six other mysteries, again one for each of the six faults, in another order. A mystery
        always has 8 positions in 3 bags of 5 rows, and one solution only."""
        seeds: dict[str, int] = {}
        while len(seeds) < len(self.faults):
            seed = int(random.integers(20, 1000))  # the text shows mystery 1, and readers try some
            seeds.setdefault(self.mystery(seed).fault, seed)
        drawn = random.permutation(list(seeds.values())).tolist()
        new = replace(self, round=tuple(drawn))
        return replace(exercise, reference=new.solved, wrong=new.wrong_answers(), judge=new.judge,
                       shown=new.shown)  # fmt: skip

    def wrong_answers(self) -> tuple[Wrong, ...]:
        """No names at all, and each fault of the round taken for another one."""
        solved, names = self.solved, list(self.faults)
        made = [Wrong(["bad luck"] * len(self.round), self.not_named)]
        for at, fault in enumerate(solved):
            other = names[(names.index(fault) + 1) % len(names)]
            made.append(Wrong([*solved[:at], other, *solved[at + 1 :]], self.faults[fault]))
        return tuple(made)
