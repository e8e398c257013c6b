"""The exercises: right answers pass, wrong ones are told why, and no solution leaks to readers."""

import collections
import copy
import importlib
import inspect
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embag_edu.course import (
    Case,
    Exercise,
    ExerciseFailed,
    Wrong,
    check,
    exercises,
    hint,
    notebooks,
)
from embag_edu.course import exercise as machinery
from embag_edu.course.differ import Allowed, differ, text
from embag_edu.course.exercise import NotDoneYet, UnknownExercise, find
from embag_edu.course.tools import without_numpy, work_of

BOOK = Path(__file__).parents[1] / "book"
SOLUTIONS = sorted((BOOK / "solutions").glob("*.ipynb"))
ALL = exercises()
ALL_WRONG = [(e, i) for e in ALL for i in range(len(e.wrong))]
by_name = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.name)
by_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.stem)


def refusal(exercise, mine):
    """What check says to an answer that it must reject."""
    with pytest.raises(ExerciseFailed) as caught:
        check(exercise, mine)
    return str(caught.value)


# -------------------------------------------------------------------------- the book's exercises


@by_name
def test_reference_passes_its_own_check(exercise, capsys):
    check(exercise.name, exercise.reference)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{exercise.name}: right.") and "Not shown by this: " in printed


@pytest.mark.parametrize(("exercise", "i"), ALL_WRONG, ids=lambda v: getattr(v, "name", str(v)))
def test_wrong_answer_is_rejected_with_its_own_sentence(exercise, i):
    wrong = exercise.wrong[i]
    said = refusal(exercise, wrong.function)
    assert wrong.message in said
    assert "called with" not in said or f"Likely cause: {wrong.message}" in said


@by_name
def test_exercise_is_complete(exercise):
    assert len(exercise.wrong) >= 5
    assert len({wrong.message for wrong in exercise.wrong}) == len(exercise.wrong)
    assert len(exercise.hints) == 3 and all(len(h.split()) >= 4 for h in exercise.hints)
    assert exercise.points >= 1 and exercise.title
    names = [case.name for case in exercise.cases()]
    assert len(set(names)) == len(names)


@by_name
def test_cases_are_new_and_the_same_each_time(exercise):
    for first, second in zip(exercise.cases(), exercise.cases(), strict=True):
        for a, b in zip(machinery._values(first), machinery._values(second), strict=True):
            assert callable(a) or differ(a, b) == ""
            assert not isinstance(a, np.ndarray) or not np.shares_memory(a, b)


@by_name
def test_hints_do_not_give_the_answer_away(exercise):
    if not inspect.isfunction(exercise.reference):
        return
    body = inspect.getsource(exercise.reference).replace(exercise.reference.__doc__ or "\0", "")
    lines = [line.split("#")[0].strip() for line in body.splitlines()[1:]]
    for line in lines:
        assert len(line) < 10 or not any(line in text for text in exercise.hints)


def test_names_are_used_once_and_tell_their_chapter():
    names = [exercise.name for exercise in ALL]
    assert len(set(names)) == len(names)
    for chapter in machinery.chapters():
        assert all(e.name.startswith(f"{chapter}.") for e in exercises(chapter))


# -------------------------------------------------------------------------- the book's notebooks


def test_committed_exercises_are_what_the_solutions_give():
    assert notebooks.stale(BOOK) == []


@pytest.mark.parametrize("chapter", sorted({path.name[:2] for path in SOLUTIONS}))
def test_solutions_have_every_exercise_of_their_chapter_once(chapter):
    """A chapter in parts, 08a to 08c, has its exercises in several notebooks."""
    parts = [notebooks.read(path) for path in SOLUTIONS if path.name[:2] == chapter]
    checked = [n for part in parts for cell in part["cells"] for n in notebooks.checked_names(cell)]
    assert sorted(checked) == sorted(exercise.name for exercise in exercises(chapter))
    for part in parts:
        own = {n for cell in part["cells"] for n in notebooks.checked_names(cell)}
        assert set(notebooks.exercise_names(part)) == own


