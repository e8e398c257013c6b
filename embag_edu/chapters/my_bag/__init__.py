"""my_bag: the reader's own EmbeddingBag, which grows from chapter to chapter.

    start_my_bag("01")   writes the files of a stage, with stubs that say what goes where
    hint_my_bag("01")    the next of three hints
    check_my_bag("01")   how many clauses of the specification hold, and why one does not

`model/` is the model solution and the only source: the stubs are made from it (files.py) by the
marks of the stages in it, and the clauses of a stage are those that its model is the first to hold
(grouping.py). stages.py says what each stage asks for.
"""

from embag_edu.chapters.my_bag.checking import StageFailed, check_my_bag
from embag_edu.chapters.my_bag.reading import hint_my_bag, start_my_bag

__all__ = ["StageFailed", "check_my_bag", "hint_my_bag", "start_my_bag"]
