"""What tests of compiled kernels need: a C++ compiler."""

import pytest

from embag_edu.cuda_on_cpu import CompilerMissing
from embag_edu.cuda_on_cpu.toolchain import find_compiler

try:
    find_compiler()
    no_compiler = False
except CompilerMissing:
    no_compiler = True
needs_compiler = pytest.mark.skipif(no_compiler, reason="there is no C++ compiler")
