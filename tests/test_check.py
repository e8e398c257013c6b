"""The checker itself: what it must accept, what it must reject, and how it says so."""

import json
import os
import re
import sys
from collections import Counter

import numpy as np
import pytest
import torch
import troubles
from unnamed_faults import UNNAMED

import embag_edu
from embag_edu.check import CheckFailed, NotSupported, all_clauses, check, pairs, replay
from embag_edu.check.candidate import PROTOCOLS, Outcome, Trouble
from embag_edu.check.cases import count_bags
from embag_edu.check.checker import Trial
from embag_edu.check.clauses import find
from embag_edu.check.compare import assert_equal, difference
from embag_edu.check.faults import FAULTS, Steps
from embag_edu.check.oracle import expect
from embag_edu.check.promise import EVERYTHING
from embag_edu.check.report import (
    AS_TORCH,
    FAILS,
    HOLDS,
    NOT_ASKED,
    NOT_SUPPORTED,
    REFUSES,
    ClauseResult,
    Report,
)
from embag_edu.check.worker import Local, NotLoadable, Worker, _place

torchs_own = torch.nn.functional.embedding_bag


def rejected_by(pair, **options):
    options = {"supports": EVERYTHING, "same_errors": True} | options
    report = check(pair, isolate=False, raises=False, explain=False, **options)
    return {result.clause.name for result in report.failed}


# ---- what is right is accepted --------------------------------------------------------------


def test_the_loops_pass_every_clause():
    report = check("loops", isolate=False)
    asked = [clause for clause in all_clauses() if not clause.for_torch]
    assert report.counts() == {"holds": len(asked), NOT_ASKED: len(all_clauses()) - len(asked)}


def test_the_steps_that_the_faults_break_pass_every_clause():
    steps = Steps()
    report = check((steps.forward, steps.backward), isolate=False, same_errors=True)
    others = {"not promised": 1, NOT_ASKED: 3}
    assert report.counts() == {HOLDS: len(all_clauses()) - 4} | others


def test_torch_passes_everything_outside_the_ledger():
    report = check(torchs_own, isolate=False, supports=EVERYTHING, same_errors=True)
    assert report.passed
    excused = {result.clause.name for result in report.results if result.status == AS_TORCH}
    assert {"backward.frequency", "errors.trailing_positions"} <= excused
    assert report.counts()["holds"] + len(excused) == len(all_clauses())


def test_another_order_of_additions_is_accepted():
    class Backwards(Steps):
        def add(self, terms):
            return super().add(terms[::-1])

        def entries(self, call, upstream):
            entries = super().entries(call, upstream)
            return entries if call.sparse else entries[::-1]

    pair = Backwards()
    assert check((pair.forward, pair.backward), isolate=False).passed


def test_a_more_exact_result_is_accepted():
    """float32 sums in float64, rounded once: further from torch than torch is from the truth."""

    def exact(input, weight, offsets=None, **options):
        weights = options.pop("per_sample_weights", None)
        if weights is not None:
            options["per_sample_weights"] = weights.astype(np.float64)
        wide = weight.astype(np.float64)
        return embag_edu.embedding_bag(input, wide, offsets, **options).astype(weight.dtype)

    assert check(exact, "numbers.long_bag", isolate=False).passed
    assert check(exact, "forward", isolate=False).passed


# ---- what is wrong is rejected --------------------------------------------------------------


