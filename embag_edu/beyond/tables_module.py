"""`EmbeddingBags`: many tables as one torch module, with the interface of EmbeddingBagCollection.

    bags = EmbeddingBags([Table("shop", 50, 16, ("shop",)), Table("word", 900, 16, ("text",))],
                         optimizer=RowWiseAdagrad(lr=0.1))
    output = bags({"shop": shops, "text": (ids, offsets)})      # name -> (B, 16)
    output = bags(features)              # or torchrec's: a KeyedJaggedTensor -> a KeyedTensor

Each table is a parameter of its own, `embedding_bags.NAME.weight`, and all of them lie in the
memory of one tensor: a call of all tables is one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from embag_edu.arrays import to_array, to_tensor
from embag_edu.beyond import used_up
from embag_edu.beyond.fused import Optimizer, State
from embag_edu.beyond.tables import Jagged, Layout, Table
from embag_edu.beyond.tables_api import Tables
from embag_edu.nn.implementations import backend_of, resolved


class EmbeddingBags(torch.nn.Module):
    """Tables that are read together: torchrec's EmbeddingBagCollection, in one call.

    tables: `Table`s, or torchrec's EmbeddingBagConfigs. is_weighted: positions have weights; else
        those that are given count for nothing, as in torchrec.
    optimizer: None, and tables have dense gradients; or what `embag_edu.beyond` has, and the
        backward is a step of all tables, as of `FusedEmbeddingBag`, with its refusals. State and
        step count are in the state_dict.
    implementation: "loops", "vectorized", "cuda", or "auto": "cuda" on a GPU, else "vectorized".

    Weights begin as torchrec's: uniform between -1/sqrt(V) and 1/sqrt(V), or by a config's init_fn.
    Without an optimizer, a state_dict is that of EmbeddingBagCollection.
    ValueError for tables, features and weights that do not fit.
    """

    def __init__(
        self,
        tables: Sequence[Any],
        is_weighted: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        optimizer: Optimizer | None = None,
        implementation: str = "auto",
    ) -> None:
        super().__init__()
        if not (optimizer is None or isinstance(optimizer, Optimizer)):
            raise ValueError(
                f"optimizer is a {type(optimizer).__name__}; valid: None, or SGD, Adagrad, "
                "RowWiseAdagrad or Adam of embag_edu.beyond, as SGD(lr=0.1)"
            )
        resolved(implementation, on_gpu=False)
        self.configs, self._is_weighted = list(tables), is_weighted
        self.layout = Layout([as_table(one) for one in tables])
        self.optimizer, self.implementation = optimizer, implementation
        # Without an optimizer the state_dict has the names of torchrec's, and no others.
        self.taken = used_up.CountsSteps() if optimizer else None
        self.embedding_bags = torch.nn.ModuleDict()
        for table in self.layout.tables:
            shape = table.num_embeddings, table.embedding_dim
            weight = torch.empty(shape, device=device, dtype=dtype)
            self.embedding_bags[table.name] = One(weight, optimizer)
        self._whole: dict[str, Tensor] = {}
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        for config, table in zip(self.configs, self.layout.tables, strict=True):
            weight, bound = self.embedding_bags[table.name].weight, table.num_embeddings**-0.5
            init = getattr(config, "init_fn", None)
            with torch.no_grad():
                init(weight) if init else weight.uniform_(-bound, bound)

    def embedding_bag_configs(self) -> list[Any]:
        """The tables as they were given."""
        return self.configs

    def is_weighted(self) -> bool:
        """Whether positions have weights."""
        return self._is_weighted

    @property
    def device(self) -> torch.device:
        """Where the tables are."""
        return self.weights[0].device

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """The tables, (V, D) each."""
        return [one.weight for one in self.embedding_bags.values()]

    def fused_tables(self) -> list[torch.nn.Parameter]:
        """Those that no optimizer of torch's has to update."""
        return self.weights if self.optimizer else []

    @property
    def names(self) -> list[str]:
        """Of the features of the output: "feature", or "feature@table" where several read it."""
        names, tables = self.layout.features, self.layout.tables
        of_table = zip(names, self.layout.table_of, strict=True)
        return [n if names.count(n) == 1 else f"{n}@{tables[t].name}" for n, t in of_table]

    @torch.compiler.disable
    def forward(self, features: Any) -> Any:
        """The bags of all features.

        features: a KeyedJaggedTensor, for a KeyedTensor; or a dict, for a dict name -> (B, D). Its
            values are what torch's EmbeddingBag takes: (B, L), or (input, offsets), or (input,
            offsets, per_sample_weights). More features than the tables read may be there.
        """
        frozen = [n for n, one in self.embedding_bags.items() if not one.weight.requires_grad]
        if self.optimizer and 0 < len(frozen) < len(self.embedding_bags):
            raise ValueError(
                f"table {frozen[0]!r} has requires_grad=False, others have not; a fused step is of "
                "all tables, or of none.\n  To mend it: two EmbeddingBags."
            )
        values, offsets, weights = jagged(features, self.layout.features, self._is_weighted)
        output = Pooled.apply(self, values, offsets, weights, *self.weights)
        dims = [int(self.layout.dims[t]) for t in self.layout.table_of]
        if isinstance(features, Mapping):
            return dict(zip(self.names, output.split(dims, 1), strict=True))
        from torchrec.sparse.jagged_tensor import KeyedTensor

        return KeyedTensor(self.names, dims, output)

    def joined(self, name: str) -> Tensor:
        """The memory of all tables' `name`: "weight", or an array of the optimizer's.

        Whatever has moved a table, such as `.to(...)`, left it elsewhere: then all are joined anew.
        """
        parts = [getattr(one, name) for one in self.embedding_bags.values()]
        starts = self.layout.first if parts[0].ndim == 2 else self.layout.base
        whole: Any = self._whole.get(name)
        step = parts[0].itemsize
        ends = [int(at) + part.numel() for at, part in zip(starts, parts, strict=True)]
        begin = None if whole is None else whole.data_ptr()
        if begin is None or any(
            part.data_ptr() != begin + step * (end - part.numel()) or part.dtype != whole.dtype
            for part, end in zip(parts, ends, strict=True)
        ):
            whole = parts[0].detach().new_zeros(max(ends))
            for part, end in zip(parts, ends, strict=True):
                place = whole[end - part.numel() : end].view(part.shape)
                place.copy_(part.detach())
                part.data = place
            self._whole[name] = whole
        found: Tensor = whole
        return found

    def tables(self) -> Tables:
        """The tables as arrays, on the parameters' memory."""
        return Tables(self.layout, flat=to_array(self.joined("weight")))

    def state(self) -> list[State]:
        """The optimizer's state, on the buffers' memory."""
        found = [State({}, self.steps) for _ in self.layout.widths]
        for name, of in self.optimizer.arrays.items() if self.optimizer else ():
            whole = to_array(self.joined(f"optimizer_{name}"))
            for width, state in zip(self.layout.widths, found, strict=True):
                rows = whole[width.row : width.row + width.rows]
                joined = Tables(self.layout, flat=whole).joined
                state.arrays[name] = joined(width) if of == "element" else rows
        return found

    @property
    def steps(self) -> int:
        """How many fused steps were taken."""
        return self.taken.steps if self.taken else 0

    def extra_repr(self) -> str:
        """The tables, and what else is not the usual."""
        return f"is_weighted={self._is_weighted}, optimizer={self.optimizer}"


