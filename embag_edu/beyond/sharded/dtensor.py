"""The sharding rules that torch's DTensor lacks for embedding_bag, registered on request.

    register_rules()                                # once a process
    weight = distribute_tensor(table, mesh, [Shard(1)])
    F.embedding_bag(input, weight, offsets)         # a DTensor, cut by columns

A rule says how the output is placed for given placements of the inputs: columns stay where they
are, and indices are everywhere (`Replicate`). Rows can't be cut by a rule: which of them an index
asks for is known only by its value. That is what `ShardedEmbeddingBag` is for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.experimental import register_sharding

COLUMNS, WHOLE = Shard(1), Replicate()
MAX = 2  # torch's number of the mode


def register_rules() -> None:
    """Teach DTensor the forward and the backward of embedding_bag, cut by columns or not at all."""
    aten = torch.ops.aten
    for operator in (aten._embedding_bag.default, aten._embedding_bag_forward_only.default):
        register_sharding(operator)(_forward_rule)
    register_sharding(aten._embedding_bag_backward.default)(_backward_rule)


def _forward_rule(weight: Any, indices: Any, offsets: Any, *rest: Any) -> Any:
    """Outputs: output, offset2bag, bag_size, max_indices; rest: scale_grad_by_freq, mode, ..."""
    mode = rest[1] if len(rest) > 1 else 0
    weights = WHOLE if len(rest) > 3 and rest[3] is not None else None
    others = [weights if at == 3 else None for at in range(len(rest))]
    winners = COLUMNS if mode == MAX else WHOLE
    return [
        ([COLUMNS, WHOLE, WHOLE, winners], [COLUMNS, WHOLE, WHOLE, *others]),
        ([WHOLE] * 4, [WHOLE] * 3 + others),
    ]


def _backward_rule(*arguments: Any) -> Any:
    """The gradient of weight, from grad, indices, offsets, offset2bag, bag_size, max_indices..."""
    mode, weights = arguments[8], arguments[10]
    others: list[Any] = [None] * (len(arguments) - 6)
    if weights is not None:
        others[4] = WHOLE
    winners = COLUMNS if mode == MAX else WHOLE
    return [
        ([COLUMNS], [COLUMNS, WHOLE, WHOLE, WHOLE, WHOLE, winners, *others]),
        ([WHOLE], [WHOLE] * 6 + others),
    ]
