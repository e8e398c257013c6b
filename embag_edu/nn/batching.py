"""vmap without a loop: a batch of calls is one call. There are two ways to make it one:

- Features side by side. Where only the table differs (or the upstream gradient), the features of
  all members stand beside each other in one wide table: no feature looks at another.
- Bags one after another. Where indices, offsets or weights differ, the bags of all members stand in
  one long input. Member k reads its own rows: those from k * V on, if the tables differ too.

A member whose indices or offsets are out of range must not reach into its neighbor's: such numbers
become -1, which the call refuses.

A rule takes (operator, info, in_dims, *arguments), where in_dims says which dimension of each
argument counts members, calls the operator once, and returns (results, their dimensions).
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from embag_edu import spec
from embag_edu.nn.bags import Bags

Dims = tuple[int | None, ...]


def output(
    operator: Any, info: Any, in_dims: Dims, weight: Tensor, psw: Any, *options: Any
) -> tuple:
    """The rule of `embedding_bag`."""
    bags, n = Bags(*options), info.batch_size
    if not any_member(in_dims[1:]):
        found, saved = operator(side_by_side(weight, in_dims[0], n), psw, bags)
        if bags.mode != "max":
            return (apart(found, n), saved), (1, None)
        return (apart(found, n), apart(saved, n)), (1, 1)
    many = in_dims[0] is not None
    V = weight.shape[1 if in_dims[0] == 0 else 0]
    line = one_after_another(n, V, bags, in_dims[2:4], shifted=many)
    table = members(weight, in_dims[0], n).flatten(0, 1) if many else weight
    found, saved = operator(table, flat(psw, in_dims[1], n), line.bags)
    found, saved = split(found, n), split(saved, n)
    if many and bags.mode == "max":
        saved = torch.where(saved < 0, saved, saved - line.first_rows[:, None, None])
    return (found, saved), (0, 0)


def grad_weight(
    operator: Any, info: Any, in_dims: Dims, g: Tensor, psw: Any, saved: Tensor, V: int,
    *options: Any,
) -> tuple:  # fmt: skip
    """The rule of `embedding_bag_grad_weight`."""
    bags, n = Bags(*options), info.batch_size
    if not any_member((in_dims[1], *in_dims[4:])):
        if bags.mode == "max":
            saved = side_by_side(saved, in_dims[2], n)
        elif in_dims[2] is not None:
            saved = saved.select(in_dims[2], 0)  # the same bags have the same sizes
        wide = side_by_side(g, in_dims[0], n)
        return apart(operator(wide, psw, saved, V, bags), n), 1
    line = one_after_another(n, V, bags, in_dims[4:6], shifted=True)
    saved = members(saved, in_dims[2], n)
    if bags.mode == "max":
        saved = torch.where(saved < 0, saved, saved + line.first_rows[:, None, None])
    g, psw = flat(g, in_dims[0], n), flat(psw, in_dims[1], n)
    return split(operator(g, psw, saved.flatten(0, 1), n * V, line.bags), n), 0


def grad_per_sample_weights(
    operator: Any, info: Any, in_dims: Dims, g: Tensor, weight: Tensor, saved: Tensor, *options: Any
) -> tuple:
    """The rule of `embedding_bag_grad_per_sample_weights`."""
    bags, n = Bags(*options), info.batch_size
    many = in_dims[1] is not None
    V = weight.shape[1 if in_dims[1] == 0 else 0]
    line = one_after_another(n, V, bags, in_dims[3:5], shifted=many)
    table = members(weight, in_dims[1], n).flatten(0, 1) if many else weight
    found = operator(flat(g, in_dims[0], n), table, flat(saved, in_dims[2], n), line.bags)
    return split(found, n), 0


def renorm_(
    operator: Any, info: Any, in_dims: Dims, weight: Tensor, psw: Any, max_norm: float,
    norm_type: float, *options: Any,
) -> tuple:  # fmt: skip
    """The rule of `embedding_bag_renorm_`. One table for all members is rescaled for all inputs."""
    bags, n = Bags(*options), info.batch_size
    many = in_dims[0] is not None
    V = weight.shape[1 if in_dims[0] == 0 else 0]
    line = one_after_another(n, V, bags, in_dims[4:6], shifted=many)
    tables = members(weight, in_dims[0], n) if many else weight
    table = tables.flatten(0, 1) if many else weight
    psw = flat(psw, in_dims[1], n)
    operator(table, psw, max_norm, norm_type, *line.bags)
    if many:
        tables.copy_(table.view(tables.shape))
    return None, None


def grad_weight_sparse(info: Any, in_dims: Dims, *arguments: Any) -> NoReturn:
    """There are no batches of sparse tensors."""
    raise NotImplementedError(
        "embedding_bag: vmap can't return sparse gradients, torch has no batches of sparse "
        "tensors.\n  To mend it: sparse=False."
    )


# ---- the two forms --------------------------------------------------------------------------


def side_by_side(tensor: Tensor, dim: int | None, n: int) -> Tensor:
    """(rows, n * D): the features of all members in one row."""
    return members(tensor, dim, n).movedim(0, 1).flatten(1)


def apart(wide: Tensor, n: int) -> Tensor:
    """(rows, n, D) from (rows, n * D)."""
    return wide.unflatten(1, (n, wide.shape[1] // n))


class Line(NamedTuple):
    """The bags of all members one after another."""

    bags: Bags
    first_rows: Tensor  # (n,) where the rows of each member begin


def one_after_another(n: int, V: int, bags: Bags, in_dims: Dims, shifted: bool) -> Line:
    """One call of all members' bags. shifted: each member has V rows of its own."""
    members_of_input = members(bags.input, in_dims[0], n)
    count = torch.arange(n, device=bags.input.device)
    first_rows, padding_idx = V * count, bags.padding_idx
    if shifted and members_of_input.dtype in (torch.int32, torch.int64):
        padding_idx = spec._wrapped_padding(padding_idx, V)
        members_of_input = shifted_rows(members_of_input, V, first_rows, padding_idx)
    bags = bags._replace(input=members_of_input.flatten(0, 1), padding_idx=padding_idx)
    if bags.offsets is not None:
        N = members_of_input.shape[1]
        bags = with_offsets(bags, members(bags.offsets, in_dims[1], n), N, N * count)
    return Line(bags, first_rows)


