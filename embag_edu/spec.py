"""What a call of `embedding_bag` means: the arguments, checked and put into one form.

`make_call` takes the arguments of `torch.nn.functional.embedding_bag` as NumPy arrays and returns a
`Call`. Every error about the values of a call is raised here and nowhere else, in torch's order and
with torch's exception types, before anything is computed or changed. (`nn` refuses what only a
tensor can be wrong in, such as a sparse table.) An implementation gets a `Call` and need not look
at an argument again: `Implementation` says what it has to offer.

Each message starts with torch's own words, so that a search for them finds the same explanations,
and goes on with what torch leaves out: the value found, the valid range, a likely fix.

Two rules are stricter than torch's (see `python -m embag_edu ledger`): offsets must not decrease,
and with include_last_offset the last offset must be the number of positions.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

MODES = ("sum", "mean", "max")
INDEX_DTYPES = ("int32", "int64")
PROMOTED = ("bool", "uint8", "int8", "int16", *INDEX_DTYPES)  # which torch promotes to one of them
FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
ARRAYS = (np.ndarray,)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
NOBODY = -1  # the winner where nobody won: an empty bag, or one of padding only


class Gradients(NamedTuple):
    """What a backward returns."""

    weight: Any  # (V, D) array, or a SparseGradient when the call says sparse=True
    per_sample_weights: np.ndarray | None  # the shape of the input; None without per_sample_weights


class SparseGradient(NamedTuple):
    """A gradient of weight as torch's sparse COO form has it: one entry per counted position.

    Positions stand in the order of the input, repeated rows stay repeated ("uncoalesced") and
    padding is left out. The dense gradient is the sum of all entries of each row.
    """

    indices: np.ndarray  # (1, nnz) int64: the row of each entry
    values: np.ndarray  # (nnz, D) in weight's dtype
    shape: tuple[int, int]  # (V, D)


class NotAnArray(TypeError, AttributeError):
    """An argument is not an array. torch says AttributeError, Python's habit is TypeError: both."""


@dataclass(frozen=True, eq=False)
class Call:
    """One checked call. Bag b holds the positions offsets[b] up to, not including, offsets[b+1].

    The letters of the book: N positions, B bags, V rows in the table, D features in a row.
    """

    indices: np.ndarray  # (N,) int32 or int64, each in [0, V)
    offsets: np.ndarray  # (B + 1,) int64, from 0 to N, never decreasing
    weight: np.ndarray  # (V, D), the caller's own array: max_norm changes it in place
    per_sample_weights: np.ndarray | None  # (N,) in weight's dtype
    mode: str
    padding_idx: int | None  # in [0, V), already counted from the front
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool
    input_shape: tuple[int, ...]  # (N,) or (B, L): the shape of per_sample_weights' gradient

    @property
    def num_positions(self) -> int:
        """N."""
        return len(self.indices)

    @property
    def num_bags(self) -> int:
        """B."""
        return len(self.offsets) - 1

    @property
    def num_embeddings(self) -> int:
        """V."""
        return int(self.weight.shape[0])

    @property
    def embedding_dim(self) -> int:
        """D."""
        return int(self.weight.shape[1])

    @property
    def dtype(self) -> np.dtype:
        """Of weight, and so of the output."""
        dtype: np.dtype = self.weight.dtype
        return dtype

    @property
    def accumulator(self) -> np.dtype:
        """The dtype that sums are kept in: float64 for float64, float32 for everything narrower."""
        return FLOAT64 if self.weight.dtype.itemsize == 8 else FLOAT32


class Saved(NamedTuple):
    """What a backward needs to know of its forward. Arrays lie where the call's do."""

    bag_sizes: Any = None  # (B,) int64, mode mean: the positions of each bag that are not padding
    winners: Any = None  # (B, D) integers, mode max: the row that won each feature, or NOBODY
    checked: Any = None  # of `cuda`: the call without its bad indices, if they are told later


class Implementation(Protocol):
    """What a module has to offer to be one more implementation: `loops` is the one to read.

    The arguments have been checked. Arrays of NumPy give arrays of NumPy; an implementation for a
    GPU may take and give arrays that lie there. Nothing is changed but what `renorm` rescales.
    """

    def forward(self, call: Call) -> tuple[Any, Saved]:
        """The output, (B, D) in weight's dtype, and what the backward needs; `renorm` first."""

    def renorm(self, call: Call) -> None:
        """Rescale in `call.weight`, once, each row that occurs and is longer than max_norm."""

    def grad_weight(self, call: Call, saved: Saved, grad_output: Any) -> Any:
        """The gradient of weight: (V, D) in its dtype, or with call.sparse a SparseGradient."""

    def grad_per_sample_weights(self, call: Call, saved: Saved, grad_output: Any) -> Any:
        """The gradient of per_sample_weights, in the shape of the input and weight's dtype."""


