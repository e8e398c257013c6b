"""The pictures of chapter 14, and the byte model of its exercise."""

import numpy as np
import pytest

from embag_edu.beyond import SGD, fused_bytes
from embag_edu.chapters.ch14 import exercises as ch14
from embag_edu.chapters.ch14.figures import N, V, bytes_picture, steps_picture, touched


def test_the_expected_rows_are_those_of_a_draw():
    for skew in (0.0, 1.2):
        shares = np.arange(1, 2001) ** -skew
        rows = np.random.default_rng(0).choice(2000, 3000, p=shares / shares.sum())
        assert touched(skew, 2000, 3000) == pytest.approx(len(np.unique(rows)), rel=0.05)


def test_pictures_say_what_they_show():
    assert "With SGD the fused step moves 22 times fewer." in bytes_picture(0.0).alt
    assert f"of which {touched(2.0):,} distinct rows" in bytes_picture(2.0).alt
    assert "by the sum is lr throughout" in steps_picture().alt
    assert "grows to 2.28 lr for 3 occurrences" in steps_picture(3).alt


def test_the_exercise_counts_as_the_model_does_but_for_the_sort():
    shape = fused_bytes.Shape(V, 128, N, touched(1.0))
    dense, fused = (
        one(shape, SGD(0.1)) - fused_bytes.sort(shape)
        for one in (fused_bytes.dense, fused_bytes.fused)
    )
    assert ch14.times_fewer(*shape[:5]) == pytest.approx(dense / fused)
