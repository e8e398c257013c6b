"""The stages of my_bag: what each asks for, how long it takes, and three hints."""

from __future__ import annotations

from dataclasses import dataclass

from embag_edu.text import Short

PAIR = ("embedding_bag", "backward")


class UnknownStage(Short, ValueError):
    """There is no stage of this name."""


@dataclass(frozen=True)
class Stage:
    """What the reader builds at the end of one chapter.

    name     that of its chapter, "01"
    title    what is built, in a few words
    minutes  how long it takes
    module   the file that it is checked by, and arrays: what that file's functions take
    task     what to build, and how one sees that it is done: for the page of the chapter
    hints    three: where to look, how to go about it, the answer's idea
    """

    name: str
    title: str
    minutes: int
    module: str
    task: str
    hints: tuple[str, str, str]
    arrays: str = "numpy"
    replaces: str = ""  # an earlier part of which this stage makes a better one

    @property
    def chapter(self) -> str:
        """The page that it closes: a chapter may have several."""
        return {"08": "08c"}.get(self.name, self.name)

    @property
    def functions(self) -> tuple[str, ...]:
        """What is checked: a function and its backward; for torch one function has both."""
        return PAIR[:1] if self.arrays == "torch" else PAIR


STAGES = (
    Stage(
        "01", "sum, mean and max, with loops", 35, "loops",
        "Write the first four functions of `loops.py`: where each bag ends, and the sum, the "
        "mean and the maximum of each bag. `steps.py`, which is given, calls them. An empty bag "
        "gives zeros in every mode.",
        (
            "`ends_of` first: every other part needs it. The chapter found the ends of bags by "
            'hand; the last bag is the special case. Then the loops of "first_bag", with one '
            "loop around them for the bags.",
            "A sum: start with `np.zeros((B, D), table.dtype)`, and add the row of each "
            "position from `starts[bag]` to `ends[bag]`. A mean is that sum, divided by the "
            "number of positions, where there are any. An empty bag never enters the inner "
            "loop, and its zeros stay.",
            "A maximum must not start at 0, or a bag of negative numbers gives 0. Let the first "
            "position of a bag always enter, whatever its value, and a later one only where it "
            "is larger. Compare with `>`, not with `max`: then a NaN keeps to its rule by "
            "itself.",
        ),
    ),
    Stage(
        "02", "padding, weights, other forms of a call, max_norm", 40, "loops",
        "Write the next four functions of `loops.py`. `flatten` brings 2-D inputs and "
        "`include_last_offset` into the form that you have. `drop_padding` leaves positions "
        "out, so that your sum, mean and maximum need not know of padding. Then the weighted "
        "sum, and `max_norm`.",
        (
            "Each function's text has all that is needed. `flatten` is two lines for each form. "
            "`weighted_sum_of_bags` is `sum_of_bags` with one factor more.",
            "`drop_padding`: walk through the bags, and note how many positions have been kept "
            "when a bag begins and when it ends. `rescale_rows`: a row that occurs three times "
            "is rescaled once, so go through the *different* rows.",
            "A negative `padding_idx` counts from the end: `padding_idx % V` is the row that is "
            "meant. The norm is `np.linalg.norm(row.astype(np.float64), norm_type)`: in float32 "
            "the squares of large numbers overflow. `weight[row] *= ...` changes the caller's "
            "table, as it should.",
        ),
    ),
    Stage(
        "03", "the backward, with loops", 40, "loops",
        "Write the last six functions of `loops.py`. `shares` says by what each position "
        "multiplies the upstream gradient of its bag; the others hand it on: to the rows, to "
        "each position of a sparse gradient, to the winners of a maximum, and to the weights.",
        (
            "Start with `shares` and `grad_of_rows`: they are the boxed formula of the chapter. "
            "Which loop of the forward does the backward run through again?",
            "A row that occurs at several positions gets a gradient from each: `+=`, not `=`. "
            "The backward of a maximum has two steps: `winners` finds the rows once more, "
            "`grad_of_winners` gives each of them the gradient of the one feature that it won.",
            "`winners` is `max_of_bags`, but it keeps the row number in place of the value: -1 "
            "means that nobody has entered yet. `grad_of_weights` is a dot product for each "
            "position: the upstream gradient of its bag, times the row, summed over the "
            "features.",
        ),
    ),
    Stage(
        "04", "the forward on whole arrays", 35, "vectorized",
        "Write the first six functions of `vectorized.py`: the same parts once more, and no "
        "loop of Python. The check counts the lines that run, as well as asking the clauses.",
        (
            "`sum_of_bags` first: the mean and the weighted sum can call it. The chapter has "
            "three ways to add up neighbors; one of them is made for segments that lie one "
            "behind the other.",
            "`np.add.reduceat(table[indices], starts[filled], axis=0)` adds up segments, but it "
            "goes wrong for an empty one. Give it the bags that are not empty only "
            "(`np.flatnonzero(starts < ends)`), and write its rows where they belong. "
            "`drop_padding` is `np.flatnonzero` and two times `np.searchsorted`.",
            "The maximum is `np.maximum.reduceat`, which keeps any NaN: first put -np.inf in "
            "the place of each NaN that is not at the start of its bag. The weighted sum is the "
            "sum of a new table, `table[indices] * psw[:, None]`, whose row i belongs to "
            "position i.",
        ),
    ),
    Stage(
        "05", "the backward on whole arrays", 35, "vectorized",
        "Write the last six functions of `vectorized.py`: the backward, without a loop of "
        "Python.",
        (
            "`np.repeat(upstream, ends - starts, axis=0)` has the upstream gradient of each "
            "position's bag. With it `grad_of_positions` and `grad_of_weights` are one line "
            "each.",
            "`grad[indices] += ...` keeps only the last of several equal indices. `np.add.at` "
            "adds them all. `np.bincount(indices)[indices]` says how often the row of each "
            "position occurs.",
            "`winners`: repeat your maximum for each position and compare; of the places that "
            "are equal, `np.minimum.reduceat` finds the first of each bag. A NaN equals "
            "nothing, itself neither, so a NaN at the start of a bag has to be asked for with "
            "`np.isnan`.",
        ),
    ),
    Stage(
        "07", "a first kernel: the sum", 30, "cuda",
        "Write the kernel `sum_of_bags` in `kernels.cu` and the function of the same name in "
        "`cuda.py`, which launches it. Without a GPU it runs on the processor, and every fault "
        "is named with its line.",
        (
            "The kernel is the chapter's `bag_sum`, with `T` for float, and with `starts` and "
            "`ends` for `offsets`. The function makes room for the output, launches, and "
            "returns `back(output)`.",
            '`launch("sum_of_bags", threads, table.dtype, ...)` takes the arguments of the '
            "kernel in their order. How many threads are needed, if each has one element of the "
            "output?",
            "There are whole blocks of threads, so some have no element: the kernel's first "
            "question is whether `element >= B * D`. Then `bag = element / D` and `d = element "
            "% D`, and a loop from `starts[bag]` to `ends[bag]`.",
        ),
    ),
    Stage(
        "08", "mean and weighted sum as kernels", 25, "cuda",
        "Two more kernels in `kernels.cu`, and their launches in `cuda.py`: `mean_of_bags` and "
        "`weighted_sum_of_bags`. When they hold, try on them what the chapter did for speed: "
        "the clauses keep watch.",
        (
            "Both have the loop of your `sum_of_bags`. The mean divides once, after the loop; "
            "the weighted sum multiplies within it.",
            "An empty bag has a size of 0, and 0 / 0 is NaN: ask for the size before dividing. "
            "The weights belong to positions: `psw[i]`, not `psw[indices[i]]`.",
            "`output[element] = size > 0 ? sum / size : 0`. The arguments of `launch` are those "
            "of the kernel in the kernel's order: `psw` stands between `ends` and `output`.",
        ),
    ),
    Stage(
        "09", "the maximum and its winners as a kernel", 25, "cuda",
        "The kernel `max_of_bags` in `kernels.cu`, and `max_and_winners` in `cuda.py`, which "
        "returns the maximum and the rows that won it. With it the whole forward runs on the "
        "GPU's model.",
        (
            "It is the loop of your sum, with two variables in the place of one: the best "
            "value, and the row that it came from.",
            "How can a thread know that no position has entered yet? A winner of -1 says so, "
            "and needs no further variable. Both outputs are written for empty bags, too.",
            "`if (winner == -1 || value > best)`: the first enters, a NaN that comes later does "
            "not, for `>` is false for it. In `cuda.py` the winners are int64: `full((B, D), "
            "-1, np.int64)`.",
        ),
    ),
    Stage(
        "10", "the backward as kernels, with atomics", 40, "cuda",
        "Four kernels and their launches: `grad_of_positions`, `add_to_rows`, `add_to_winners` "
        "and `grad_of_weights`. Where threads add to one number, they do so with `atomicAdd`.",
        (
            "Which threads can write to the same number? Those of `add_to_rows` (a row occurs "
            "at several positions) and of `add_to_winners` (a row wins in several bags). The "
            "others write to places of their own.",
            "A kernel that works on positions needs the bag of each: `bag_of_each(starts, "
            "ends)` in `cuda.py` makes the array `bags`. One thread for each of the N * D "
            "elements, but N threads for `grad_of_weights`, each with a loop over the features.",
            "`atomicAdd(&grad[indices[i] * D + d], shares[i] * upstream[bags[i] * D + d])`. The "
            "gradient starts with zeros, of shape (V, D). In `add_to_winners` a winner of -1 "
            "must not be written to.",
        ),
    ),
    Stage(
        "11", "the backward by sorting", 35, "cuda",
        "The kernel `add_sorted` and its launch in `grad_by_sorting`. One thread adds up all "
        "that belongs to one element, so there are no atomics, and the same bits come every "
        "time. The check asks for that, too.",
        (
            "Sort the positions by their rows: then the positions of one row are neighbors, as "
            "those of a bag are in the forward. The kernel is a weighted sum over them.",
            '`np.argsort(indices, kind="stable")` gives `order`; `np.unique(indices, '
            "return_counts=True)` the rows that occur, and how often. Where do the positions of "
            "a row begin and end in `order`?",
            "They end at `np.cumsum(counts)` and begin `counts` before. The kernel has U * D "
            "threads, goes from `first[u]` to `last[u]`, takes position `order[k]`, and writes "
            "to row `rows[u]`.",
        ),
        replaces="grad_with_atomics",
    ),
    Stage(
        "12", "a torch module", 35, "module",
        "Write `Bag`, an autograd.Function, and `MyBag`, a module, in `module.py`. Then `python -m "
        "embag_edu train --implementation my_bag:MyBag` trains on it (chapter 13).",
        (
            "The chapter builds the same in small steps. `arrays_of` and `tensor_of` do the "
            "conversions; your `embedding_bag` and `backward` of the version do the work.",
            "`Bag.forward` keeps for the backward what it needs: tensors with "
            "`ctx.save_for_backward`, the rest as attributes of `ctx`. `Bag.backward` returns "
            "one gradient for each argument of `forward`: two, and two times None.",
            '`VERSIONS[version].embedding_bag(**arrays_of({"weight": weight, ...}))`. In '
            "`MyBag`, `torch.nn.Parameter(torch.randn(V, D))`, and the row of `padding_idx` set "
            "to zero under `torch.no_grad()`.",
        ),
        arrays="torch",
    ),
)  # fmt: skip


def find(name: str) -> Stage:
    """The stage of this name. Raises UnknownStage, with all names, for another one."""
    for stage in STAGES:
        if stage.name == f"{name:>02}":
            return stage
    there = ", ".join(stage.name for stage in STAGES)
    raise UnknownStage(f"there is no stage {name!r} of my_bag; there are {there}")