def bag_sizes(call: Call) -> np.ndarray:
    """(B,) int64: the positions of each bag that are not padding."""
    sizes = np.diff(call.offsets)
    if call.padding_idx is not None:
        padding = np.flatnonzero(call.indices == call.padding_idx)
        sizes -= np.diff(np.searchsorted(padding, call.offsets))
    return sizes


def make_call(
    input: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Call:
    """Check the arguments of torch's `embedding_bag` in torch's order and return them as a `Call`.

    input:   (N,) with offsets, or (B, L): B bags of L positions. int32 or int64.
    weight:  (V, D), float16, bfloat16, float32 or float64.
    offsets: (B,), the start of each bag; (B + 1,) with include_last_offset.
    per_sample_weights: input's shape and weight's dtype; mode "sum" only.
    Arrays may have any strides and byte order.

    Raises ValueError, RuntimeError, IndexError, NotImplementedError or TypeError as torch does.
    Nothing is computed and nothing is changed when it raises.
    """
    input, given = _in_todays_order(input, weight)
    input, weight, offsets, psw = _arrays(
        input=input, weight=given, offsets=offsets, per_sample_weights=per_sample_weights
    )
    _check_weights_shape(psw, input)
    _check_weight_shape(weight)
    _check_layout(input, offsets)
    _check_mode(mode, scale_grad_by_freq, sparse)
    if max_norm is not None:
        weight = np.asarray(given)  # the caller's own, whatever its byte order: rows of it change
        _check_renorm(input, weight, max_norm, norm_type)
        _check_in_place(weight)
    _check_weights_mode(psw, mode)
    _check_flags(scale_grad_by_freq, sparse, include_last_offset)
    padding_idx = _wrapped_padding(padding_idx, len(weight))
    indices, starts = _positions(input, offsets)
    _check_weight_dtype(weight)
    _check_ends(starts, len(indices))
    _check_weights_dtype(psw, weight)
    if input.ndim == 1:
        starts = _with_end(starts, len(indices), include_last_offset)
        _check_order(starts)
    _check_range(indices, len(weight))
    return Call(
        indices=indices,
        offsets=starts,
        weight=weight,
        per_sample_weights=None if psw is None else psw.reshape(-1),
        mode=mode,
        padding_idx=padding_idx,
        max_norm=None if max_norm is None else _as_float(max_norm),
        norm_type=_as_float(norm_type) if max_norm is not None else 2.0,
        scale_grad_by_freq=scale_grad_by_freq,
        sparse=sparse,
        input_shape=input.shape,
    )


def check_backward(call: Call, grad_output: np.ndarray) -> np.ndarray:
    """grad_output as an implementation takes it; or what torch raises when a backward starts.

    That is a gradient of another shape or dtype, or spec 3, row 15.
    """
    (grad_output,) = _arrays(grad_output=grad_output)
    expected = (call.num_bags, call.embedding_dim)
    if grad_output.shape != expected:
        _fail(
            RuntimeError,
            f"Mismatch in shape: grad_output has a shape of {grad_output.shape} "
            f"and output has a shape of {expected}",
            "one upstream gradient for each value of the output, (B, D)",
        )
    if _name(grad_output.dtype) != _name(call.weight.dtype):
        _fail(
            RuntimeError,
            f"grad_output has dtype {grad_output.dtype}, the output has {call.weight.dtype}",
            f"grad_output.astype(output.dtype), which is {call.weight.dtype}",
        )
    if call.sparse and call.scale_grad_by_freq:
        _fail(
            RuntimeError,
            "embedding_backward: scale_grad_by_freq not supported with sparse gradients",
            "sparse=False, or scale_grad_by_freq=False (torch, too, says so only at the backward)",
        )
    return grad_output


def check_indices(call: Call) -> None:
    """Look at the indices once more: they may lie in memory that others have written to since."""
    _check_range(call.indices, call.num_embeddings)


def _fail(error: type[Exception], torchs_words: str, fix: str) -> NoReturn:
    raise error(f"{torchs_words}\n  To mend it: {fix}.")


def _in_todays_order(input: Any, weight: Any) -> tuple[Any, Any]:
    """Swap the deprecated order (weight, input), which torch still takes with a warning."""
    old_order = (
        isinstance(weight, ARRAYS)
        and isinstance(input, ARRAYS)
        and weight.dtype == np.int64
        and (input.dtype.kind == "f" or _name(input.dtype) == "bfloat16")
    )
    if not old_order:
        return input, weight
    warnings.warn(
        "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, "
        "input, ...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.",
        UserWarning,
        stacklevel=4,
    )
    return weight, input


def _arrays(**arguments: Any) -> list[Any]:
    """The arguments as plain arrays in this machine's byte order; only for that they are copied."""
    return [_array(name, value) for name, value in arguments.items()]


def _array(name: str, value: Any) -> Any:
    if type(value) is np.ndarray and value.dtype.isnative:
        return value
    if isinstance(value, np.ma.MaskedArray):
        _fail(
            NotAnArray,
            f"{name} must be a NumPy array, not a MaskedArray: what is masked has no meaning here",
            f"{name}.filled(value); or leave out what is masked",
        )
    if isinstance(value, ARRAYS):
        return _native(np.asarray(value))
    if value is None and name in ("offsets", "per_sample_weights"):
        return None
    kind = type(value).__name__
    _fail(
        NotAnArray,
        f"'{kind}' object has no attribute 'dim': {name} must be a NumPy array, not a {kind}",
        f"np.asarray({name}), or {name}.numpy() for a torch tensor",
    )


@functools.lru_cache(maxsize=64)
def _name(dtype: np.dtype) -> str:
    """The dtype's name, whatever its byte order. NumPy takes longer to make it than to add up."""
    return str(dtype.name)


def _native(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_weights_shape(psw: np.ndarray | None, input: np.ndarray) -> None:
    if psw is not None and psw.shape != input.shape:
        _fail(
            ValueError,
            f"embedding_bag: If per_sample_weights ({psw.shape}) is not None, then it must have "
            f"the same shape as the input ({input.shape})",
            "one weight for each position of input, in the same layout",
        )


def _check_weight_shape(weight: np.ndarray) -> None:
    if weight.ndim != 2:
        _fail(
            ValueError,
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}",
            f"weight is the table, of shape (V, D); found shape {weight.shape}",
        )


def _check_layout(input: np.ndarray, offsets: np.ndarray | None) -> None:
    if input.ndim == 2:
        _check_two_dimensional(input, offsets)
    elif input.ndim != 1:
        _fail(
            ValueError,
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}",
            f"(N,) with offsets, or (B, L); found shape {input.shape}",
        )
    elif offsets is None:
        _fail(
            ValueError,
            "offsets has to be a 1D Tensor but got None",
            "a 1-D input needs the start of each bag; np.array([0]) makes all of it one bag",
        )
    elif offsets.ndim != 1:
        _fail(
            ValueError,
            "offsets has to be a 1D Tensor",
            f"one start for each bag, shape (B,); found shape {offsets.shape}",
        )


