"""FBGEMM: its table-batched bag on the CPU, with one table and a dense gradient."""

import functools

import torch
from bag_ends import with_end
from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    DenseTableBatchedEmbeddingBagsCodegen,
)

POOLING = {"sum": PoolingMode.SUM, "mean": PoolingMode.MEAN}


def embedding_bag(input, weight, offsets=None, mode="mean", per_sample_weights=None,
                  include_last_offset=False):  # fmt: skip
    offsets = with_end(input, offsets, include_last_offset)
    if per_sample_weights is not None:
        per_sample_weights = per_sample_weights.flatten()
    words = (input.flatten(), offsets, per_sample_weights)
    table = {"weights": weight.flatten()}
    return torch.func.functional_call(module(*weight.shape, mode), table, words)


@functools.cache
def module(rows, features, mode):
    return DenseTableBatchedEmbeddingBagsCodegen(
        [(rows, features)], use_cpu=True, pooling_mode=POOLING[mode]
    )