def test_there_are_at_least_sixty_faults():
    assert len(FAULTS) >= 60
    assert len({fault.mistake() for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS + UNNAMED, ids=lambda fault: fault.__name__)
def test_every_fault_is_rejected_by_the_clauses_that_name_it(fault):
    wrong = fault()
    pair = (wrong.forward, wrong.backward)
    accepted = [name for name in fault.caught_by if name not in rejected_by(pair, only=name)]
    assert not accepted


def causes(fault, only):
    """How often which cause is named, over the clauses that fail; "" for none."""
    wrong = fault()
    report = check((wrong.forward, wrong.backward), only, isolate=False, raises=False)
    return Counter(r.failure.cause if r.failure.likely else "" for r in report.failed)


SOME = ["LastBagDropped", "PaddingInTheMean", "RenormOfACopy", "TiesAreSplit", "WeightsOfTheBag",
        "InputStridesIgnored", "SparseSorted"]  # fmt: skip
ALL = pytest.param([fault.__name__ for fault in FAULTS], True, marks=pytest.mark.adversary)


@pytest.mark.parametrize("names, whole_table", [(SOME, False), ALL], ids=["some", "all"])
def test_a_likely_cause_is_the_right_one_and_mostly_named(names, whole_table):
    total = Counter()
    for fault in (fault for fault in FAULTS if fault.__name__ in names):
        found = causes(fault, None if whole_table else fault.caught_by)
        right, none = found.pop(fault.mistake(), 0), found.pop("", 0)
        total += Counter(right=right, none=none, wrong=found.total())
        print(fault.__name__, right, none, found)
    print(total)
    assert total["wrong"] <= 0.05 * (total["right"] + total["wrong"])
    assert total["right"] >= 0.9 * total.total()


def test_calls_that_raise_do_not_speak_against_a_cause():
    """reduceat raises where the last bag is empty."""

    def bag(input, weight, offsets, mode="sum"):
        return np.add.reduceat(weight[input], offsets, axis=0)

    (result,) = check(bag, "bags.empty", isolate=False, raises=False).failed
    assert result.failure.likely and "as np.add.reduceat does" in result.failure.cause


def test_a_mistake_that_is_not_known_has_no_likely_cause(monkeypatch):
    for fault in (fault for fault in FAULTS if fault.__name__ in SOME[:1] + SOME[3:]):
        others = [other for other in FAULTS if other is not fault]
        monkeypatch.setattr("embag_edu.check.causes.FAULTS", others)
        assert set(causes(fault, fault.caught_by)) == {""}, fault.__name__


def numpy_bag(input, weight, offsets=None, **options):
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def test_subclasses_of_arrays_are_no_arrays():
    def matrix(*arguments, **options):
        return np.matrix(embag_edu.embedding_bag(*arguments, **options))

    assert "forward.sum" in rejected_by(matrix, only="forward.sum", arrays="numpy")


def test_endless_recursion_is_no_refusal():
    def deeper(*arguments, **options):
        return deeper(*arguments, **options)

    assert "errors.index_range" in rejected_by(deeper, only="errors", arrays="numpy")


def test_none_text_and_short_tuples_are_no_outputs():
    for wrong in (lambda *a, **k: None, lambda *a, **k: "x", lambda *a, **k: (1, 2)):
        assert "forward.sum" in rejected_by(wrong, only="forward.sum", arrays="numpy")


def remembered(by):
    """torch's own function, with the outputs of earlier calls."""
    table = {}

    def bag(input, weight, offsets=None, **options):
        given = {"input": input, "weight": weight, "offsets": offsets, **options}
        key = tuple(by(v) if isinstance(v, torch.Tensor) else (n, v) for n, v in given.items())
        if key not in table or options.get("max_norm") is not None:
            table[key] = torchs_own(**given), given
        return table[key][0]

    return bag


@pytest.mark.parametrize("by", [id, lambda tensor: (tensor.data_ptr(), tensor.shape)])
def test_tensors_that_are_updated_are_not_remembered(by):
    failed = rejected_by(remembered(by), only="again", arrays="torch")
    assert failed >= {"again.weight_updated", "again.indices_updated", "again.backward.updated"}


def test_values_that_differ_never_look_alike():
    pairs = [(-2.0, np.nextafter(-2.0, 0)), ("a", "a "), (1, 2)]
    for one, other in pairs:
        told = difference(np.array([one]), np.array([other]), dtype=np.array([other]).dtype)
        shown = told.partition("expected ")[2].split(", found ")
        assert len(shown) == 2 and shown[0] != shown[1], told


def test_nan_is_no_wildcard():
    assert difference(np.array([1.0]), np.array([np.nan]), atol=np.inf)
    assert difference(np.array([np.nan]), np.array([1.0]), atol=np.inf)
    assert difference(np.array([np.inf]), np.array([-np.inf]), atol=np.inf)
    assert not difference(np.array([np.nan, np.inf]), np.array([np.nan, np.inf]))
    assert difference(np.zeros(3), np.zeros((3, 1)))
    assert difference(np.zeros(3, np.float32), np.zeros(3))


def test_a_truth_too_large_for_the_dtype_must_be_infinite():
    large = np.array([1e5])
    assert not difference(large, np.array([np.inf], np.float16), dtype=np.float16)
    assert difference(large, np.array([60000.0], np.float16), atol=1e6, dtype=np.float16)


@pytest.mark.parametrize(
    "statuses, words",
    [
        (["holds"], "mine: 1 clause, 1 call: 1 holds"),
        (["FAILS"], "mine: 1 clause, 1 call: 1 FAILS"),
        (["holds"] * 3, "mine: 3 clauses, 3 calls: 3 hold"),
        (["FAILS", "holds", "FAILS", "as torch"], "1 holds, 1 as torch, 2 FAIL"),
    ],
)
def test_the_headline_counts_in_english(statuses, words):
    clause = all_clauses()[0]
    results = [ClauseResult(clause, status, tried=1) for status in statuses]
    assert Report("mine", results).headline().endswith(words)


def test_assert_equal_says_how_many_numbers_or_raises(capsys):
    nine = np.ones((3, 3))
    assert_equal(nine, nine.copy())
    assert_equal(nine, nine + 1e-9, atol=1e-6, name="mean")
    assert_equal(nine[0, :1], nine[0, :1], atol=nine)
    assert capsys.readouterr().out.splitlines() == [
        "equal: 9 numbers",
        "mean: equal within 1e-06: 9 numbers",
        "equal within the tolerance: 1 number",
    ]
    for wrong in (nine + 1, nine * np.nan, nine[0], None, nine.astype(np.float32)):
        with pytest.raises(AssertionError, match="output: "):
            assert_equal(nine, wrong, atol=1e-6)
    assert not capsys.readouterr().out


# ---- raising, hanging, dying ----------------------------------------------------------------


@pytest.mark.parametrize(
    "function, words",
    [
        (troubles.raises_on_empty_bags, "raised ZeroDivisionError"),
        (troubles.hangs_on_empty_bags, "did not return"),
        (troubles.dies_on_empty_bags, "brought the process down"),
    ],
)
def test_trouble_fails_its_clause_and_the_rest_goes_on(function, words):
    report = check(function, "bags", limit=0.5, first_limit=20.0, raises=False)
    status = {result.clause.name: result.status for result in report.results}
    assert status["bags.empty"] == FAILS
    assert status["bags.index_dtypes"] == "holds"
    failed = next(r for r in report.failed if r.clause.name == "bags.empty")
    assert words in failed.failure.message


def test_prints_and_exits_of_the_candidate_do_no_harm():
    def noisy(input, weight, offsets=None, **options):
        print("hello")
        sys.stdout.flush()
        return embag_edu.embedding_bag(input, weight, offsets, **options)

    def leaves(*arguments, **options):
        sys.exit("no")

    assert check(noisy, "forward.sum").passed
    assert not check(leaves, "forward.sum", arrays="numpy", raises=False).passed


def test_results_that_cannot_be_read_do_not_hang_the_check():
    report = check(
        troubles.returns_what_breaks_when_unpickled, "forward.mean", arrays="numpy", raises=False
    )
    assert not report.passed


def test_after_many_equal_crashes_the_rest_is_not_asked():
    only = ["errors.mode", "errors.max_options"]
    report = check(troubles.aborts, only, arrays="numpy", raises=False, losses=2)
    assert report.counts() == {FAILS: 1, NOT_ASKED: 1}  # the first was that of the warm-up
    note = r"2 times, a call brought the process down \(.*\), in aborts \(troubles.py\)"
    assert re.fullmatch(note, report.results[-1].note)


def test_a_place_is_that_of_the_last_stack():
    stacks = (f'Timeout (0:00:01)!\n  File "/my/bags.py", line {n} in bag\n' for n in (3, 7))
    assert _place("".join(stacks).encode()) == ", in bag (bags.py, line 7)"


def test_losses_of_different_kinds_do_not_add_up():
    def dies_each_time_in_its_own_way(input, weight, offsets=None, **options):
        if options.get("mode") == "mean":
            os._exit(len(input) + 1)
        return embag_edu.embedding_bag(input, weight, offsets, **options)

    only = ["forward.mean", "special.mean", "bags.offsets"]  # of 2, 3 and 6 positions
    report = check(dies_each_time_in_its_own_way, only, losses=2, raises=False)
    assert report.counts() == {HOLDS: 1, FAILS: 3}  # one asks for no mode


def test_a_slow_first_call_costs_nothing():
    """As compilers do it: the first call is slow, and any later one of a new shape."""
    slow = troubles.compiles_for_each_shape
    report = check(slow, "forward.max.negative", limit=1.0, explain=False, raises=False)
    assert report.counts() == {HOLDS: 1}


def test_a_slow_first_backward_costs_nothing():
    pair = (troubles.right, troubles.slow_first_backward)
    assert check(pair, "backward.max.repeated_row", arrays="numpy", limit=0.5).passed


def test_a_slow_first_call_makes_no_later_limit_longer():
    """Many functions import what they need in their first call: they do not compile."""
    slow = troubles.warms_up_then_hangs
    report = check(slow, "forward.max.neg_inf", limit=0.3, explain=False, raises=False)
    assert "did not return within 0.3 s" in report.failed[0].failure.message


def test_a_crash_says_where_and_its_last_words():
    report = check(troubles.crashes_in_c, "forward.max.nan_first", raises=False)
    message = report.failed[0].failure.message
    assert "in crashes_in_c (troubles.py, line " in message
    assert os.name == "nt" or "(SIGSEGV: " in message
    assert "it wrote: out of luck" in message and "0x" not in message
    assert "The end of what it printed:\n      out of luck" in str(report)
    assert "out of luck" in json.loads(report.to_json())["stderr"]


class Probed(Local):
    """The probe's answers are given."""

    def __init__(self, answers):
        self._answers = answers
        super().__init__((numpy_bag,))

    def probe(self):
        answer = self._answers[self.arrays]
        self.losses += {answer: 1} if answer else {}
        trouble = Trouble("call", (answer,), answer) if answer else None
        return Outcome(output=None if trouble else np.ones(1), trouble=trouble)


def test_a_probe_that_hangs_does_not_decide_for_numpy():
    assert Probed({"numpy": "hung", "torch": ""}).arrays == "torch"
    assert Probed({"numpy": "", "torch": "hung"}).arrays == "numpy"
    for answers in ({"numpy": "hung", "torch": "TypeError"}, {"numpy": "hung", "torch": "hung"}):
        with pytest.raises(NotLoadable, match="Choose: arrays='numpy' or"):
            Probed(answers)


def test_exceptions_of_any_kind_are_outcomes():
    class Odd(BaseException):
        def __str__(self):
            raise ValueError

    def odd(*arguments, **options):
        raise Odd

    assert "forward.sum" in rejected_by(odd, only="forward.sum", arrays="numpy")


def test_the_callers_torch_settings_are_kept():
    def rude(input, weight, offsets=None, **options):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return torchs_own(input, weight, offsets, **options)

    failed = rejected_by(rude, only="always")
    assert "always.settings_unchanged" in failed
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def test_a_function_that_takes_neither_is_told():
    report = check(lambda: 1, "forward.sum", isolate=False, raises=False)
    assert "A first call gave no array" in report.notes[0]


@pytest.mark.parametrize("wrong, kind", [(list, "list"), (lambda o: (o, 0, 0), ""), (iter, "")])
def test_what_gives_no_array_is_called_with_numpy_and_told_once(wrong, kind):
    def mine(input, weight, offsets=None, **options):
        return wrong(np.zeros((len(offsets), weight.shape[1]), weight.dtype))

    report = check(mine, ["forward", "backward"], isolate=False, raises=False)
    assert f"with numpy, a {kind}" in report.notes[0] and "now called with numpy" in report.notes[0]
    assert report.counts()[FAILS] == 10 and len(report.alike()) == 1
    assert f"{report.counts()[NOT_ASKED]} not asked: no backward was given" in str(report)


def test_a_beginners_bag_passes_the_first_clauses():
    def bag(input, weight, offsets, mode):
        ends = np.append(offsets[1:], len(input))
        reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
        rows = [weight[input[a:b]] for a, b in zip(offsets, ends, strict=True)]
        zero = np.zeros(weight.shape[1])
        return np.array([reduce(r, axis=0) if len(r) else zero for r in rows], weight.dtype)

    for clause in ("forward.sum", "forward.max.negative", "bags.empty"):
        assert check(bag, clause, isolate=False).passed


def test_a_function_that_cannot_be_sent_is_run_here_and_the_report_says_so():
    import threading

    lock = threading.Lock()

    def locked(input, weight, offsets=None, **options):
        with lock:
            return embag_edu.embedding_bag(input, weight, offsets, **options)

    report = check(locked, "forward.sum")
    assert report.passed and "without protection" in report.notes[0]


# ---- what an implementation lacks -----------------------------------------------------------


def without(error, where, stage="forward"):
    """The loops as a pair that raises `error` where where(options) says so."""

    def forward(input, weight, offsets=None, **options):
        if stage == "forward" and where(options):
            raise error
        return embag_edu.embedding_bag(input, weight, offsets, **options)

    def backward(grad_output, input, weight, offsets=None, **options):
        if stage == "backward" and where(options):
            raise error
        return embag_edu.embedding_bag_backward(grad_output, input, weight, offsets, **options)

    return forward, backward


def is_max(options):
    return options.get("mode") == "max"


def has_psw(options):
    return options.get("per_sample_weights") is not None


SAID, PLAIN = NotSupported("stage 02: weights"), NotImplementedError("no weights here")
LACKS = [  # a pair, a clause, its status, the words that stand beside it
    (without(SAID, is_max), "forward.max", NOT_SUPPORTED, "stage 02: weights"),
    (without(PLAIN, is_max), "forward.max", NOT_SUPPORTED, "no weights here"),
    (without(NotSupported(), is_max), "forward.max", NOT_SUPPORTED, "a NotSupported without"),
    (without(SAID, is_max), "forward.sum", HOLDS, ""),
    (without(SAID, is_max), "bags.empty", NOT_SUPPORTED, "stage 02"),  # some of its cases
    (without(SAID, has_psw), "errors.psw_mode", NOT_SUPPORTED, "stage 02"),  # no refusal
    (without(PLAIN, has_psw), "errors.psw_mode", HOLDS, ""),  # spec 3, row 6
    (without(PLAIN, has_psw), "errors.psw_dtype", REFUSES, "as NotImplementedError, torch as"),
    (without(SAID, has_psw), "errors.psw_dtype", NOT_SUPPORTED, "stage 02"),
    (without(SAID, is_max, "backward"), "backward.max", NOT_SUPPORTED, "stage 02"),
    (without(SAID, is_max, "backward"), "forward.max", HOLDS, ""),
    (without(SAID, is_max, "backward"), "always.fresh_output", NOT_SUPPORTED, "stage 02"),
    (without(PLAIN, is_max, "backward"), "always.fresh_output", NOT_SUPPORTED, "no weights here"),
    (without(PLAIN, lambda o: o.get("sparse")), "errors.backward.sparse_frequency", NOT_SUPPORTED,
     "no weights here"),
    (without(ValueError("no"), is_max), "forward.max", FAILS, ""),
]  # fmt: skip


@pytest.mark.parametrize(("pair", "clause", "status", "words"), LACKS)
def test_what_is_not_supported_is_neither_a_failure_nor_a_pass(pair, clause, status, words):
    report = check(pair, clause, isolate=False, raises=False, explain=False, arrays="numpy")
    result = next(r for r in report.results if r.clause.name == clause)
    assert result.status == status and result.note.startswith(words)
    assert bool(report.failed) == (status == FAILS)


def test_a_clause_fails_though_another_of_its_calls_is_not_supported():
    def wrong(input, weight, offsets=None, **options):
        if is_max(options):
            raise NotSupported("later")
        return embag_edu.embedding_bag(input, weight, offsets, **options) + 1

    report = check(wrong, "bags", isolate=False, raises=False, arrays="numpy")
    assert "bags.empty" in {r.clause.name for r in report.failed}
    for (
        result
    ) in report.failed:  # nor is a failing call made smaller into one that is not supported
        assert "later" not in result.failure.message


def test_not_supported_is_told_by_every_report():
    pair = without(SAID, is_max)
    report = check(pair, "forward.max", raises=False)  # in another process: only names come back
    assert report.counts() == {NOT_SUPPORTED: 5} and report.passed and not report.failed
    assert "5 not supported" in report.headline() and "not supported forward.max:" in str(report)
    assert "(stage 02: weights)" in str(report) and "○ not supported" in report._repr_html_()
    first = json.loads(report.to_json())["results"][0]
    assert (first["status"], first["note"]) == ("not supported", "stage 02: weights")
    report = check(without(SAID, has_psw), "errors", isolate=False)
    assert "errors: 24 of 28 clauses hold, 4 not supported" in str(report)


def test_torch_functions_may_lack_something_too():
    def half(input, weight, offsets=None, **options):
        if options.get("sparse"):
            raise NotSupported("sparse")
        return Half.apply(weight, torchs_own(input, weight, offsets, **options))

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight, output):
            return output.clone()

        @staticmethod
        def backward(ctx, grad_output):
            raise NotSupported("no backward")

    statuses = {
        name: check(half, name, isolate=False, raises=False).results[0].status
        for name in ("forward.sum", "backward.sum", "sparse.sum")
    }
    assert statuses == {
        "forward.sum": HOLDS, "backward.sum": NOT_SUPPORTED, "sparse.sum": NOT_SUPPORTED,
    }  # fmt: skip


