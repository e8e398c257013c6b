"""What a real notebook shows of an error: its text, without the way through the package."""

import re

import pytest
from compiler import needs_compiler

nbformat = pytest.importorskip("nbformat", reason="nbformat comes with Jupyter")
nbclient = pytest.importorskip("nbclient", reason="nbclient comes with Jupyter")

FIRST = """\
import numpy as np
from embag_edu.course import check, hint
from embag_edu.course.kernel_exercise import arguments
from embag_edu.cuda_on_cpu import RawKernel, RawModule, compare, settings
X = np.zeros(8, np.int32)
SOURCE = 'extern "C" __global__ void k('
def go(text, *args, block=8):
    RawKernel(SOURCE + text, "k")((1,), (block,), args)
"""
SHOWN = {  # a cell: all that the notebook shows
    'go("int* x) { asm(); }", X)': "NotModeled: line 1: inline PTX is not modeled: write CUDA C++, "
    "or keep it for the GPU by #ifndef CUDA_ON_CPU",
    'go("int* x) {}", X.astype(float))': "TypeError: kernel k, argument 1 of 1 (`int* x`): an "
    "array of float64, shape (8,) was given, but it takes an array of int32. Perhaps pass "
    "x.astype(np.int32), which cuts off fractions.",
    'go("int* x) {}", X, block=2000)': "ValueError: kernel k: block is (2000,); valid along x: 1 "
    "to 1024",
    'RawKernel(SOURCE + "int* x) {}", "other")': "NotFound: there is no kernel 'other' in the "
    'source; there are: k. A kernel is written as extern "C" __global__ void other(...)',
    'RawKernel(5, "k")': "TypeError: code is 5; it must be a string, the CUDA source",
    'RawModule(path="x.cubin")': "NotModeled: path: compiled GPU code cannot run here; pass the "
    "source as code=",
    'RawKernel(SOURCE + ") {}", "k").num_regs': "AttributeError: num_regs is known to NVIDIA's "
    "compiler only: embag_edu.cuda_on_cpu.nvrtc.compile_check tells it, without a GPU",
    'with settings(mode="quick"): pass': "ValueError: mode is 'quick'; valid: 'checked', 'fast'",
    "compare(1, 2)": "ValueError: a: 1 has no report yet; launch it once in checked mode",
    'hint("03.slope", 9)': "number is 9; the hints of 03.slope are 1 to 3",
    'arguments("07.axpy", 99)': "at is 99; the launches of 07.axpy are 0 to 4",
    'check("03.slope", None)': "03.slope: not done yet.\nWrite your answer (a slope by central "
    "difference) where the line "
    'raise NotImplementedError("your code here") stands. Stuck? hint("03.slope")',
}
ENDS = {  # a cell: the last lines of what it shows
    'go("int* x) { x[0] = y; }", X)': [
        '     1 | extern "C" __global__ void k(int* x) { x[0] = y; }',
        "       |                                               ^",
    ],
    'check("03.slope", slope)': [
        "NameError: name 'slope' is not defined",
        "(Perhaps the cell above that defines `slope` was not run.)",
    ],
    "def f():\n    g = n\n    n = 1\nf()": [
        "UnboundLocalError: cannot access local variable 'n' where it is not associated with a "
        "value"
    ],
}
BROKEN = 'go("int* x) { __shared__ int a[8; }", X)'


@pytest.fixture(scope="module")
def shown():
    cells = [nbformat.v4.new_code_cell(text) for text in [FIRST, *SHOWN, *ENDS, BROKEN]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    found = {}
    for cell in notebook.cells[1:]:
        (error,) = cell.outputs
        found[cell.source] = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return found


@needs_compiler
def test_an_error_is_shown_alone(shown):
    assert {cell: shown[cell] for cell in SHOWN} == SHOWN


@needs_compiler
def test_names_of_the_translated_source_are_not_shown(shown):
    text = shown[BROKEN]
    assert text.count("line 1:") == 1 and "cuda_" not in text and "8; }" in text


@needs_compiler
@pytest.mark.parametrize("cell", ENDS)
def test_the_end_of_what_is_shown(cell, shown):
    lines = shown[cell].splitlines()
    assert lines[-len(ENDS[cell]) :] == ENDS[cell] and len(lines) <= 15
