"""embag_edu: torch.nn.EmbeddingBag taught and checked, from plain loops to CUDA kernels."""

from embag_edu.api import (
    IMPLEMENTATIONS,
    embedding_bag,
    embedding_bag_backward,
    embedding_bag_vjp,
)

__version__ = "0.1.0"

__all__ = [
    "IMPLEMENTATIONS",
    "__version__",
    "embedding_bag",
    "embedding_bag_backward",
    "embedding_bag_vjp",
]
