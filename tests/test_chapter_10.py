"""The pictures of chapter 10."""

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.chapters.ch10.exercises import hits
from embag_edu.chapters.ch10.figures import (
    contention_picture,
    join_picture,
    orders_picture,
    skewed,
)
from embag_edu.cuda import source
from embag_edu.cuda.prediction import contention
from embag_edu.cuda_on_cpu import RawModule


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


@needs_compiler
@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_contention_is_what_real_launches_count(skew):
    rows = skewed(1000, 64, skew)
    plain, joined = contention(rows)
    assert launched("add_elements", rows)[1].hot["grad_weight"][1] == max(plain.values())
    assert launched("add_joined", rows)[1].hot["grad_weight"][1] == max(joined.values())
    assert hits(rows, -1, 32) == (max(plain.values()), max(joined.values()))


@needs_compiler
def test_no_atomic_is_lost_in_a_long_launch():
    """More than 16 * 4,093 basic blocks: then a checked thread lets others run, wherever it is."""
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
