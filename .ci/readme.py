"""The messages that README.md shows, made by code: python .ci/readme.py [--write].

A block is what stands between its two marks, <!-- NAME: ... --> and <!-- end of NAME -->.
`tests/test_pages.py` holds them to the code.
"""

import re
import sys
import textwrap
from pathlib import Path

from embag_edu.course import check
from embag_edu.course.exercise import ExerciseFailed
from embag_edu.cuda_on_cpu import KernelFault, device

README = Path(__file__).resolve().parents[1] / "README.md"


def wrong_offsets(lengths):
    """A learner's first try at 01.offsets: the ends of the bags."""
    total, offsets = 0, []
    for length in lengths:
        total += length
        offsets.append(total)
    return offsets


SUM_ALL = """
extern "C" __global__ void sum_all(const float* x, float* total, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        total[0] += x[i];
    }
}
"""


def answer():
    """What a wrong answer to an exercise is told."""
    try:
        check("01.offsets", wrong_offsets)
    except ExerciseFailed as failed:
        return str(failed)
    raise AssertionError("the wrong answer has passed")


def race():
    """What is said of a kernel that loses additions."""
    import numpy as np

    cpu = device("cpu")
    total = cpu.zeros(1, np.float32)
    kernel = cpu.RawKernel(SUM_ALL, "sum_all")
    try:
        kernel((1,), (64,), (cpu.asarray(np.ones(64, np.float32)), total, np.int32(64)))
    except KernelFault as fault:
        return str(fault)
    raise AssertionError("the race was not found")


BLOCKS = {"answer": answer, "race": race}


def wrapped(line):
    """A long line in several, as a narrow window shows it."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line, 110, subsequent_indent=indent + "  ", drop_whitespace=True)


def rewritten(text):
    """The README with its blocks as the code makes them now."""
    for name, make in BLOCKS.items():
        block = re.compile(rf"(<!-- {name}:.*?-->\n).*?(<!-- end of {name} -->)", re.S)
        assert len(block.findall(text)) == 1, f"README.md has not one block {name}"
        message = "\n".join(wrapped(line) for line in make().splitlines())
        text = block.sub(lambda m, told=message: f"{m[1]}```text\n{told}\n```\n{m[2]}", text)
    return text


if __name__ == "__main__":
    if "--write" in sys.argv:
        text = README.read_text(encoding="utf-8")
        README.write_text(rewritten(text), encoding="utf-8", newline="\n")
    else:
        print(*(make() for make in BLOCKS.values()), sep="\n\n")
