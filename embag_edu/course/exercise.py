"""What an exercise is, how an answer to it is checked, and how its hints are given.

An exercise knows its right answer (`reference`), the calls on which an answer must agree with it
(`cases`), and believable wrong answers, each with a sentence for the reader who gave it (`wrong`).
When an answer fails as one of the wrong ones does, the reader gets that sentence.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import linecache
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from embag_edu.course.differ import EXACTLY, Allowed, differ, entry, text

RANDOM_CALLS = 50
RANDOM_NAME = "random call "
CAUSE_CALLS = 10  # of these, a cause must agree with
NAME = re.compile(r"\d\d\.[a-z][a-z0-9_]*(#\d+)?")  # with the number of a variant


# -------------------------------------------------------------------------- what an exercise is


@dataclass(frozen=True, init=False)
class Case:
    """One call: Case("an empty bag", offsets, 5, mode="sum") is f(offsets, 5, mode="sum")."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __init__(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwargs", kwargs)

    def size(self) -> int:
        """How much there is to read in this call: the elements of all its arguments."""
        return sum(_size(value) for value in (*self.args, *self.kwargs.values()))


@dataclass(frozen=True)
class Wrong:
    """A small believable mistake: the answer that has it, and what to say to who made it."""

    function: Any
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise of the book.

    name       chapter and word: "01.lengths"
    title      what is to be done, in a few words
    reference  the right answer, a function
    cases      a function that returns the calls to try, with new arguments each time that it is
               called (an answer may write into them), and the same ones (seed the random ones)
    hints      three: where to look, how to go about it, the answer's idea (not its text)
    wrong      answers that must be rejected, five or more
    random_call  draws the arguments of any call that the task allows. An answer that passes all
               cases is tried on RANDOM_CALLS of these, the same ones each time
    hidden     more cases, as a function: for marks only (`hidden_failure`). `check` knows nothing
               of them, and no student is told what they are
    seed       draws other random calls than everybody has
    points     what it counts in a course
    atol, rtol how far a float may be off: |actual - expected| <= atol + rtol * |expected|
    steps      a float may be so many steps of its dtype off in any case, whatever rtol is
    same_ints  True where the task names the dtype of whole numbers; else any width will do
    tensors    True where a torch tensor will do in place of an array
    returns    the name of what is returned, or the names where it is a tuple
    in_place   True where the answer is to change its arguments: then they are compared too
    tools      where the task excludes a tool: tools(mine) is called for an answer that passes all
               cases, and returns '' when it was done as asked, else what to say
    unproved   a sentence: what an answer may still do wrong when it passes
    otherwise  a sentence for who has passed: what the model answer does, perhaps otherwise
    judge      for an exercise that is not "the same as reference" (write a test; find a counter-
               example): judge(mine) returns '' when mine is right, else what to say. `cases` is
               not used then, and an answer need not be a function
    vary       vary(exercise, random) returns the exercise with other numbers: those of one student.
               Its docstring says what is other, and what makes each as hard as the others
    shown      the texts of the task, and of its solution, in which these numbers stand. A variant
               has its own, in the same order: in the notebook they take the place of these
    """

    name: str
    title: str
    reference: Any
    cases: Callable[[], Sequence[Case]] = tuple
    hints: tuple[str, str, str] = field(default=(), repr=False)  # type: ignore[assignment]
    wrong: tuple[Wrong, ...] = field(default=(), repr=False)
    random_call: Callable[[np.random.Generator], tuple[Any, ...]] | None = None
    hidden: Callable[[], Sequence[Case]] = tuple
    seed: str = ""
    points: int = 1
    atol: float = 1e-6
    rtol: float = 1e-5
    steps: int = 0
    returns: str | tuple[str, ...] = "output"
    in_place: bool = False
    same_ints: bool = False
    tensors: bool = False
    tools: Callable[[Any], str] | None = None
    unproved: str = "other inputs than these cases."
    otherwise: str = ""
    judge: Callable[[Any], str] | None = None
    vary: Callable[[Exercise, np.random.Generator], Exercise] | None = None
    shown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}; it must be like '01.lengths'")
        if len(self.hints) != 3:
            raise ValueError(f"{self.name}: hints holds {len(self.hints)}; there must be 3")
        if self.points < 1:
            raise ValueError(f"{self.name}: points is {self.points}; it must be 1 or more")
        if self.judge is None and not self.cases():
            raise ValueError(f"{self.name}: give cases (or a judge)")
        if self.judge is not None and self.hidden is not tuple:
            raise ValueError(f"{self.name}: hidden cases go with cases; a judge has its own")

    def random_case(self, number: int) -> Case:
        """Random call `number` of this exercise, with new arguments each time."""
        assert self.random_call is not None
        seed = [number, len(self.name), *self.seed.encode()]
        arguments = self.random_call(np.random.default_rng(seed))
        return Case(f"{RANDOM_NAME}{number}", *arguments)

    def allowed(self) -> Allowed:
        """What the results of an answer may differ by from the right answer's."""
        return Allowed(self.atol, self.rtol, self.steps, self.same_ints, self.tensors)


