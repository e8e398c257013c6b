"""Where versions of torch differ. Everything else in this folder is the same from 2.7 on."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException


def size_from_data() -> Any:
    """A size that only the data can tell, for an operator's fake implementation.

    torch 2.7 and some after it compile no such sizes unless they are told to.
    """
    try:
        return torch.library.get_ctx().new_dynamic_size()
    except DynamicOutputShapeException as error:
        raise NotImplementedError(
            "embedding_bag: with sparse=True and a padding_idx, the size of the gradient depends "
            f"on the data, and torch {torch.__version__} does not compile such sizes by itself.\n"
            "  To mend it: torch._dynamo.config.capture_dynamic_output_shape_ops = True, or "
            "sparse=False."
        ) from error


def is_exporting() -> bool:
    """Whether torch.export is at work.

    torch's own function of this name says so of all that is compiled, up to torch 2.11 at least.
    Of a strict export torch 2.7 tells nobody: the graph keeps our operator.
    """
    return torch.compiler._is_exporting_flag
