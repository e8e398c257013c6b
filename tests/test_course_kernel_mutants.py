"""An adversary for kernels: small mistakes in right answers must fail the check, or be none.

A sample of them is tried here; the marker `adversary` tries all (`pytest -m adversary -s`), and
prints for each exercise how many were made, caught, equal to a right answer, and left. Answers of
readers stand in kernel_answers.py: right ones of other shapes must pass, wrong ones be told why.
"""

import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from embag_edu.course import exercises, kernel_exercise
from embag_edu.course.kernel_exercise import KernelTask, dimensions
from embag_edu.cuda_on_cpu import CompileError, KernelFault, RawKernel, RawModule, settings

sys.path.insert(0, str(Path(__file__).parent))
import kernel_answers  # noqa: E402
import kernel_mutants  # noqa: E402
import mutants as engine  # noqa: E402
from compiler import needs_compiler  # noqa: E402

pytestmark = needs_compiler
KERNELS = [e for e in exercises() if isinstance(e.judge, KernelTask)]
SAMPLE = 2  # right answers, and mutants, of each exercise that are always tried
TOGETHER = 12  # mutants that are compiled in one go
LAUNCHES = 40  # of the random domain
by_name = pytest.mark.parametrize("exercise", KERNELS, ids=lambda e: e.name)


def values(task: KernelTask) -> dict[str, list[str]]:
    """The values that scalars and dimensions have in the launches of an exercise, as literals."""
    found: dict[str, list[str]] = {}
    names = [p.name for p in RawKernel(reference(task), task.kernel).parameters]
    for launch in task.launches():
        scalars = {n: v for n, v in zip(names, launch.args, strict=True) if np.ndim(v) == 0}
        for name, value in {
            **scalars,
            "blockDim.x": dimensions(launch.block)[0],
            "gridDim.x": dimensions(launch.grid)[0],
        }.items():
            text = f"{value}f" if isinstance(value, np.floating) else f"{value}"
            if text not in found.setdefault(name, []):
                found[name].append(text)
    return found


def reference(task: KernelTask) -> str:
    return next(e.reference for e in KERNELS if e.judge is task)


def kernels(task: KernelTask, sources: list[str]) -> list[RawKernel | None]:
    """The kernels of some sources, compiled together; None for a source that does not compile."""
    alive, texts = set(range(len(sources))), [renamed(s, k) for k, s in enumerate(sources)]
    while alive:
        lengths = [texts[k].count("\n") + 1 if k in alive else 0 for k in range(len(texts))]
        ends = np.cumsum(lengths)
        module = RawModule(code="\n".join(texts[k] for k in sorted(alive)))
        try:
            module.compile()
        except CompileError as error:
            bad = {int(np.searchsorted(ends, line)) for line, _, _ in error.errors}
            alive -= bad or alive
            continue
        return [
            module.get_function(f"{task.kernel}_{k}") if k in alive else None
            for k in range(len(sources))
        ]
    return [None] * len(sources)


def renamed(source: str, k: int) -> str:
    """The source with names of its own, so that it may stand beside others."""
    names = [exercise.judge.kernel for exercise in KERNELS] + ["RING"]
    return re.sub(rf"\b({'|'.join(names)})\b(?=\W)", rf"\1_{k}", source)


def agrees(task: KernelTask, kernel: RawKernel) -> bool:
    """Does a kernel give what it should in random launches, in other orders of threads too?"""
    for seed in range(LAUNCHES):
        for order in (0, 3, 4):
            launch = kernel_mutants.DOMAINS[task.exercise](np.random.default_rng(seed))
            try:
                with settings(mode="checked", order=order, seconds=kernel_exercise.SECONDS):
                    kernel(dimensions(launch.grid), dimensions(launch.block), launch.args)
            except (KernelFault, TypeError, ValueError):
                return False
            number, expected = launch.expected
            if task._differ(expected, launch.args[number]):
                return False
    return True