# ---- forms of an implementation -------------------------------------------------------------


def test_forward_alone_is_not_asked_for_gradients():
    report = check(numpy_bag, "backward.sum", isolate=False)
    assert [r.status for r in report.results] == [NOT_ASKED]


def test_torch_functions_are_recognized():
    with Local((torchs_own,)) as runner:
        assert runner.arrays == "torch" and runner.has_gradients
    with Worker((numpy_bag,)) as worker:
        assert worker.arrays == "numpy" and not worker.has_gradients


def test_a_torch_function_without_autograd_is_told():
    def detached(*arguments, **options):
        return torchs_own(*arguments, **options).detach()

    assert check(detached, "forward.sum", isolate=False).passed
    report = check(detached, "backward.sum", isolate=False, raises=False)
    assert "does not require grad" in report.failed[0].failure.message


def test_names_and_pairs():
    assert check("embag_edu:embedding_bag", "backward.sum").passed
    pair = ("embag_edu:embedding_bag", "embag_edu:embedding_bag_backward")
    assert check(pair, "backward.psw").passed
    for wrong in ("no.such.module:f", "embag_edu:nothing", "embag_edu", "embag_edu:__version__"):
        with pytest.raises(NotLoadable):
            check(wrong)
    for arrays in ("nump", "jax.numpi", "math"):
        with pytest.raises(NotLoadable, match="must be numpy, torch, torch:DEVICE, or a module"):
            check(numpy_bag, "forward.sum", arrays=arrays, isolate=False)
    with pytest.raises(TypeError, match="implementation must be"):
        check(3)