def test_every_chapter_with_exercises_has_a_solutions_notebook():
    assert {path.name[:2] for path in SOLUTIONS} == {exercise.name[:2] for exercise in ALL}


@by_solution
def test_no_line_of_a_solution_is_left_in_its_cell(path):
    solved = notebooks.read(path)
    left = {cell["id"]: cell["source"] for cell in notebooks.student_copy(solved)["cells"]}
    for cell in solved["cells"]:
        inside = re.findall("BEGIN SOLUTION(.*?)END SOLUTION", notebooks.source(cell), re.DOTALL)
        for line in "\n".join(inside).splitlines():
            words = line.strip().strip("<!->#").strip()
            assert len(words) < 6 or words not in left.get(cell["id"], "")


@by_solution
def test_solutions_notebook_is_a_valid_notebook(path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with Jupyter")
    nbformat.validate(nbformat.read(path, 4))
    nbformat.validate(nbformat.from_dict(notebooks.student_copy(notebooks.read(path))))


# -------------------------------------------------------------------------- check and hint


def lengths(offsets, n):
    """The length of each bag."""
    return np.diff(np.append(offsets, n))


def writes_into_offsets(offsets, n):
    found = lengths(offsets, n)
    offsets[:1] += 1
    return found


def raises_on_empty(offsets, n):
    found = lengths(offsets, n)
    return found if found.all() else found[len(found)]


def lengths_cases():
    random = np.random.default_rng(0)
    return [
        Case("seventy bags", np.sort(random.integers(0, 99, 70)), 100),
        Case("two bags", np.array([0, 2]), 5),
        Case("an empty bag", np.array([0, 2, 2]), n=4),
    ]


LENGTHS = Exercise(
    "01.lengths",
    "the length of each bag",
    lengths,
    lengths_cases,
    hints=("Where does a bag end?", "Where the next one begins.", "Differences of neighbors."),
    wrong=(
        Wrong(lambda offsets, n: np.diff(offsets), "The last bag is missing."),
        Wrong(lambda offsets, n: np.append(offsets, n)[1:], "These are the ends."),
        Wrong(lambda offsets, n: np.maximum(lengths(offsets, n), 1), "An empty bag has length 0."),
        Wrong(lambda offsets, n: lengths(offsets, n)[::-1], "The bags are in reverse."),
        Wrong(writes_into_offsets, "The offsets belong to the caller."),
        Wrong(raises_on_empty, "Think of empty bags."),
    ),
    points=2,
    returns="lengths",
)


@pytest.fixture
def chapter(monkeypatch):
    """A book whose only chapter is 01, with one exercise."""
    monkeypatch.setattr(machinery, "_registered", {"01": lambda: (LENGTHS,)})
    monkeypatch.setattr(machinery, "import_chapters", lambda: None)
    monkeypatch.setattr(machinery, "_given", {})
    monkeypatch.setattr(notebooks, "find", machinery.find)


def test_right_answer_prints_one_line(chapter, capsys):
    assert check("01.lengths", lengths) is None
    line = "01.lengths: right. 3 cases passed. Not shown by this: other inputs than these cases.\n"
    assert capsys.readouterr().out == line


def test_an_answer_may_rename_its_parameters(chapter):
    check("01.lengths", lambda starts, count: np.diff(np.append(starts, count)))


def test_an_answer_of_the_book_may_rename_its_parameters():
    check("10.hits", lambda rows, padding, lanes: find("10.hits").reference(rows, padding, lanes))


def rounded_slope(loss, table, row, feature, h):
    """On the named cases, this is the slope with a step so small that it rounds."""
    return round(find("03.slope").reference(loss, table, row, feature, h))


def fixed_number(input, offsets, review_counts, num_reviews):
    """On the named cases, 100 is the largest of the counts."""
    return find("02.tfidf").reference(input, offsets, review_counts, 100)


@pytest.mark.parametrize(
    ("name", "mine"), [("03.slope", rounded_slope), ("02.tfidf", fixed_number)]
)
def test_a_cause_agrees_with_random_calls_as_well(name, mine):
    assert "Likely cause" not in refusal(name, mine)


def cleaned(name):
    """The right answer, but a NaN in it is taken for 0."""
    exercise = find(name)

    def number(value):
        return 0.0 if value != value else value

    def answer(*args):
        found = exercise.reference(*args)
        if isinstance(found, np.ndarray):
            return np.where(np.isnan(found), 0, found)
        if isinstance(found, list):
            return [[number(value) for value in row] for row in found]
        return tuple(np.where(part != part, 0, part) for part in found)

    return answer


@pytest.mark.parametrize(
    "name",
    "00.first_mean 01.means 02.padded_mean 03.mean_backward 03.max_backward 03.weights_gradient "
    "05.frequency_shares 05.coalesce".split(),
)
def test_a_nan_that_counts_must_come_through(name):
    assert "nan" in refusal(name, cleaned(name))


def test_the_number_of_a_bag_may_not_fit_into_8_bits():
    refusal("01.bag_of", lambda *args: find("01.bag_of").reference(*args).astype(np.int8))


@pytest.mark.parametrize("i", range(6))
def test_wrong_answers_are_told_why(i):
    assert f"Likely cause: {LENGTHS.wrong[i].message}" in refusal(
        LENGTHS, LENGTHS.wrong[i].function
    )


def test_smallest_failing_call_is_shown_with_arguments_expected_and_found():
    said = refusal(LENGTHS, LENGTHS.wrong[0].function)
    assert '3 of 3 cases fail. The smallest is "two bags".' in said
    for part in (
        "offsets = array([0, 2]",
        "n = 5",
        "expected  array([2, 3]",
        "found     array([2]",
    ):
        assert part in said
    assert "lengths: expected shape (2,), found shape (1,)" in said
    said = refusal(LENGTHS, LENGTHS.wrong[2].function)
    assert '2 of 3 cases fail. The smallest is "an empty bag".' in said
    assert "lengths[1]: expected 0, found 1" in said


def test_a_mistake_that_nobody_foresaw_gets_no_invented_cause():
    said = refusal(LENGTHS, lambda offsets, n: lengths(offsets, n) * 7)
    assert "Likely cause" not in said and 'hint("01.lengths")' in said


def test_a_cause_that_agrees_with_some_cases_only_is_called_possible():
    """Both say 0 for 3, which is shown; the known mistake says 0 for 40 as well."""
    cases = lambda: [Case("three", 3), Case("forty", [40])]  # noqa: E731
    square = lambda x: x * x if x == 3 else 1600  # noqa: E731
    wrong = (Wrong(lambda x: 0, "Nothing is squared."),)
    exercise = Exercise("01.square", "square", square, cases, hints=LENGTHS.hints, wrong=wrong)
    assert "Likely cause: Nothing is squared." in refusal(exercise, lambda x: 0)
    assert "Perhaps: Nothing is squared." in refusal(exercise, lambda x: 0 if x == 3 else 7)


def test_an_error_in_other_words_is_no_certain_cause():
    cases = lambda: [Case("three", 3)]  # noqa: E731
    wrong = (Wrong(lambda x: x / 0, "Nothing goes into 0."),)
    exercise = Exercise("01.square", "square", lambda x: x, cases, hints=LENGTHS.hints, wrong=wrong)
    assert "Likely cause: Nothing goes" in refusal(exercise, lambda x: 5 / 0)
    assert "Perhaps: Nothing goes" in refusal(exercise, lambda x: x % 0)
    said = refusal(exercise, lambda x: x["a"])
    assert "Likely cause" not in said and "Perhaps" not in said


def test_a_cause_that_would_fail_where_the_answer_passes_is_not_told():
    """Both say 0 for 3; but the known mistake says 0 for 4 as well."""
    cases = lambda: [Case("three", 3), Case("four", 4)]  # noqa: E731
    wrong = (Wrong(lambda x: 0, "Nothing is squared."),)
    exercise = Exercise(
        "01.square", "square", lambda x: x * x, cases, hints=LENGTHS.hints, wrong=wrong
    )
    assert "Likely cause: Nothing is squared." in refusal(exercise, lambda x: 0)
    assert "Likely cause" not in refusal(exercise, lambda x: 16 if x == 4 else 0)


def test_nan_does_not_pass():
    exercise = Exercise("01.half", "half", lambda x: x / 2, lambda: [Case("one", np.ones(2))],
                        hints=LENGTHS.hints)  # fmt: skip
    check(exercise, lambda x: x * 0.5)
    for mine in (lambda x: x * np.nan, lambda x: x * np.inf, lambda x: np.array(["0.5", "0.5"])):
        refusal(exercise, mine)
    assert "dtype float32" in refusal(exercise, lambda x: (x / 2).astype(np.float32))


def stub(offsets, n):
    raise NotImplementedError("your code here")


@pytest.mark.parametrize("mine", [..., None, stub, lambda offsets, n: ...])
def test_untouched_answer_is_not_done_yet(mine):
    with pytest.raises(NotDoneYet, match="not done yet"):
        check(LENGTHS, mine)


def test_error_of_the_answer_is_shown_with_its_line():
    def mine(offsets, n):
        return offsets[99]

    said = refusal(LENGTHS, mine)
    assert "IndexError" in said and "in your line: return offsets[99]" in said


def test_a_name_that_no_cell_defined_is_explained():
    def mine(offsets, n):
        return lengths_of(offsets)  # noqa: F821

    assert "Perhaps a cell above, which defines this name, was not run" in refusal(LENGTHS, mine)


@pytest.mark.parametrize(
    ("name", "mine", "message"),
    [
        (lengths, "01.lengths", 'check("01.lengths", lengths)'),
        (lengths, "forward.sum", 'embag_edu.check.check(lengths, "forward.sum")'),
        (np.ones(2), "01.lengths", "The name of the exercise comes first"),
    ],
)
def test_arguments_of_check_that_are_swapped(name, mine, message):
    with pytest.raises(ExerciseFailed) as caught:
        check(name, mine)
    assert message in str(caught.value)


def test_a_clause_is_sent_to_the_other_check():
    with pytest.raises(UnknownExercise, match="embag_edu.check.check"):
        check("forward.sum", lengths)


def test_none_and_results_instead_of_functions_are_explained():
    assert "ends without a `return`" in refusal(LENGTHS, lambda offsets, n: None)
    assert "without parentheses" in refusal(LENGTHS, np.array([2, 3]))


def test_a_named_tuple_is_shown_field_by_field():
    point = collections.namedtuple("point", "place size")(np.arange(3), "n" * 400)
    said = text(point)
    assert said.startswith("point(\n  place=array([0, 1, 2]") and "\n  size=" in said


def test_changed_argument_is_named():
    said = refusal(LENGTHS, writes_into_offsets)
    assert "changed its argument offsets, which belongs to the caller" in said
    assert "offsets[0]: expected 0, found 1" in said


def test_in_place_exercises_compare_the_arguments():
    def reference(table, row):
        table[row] = 0

    cases = lambda: [Case("row 1", np.ones((3, 2)), 1)]  # noqa: E731
    exercise = Exercise("01.clear", "clear", reference, cases, hints=LENGTHS.hints, in_place=True)
    check(exercise, reference)
    said = refusal(exercise, lambda table, row: None)
    assert "table: 2 of 6 values differ" in said and "Perhaps: table is as it was." in said
    assert "expected  None" not in said and "`return`" not in said
    assert "as it was" not in refusal(exercise, lambda table, row: table.fill(7))
    assert "expected None" in refusal(exercise, lambda table, row: reference(table, row) or table)


def test_an_error_may_be_the_right_answer():
    def reference(n):
        if n < 0:
            raise ValueError("n is negative")
        return n

    cases = lambda: [Case("good", 1), Case("bad", -1)]  # noqa: E731
    exercise = Exercise("01.guard", "guard", reference, cases, hints=LENGTHS.hints)
    check(exercise, reference)
    assert "expected a ValueError (n is negative), but nothing" in refusal(exercise, lambda n: n)


def test_judge_decides_where_there_are_no_cases(capsys):
    def judge(mine):
        return "" if mine([]) == 0 else "The empty list is not handled."

    exercise = Exercise("01.judge", "a judge", len, hints=LENGTHS.hints, judge=judge)
    check(exercise, len)
    assert capsys.readouterr().out.startswith("01.judge: right. Not shown")
    assert "The empty list is not handled." in refusal(exercise, lambda items: 1)
    assert "ZeroDivisionError" in refusal(exercise, lambda items: 1 / 0)
    with pytest.raises(NotDoneYet):
        check(exercise, lambda items: stub(items, 0))


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (3, np.int64(3), ""),
        (3, 3.0, "whole number"),
        (3, True, "the number 3"),
        (2.5, np.float32(2.5), ""),
        (2.5, float("nan"), "expected 2.5, found nan"),
        (True, np.True_, ""),
        (True, 1, "expected True, found 1"),
        ("a", "b", "expected 'a', found 'b'"),
        ([1, 2], np.array([1, 2]), ""),
        ([1, 2], [1, 2, 3], "expected 2 of them, found 3"),
        ([[1], [2]], [[1], [5]], "x[1][0]: expected 2, found 5"),
        ((np.ones(2), 1), (np.ones(2), 1), ""),
        ((np.ones(2), 1), 3, "expected a tuple of 2, found the int 3"),
        ({"a": 1}, {"a": 2}, "x['a']: expected 1, found 2"),
        ({"a": 1}, {"b": 1}, "expected {'a': 1}"),
        (np.ones(2), [1.0, 1.0], "found a list; np.array"),
        (3, np.array([3]), "found an array of shape (1,)"),
        ("a", np.str_("a"), ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ""),
        ((1, 2), np.array([1, 2]), ""),
        (np.arange(3), np.arange(3, dtype=np.int32), ""),
        (np.arange(3), np.arange(3.0), "expected dtype int64, found dtype float64"),
        (np.arange(2), np.array([False, True]), "found dtype bool"),
        (96, np.int64(97), "expected 96, found 97"),
        (-2.0, -2.0 - 1e-12, "expected -2.0, found -2.000000000001"),
        (np.array([-2.0]), np.array([-2.0 - 1e-12]), "expected -2, found -2.0000000000010001"),
        (np.zeros((0, 3)), np.zeros(0), "expected shape (0, 3), found shape (0,)"),
    ],
)
def test_differ(expected, found, said):
    answer = differ(expected, found, name="x")
    assert said in answer and bool(answer) == bool(said)