class One(torch.nn.Module):
    """One table: its weight, and the optimizer's arrays as buffers optimizer_sum, ..."""

    def __init__(self, weight: Tensor, optimizer: Optimizer | None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        if optimizer:
            used_up.hold_state(self, optimizer)

    def extra_repr(self) -> str:
        """Its shape."""
        return ", ".join(map(str, self.weight.shape))


def as_table(config: Any) -> Table:
    """A `Table`, or torchrec's EmbeddingBagConfig as one."""
    if isinstance(config, Table):
        return config
    if not hasattr(config, "pooling"):
        raise ValueError(
            f"tables holds a {type(config).__name__}; valid: Table of embag_edu.beyond, or "
            "torchrec's EmbeddingBagConfig"
        )
    sizes = config.num_embeddings, config.embedding_dim
    names, mode = tuple(config.feature_names), config.pooling.value.lower()
    return Table(config.name, *sizes, names, mode)


def jagged(
    features: Any, names: Sequence[str], weighted: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """values, offsets (F * B + 1,) and weights, in the order of the names."""
    there = list(features.keys())
    if not there or not set(names) <= set(there):
        missing = sorted(set(names) - set(there))
        raise ValueError(f"features has {there}; {', '.join(map(repr, missing))} is missing")
    if not isinstance(features, Mapping) and there == list(names):  # as they lie
        weights = features.weights() if weighted else None
        return features.values(), features.offsets(), weights
    of = _of_mapping if isinstance(features, Mapping) else _of_keyed
    parts = [of(features, name, weighted) for name in names]
    lengths = [part[1] for part in parts]
    if len({len(of_feature) for of_feature in lengths}) > 1:
        bags = {name: len(part[1]) for name, part in zip(names, parts, strict=True)}
        raise ValueError(f"features have different numbers of bags: {bags}; valid: B each")
    ends = torch.cat([lengths[0].new_zeros(1), torch.cat(lengths).cumsum(0)])
    weights = torch.cat([part[2] for part in parts]) if weighted else None
    return torch.cat([part[0] for part in parts]), ends, weights


def _of_keyed(features: Any, name: str, weighted: bool) -> tuple[Any, ...]:
    """Values, lengths and weights of a feature of a KeyedJaggedTensor."""
    one = features[name]
    return one.values(), one.lengths(), one.weights() if weighted else None


def _of_mapping(features: Any, name: str, weighted: bool) -> tuple[Any, ...]:
    """The same, of what EmbeddingBag takes."""
    given = features[name]
    if isinstance(given, Tensor) and given.ndim == 2 and not weighted:
        return given.flatten(), given.new_full((len(given),), given.shape[1]), None
    wanted = "(input, offsets, per_sample_weights)" if weighted else "(input, offsets)"
    if not isinstance(given, tuple) or len(given) < 2 + weighted or given[0].ndim != 1:
        also = "" if weighted else ", or a tensor (B, L)"
        raise ValueError(f"feature {name!r} is {type(given).__name__}; valid: {wanted}{also}")
    input, offsets = given[:2]
    ends = torch.cat([offsets, offsets.new_full((1,), len(input))])
    if len(offsets) and int(offsets[0]) != 0:
        raise ValueError(f"offsets of feature {name!r} begin at {int(offsets[0])}; valid: 0")
    return input, ends.diff(), given[2] if weighted else None


class Pooled(torch.autograd.Function):
    """One call of all tables; its backward makes their gradients, or takes their step."""

    @staticmethod
    def forward(
        ctx: Any, module: EmbeddingBags, values: Tensor, offsets: Tensor, psw: Any, *weights: Tensor
    ) -> Tensor:
        ctx.module = module
        ctx.fused = bool(module.optimizer) and weights[0].requires_grad
        ctx.way = resolved(module.implementation, weights[0].is_cuda)
        others = {"values": values, "offsets": offsets, "weights": psw}
        ctx.backend = backend_of(weights[0], others, ctx.way)
        ctx.save_for_backward(values, offsets, psw, *(weights if ctx.needs_input_grad[3] else ()))
        if ctx.fused:
            used_up.note_use(ctx, weights[0])
        with ctx.backend.session(weights[0]):
            return to_tensor(module.tables().output(_arrays(values, offsets, psw), ctx.way))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        module, (values, offsets, psw, *_) = ctx.module, ctx.saved_tensors
        weights, of_psw, of_tables = module.weights, None, [None] * len(module.weights)
        if ctx.fused:
            used_up.check_step(ctx, weights[0])
        elif torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: EmbeddingBags has no second derivative.\n  To mend it: an "
                "embag_edu.nn.EmbeddingBag for each table."
            )
        with ctx.backend.session(weights[0]):
            tables, bags = module.tables(), _arrays(values, offsets, psw)
            upstream = to_array(g.contiguous())
            if ctx.needs_input_grad[3]:  # first of all: it reads the tables before the step
                of_psw = to_tensor(tables.grad_weights(bags, upstream, ctx.way))
            if ctx.fused:
                state = module.state()
                tables.step(bags, upstream, module.optimizer, state, ctx.way)
            else:
                grads = Tables(module.layout, flat=tables.gradient(bags, upstream, ctx.way))
                of_tables = [to_tensor(grads.weight(t)) for t in range(len(weights))]
        if ctx.fused:
            module.taken.steps += 1
            used_up.note_step(ctx, *weights)
        return None, None, None, of_psw, *of_tables


def _arrays(values: Tensor, offsets: Tensor, psw: Tensor | None) -> Jagged:
    return Jagged(to_array(values), to_array(offsets), None if psw is None else to_array(psw))
