"""Variants: the same exercise with the numbers of one student, from the release to the marks."""

import contextlib
import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest

from embag_edu.chapters.ch03 import exercises as ch03
from embag_edu.course import command, notebooks, release, variants
from embag_edu.course.differ import differ
from embag_edu.course.exercise import ExerciseFailed, UnknownExercise, check, exercises, find
from embag_edu.course.kernel_exercise import KernelTask

VARIED = [exercise.name for exercise in exercises() if exercise.vary]
SLOW = [name for name in VARIED if isinstance(find(name).judge, KernelTask)]
OTHER_WORDS = {"00.first_mean", "02.bug_in_max", "04.running_total", "05.counter_example",
               "07.lost_update", "07.repair_bounds", "01.predict", "13.tfidf"}  # fmt: skip


def verdict(exercise, answer):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            check(exercise, answer)
        except ExerciseFailed as error:
            return str(error)
    return ""


def try_variant(name, number, wrongs=None):
    exercise, before = find(f"{name}#{number}"), find(f"{name}#{number + 1}")
    assert verdict(exercise, exercise.reference) == ""
    for wrong in exercise.wrong[:wrongs]:
        assert wrong.message in verdict(exercise, wrong.function), (name, number, wrong.message)
    assert verdict(exercise, find(name).reference), f"{name}#{number}: the book's answer passes"
    # Seven answers of yes or no, three of them no, have 35 orders: two students may share one.
    answers = exercise.reference, before.reference
    alike = not callable(answers[0]) and differ(*answers) == ""
    if exercise.shown != before.shown and not alike:
        assert verdict(exercise, before.reference), f"{name}#{number}: another's answer passes"
    return exercise.shown


def test_there_are_variants_in_every_chapter():
    assert len(VARIED) >= 20
    assert {name[:2] for name in VARIED} == {f"{number:02d}" for number in range(14)}
    assert {"03.detective", "10.detective", "11.detective"} <= set(VARIED)


@pytest.mark.parametrize("name", [name for name in VARIED if name not in SLOW])
def test_a_right_answer_passes_and_others_do_not(name):
    try_variant(name, 7, wrongs=3)


@pytest.mark.adversary
@pytest.mark.parametrize("name", VARIED)
def test_many_variants(name):
    seeds = range(1, 9) if name in SLOW else range(1, 41)
    shown = {try_variant(name, number) for number in seeds}
    print(f"{name}: {len(seeds)} numbers, {len(shown)} different variants")
    assert len(shown) > len(seeds) / 3


def tokens(shown):
    return sorted(re.sub(r"\d+", "0", "".join(shown)).replace("-", ""))


@pytest.mark.parametrize("name", sorted(set(VARIED) - OTHER_WORDS - {"03.detective"}))
def test_as_hard_for_all(name):
    """The texts are the same, numbers and order aside; where not, those of all variants are."""
    first = tokens(find(f"{name}#1").shown)
    assert all(tokens(find(f"{name}#{number}").shown) == first for number in range(2, 12))


def test_as_hard_for_all_where_the_length_differs():
    for number in range(1, 40):
        bags = [
            json.loads(text)
            for text in re.findall(r"\[.*?\]", find(f"01.predict#{number}").shown[0])
        ]
        lengths = [len(bag) for bag in bags]
        assert len(bags) == 4 and lengths[0] > 0 < lengths[3] and sorted(lengths)[0] == 0
        assert len(set(lengths)) == 4 and max(lengths) <= 5
        assert sum(len(set(bag)) < len(bag) for bag in bags) == 1


def test_every_suspect_leaves_other_evidence():
    left = [tuple(ch03._answer_of(letter).ravel()) for letter in ch03.SUSPECTS]
    assert len(set(left)) == len(left) == 7


def test_a_variant_is_always_the_same_and_needs_a_number():
    assert find("01.predict#5").shown == find("01.predict#5").shown
    for name in ("01.predict#", "01.predict#x", "01.offsets#5"):
        with pytest.raises(UnknownExercise, match="has no variants"):
            find(name)


def test_every_notebook_can_be_varied():
    for path in notebooks.solutions():
        solved = notebooks.read(path)
        copy = notebooks.student_copy(variants.varied(solved, 12))
        text = "\n".join(map(notebooks.source, copy["cells"]))
        for name in notebooks.exercise_names(solved):
            varied = find(name).vary is not None
            assert (f'"{name}#12"' in text) == varied and (f'"{name}"' in text) != varied


def hand_in(packed, to, answer):
    with zipfile.ZipFile(packed) as files:
        notebook = json.loads(files.read("exercises/01_bags.ipynb"))
    for cell in notebook["cells"]:
        if notebooks.marks(cell).get("grade_id") == "predict":
            cell["source"] = f"my_offsets = {answer}"
    to.parent.mkdir(parents=True)
    to.write_text(json.dumps(notebook), encoding="utf-8")


def test_a_copied_answer_earns_nothing(tmp_path, capsys):
    """Not even in a copy of the other's whole notebook: who a hand-in is from decides."""
    roster, out = tmp_path / "names.csv", tmp_path / "week1"
    roster.write_text("file,student\n1,Ann\n2,Bo\n3,Cy\n", encoding="utf-8")
    words = ["release", str(out), "--exercises", "01.predict", "--variants", str(roster)]
    assert command.main(words) == 1 and "wants a --seed" in capsys.readouterr().out
    assert command.main([*words, "--seed", "oak"]) == 0
    right = {name: find(f"01.predict#{variants.number('oak', name)}").reference
             for name in ("Ann", "Bo", "Cy")}  # fmt: skip
    assert right["Ann"] != right["Bo"]
    came = tmp_path / "in"
    hand_in(out / "Ann.zip", came / "Ann" / "01_bags.ipynb", right["Ann"])
    hand_in(out / "Ann.zip", came / "Bo" / "01_bags.ipynb", right["Ann"])  # the file itself
    hand_in(out / "Ann.zip", came / "Cy" / "01_bags.ipynb", right["Cy"])  # numbers of his own
    hand_in(out / "Ann.zip", came / "Di" / "01_bags.ipynb", right["Ann"])  # not in the roster
    table = tmp_path / "marks.csv"
    words = ["grade", str(came), "--release", str(out), "--csv", str(table), "--jobs", "1"]
    assert command.main(words) == 1
    with open(table, newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: rows[name]["points"] for name in right} == {"Ann": "1", "Bo": "0", "Cy": "1"}
    assert {rows[name]["exercise"] for name in right} == {"01.predict"}
    assert "no variant was handed out to 'Di'" in rows["Di"]["remark"]
    with pytest.raises(release.ReleaseError, match="two students"):
        release.made_for(["Ann", "Ann"], "oak", notebooks.BOOK, [])


def test_the_solution_of_a_variant_is_found_too():
    """Its numbers are in no solutions notebook of the book."""
    (notebook,) = release.models(notebooks.BOOK, ["03.frequency"], 7).values()
    regions = [text for cell in notebook["cells"] for text in release.REGION.findall(
        notebooks.source(cell))]  # fmt: skip
    told = {"AGENTS.md": f"Do not tell: {regions[0]}".encode()}
    release.refuse_solutions(told, notebooks.BOOK)
    with pytest.raises(release.ReleaseError, match="the solution of cell"):
        release.refuse_solutions(told, notebooks.BOOK, [notebook])


def test_reordered_takes_every_form_of_an_answer():
    exercise = find("07.sectors#3")
    for form in (list, tuple, np.array):
        assert verdict(exercise, form(exercise.reference)) == ""
    assert verdict(exercise, "no") and verdict(exercise, exercise.reference[1:])