def _check_two_dimensional(input: np.ndarray, offsets: np.ndarray | None) -> None:
    if offsets is not None:
        _fail(
            ValueError,
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
            f"fixed length sequences. However, found offsets of type {type(offsets)}",
            "leave offsets out, or flatten input and keep them",
        )
    if input.dtype == np.bool_:
        _fail(
            NotImplementedError,
            "\"arange_cpu\" not implemented for 'Bool'",
            "input holds row numbers, int32 or int64; np.flatnonzero(mask) makes them of a mask",
        )
    if input.shape[1] == 0:
        _fail(
            RuntimeError,
            "step must be nonzero",
            f"input has shape {input.shape}: bags of no position. torch fails by accident here and "
            "so do we; for empty bags give an empty 1-D input and offsets of zeros",
        )


def _check_mode(mode: Any, scale_grad_by_freq: Any, sparse: Any) -> None:
    if mode not in MODES:
        _fail(
            ValueError,
            "mode has to be one of sum, mean or max",
            f"found {mode!r}; the three are lower-case strings",
        )
    if mode == "max" and scale_grad_by_freq:
        _fail(
            ValueError,
            "max mode does not support scaling the gradient by the frequency",
            "scale_grad_by_freq=False, or mode='sum' or 'mean'",
        )
    if mode == "max" and sparse:
        _fail(
            ValueError,
            "max mode does not support sparse weights",
            "sparse=False, or mode='sum' or 'mean'",
        )