class _Short:
    """An error of which a notebook shows the text alone, not the way through our own code."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def whole_numbers(mine: Any) -> tuple[int, ...] | None:
    """A prediction as whole numbers; None for what is no list of them, such as a string."""
    if isinstance(mine, (str, dict, set)):
        return None
    try:
        return tuple(int(value) for value in mine)
    except (TypeError, ValueError):
        return None


def judge_prediction(
    mine: Any, right: Sequence[int], said: Mapping[tuple[int, ...], str], unknown: str
) -> str:
    """A judge of predicted numbers: '' for the right ones, else what is said of those.

    said: of answers that are known; of any other, the answer and then `unknown`.
    """
    found = whole_numbers(mine)
    if found is None:
        return f"Your answer is {mine!r}; a list of whole numbers is wanted, like [0, 3]."
    if found == tuple(right):
        return ""
    return said.get(found, f"Your answer is {list(found)}. {unknown}")


class ExerciseFailed(_Short, AssertionError):
    """An answer that is not right. Its text says on which call, what was expected, and why.

    share: the part of its points, from 0 to 1, that the answer earns all the same, where an
    exercise has parts.
    """

    def __init__(self, text: str, share: float = 0) -> None:
        super().__init__(text)
        self.share = share


class NotDoneYet(ExerciseFailed):
    """There is no answer yet: the place for it is still as it was handed out."""


class UnknownExercise(_Short, LookupError):
    """There is no exercise of this name."""


class WrongArgument(_Short, ValueError):
    """A number of a hint, or of a launch, that does not exist."""


# -------------------------------------------------------------------------- finding exercises


def exercises(chapter: str | int | None = None) -> tuple[Exercise, ...]:
    """The exercises of one chapter ("01" or 1), or of all chapters, in the order of the book.

    A chapter that has no exercises gives ().
    """
    if chapter is not None:
        return _chapter(f"{int(chapter):02d}")
    return tuple(exercise for number in chapters() for exercise in _chapter(number))


_registered: dict[str, Callable[[], Sequence[Exercise]]] = {}  # number of a chapter -> its loader


def register(chapter: str, load: Callable[[], Sequence[Exercise]]) -> None:
    """Make the exercises of a chapter ("01") known; `load` is called when they are asked for.

    A package of chapters calls this when it is imported, and names itself in its pyproject.toml as
    an entry point of the group "embag_edu.course": so a course may add chapters of its own.
    """
    _registered[chapter] = load


def unregister(chapter: str) -> None:
    """Forget the exercises of a chapter."""
    _registered.pop(chapter, None)


@functools.cache
def import_chapters() -> None:
    """Have every package of chapters register itself."""
    for point in entry_points(group="embag_edu.course"):
        point.load()


def chapters() -> list[str]:
    """The numbers of all chapters that have exercises."""
    import_chapters()
    return sorted(_registered)


changes: list[Callable[[Exercise], Exercise]] = []  # made to each exercise that is found
elsewhere: list[Callable[[str], Exercise | None]] = []  # where a name is looked up that none has


def _chapter(number: str) -> tuple[Exercise, ...]:
    import_chapters()
    found = tuple(_registered[number]()) if number in _registered else ()
    return tuple(map(_in_this_course, found))


def _in_this_course(exercise: Exercise) -> Exercise:
    for change in changes:
        exercise = change(exercise)
    return exercise


def base(name: str) -> str:
    """The name without the number of a variant: "01.predict" for "01.predict#4711"."""
    return name.partition("#")[0]


def find(name: str) -> Exercise:
    """The exercise of this name. UnknownExercise, with names that are close, if there is none.

    "01.predict#4711" is variant 4711 of "01.predict": always the same one.
    """
    chapter, asked = str(name)[:2], base(str(name))
    for exercise in _chapter(chapter) if chapter.isdecimal() else ():
        if exercise.name == asked:
            return _variant(exercise, name) if asked != name else exercise
    for look in elsewhere if NAME.fullmatch(str(name)) else ():
        if there := look(name):
            return _in_this_course(there)
    known = [exercise.name for exercise in exercises()]
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:8]
    advice = (
        f"did you mean {' or '.join(map(repr, close))}?"
        if close
        else ("no chapter is known here: install the package (pip install -e . in its folder).")
    )
    if isinstance(name, str) and not name[:1].isdecimal() and "." in name:
        advice += " (Is it a clause? embag_edu.check.check(implementation, clause) checks those.)"
    if NAME.fullmatch(str(name)) and chapter not in chapters():
        advice += f" (Of an instructor's own exercise, {asked}.json has to be in this folder.)"
    raise UnknownExercise(f"there is no exercise {name!r}; {advice}")


def _variant(exercise: Exercise, name: str) -> Exercise:
    """The exercise with the numbers of one student: those that the number in `name` draws."""
    if exercise.vary is None or not NAME.fullmatch(name):
        raise UnknownExercise(f"there is no exercise {name!r}; {exercise.name!r} has no variants")
    seed = [int(name.partition("#")[2]), *exercise.name.encode()]
    return replace(exercise.vary(exercise, np.random.default_rng(seed)), name=name)


# -------------------------------------------------------------------------- hints

_given: dict[str, int] = {}  # how many hints of an exercise this process has shown


def hint(name: str | Exercise, number: int | None = None) -> None:
    """Print the next hint for an exercise, or hint `number` (1, 2 or 3).

    The first says where to look, the second how to go about it, the third is the answer's idea.
    """
    exercise = name if isinstance(name, Exercise) else find(name)
    count = len(exercise.hints)
    if number is None:
        number = min(_given.get(exercise.name, 0) + 1, count)
    if number not in range(1, count + 1):
        raise WrongArgument(f"number is {number!r}; the hints of {exercise.name} are 1 to {count}")
    _given[exercise.name] = max(number, _given.get(exercise.name, 0))
    print(f"{exercise.name}, hint {number} of {count}: {exercise.hints[number - 1]}")


# -------------------------------------------------------------------------- checking an answer


@contextlib.contextmanager
def _warnings_on_stdout() -> Iterator[None]:
    """Print an answer's warnings: nbgrader gives no points to a check that writes to stderr."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            yield
        finally:
            told = dict.fromkeys(f"{each.category.__name__}: {each.message}" for each in caught)
            print("".join(f"Your answer warns: {text}\n" for text in told), end="")


