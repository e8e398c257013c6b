"""The pictures of chapter 04."""

import re

import numpy as np
import pytest

from embag_edu import vectorized
from embag_edu.chapters.ch04.figures import (
    matrix_picture,
    pieces_picture,
    reduceat_picture,
)
from embag_edu.spec import make_call

LENGTHS = [3, 7, 6, 14, 4, 5]


@pytest.mark.parametrize("limit", [3, 5, 8, 13, 39])
@pytest.mark.parametrize("lengths", [LENGTHS, [0, 9, 0, 0, 30], [1] * 12])
def test_pieces_picture_cuts_as_the_package_does(monkeypatch, lengths, limit):
    monkeypatch.setattr(vectorized, "positions_per_piece", lambda call: limit)
    offsets = np.append(0, np.cumsum(lengths))
    call = make_call(np.zeros(offsets[-1], int), np.ones((1, 1)), offsets,
                     include_last_offset=True)  # fmt: skip
    cut = [len(piece.rows) for piece in vectorized.pieces(call)]
    alt = pieces_picture(lengths, limit).alt
    assert [int(n) for n in re.findall(r", (\d+) rows?[;.]", alt)] == [n for n in cut if n]


def test_pieces_picture_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="41 positions"):
        pieces_picture([41], 8)
    with pytest.raises(ValueError, match="a block of 0 rows"):
        pieces_picture([4], 0)


def test_pictures_say_what_is_to_be_seen():
    assert "should give 0, but reduceat gives 6" in reduceat_picture([4, 1, 6], [0, 2, 2]).alt
    assert "they agree" in reduceat_picture([4, 1, 6], [0, 2]).alt
    alt = matrix_picture([1, 1, 0], [0, 2, 2], [[1.0], [2.0]]).alt
    assert "A holds 0 2 / 0 0 / 1 0;" in alt and "indptr (0 2 2 3)" in alt
