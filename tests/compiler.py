"""What tests of compiled kernels need: a C++ compiler, and a cache of their own."""

import shutil

import pytest

from embag_edu.cuda_on_cpu import CompilerMissing, toolchain
from embag_edu.cuda_on_cpu.compilers import find_compiler

try:
    find_compiler()
    no_compiler = False
except CompilerMissing:
    no_compiler = True
needs_compiler = pytest.mark.skipif(no_compiler, reason="there is no C++ compiler")


def cache_with_runtimes(monkeypatch, folder):
    """An empty cache, for this test alone; but the scheduler and the recorder are there already.

    They are the same for all kernels, and take longer to compile than any kernel of a test.
    """
    folder.mkdir(exist_ok=True)
    for checked in () if no_compiler else (True, False):
        job = toolchain.Job("", (), (), checked, tuple(find_compiler()))
        entry = toolchain._runtime(job)[0].parent
        shutil.copytree(entry, folder / entry.name)
    monkeypatch.setenv("EMBAG_CACHE", str(folder))
    return folder
