"""The exercises of the book.

check("01.lengths", mine)   is my answer right? If not: the smallest call that shows it, and why
hint("01.lengths")          the next of three hints
exercises("01")             the exercises of a chapter
progress()                  how far I am

exercise.py says what an exercise is, notebooks.py makes the readers' notebooks out of the
solutions, grading.py marks them. workbook.py keeps the reader's own copy of the book, progress.py
what was passed in it. command.py lists what an instructor does, from the first hand-out to the
exported marks: a file for each step. The exercises stand with their chapters, which register here;
those of an instructor stand in a file of their own (own.py).
"""

from embag_edu.course.exercise import (
    Case,
    Exercise,
    ExerciseFailed,
    Wrong,
    check,
    elsewhere,
    exercises,
    hint,
)
from embag_edu.course.progress import progress
from embag_edu.course.unrun import watch_names
from embag_edu.course.visible import beside

__all__ = ["Case", "Exercise", "ExerciseFailed", "Wrong", "check", "exercises", "hint", "progress"]

watch_names()
elsewhere.append(beside)
