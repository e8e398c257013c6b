"""The pictures of chapter 16, and what its exercises share with the package."""

import numpy as np
import pytest

from embag_edu.beyond.rows import Rows, embedding_bag, pack, row_error, unpack
from embag_edu.beyond.rows_format import FORMATS, row_bytes
from embag_edu.beyond.rows_training import stochastic_round
from embag_edu.chapters.ch16 import exercises as ch16
from embag_edu.chapters.ch16.figures import error_picture, errors, packed_picture, walk_picture


def table():
    return np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)


def test_the_exercises_compute_what_the_package_does():
    rows = pack(table(), "int8")
    scale, bias = rows.tail(np.float32).T
    for packed, row in zip(rows.packed, table(), strict=True):
        q, _, _ = ch16.pack8(row.astype(np.float64))
        assert np.array_equal(q, packed[:6])
    ids, offsets, psw = np.array([1, 1, 8, 0]), np.array([0, 3, 3, 4]), np.ones(4, np.float32)
    found = embedding_bag(ids, rows, offsets, "sum", psw, True)
    assert np.allclose(ch16.bag8(rows.packed[:, :6], scale, bias, ids, offsets, psw), found)
    half = ch16.half_steps(scale, ids, offsets, psw)
    assert np.allclose(half, [scale[ids[:3]].sum() / 2, 0, scale[0] / 2])
    assert (row_error(rows)[:, 0] >= scale / 2).all()
    four = pack(table(), "int4")
    for k, (scale, bias) in enumerate(four.tail(np.float16).astype(float)):
        assert np.allclose(ch16.unpack4(four.packed[k, :3], scale, bias), unpack(four)[k])
    for format, (bits, tail) in FORMATS.items():
        assert ch16.table_bytes(1, 64, bits, tail, 16) == row_bytes(format, 64, 16)
    numbers = (1 + table() / 64).astype(np.float32)
    numbers = np.abs(numbers[(np.abs(numbers) >= 1)])  # where a float16 has a step of 2^-10
    rounded = stochastic_round(numbers, np.float16, seed=1, step=1).astype(float)
    up = ch16.by_chance(numbers.astype(float), 2.0**-10, np.zeros(len(numbers)))
    down = ch16.by_chance(numbers.astype(float), 2.0**-10, np.ones(len(numbers)))
    assert ((rounded == up) | (rounded == down)).all() and len(set(rounded - down)) == 2


def test_pictures_say_what_they_show():
    alt = packed_picture([0.0, 255.0]).alt
    assert "0, 255, then 4 bytes of scale, 1, and 4 of bias, 0: 10 bytes" in alt
    assert "in the lower half, 0, 15, then" in alt
    with pytest.raises(ValueError, match="numbers holds 3; valid: 2, 4"):
        packed_picture([1, 2, 3])
    found = errors(50.0)
    assert found["int8"].error > found["float8_e4m3fn"].error > found["float16"].error > 0
    assert f"int8, 72 bytes, {errors()['int8'].error:.2g} and" in error_picture(50.0).alt
    exact = np.array([0.9, 0.8])
    alt = walk_picture(np.ones(2), np.array([[1, 0.5], [1, 1.5]]), exact).alt
    assert "from 0.9000 to 0.8000" in alt and "2 walks have a mean of 1.0000" in alt


def test_a_row_of_the_picture_is_packed_as_it_is_drawn():
    rows = pack(np.array([[0.5, -1.25, 3, 0.75, 2, 1]], np.float32), "int4")
    assert isinstance(rows, Rows) and rows.packed[0, :3].tolist() == [6, 15 | 7 << 4, 11 | 8 << 4]
