"""Exercises that are answered by CUDA source: what a reader is told."""

import numpy as np
import pytest

from embag_edu.course import kernel_exercise
from embag_edu.course.kernel_exercise import KernelTask, Launch
from embag_edu.cuda_on_cpu import CompilerMissing
from embag_edu.cuda_on_cpu.toolchain import find_compiler

try:
    find_compiler()
except CompilerMissing:
    pytest.skip("there is no C++ compiler", allow_module_level=True)

TWICE = r"""
extern "C" __global__ void twice(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2.0f * x[i];
}
"""
COPIED = "That is a copy."


def launches():
    x = np.arange(1, 41, dtype=np.float32)
    return [Launch("40 numbers", 2, 32, (x, np.zeros(40, np.float32), 40), (1, 2 * x), {COPIED: x})]


TASK = KernelTask("twice", launches, lambda fault, code: f"A {fault.kind} fault.")


def test_a_right_source_passes_as_text_and_as_a_function():
    assert TASK(TWICE) == ""
    assert TASK(lambda: TWICE) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("2.0f * x[i]", "x[i]"), COPIED),
        (("2.0f", "3.0f"), "On 40 numbers: y: 40 of 40 values differ"),
        (("if (i < n) ", ""), "A out of bounds fault."),
        (("x[i];", "x[i]"), kernel_exercise.NO_COMPILE),
        (("twice", "thrice"), "there is no kernel 'twice' in the source; there are: thrice"),
        (("const float* x", "const double* x"), kernel_exercise.REFUSED),
        (('extern "C"', '#include <cub/cub.cuh>\nextern "C"'), kernel_exercise.NOT_HERE),
    ],
)
def test_a_wrong_source_is_told_why(change, says):
    source = TWICE.replace(*change)
    assert source != TWICE and says in TASK(source)


def test_what_is_no_source_is_said():
    assert TASK(3) == TASK(lambda: None) == kernel_exercise.NOT_SOURCE


def test_an_answer_that_is_not_there_yet_is_for_check_to_tell():
    def stub():
        raise NotImplementedError("your code here")

    with pytest.raises(NotImplementedError):
        TASK(stub)


def test_counts_may_turn_a_right_result_down():
    task = KernelTask("twice", launches, counts=lambda report, launch, code: "Too many sectors.")
    assert task(TWICE) == "Too many sectors."
    assert "3.0" not in task(TWICE) and "differ" in task(TWICE.replace("2.0f", "3.0f"))
