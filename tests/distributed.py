"""A model with a bag, trained by two processes in each of torch's ways.

    python tests/distributed.py RANK RENDEZVOUS

RENDEZVOUS: a new file that both processes name. Rank 0 prints, for each way, the largest difference
between what torch's module and ours end with, and how far the table moved.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from embag_edu.nn import EmbeddingBag

WAYS = {
    "DDP": (DistributedDataParallel, False),
    "DDP, sparse": (DistributedDataParallel, True),
    "FSDP2": (fully_shard, False),  # torch's own sparse gradients can't be sharded
}


def main(rank: str, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=int(rank), world_size=2)
    for name, (wrap, sparse) in WAYS.items():
        makes = [partial(m, sparse=sparse) for m in (EmbeddingBag, torch.nn.EmbeddingBag)]
        ours, torchs = (trained(make, wrap) for make in makes)
        worst = max((a - b).abs().max().item() for a, b in zip(ours, torchs, strict=True))
        moved = (ours[0] - parts(makes[0])[0].weight.detach()).abs().max().item()
        if rank == "0":
            print(name, worst, moved, sep="\t")
    dist.destroy_process_group()


def parts(make: Callable[..., torch.nn.Module]) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [make(64, 8, mode="mean", padding_idx=3), torch.nn.Linear(8, 3)]


def trained(make: Callable[..., torch.nn.Module], wrap: Callable) -> list[Tensor]:
    """Parameters, whole, after three steps; each process has batches of its own."""
    model = wrap(torch.nn.Sequential(*parts(make)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    random = torch.Generator().manual_seed(dist.get_rank())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randint(64, (16, 5), generator=random)).square().mean().backward()
        optimizer.step()
    whole = (getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters())
    return [parameter.detach() for parameter in whole]


if __name__ == "__main__":
    main(*sys.argv[1:])
