"""Where bags begin and end, as the libraries on tables want it: B + 1 offsets."""

import torch


def with_end(input, offsets, include_last_offset):
    if input.dim() == 2:
        return torch.arange(0, input.numel() + 1, input.shape[1], dtype=input.dtype)
    if include_last_offset:
        return offsets
    return torch.cat([offsets, offsets.new_tensor([len(input)])])