def test_steps_of_the_dtype_that_an_exercise_allows():
    one, step = np.ones(1, np.float16), np.spacing(np.float16(1))
    allowed = Allowed(rtol=1e-6, steps=2)
    assert differ(one, one + 2 * step, allowed) == ""
    assert "expected 1, found 1.00292969" in differ(one, one + 3 * step, allowed)
    assert "expected 1, found 1.00097656" in differ(one, one + step, Allowed(rtol=1e-6))


def test_whole_numbers_of_a_dtype_that_the_task_names():
    message = differ(np.arange(3), np.arange(3, dtype=np.int32), Allowed(same_ints=True))
    assert "expected dtype int64, found dtype int32" in message


def test_random_calls_come_after_the_cases(capsys):
    cases = lambda: [Case("three", 3)]  # noqa: E731
    drawn = lambda random: (int(random.integers(100)),)  # noqa: E731
    exercise = Exercise("01.same", "same", lambda x: x, cases, LENGTHS.hints, random_call=drawn)
    check(exercise, lambda x: x)
    assert "1 case and 50 random calls passed." in capsys.readouterr().out
    assert "random call" in refusal(exercise, lambda x: min(x, 90))
    assert "random call" not in refusal(exercise, lambda x: 0)


def test_values_are_shown_as_python_writes_them():
    assert text([np.int64(96), np.float64(0.5)]) == "[96, 0.5]"
    assert text(np.zeros((0, 3))) == "array([], shape=(0, 3), dtype=float64)"


