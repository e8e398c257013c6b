"""My EmbeddingBag as a torch module: chapter 12. It computes with any of your three versions.

A tensor and the array that to_array makes of it share their memory, and so do an array and the
tensor that to_tensor makes of it: nothing is copied.
"""

import torch

from embag_edu.arrays import to_array, to_tensor
from embag_edu.check import NotSupported

from . import cuda, loops, vectorized

VERSIONS = {"loops": loops, "vectorized": vectorized, "cuda": cuda}

# ======== Given: tensors as arrays, and a gradient as a tensor ========


def arrays_of(arguments):
    """The arguments by name, each tensor among them as an array."""
    return {
        name: to_array(value) if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }


def tensor_of(gradient):
    """A gradient as a tensor: a dense one, a sparse one, or None."""
    if gradient is None:
        return None
    if isinstance(gradient, tuple):
        indices, values, shape = gradient
        parts = to_tensor(indices), to_tensor(values)
        return torch.sparse_coo_tensor(*parts, shape, check_invariants=False)
    return to_tensor(gradient)


# ======== Stage 12 (chapter 12): a torch module ========


class Bag(torch.autograd.Function):
    """The forward, and the backward that torch calls for it."""

    @staticmethod
    def forward(ctx, weight, per_sample_weights, others, version):
        """The output, (B, D), as a tensor.

        others: the other arguments by name, "input" among them; arrays_of makes arrays of tensors.
        version: a name of VERSIONS. ctx keeps for the backward what it needs.
        """
        ctx.save_for_backward(weight, per_sample_weights)
        ctx.others, ctx.version = others, version
        given = {"weight": weight, "per_sample_weights": per_sample_weights, **others}
        return to_tensor(VERSIONS[version].embedding_bag(**arrays_of(given)))

    @staticmethod
    def backward(ctx, grad_output):
        """A gradient for each argument of forward, in order; None for those that have none."""
        weight, psw = ctx.saved_tensors
        given = {"weight": weight, "per_sample_weights": psw, **ctx.others}
        given["grad_output"] = grad_output
        of_weight, of_psw = VERSIONS[ctx.version].backward(**arrays_of(given))
        return tensor_of(of_weight), tensor_of(of_psw), None, None


class MyBag(torch.nn.Module):
    """torch.nn.EmbeddingBag, by my own code."""

    def __init__(self, num_embeddings, embedding_dim, version="vectorized", **options):
        """The table, a parameter named weight, (V, D): drawn from N(0, 1), zeros for padding_idx.

        options: mode, padding_idx, max_norm and the others of torch's module; kept in self.options,
        and padding_idx in self.padding_idx as well (None without).
        """
        super().__init__()
        self.version, self.options = version, options
        self.padding_idx = options.get("padding_idx")
        self.weight = torch.nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        if self.padding_idx is not None:
            with torch.no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, input, offsets=None, per_sample_weights=None):
        """The output for a batch, (B, D): embedding_bag below, with self.weight and the options."""
        return embedding_bag(
            input, self.weight, offsets, per_sample_weights=per_sample_weights,
            version=self.version, **self.options,
        )  # fmt: skip


# ======== Given: called as torch.nn.functional.embedding_bag is ========


def embedding_bag(
    input, weight, offsets=None, *, per_sample_weights=None, version="vectorized", **options
):
    """The output, with gradients. Tensors; the arguments are torch's, but for version."""
    others = {"input": input, "offsets": offsets, **options}
    return Bag.apply(weight, per_sample_weights, others, version)