def test_arguments_in_the_order_of_the_other_check():
    with pytest.raises(TypeError, match=r'check\(numpy_bag, "forward.sum"\)'):
        check("forward.sum", numpy_bag)
    with pytest.raises(TypeError, match=r'course.check\("03.slope", numpy_bag\)') as error:
        check("03.slope", numpy_bag)
    assert error.value._render_traceback_() == f"WrongCall: {error.value}".splitlines()
    with pytest.raises(TypeError, match="only must be the name of a clause"):
        check(numpy_bag, numpy_bag)


def test_unknown_clauses_are_refused_with_the_names():
    with pytest.raises(ValueError, match="Groups: again, always"):
        check("loops", "forwards")


# ---- the table ------------------------------------------------------------------------------


def test_clauses_have_sentences_sources_and_cases():
    table = all_clauses()
    assert len({clause.name for clause in table}) == len(table)
    for clause in table:
        assert clause.cases and clause.rule.endswith(".") and clause.source.startswith("spec")
    assert find("forward.max") == tuple(c for c in table if c.name.startswith("forward.max"))


def test_cases_are_fresh_and_seeded():
    for clause in all_clauses():
        for case in clause.cases:
            one, other = case.make(), case.make()
            assert one.keys() == other.keys()
            for name, value in one.items():
                if isinstance(value, np.ndarray):
                    assert value is not other[name] and value.tobytes() == other[name].tobytes()


