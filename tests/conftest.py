"""What holds for every test: one thread each, and no windows."""

import os

# Set before NumPy and torch are imported here; the notebooks' kernels inherit it.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import matplotlib
import torch

torch.set_num_threads(1)
# Not by MPLBACKEND: the notebooks' kernels would inherit it, and draw no pictures.
matplotlib.use("Agg")
