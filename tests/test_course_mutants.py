"""An adversary: small mistakes in right answers must fail the check, or be no mistakes at all.

A sample of them is tried here. `python tests/test_course_mutants.py [name ...]` tries all, and
prints for each exercise how many were made, caught, equal to a right answer, and left.
"""

import ast
import contextlib
import inspect
import io
import random
import signal
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from embag_edu.chapters.ch05 import exercises as ch05
from embag_edu.chapters.ch12 import exercises as ch12
from embag_edu.course import Case, Exercise, exercises, notebooks
from embag_edu.course import exercise as machinery
from embag_edu.course.differ import Allowed, differ
from embag_edu.course.draw import size

sys.path.insert(0, str(Path(__file__).parent))
import mutants as engine  # noqa: E402

BOOK = Path(__file__).parents[1] / "book"
CALLS = 100  # of the random domain: others than those that the check makes
SAMPLE = 4  # mutants of each right answer that the test tries
SECONDS = 5  # for one mutant; then it counts as endless


# -------------------------------------------------------------------------- the random domain


def better_order(random):
    return ((random.random(size(random, 1, 3000)) ** 9 * 1e4 + 1e-3).astype(np.float32),)


def saved(random):
    V, D, N = size(random, 1), size(random, 1, 4), size(random, 1, 8)
    weight, psw = ch12._tensor(random, V, D), ch12._tensor(random, N)
    psw[random.integers(N)] = 0
    places = np.sort(random.integers(0, 4, N))
    return weight, psw, torch.from_numpy(random.integers(0, V, N)), torch.from_numpy(places)


def fake(random):
    ints = random.choice([torch.int32, torch.int64])
    floats = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

    def of(*shape, dtype=ints):
        return torch.empty(*shape, dtype=dtype, device="meta")

    weight = of(size(random, 1), size(random, 1), dtype=floats[size(random, 0, 3)])
    mode = str(random.choice(["sum", "mean", "max"]))
    if random.integers(2):
        return weight, of(size(random), size(random)), None, False, mode
    return weight, of(size(random)), of(size(random, 1)), bool(random.integers(2)), mode


def split(random):
    keys = random.integers(0, size(random, 20, 60), size(random, 30, 90))
    return keys, float(random.choice([0.1, 0.2, 0.5, 0.7])), size(random, 0, 99)


JUDGED = {"05.better_order": better_order, "12.saved": saved, "12.fake": fake, "13.split": split}
ANSWERED = [e for e in exercises() if e.random_call or e.name in JUDGED]


def draw(exercise: Exercise, number: int) -> Case:
    """Random call `number`: of the exercise itself, or of one here where a judge decides."""
    if exercise.random_call:
        return exercise.random_case(machinery.RANDOM_CALLS + number)
    return Case("a random call", *JUDGED[exercise.name](np.random.default_rng(number)))


# -------------------------------------------------------------------------- trying a mutant


def right_answers(exercise: Exercise) -> list[tuple[str, dict]]:
    """Sources of right answers, each with the names that it may use: the package's, the book's."""
    answers = []
    if exercise.name != "13.repair":  # its reference only calls another function
        answers.append((inspect.getsource(exercise.reference), exercise.reference.__globals__))
    paths = (BOOK / "solutions").glob(f"{exercise.name[:2]}*_*.ipynb")  # 08a, 08b, ...
    parts = [notebooks.read(path) for path in paths]
    cells = next(p for p in parts if exercise.name in notebooks.exercise_names(p))["cells"]
    at = next(i for i, cell in enumerate(cells) if exercise.name in notebooks.checked_names(cell))
    names: dict = {}
    code = [cell for cell in cells[: at - 1] if cell["cell_type"] == "code"]
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in code[:1] + [c for c in code[1:] if "BEGIN SOLUTION" in notebooks.source(c)]:
            exec(notebooks.source(cell), names)  # an answer may call one of those before it
    answers.append((notebooks.source(cells[at - 1]), names))
    return answers


def function_of(source: str, names: dict):
    """The function that a source defines last, or None where the source does not run."""
    space, defined = dict(names), ast.parse(source).body[-1].name
    try:
        exec(compile(source, "<mutant>", "exec"), space)
    except Exception:
        return None
    return space[defined]


class Endless(BaseException):
    """A mutant that does not come to an end."""


