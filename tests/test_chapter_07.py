"""The pictures of chapter 07; the kernels in the cells of chapters 07 to 11."""

import ast
from dataclasses import replace

import numpy as np
import pytest
from compiler import needs_compiler
from test_book import CHAPTERS, code_cells

from embag_edu.chapters.ch07.figures import (
    gpu_picture,
    grid_picture,
    lanes,
    mapping_picture,
    strided,
)
from embag_edu.cuda import source
from embag_edu.cuda_on_cpu import RawModule, nvrtc


@pytest.mark.parametrize("stride", [0, 1, 2, 3, 5, 8, 17, 32])
@needs_compiler
def test_strided_is_what_a_real_launch_counts(stride):
    kernel = RawModule(code=source("first")).get_function("copy_strided")
    input, output = np.zeros(32 * max(stride, 1), np.float32), np.zeros(32, np.float32)
    kernel((1,), (32,), (input, output, stride, 32))
    actual = kernel.report.line("input[i * stride]", array="input")
    expected = strided(stride)
    assert actual.example == expected.example
    assert (actual.requests, actual.sectors, actual.wanted) == (
        expected.requests, expected.sectors, expected.wanted)  # fmt: skip
    assert lanes(replace(actual, line=0)).alt == lanes(expected).alt


@pytest.mark.parametrize(("stride", "sectors"), [(0, 1), (1, 4), (2, 8), (8, 32), (32, 32)])
def test_lanes_say_how_much_is_moved(stride, sectors):
    alt = lanes(strided(stride)).alt
    share = 100 * strided(stride).used
    assert f"{sectors} sector{'s' * (sectors > 1)}: {32 * sectors:,} bytes moved" in alt
    assert f"({share:.3g} %)" in alt


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_lanes_of_any_width_and_with_lanes_missing(size):
    random = np.random.default_rng(size)
    example = [int(n) * size if k % 3 else -1 for k, n in enumerate(random.integers(0, 999, 32))]
    count = replace(strided(1), bytes=size, example=tuple(example), kind="atomic", array="counts")
    picture = lanes(count)
    assert picture.png().startswith(b"\x89PNG")
    assert f"21 lanes of a warp update {size} bytes each of counts" in picture.alt
    assert "11 lanes did not take part." in picture.alt


def test_lanes_refuse_what_has_no_sectors():
    with pytest.raises(ValueError, match="shared memory, which has no sectors"):
        lanes(replace(strided(1), shared=True))
    with pytest.raises(ValueError, match="has no example"):
        lanes(replace(strided(1), example=(-1,) * 32))


@pytest.mark.parametrize(
    ("n", "block", "grid", "told"),
    [
        (20, 8, 3, "threads with i from 20 to 23 have none"),
        (20, 8, 2, "nobody does elements 16 to 19"),
        (16, 8, 2, "one thread for each"),
    ],
)
def test_grid_picture_says_who_is_left_over(n, block, grid, told):
    assert told in grid_picture(n, block, grid).alt


def test_grid_picture_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="block is 17"):
        grid_picture(20, 17, 1)
    with pytest.raises(ValueError, match="n is 41"):
        grid_picture(41, 8, 5)


def test_mapping_picture_counts_the_bags_of_a_warp():
    assert "through 4 bags: neighbors in number are 8 elements apart" in mapping_picture(4, 8).alt
    assert "through 8 bags" in mapping_picture(16, 4).alt


# ---- what NVIDIA's compiler says ---------------------------------------------------------------


def kernels_in(path):
    """The sources in the cells of a notebook that are whole: with a kernel that has C's name."""
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and 'extern "C" __global__' in text:
                yield cell.id, text


@pytest.mark.skipif(nvrtc.available() != "", reason=nvrtc.available())
@pytest.mark.parametrize("path", CHAPTERS[7:12], ids=lambda path: path.stem[:2])
def test_what_runs_in_a_cell_is_accepted_by_nvrtc(path):
    for name, text in kernels_in(path):
        assert not nvrtc.compile_check(text, [], "sm_90").errors, name


def test_gpu_picture_names_its_parts_and_whose_sizes_they_are():
    alt = gpu_picture().alt
    for part in ("sizes of an H200", "132 multiprocessors", "shared memory", "L2", "141 GB"):
        assert part in alt
