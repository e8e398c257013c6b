"""The one command for a machine with an NVIDIA GPU: python -m embag_edu gpu

steps         one after another, the time limit, what happens when one goes wrong
facts         which device this is, and which versions of what
conformance   the small kernels with one answer each, launched on a GPU and on the CPU
first_kernel  chapter 07's kernels against torch's
operator      the whole operator: every clause, the same bits, streams, memory, large tables
times         every version of the ladder beside torch's kernels
peers         ours beside cuEmbed, Triton and torch.compile, where these are installed
cuembed       NVIDIA's cuEmbed, launched from its own header files
beyond        fused steps, many tables, short rows, against the loops
programs      what readers run, as whole programs: training, NCCL, tests, chapters
command       the command itself, and the list of its steps

It needs NumPy and CuPy. torch is compared with where it is installed and sees the GPU.
"""
