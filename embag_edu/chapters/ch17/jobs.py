"""What processes do in chapter 17: `embag_edu.beyond.sharded.processes.run` calls these in each.

They stand here, and not in the notebook: a new process imports the function that it is to call.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from embag_edu.beyond import Adam, RowWiseAdagrad
from embag_edu.beyond.sharded import checkpoint
from embag_edu.beyond.sharded.lists import Home
from embag_edu.beyond.sharded.module import ShardedEmbeddingBag
from embag_edu.beyond.sharded.shards import Shard
from embag_edu.beyond.sharded.wire import Wire
from embag_edu.data import Review
from embag_edu.train import recommender as several
from embag_edu.train.fitting import Plan

WAIT = 10.0  # seconds


class Step(NamedTuple):
    """What a process has after a forward and a backward."""

    output: np.ndarray  # (B, D)
    grad: np.ndarray  # of its shard
    shard: Shard
    sent: dict[tuple[int, str], int]  # bytes, by process and kind


def step(sharding: str, mode: str, weight: np.ndarray, homes: list[Home], G: list) -> Step:
    """One forward and backward of a sharded table; process r has the bags homes[r]."""
    wire = Wire(WAIT)
    V, D = weight.shape
    bag = ShardedEmbeddingBag(
        V, D, mode=mode, include_last_offset=True, sharding=sharding, wire=wire,
        weight=torch.from_numpy(weight),
    )  # fmt: skip
    home = homes[wire.rank]
    output = bag(torch.from_numpy(home.indices), torch.from_numpy(home.offsets))
    output.backward(torch.from_numpy(G[wire.rank]))
    assert bag.weight.grad is not None
    shard = bag.options.shards[wire.rank]
    return Step(output.detach().numpy(), bag.weight.grad.numpy(), shard, dict(wire.sent))


def wrong_sizes() -> None:
    """torch's all-to-all by itself: process 0 sends three numbers, process 1 takes two of them."""
    takes = [1, 3] if dist.get_rank() == 0 else [2, 1]
    sends = [1, 3] if dist.get_rank() == 0 else [3, 1]
    dist.all_to_all_single(torch.zeros(sum(takes)), torch.ones(4), takes, sends)


def trouble(kind: str, timeout: float = 1.0) -> str:
    """Process 1 fails in its own way; the others say what they are told."""
    wire = Wire(WAIT)
    bag = ShardedEmbeddingBag(10, 4, wire=wire, name="ratings")
    bag(torch.tensor([[1, 2]]))
    wire.timeout = timeout if kind == "is slow" else WAIT  # from here on: all have started
    row = 3
    if wire.rank == 1:
        if kind == "dies":
            os._exit(1)
        if kind == "is slow":
            return ""
        row = 99  # a bad index
    try:
        bag(torch.tensor([[row]]))
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "no error"


def two_steps(weight: np.ndarray, input: np.ndarray, joined: bool) -> np.ndarray:
    """A column-wise table after two steps of row-wise Adagrad, (V, d).

    joined: whether the mean of squares is that of the whole row, or of this owner's columns.
    """
    V, D = weight.shape
    bag = ShardedEmbeddingBag(
        V, D, mode="sum", sharding="column", wire=Wire(WAIT),
        weight=torch.from_numpy(weight), optimizer=RowWiseAdagrad(0.1),
    )  # fmt: skip
    if not joined:
        bag.optimizer = RowWiseAdagrad(0.1)
    for rows in input[dist.get_rank()]:
        bag.zero_grad()
        (bag(torch.from_numpy(rows)) ** 2).sum().backward()
    return bag.weight.detach().numpy()


def saved(folder: str | Path, sharding: str, act: str) -> tuple[np.ndarray, Shard, int]:
    """Take a step and save the table; or load it into another. Gives part, shard, steps."""
    wire = Wire(WAIT)
    bag = ShardedEmbeddingBag(12, 8, mode="sum", sharding=sharding, wire=wire, optimizer=Adam(0.1))
    if act == "save":
        bag(torch.tensor([[1, 5, wire.rank]])).sum().backward()
        checkpoint.save(folder, ratings=bag)
    else:
        checkpoint.load(folder, ratings=bag)
    return bag.weight.detach().numpy(), bag.options.shards[wire.rank], bag.steps


def recommender(plan: Plan, records: list[Review], sharding: str | None, steps: int) -> list[float]:
    """The losses of chapter 13's recommender, on several processes or (sharding None) on one.

    Each process has its share of every batch. The four tables are sharded; the layers on top are
    small: each process has them whole, and their gradients are added up.
    """
    batches, model = _recommender(plan, records)
    rank, world = dist.get_rank(), dist.get_world_size()
    if sharding is not None:
        wire = Wire(WAIT)
        for owner, (name, table) in enumerate(model.tables.items()):
            V, D = table.weight.shape
            model.tables[name] = ShardedEmbeddingBag(
                V, D, mode="mean", sharding=sharding, owner=owner % world,
                wire=wire, weight=table.weight, name=name,
            )  # fmt: skip
    optimizer = torch.optim.Adagrad(model.parameters(), lr=plan.rate)
    losses = []
    for batch in batches[:steps]:
        optimizer.zero_grad()
        mine = several.collate(batch[rank::world])
        loss = torch.nn.functional.cross_entropy(model(mine), mine.labels, reduction="sum")
        loss = loss / len(batch)  # so that the losses of all processes add up to the batch's mean
        loss.backward()
        for parameter in model.top.parameters():
            dist.all_reduce(parameter.grad)
        optimizer.step()
        total = loss.detach()
        dist.all_reduce(total)
        losses.append(total.item())
    return losses


def _recommender(plan: Plan, records: list[Review]) -> tuple[list[Any], several.Recommender]:
    tables = several.tables_for(records, plan.buckets)
    examples = several.Examples(tables, records)
    torch.manual_seed(plan.seed)
    model = several.Recommender(tables.rows(), plan.dim, mode="mean", dtype=torch.float64).double()
    size = plan.batch_size
    chosen = [examples[k] for k in range(len(examples))]
    return [chosen[k : k + size] for k in range(0, len(chosen), size)], model
