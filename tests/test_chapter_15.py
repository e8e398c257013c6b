"""The pictures of chapter 15, and what its exercises have in common with the room."""

import numpy as np
import pytest

from embag_edu.beyond import SGD, Tables
from embag_edu.beyond.tables import Jagged, Layout, Table
from embag_edu.beyond.tables_bytes import apart, modelled, series
from embag_edu.beyond.tables_numpy import global_rows
from embag_edu.chapters.ch15 import exercises as ch15
from embag_edu.chapters.ch15.figures import counts, joined_picture, launches_picture, wrapped


@pytest.mark.parametrize(("tables", "widths"), [(1, 1), (5, 2), (2, 4)])
def test_the_picture_counts_as_the_model_does(tables, widths):
    dims = [(4, 8, 16, 32)[t % widths] for t in range(tables)]
    made = Tables([Table(f"t{t}", 9, D, (f"f{t}",)) for t, D in enumerate(dims)])
    bags = Jagged(np.zeros(64 * tables, np.int64), np.arange(tables + 1) * 64)
    one, many = modelled(made, bags, SGD(0.1)).launches, apart(made, bags)
    found = counts(tables, widths, positions=64)
    assert found == {
        "launches, forward": (many.forward, one.forward),
        "launches, step": (many.step, one.step),
        "sorts": (many.sorts, one.sorts),
    }


def test_a_series_leaves_a_sixteenth():
    assert [series(n) for n in (0, 1, 32, 33, 512, 513, 1 << 20)] == [0, 1, 1, 2, 2, 3, 5]


def test_pictures_say_what_they_show():
    assert "word has 4 rows from global row 3 on, read by title and text" in joined_picture().alt
    assert "launches, forward 26 and 1; launches, step 130 and 6" in launches_picture(26, 1).alt
    assert wrapped(1 << 25, 64) == -(1 << 31) and wrapped(9, 64) == 576


def test_the_exercises_are_what_the_room_does():
    made = [Table("a", 5, 8, ("x",)), Table("b", 3, 8, ("y", "z")), Table("c", 4, 2, ("w",))]
    layout = Layout(made)
    base, first = ch15.places(layout.limits, layout.dims)
    assert base.tolist() == layout.base.tolist() and first.tolist() == layout.first.tolist()
    one = Tables(made[:2])
    bags = Jagged(np.array([4, 2, 1, 0]), np.array([0, 1, 1, 2, 3, 3, 4]))
    found = ch15.global_rows(*bags[:2], one.layout.limits, one.layout.table_of)
    assert found.tolist() == global_rows(one, bags).tolist()