def test_protocols_are_known_and_all_in_use():
    """A protocol that nobody knows would be a call that is simply made once."""
    used = {case.make().get("protocol", "") for c in all_clauses() for case in c.cases}
    assert used - {""} == set(PROTOCOLS)


def test_no_pair_of_options_is_left_out():
    held = set().union(*map(pairs.pairs_of, pairs.choices()))
    assert held >= pairs.all_pairs() and len(pairs.choices()) < 40
    for choice in pairs.choices():  # so that zeros would be wrong in each
        expected = expect(pairs.case_of(choice).make())
        weight = expected.grad_weight
        assert expected.output.any() and getattr(weight, "values", weight).any()


def quantities(arguments):
    """How large a call is, in all that an implementation could have a limit for."""
    input, (V, D) = arguments["input"], arguments["weight"].shape
    rows, counts = np.unique(input, return_counts=True)
    lengths = [input.shape[-1]]
    if input.ndim == 1:
        lengths = np.diff(np.append(arguments["offsets"], len(input)))
    columns = input.shape[1] if input.ndim == 2 else 0
    sizes = {"V": V, "D": D, "N": input.size, "B": count_bags(arguments), "bag": max(lengths)}
    more = {"row": max(rows), "distinct": len(rows), "repeated": max(counts), "columns": columns}
    return sizes | more


