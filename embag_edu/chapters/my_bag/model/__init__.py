"""My own EmbeddingBag. I write it chapter by chapter, and the check says how far it is.

loops.py        chapters 01 to 03: every part as loops
vectorized.py   chapters 04 and 05: the same parts on whole arrays
cuda.py         chapters 07 to 11: the same parts as kernels, which stand in kernels.cu
module.py       chapter 12: a torch module around them, MyBag
steps.py        given: how the parts make an EmbeddingBag

A part that is not written yet raises NotSupported. That line is where your code goes.
"""


def __getattr__(name):
    """`from my_bag import MyBag` works, and torch is only imported where MyBag is asked for."""
    if name == "MyBag":
        from .module import MyBag

        return MyBag
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
