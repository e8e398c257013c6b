"""Exercises that are answered by CUDA source: what a reader is told."""

import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from embag_edu.chapters.ch07.exercises import REDUCE
from embag_edu.course import check, kernel_exercise
from embag_edu.course.kernel_exercise import KernelTask, Launch
from embag_edu.cuda_on_cpu import CompileError, CompilerMissing, KernelFault, RawKernel
from embag_edu.cuda_on_cpu.compilers import find_compiler

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
ZEROS = np.zeros(20, np.int32)


def launches():
    def launch(n, block):
        x = np.arange(1, n + 1, dtype=np.float32)
        args = (x, kernel_exercise.unwritten(n), n)
        return Launch(f"{n} numbers", -(-n // block), block, args, (1, 2 * x), {COPIED: x})

    return [launch(40, 32), launch(40, 16), launch(1, 8)]


TASK = KernelTask("07.axpy", "twice", launches, lambda fault, code: f"A {fault.kind} fault.")


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
        (('extern "C"', '#include <mma.h>\nextern "C"'), kernel_exercise.NOT_HERE),
        (("blockDim.x", "32"), kernel_exercise.FIXED_BLOCK),
        (("y[i] =", "y[i] +="), kernel_exercise.ADDED_TO),
        (("i < n", "i < n / 2"), kernel_exercise.NOT_WRITTEN),
        (("y[i] =", "y[0, i] ="), ""),  # a comma that does no harm
        (("x[i]", "x[i, 0]"), kernel_exercise.COMMA),
        (("y[i] =", "atomicAdd(y[i], 1.0f); y[i] ="), kernel_exercise.NO_AMPERSAND),
        (("i < n) y[i] =", "i < 40) y[i] ="), "Perhaps this is why: the parameter n is never used"),
        (("2.0f * x[i]", "n == 40 ? x[i] : 7.0f"), f"Perhaps: {COPIED}"),
    ],
)
def test_a_wrong_source_is_told_why(change, says):
    source = TWICE.replace(*change)
    assert source != TWICE and says in TASK(source)
    assert (TASK(source) == "") == (says == "")


def test_a_cause_that_an_answer_which_passes_elsewhere_would_have_failed_is_not_told():
    half = TWICE.replace("2.0f * x[i]", "n == 40 ? x[i] : 2.0f * x[i]")
    assert COPIED not in TASK(half) and "40 of 40 values differ" in TASK(half)


def test_the_launch_is_shown_as_code_that_runs(monkeypatch):
    monkeypatch.setattr(kernel_exercise, "find", lambda name: SimpleNamespace(judge=TASK))

    def mine():
        return TWICE.replace("if (i < n) ", "if (i < 41) ")

    said = TASK(mine)
    assert "((2,), (32,), args)" in said and "# float32 (40,), float32 (40,), 40" in said
    code = textwrap.dedent(said.partition("To launch it yourself:\n")[2])
    with pytest.raises(KernelFault, match="reads element 40 of `x`"):
        exec(code, {"mine": mine})
    with pytest.raises(ValueError, match="at is 3; the launches of 07.axpy are 0 to 2"):
        kernel_exercise.arguments("07.axpy", 3)


def test_an_exercise_without_a_kernel_has_no_launch():
    with pytest.raises(ValueError, match="exercise is '07.grid'; its answer is no kernel"):
        kernel_exercise.arguments("07.grid")


def test_what_is_no_source_is_said():
    assert TASK(3) == TASK(lambda: None) == kernel_exercise.NOT_SOURCE


def test_an_answer_that_is_not_there_yet_is_for_check_to_tell():
    def stub():
        raise NotImplementedError("your code here")

    with pytest.raises(NotImplementedError):
        TASK(stub)


def test_counts_may_turn_a_right_result_down():
    task = KernelTask(
        "07.axpy", "twice", launches, counts=lambda report, launch, code: "Too many sectors."
    )
    assert task(TWICE).startswith("Too many sectors.")
    assert "3.0" not in task(TWICE) and "differ" in task(TWICE.replace("2.0f", "3.0f"))


def told(source, *args, grid=1, block=32):
    """What a launch of the kernel `k` says, and what a notebook shows of it."""
    with pytest.raises((KernelFault, CompileError, TypeError, ValueError)) as caught:
        RawKernel(f'extern "C" __global__ void k({source}', "k")((grid,), (block,), args)
    return str(caught.value), getattr(caught.value, "_render_traceback_", lambda: [])()


@pytest.mark.parametrize(
    ("source", "args", "says"),
    [
        ("int* x) { x[threadIdx.x] = 1; }", (ZEROS[:4],), "guard the index, such as `if (i < n)`"),
        (
            "int* x, int n) { if (threadIdx.x < n) x[threadIdx.x + 1] = 1; }",
            (ZEROS[:4], 4),
            "Likely fix: a condition is missing, or lets too much pass; check how the index",
        ),
        (
            "int* x, int n) { if (threadIdx.x < n) x[threadIdx.x] = 1; }",
            (ZEROS[:7], 8),
            "`x` is shorter than n = 8: guard the index by the length of this array",
        ),
        (
            "int4* x) { x[0].x = ((volatile int4*)x)[0].y; int4 y = x[0]; x[1] = y; }",
            (ZEROS[1:17],),
            "but the memory of `x` itself does not begin at a multiple of 16: it is a view",
        ),
        ("int* x) { x[0] = 1; }", (ZEROS.astype(float),), "but it takes an array of int32"),
        ("int* x) { x[0] = 1; }", (), "0 arguments were given, but it takes 1"),
    ],
)
def test_an_error_of_a_launch_is_short_and_true(source, args, says):
    text, shown = told(source, *args)
    assert says in text
    assert shown[0].endswith(text.splitlines()[0]) and shown[1:] == text.splitlines()[1:]


def test_an_error_in_a_macro_of_ours_is_told_in_the_line_that_uses_it():
    text, shown = told("int* x) {\n  int i = threadIdx;\n}", ZEROS)
    assert "line 2: cannot convert" in text and "define" not in text and "cuda_on_cpu.h" not in text
    assert shown[0] == "CompileError: the kernel source does not compile"


def test_a_number_of_the_exercise_is_not_called_the_size_of_a_block():
    def one_size():
        return [launch for launch in launches() if launch.block == 32]

    wrong = TWICE.replace("blockDim.x", "128")
    assert kernel_exercise.FIXED_BLOCK in TASK(wrong)
    assert kernel_exercise.FIXED_BLOCK not in KernelTask("07.axpy", "twice", one_size)(wrong)


def test_what_checked_mode_notes_is_printed_beside_a_right_answer(capsys):
    check("07.reduce", REDUCE)
    assert "note" not in capsys.readouterr().out
    halving = "    if (t < half) part[t] += part[t + half];\n    __syncthreads();\n"
    assert halving in REDUCE
    inside = "if (t < half) {\n part[t] += part[t + half];\n __syncthreads();\n }\n"
    check("07.reduce", REDUCE.replace(halving, inside))
    printed = capsys.readouterr().out
    assert "On n = 128, 2 blocks of 64:\nnote, divergent barrier: threads of the block" in printed
    assert "\n\n07.reduce: right." in printed