# For each part and mode, some call must have more than this.
EVERYWHERE = {"V": 999, "N": 1024, "B": 1024, "bag": 257, "distinct": 1024, "repeated": 256}
LIMITS = {
    ("output", "sum"): {"V": 65536, "row": 65536, "D": 255, "columns": 1024},
    ("output", "mean"): {"V": 65536, "row": 65536, "N": 32768, "bag": 32768, "columns": 256},
    ("output", "max"): {"V": 65536, "row": 65536, "D": 1024, "B": 65536, "columns": 256},
    ("output", "weighted"): {"V": 65536, "row": 65536, "D": 1024, "columns": 256},
    ("grad_weight", "sum"): {"D": 255, "columns": 1024},
    ("grad_weight", "mean"): {"V": 65536, "row": 65536, "columns": 256},
    ("grad_weight", "max"): {"V": 65536, "row": 65536, "N": 32768, "D": 1024, "columns": 256},
    ("grad_weight", "weighted"): {"V": 65536, "row": 65536, "D": 1024, "columns": 256},
    ("grad_psw", "weighted"): {"V": 65536, "row": 65536, "D": 1024, "columns": 256},
}


@pytest.mark.parametrize("part, mode", LIMITS)
def test_no_size_is_left_out(part, mode):
    asked = [c for clause in all_clauses() if clause.part == part for c in clause.cases]
    most = dict.fromkeys(EVERYWHERE | LIMITS[part, mode], 0)
    for case in asked:
        arguments = case.make()
        weighted = arguments.get("per_sample_weights") is not None
        its_mode = "weighted" if weighted else arguments.get("mode", "mean")
        if its_mode == mode and arguments["input"].dtype.kind == "i" and arguments["input"].size:
            found = quantities(arguments)
            most = {name: max(value, found[name]) for name, value in most.items()}
    least = EVERYWHERE | LIMITS[part, mode]
    assert all(most[name] > least[name] for name in least), most


