"""The exercises of the book.

check("01.lengths", mine)   is my answer right? If not: the smallest call that shows it, and why
hint("01.lengths")          the next of three hints
exercises("01")             the exercises of a chapter

One file for each chapter, ch01.py, ch02.py, ..., holds its exercises. core.py says what an
exercise is, notebooks.py makes the readers' notebooks out of the solutions, grading.py marks them.
"""

from embag_edu.course.core import Case, Exercise, ExerciseFailed, Wrong, check, exercises, hint

__all__ = ["Case", "Exercise", "ExerciseFailed", "Wrong", "check", "exercises", "hint"]
