"""The pictures and jobs of chapter 17."""

import numpy as np
import pytest

from embag_edu.beyond.sharded.plan import Table
from embag_edu.beyond.sharded.shards import cut
from embag_edu.chapters.ch17 import exercises as ch17
from embag_edu.chapters.ch17.figures import (
    cut_picture,
    growth_picture,
    load_picture,
    loads,
    owners_of,
    sent_picture,
)


@pytest.mark.parametrize("sharding", ["row", "column", "table"])
def test_every_number_has_one_owner(sharding):
    for world in (1, 3, 4):
        owners = owners_of(cut(10, 6, world, sharding), 10, 6)
        assert owners.min() >= 0 and owners.max() < world


def test_pictures_say_what_they_show():
    assert "row-wise they own 3 x 4, 3 x 4, 2 x 4" in cut_picture(8, 4, 3).alt
    assert "column-wise they own 8 x 2, 8 x 2" in cut_picture(8, 4, 2).alt
    alt = sent_picture([[0, 1200], [7, 0]]).alt
    assert "they send 1,200, 7" in alt and "between two is 1,200" in alt
    assert "columns: 50, 50" in load_picture(1.0, world=2).alt
    alt = growth_picture(Table("t", 10**6, 64, positions=400, bags=20), worlds=(2, 100)).alt
    assert "bags of 20 positions" in alt and "for 2 to 100 processes" in alt


def test_too_many_colors_are_refused():
    with pytest.raises(ValueError, match="world is 7; valid: 1 to 6"):
        cut_picture(world=7)


def test_loads_are_shares():
    for share in loads(1.3, world=8).values():
        assert np.isclose(share.sum(), 1)
    assert loads(0.0)["rows in blocks"].max() < 0.3


def test_other_right_answers_pass():
    """The owner by a search in the ends of blocks; the maximum by a sort."""

    def route(rows, V, world):
        ends = np.arange(1, world) * -(-V // world)
        owners = np.searchsorted(ends, rows, side="right")
        order = np.lexsort((np.arange(len(rows)), owners))
        return order, np.array([(owners == owner).sum() for owner in range(world)])

    for number in range(30):
        arguments = ch17.ROUTE.random_case(number).args
        for found, right in zip(route(*arguments), ch17.route(*arguments), strict=True):
            assert np.array_equal(found, right)
