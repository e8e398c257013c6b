"""What processes do in the tests of a sharded table; and processes that are threads.

A job is called in every process and gets a `Wire`. `in_threads` calls it in threads of this
process that talk through queues: they start at once, and all above `Wire.swap` is the same code.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from embag_edu.beyond.sharded import checkpoint as checkpoints
from embag_edu.beyond.sharded.dtensor import register_rules
from embag_edu.beyond.sharded.module import ShardedEmbeddingBag
from embag_edu.beyond.sharded.wire import PeerError, Wire


class Gone(Exception):
    """Another thread has failed."""


class ThreadWire(Wire):
    """A wire between threads: a queue from each to each."""

    def __init__(self, rank, queues, world):
        self.rank, self.world, self.queues = rank, world, queues
        self.sent, self.calls, self.broken = Counter(), 0, ""
        self.device, self.timeout, self.group = torch.device("cpu"), 10.0, None

    def swap(self, kind, messages, templates):
        if self.broken:
            raise PeerError(self.broken)
        for other, message in enumerate(messages):
            if other != self.rank and message.numel():
                self.sent[other, kind] += message.numel() * message.element_size()
                self.queues[self.rank, other].put(message.detach().clone())
        received = [self._from(other, template) for other, template in enumerate(templates)]
        return [*received[: self.rank], messages[self.rank], *received[self.rank + 1 :]]

    def _from(self, other, template):
        if other == self.rank or not template.numel():
            return torch.empty_like(template)
        message = self.queues[other, self.rank].get(timeout=10)
        if message is None:
            raise Gone
        assert (message.shape, message.dtype) == (template.shape, template.dtype)
        return message


def in_threads(world, job, *args):
    """[job(wire, *args) of each of `world` threads]; raises what the first of them raised."""
    queues = {(a, b): queue.Queue() for a in range(world) for b in range(world)}
    results, errors = [None] * world, [None] * world

    def work(rank):
        try:
            results[rank] = job(ThreadWire(rank, queues, world), *args)
        except Exception as error:
            errors[rank] = error
            for other in range(world):
                queues[rank, other].put(None)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, Gone)):
        raise error
    return results


@dataclass
class Case:
    """One table, and bags of every home."""

    mode: str = "sum"
    weights: bool = False
    V: int = 13
    D: int = 5
    special: tuple = ()  # numbers that replace a third of the table's
    optimizer: object = None
    options: dict = field(default_factory=dict)
    lone: bool = False  # one home has all the bags
    dtype: type = np.float64
    homes: int = 0  # one process has the bags of so many homes

    def inputs(self, world, seed=0):
        """The whole table, and for each home indices, offsets, weights and grad_output."""
        if self.homes:
            weight, homes = replace(self, homes=0).inputs(self.homes, seed)
            lengths = np.concatenate([np.diff(home[1]) for home in homes])
            rows, _, psw, G = (
                None if k[0] is None else np.concatenate(k) for k in zip(*homes, strict=True)
            )
            return weight, [(rows, np.append(0, np.cumsum(lengths)), psw, G)]
        random = np.random.default_rng([seed, world, self.V])
        weight = random.normal(size=(self.V, self.D))
        if self.special:
            weight[random.random(weight.shape) < 0.4] = random.choice(self.special)
            chosen = random.random(weight.shape) < 0.4
            weight[chosen] = random.choice(self.special, chosen.sum())
        homes = []
        for home in range(world):
            B = 0 if self.lone and home else 2 + 2 * home
            lengths = random.integers(0, 6, B)
            n = int(lengths.sum())
            homes.append(
                (
                    np.minimum(random.zipf(1.3, n), self.V) - 1,
                    np.append(0, np.cumsum(lengths)),
                    random.normal(size=n).astype(self.dtype) if self.weights else None,
                    random.normal(size=(B, self.D)).astype(self.dtype),
                )
            )
        return weight.astype(self.dtype), homes


def sharded(wire, case, sharding, steps):
    """What one process of many gets: outputs, gradients of weights, its part of the table."""
    weight, _ = case.inputs(wire.world)
    bag = ShardedEmbeddingBag(
        case.V, case.D, mode=case.mode, include_last_offset=True, sharding=sharding,
        owner=wire.world - 1, wire=wire, weight=torch.from_numpy(weight),
        optimizer=case.optimizer, **case.options,
    )  # fmt: skip
    outputs, gradients = [], []
    for step in range(steps):
        indices, offsets, psw, G = case.inputs(wire.world, step)[1][wire.rank]
        given = None if psw is None else torch.from_numpy(psw).requires_grad_()
        output = bag(torch.from_numpy(indices), torch.from_numpy(offsets), given)
        output.backward(torch.from_numpy(G))
        if case.optimizer:
            bag.zero_grad()
        outputs.append(output.detach().numpy())
        gradients.append(None if given is None else given.grad.numpy())
    grad = None if bag.weight.grad is None else bag.weight.grad.numpy()
    shard, sent = bag.options.shards[wire.rank], dict(wire.sent)
    return outputs, gradients, bag.weight.detach().numpy(), grad, shard, sent


# ---- jobs of real processes -------------------------------------------------------------------


def cases(named, timeout=20, batched=False):
    """What `sharded` gives for (case, sharding, steps), one after the other.

    batched: with the messages of a swap in one batch, as NCCL wants them.
    """
    wire, found = Wire(timeout), []
    wire.batched = batched
    for case, sharding, steps in named:
        wire.sent.clear()
        found.append(sharded(wire, case, sharding, steps))
    return found


def sleep_at(rank):
    """One process sleeps."""
    time.sleep(60 if dist.get_rank() == rank else 0)
    return dist.get_rank()


EVENTS = {  # what the last process does, once all have made a call together
    "exits": lambda bag: os._exit(0),
    "is killed": lambda bag: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": lambda bag: time.sleep(60),
    "is killed within a call": lambda bag: _dies_at(bag, "indices"),
    "hangs within a call": lambda bag: _dies_at(bag, "outputs", lambda: time.sleep(60)),
    "refuses an index": lambda bag: bag(torch.tensor([[99]])),
    "refuses a type": lambda bag: bag([[1]]),
    "calls a backward": lambda bag: bag.last.backward(torch.ones_like(bag.last)),
    "calls another table": lambda bag: _bag(bag.wire, name="another")(INPUT),
    "has other options": lambda bag: _bag(bag.wire, mode="max")(INPUT),
    "has another shape": lambda bag: _bag(bag.wire, V=12)(INPUT),
    "has weights": lambda bag: bag(INPUT, None, torch.ones(1, 2)),
    "leaves for a collective of torch": lambda bag: dist.all_reduce(torch.ones(3)),
}
INPUT = torch.tensor([[0, 9]])


def _bag(wire, V=10, mode="sum", name="ratings"):
    return ShardedEmbeddingBag(V, 4, mode=mode, wire=wire, name=name)


def _dies_at(bag, kind, how=lambda: os.kill(os.getpid(), signal.SIGKILL)):
    swap = bag.wire.swap
    bag.wire.swap = lambda k, *args: how() if k == kind else swap(k, *args)
    bag(INPUT)


def trouble(event, timeout):
    """The last process does something else in call 2; the others call, and then once more."""
    wire = Wire(20)
    bag = _bag(wire)
    bag.last = bag(INPUT)
    wire.timeout = timeout  # from here on: all have started
    if wire.rank == wire.world - 1:
        EVENTS[event](bag)
        return None
    begin = time.monotonic()
    try:
        bag(INPUT)
    except RuntimeError as error:
        told, seconds = error, time.monotonic() - begin
    wire.timeout = 1.5  # after a refusal nothing is broken: the next call waits for who has left
    try:
        bag(INPUT)
    except PeerError as error:
        return told, seconds, str(error)
    return told, seconds, ""


def no_wire(timeout):
    """The last process never makes a wire."""
    if dist.get_rank() == dist.get_world_size() - 1:
        os._exit(0)
    Wire(timeout)


def checkpoint(act, folder, sharding, optimizer=None, seed=0):
    """Save a table, after a step; or make one of other numbers and load. Gives shard and state."""
    wire = Wire(20)
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(10, 6)))
    bag = ShardedEmbeddingBag(
        10, 6, mode="sum", sharding=sharding, wire=wire, weight=weight, optimizer=optimizer
    )
    if act == "save":
        bag(torch.tensor([[1, 9, wire.rank]])).sum().backward()
    getattr(checkpoints, act)(folder, ratings=bag)
    arrays = bag.state.arrays if optimizer else {}
    step = bag.steps
    return bag.options.shards[wire.rank], bag.weight.detach().numpy(), arrays, step


def rules():
    """DTensor with our rules: the differences to torch on plain tensors, by mode."""
    register_rules()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    table, psw = torch.randn(10, 6, generator=torch.Generator().manual_seed(0)), torch.rand(5)
    dist.broadcast(psw, 0)
    found = {}
    for mode, weights in (("sum", None), ("mean", None), ("max", None), ("sum", psw)):
        for placed in (Shard(1), Replicate()):
            plain = table.clone().requires_grad_()
            cut = distribute_tensor(table, mesh, [placed]).requires_grad_()
            call = [torch.tensor([1, 2, 2, 9, 0]), torch.tensor([0, 3, 3]), weights]
            placed_call = [
                None if c is None else distribute_tensor(c, mesh, [Replicate()]) for c in call
            ]
            output = F.embedding_bag(
                placed_call[0], cut, placed_call[1], mode=mode, per_sample_weights=placed_call[2]
            )
            expected = F.embedding_bag(
                call[0], plain, call[1], mode=mode, per_sample_weights=call[2]
            )
            output.sum().backward()
            expected.sum().backward()
            found[mode, weights is not None, str(placed)] = max(
                (output.full_tensor() - expected).abs().max().item(),
                (cut.grad.full_tensor() - plain.grad).abs().max().item(),
                float(output.placements != (placed,)),
            )
    return found