def shifted_rows(input: Tensor, V: int, first_rows: Tensor, padding_idx: int | None) -> Tensor:
    """Row r of member k becomes k * V + r. All padding becomes the padding of member 0."""
    base = first_rows.view(-1, *[1] * (input.dim() - 1))
    rows = torch.where((input >= 0) & (input < V), input + base, -1)
    return rows if padding_idx is None else torch.where(input == padding_idx, input, rows)


def with_offsets(bags: Bags, offsets: Tensor, N: int, first: Tensor) -> Bags:
    """The offsets of all members: member k's count from k * N."""
    if offsets.shape[1] == 0 or offsets.is_floating_point():
        return bags._replace(offsets=offsets.flatten(0, 1))  # as they are: the call judges them
    right = offsets[:, 0] == 0
    if bags.include_last_offset:
        right, offsets = right & (offsets[:, -1] == N), offsets[:, :-1]
    starts = torch.where(right[:, None], offsets + first[:, None], -1)
    return bags._replace(offsets=starts.flatten(0, 1), include_last_offset=False)


def members(tensor: Tensor, dim: int | None, n: int) -> Tensor:
    """Members first: (n, ...). Raises RuntimeError where there are none."""
    if n == 0:
        raise RuntimeError(
            "embedding_bag: vmap over a dimension of size 0 has no call to make."
            "\n  To mend it: leave such a batch out; torch's own refuses it as well."
        )
    return tensor.expand(n, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def flat(tensor: Tensor | None, dim: int | None, n: int) -> Tensor | None:
    """Members one after another: (n * first, ...)."""
    return None if tensor is None else members(tensor, dim, n).flatten(0, 1)


def split(found: Tensor, n: int) -> Tensor:
    """(n, first, ...) from (n * first, ...)."""
    return found.unflatten(0, (n, found.shape[0] // n))


def any_member(in_dims: Dims) -> bool:
    """Whether some argument differs between members."""
    return any(dim is not None for dim in in_dims)
