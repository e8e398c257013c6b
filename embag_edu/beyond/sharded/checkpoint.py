"""Checkpoints that load into another number of processes, or another sharding.

    save("folder", ratings=bag)       # all processes together
    load("folder", ratings=bag)

A table is saved as one tensor (V, D) called "ratings.weight", each process writing its part, by
torch.distributed.checkpoint. So whoever loads reads the parts that it owns, however they were cut;
`dcp_to_torch_save` makes one file of them. State of a fused optimizer goes along, its count of
steps too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from embag_edu.beyond.sharded.module import ShardedEmbeddingBag


def save(folder: str | Path, **tables: ShardedEmbeddingBag) -> None:
    """Write the tables, by their names, into a folder. All processes call this together.

    Raises RuntimeError, in all processes, where one can't write.
    """
    _checkpoint(dcp.save, folder, state_of(tables), tables)


def load(folder: str | Path, **tables: ShardedEmbeddingBag) -> None:
    """Read the tables, in place. All processes call this together.

    Raises RuntimeError, in all processes, where the folder lacks a file or a name, or has a table
    of another shape. Then nothing, or a part, has been read: the tables are not to be used.
    """
    state = state_of(tables)
    _checkpoint(dcp.load, folder, state, tables)
    for name, table in tables.items():
        if table.optimizer is not None:
            table.steps = int(state[f"{name}.step"])
        torch.autograd.graph.increment_version(table.weight)


def state_of(tables: dict[str, ShardedEmbeddingBag]) -> dict[str, Any]:
    """What `dcp.save` and `dcp.load` take: DTensors on the tables' own memory, by name."""
    state: dict[str, Any] = {}
    for name, table in tables.items():
        V, D = table.options.V, table.options.D
        _add(state, f"{name}.weight", table, table.weight.detach(), (V, D))
        if table.optimizer is None:
            continue
        for key, array in table.state.arrays.items():
            tensor = torch.from_numpy(array)
            _add(state, f"{name}.{key}", table, tensor, (V, D)[: tensor.ndim])
        state[f"{name}.step"] = table.steps
    return state


def _add(
    state: dict[str, Any],
    key: str,
    table: ShardedEmbeddingBag,
    part: Tensor,
    shape: tuple[int, ...],
) -> None:
    """One tensor of the given shape, of which this process has a part."""
    if table.sharding == "table" or (table.sharding == "column" and len(shape) == 1):
        if not table.options.shards[table.wire.rank].empty:  # whole, at one owner or at several
            state[key] = part
        return
    dim = 0 if table.sharding == "row" else 1
    if not part.numel():  # a shard of nothing has its other sides all the same
        part = part.new_empty(tuple(0 if at == dim else side for at, side in enumerate(shape)))
    mesh = DeviceMesh.from_group(table.wire.group, part.device.type)
    stride = torch.empty(shape, device="meta").stride()
    placed = [Shard(dim)]
    state[key] = DTensor.from_local(
        part, mesh, placed, run_check=False, shape=torch.Size(shape), stride=stride
    )


def _checkpoint(
    act: Any, folder: str | Path, state: dict[str, Any], tables: dict[str, ShardedEmbeddingBag]
) -> None:
    group = next(iter(tables.values())).wire.group if tables else None
    try:
        act(state, checkpoint_id=str(folder), process_group=group)
    except dcp.api.CheckpointException as error:  # no Exception: `except Exception` misses it
        told = "; ".join(
            f"process {rank}: {type(failure[0]).__name__}: {str(failure[0]).splitlines()[0]}"
            for rank, failure in sorted(error.failures.items())
        )
        raise RuntimeError(
            f"{act.__name__} of {', '.join(tables)} in {str(folder)!r} failed: {told}\n  To mend "
            "it: the folder must hold a whole checkpoint, of tables of these names and shapes"
        ) from error