@_warnings_on_stdout()
def check(name: str | Exercise, mine: Any) -> None:
    """Check an answer: prints one line when it is right, raises ExerciseFailed when it is not.

    name: the exercise, like "01.lengths".
    mine: your answer. Most exercises want a function: give its name, without parentheses.

    The answer is called on each case with arguments of its own. What it returns must equal what
    the right answer returns, and (unless the exercise asks for it) its arguments must stay as they
    were. A failing answer is shown on the smallest case that it fails. Random calls come after.

    embag_edu.check.check is another function: it checks an implementation, its first argument.
    """
    if isinstance(mine, str) and not isinstance(name, (str, Exercise)):
        raise ExerciseFailed(_swapped(name, mine))
    exercise = name if isinstance(name, Exercise) else find(name)
    if mine is None or mine is ...:
        raise NotDoneYet(_not_done(exercise))
    if exercise.judge is not None:
        _check_by_judge(exercise, mine)
        return
    if not callable(mine):
        raise ExerciseFailed(
            f"{exercise.name}: check wants your function, and was given {text(mine)}. Write its "
            "name without parentheses after it."
        )
    passed: list[str] = []
    kinds = _calls(exercise)
    for kind, calls in kinds.items():
        tried = [_try(exercise, mine, call) for call in calls]
        if any(attempt.problem for attempt in tried):
            more = [] if passed else kinds["random calls"][:CAUSE_CALLS]
            others = [_try(exercise, mine, call) for call in more]
            raise ExerciseFailed(_failure_text(exercise, tried, others))
        passed += [f"{len(tried)} {kind}" if len(tried) > 1 else "1 case"] if tried else []
    if exercise.tools is not None:
        _refuse(exercise, exercise.tools(mine))
    _pass(exercise, mine, f"{' and '.join(passed)} passed.")


