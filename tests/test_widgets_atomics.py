"""The pictures, the control and the detective of chapter 10."""

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the control is made with ipywidgets")

from embag_edu import loops  # noqa: E402
from embag_edu.course.ch10 import (  # noqa: E402
    CASES,
    FAULTS,
    _wrong_gradients,
    accuse,
    hits,
    mystery,
    verdict,
)
from embag_edu.cuda import source  # noqa: E402
from embag_edu.cuda_on_cpu import CompilerMissing, RawModule  # noqa: E402
from embag_edu.cuda_on_cpu.toolchain import find_compiler  # noqa: E402
from embag_edu.figures.atomics import (  # noqa: E402
    contention,
    contention_picture,
    join_picture,
    orders_picture,
    skewed,
)
from embag_edu.spec import make_call  # noqa: E402
from embag_edu.widgets.atomics import contention_control  # noqa: E402

try:
    find_compiler()
    no_compiler = False
except CompilerMissing:
    no_compiler = True
compiled = pytest.mark.skipif(no_compiler, reason="there is no C++ compiler")


def launched(name, rows, D=1, B=1):
    """grad_weight and the report of add_elements or add_joined; bag b holds an equal share."""
    name = f"{name}<float, float, long long>"
    kernel = RawModule(code=source("backward"), name_expressions=[name]).get_function(name)
    N, V = len(rows), int(rows.max()) + 1
    bags, grad_weight = np.arange(N) * B // N, np.zeros((V, D), np.float32)
    arguments = np.ones((B, D), np.float32), rows, bags, np.ones(N, np.float32), grad_weight
    threads = N if "joined" in name else N * D
    kernel((-(-threads // 256),), (256,), (*arguments, N, D, np.int64(-1)))
    return grad_weight, kernel.report


@compiled
@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_contention_is_what_real_launches_count(skew):
    rows = skewed(1000, 64, skew)
    plain, joined = contention(rows)
    assert launched("add_elements", rows)[1].hot["grad_weight"][1] == max(plain.values())
    assert launched("add_joined", rows)[1].hot["grad_weight"][1] == max(joined.values())
    assert hits(rows, -1, 32) == (max(plain.values()), max(joined.values()))


@compiled
def test_no_atomic_is_lost_in_a_long_launch():
    """More than 16 * 4,093 basic blocks: then a watched thread lets others run, wherever it is."""
    rows = skewed(4000, 3, 0.5)
    grad_weight, _ = launched("add_elements", rows, D=32, B=8)
    assert (grad_weight == np.bincount(rows)[:, None]).all()


def test_skewed():
    assert np.array_equal(skewed(50, 9, 1.0), skewed(50, 9, 1.0))
    even, steep = (np.bincount(skewed(5000, 10, s), minlength=10) for s in (0.0, 2.0))
    assert even.max() < 1.4 * even.min() and steep[0] > 3 * steep[1] > steep[9]
    with pytest.raises(ValueError, match="skew -1"):
        skewed(5, 5, -1)


def test_pictures_say_what_they_show():
    alt = contention_picture(0.0).alt
    assert "on average a row is hit 8 times" in alt and "64: a dashed line" in alt
    alt = join_picture([4, 4, 1, 4]).alt
    assert "4 atomics, 3 of them to one row" in alt and "2 in all" in alt
    with pytest.raises(ValueError, match="rows holds 17"):
        join_picture([0] * 17)
    alt = orders_picture([1.0, 1.5, 1.5], 1.25, 2.5, 7).alt
    assert "2 different results of 3 orders of one sum of 7 numbers" in alt
    assert "is 10 times as far" in alt


def test_one_result_that_is_the_true_sum_can_be_drawn():
    assert "1 different result" in orders_picture([2.0, 2.0], 2.0, 1.0, 3).alt


def test_control_redraws():
    slider, picture = contention_control(0.0).children
    before = picture.value
    slider.value = 2.0
    assert picture.value != before and "skew 2.00" in picture.value
    assert slider.description == "skew"


# ---- the detective ---------------------------------------------------------------------------


def call_of(given):
    return make_call(
        given.indices,
        np.zeros((5, 2)),
        given.offsets,
        mode=given.mode,
        per_sample_weights=given.per_sample_weights,
        padding_idx=given.padding_idx,
        scale_grad_by_freq=True,
        include_last_offset=True,
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_mystery_has_one_solution(seed):
    puzzle = mystery(seed)
    call = call_of(puzzle.setting)
    right = loops.backward(call, loops.forward(call)[1], puzzle.setting.grad_output).weight
    assert np.allclose(puzzle.right, right, atol=1e-12)
    ways = _wrong_gradients(puzzle.setting)
    fits = {name for name, all_of in ways.items() for g in all_of if np.allclose(g, puzzle.found)}
    assert fits == {puzzle.fault} and not np.allclose(puzzle.found, puzzle.right)
    assert str(puzzle) == str(mystery(seed)) and puzzle.fault not in str(puzzle)


@pytest.mark.parametrize("seed", range(8))
def test_a_verdict_tells_why(seed, capsys):
    puzzle = mystery(seed)
    for name in FAULTS:
        accuse(puzzle, name)
        said = capsys.readouterr().out
        assert said.strip() == verdict(puzzle, name)
        assert (FAULTS[name] in said) == (name == puzzle.fault)
    with pytest.raises(ValueError, match="name is 'bad luck'"):
        verdict(puzzle, "bad luck")


def test_the_round_has_each_fault_once():
    assert len(CASES.round) == 6 and sorted(CASES.solved) == sorted(FAULTS)
