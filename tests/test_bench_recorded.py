"""Records of a GPU, and what is drawn of them. The numbers here are made up, and stay here."""

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from embag_edu.bench import recorded as module
from embag_edu.bench.recorded import DTYPES, recorded
from embag_edu.bench.workloads import Workload
from embag_edu.chapters import recorded as pictures
from embag_edu.gpu import first_kernel
from embag_edu.gpu import times as timed

BOOK = Path(__file__).resolve().parents[1] / "book"
COPY = {
    "name": "copy",
    "bytes_per_second": 4e12,
    "rates": {"copy": 4e12, "copy of 161 MB": 3e12, "of 82 MB": 2e12},
}
WHO = {
    "forward": [*(f"version {v}" for v in range(1, 9)), "version 8, L known", "torch"],
    "backward": [*timed.ALGORITHMS, "torch", "index_add_"],
    "sparse": ["ours", "ours, indices checked", "torch"],
}


def made_up():
    random, results = np.random.default_rng(0), [COPY]
    for step, names in WHO.items():
        for work in timed.workloads():
            of_torch = [1e-3 * random.uniform(1, 2)]
            implementations = {
                n: first_kernel.numbers([1e-3 * random.uniform(0.3, 2)], of_torch, 10**9, 4e12)
                for n in names
            }
            row = {"workload": asdict(work), "step": step, "dtype": work.dtype}
            row |= {"name": f"{step} {work.name}", "implementations": implementations}
            row["distinct_rows"] = len(results)
            results.append(row)
    sweep = [
        {
            "name": "",
            "workload": asdict(Workload(100_000, D, timed.SWEEP_N // L, L)),
            "forward": {"of_torch": 0.01 * D / L},
            "backward": {"of_torch": 0.5},
        }
        for D in timed.SWEEP_D
        for L in timed.SWEEP_L
    ]
    return {
        "made by": "python -m embag_edu gpu",
        "device": {"name": "A GPU that is not there"},
        "versions": {"torch": "9", "cupy": "9", "NVRTC": "9"},
        "steps": [{"name": "ladder", "results": results}, {"name": "sweep", "results": sweep}],
    }


def every_place():
    return itertools.product(module.SHAPES, module.SKEWS, DTYPES)


@pytest.fixture
def times(tmp_path):
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps(made_up()), encoding="utf-8")
    return recorded(file)


def test_the_shapes_are_those_that_the_command_times():
    assert module.SHAPES == timed.SHAPES
    assert {module.skew_of(asdict(work)) for work in timed.workloads()} == set(module.SKEWS)
    assert module.DTYPES == timed.DTYPES


def test_times_by_step_shape_skew_and_dtype(times):
    found = times.times("backward", "B", "zipf 1.05", "bfloat16")
    assert list(found) == WHO["backward"]
    other = times.times("backward", "B", "zipf 1.15", "bfloat16")
    told = [times.distinct_rows(step, *at) for step in WHO for at in every_place()]
    assert sorted(told) == list(range(1, len(told) + 1))
    assert found["torch"] != other["torch"]
    with pytest.raises(KeyError, match="nothing is recorded for forward, shape A, reviews"):
        times.times("forward", "A", "reviews")
    with pytest.raises(KeyError, match="step 'ladder' has no 'x'; there are: copy, forward"):
        times.result("ladder", "x")


def test_tables_say_what_the_record_says(times):
    table = times.table("forward", "A").splitlines()
    assert len(table) == 1 + len(WHO["forward"])
    row = times.times("forward", "A", "zipf 1.05")["version 3"]
    assert f"{1e3 * row['median_ms']:,.1f} ({row['of_torch']:.2f})" in table[3]
    some = times.table("forward", "A", only=("torch", "version 3")).splitlines()
    assert some == [table[0], table[3], table[10]] and table[10].startswith("torch ")
    sweep = times.sweep()
    assert len(sweep) == 42 and [round(sweep[4, L], 2) for L in (1, 4, 16)] == [0.04, 0.01, 0]
    readme = times.readme_table().splitlines()
    assert len(readme) == 2 + 3 * len(DTYPES)
    assert f"{times.times('sparse', 'B', 'zipf 1.15')['ours']['of_torch']:.2f}" in readme[6]


def test_a_file_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "cpu.json"
    file.write_text('{"made by": "python -m embag_edu bench"}', encoding="utf-8")
    with pytest.raises(ValueError, match="cpu.json was not written by: python -m embag_edu gpu"):
        recorded(file)


@pytest.mark.parametrize("draw", ["forward_bars", "backward_bars", "sweep_map"])
def test_pictures_say_their_numbers(times, draw):
    picture = getattr(pictures, draw)(times)
    assert picture.png()[:4] == b"\x89PNG"
    assert len(picture.alt) > 100 and "nan" not in picture.alt


@pytest.mark.skipif(not (BOOK / "results" / "gpu.json").is_file(), reason="no GPU is recorded")
def test_the_page_has_the_table_of_the_record():
    page = (BOOK / "pages" / "gpu.md").read_text(encoding="utf-8")
    times = recorded(BOOK / "results" / "gpu.json")
    assert times.readme_table() in page and times.device in page
    assert times.record["passed"] is True or "failed" in page