def test_upstream_gradients_are_never_all_alike():
    alike = []
    for clause in all_clauses():
        for case in clause.cases if clause.part.startswith("grad") else ():
            gradient = case.make()["grad_output"]
            values = np.unique(gradient[~np.isnan(gradient)])
            alike += [case.name] if gradient.size > 1 and values.size == 1 else []
    assert not alike


# ---- the report -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing():
    from embag_edu.check.faults import PaddingInTheMean

    wrong = PaddingInTheMean()
    return check((wrong.forward, wrong.backward), isolate=False, raises=False)


def test_a_failure_raises_with_everything_in_it(failing):
    with pytest.raises(CheckFailed, match="padding is counted in the number"):
        failing.raise_if_failed()
    text = str(failing)
    assert "expected" in text and "found" in text and "replay(" in text


def test_each_failure_after_the_third_says_in_a_line_what_was_found():
    refuses_nothing = lambda input, weight, offsets=None, **options: np.zeros((1, 1))  # noqa: E731
    report = check(refuses_nothing, "errors", isolate=False, raises=False)
    lines = str(report).splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith("  FAILS ")]
    assert len(heads) == len(report.failed) > 20
    assert all(lines[at + 1].startswith("      case:") for at in heads[:3])
    assert all("but nothing was raised" in lines[at + 1] for at in heads[3:])
    assert lines[-1] == f"  More about one of them: --only {report.failed[3].clause.name}"