def _calls(exercise: Exercise) -> dict[str, list[_Call]]:
    """The calls to try, by their kind. Each makes its arguments anew when it is called."""
    named = _named_calls(exercise, exercise.cases)
    numbers = range(RANDOM_CALLS if exercise.random_call else 0)
    drawn: list[_Call] = [partial(exercise.random_case, number) for number in numbers]
    return {"cases": named, "random calls": drawn}


def hidden_failure(exercise: Exercise, mine: Any) -> str:
    """The name of the first hidden case that an answer fails; '' for none. Not for students."""
    for call in _named_calls(exercise, exercise.hidden):
        try:
            problem = _try(exercise, mine, call).problem
        except NotDoneYet:
            problem = "not done"
        if problem:
            return call().name
    return ""


def _named_calls(exercise: Exercise, cases: Callable[[], Sequence[Case]]) -> list[_Call]:
    return [partial(by_place, exercise, cases, at) for at in range(len(cases()))]


def by_place(exercise: Exercise, cases: Callable[[], Sequence[Case]], at: int) -> Case:
    """Case `at`. Arguments are given by place where they can be: an answer may rename them."""
    case = cases()[at]
    try:
        given = inspect.signature(exercise.reference).bind(*case.args, **case.kwargs)
    except (TypeError, ValueError):
        return case
    return Case(case.name, *given.args, **given.kwargs)


def _swapped(name: Any, mine: str) -> str:
    """For check(mine, name), and for a clause that was meant for the other check."""
    given = text(name)
    if NAME.fullmatch(mine):
        return (
            f'The name of the exercise comes first here: check("{mine}", {given}).\n'
            "(embag_edu.check.check, another function, takes an implementation first.)"
        )
    return (
        f"This check wants the name of an exercise, then your answer; {mine!r} is no exercise.\n"
        f'Is it a clause? The other check takes those: embag_edu.check.check({given}, "{mine}").'
    )


def at_hand_in(mine: Any) -> str:
    """The judge of an exercise whose answers are judged when they are handed in, and not here."""
    raise NotImplementedError


def _check_by_judge(exercise: Exercise, mine: Any) -> None:
    assert exercise.judge is not None
    if exercise.judge is at_hand_in:
        print(f"{exercise.name}: noted. It is judged when you have handed it in.")
        return
    try:
        message = exercise.judge(mine)
    except NotImplementedError:
        raise NotDoneYet(_not_done(exercise)) from None
    except ExerciseFailed:
        raise
    except Exception as error:
        message = f"it raised {_raised(error, mine)}"
    _refuse(exercise, message.replace(f'"{base(exercise.name)}"', f'"{exercise.name}"'))
    _pass(exercise, mine, "")


def _refuse(exercise: Exercise, message: str) -> None:
    if message:
        raise ExerciseFailed(f"{exercise.name}: not right yet.\n\n{message}\n\n{_help(exercise)}")


when_passed: list[Callable[[Exercise, Any], None]] = []  # called with each answer that has passed


def _pass(exercise: Exercise, mine: Any, passed: str) -> None:
    print(f"{exercise.name}: right. {passed}".rstrip(), f"Not shown by this: {exercise.unproved}")
    for call in when_passed:
        call(exercise, mine)


def _not_done(exercise: Exercise) -> str:
    return (
        f"{exercise.name}: not done yet.\nWrite your answer ({exercise.title}) where the line "
        f'raise NotImplementedError("your code here") stands. {_help(exercise)}'
    )


def _help(exercise: Exercise) -> str:
    return f'Stuck? hint("{exercise.name}")'


_Call = Callable[[], Case]


@dataclass(frozen=True)
class _Outcome:
    """What a call came to: what it returned or raised, and its arguments afterwards."""

    result: Any
    error: Exception | None
    after: Case


@dataclass(frozen=True)
class _Attempt:
    """One case, as it was before, with the outcome of the reader's answer and the expected one."""

    call: _Call
    case: Case
    actual: _Outcome
    expected: _Outcome
    problem: str  # '' when the answer is right
    raised: str  # what the answer raised, in words


