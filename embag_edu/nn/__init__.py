"""torch's EmbeddingBag over every implementation: change one import, and keep the code.

    from embag_edu.nn import EmbeddingBag

    bag = EmbeddingBag(10_000, 64, mode="sum")  # implementation="auto"

It needs torch and, for the implementation "vectorized", SciPy.
"""

from embag_edu.nn import functional
from embag_edu.nn.modules import EmbeddingBag

__all__ = ["EmbeddingBag", "functional"]