def _check_renorm(input: np.ndarray, weight: np.ndarray, max_norm: Any, norm_type: Any) -> None:
    """What torch checks while it rescales rows. We check before, so nothing is half-changed."""
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if not _is_number(value):
            _fail(
                TypeError,
                f"embedding_renorm_(): argument '{name}' must be float, not {type(value).__name__}",
                f"a number; found {value!r}",
            )
    _check_index_dtype(input.dtype, "embedding_renorm_", argument=2)
    if _name(weight.dtype) not in FLOAT_DTYPES:
        _fail(
            RuntimeError,
            "norm(): input dtype should be either floating point or complex. "
            f"Got {weight.dtype.name} instead",
            f"weight.astype(np.float32); the dtypes are {', '.join(FLOAT_DTYPES)}",
        )
    _check_renorm_range(input, *weight.shape)


def _check_renorm_range(input: np.ndarray, rows: int, features: int) -> None:
    if input.size == 0 or (input.min() >= -rows and input.max() < rows):
        return
    # -V to -1 wrap here in torch, and are refused later, by _check_range.
    for index in np.sort(input[(input < -rows) | (input >= rows)])[:1]:
        _fail(
            IndexError,
            f"select(): index {index} out of range for tensor of size "
            f"[{rows}, {features}] at dimension 0",
            f"input holds row numbers from 0 to {rows - 1}",
        )


