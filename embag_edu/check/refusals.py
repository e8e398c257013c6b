"""The calls that must be refused: with which exception, and in which words.

The clauses `errors.*` ask them of an implementation, by the kind of exception. The tests of `spec`
ask them of torch and of `spec` itself, in words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embag_edu.check.cases import TABLE, Arguments

W = np.array(TABLE, np.float32)
INDICES, OFFSETS, PLANE = np.array([0, 1, 2]), np.array([0, 2]), np.array([[0, 1], [2, 3]])
PSW = np.ones(3, np.float32)
LEFT_OUT = object()

TO_INDICES = "Expected tensor for argument #1 'indices' to have one of the following scalar types"
TO_RANGE = "embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be"


class Refusal(NamedTuple):
    """One reason to refuse a call, and calls that have it."""

    name: str  # of the clause: "errors." + name
    rule: str
    source: str
    error: type[Exception]  # torch's
    words: str  # in torch's message and in ours
    calls: dict[str, Arguments]  # a name, and what differs from a good call
    or_words: str = ""  # what torch may say instead
    torch_takes_it: bool = False

    def arguments(self, case: str) -> Arguments:
        """All arguments of a call."""
        good = {"input": INDICES, "weight": W, "offsets": OFFSETS, "mode": "sum"}
        changed = good | self.calls[case]
        return {name: value for name, value in changed.items() if value is not LEFT_OUT}


def plane(**changes: object) -> Arguments:
    """What makes a call 2-D."""
    return {"input": PLANE, "offsets": LEFT_OUT} | changes


REFUSALS = (
    Refusal(
        "not_arrays", "Lists are not arrays.", "spec 3",
        AttributeError, "'list' object has no attribute",
        {"input": {"input": [0, 1, 2]}, "weight": {"weight": TABLE}},
    ),
    Refusal(
        "psw_shape", "per_sample_weights must have the input's shape.", "spec 3, row 1",
        ValueError, "must have the same shape as the",
        {"too short": {"per_sample_weights": PSW[:2]},
         "1-D for 2-D": plane(per_sample_weights=PSW)},
    ),
    Refusal(
        "weight_shape", "weight must be 2-D.", "spec 3, row 2",
        ValueError, "weight has to be a 2D Tensor, but got",
        {"1-D": {"weight": W[0]}, "3-D": {"weight": W[None]}},
    ),
    Refusal(
        "input_shape", "input must be 1-D or 2-D.", "spec 3, row 3f",
        ValueError, "input has to be 1D or 2D Tensor, but got",
        {"0-D": {"input": np.array(1)}, "3-D": plane(input=PLANE[None]),
         "3-D and offsets": {"input": INDICES[None, None]}},
    ),
    Refusal(
        "offsets_with_2d", "A 2-D input takes no offsets.", "spec 3, row 3b",
        ValueError, "if input is 2D, then offsets has to be",
        {"both": {"input": PLANE}},
    ),
    Refusal(
        "offsets_missing", "A 1-D input needs 1-D offsets.", "spec 3, rows 3d, 3e",
        ValueError, "offsets has to be a 1D Tensor",
        {"none": {"offsets": LEFT_OUT}, "2-D": {"offsets": OFFSETS[None]}},
    ),
    Refusal(
        "bags_of_nothing", "A 2-D input of no columns is refused.", "spec 3, row 3c",
        RuntimeError, "step must be nonzero",
        {"3 by 0": plane(input=np.zeros((3, 0), np.int64))},
    ),
    Refusal(
        "bool_input", "A 2-D input of truth values is refused.", "spec 3, row 3c",
        NotImplementedError, "not implemented for",
        {"2 by 2": plane(input=PLANE > 1)},
    ),
    Refusal(
        "mode", "The mode is one of sum, mean and max.", "spec 3, row 4a",
        ValueError, "mode has to be one of sum, mean or max",
        {"capital": {"mode": "Sum"}, "None": {"mode": None}, "min": {"mode": "min"}},
    ),
    Refusal(
        "max_options", "Mode max supports neither scale_grad_by_freq nor sparse.",
        "spec 3, rows 4b, 4c", ValueError, "max mode does not support s",
        {"frequency": {"mode": "max", "scale_grad_by_freq": True},
         "sparse": {"mode": "max", "sparse": True}},
    ),
    Refusal(
        "psw_mode", "per_sample_weights go with mode sum only.", "spec 3, row 6",
        NotImplementedError,
        "per_sample_weights was not None. per_sample_weights is only supported for mode='sum'",
        {"mean": {"mode": "mean", "per_sample_weights": PSW},
         "max": {"mode": "max", "per_sample_weights": PSW},
         "2-D max": plane(mode="max", per_sample_weights=np.ones((2, 2), np.float32))},
    ),
    Refusal(
        "padding_range", "padding_idx lies in [-V, V).", "spec 3, row 7",
        RuntimeError, "padding_idx must be within the number of embeddings, -6 through 5, but got",
        {"V": {"padding_idx": 6}, "-V - 1": {"padding_idx": -7}},
    ),
    Refusal(
        "padding_type", "padding_idx is an int.", "spec 3, row 7",
        TypeError, "must be int, not",
        {"1.0": {"padding_idx": 1.0}, "True": {"padding_idx": True}},
    ),
    Refusal(
        "flag_type", "sparse and scale_grad_by_freq are bool.", "spec 3, row 7",
        TypeError, "must be bool, not int",
        {"sparse": {"sparse": 1}, "frequency": {"scale_grad_by_freq": 1}},
    ),
    Refusal(
        "index_dtype", "input and offsets are integers of 32 or 64 bits.", "spec 3, row 8",
        RuntimeError, TO_INDICES,
        {"float input": {"input": INDICES.astype(np.float32)},
         "float offsets": {"offsets": OFFSETS.astype(np.float32)},
         "int16 both": {"input": INDICES.astype(np.int16), "offsets": OFFSETS.astype(np.int16)}},
    ),
    Refusal(
        "weight_dtype", "weight holds floating-point numbers.", "spec 3, row 9",
        RuntimeError,
        "Expected tensor for argument #1 'weight' to have one of the following scalar types: Half",
        {"int32": {"weight": W.astype(np.int32)}},
    ),
    Refusal(
        "first_offset", "The first offset is 0.", "spec 3, row 10",
        RuntimeError,
        "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from",
        {"starts at 1": {"offsets": np.array([1, 2])},
         "negative": {"offsets": -OFFSETS[1:]},
         "1 with the end": {"offsets": np.array([1, 3]), "include_last_offset": True}},
    ),
    Refusal(
        "last_offset", "No bag starts behind the end of the input.", "spec 3, row 11",
        RuntimeError,
        "offsets[-1] can not be greater than input's length 3 but got offsets[-1] of 4",
        {"4 of 3": {"offsets": np.array([0, 4])},
         "4 as the end": {"offsets": np.array([0, 2, 4]), "include_last_offset": True}},
    ),
    Refusal(
        "psw_dtype", "per_sample_weights have weight's dtype.", "spec 3, row 12",
        RuntimeError,
        "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1",
        {"float64 with float32": {"per_sample_weights": PSW.astype(np.float64)}},
    ),
    Refusal(
        "no_last_offset", "include_last_offset needs at least one offset.", "spec 3, row 13",
        RuntimeError, "include_last_offset: number of offset should be at least 1",
        {"empty": {"offsets": OFFSETS[:0], "include_last_offset": True}},
    ),
    Refusal(
        "index_range",
        "An index outside [0, V) is refused; negative ones do not count from the end.",
        "spec 3, row 14", RuntimeError, TO_RANGE,
        {"V": {"input": np.array([0, 6, 1])},
         "-1": {"input": np.array([0, -1, 1])},
         "-1 in max": {"input": np.array([0, -1, 1]), "mode": "max"},
         "V with padding": {"input": np.array([0, 6, 1]), "padding_idx": 1},
         "V in mean": {"input": np.array([0, 6, 1]), "mode": "mean"},
         "V in max": {"input": np.array([0, 6, 1]), "mode": "max"},
         "V, last": {"input": np.array([0, 1, 6])},
         "-1 in mean": {"input": np.array([0, -1, 1]), "mode": "mean"},
         "-1 where padding_idx is -1": {"input": np.array([0, -1, 1]), "padding_idx": -1},
         "-1 with weights": {"input": np.array([0, -1, 1]), "per_sample_weights": PSW},
         "-1 in 2-D": plane(input=np.array([[0, -1], [1, 2]])),
         "V in int32": {"input": np.array([0, 6], np.int32), "offsets": np.array([0], np.int32)}},
        or_words="which is not in the valid range",
    ),
    Refusal(
        "max_norm_range", "With max_norm, an index too large is an IndexError.", "spec 3, row 5",
        IndexError, "index 6 out of range",
        {"V": {"input": np.array([0, 6, 1]), "max_norm": 1.0}},
    ),
    Refusal(
        "max_norm_dtype", "With max_norm, input is of 32 or 64 bits whatever offsets are.",
        "spec 3, row 5", RuntimeError, "(while checking arguments for embedding_renorm_)",
        {"int16": {"input": INDICES.astype(np.int16), "max_norm": 1.0}},
    ),
    Refusal(
        "max_norm_type", "max_norm and norm_type are numbers.", "spec 3, row 5",
        TypeError, "must be float, not str",
        {"max_norm": {"max_norm": "1"}, "norm_type": {"max_norm": 1.0, "norm_type": "x"}},
    ),
    Refusal(
        "offsets_decrease", "Offsets must not decrease.", "spec 4; stricter than torch",
        RuntimeError, "pytorch#55549",
        {"0, 2, 1": {"offsets": np.array([0, 2, 1]), "weight": W.astype(np.float64)}},
        torch_takes_it=True,
    ),
    Refusal(
        "trailing_positions",
        "With include_last_offset, the last offset is the number of positions.",
        "spec 4; stricter than torch", RuntimeError, "pytorch#191965",
        {f"2 of 3, {mode}": {"include_last_offset": True, "mode": mode}
         for mode in ("sum", "mean", "max")},
        torch_takes_it=True,
    ),
    Refusal(
        "positions_without_bag", "Empty offsets with positions are refused.",
        "spec 4; stricter than torch", RuntimeError, "pytorch#175370",
        {"no offsets, 3 positions": {"offsets": OFFSETS[:0]}},
        torch_takes_it=True,
    ),
)  # fmt: skip
