"""The whole specification as CUDA kernels: readable `.cu` files, and what launches them.

    output, saved = forward(call)
    renorm(call)                                         # max_norm alone
    gradient = grad_weight(call, saved, grad_output)
    gradient = grad_per_sample_weights(call, saved, grad_output)

The kernels run on a GPU where there is one, else on this machine's processor: see `device()`. The
arrays of a call may be NumPy's; on a GPU also CuPy's, which stay there. Their indices are checked
there, and an error comes with a later call, or `check_now()`, or as `checking` says: findings.py.
`source("forward")` is the text of a file of kernels:

    module = device().RawModule(code=source("first"))

`python -m embag_edu.cuda forward 3` runs one version on a small call and prints what it asks for.
"""

from embag_edu.cuda.findings import check_now, checking
from embag_edu.cuda.launch_backward import grad_per_sample_weights, grad_weight
from embag_edu.cuda.launch_forward import forward, renorm
from embag_edu.cuda.launcher import source

__all__ = [
    "check_now",
    "checking",
    "forward",
    "grad_per_sample_weights",
    "grad_weight",
    "renorm",
    "source",
]
