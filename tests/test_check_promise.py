"""What is promised and asked, what is known to fail, and the command that takes both."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import clauses
import numpy as np
import pytest
import troubles

import embag_edu
from embag_edu.check import NotSupported, all_clauses, check, replay
from embag_edu.check.cases import DEFAULTS, NEVER, call
from embag_edu.check.clauses import find, of_version
from embag_edu.check.command import main
from embag_edu.check.known import WrongFile, read
from embag_edu.check.promise import EVERYTHING, WrongPromise, needs, promise
from embag_edu.check.report import (
    FAILS,
    HOLDS,
    HOLDS_NOW,
    KNOWN,
    NOT_PROMISED,
    REFUSES,
    Failure,
)


def bag(input, weight, offsets=None, **options):
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def statuses(function, only, **options):
    options = {"isolate": False, "raises": False, "explain": False, "arrays": "numpy"} | options
    return {r.clause.name: r.status for r in check(function, only, **options).results}


# ---- what a call needs ----------------------------------------------------------------------

NEEDS = [
    (call("plain", [0, 1], [0], mode="sum"), "sum float32 int64"),
    (call("default mode", [0, 1], [0]), "mean float32 int64"),
    (call("2-D", [[0, 1]], mode="max", dtype="float16"), "max float16 int64 two_dimensional"),
    (call("mixed", [0], [0], offsets_dtype="int32"), "mean float32 int64 int32 mixed"),
    (call("empty", [], [0]), "mean float32 int64 zero_sizes"),
    (call("strided", [0], [0], layout={"weight": "turned"}), "mean float32 int64 strided"),
    (call("defaults", [0], [0], padding_idx=None, sparse=False), "mean float32 int64"),
    (call("row 0", [0], [0], padding_idx=0), "mean float32 int64 padding_idx"),
    (call("before", [0], [0], mode="sum", before={"mode": "max", "max_norm": 1.0}),
     "sum max max_norm float32 int64"),
    (find("bags.old_order")[0].cases[0], "sum float32 int64 two_dimensional old_order"),
    (find("errors.mode")[0].cases[0], "float32 int64"),
    (find("errors.psw_mode")[0].cases[0], "mean per_sample_weights float32 int64"),
]  # fmt: skip


@pytest.mark.parametrize("case, words", NEEDS, ids=lambda v: getattr(v, "name", None))
def test_what_a_call_needs_is_read_from_its_arguments(case, words):
    assert needs(case) == set(words.split())


def test_every_word_of_a_promise_is_needed_by_some_call():
    needed = set().union(*(c.needs | needs(case) for c in all_clauses() for case in c.cases))
    assert needed == {word for group in vars(EVERYTHING).values() for word in group}


def differs(name):
    return lambda a: any(DEFAULTS[name] != given.get(name, DEFAULTS[name])
                         for given in (a, a.get("before", {})))  # fmt: skip


def floats(name):
    return lambda a: getattr(a["weight"], "dtype", None) == name


SEEN = {  # in the arguments of a call, without the help of `needs`
    "max": lambda a: "max" in (a.get("mode"), a.get("before", {}).get("mode")),
    "float64": floats("float64"),
    "float16": floats("float16"),
    "int32": lambda a: (
        "int32" in {str(getattr(a.get(n), "dtype", "")) for n in ("input", "offsets")}
    ),
    "padding_idx": differs("padding_idx"),
    "max_norm": differs("max_norm"),
    "sparse": differs("sparse"),
    "per_sample_weights": lambda a: a.get("per_sample_weights") is not None,
    "two_dimensional": lambda a: np.ndim(a["input"]) == 2,
    "strided": lambda a: bool(a.get("layout")),
    "zero_sizes": lambda a: 0 in [np.size(a.get(n, 1)) for n in ("input", "weight", "offsets")],
}


@pytest.fixture(scope="module")
def all_calls():
    cases = {case: clause for clause in all_clauses() for case in clause.cases}
    return [(clause, case, case.make()) for case, clause in cases.items()]


@pytest.mark.parametrize("word", SEEN)
def test_what_is_not_promised_is_never_asked(word, all_calls):
    usual = vars(EVERYTHING).items()
    less = promise({group: [w for w in words if w != word] for group, words in usual})
    kept = [a for clause, c, a in all_calls if not less.lacking(clause.needs | needs(c))]
    dropped = [a for clause, c, a in all_calls if less.lacking(clause.needs | needs(c))]
    assert kept and not any(map(SEEN[word], kept))
    assert dropped and all(map(SEEN[word], dropped))  # nor is anything else left out


def test_a_missing_feature_fails_no_clause_of_the_promise():
    def plain(input, weight, offsets, *, mode="mean"):
        assert input.ndim == 1 and weight.dtype == np.float32 and mode != "max"
        return embag_edu.embedding_bag(input, weight, offsets, mode=mode)

    groups = ["forward", "bags", "padding", "numbers", "together.output", "always"]
    supports = {
        "modes": ["sum", "mean"], "dtypes": ["float32"], "options": [], "forms": ["strided"],
    }  # fmt: skip
    report = check(
        plain, groups, supports=supports, isolate=False, explain=False, arrays="numpy", raises=False
    )
    found = {r.clause.name: r.status for r in report.results}
    assert found.pop("always.output_with_gradients") == "not asked"
    assert set(found.values()) == {HOLDS, NOT_PROMISED} and report.percent() == 100
    assert found["bags.empty"] == found["forward.sum"] == found["always.fresh_output"] == HOLDS
    assert found["forward.max"] == found["numbers.float64"] == NOT_PROMISED
    assert "promised: modes sum, mean; dtypes float32;" in str(report)
    assert f"100 % of its {len(report.promised)} clauses hold" in str(report)


def test_random_calls_draw_only_what_their_clause_is_about():
    """Without a promise as well: a bag of the plain arguments passes the first clauses."""

    def plain(input, weight, offsets, mode="mean"):
        assert input.dtype == offsets.dtype == np.int64 and weight.dtype == np.float32
        return embag_edu.embedding_bag(input, weight, offsets, mode=mode)

    assert set(statuses(plain, "forward").values()) == {HOLDS}
    drawn = set().union(*(needs(c) for c in find("max_norm.output")[0].cases))
    assert drawn - {"zero_sizes"} == {"sum", "mean", "max", "max_norm", "float32", "int64"}


def test_the_old_order_is_asked_for_only_where_it_is_promised():
    assert statuses(bag, "bags.old_order") == {"bags.old_order": NOT_PROMISED}
    assert statuses(bag, "bags.old_order", supports=EVERYTHING) == {"bags.old_order": HOLDS}
    assert statuses("loops", "bags.old_order", arrays=None) == {"bags.old_order": HOLDS}


def test_promises_that_name_nothing_are_told():
    with pytest.raises(WrongPromise, match="options has no 'max_nrom'.*perhaps 'max_norm'"):
        promise({"options": ["max_nrom"]})
    with pytest.raises(WrongPromise, match="supports has no 'mode'.*perhaps 'modes'"):
        promise({"mode": ["sum"]})
    with pytest.raises(WrongPromise, match=r"modes must be a list of words, such as \['sum'\]"):
        promise({"modes": "sum"})


# ---- refusals, calls that raise -------------------------------------------------------------


def test_a_refusal_of_another_class_is_no_failure_unless_asked():
    def own(input, weight, offsets=None, **options):
        try:
            return embag_edu.embedding_bag(input, weight, offsets, **options)
        except RuntimeError as error:
            raise ValueError("no") from error

    report = check(own, "errors.index_range", isolate=False)
    (result,) = report.results
    assert (result.status, result.note) == (REFUSES, "as ValueError, torch as RuntimeError")
    assert "1 refuses otherwise" in report.headline()
    assert statuses(own, "errors.index_range", same_errors=True) == {"errors.index_range": FAILS}


@pytest.mark.parametrize("error", [RecursionError, NameError, ZeroDivisionError, SystemExit])
def test_what_is_a_mistake_of_its_own_is_no_refusal(error):
    def wrong(*arguments, **options):
        raise error

    assert statuses(wrong, "errors.mode") == {"errors.mode": FAILS}


def test_what_holds_for_every_call_does_not_fail_because_a_call_raised():
    def no_max(input, weight, offsets=None, **options):
        if options.get("mode") == "max":
            raise KeyError("max")
        return embag_edu.embedding_bag(input, weight, offsets, **options)

    def nothing(*arguments, **options):
        raise KeyError

    assert Counter(statuses(no_max, "always").values()) == {HOLDS: 5, "not asked": 1}
    assert statuses(no_max, "forward.max.nan_first") == {"forward.max.nan_first": FAILS}
    always = statuses(nothing, "always.fresh_output")
    assert always == {"always.fresh_output": "not asked"}


def test_gradients_that_are_wanted_are_asked_of_who_has_them():
    """A wrong output fails the clause of its call, and this one only where gradients make it so."""
    only = "always.output_with_gradients"

    torch = pytest.importorskip("torch")

    def wrong(input, weight, offsets=None, **options):
        added = torch.nn.functional.embedding_bag(input, weight, offsets, **options)
        return added + (1 if wrong.always or weight.requires_grad else 0)

    assert statuses(bag, only) == {only: "not asked"}
    wrong.always = False
    assert statuses(wrong, only, arrays="torch") == {only: FAILS}
    wrong.always = True
    assert statuses(wrong, only, arrays="torch") == {only: HOLDS}  # NaN plus one


# ---- failures in groups ---------------------------------------------------------------------


def test_failures_of_one_kind_are_told_once():
    def no_option(input, weight, offsets=None, *, mode="mean"):
        return embag_edu.embedding_bag(input, weight, offsets, mode=mode)

    report = check(no_option, ["padding", "weights"], isolate=False, raises=False)
    assert len(report.failed) == 9 and len(report.alike()) == 2
    text = str(report)
    assert text.count("unexpected keyword argument 'padding_idx'") == 1
    assert "the same in padding.mean, padding.max, padding.negative" in text
    assert sum(map(len, report.alike())) == 9


def test_wrong_numbers_without_a_cause_stand_alone():
    one, other = (Failure("a", {}, "output: 1 of 2 values differ", None) for _ in range(2))
    assert one.why == other.why == ""


# ---- lower precision ------------------------------------------------------------------------


def test_ulps_widen_what_is_added_and_nothing_else():
    def short(input, weight, offsets=None, **options):
        """As hardware does it that adds up in bfloat16."""
        import ml_dtypes

        rounded = weight.astype(ml_dtypes.bfloat16).astype(weight.dtype)
        return embag_edu.embedding_bag(input, rounded, offsets, **options)

    assert statuses(short, "forward.sum") == {
        "forward.sum": FAILS, "forward.sum.repeated_row": HOLDS, "forward.sum.nan_and_inf": HOLDS
    }  # fmt: skip
    report = check(short, "forward.sum", isolate=False, ulps=2**16)
    assert "each sum may be off by 65536 units in the last place more" in str(report)
    assert statuses(short, "forward.max", ulps=2**16)["forward.max"] == FAILS  # a maximum is exact


# ---- other arrays ---------------------------------------------------------------------------


def refuses(*_, **__):
    raise BufferError("no array of the CPU")


def test_arrays_of_another_module_are_made_and_read(monkeypatch):
    import other_arrays

    def theirs(input, weight, offsets=None, **options):
        assert all(isinstance(a, other_arrays.Array) for a in (input, weight, offsets))
        return other_arrays.asarray(bag(input.host, weight.host, offsets.host, **options))

    assert set(statuses(theirs, "forward", arrays="other_arrays").values()) == {HOLDS}
    for name in ("get", "__array__"):  # of CuPy; of JAX, for arrays that NumPy can't take over
        with monkeypatch.context() as m:
            m.setattr(other_arrays.Array, "__dlpack__", refuses)
            m.setattr(other_arrays.Array, name, lambda self, *_, **__: self.host, raising=False)
            assert set(statuses(theirs, "forward.sum", arrays="other_arrays").values()) == {HOLDS}
    unreadable = type("Unreadable", (), {"__dlpack__": lambda self, **_: 1 / 0})
    for wrong in (lambda *a, **k: None, lambda *a, **k: unreadable()):
        failed = statuses(wrong, "forward.sum", arrays="other_arrays")
        assert failed["forward.sum"] == FAILS


def test_tensors_of_a_device_are_looked_at_after_the_call():
    import torch

    def changes(input, weight, offsets=None, **options):
        with torch.no_grad():
            weight += 1
        return torch.nn.functional.embedding_bag(input, weight, offsets, **options)

    one = ["always.weight_unchanged", "max_norm.in_place", "again.weight_updated"]
    torchs = torch.nn.functional.embedding_bag
    assert set(statuses(torchs, one, arrays="torch:cpu").values()) == {HOLDS}
    assert statuses(changes, one[0], arrays="torch:cpu") == {one[0]: FAILS}


def test_without_torch_and_cloudpickle_a_function_on_arrays_is_checked():
    code = (
        "import sys\n"
        "for name in ('torch', 'cloudpickle', 'tqdm'): sys.modules[name] = None\n"
        "from embag_edu.check import check\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "assert check('troubles:right', ['forward.sum', 'errors.offsets_decrease']).passed\n"
        "report = check('troubles:wrong', 'errors.offsets_decrease', raises=False, isolate=False)\n"
        "assert not report.passed and 'torch' not in str(report.notes), report\n"
        "try: check(lambda *a, **k: 0, 'forward.sum')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "else: print('run here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ModuleNotFoundError" not in done.stdout + done.stderr


# ---- expected failures ----------------------------------------------------------------------

ONE = '["forward.max.nan_later"]\nreason = "NaN is passed on"\nlink = "https://example.org/12"\n'


def as_torch_max(input, weight, offsets=None, **options):
    """NaN wins, wherever it stands in its bag."""
    output = embag_edu.embedding_bag(input, weight, offsets, **options)
    ends = np.append(offsets[1:], len(input))
    for number, (a, b) in enumerate(zip(offsets, ends, strict=True)):
        output[number] = np.where(np.isnan(weight[input[a:b]]).any(axis=0), np.nan, output[number])
    return output


def known(tmp_path, text):
    file = tmp_path / "expected_failures.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_expected_failure_fails_nothing_and_a_new_pass_does(tmp_path):
    file = known(tmp_path, ONE)
    one = {"isolate": False, "expected_failures": file, "raises": False}
    report = check(as_torch_max, "forward.max", **one)
    assert report.passed and report.counts() == {HOLDS: 4, KNOWN: 1}
    assert "forward.max.nan_later: " in str(report)
    assert "(NaN is passed on, https://example.org/12)" in str(report)
    report = check(bag, "forward.max", **one)
    assert not report.passed and report.counts() == {HOLDS: 4, HOLDS_NOW: 1}
    assert "expected to fail: NaN is passed on" in str(report)
    report = check(as_torch_max, "forward.max", **one | {"expected_failures": known(tmp_path, "")})
    assert not report.passed and report.counts() == {HOLDS: 4, FAILS: 1}


@pytest.mark.parametrize(
    "text, words",
    [
        ("forward.max", "is no TOML"),
        ('["forward.maxi"]\nreason = "x"', "there is no clause 'forward.maxi'"),
        ('forward.max.reason = "x"', "there is no clause 'forward'"),
        ('["forward.max"]\nlink = "x"', "forward.max takes a reason and a link"),
        ('["forward.max"]\nreason = "x"\nwhy = "y"', "forward.max takes a reason and a link"),
        ('"forward.max" = "x"', "forward.max takes a reason and a link"),
    ],
)
def test_a_file_that_cannot_be_meant_is_told(tmp_path, text, words):
    with pytest.raises(WrongFile, match=words):
        read(known(tmp_path, text))


# ---- the command ----------------------------------------------------------------------------


def test_the_command_takes_a_table_and_keeps_the_file_of_failures(tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.embag_edu.check]\nimplementation = "troubles:raises_on_empty_bags"\n'
        'arrays = "numpy"\nonly = ["bags.empty", "bags.offsets", "padding.sum"]\noptions = []\n'
        'expected-failures = "known.toml"\n'
    )
    file = tmp_path / "known.toml"
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2 and "known.toml" in capsys.readouterr().err  # there is none yet
    assert main(["--update"]) == 0
    assert read(file) == {"bags.empty": {"reason": "not looked into yet"}}
    file.write_text(file.read_text().replace("not looked into yet", "no 'empty' bags"))
    capsys.readouterr()
    assert main([]) == 0 and "(no 'empty' bags)" in capsys.readouterr().out
    twice = ["--only", "bags.offsets", "--only", "padding.sum"]
    for less in (twice, ["--modes", "none"], ["--forms", "none"]):
        assert main(["--update", *less]) == 0
        assert read(file)["bags.empty"]["reason"] == "no 'empty' bags"  # it was not asked
    assert main(["troubles:right", "--only", "bags.empty"]) == 1
    assert main(["troubles:right", "--only", "bags.empty", "--update"]) == 0 and read(file) == {}
    capsys.readouterr()
    words = ["--options", "padding_idx", "--options", "sparse", "--json", "-"]
    assert main(words) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["promised"]["options"] == ["padding_idx", "sparse"] and record["schema"] == 2
    assert {"table", "python", "numpy", "embag_edu"} <= set(record["versions"])
    assert [r["status"] for r in record["results"]] == ["fails", "holds", "fails"]


@pytest.mark.parametrize(
    "words, told",
    [
        (["loops", "--modes", "summ"], "modes has no 'summ'. It takes sum, mean, max; perhaps"),
        (["loops", "--only", "forward.sums"], "no clause 'forward.sums'"),
        (["loops", "--config", "no.toml"], "no.toml"),
        (["loops", "--expected-failures", "no.toml"], "no.toml"),
    ],
)
def test_what_the_command_cannot_take_is_told(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert told in capsys.readouterr().err


def test_a_table_with_an_unknown_name_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text("[tool.embag_edu.check]\nmode = ['sum']\n")
    monkeypatch.chdir(tmp_path)
    assert main(["loops"]) == 2
    assert "[tool.embag_edu.check] has no 'mode'; it takes" in capsys.readouterr().err


def test_not_supported_is_raised_across_processes():
    assert check(troubles.lacks_max, "forward.max", raises=False).counts() == {"not supported": 5}
    assert issubclass(NotSupported, NotImplementedError)


# ---- versions of the table ------------------------------------------------------------------


def test_no_call_of_a_version_changes():
    """Whoever changes a clause reads above `VERSION` how: python tests/clauses.py --write."""
    stored = json.loads(clauses.STORED.read_text(encoding="utf-8"))
    found = clauses.digests()
    assert found.keys() == stored.keys()
    changed = {v: [n for n in {**of, **found[v]} if of.get(n) != found[v].get(n)]
               for v, of in stored.items()}  # fmt: skip
    assert not any(changed.values()), changed


def test_the_changelog_names_what_a_version_adds_or_takes_out():
    changelog = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    parts = [(clause.name, what) for clause in all_clauses() for what in (clause, *clause.cases)]
    changed = [name for name, what in parts if what.since > 1 or what.until != NEVER]
    assert not [name for name in changed if f"`{name}`" not in changelog]


def test_an_old_table_can_be_asked_for(monkeypatch):
    old, new = find("forward.mean")
    later = replace(new, cases=(*old.cases[:1], replace(old.cases[1], since=2)))
    gone = replace(old, until=2)
    monkeypatch.setattr("embag_edu.check.clauses.VERSION", 2)
    assert of_version(1, [gone, later]) == (gone, replace(later, cases=old.cases[:1]))
    assert of_version(2, [gone, later]) == (later,)
    with pytest.raises(ValueError, match="versions 1 to 2; found 3"):
        check("loops", "forward.mean", table=3)


def divides_by_the_length(input, weight, offsets=None, mode="mean"):
    """An empty bag raises ZeroDivisionError, and no bags another error: those are not promised."""
    bags = list(input) if input.ndim == 2 else np.split(input, offsets[1:])[: len(offsets)]
    rows = [weight[bag].sum(0) * (1 / len(bag) if mode == "mean" else 1) for bag in bags]
    return np.stack(rows).astype(weight.dtype)


def test_a_smaller_call_is_promised_and_fails_in_the_same_way():
    few = {"modes": ["mean"], "dtypes": ["float32"], "options": [], "forms": ["two_dimensional"]}
    mine = divides_by_the_length
    report = check(mine, "forward.mean", supports=few, isolate=False, raises=False)
    (found,) = report.failed
    assert "ZeroDivisionError" in found.failure.message
    assert "\n  in test_check_promise.py, line " in found.failure.message
    with pytest.raises(AssertionError, match="in test_check_promise.py, line "):
        replay(mine, "output", found.failure.arguments)
    assert found.failure.arguments["input"].size == 1  # beside the empty bag: no array is empty