def passes(task: KernelTask, kernel: RawKernel | None, source: str) -> bool:
    try:
        return kernel is not None and not task.judge(kernel, source)
    except (CompileError, TypeError, ValueError):
        return False


def mutants(exercise) -> list[engine.Mutant]:
    return list(kernel_mutants.mutants(exercise.reference, values(exercise.judge)))


def tried(exercise) -> engine.Tally:
    """All mutants of an exercise's right answer, tried."""
    total, made = engine.Tally(), mutants(exercise)
    for begin in range(0, len(made), TOGETHER):
        some = made[begin : begin + TOGETHER]
        compiled = dict(zip(some, kernels(exercise.judge, [m.source for m in some]), strict=True))
        total.add(
            engine.trial(
                some,
                lambda m, compiled=compiled: passes(exercise.judge, compiled[m], m.source),
                lambda m, compiled=compiled: agrees(exercise.judge, compiled[m]),
            )
        )
    return total


def answered(exercise, sources: list[str]) -> list[str]:
    """What is said to each of some answers, all compiled together."""
    return [
        said(exercise.judge, kernel, sources[k], k)
        for k, kernel in enumerate(kernels(exercise.judge, sources))
    ]


def said(task: KernelTask, kernel: RawKernel | None, source: str, k: int) -> str:
    """What is said to the answer that was compiled as number k."""
    if kernel is None:
        return task(source)
    mine = renamed(source, k)
    above = kernel.code.partition(mine)[0].count("\n")  # its lines have the numbers of the module
    try:
        return task.judge(kernel, "\n" * above + mine)
    except (TypeError, ValueError) as error:
        return str(error)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(kernel_exercise, "SECONDS", 1.0)


@by_name
def test_the_right_answer_agrees_on_the_random_domain(exercise):
    assert agrees(exercise.judge, RawKernel(exercise.reference, exercise.judge.kernel))


@by_name
def test_a_sample_of_answers_is_judged_rightly(exercise):
    """Right ones of other shapes, and small mistakes: compiled together, for time."""
    names = random.Random(exercise.name).sample(sorted(kernel_answers.RIGHT[exercise.name]), SAMPLE)
    right, made = [kernel_answers.RIGHT[exercise.name][name] for name in names], mutants(exercise)
    some = random.Random(exercise.name).sample(made, SAMPLE)
    said = answered(exercise, right + [mutant.source for mutant in some])
    assert dict(zip(names, said, strict=False)) == dict.fromkeys(names, "")
    for mutant, text in zip(some, said[SAMPLE:], strict=True):
        explained = mutant.what in EXPLAINED.get(exercise.name, {})
        kernel = (
            RawKernel(mutant.source, exercise.judge.kernel) if not (text or explained) else None
        )
        assert kernel is None or agrees(exercise.judge, kernel), mutant.what


@pytest.mark.adversary
@by_name
def test_right_answers_of_other_shapes_pass(exercise):
    answers = kernel_answers.RIGHT[exercise.name]
    said = answered(exercise, list(answers.values()))
    assert {name: text for name, text in zip(answers, said, strict=True) if text} == {}


@pytest.mark.adversary
@by_name
def test_wrong_answers_get_advice_that_fits(exercise):
    answers = kernel_answers.WRONG[exercise.name]
    said = answered(exercise, [source for source, _ in answers.values()])
    for (name, (_, advice)), text in zip(answers.items(), said, strict=True):
        assert text and advice in text, (name, text)


@pytest.mark.adversary
@by_name
def test_no_small_mistake_in_a_kernel_passes(exercise):
    tally = tried(exercise)
    print(f"\n{exercise.name:20} {tally}", *(f"  equal: {m.what}" for m in tally.equal), sep="\n")
    explained = EXPLAINED.get(exercise.name, {})
    assert [m.what for m in tally.left if m.what not in explained] == []


# A mutant that passes though it is wrong on the random domain, and why that may be.
EXPLAINED: dict[str, dict[str, str]] = {}
