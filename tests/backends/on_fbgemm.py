"""FBGEMM: its table-batched bag on the CPU, with one table and a dense gradient."""

import functools

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    DenseTableBatchedEmbeddingBagsCodegen,
)

POOLING = {"sum": PoolingMode.SUM, "mean": PoolingMode.MEAN}


def embedding_bag(input, weight, offsets=None, mode="mean", per_sample_weights=None,
                  include_last_offset=False):  # fmt: skip
    if input.dim() == 2:
        offsets = torch.arange(0, input.numel() + 1, input.shape[1], dtype=input.dtype)
    elif not include_last_offset:
        offsets = torch.cat([offsets, offsets.new_tensor([len(input)])])
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