@contextlib.contextmanager
def limited(seconds: float = SECONDS):
    """At most so many seconds, no output, no warnings."""

    def stop(*_):
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def passes(exercise: Exercise, function) -> bool:
    """Does the exercise's check let this function pass?"""
    if function is None:
        return False
    try:
        with limited():
            if exercise.judge:
                return not exercise.judge(function)
            calls = [call for kind in machinery._calls(exercise).values() for call in kind]
            if any(machinery._try(exercise, function, call).problem for call in calls):
                return False
            return not (exercise.tools and exercise.tools(function))
    except (Exception, Endless):
        return False


def equal(exercise: Exercise, function, calls: int = CALLS) -> bool:
    """Does this function agree with the right answer on the random domain?"""
    agrees = AGREES.get(exercise.name, same_outcome)
    try:
        with limited(20 * SECONDS):
            return all(agrees(exercise, function, seed) for seed in range(calls))
    except (Exception, Endless):
        return False


def same_outcome(exercise, function, seed):
    def run(what):
        return machinery._run(what, draw(exercise, seed))

    before = draw(exercise, seed)
    return not machinery._problem(exercise, before, run(exercise.reference), run(function))


def _good_order(exercise, function, seed):
    (terms,) = draw(exercise, seed).args
    return not ch05._judge_one_order(np.asarray(function(terms.copy())), terms)


def _same_gradients(exercise, function, seed):
    found = []
    for forward in (exercise.reference, function):
        weight, psw, rows, places = draw(exercise, seed).args
        leaves = weight.requires_grad_(), psw.requires_grad_()
        out = ch12.weighted_bag(forward).apply(*leaves, rows, places)
        g = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)
        found.append((out, *torch.autograd.grad(out, leaves, g), *draw(exercise, seed).args))
    return not differ(*found, Allowed(1e-9, 1e-9))


def _same_shapes(exercise, function, seed):
    call = draw(exercise, seed).args
    return ch12._said(function, call) == ch12._said(exercise.reference, call)


def _good_split(exercise, function, seed):
    keys, part, number = draw(exercise, seed).args
    mask, again = (function(keys.copy(), part, number) for _ in range(2))
    largest, enough = np.unique(keys, return_counts=True)[1].max(), part * len(keys)
    apart = not set(keys[mask]) & set(keys[~mask])
    same = mask.dtype == bool and mask.shape == keys.shape and np.array_equal(mask, again)
    return apart and same and enough <= mask.sum() < enough + largest


AGREES = {
    "05.better_order": _good_order,
    "12.saved": _same_gradients,
    "12.fake": _same_shapes,
    "13.split": _good_split,
}


def tried(exercise: Exercise, sample: int | None = None) -> engine.Tally:
    """All mutants of an exercise's right answers, or a sample of those of each, tried."""
    total, calls = engine.Tally(), 40 if sample else CALLS
    for source, names in right_answers(exercise):
        chosen = list(engine.mutants(source))
        if sample:
            chosen = random.Random(exercise.name).sample(chosen, min(sample, len(chosen)))
        made = partial(function_of, names=names)
        total.add(
            engine.trial(
                chosen,
                lambda mutant, made=made: passes(exercise, made(mutant.source)),
                lambda mutant, made=made: equal(exercise, made(mutant.source), calls),
            )
        )
    return total


by_name = pytest.mark.parametrize("exercise", ANSWERED, ids=lambda e: e.name)


@by_name
def test_right_answers_agree_on_the_random_domain(exercise):
    for source, names in right_answers(exercise):
        function = function_of(source, names)
        assert passes(exercise, function) and equal(exercise, function, 30)


@by_name
def test_a_small_mistake_does_not_pass(exercise):
    left = tried(exercise, SAMPLE).left
    assert [m.what for m in left if m.what not in EXPLAINED.get(exercise.name, {})] == []


# A mutant that passes though it is wrong on the random domain, and why that may be.
EXPLAINED: dict[str, dict[str, str]] = {}


if __name__ == "__main__":
    names = sys.argv[1:] or [exercise.name for exercise in ANSWERED]
    print(f"{'exercise':22} made  caught  equal  left")
    for exercise in ANSWERED:
        if exercise.name in names:
            print(f"{exercise.name:20} {tried(exercise)}", flush=True)