def _try(exercise: Exercise, mine: Callable[..., Any], call: _Call) -> _Attempt:
    case, expected = call(), _run(exercise.reference, call())
    actual = _run(mine, call(), quiet=case.name.startswith(RANDOM_NAME))  # one warning is enough
    if isinstance(actual.error, NotImplementedError) or actual.result is ...:
        raise NotDoneYet(_not_done(exercise)) from None
    raised = _raised(actual.error, mine) if actual.error else ""
    return _Attempt(
        call, case, actual, expected, _problem(exercise, case, expected, actual), raised
    )


def _run(function: Callable[..., Any], case: Case, quiet: bool = True) -> _Outcome:
    """Call a function on a case. A warning is only shown when it comes from the reader's answer."""
    try:
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")
            return _Outcome(function(*case.args, **case.kwargs), None, case)
    except Exception as error:
        return _Outcome(None, error, case)


def _problem(exercise: Exercise, case: Case, expected: _Outcome, actual: _Outcome) -> str:
    """In what an outcome departs from the expected one; '' when it does not."""
    if expected.error is not None:
        return _error_problem(expected.error, actual)
    if actual.error is not None:
        return "an answer was expected, and an error came"
    message = differ(expected.result, actual.result, exercise.allowed(), exercise.returns)
    before = expected.after if exercise.in_place else case
    return message or _changed(exercise, before, actual.after)


def _error_problem(expected: Exception, actual: _Outcome) -> str:
    """For a case on which the right answer raises: the same type of error is wanted."""
    if isinstance(actual.error, type(expected)):
        return ""
    wanted = f"a {type(expected).__name__} ({expected})"
    if actual.error is None:
        return f"expected {wanted}, but nothing was raised"
    return f"expected {wanted}, found a {type(actual.error).__name__}"


def _changed(exercise: Exercise, before: Case, after: Case) -> str:
    names = _argument_names(exercise, before)
    allowed = exercise.allowed() if exercise.in_place else EXACTLY
    for name, was, now in zip(names, _values(before), _values(after), strict=True):
        message = "" if callable(was) else differ(was, now, allowed, name)
        if message and exercise.in_place:
            return f"the arguments are not as they should be after the call. {message}"
        if message:
            start = f"your function changed its argument {name}, which belongs to the caller."
            return f"{start} {message}"
    return ""


# -------------------------------------------------------------------------- telling what is wrong


def _failure_text(exercise: Exercise, tried: list[_Attempt], others: list[_Attempt]) -> str:
    """others: attempts that are not told of, but that a cause must agree with as well."""
    failures, total = [attempt for attempt in tried if attempt.problem], len(tried)
    worst = min(failures, key=lambda attempt: attempt.case.size())
    if len(failures) == 1:
        which = f'It fails on the case "{worst.case.name}" (1 of {total}).'
    else:
        which = f'{len(failures)} of {total} cases fail. The smallest is "{worst.case.name}".'
    lines = [f"{exercise.name}: not right yet. {which}", "", *_called_with(exercise, worst.case)]
    lines += [*_expected_and_found(worst), "", worst.problem]
    cause = _cause(exercise, tried, others, worst)
    lines += ["", cause] if cause else []
    return "\n".join([*lines, "", _help(exercise)])


def _called_with(exercise: Exercise, case: Case) -> list[str]:
    arguments = zip(_argument_names(exercise, case), _values(case), strict=True)
    return ["called with", *(entry(f"    {name} = ", value) for name, value in arguments)]


def _expected_and_found(attempt: _Attempt) -> list[str]:
    wanted, came = attempt.expected, attempt.actual
    if all(each.result is None and each.error is None for each in (wanted, came)):
        return []  # a function that changes its arguments: what differs is told of those
    first = f"an error: {_error(wanted.error)}" if wanted.error else text(wanted.result)
    second = f"an error: {attempt.raised}" if came.error else text(came.result)
    indent = "\n" + " " * 10
    return [f"expected  {first}".replace("\n", indent), f"found     {second}".replace("\n", indent)]


