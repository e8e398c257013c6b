"""The exercises of chapter 12: a torch module."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.variants import after, retold


def _tensor(random: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(random.normal(size=shape))


# ---- 12.asked -------------------------------------------------------------------------------


class Context(NamedTuple):
    """What a backward takes out of ctx. A tensor that only an unasked gradient needs is None."""

    saved_tensors: tuple[Tensor | None, Tensor | None, Tensor, Tensor]
    needs_input_grad: tuple[bool, bool, bool, bool]
    shape: tuple[int, int]  # of weight


def asked(ctx, g):
    """The gradients of weight, psw, rows and bags that are asked for."""
    weight, psw, rows, bags = ctx.saved_tensors
    of_weight = of_psw = None
    if ctx.needs_input_grad[0]:
        of_weight = g.new_zeros(ctx.shape).index_add(0, rows, psw[:, None] * g[bags])
    if ctx.needs_input_grad[1]:
        of_psw = (weight[rows] * g[bags]).sum(dim=1)
    return of_weight, of_psw, None, None


def _both_always(ctx, g):
    return asked(ctx._replace(needs_input_grad=(True, True, False, False)), g)


def _zeros_for(*places: int) -> Callable[..., Any]:
    """asked, with zeros in place of None for these arguments."""

    def wrong(ctx, g):
        found = list(asked(ctx, g))
        shapes = ctx.shape, *(tensor.shape for tensor in ctx.saved_tensors[2:3] * 3)
        for at in places:
            found[at] = g.new_zeros(shapes[at]) if found[at] is None else found[at]
        return tuple(found)

    return wrong


def _other(weight: Any = None, psw: Any = None) -> Any:
    """asked, with another gradient of weight, or of psw, where it is asked for."""

    def wrong(ctx, g):
        of_weight, of_psw, *_ = asked(ctx, g)
        table, scale, rows, bags = ctx.saved_tensors
        if weight and of_weight is not None:
            of_weight = weight(g.new_zeros(ctx.shape), scale[:, None] * g[bags], rows, bags)
        if psw and of_psw is not None:
            of_psw = psw(table[rows], g[bags])
        return of_weight, of_psw, None, None

    return wrong


def _without_weights(ctx, g):
    return _other(lambda zeros, _, rows, bags: zeros.index_add(0, rows, g[bags]))(ctx, g)


def _shape_of_weight(ctx, g):
    _ = ctx.saved_tensors[0].shape
    return asked(ctx, g)


def _asks_the_other(ctx, g):
    needs = ctx.needs_input_grad
    return asked(ctx._replace(needs_input_grad=(needs[1], needs[0], False, False)), g)


def _asked_case(name: str, needs: tuple[bool, bool], g: Tensor, seed: int) -> Case:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, g.shape[1], generator=random, dtype=torch.float64)
    rows, bags = torch.tensor([2, 0, 2, 4, 2]), torch.tensor([0, 0, 1, 1, 3])
    psw = torch.randn(len(rows), generator=random, dtype=torch.float64)
    saved = (weight if needs[1] else None, psw if needs[0] else None, rows, bags)
    return Case(name, Context(saved, (*needs, False, False), tuple(weight.shape)), g)


def _asked_cases() -> list[Case]:
    random = torch.Generator().manual_seed(120)
    g = torch.randn(4, 2, generator=random, dtype=torch.float64)
    turned = torch.randn(3, 4, generator=random, dtype=torch.float64).t()
    return [
        _asked_case("both", (True, True), g, 1),
        _asked_case("the table only", (True, False), g.clone(), 2),
        _asked_case("the weights only", (False, True), g.clone(), 3),
        _asked_case("none", (False, False), g.clone(), 4),
        _asked_case("an upstream with strides of its own", (True, True), turned, 5),
    ]


def _any_asked(random):
    V, D, N, B = (draw.size(random, least, 6) for least in (1, 1, 0, 1))
    rows = torch.from_numpy(random.integers(0, V, N))
    places = torch.from_numpy(np.sort(random.integers(0, B, N)))
    needs = bool(random.integers(2)), bool(random.integers(2))
    weight, psw = _tensor(random, V, D), _tensor(random, N)
    if N:
        psw[random.integers(N)] = 0
    saved = weight if needs[1] else None, psw if needs[0] else None, rows, places
    g = _tensor(random, D, B).t() if random.integers(2) else _tensor(random, B, D)
    return Context(saved, (*needs, False, False), (V, D)), g


ASKED = Exercise(
    "12.asked",
    "a backward that computes what is asked for, and no more",
    asked,
    _asked_cases,
    random_call=_any_asked,
    hints=(
        "Two gradients, each behind its own question to ctx; two arguments never have one.",
        "The gradient of the table scatters, that of the weights gathers. Both begin with the row "
        "of g that belongs to the bag of each position.",
        "For the table: add up, row by row, g of the bag times the weight (index_add on zeros). "
        "For the weights: multiply g of the bag with the table's row, and sum over the features.",
    ),
    wrong=(
        Wrong(
            _both_always,
            "A gradient was computed that nobody asked for: what it needs was not even kept.",
        ),
        Wrong(_zeros_for(0, 1), "Where nothing is asked for, return None: zeros cost memory."),
        Wrong(
            _zeros_for(0),
            "The gradient of weight is not asked for here: return None, not zeros (V, D).",
        ),
        Wrong(
            _zeros_for(1),
            "The gradient of psw is not asked for here: return None, not zeros (N,).",
        ),
        Wrong(_zeros_for(2), "rows holds whole numbers: it has no gradient, so None."),
        Wrong(_zeros_for(3), "bags holds whole numbers: it has no gradient, so None."),
        Wrong(
            _zeros_for(0, 1, 2, 3),
            "Return None, not zeros, where no gradient is asked for: rows "
            "and bags, which hold whole numbers, never have one.",
        ),
        Wrong(
            _other(lambda zeros, shares, rows, _: zeros.index_add(0, rows, shares).to_sparse()),
            "This table has a dense gradient, a tensor (V, D): index_add on g.new_zeros makes it.",
        ),
        Wrong(
            _other(lambda zeros, shares, rows, _: zeros.index_put((rows,), shares)),
            "A row that stands several times keeps one share only. Add.",
        ),
        Wrong(_without_weights, "The share of a position is its weight times g of its bag."),
        Wrong(
            _other(psw=lambda taken, g: taken * g),
            "A position has one weight, so its gradient is one number: sum over D.",
        ),
        Wrong(
            _other(psw=lambda taken, g: taken.sum(dim=1)),
            "That is right only for an upstream of ones: g is missing.",
        ),
        Wrong(
            _other(
                lambda zeros, shares, rows, _: torch.zeros(zeros.shape).index_add(0, rows, shares)
            ),
            "torch.zeros makes float32, unless you name a dtype. g.new_zeros(...) takes g's.",
        ),
        Wrong(
            _shape_of_weight,
            "weight is None where the gradient of psw is not asked for. ctx.shape is its shape.",
        ),
        Wrong(
            _asks_the_other,
            "needs_input_grad has the order of forward's arguments: [0] is weight, [1] is psw.",
        ),
        Wrong(
            _other(lambda zeros, shares, _, bags: zeros.index_add(0, bags, shares)),
            "The shares are added to the rows of their bags; add each to the "
            "row that its position names.",
        ),
        Wrong(
            lambda ctx, g: asked(ctx, g)[:2],
            "forward has four arguments: return four, with None for rows and bags.",
        ),
        Wrong(
            lambda ctx, g: asked(ctx, g.view(-1).view(g.shape)),
            "g may have strides of its own: view refuses it. Index it, or reshape.",
        ),
        Wrong(
            lambda ctx, g: [asked(ctx, g)[k] for k in (1, 0, 2, 3)],
            "Gradients come in the order of forward's arguments: the table first.",
        ),
    ),
    points=2,
    returns=("of_weight", "of_psw", "of_rows", "of_bags"),
    unproved="a second derivative; here it would come for free, since all is torch's own.",
)

# ---- 12.saved -------------------------------------------------------------------------------

BAGS = 4


def weighted_bag(forward: Callable, shapes: list | None = None) -> Any:
    """The Function of exercise 12.saved, with this forward. Its backward is right.

    shapes: a list that takes the shapes of what the backward finds.
    """

    def backward(ctx, g):
        if shapes is not None:
            shapes[:] = [tuple(tensor.shape) for tensor in ctx.saved_tensors]
        taken, psw, rows, bags = ctx.saved_tensors
        of_weight = g.new_zeros(ctx.shape).index_add(0, rows, psw[:, None] * g[bags])
        of_psw = (taken * g[bags]).sum(dim=1)
        return of_weight, of_psw, None, None

    static = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("WeightedBag", (Function,), static)


def repaired(ctx, weight, psw, rows, bags):
    """The weighted sums of four bags."""
    taken = weight[rows]
    ctx.save_for_backward(taken, psw, rows, bags)
    ctx.shape = weight.shape
    return weight.new_zeros(BAGS, weight.shape[1]).index_add(0, bags, taken * psw[:, None])


def _as_found(ctx, weight, psw, rows, bags):
    taken = weight[rows]
    ctx.save_for_backward(taken, psw, rows, bags)
    ctx.shape = weight.shape
    taken *= psw[:, None]
    return weight.new_zeros(BAGS, weight.shape[1]).index_add(0, bags, taken)


def _divided_back(ctx, weight, psw, rows, bags):
    taken = weight[rows]
    taken *= psw[:, None]
    out = weight.new_zeros(BAGS, weight.shape[1]).index_add(0, bags, taken)
    taken /= psw[:, None]
    ctx.save_for_backward(taken, psw, rows, bags)
    ctx.shape = weight.shape
    return out


def _unweighted(ctx, weight, psw, rows, bags):
    repaired(ctx, weight, psw, rows, bags)
    return weight.new_zeros(BAGS, weight.shape[1]).index_add(0, bags, weight[rows])


def _of_the_table(ctx, weight, psw, rows, bags):
    out = repaired(ctx, weight, psw, rows, bags)
    weight.data[rows] *= psw[:, None]
    return out


def _sorted_only(ctx, weight, psw, rows, bags):
    repaired(ctx, weight, psw, rows, bags)
    begins = torch.searchsorted(bags, torch.arange(BAGS))
    return torch.nn.functional.embedding_bag(
        rows, weight, begins, mode="sum", per_sample_weights=psw
    )


def _as_attributes(ctx, weight, psw, rows, bags):
    ctx.kept, ctx.shape = (weight[rows], psw, rows, bags), weight.shape
    return weight.new_zeros(BAGS, weight.shape[1]).index_add(0, bags, weight[rows] * psw[:, None])


def _saving(kept: Callable[..., Any]) -> Any:
    """repaired, which saves something else."""

    def wrong(ctx, weight, psw, rows, bags):
        out = repaired(ctx, weight, psw, rows, bags)
        ctx.save_for_backward(*kept(weight, psw, rows, bags))
        return out

    return wrong


STILL = (
    "The gradient of the weights has each weight once too often: what the backward finds is not "
    "the row, but the row times the weight. Autograd does not see a change that is made before "
    "forward returns. (With weights of 1, no test would see it either.)"
)
DIVIDED = "Dividing back is not undoing: a weight of 0 leaves NaN, and others are rounded twice."
UNWEIGHTED = "The output is the plain sum. Each row must be multiplied by its weight."
TABLE_CHANGED = "An argument was changed: all four belong to the caller."
NOT_SAVED = (
    "The backward reads ctx.saved_tensors and finds nothing. An attribute of ctx is kept as well, "
    "but nobody watches its version: use save_for_backward."
)
NOT_FOUR = "The backward unpacks taken, psw, rows, bags; {} tensors were saved."
FAILS = "The backward fails: perhaps ctx.shape is not weight's, or rows and bags are swapped."
NOT_SUMS = "The output is not the weighted sums. bags was {}: position i belongs to bag bags[i]."
OTHER_ORDER = "The backward unpacks taken, psw, rows, bags, in this order."
NOT_TAKEN = "The first that is saved must be (N, D): the row of each position, not the table."
UNNOTICED = (
    "psw was changed between forward and backward, and nobody noticed. `.data` (as NumPy) has no "
    "version that autograd could compare: save the tensor itself."
)


_near = partial(torch.allclose, rtol=1e-10, atol=1e-10)


def _judge_saved(mine: Any) -> str:
    if not callable(mine):
        return "Give the name of your forward, a function (ctx, weight, psw, rows, bags)."
    for features in (2, 3):
        arguments = _saved_arguments(features)
        kept = [a.detach().clone() for a in arguments]
        shapes: list[tuple[int, ...]] = []
        out = weighted_bag(mine, shapes).apply(*arguments)
        wrong = _wrong_output(out, arguments, kept)
        wrong = wrong or _wrong_gradients(out, arguments[:2], shapes, kept)
        if wrong:
            return wrong
    return "" if _notices(weighted_bag(mine)) else UNNOTICED


def _saved_arguments(features: int = 2) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(121)
    weight = torch.randn(5, features, generator=random, dtype=torch.float64)
    psw = torch.tensor([0.5, -2.0, 3.0, 0.0, 1.5, -1.0], dtype=torch.float64)
    rows, bags = torch.tensor([2, 0, 2, 4, 2, 1]), torch.tensor([0, 0, 1, 1, 1, 3])
    bags = bags if features == 2 else bags.flip(0)  # bags come in any order
    return weight.requires_grad_(), psw.requires_grad_(), rows, bags


def _right_output(weight: Tensor, psw: Tensor, rows: Tensor, bags: Tensor) -> Tensor:
    out = weight.new_zeros(BAGS, weight.shape[1])
    return out.index_add(0, bags, weight[rows] * psw[:, None])


def _told(out: Any) -> str:
    is_tensor = isinstance(out, Tensor)
    return f"a {out.dtype} tensor of shape {tuple(out.shape)}" if is_tensor else type(out).__name__


def _wrong_output(out: Any, arguments: tuple[Tensor, ...], kept: list[Tensor]) -> str:
    if not all(torch.equal(a, k) for a, k in zip(arguments, kept, strict=True)):
        return TABLE_CHANGED
    weight, psw, rows, bags = kept
    right, plain = (_right_output(weight, s, rows, bags) for s in (psw, torch.ones_like(psw)))
    if _told(out) != _told(right):
        return f"With D = {right.shape[1]}, forward must return {_told(right)}, not {_told(out)}."
    if _near(out, right):
        return ""
    return UNWEIGHTED if _near(out, plain) else NOT_SUMS.format(bags.tolist())


def _wrong_gradients(out: Tensor, leaves: Any, shapes: list, kept: list[Tensor]) -> str:
    random, features = torch.Generator().manual_seed(122), out.shape[1]
    g = torch.randn(BAGS, features, generator=random, dtype=torch.float64)
    wanted = [(6, features), (6,), (6,), (6,)]
    try:
        actual = torch.autograd.grad(out, leaves, g)
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        if len(shapes) != 4:
            return NOT_FOUR.format(len(shapes)) if shapes else NOT_SAVED
        if shapes == wanted:
            return f"{FAILS} ({error})"
        return OTHER_ORDER if sorted(shapes) == sorted(wanted) else f"{NOT_TAKEN} ({error})"
    copies = [k.requires_grad_() for k in kept[:2]]
    expected = torch.autograd.grad(_right_output(*copies, *kept[2:]), copies, g)
    if actual[1].isnan().any():
        return DIVIDED
    if all(map(_near, actual, expected)):
        return ""
    if _near(actual[1], expected[1] * copies[1]):
        return STILL
    return OTHER_ORDER if shapes != wanted else "The gradients are not those of the output."


def _notices(made: Any) -> bool:
    """Whether a change of psw between forward and backward raises, or does no harm."""
    arguments = _saved_arguments()
    out = made.apply(*arguments)
    (before,) = torch.autograd.grad(out.sum(), arguments[0], retain_graph=True)
    with torch.no_grad():
        arguments[1].mul_(2)
    try:
        (after,) = torch.autograd.grad(out.sum(), arguments[0])
    except RuntimeError:
        return True
    return _near(before, after)


SAVED = Exercise(
    "12.saved",
    "repair a forward that changes what it has saved",
    repaired,
    hints=(
        "Try weights that are not 1: which of the two gradients is wrong, and by which factor?",
        "save_for_backward keeps the tensor, not a copy of its numbers at that time.",
        "The product needs memory of its own. So multiply out of place, and leave what was saved "
        "as it is.",
    ),
    wrong=(
        Wrong(_as_found, STILL),
        Wrong(_divided_back, DIVIDED),
        Wrong(_unweighted, UNWEIGHTED),
        Wrong(_sorted_only, NOT_SUMS.format([3, 1, 1, 1, 0, 0])),
        Wrong(_of_the_table, TABLE_CHANGED),
        Wrong(_as_attributes, NOT_SAVED),
        Wrong(_saving(lambda table, s, rows, bags: (s, table[rows], rows, bags)), OTHER_ORDER),
        Wrong(_saving(lambda *arguments: arguments), NOT_TAKEN),
        Wrong(
            _saving(lambda table, *others: (table[others[1]], *others, table)), NOT_FOUR.format(5)
        ),
        Wrong(_saving(lambda table, s, rows, bags: (table[rows], s, bags, rows)), FAILS),
        Wrong(_saving(lambda table, s, *at: (table[at[0]], s.data, *at)), UNNOTICED),
    ),
    points=2,
    unproved="that no memory could be saved: who keeps rows and table can gather once more.",
    judge=_judge_saved,
)

# ---- 12.jvp ---------------------------------------------------------------------------------


def jvp(weight, psw, weight_t, psw_t, rows, bags, B):
    """How the weighted means of B bags move."""

    def in_bags(values):
        return values.new_zeros(B, *values.shape[1:]).index_add(0, bags, values)

    sizes = in_bags(psw)[:, None]
    sizes = torch.where(sizes == 0, 1.0, sizes)
    means = in_bags(psw[:, None] * weight[rows]) / sizes
    moved = torch.zeros_like(means)
    if weight_t is not None:
        moved = moved + in_bags(psw[:, None] * weight_t[rows])
    if psw_t is not None:
        moved = moved + in_bags(psw_t[:, None] * weight[rows]) - means * in_bags(psw_t)[:, None]
    return moved / sizes


def _sizes(psw, bags, B):
    sizes = psw.new_zeros(B).index_add(0, bags, psw)[:, None]
    return torch.where(sizes == 0, 1.0, sizes)


def _in_bags(values, bags, B):
    return values.new_zeros(B, values.shape[1]).index_add(0, bags, values)


def _sizes_stand_still(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = jvp(weight, psw, weight_t, None, rows, bags, B)
    if psw_t is not None:
        moved = moved + _in_bags(psw_t[:, None] * weight[rows], bags, B) / _sizes(psw, bags, B)
    return moved


def _product_rule_alone(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = _sizes_stand_still(weight, psw, weight_t, psw_t, rows, bags, B)
    return moved / torch.bincount(bags, minlength=B).clamp(max=1)[:, None]


def _table_only(weight, psw, weight_t, psw_t, rows, bags, B):
    return jvp(weight, psw, weight_t, None, rows, bags, B)


def _never_none(weight, psw, weight_t, psw_t, rows, bags, B):
    return jvp(weight, psw, +weight_t, +psw_t, rows, bags, B)


def _product_of_tangents(weight, psw, weight_t, psw_t, rows, bags, B):
    if weight_t is None or psw_t is None:
        return torch.zeros(B, weight.shape[1], dtype=weight.dtype)
    return _in_bags(psw_t[:, None] * weight_t[rows], bags, B) / _sizes(psw, bags, B)


def _plus(weight, psw, weight_t, psw_t, rows, bags, B):
    whole = jvp(weight, psw, weight_t, psw_t, rows, bags, B)
    stand_still = _sizes_stand_still(weight, psw, weight_t, psw_t, rows, bags, B)
    return 2 * stand_still - whole


def _new_sizes(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = jvp(weight, psw, weight_t, psw_t, rows, bags, B)
    after = psw if psw_t is None else psw + psw_t
    return moved * _sizes(psw, bags, B) / _sizes(after, bags, B)


def _nothing_by_nothing(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = jvp(weight, psw, weight_t, psw_t, rows, bags, B)
    return moved / torch.bincount(bags, minlength=B).clamp(max=1)[:, None]


def _tangent_of_the_sum(weight, psw, weight_t, psw_t, rows, bags, B):
    return jvp(weight, psw, weight_t, psw_t, rows, bags, B) * _sizes(psw, bags, B)


def _squared_once(weight, psw, weight_t, psw_t, rows, bags, B):
    stand_still = _sizes_stand_still(weight, psw, weight_t, psw_t, rows, bags, B)
    whole = jvp(weight, psw, weight_t, psw_t, rows, bags, B)
    return stand_still + (whole - stand_still) * _sizes(psw, bags, B)


def _weights_forgotten(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = jvp(weight, psw, None, psw_t, rows, bags, B)
    if weight_t is not None:
        moved = moved + _in_bags(weight_t[rows], bags, B) / _sizes(psw, bags, B)
    return moved


def _difference(weight, psw, weight_t, psw_t, rows, bags, B, h=1e-5):
    def means(step):
        moved = weight if weight_t is None else weight + step * weight_t
        shares = psw if psw_t is None else psw + step * psw_t
        return _in_bags(shares[:, None] * moved[rows], bags, B) / _sizes(shares, bags, B)

    return (means(h) - means(-h)) / (2 * h)


def _extrapolated(weight, psw, weight_t, psw_t, rows, bags, B):
    wide, narrow = (
        _difference(weight, psw, weight_t, psw_t, rows, bags, B, step) for step in (1e-3, 5e-4)
    )
    return (4 * narrow - wide) / 3


def _by_count(weight, psw, weight_t, psw_t, rows, bags, B):
    moved = jvp(weight, psw, weight_t, psw_t, rows, bags, B)
    counts = torch.bincount(bags, minlength=B).clamp(min=1)[:, None]
    return moved * _sizes(psw, bags, B) / counts


def _jvp_case(name: str, weight_t: bool, psw_t: bool, bags: list[int], B: int, seed: int) -> Case:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    n = len(bags)
    return Case(
        name, draw(4, 2), draw(n).abs() + 0.5, draw(4, 2) if weight_t else None,
        draw(n) if psw_t else None, torch.arange(n) * 3 % 4, torch.tensor(bags), B,
    )  # fmt: skip


def _jvp_cases() -> list[Case]:
    return [
        _jvp_case("the table moves", True, False, [0, 0, 1], 2, 1),
        _jvp_case("the weights move", False, True, [0, 0, 1], 2, 2),
        _jvp_case("both move", True, True, [0, 0, 0, 1, 1], 2, 3),
        _jvp_case("an empty bag", True, True, [0, 0, 0, 2, 2], 3, 4),
        _jvp_case("a bag of one row", False, True, [0], 1, 5),
    ]


def _any_jvp(random):
    V, D, N, B = (draw.size(random, 1, 6) for _ in range(4))
    moves = [(1, 0), (0, 1), (1, 1)][draw.size(random, 0, 2)]
    rows = torch.from_numpy(random.integers(0, V, N))
    places = torch.from_numpy(random.integers(0, B, N))
    # A derivative is linear in its direction, short or long: a difference of means is not.
    length = random.choice([1.0, 2.0**-20, 2.0**6])
    return (
        _tensor(random, V, D),
        _tensor(random, N).abs() + 0.1,
        length * _tensor(random, V, D) if moves[0] else None,
        length * _tensor(random, N) if moves[1] else None,
        rows,
        places,
        B,
    )


JVP = Exercise(
    "12.jvp",
    "how a weighted mean moves",
    jvp,
    _jvp_cases,
    random_call=_any_jvp,
    hints=(
        "The mean is a quotient. Which of its two parts moves with the table, which with the "
        "weights?",
        "Product rule above: one term for each direction that is not None. Below stands the sum "
        "of the weights: quotient rule.",
        "Add up what moves above, take away the mean times what moves below, and divide by the "
        "sum of the weights as it was; by 1 where that is 0.",
    ),
    wrong=(
        Wrong(_sizes_stand_still, "The sum of the weights, below, moves with the weights, too."),
        Wrong(
            _product_rule_alone,
            "The sum of the weights, below, moves with the weights. And an empty bag is 0 / 0.",
        ),
        Wrong(_table_only, "The direction of the weights is not in it."),
        Wrong(_never_none, "A direction may be None: that argument does not move."),
        Wrong(
            _product_of_tangents,
            "A first derivative holds one direction at a time: no product of the two.",
        ),
        Wrong(_plus, "The quotient rule has a minus: more weight below makes the mean smaller."),
        Wrong(_new_sizes, "Divide by the sum of the weights at the point, not after the move."),
        Wrong(_nothing_by_nothing, "An empty bag is 0 / 0, NaN. It stays at zero, and so: 0."),
        Wrong(_tangent_of_the_sum, "Nothing is divided by the sum of the weights."),
        Wrong(
            _squared_once,
            "In the quotient rule the second term is divided by the square of what stands below.",
        ),
        Wrong(_weights_forgotten, "The direction of the table is added up without the weights."),
        Wrong(
            _difference,
            "Close, and no derivative: a difference of two means has its error, here in the tenth "
            "digit. Write the product and the quotient rule down; they are exact.",
        ),
        Wrong(
            _extrapolated,
            "Closer still, and no derivative: along a longer direction the differences are wrong. "
            "Write the product and the quotient rule down; they are exact.",
        ),
        Wrong(_by_count, "A weighted mean divides by the sum of its weights, not by their count."),
    ),
    atol=1e-12,
    rtol=1e-12,
    points=3,
    returns="moved",
    unproved="forward mode over reverse mode; with torch's operators inside, it would hold.",
)

# ---- 12.fold --------------------------------------------------------------------------------


def fold(inputs, offsets, V):
    """One input and its offsets, of the bags of all members."""
    n, N = inputs.shape
    member = torch.arange(n)[:, None]
    inside = (inputs >= 0) & (inputs < V)
    rows = torch.where(inside, inputs + V * member, -1)
    return rows.flatten(), (offsets + N * member).flatten()


def _rows_as_they_are(inputs, offsets, V):
    rows = torch.where((inputs >= 0) & (inputs < V), inputs, -1)
    return rows.flatten(), fold(inputs, offsets, V)[1]


def _raised_by(step: Callable[..., Any]) -> Any:
    """fold, with offsets that are raised by something else."""

    def wrong(inputs, offsets, V):
        member = torch.arange(len(inputs))[:, None]
        return fold(inputs, offsets, V)[0], (offsets + step(offsets, V) * member).flatten()

    return wrong


def _unchecked(inputs, offsets, V):
    member = torch.arange(len(inputs))[:, None]
    return (inputs + V * member).flatten(), fold(inputs, offsets, V)[1]


def _upper_end_only(inputs, offsets, V):
    member = torch.arange(len(inputs))[:, None]
    rows = torch.where(inputs < V, inputs + V * member, -1)
    return rows.flatten(), fold(inputs, offsets, V)[1]


def _clamped(inputs, offsets, V):
    return fold(inputs.clamp(0, V - 1), offsets, V)


def _in_turns(inputs, offsets, V):
    rows, starts = fold(inputs, offsets, V)
    return rows.view(inputs.shape).t().flatten(), starts


def _not_flat(inputs, offsets, V):
    rows, starts = fold(inputs, offsets, V)
    return rows.view(inputs.shape), starts.view(offsets.shape)


def _rows_by_positions(inputs, offsets, V):
    rows, starts = fold(inputs, offsets, V)
    raised = inputs + inputs.shape[1] * torch.arange(len(inputs))[:, None]
    return torch.where(rows < 0, rows, raised.flatten()), starts


def _in_place(inputs, offsets, V):
    found = fold(inputs, offsets, V)
    inputs += V * torch.arange(len(inputs))[:, None]
    return found


def _checked_after(inputs, offsets, V):
    n = len(inputs)
    rows = (inputs + V * torch.arange(n)[:, None]).flatten()
    return torch.where((rows >= 0) & (rows < n * V), rows, -1), fold(inputs, offsets, V)[1]


def _fold_cases() -> list[Case]:
    random = torch.Generator().manual_seed(123)
    many = torch.randint(7, (5, 9), generator=random)
    starts = torch.tensor([0, 2, 2, 7]).repeat(5, 1)
    return [
        Case("two members", torch.tensor([[0, 2, 1], [2, 2, 0]]), torch.tensor([[0, 1]] * 2), 3),
        Case("a row too far", torch.tensor([[3, 0], [1, 2]]), torch.tensor([[0], [0]]), 3),
        Case("a row below 0", torch.tensor([[0, 1], [-1, 2]]), torch.tensor([[0], [0]]), 3),
        Case("far outside", torch.tensor([[0, -5], [99, 1]]), torch.tensor([[0], [0]]), 3),
        Case("one member", torch.tensor([[1, 0, 1]]), torch.tensor([[0, 0, 2]]), 2),
        Case(
            "other bags in each", torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0, 0], [0, 2]]), 2
        ),
        Case("five members, an empty bag", many, starts, 7),
    ]


def _any_fold(random):
    n, N, V = draw.size(random, 1, 4), draw.size(random, 1, 6), draw.size(random, 1, 5)
    inputs = torch.from_numpy(random.integers(-1 if random.random() < 0.5 else 0, V + 1, (n, N)))
    starts = np.sort(random.integers(0, N + 1, (n, draw.size(random, 1, 4))), axis=1)
    starts[:, 0] = 0
    return inputs, torch.from_numpy(starts), V


def _other_mark(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """A row that is not in its table becomes another number below 0, -2 to -60, and not -1."""
    k = int(random.integers(2, 61))
    mark = after(lambda found: (torch.where(found[0] == -1, -k, found[0]), found[1]))
    return retold(exercise, {"-1": f"-{k}", "−1": f"−{k}"}, mark)


FOLD = Exercise(
    "12.fold",
    "many members' bags in one call",
    fold,
    _fold_cases,
        random_call=_any_fold,
    hints=(
        "Member k has positions, and rows, before it. How many of each?",
        "Offsets count positions, the input holds rows: they are raised by different numbers. "
        "Look at each row before you raise it.",
        "Raise offsets by k times the length of an input, rows by k times V. A row outside of its "
        "own table becomes -1, whatever it would have become. Then put members in one line.",
    ),
    wrong=(
        Wrong(_rows_as_they_are, "All members read the first table: raise rows by V each."),
        Wrong(_raised_by(lambda offsets, V: 0),
              "Offsets start again with each member: raise them as well."),
        Wrong(_raised_by(lambda offsets, V: V),
              "Offsets count positions. They rise by the length of an input."),
        Wrong(_checked_after, "Checked after raising, a row of a neighbor's looks fine."),
        Wrong(_unchecked, "A row outside of its table has become a row of a neighbor's, or stays "
              "outside by luck. Check before you raise."),
        Wrong(_upper_end_only, "A row below 0 has become a row of the member before."),
        Wrong(_clamped, "Another row was taken in its place, silently. It must be refused: -1."),
        Wrong(_in_turns, "Members must stand one after another, not in turns: bags are stretches "
              "of neighbors."),
        Wrong(_not_flat, "One input and one row of offsets are asked for: flatten both."),
        Wrong(_raised_by(lambda offsets, V: offsets.shape[1]),
              "Offsets count positions. They rise by the length of an input, "
              "not by the number of its bags."),
        Wrong(_rows_by_positions, "Rows rise by V for each member, not by the length of an input."),
        Wrong(_in_place, "The input was raised in place; it belongs to the caller."),
    ),
    points=2,
    vary=_other_mark,
    shown=("become −1", "inputs, -1)"),
    returns=("input", "offsets"),
    unproved="padding: it must become the padding of member 0, or none would be skipped.",
)  # fmt: skip

# ---- 12.fake --------------------------------------------------------------------------------


def fake(weight, input, offsets, include_last_offset, mode):
    """Output and saved, without their numbers."""
    if offsets is None:
        B = input.shape[0]
    else:
        B = offsets.shape[0] - int(include_last_offset)
    D = weight.shape[1]
    saved = (B, D) if mode == "max" else (B,)
    return weight.new_empty(B, D), weight.new_empty(saved, dtype=torch.int64)


def _row_a_position(weight, input, offsets, include_last_offset, mode):
    return fake(weight, input[:, None], None, False, mode)


def _end_counts(weight, input, offsets, include_last_offset, mode):
    return fake(weight, input, offsets, False, mode)


def _offsets_always(weight, input, offsets, include_last_offset, mode):
    return fake(weight, input, offsets[:], include_last_offset, mode)


def _then(change: Callable[..., Any]) -> Any:
    """fake, and then a change: of output, saved, weight and input."""

    def wrong(weight, input, offsets, include_last_offset, mode):
        return change(*fake(weight, input, offsets, include_last_offset, mode), weight, input)

    return wrong


def _asks_for_data(weight, input, offsets, include_last_offset, mode):
    int(input.max())
    return fake(weight, input, offsets, include_last_offset, mode)


def _sizes_in_max(weight, input, offsets, include_last_offset, mode):
    return fake(weight, input, offsets, include_last_offset, "sum")


def _always_max(weight, input, offsets, include_last_offset, mode):
    return fake(weight, input, offsets, include_last_offset, "max")


FAKE_WRONG = (
    Wrong(_row_a_position, "One row for each bag, not for each position."),
    Wrong(_end_counts, "With include_last_offset, the last offset is the end of the last bag: one "
          "bag fewer."),
    Wrong(_offsets_always, "A two-dimensional input comes without offsets: a bag is a line of it."),
    Wrong(_then(lambda out, saved, *_: (out.float(), saved)),
          "The output has weight's dtype. Ask weight for a new tensor."),
    Wrong(_then(lambda *found: [torch.empty(f.shape, dtype=f.dtype) for f in found[:2]]),
          "The output lies where weight lies. Ask weight for a new tensor."),
    Wrong(_asks_for_data, "There are no numbers in a fake tensor. Shapes must do."),
    Wrong(_sizes_in_max, "In mode max, saved has a winner for each value of the output: (B, D)."),
    Wrong(_then(lambda out, saved, weight, _: (out, saved.to(weight.dtype))),
          "saved holds whole numbers, int64, whatever weight holds."),
    Wrong(_then(lambda out, saved, _, input: (out, saved.to(input.dtype))),
          "saved is int64 also where input is int32."),
    Wrong(_then(lambda out, saved, weight, _: (weight[: len(out)], saved)),
          "The output is a new tensor, no part of weight: there may be more bags than rows."),
    Wrong(_always_max, "In modes sum and mean, saved has one size for each bag: (B,)."),
    Wrong(_then(lambda out, *_: out), "Two things come out: the output, and saved."),
)  # fmt: skip


def calls() -> dict[str, tuple]:
    """The table of calls: tensors without numbers, on the device `meta`."""

    def of(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    table, int32, half = of(6, 3, dtype=torch.float32), torch.int32, torch.bfloat16
    return {
        "8 positions, 4 bags, sum": (table, of(8), of(4), False, "sum"),
        "4 offsets with the end, mean": (table, of(8), of(4), True, "mean"),
        "two dimensions, 5 bags of 2, sum": (table, of(5, 2), None, False, "sum"),
        "two dimensions, max": (table, of(5, 2), None, False, "max"),
        "max, offsets with the end, int32": (
            table, of(9, dtype=int32), of(3, dtype=int32), True, "max",
        ),
        "bfloat16, mean": (of(4, 7, dtype=half), of(2), of(2), False, "mean"),
        "more bags than rows, sum": (of(2, 3, dtype=torch.float32), of(8), of(5), False, "sum"),
        "no bag": (of(4, 7, dtype=torch.float64), of(0), of(0), False, "sum"),
    }  # fmt: skip


def _said(function: Callable, call: tuple) -> str:
    """What a fake answers, in words."""
    try:
        found = function(*call)
    except Exception as error:
        if isinstance(error, NotImplementedError) and "meta" not in str(error):
            raise
        asked_data = "meta" in str(error)
        return "it asked for numbers" if asked_data else f"{type(error).__name__}: {error}"
    if found is None:
        return "None (is a `return` missing?)"
    if isinstance(found, Tensor):
        return "one tensor"
    if not isinstance(found, (tuple, list)) or not all(isinstance(f, Tensor) for f in found):
        return "no tuple of tensors"
    kinds = [f"{tuple(f.shape)} {str(f.dtype)[6:]} on {f.device}" for f in found]
    return ", ".join(kinds)


def _judge_fake(mine: Any) -> str:
    if not callable(mine):
        return "Give the name of your fake, a function (weight, input, offsets, include_..., mode)."
    table = calls()
    expected, actual = ({k: _said(f, call) for k, call in table.items()} for f in (fake, mine))
    missed = [name for name in table if actual[name] != expected[name]]
    if not missed:
        return ""
    name = missed[0]
    told = f"{len(missed)} of {len(table)} calls. {name}: expected {expected[name]}; found "
    causes = [w.message for w in FAKE_WRONG
              if all(_said(w.function, table[k]) == actual[k] for k in table)]  # fmt: skip
    return "\n\n".join([told + actual[name], *causes[:1]])


FAKE = Exercise(
    "12.fake",
    "what comes out, without a look at the numbers",
    fake,
    hints=(
        "How many bags are there? There are three ways to say it.",
        "weight.new_empty makes a tensor of weight's dtype on weight's device.",
        "Without offsets, a bag is a line of input. With them, one for each offset, less one if "
        "the end is among them. saved is (B,) int64, or (B, D) in mode max.",
    ),
    wrong=FAKE_WRONG,
    points=2,
    unproved="that sizes may stay symbols: len() and int() of a size would fix them.",
    judge=_judge_fake,
)

EXERCISES = (ASKED, SAVED, JVP, FOLD, FAKE)
