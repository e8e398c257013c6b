"""Believable mistakes that no report names as a cause: they show in memory, in calls that are too
large to be tried on `embag_edu.check.faults`, or in what is kept from call to call.
"""

import numpy as np

from embag_edu.check.faults import EVERY_UPDATE, Remembers, Steps
from embag_edu.spec import Gradients, make_call

UNNAMED = []


class Unnamed(Steps):
    """A mistake. The class keyword `caught_by` names the clauses that must notice it."""

    def __init_subclass__(cls, caught_by):
        cls.caught_by = caught_by.split()
        UNNAMED.append(cls)


class OutputIsAView(Unnamed, caught_by="always.fresh_output"):
    """the output of a bag of one row shares memory with weight"""

    def forward(self, input, weight, **options):
        output = super().forward(input, weight, **options)
        alone = np.size(input) == len(output) == 1
        return weight[int(np.ravel(input)[0])][None] if alone else output


class OutputNotContiguous(Unnamed, caught_by="always.fresh_output"):
    """the output is not contiguous in memory"""

    def finish(self, call, output):
        return np.asfortranarray(output)


class InputSorted(Unnamed, caught_by="always.inputs_unchanged"):
    """input is sorted in place"""

    def forward(self, input, weight, **options):
        output = super().forward(input, weight, **options)
        input.sort()
        return output


class GradOutputDivided(Unnamed, caught_by="always.inputs_unchanged"):
    """grad_output is divided in place"""

    def backward(self, grad_output, input, weight, **options):
        gradients = super().backward(grad_output, input, weight, **options)
        if grad_output.flags.writeable:
            grad_output /= 2
        return gradients


class WeightGradientIsAView(Unnamed, caught_by="always.fresh_output"):
    """the gradient of per_sample_weights is written over per_sample_weights"""

    def backward(self, grad_output, input, weight, **options):
        gradients = super().backward(grad_output, input, weight, **options)
        psw = options.get("per_sample_weights")
        if psw is None or not psw.flags.writeable:
            return gradients
        psw[...] = gradients.per_sample_weights
        return Gradients(gradients.weight, psw)


class GradientAccumulates(Unnamed, caught_by="again.backward.same_call"):
    """the gradient is added to the gradient of the call before"""

    def start_gradient(self, call):
        kept = self.__dict__.setdefault("_kept", {})
        key = (call.weight.shape, str(call.accumulator))
        return kept.setdefault(key, super().start_gradient(call))


class BagsIn16Bits(Unnamed, caught_by="sizes.large"):
    """the number of bags is kept in 16 bits: what is beyond is never computed"""

    def row_of_bag(self, call, bag):
        return super().row_of_bag(call, bag) if bag < 65535 else 0


class PositionsIn16Bits(Unnamed, caught_by="sizes.large sizes.backward.large"):
    """positions and counts are kept in 16 bits with a sign"""

    def divisor(self, call, bag, members):
        return int(np.array(len(members)).astype(np.int16))

    def winner_of_rows(self, rows):
        return super().winner_of_rows(rows).astype(np.int16) % len(rows)


class RowsIn16Bits(Unnamed, caught_by="sizes.backward"):
    """the backward keeps row numbers in 16 bits"""

    def entries(self, call, upstream):
        return [(row & 0xFFFF, share) for row, share in super().entries(call, upstream)]


class PaddingIn16Bits(Unnamed, caught_by="sizes.rows"):
    """padding_idx is kept in 16 bits"""

    def understand(self, arguments):
        call = make_call(**arguments)
        if call.padding_idx is not None:
            object.__setattr__(call, "padding_idx", call.padding_idx & 0xFFFF)
        return call


class RenormOfTheFirst256(Unnamed, caught_by="sizes.max_norm"):
    """max_norm rescales 256 rows at most"""

    def rows_to_rescale(self, call):
        return super().rows_to_rescale(call)[:256]


class RememberedByEnds(Remembers, Unnamed, caught_by=EVERY_UPDATE):
    """results are remembered by shape, first and last number of each array"""

    def key(self, name, value):
        if not isinstance(value, np.ndarray) or value.size == 0:
            return str(value)
        return value.shape, value.dtype, value.flat[0].tobytes(), value.flat[-1].tobytes()


class RememberedBySum(Remembers, Unnamed, caught_by=EVERY_UPDATE):
    """results are remembered by the shape and the sum of each array"""

    def key(self, name, value):
        if not isinstance(value, np.ndarray) or value.size == 0:
            return str(value)
        return value.shape, value.dtype, str(value.astype(np.float64).sum())


class OptionsForgotten(
    Remembers, Unnamed, caught_by="again.options_changed again.backward.options_changed"
):
    """results are remembered by the arrays, whatever the options are"""

    def key(self, name, value):
        return super().key(name, value) if isinstance(value, np.ndarray) else None