def test_torch_tensors_are_compared_and_not_taken_for_arrays():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert differ(torch.ones(2), torch.ones(2)) == ""
    assert "1 of 2 values" in differ(torch.ones(2), torch.tensor([1.0, 2.0]))
    assert "found a torch tensor" in differ(np.ones(2), torch.ones(2))
    assert differ(None, torch.ones(2), name="g").startswith("g: expected None, found a torch")
    assert differ(torch.eye(2).to_sparse(), torch.eye(2).to_sparse()) == ""
    assert "1 of 4" in differ(
        torch.eye(2).to_sparse(), torch.diag(torch.tensor([1.0, 2.0])).to_sparse()
    )
    assert "a dense tensor, found a sparse one" in differ(torch.eye(2), torch.eye(2).to_sparse())


def test_a_tensor_will_do_for_an_array_where_the_exercise_says_so():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    either = Allowed(same_ints=True, tensors=True)
    assert differ(np.arange(3), torch.arange(3), either) == ""
    assert "1 of 3" in differ(np.arange(3), torch.tensor([0, 1, 3]), either)
    assert "dtype int32" in differ(np.arange(3), torch.arange(3).int(), either)
    assert "found a torch tensor" in differ(np.eye(2), torch.eye(2).to_sparse(), either)
    assert "expected a torch tensor" in differ(torch.ones(2), np.ones(2))


