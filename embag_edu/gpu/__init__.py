"""The one command for a machine with an NVIDIA GPU: python -m embag_edu gpu

plan      steps, results, the time limit, what happens when one goes wrong
facts     which device this is, and which versions of what
tables    the small kernels with one right answer each, launched on a GPU and on the CPU
bags      the project's own kernels against torch's, and their times
command   the command itself, and the list of its steps: later kernels and benchmarks join there

It needs NumPy and CuPy. torch is compared with where it is installed and sees the GPU.
"""