def _cause(
    exercise: Exercise, tried: list[_Attempt], others: list[_Attempt], worst: _Attempt
) -> str:
    """What to say of the cause: the message of the wrong answer that fails as this one does.

    It must be right wherever the reader's answer is. Where it gives the same outcome on all
    failing cases, it is called likely; where on half of them or more, there is a "perhaps".
    """
    most, message = 0.0, ""
    for wrong in exercise.wrong:
        agrees = _share(exercise, wrong, tried)
        if agrees > most and others:
            agrees = min(agrees, _share(exercise, wrong, others))
        if agrees > most:
            most, message = agrees, wrong.message
    if message:
        return f"{'Likely cause' if most == 1 else 'Perhaps'}: {message}"
    if worst.actual.error is not None:
        return ""
    if worst.actual.result is None and worst.expected.result is not None:
        return "Perhaps: the function ends without a `return`, so it returns None."
    name = next(_untouched(exercise, worst), "") if exercise.in_place else ""
    return name and (
        f"Perhaps: {name} is as it was. `{name} = ...` makes another array; `{name}[...] = ...` or "
        f"`{name} -= ...` writes into the one that was given."
    )


def _untouched(exercise: Exercise, attempt: _Attempt) -> Iterator[str]:
    """The arguments that the right answer changes, and the reader's leaves as they were."""
    before = zip(_argument_names(exercise, attempt.case), _values(attempt.case), strict=True)
    after = zip(_values(attempt.expected.after), _values(attempt.actual.after), strict=True)
    for (name, was), (wanted, now) in zip(before, after, strict=True):
        if not callable(was) and differ(was, wanted, EXACTLY) and not differ(was, now, EXACTLY):
            yield name


def _share(exercise: Exercise, wrong: Wrong, tried: list[_Attempt]) -> float:
    """Of the failures, the part that the wrong answer explains: a half or more, else 0.

    0 also where it is wrong and the reader's answer is right. 1 where nothing fails.
    """
    failures = [attempt for attempt in tried if attempt.problem]
    if any(_fails(exercise, wrong, attempt) for attempt in tried if not attempt.problem):
        return 0
    if not failures:
        return 1
    agrees = sum(_agreement(exercise, wrong, attempt) for attempt in failures) / len(failures)
    return agrees if agrees >= 0.5 else 0


def _fails(exercise: Exercise, wrong: Wrong, attempt: _Attempt) -> bool:
    """Is the wrong answer wrong on this case?"""
    theirs = _run(wrong.function, attempt.call())
    return bool(_problem(exercise, attempt.case, attempt.expected, theirs))


def _agreement(exercise: Exercise, wrong: Wrong, attempt: _Attempt) -> float:
    """1 where the wrong answer fails on this case with the outcome of the reader's answer.

    A half where both raise the same type of error, in other words: the causes may differ.
    """
    theirs, mine = _run(wrong.function, attempt.call()), attempt.actual
    if not _problem(exercise, attempt.case, attempt.expected, theirs):
        return 0
    if theirs.error is not None or mine.error is not None:
        same_type = type(theirs.error) is type(mine.error)
        return (1 if str(theirs.error) == str(mine.error) else 0.5) if same_type else 0
    allowed = exercise.allowed()
    return not (
        differ(theirs.result, mine.result, allowed)
        or differ(_values(theirs.after), _values(mine.after), allowed)
    )


def _raised(error: Exception, mine: Any) -> str:
    """An error in words, with the line of the reader's own code where it came up."""
    said = _error(error)
    home = getattr(getattr(mine, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == home]
    if frames:
        line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
        said += f"\nin your line: {line}" if line else ""
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        said += "\n(Perhaps a cell above, which defines this name, was not run.)"
    return said


def _error(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _argument_names(exercise: Exercise, case: Case) -> list[str]:
    """The names of a case's arguments, as the right answer calls them."""
    try:
        parameters = list(inspect.signature(exercise.reference).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD]
    numbered = [f"argument {i}" for i in range(len(named), len(case.args))]
    return [*(named + numbered)[: len(case.args)], *case.kwargs]


def _values(case: Case) -> list[Any]:
    return [*case.args, *case.kwargs.values()]


def _size(value: Any) -> int:
    if hasattr(value, "shape"):
        return max(1, int(np.prod(value.shape)))
    if isinstance(value, (tuple, list)):
        return 1 + sum(map(_size, value))
    return len(value) if isinstance(value, (str, dict)) else 1