def _check_in_place(weight: np.ndarray) -> None:
    """max_norm rescales rows in the caller's own table."""
    if not weight.flags.writeable:
        _fail(
            ValueError,
            "weight is read-only, and max_norm rescales its rows in place",
            "weight.copy(), or max_norm=None",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def _as_float(value: Any) -> float:
    """As a float; a whole number that is larger than all floats is infinite."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _check_weights_mode(psw: np.ndarray | None, mode: str) -> None:
    if psw is not None and mode != "sum":
        _fail(
            NotImplementedError,
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}')",
            "mode='sum'; for a weighted mean divide the weights by their sum in each bag first",
        )


def _check_flags(scale_grad_by_freq: Any, sparse: Any, include_last_offset: Any) -> None:
    flags = {
        "scale_grad_by_freq": scale_grad_by_freq,
        "sparse": sparse,
        "include_last_offset": include_last_offset,
    }
    for name, value in flags.items():
        if not isinstance(value, bool):
            _fail(
                TypeError,
                f"embedding_bag(): argument '{name}' must be bool, not {_type_name(value)}",
                f"True or False; found {value!r}",
            )


def _type_name(value: Any) -> str:
    """ "bool" for Python's, "numpy.bool" for NumPy's."""
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__


def _wrapped_padding(padding_idx: Any, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if isinstance(padding_idx, bool) or not isinstance(padding_idx, (int, np.integer)):
        _fail(
            TypeError,
            "embedding_bag(): argument 'padding_idx' must be int, "
            f"not {type(padding_idx).__name__}",
            f"a row number; found {padding_idx!r}",
        )
    if not -rows <= padding_idx < rows:
        _fail(
            RuntimeError,
            f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, "
            f"but got {padding_idx}",
            "negative numbers count from the end of the table, -1 is its last row",
        )
    return int(padding_idx) % rows


def _positions(input: np.ndarray, offsets: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices, and the offsets as int64: for a 2-D input with the end already included."""
    dtype = input.dtype
    if offsets is not None:
        for name, given in (("input", input.dtype), ("offsets", offsets.dtype)):
            if _name(given) not in PROMOTED:
                _check_index_dtype(given, "embedding_bag", argument=1, name=name)
        # torch promotes the two to one type and looks at that: int16 with int64 offsets is int64.
        dtype = np.promote_types(input.dtype, offsets.dtype)
    _check_index_dtype(dtype, "embedding_bag", argument=1)
    indices = np.ascontiguousarray(input, dtype).reshape(-1)
    if offsets is None:
        bags, length = input.shape
        return indices, np.arange(0, bags * length + 1, length, dtype=np.int64)
    return indices, offsets.astype(np.int64, copy=False)


def _check_index_dtype(dtype: np.dtype, caller: str, argument: int, name: str = "input") -> None:
    if _name(dtype) not in INDEX_DTYPES:
        _fail(
            RuntimeError,
            f"Expected tensor for argument #{argument} 'indices' to have one of the following "
            f"scalar types: Long, Int; but got {dtype.name} instead "
            f"(while checking arguments for {caller})",
            f"{name}.astype(np.int64); input and offsets hold row numbers and positions, int64 or "
            "int32",
        )


def _check_weight_dtype(weight: np.ndarray) -> None:
    if _name(weight.dtype) not in FLOAT_DTYPES:
        _fail(
            RuntimeError,
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: "
            f"Half, BFloat16, Float, Double; but got {weight.dtype.name} instead "
            "(while checking arguments for embedding_bag)",
            f"weight.astype(np.float32); the dtypes are {', '.join(FLOAT_DTYPES)}",
        )


def _check_ends(starts: np.ndarray, positions: int) -> None:
    if len(starts) and starts[0] != 0:
        _fail(
            RuntimeError,
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {starts[0]}",
            "offsets are the starts of the bags, not their lengths: "
            "starts = np.cumsum(lengths) - lengths",
        )
    if len(starts) and starts[-1] > positions:
        _fail(
            RuntimeError,
            f"offsets[-1] can not be greater than input's length {positions} but got offsets[-1] "
            f"of {starts[-1]}",
            "a bag can't start behind the end of input; perhaps input was cut shorter than offsets",
        )


def _check_weights_dtype(psw: np.ndarray | None, weight: np.ndarray) -> None:
    if psw is not None and _name(psw.dtype) != _name(weight.dtype):
        _fail(
            RuntimeError,
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument "
            f"#1 'per_sample_weights'; but type {weight.dtype.name} does not equal "
            f"{psw.dtype.name} (while checking arguments for embedding_bag)",
            f"per_sample_weights.astype(weight.dtype), which is {weight.dtype.name}",
        )


def _with_end(starts: np.ndarray, positions: int, include_last_offset: bool) -> np.ndarray:
    """Offsets of B + 1 entries, whichever of the two forms they came in."""
    if include_last_offset and len(starts) == 0:
        _fail(
            RuntimeError,
            "include_last_offset: number of offset should be at least 1",
            "B bags have B + 1 offsets here; for no bag at all: offsets = [0]",
        )
    if include_last_offset and starts[-1] != positions:
        _fail(
            RuntimeError,
            f"include_last_offset: the last offset has to be input's length {positions}, but got "
            f"offsets[-1] of {starts[-1]}",
            "append len(input) to offsets, or cut input there. torch accepts this call and gives "
            "it different meanings by mode, dtype and device (pytorch#191965)",
        )
    if len(starts) == 0 and positions > 0:
        _fail(
            RuntimeError,
            f"offsets is empty, but input has {positions} positions that no bag holds",
            "offsets = [0] makes them one bag. torch returns no bag here, or crashes "
            "(pytorch#175370)",
        )
    if include_last_offset:
        return starts.copy()  # a checked call keeps no memory of the caller's
    ends = np.empty(len(starts) + 1, np.int64)
    ends[:-1], ends[-1] = starts, positions
    return ends


def _check_order(starts: np.ndarray) -> None:
    falls = starts[1:] < starts[:-1]
    if falls.any():
        bag = falls.argmax()
        _refuse_order(bag, starts[bag], starts[bag + 1])


def _refuse_order(bag: Any, start: Any, following: Any) -> NoReturn:
    _fail(
        RuntimeError,
        f"offsets must not decrease: offsets[{bag}] is {start}, and the next is {following}",
        "offsets are the starts of the bags in order; equal neighbors make an empty bag. "
        "torch does not check this and reads what it finds (pytorch#55549)",
    )


def _check_range(indices: np.ndarray, rows: int) -> None:
    # Without a sign, a negative number is larger than any row: one look at them is enough.
    unsigned = indices.view(np.uint64 if indices.itemsize == 8 else np.uint32)
    if indices.size == 0 or unsigned.max() < rows:
        return
    for position in np.flatnonzero((indices < 0) | (indices >= rows))[:1]:
        _refuse_index(position, indices[position], rows)


def _refuse_index(position: Any, index: Any, rows: int) -> NoReturn:
    _fail(
        RuntimeError,
        f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {index}",
        f"position {position} of input must be a row of the table, in [0, {rows}); negative "
        "numbers do not count from the end here",
    )
