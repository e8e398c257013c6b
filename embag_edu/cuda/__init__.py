"""The third rung: the whole specification as CUDA kernels, readable `.cu` files and their launches.

    output, saved = forward(call)
    gradients = backward(call, saved, grad_output)

The kernels run on a GPU where there is one, else on this machine's processor: see `device()`. The
arrays of a call may be NumPy's; on a GPU also CuPy's, which stay there. `source("forward")` is the
text of a file of kernels:

    module = device().RawModule(code=source("first"))
"""

from embag_edu.cuda.launch_backward import backward
from embag_edu.cuda.launch_forward import forward, trusted
from embag_edu.cuda.launcher import HERE, source

__all__ = ["HERE", "backward", "forward", "source", "trusted"]
