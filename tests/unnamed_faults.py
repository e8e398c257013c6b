"""Believable mistakes that no report names as a cause: they show in memory, in calls that are too
large to be tried on `embag_edu.check.faults`, in what is kept from call to call, or in one clause
alone, which says as much as they do.
"""

import numpy as np

from embag_edu.check.faults import EVERY_UPDATE, Remembers, Steps, _with
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


# ---- no more than their clause says ----


class AllErrorsAreValueErrors(Unnamed, caught_by="errors.index_range errors.psw_mode"):
    """every refusal is a ValueError"""

    def understand(self, arguments):
        try:
            return make_call(**arguments)
        except Exception as error:
            raise ValueError(str(error)) from error


class WeightsConverted(Unnamed, caught_by="errors.psw_dtype"):
    """per_sample_weights of another dtype are converted without a word"""

    def read(self, arguments):
        dtype = getattr(arguments["weight"], "dtype", None)
        return _with(arguments, "per_sample_weights", lambda psw: psw.astype(dtype))


class ModeInAnyCase(Unnamed, caught_by="errors.mode"):
    """the mode is taken in any case of letters"""

    def read(self, arguments):
        mode = arguments.get("mode", "mean")
        return arguments | {"mode": mode.lower() if isinstance(mode, str) else mode}


class WeightsInTheMean(Unnamed, caught_by="errors.psw_mode"):
    """per_sample_weights are accepted with mean and max, and not used"""

    def read(self, arguments):
        is_sum = arguments.get("mode", "mean") == "sum"
        return arguments if is_sum else arguments | {"per_sample_weights": None}


class FrequencyRefusedEarly(Unnamed, caught_by="errors.backward.sparse_frequency"):
    """sparse with scale_grad_by_freq is refused at the forward already"""

    def understand(self, arguments):
        call = make_call(**arguments)
        if call.sparse and call.scale_grad_by_freq:
            raise RuntimeError("scale_grad_by_freq not supported with sparse gradients")
        return call


class RenormBeforeChecks(Unnamed, caught_by="always.refused_unchanged"):
    """a call that is refused has already rescaled weight"""

    def understand(self, arguments):
        try:
            return make_call(**arguments)
        except RuntimeError:
            if arguments.get("max_norm") is not None:
                arguments["weight"] *= 0.25
            raise


class StaleAfterRefusal(Unnamed, caught_by="again.refused"):
    """a call after one that was refused gives zeros"""

    def understand(self, arguments):
        refused = self.__dict__.pop("_refused", False)
        self.__dict__["_refused"] = True
        call = make_call(**arguments)
        self.__dict__["_refused"] = False
        self._stale = refused
        return call

    def finish(self, call, output):
        return output * 0 if self._stale else output


class WeightGradientReused(Unnamed, caught_by="again.backward.psw_stay"):
    """the gradient of per_sample_weights is a buffer that the next call writes again"""

    def grad_psw(self, call, upstream):
        found = super().grad_psw(call, upstream)
        kept = self.__dict__.setdefault("_kept", {}).setdefault((found.shape, found.dtype), found)
        kept[...] = found
        return kept


class SparseValuesReused(Unnamed, caught_by="again.backward.results_stay"):
    """the values of a sparse gradient are a buffer that the next call writes again"""

    def finish_sparse(self, call, entries):
        found = super().finish_sparse(call, entries)
        key = (found.values.shape, found.values.dtype)
        kept = self.__dict__.setdefault("_kept", {}).setdefault(key, found.values)
        kept[...] = found.values
        return found._replace(values=kept)


class BufferReused(Unnamed, caught_by="again.results_stay"):
    """the output is a buffer that the next call of this shape writes again"""

    def forward(self, input, weight, **options):
        output = super().forward(input, weight, **options)
        key = (output.shape, output.dtype)
        kept = self.__dict__.setdefault("_buffers", {}).setdefault(key, output)
        kept[...] = output
        return kept


class RenormOnce(Unnamed, caught_by="again.max_norm"):
    """max_norm acts once on each table: a later call finds it done"""

    def renorm(self, call):
        done = self.__dict__.setdefault("_done", {})
        if id(call.weight) not in done:
            super().renorm(call)
        done[id(call.weight)] = call.weight
