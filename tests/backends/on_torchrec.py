"""TorchRec: an EmbeddingBagCollection of one table, on a KeyedJaggedTensor."""

import functools

import torch
from bag_ends import with_end
from torchrec.modules.embedding_configs import DataType, EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

POOLING = {"sum": PoolingType.SUM, "mean": PoolingType.MEAN}
DTYPES = {torch.float32: DataType.FP32, torch.float16: DataType.FP16}


def embedding_bag(input, weight, offsets=None, mode="mean", per_sample_weights=None,
                  include_last_offset=False):  # fmt: skip
    offsets = with_end(input, offsets, include_last_offset)
    is_weighted = per_sample_weights is not None
    weights = per_sample_weights.flatten() if is_weighted else None
    features = KeyedJaggedTensor(["bag"], input.flatten(), weights, offsets=offsets)
    collection = module(*weight.shape, mode, weight.dtype, is_weighted)
    table = {"embedding_bags.t.weight": weight}
    return torch.func.functional_call(collection, table, features)["bag"]


@functools.cache
def module(rows, features, mode, dtype, is_weighted):
    config = EmbeddingBagConfig(
        name="t", num_embeddings=rows, embedding_dim=features, feature_names=["bag"],
        pooling=POOLING[mode], data_type=DTYPES[dtype],
    )  # fmt: skip
    return EmbeddingBagCollection([config], is_weighted=is_weighted)
