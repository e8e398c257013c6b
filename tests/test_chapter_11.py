"""The pictures of chapter 11."""

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.chapters.ch10.figures import skewed
from embag_edu.chapters.ch11 import exercises as ch11
from embag_edu.chapters.ch11.exercises import partials
from embag_edu.chapters.ch11.figures import balance_picture, pieces_picture
from embag_edu.cuda.prediction import loads


@pytest.mark.parametrize("piece", [1, 3, 32])
def test_loads_agree_with_the_exercise(piece):
    for rows in ([4], [4, 4, 4, 1, 1, 7], skewed(300, 20, 1.5)):
        load = loads(rows, piece)
        finished, left, walk = partials(np.sort(rows), piece)
        assert (left, walk) == (2 * load.cuts, load.walk)
        assert load.longest == np.bincount(rows).max() and load.pieces == -(-len(rows) // piece)
        assert finished <= load.runs == len(set(np.asarray(rows).tolist()))


def test_loads_of_nothing_are_refused():
    with pytest.raises(ValueError, match="indices holds 0 rows; valid: one or more"):
        loads([])


# ---- pictures --------------------------------------------------------------------------------


def test_pictures_say_what_they_show():
    alt = pieces_picture([1, 2, 2, 2, 2, 2, 3, 3], piece=2).alt
    assert "3 runs, one for each row, and the longest has 5 entries" in alt
    assert "4 pieces of equal length" in alt
    assert "piece 0 for row 2; piece 1 for row 2; piece 2 for row 2." in alt
    assert "no run is cut" in pieces_picture([0, 1], piece=1).alt
    alt = balance_picture(0.0).alt
    assert "version 6 has 128 warps of 32 entries each" in alt and "where the mean is 8" in alt


@pytest.mark.parametrize("rows", [[], [2, 1], list(range(25))])
def test_a_picture_of_pieces_wants_sorted_rows_that_fit(rows):
    with pytest.raises(ValueError, match="valid: 1 to 24 rows, sorted"):
        pieces_picture(rows)


# ---- the kernels that readers repair -----------------------------------------------------------


@needs_compiler
def test_other_right_answers_pass():
    """A barrier before the fence of thread 0 orders as well; a run may be added from its end."""
    fix = "  __threadfence();\n  __syncthreads();\n"
    other = "  __syncthreads();\n  if (threadIdx.x == 0) __threadfence();\n"
    source = ch11.TWO_PASSES_RIGHT.replace(fix, other)
    assert source != ch11.TWO_PASSES_RIGHT and ch11.LAST_BLOCK.judge(source) == ""
    backwards = (
        "int end = i + 1;\n  while (end < n && keys[end] == keys[i]) end++;\n"
        "  while (end-- > i) sum += grad_output[sources[end] * D + d];"
    )
    source = ch11.SUM_RUNS_RIGHT.replace(ch11._LOOP, backwards)
    assert source != ch11.SUM_RUNS_RIGHT and ch11.DETERMINISTIC.judge(source) == ""