def test_the_notebook_table_uses_symbols_and_words(failing):
    html = failing._repr_html_()
    assert "✗ FAILS" in html and "✓ holds" in html and "<table>" in html


def test_a_failure_in_a_notebook_shows_the_table_once_and_no_traceback(failing, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    error = CheckFailed(failing)
    lines = [error._render_traceback_(), error._render_traceback_()]  # IPython asks twice
    assert shown == [failing] and lines[0] == [f"CheckFailed: {failing.headline()}"]


def test_a_call_that_is_right_when_made_again_is_told():
    asked = []

    def wrong_at_first(input, weight, offsets=None, **options):
        asked.append(input.tolist())
        wrong = asked.count(asked[-1]) == 1
        return embag_edu.embedding_bag(input, weight, offsets, **options) + wrong

    report = check(wrong_at_first, "forward.max.negative", isolate=False, raises=False)
    assert "made again, it is answered otherwise" in report.failed[0].failure.message


def test_a_large_call_is_taken_from_the_table():
    def wide(input, weight, offsets=None, **options):
        return embag_edu.embedding_bag(input, weight, offsets, **options).astype(np.float64)

    (found,) = check(wide, "sizes.large", isolate=False, raises=False).failed
    assert len(found.failure.snippet) < 500
    with pytest.raises(AssertionError, match="found dtype float64"):
        exec(found.failure.snippet, {"wide": wide})


def test_json_is_complete(failing):
    record = json.loads(failing.to_json())
    assert record["passed"] is False and len(record["results"]) == len(all_clauses())
    failure = next(r["failure"] for r in record["results"] if "failure" in r)
    assert failure["likely_cause"] and failure["snippet"] and failure["message"]


def test_the_report_is_the_same_every_time(failing):
    from embag_edu.check.faults import PaddingInTheMean

    wrong = PaddingInTheMean()
    again = check((wrong.forward, wrong.backward), isolate=False, raises=False)
    assert str(again) == str(failing) and again.to_json() == failing.to_json()


@pytest.mark.parametrize(
    "name",
    ["EmptyTakesNeighbor", "StridesIgnored", "Accumulates16", "TiesToTheLast", "SparseSorted"],
)
def test_every_snippet_shows_its_failure_again(name):
    fault = next(fault for fault in FAULTS if fault.__name__ == name)()
    pair = (fault.forward, fault.backward)
    report = check(pair, fault.caught_by, isolate=False, raises=False)
    assert len(report.failed) == len(find(fault.caught_by))
    for result in report.failed:
        with pytest.raises(AssertionError):
            exec(result.failure.snippet, {"forward": fault.forward, "backward": fault.backward})


def test_a_snippet_of_a_right_answer_is_silent():
    arguments = find("padding.mean")[0].cases[0].make()
    replay("loops", "output", arguments)
    replay("loops", "grad_weight", arguments)


def test_failing_random_calls_are_made_small():
    """The wrong bag shows only in two bags: the smallest call has hardly more."""

    class Wrong(Steps):
        def upstream(self, call, grad_output):
            return np.roll(grad_output, -1, axis=0)

    wrong = Wrong()
    with Local((wrong.forward, wrong.backward)) as runner:
        clause = find("backward.sum")[0]
        random_only = type(clause)(**{**vars(clause), "cases": clause.cases[2:]})
        failure = Trial(runner, ("wrong",)).result(random_only).failure
    assert failure.arguments["grad_output"].shape == (2, 1)
    assert failure.arguments["input"].size == 1