def test_unknown_names_come_with_close_ones(chapter):
    for name in ("01.length", "lengths", "1.lengths", "99.lengths"):
        with pytest.raises(UnknownExercise, match="did you mean '01.lengths'"):
            find(name)


def test_hints_come_one_after_the_other(chapter, capsys):
    for _ in range(4):
        hint("01.lengths")
    hint("01.lengths", 2)
    printed = capsys.readouterr().out.splitlines()
    assert [line[: len("01.lengths, hint 1")][-1] for line in printed] == list("12332")
    with pytest.raises(ValueError, match="hints of 01.lengths are 1 to 3"):
        hint("01.lengths", 4)


def test_a_notebook_shows_only_the_message():
    error = ExerciseFailed("one\ntwo")
    assert error._render_traceback_() == ["one", "two"]


def test_importing_the_course_does_not_load_chapters_torch_or_jupyter():
    code = (
        "import sys, embag_edu.course; print([m for m in ('torch', 'nbformat', 'matplotlib', "
        "'embag_edu.chapters.ch01.exercises') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -------------------------------------------------------------------------- tools of an answer


def helper(x):
    return np.cumsum(x)


def test_what_an_answer_calls_is_seen_and_how_many_lines_it_takes():
    def mine(x):
        np.add.at(x, [0, 0], 1)
        return [value for value in x]  # noqa: C416

    work = work_of(mine, np.zeros(50))
    assert "add.at" in work.called and "add.reduceat" not in work.called
    assert work.lines >= 50 and work_of(lambda x: x + 1, np.zeros(50)).lines < 5
    assert work_of(lambda n: np.zeros(n), 1000).peak >= 8000


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        (lambda x: sum(x), False),
        (lambda x: np.sum(x), True),
        (lambda x: [np.abs(y) for y in x], True),
        (lambda x: helper(x), True),
        (lambda x: x.np, False),
    ],
)
def test_numpy_in_a_task_of_plain_python(mine, told):
    assert bool(without_numpy(mine)) == told


