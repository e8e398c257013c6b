"""What holds for every test: one thread each, a cache of their own, and no windows."""

import os

# Set before NumPy and torch are imported here; the notebooks' kernels inherit it.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

os.environ.pop("EMBAG_BOOK", None)  # what tests pass is nobody's progress

from embag_edu.cuda_on_cpu import cache, settings

# Compiled kernels of tests are not kept among the reader's.
os.environ.setdefault("EMBAG_CACHE", str(cache.folder().with_name("cuda_on_cpu_of_tests")))

import matplotlib
import pytest
import torch

torch.set_num_threads(1)
collect_ignore = ["backends"]  # other people's implementations: test_check_backends imports them
# Not by MPLBACKEND: the notebooks' kernels would inherit it, and draw no pictures.
matplotlib.use("Agg")

# What `pytest -m fast` runs: each room of the package, all in under a minute on two cores. A word
# is the beginning of a name of a test, as pytest writes it, after "tests/test_".
FAST = """
architecture pages spec_citations setup
spec.py loops data vectorized.py::test_random_calls_in_pieces_of_every_size[{}
check.py::test_the_loops check.py::test_nan check.py::test_clauses check.py::test_trouble
check.py::test_another check_rounding
cuda_on_cpu_source cuda_on_cpu_arguments cuda_on_cpu.py::test_a_launch
cuda_on_cpu.py::test_settings
cuda_forward.py::test_the_choice cuda_forward.py::test_a_tuning
cuda_forward.py::test_every_version_against_the_loops[D=3
nn.py::test_every_clause_holds[loops] nn.py::test_every_clause_holds[vectorized]
bench.py::test_bytes bench.py::test_inputs bench.py::test_names bench_recorded.py::test_tables
gpu.py::test_wrong_calls gpu.py::test_the_list gpu.py::test_words
train.py::test_split train.py::test_hashed train.py::test_collate
train.py::test_losses_agree_step_by_step_with_torchs[adagrad-loops
course.py::test_reference_passes_its_own_check[00 course.py::test_reference_passes_its_own_check[03
course.py::test_committed course.py::test_differ
beyond_fused.py::test_numpy beyond_fused.py::test_faults
chapter_01 commands.py::test_lists commands.py::test_every commands_environment
""".split()


@pytest.fixture
def fast_on_the_cpu(monkeypatch):
    """The one GPU command's kernels run here, unwatched."""
    monkeypatch.setenv("EMBAG_DEVICE", "cpu")
    with settings(mode="fast"):
        yield


def pytest_collection_modifyitems(items):
    for item in items:
        name = item.nodeid.replace(" ", "")
        if any(name.startswith(f"tests/test_{word}") for word in FAST):
            item.add_marker("fast")
