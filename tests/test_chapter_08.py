"""The counts, the pictures and the control of chapter 08."""

import re

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from compiler import needs_compiler  # noqa: E402

from embag_edu import loops  # noqa: E402
from embag_edu.chapters.ch08 import figures as ladder  # noqa: E402
from embag_edu.chapters.ch08.figures import count, flight_picture, lanes_picture, planned  # noqa: E402
from embag_edu.chapters.ch08.widgets import WIDTHS, lanes_control  # noqa: E402
from embag_edu.cuda_on_cpu import KernelFault, Report  # noqa: E402
from embag_edu.spec import make_call  # noqa: E402


def even(D, L, B=8, **options):
    """Bags of L positions, which look up rows 0, 1, 2, ..."""
    weight = np.random.default_rng(D).normal(size=(B * L, D)).astype(np.float32)
    return make_call(np.arange(B * L), weight, np.arange(0, B * L, L), mode="sum", **options)


@needs_compiler
@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("D", "L"), [(128, 20), (16, 20), (16, 33), (100, 20), (3, 7), (256, 40), (64, 3)]
)
def test_what_is_planned_is_what_is_counted(version, D, L):
    counted, plan = count(even(D, L), version), planned(version, D, L)
    for array, expected in (("weight", plan.rows), ("indices", plan.indices)):
        found = counted.total("requests", array), counted.total("sectors", array)
        assert found == expected, array


@pytest.mark.parametrize(("D", "pack", "team"), [(128, 4, 32), (16, 4, 4), (6, 2, 4), (33, 1, 32)])
def test_a_plan_gives_every_feature_to_one_lane(D, pack, team):
    for version in (1, 2, 3, 4):
        plan = planned(version, D, L=3, B=5)
        has = plan.d >= 0
        pairs = set(zip(plan.bag[has].tolist(), plan.d[has].tolist(), strict=True))
        assert len(pairs) == has.sum() == 5 * D // plan.pack
        assert plan.pack == (1 if version == 1 else pack)
    assert plan.team == team


def test_only_versions_with_fixed_lanes_are_planned():
    with pytest.raises(ValueError, match="version is 5; the lanes of versions 1 to 4"):
        planned(5, 16, 20)


@needs_compiler
@pytest.mark.parametrize("version", ladder.NAMES)
def test_a_rung_has_a_report_for_each_launch_and_the_right_output(version):
    call = even(20, 7)
    rung = count(call, version, order=3)
    assert all(isinstance(report, Report) for report in rung.reports)
    assert len(rung.kernels) == (2 if version in (5, 6) else 1)  # no bag is cut in 7 and 8
    assert rung.kernels[0].startswith(f"bag_sum_{version}<")
    np.testing.assert_allclose(rung.output, loops.forward(call)[0], rtol=1e-5, atol=1e-5)
    assert rung.total("moved") == 32 * rung.total("sectors") > rung.total("moved", "weight")


def test_registers_that_are_not_stored_are_not_invented():
    assert ladder.registers("no_such_kernel<float>") is None


@needs_compiler
def test_the_ladder_picture_tells_the_counts():
    call = even(16, 8)
    rungs = [count(call, version) for version in (3, 4)]
    alt = ladder.ladder_picture(rungs, call.num_positions, 16).alt
    N = call.num_positions
    for rung in rungs:
        assert f"version {rung.version}: {rung.total('requests') / N:.2f} and" in alt
    assert "need 2 sectors for each position" in alt


def test_lanes_picture_says_who_works():
    assert "4 of 32 lanes have features, 16 bytes a load; 8 warps for 8 bags" in (
        lanes_picture(3, 16, 20).alt
    )
    assert "32 of 32 lanes have features, 16 bytes a load; 1 warp for 8 bags" in (
        lanes_picture(4, 16, 20).alt
    )


def test_flight_picture_says_that_it_is_drawn():
    assert "drawn and not measured" in flight_picture().alt
    assert "8 waits" in flight_picture(8, 4).alt and "2 waits" in flight_picture(8, 4).alt


def test_the_control_redraws_in_all_corners():
    control = lanes_control(version=3, D=16, L=20)
    version, D, L, picture = control.children
    assert "4 of 32 lanes" in picture.value
    version.value = 4
    assert "32 of 32 lanes" in picture.value
    for version.value in (1, 4):
        for D.value in (WIDTHS[0], WIDTHS[-1]):
            for L.value in (1, 64):
                assert re.search(r'<img alt="The 32 lanes of a warp', picture.value)
    assert all(part.description for part in (version, D, L))


@needs_compiler
def test_shared_memory_is_counted_by_itself():
    """Version 8 reads from its rings what it has asked for: each row once."""
    loads, copies = count(even(128, 7), 4), count(even(128, 7), 8)
    assert loads.total("requests", shared=True) == 0
    assert copies.total("requests", "rows", "read", shared=True) == 7 * 8
    assert copies.total("passes", "rows", "read", shared=True) == 4 * 7 * 8
    assert copies.total("requests") == loads.total("requests")


@needs_compiler
def test_a_change_of_the_source_is_launched_and_leaves_no_trace():
    call = even(16, 7)
    right = count(call, 4).output
    firsts = count(call, 4, change=("is_live = lane < count &&", "is_live = lane < 1 &&")).output
    np.testing.assert_array_equal(firsts, call.weight[::7] + call.weight[4::7])  # teams of 4
    np.testing.assert_array_equal(count(call, 4).output, right)
    early = "__pipeline_wait_prior(RING - 1)", "__pipeline_wait_prior(RING)"
    with pytest.raises(KernelFault, match="async copy"):
        count(even(16, 20), 8, change=early)


@pytest.mark.parametrize("old, times", [("no such text", 0), ("typename", "[0-9]+")])
def test_a_change_must_name_one_place(old, times):
    with pytest.raises(ValueError, match=f"'{old}' stands in forward.cu {times} times, not once"):
        count(even(16, 7), 1, change=(old, ""))


def test_shared_bytes_are_those_of_the_rings():
    assert ladder.shared_bytes("no_such_kernel<float>") is None
    assert ladder.shared_bytes("bag_sum_1<float, long long, SUM, false>") == 0
    rows, factors = 8 * 128 * 16, 128 * 4
    assert ladder.shared_bytes("bag_sum_8<float, long long, SUM, false, 4, 32>") == rows + factors


@pytest.mark.parametrize("U", [1, 2, 4, 8])
def test_a_ring_asks_when_a_place_is_free(U):
    for ring in (False, True):
        flight = ladder.fly(13, U, ring)
        _, under = flight.under_way()
        assert under.max() == U and (np.diff(flight.added) > 0).all()
        free = [r - U if ring else r // U * U - 1 for r in range(13)]
        for r, before in enumerate(free):
            assert before < 0 or flight.asked[r] >= flight.added[before]
    assert ladder.fly(13, U, True).added[-1] <= ladder.fly(13, U, False).added[-1]


def test_ring_picture_tells_when_nothing_is_under_way():
    alt = ladder.ring_picture(rows=12, U=4).alt
    assert "drawn and not measured" in alt
    assert "nothing under way, before the end: 2." in alt and "Such moments: 0." in alt