# -------------------------------------------------------------------------- other right answers


def _once_at_the_end(row, max_norm):
    norm = np.linalg.norm(row.astype(np.float64))
    return (row * (max_norm / (norm + 1e-7))).astype(row.dtype) if norm > max_norm else row


def _narrow_bag_of(offsets, n):
    return np.searchsorted(offsets, np.arange(n), side="right").astype(np.int32) - np.int32(1)


def _array_of_winners(rows):
    return np.array(find("02.winners").reference(rows), np.int8)


def _inclusive_quartiles(times, warm):
    first, middle, third = statistics.quantiles(times[warm:, 0], method="inclusive")
    return np.array([middle / np.median(times[warm:, 1]), (third - first) / middle])


def _by_lexsort(input, offsets, grad_output, num_embeddings):
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]), grad_output.dtype, order="F")
    bag_of = np.searchsorted(offsets, np.arange(len(input)), side="right") - 1
    rows, counts = np.unique(input, return_counts=True)
    shares = grad_output[bag_of[np.lexsort((bag_of, input))]]
    grad_weight[rows] = np.add.reduceat(shares, np.cumsum(counts) - counts, axis=0)
    return grad_weight


OTHERS = {
    "00.first_mean": lambda ids, weight: np.asfortranarray(weight[ids]).mean(axis=0),
    "01.bag_of": _narrow_bag_of,
    "01.offsets": lambda lengths: tuple(sum(lengths[:bag]) for bag in range(len(lengths))),
    "02.rescaled": _once_at_the_end,
    "02.winners": _array_of_winners,
    "03.slope": lambda *call: np.array(find("03.slope").reference(*call)),
    "04.bag_matrix": lambda *call: [part[:] for part in find("04.bag_matrix").reference(*call)],
    "05.better_order": lambda terms: sorted(range(len(terms)), key=lambda at: terms[at]),
    "05.counter_example": lambda: [np.array([0, 2, 2]), np.int64(4)],
    "05.sorted_backward": _by_lexsort,
    "06.peaks": lambda *call: np.array(find("06.peaks").reference(*call)),
    "06.ratio": _inclusive_quartiles,
    "02.bug_in_max": {"input": [0], "weight": [[-np.inf]], "offsets": [0]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_right_answers_pass(name):
    check(name, OTHERS[name])


# -------------------------------------------------------------------------- break_it, running_total


def raises_without_bags(bag):
    """A test that asks for a call on which a faulty bag of ours might raise: that is found."""
    assert bag(np.zeros(0, int), np.ones((2, 1)), np.zeros(0, int), "sum").shape == (0, 1)
    find("04.break_it").reference(bag)


def test_an_error_inside_a_faulty_bag_is_found():
    check("04.break_it", raises_without_bags)
    exercise = importlib.import_module("embag_edu.chapters.ch04.exercises")

    def crashes(input, weight, offsets, mode):
        raise IndexError("out of bounds")

    assert isinstance(exercise._run(find("04.break_it").reference, crashes), AssertionError)


@pytest.mark.parametrize(
    ("values", "offsets", "told"),
    [
        ([[1e8], [8.0]], [0, 1], "EXACT"),
        ([[1e5], [1e5 + 0.1]], [0, 1], "IN_THE_BAG"),
        ([[1e5 + 0.1], [1e5]], [0, 1], "TOO_LITTLE"),
        ([[1e5], [1.1]], [0, 2], "ONE_BAG"),
    ],
)
def test_running_total_says_what_is_so(values, offsets, told):
    ch04 = importlib.import_module("embag_edu.chapters.ch04.exercises")
    said = refusal(find("04.running_total"), ch04._total_call([0, 1], values, offsets))
    assert getattr(ch04, told) in said


# -------------------------------------------------------------------------- readers' copies


def cell(id, text, kind="code", tags=(), **nbgrader):
    metadata = {"tags": list(tags), "execution": {"x": 1}}
    if nbgrader:
        marks = {"schema_version": 3, "grade_id": id, "task": False, "locked": False}
        metadata["nbgrader"] = marks | {"solution": False, "grade": False} | nbgrader
    made = {"cell_type": kind, "id": id, "source": text, "metadata": metadata}
    shown = {"output_type": "stream", "name": "stdout", "text": "secret"}
    return made | ({"outputs": [shown], "execution_count": 7} if kind == "code" else {})


ANSWER = (
    "def lengths(offsets, n):\n    ### BEGIN SOLUTION\n    return np.diff(np.append(offsets, n))\n"
    "    ### END SOLUTION"
)


@pytest.fixture
def solved(chapter):
    """A solutions notebook of the form that the book's have."""
    why = "<!-- ### BEGIN SOLUTION -->\nBecause.\n<!-- ### END SOLUTION -->"
    cells = [
        cell("title", "# Exercises 01", "markdown"),
        cell("note", "for the instructor", "markdown", tags=["instructor"]),
        cell("imports", "import numpy as np\nfrom embag_edu.course import check"),
        cell("answer", ANSWER, solution=True),
        cell("check", 'check("01.lengths", lengths)', grade=True, locked=True, points=2),
        cell("why", why, "markdown", solution=True, grade=True, points=3),
    ]
    return {"cells": cells, "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}


def test_student_copy_has_stubs_and_nothing_else_changes(solved):
    before = copy.deepcopy(solved)
    made = notebooks.student_copy(solved)
    assert solved == before
    assert [c["id"] for c in made["cells"]] == ["title", "imports", "answer", "check", "why"]
    stub = 'def lengths(offsets, n):\n    raise NotImplementedError("your code here")'
    assert made["cells"][2]["source"] == stub
    assert made["cells"][4]["source"] == "*Your answer here.*"
    assert made["cells"][3]["source"] == 'check("01.lengths", lengths)'
    assert made["cells"][3]["metadata"]["nbgrader"]["points"] == 2
    text = notebooks.written(made)
    assert "secret" not in text and "instructor" not in text and "np.diff" not in text
    assert made["metadata"]["kernelspec"]["name"] == "python3" and "widgets" not in made["metadata"]
    assert all(c["execution_count"] is None for c in made["cells"] if c["cell_type"] == "code")


def test_student_copy_is_a_valid_notebook(solved):
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with Jupyter")
    nbformat.validate(nbformat.reads(notebooks.written(notebooks.student_copy(solved)), 4))


REFUSED = {
    "no region": ({"source": "x = 1"}, 3, "without a region"),
    "unclosed": ({"source": "### BEGIN SOLUTION\nx"}, 3, "without an '### END"),
    "nested": ({"source": "### BEGIN SOLUTION\n### BEGIN SOLUTION"}, 3, "still open"),
    "only an end": ({"source": "### END SOLUTION"}, 3, "without a '### BEGIN"),
    "region elsewhere": ({"source": ANSWER}, 2, "no solution cell"),
    "leftover": ({"source": "# BEGIN SOLUTION"}, 2, "left over"),
    "hidden tests": ({"source": "### BEGIN HIDDEN TESTS"}, 2, "left over"),
    "unknown exercise": ({"source": 'check("01.length", f)'}, 4, "did you mean '01.lengths'"),
    "no check": ({"source": "assert True"}, 4, "without a check"),
    "same id": ({"metadata": cell("answer", "", solution=True)["metadata"]}, 5, "used twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_release_refuses(name, solved, tmp_path):
    change, at, said = REFUSED[name]
    solved["cells"][at].update(change)
    (tmp_path / "solutions").mkdir()
    path = tmp_path / "solutions" / "01_bags.ipynb"
    path.write_text(notebooks.written(solved), encoding="utf-8")
    with pytest.raises(notebooks.ReleaseError, match="01_bags.ipynb") as caught:
        notebooks.release(tmp_path)
    assert said in str(caught.value) and not (tmp_path / "exercises").exists()


def test_points_must_be_the_exercises(solved):
    solved["cells"][4]["metadata"]["nbgrader"]["points"] = 5
    with pytest.raises(notebooks.ReleaseError, match="points is 5.*01.lengths count 2"):
        notebooks.student_copy(solved)


@pytest.fixture
def book(solved, tmp_path):
    (tmp_path / "solutions").mkdir()
    text = notebooks.written(solved)
    (tmp_path / "solutions" / "01_bags.ipynb").write_text(text, encoding="utf-8")
    return tmp_path


def test_release_writes_and_check_compares(book, capsys):
    assert notebooks.main(["--check", str(book)]) == 1
    assert "01_bags.ipynb is missing" in capsys.readouterr().out
    assert notebooks.main([str(book)]) == 0
    assert notebooks.main(["--check", str(book)]) == 0
    made = book / "exercises" / "01_bags.ipynb"
    made.write_text(made.read_text(encoding="utf-8").replace("Exercises", "X"), encoding="utf-8")
    (book / "exercises" / "02_x.ipynb").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert notebooks.main(["--check", str(book)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "02_x.ipynb has no source in book/solutions",
        "01_bags.ipynb is not what its solutions notebook gives",
    ]
    assert notebooks.main([str(book / "nowhere")]) == 2
    assert notebooks.main(["--chekc"]) == 2
