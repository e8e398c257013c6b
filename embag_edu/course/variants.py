"""Variants: the same exercise with the numbers of one student.

An exercise says by `vary` what may be other; `reordered` is what some of these functions share. The
rest puts a student's numbers into a notebook. Which they are is decided by a number behind the name
of the exercise, "01.predict#4711": there, the student's own check reads it. Marks go by the
notebook that was handed out to the student, whatever number stands in the one that came back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from embag_edu.course import kernel_exercise
from embag_edu.course.assignments import sections
from embag_edu.course.exercise import Exercise, Wrong, find
from embag_edu.course.kernel_exercise import KernelTask, Launch
from embag_edu.course.notebooks import Cell, Notebook, ReleaseError, checked_names, source

Vary = Callable[[Exercise, np.random.Generator], Exercise]

# -------------------------------------------------------------------------- what chapters share


def reordered(letters: str) -> Vary:
    """A `vary` for an answer with a value for each item: items change places, letters do not.

    letters: of the items, as the answer's keys, or as messages quote them: '"a"'. The exercise has
    `shown=items(texts, reference)`.
    """

    def vary(exercise: Exercise, random: np.random.Generator) -> Exercise:
        """Each student has the same items, and each in an order of its own."""
        order = random.permutation(len(letters))
        while _moved(exercise.reference, letters, order) == exercise.reference:
            order = random.permutation(len(letters))
        named = {f'"{letters[at]}"': f'"{letter}"'
                 for letter, at in zip(letters, order, strict=True)}  # fmt: skip

        def told(said: str) -> str:
            return re.sub(r'"\w"', lambda found: named.get(found[0], found[0]), said)

        def judge(mine: Any) -> str:
            assert exercise.judge is not None
            answer = mine() if callable(mine) else mine
            return told(exercise.judge(_moved(answer, letters, np.argsort(order))))

        return replace(
            exercise,
            reference=_moved(exercise.reference, letters, order),
            wrong=tuple(replace(each, function=_moved(each.function, letters, order),
                                message=told(each.message)) for each in exercise.wrong),
            shown=items([exercise.shown[at] for at in order],
                        _moved(exercise.reference, letters, order)),
            judge=judge,
        )  # fmt: skip

    return vary


def items(texts: Sequence[str], answer: Any) -> tuple[str, ...]:
    """What to show of an answer with a value for each item: the items, then the solution."""

    def written(value: Any) -> str:
        return value.__name__ if isinstance(value, type) else repr(value).replace("'", '"')

    if isinstance(answer, dict):
        return *texts, *(f'"{letter}": {written(value)}' for letter, value in answer.items())
    return *texts, str(answer)


def _moved(answer: Any, letters: str, to: Any) -> Any:
    """The answer with item to[k] in the place of item k; what is no such answer stays as it is."""
    if isinstance(answer, dict):
        whole = len(answer) == len(letters) and all(letter in answer for letter in letters)
        pairs = zip(letters, to, strict=True)
        return {letter: answer[letters[at]] for letter, at in pairs} if whole else answer
    whole = isinstance(answer, list | tuple | np.ndarray) and len(answer) == len(letters)
    return [answer[at] for at in to] if whole else answer


def in_bag(
    wrong_bags: Callable[[dict[str, Any]], np.ndarray],
    rows: Callable[[int, int], Sequence[int]],
    weight: str,
) -> Vary:
    """A `vary` for an answer that is a call which a function gets wrong, as a dict of arrays.

    wrong_bags  call -> (B,) truths: the bags that the function gets wrong
    rows        (B, k) -> the rows of a right answer: B bags of one row, bag k goes wrong first
    weight      the table of this answer, as text
    """

    def vary(exercise: Exercise, random: np.random.Generator) -> Exercise:
        """The call has 4 to 9 bags, and bag k, of 1 to the last, is the first to go wrong."""
        B = int(random.integers(4, 10))
        k = int(random.integers(1, B))

        def judge(mine: Any) -> str:
            assert exercise.judge is not None
            mine = mine() if callable(mine) else mine
            said = exercise.judge(mine)
            wrong = wrong_bags(mine) if not said else np.zeros(0)
            if said or (len(wrong) == B and wrong.argmax() == k):
                return said
            return (
                f"That shows the bug. But your call has {len(wrong)} bags, and the first wrong one "
                f"is bag {wrong.argmax()}. Wanted are {B} bags, and bag {k}."
            )

        texts = {"input": f"np.array({list(rows(B, k))})", "weight": weight,
                 "offsets": f"np.array({list(range(B))})"}  # fmt: skip
        call = {name: eval(text, {"np": np}) for name, text in texts.items()}
        where = f"{exercise.shown[0]} in bag {k} of {B} (counted from 0), and in none before"
        shown = (where, *(f'"{name}": {text}' for name, text in texts.items()))
        wrong = (*exercise.wrong, Wrong(exercise.reference, f"Wanted are {B} bags"))
        return replace(exercise, reference=call, judge=judge, wrong=wrong, shown=shown)

    return vary


def retold(
    exercise: Exercise,
    words: Mapping[str, object],
    of: Callable[[Any], Any] = lambda answer: answer,
    **changes: Any,
) -> Exercise:
    """The exercise with these words in the place of others, in all that it says or holds as text.

    of       what becomes of an answer that is no text: a function, say
    changes  more fields of the exercise; of a kernel's task, `launches` and `counts`
    """
    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest_first)

    def told(text: str) -> str:
        return re.sub(pattern, lambda found: str(words[found[0]]), text)

    def answer(given: Any) -> Any:
        return told(given) if isinstance(given, str) else of(given)

    def told_launches() -> list[Launch]:
        return [replace(launch, mistakes={told(m): result for m, result in launch.mistakes.items()})
                for launch in launches()]  # fmt: skip

    task, general = exercise.judge, vars(kernel_exercise).values()
    if isinstance(task, KernelTask):
        launches, counts = changes.pop("launches"), changes.pop("counts", task.counts)
        fault = task.fault
        changes["judge"] = replace(
            task,
            launches=told_launches,
            fault=lambda found, code: told(fault(found, code)),
            counts=lambda report, launch, code: told(counts(report, launch, code)),
        )
    messages = (m if (m := each.message) in general else told(m) for each in exercise.wrong)
    functions = (answer(each.function) for each in exercise.wrong)
    wrong = map(Wrong, functions, messages)
    return replace(
        exercise, reference=answer(exercise.reference), wrong=tuple(wrong),
        hints=(told(exercise.hints[0]), told(exercise.hints[1]), told(exercise.hints[2])),
        shown=tuple(map(told, exercise.shown)),
        title=told(exercise.title), otherwise=told(exercise.otherwise),
        unproved=told(exercise.unproved), **changes,
    )  # fmt: skip


def after(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For `retold`: an answer that is a function, with what it returns changed."""

    def of(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def changed(*args: Any, **kwargs: Any) -> Any:
            return change(function(*args, **kwargs))

        return changed

    return of


# -------------------------------------------------------------------------- one student's notebook


def number(seed: str, student: str) -> int:
    """The number of a student's variants. Without the seed, nobody can tell it."""
    return int(hashlib.sha256(f"{seed}\n{student}".encode()).hexdigest()[:12], 16) % 10**8


def varied(notebook: Notebook, number: int) -> Notebook:
    """A solutions notebook with the numbers of one student; exercises without variants stay.

    ReleaseError where a text that should change does not stand in the section of its exercise.
    """
    names = {name for cell in notebook["cells"] for name in checked_names(cell)}
    names = {name for name in names if find(name).vary}
    cells = []
    for section in sections(notebook):
        asked = {name for cell in section for name in checked_names(cell)} & names
        texts: dict[str, str] = {}
        for name in asked:
            texts |= zip(find(name).shown, find(f"{name}#{number}").shown, strict=True)
        for text in texts:
            if not any(text in source(cell) for cell in section):
                raise ReleaseError(f"{', '.join(asked)}: {text!r} stands nowhere in its section")
        texts |= {f'"{name}"': f'"{name}#{number}"' for name in names}
        cells += [_told(cell, texts) for cell in section]
    return {**notebook, "cells": cells}


def _told(cell: Cell, texts: dict[str, str]) -> Cell:
    """The cell with each of these texts in the place of what it stands for, all at once."""
    longest_first = sorted(texts, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    new = re.sub(pattern, lambda found: texts[found[0]], source(cell)) if texts else source(cell)
    return {**cell, "source": new}
