"""What holds for every test: one thread each, a cache of their own, and no windows."""

import os

# Set before NumPy and torch are imported here; the notebooks' kernels inherit it.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from embag_edu.cuda_on_cpu import cache

# Compiled kernels of tests are not kept among the reader's.
os.environ.setdefault("EMBAG_CACHE", str(cache.folder().with_name("cuda_on_cpu_of_tests")))

import matplotlib
import torch

torch.set_num_threads(1)
# Not by MPLBACKEND: the notebooks' kernels would inherit it, and draw no pictures.
matplotlib.use("Agg")
