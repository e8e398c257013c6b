"""The pictures, the record and the exercises of chapter 12."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_bench import check_record  # noqa: E402

from embag_edu.bench import plan  # noqa: E402
from embag_edu.chapters.ch12 import exercises as ch12  # noqa: E402
from embag_edu.chapters.ch12.figures import (  # noqa: E402
    DIFFERS,
    INPUT,
    OFFSETS,
    ROWS,
    fold_picture,
    parts_of_step,
    step_picture,
    strides_picture,
    table_picture,
    trilinear_picture,
)
from embag_edu.check.compare import difference  # noqa: E402
from embag_edu.course import check  # noqa: E402
from embag_edu.course.exercise import ExerciseFailed  # noqa: E402

RECORD = Path(__file__).parents[1] / "book" / "results" / "train_step.json"


# ---- pictures --------------------------------------------------------------------------------


def test_strides_are_read_as_torch_reads_them():
    turned = strides_picture(torch.arange(6).reshape(2, 3).t())
    assert "as [[0, 3], [1, 4], [2, 5]]" in turned.alt and "4 of 6 are the wrong" in turned.alt
    one = strides_picture(torch.tensor(7).expand(3, 2)).alt
    assert "In memory lie 1 numbers: 7." in one and "0 of 6 are the wrong number, and 5" in one
    plain = strides_picture(torch.arange(6).reshape(2, 3)).alt
    assert "0 of 6 are the wrong number, and 0 lie behind the end" in plain
    inner = torch.arange(12).reshape(3, 4)[:, 1::2]
    assert str(inner.tolist()) in strides_picture(inner).alt


@pytest.mark.parametrize("shape", [(3,), (6, 2), (0, 2)])
def test_strides_of_what_does_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="valid: two dimensions, each 1 to 5"):
        strides_picture(torch.zeros(shape))


@pytest.mark.parametrize("members", [1, 2, 4])
@pytest.mark.parametrize("differs", DIFFERS)
def test_folds_draw_and_say_the_folded_call(differs, members):
    picture = fold_picture(differs, members)
    assert picture.png().startswith(b"\x89PNG")
    if differs == "tables":
        assert f"{ROWS} rows and {2 * members} features" in picture.alt
        return
    inputs = torch.tensor([[(row + k) % ROWS for row in INPUT] for k in range(members)])
    rows, offsets = ch12.fold(inputs, torch.tensor([OFFSETS] * members), ROWS)
    told = [" ".join(map(str, numbers.tolist())) for numbers in (rows, offsets)]
    assert told[1] in picture.alt and (differs == "bags" or told[0] in picture.alt)


@pytest.mark.parametrize("given", [("rows", 2), ("bags", 0), ("both", 5)])
def test_folds_that_are_not_shown_are_refused(given):
    with pytest.raises(ValueError, match="valid: one of"):
        fold_picture(*given)


def test_the_triangle_says_who_is_the_derivative_of_whom():
    assert "the derivatives of each function are the other two" in trilinear_picture().alt


def test_the_table_tells_no_from_not_asked():
    found = {"ours": {"jvp": "yes", "vmap": "yes"}, "theirs": {"jvp": "ValueError: no"}}
    alt = table_picture(found).alt
    assert "ours: yes to all that was asked. theirs: yes to all that was asked but jvp" in alt
    assert "but jvp (not asked: vmap)" in alt


# ---- the record ------------------------------------------------------------------------------


def test_the_recorded_training_step_is_complete():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    check_record(record)
    names = {(entry["name"], entry["step"]) for entry in record["results"]}
    assert {(m.name, step) for m in plan.training_plan() for step in m.steps} == names


def test_parts_of_a_step_add_up():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for name in dict.fromkeys(entry["name"] for entry in record["results"]):
        for of in parts_of_step(record, name).values():
            parts = of["forward"] + of["backward"] + of["the rest"]
            assert np.isclose(parts, of["train"]) and of["the rest"] > 0
        assert f"One training step at {name}" in step_picture(record, name).alt
    with pytest.raises(ValueError, match="the record has no backward, forward, train of 'x'"):
        parts_of_step(record, "x")


# ---- exercises: other right answers, and how mistakes are told apart -----------------------------


def test_a_copy_is_a_right_repair_as_well(capsys):
    def cloned(ctx, weight, psw, rows, bags):
        taken = weight[rows]
        ctx.save_for_backward(taken.clone(), psw.clone(), rows, bags)
        ctx.shape = weight.shape
        taken *= psw[:, None]
        return weight.new_zeros(4, weight.shape[1]).index_add(0, bags, taken)

    check("12.saved", cloned)
    assert "12.saved: right." in capsys.readouterr().out


def saved_as(change, shape=lambda weight: weight.shape):
    def forward(ctx, weight, psw, rows, bags):
        taken = weight[rows]
        ctx.save_for_backward(*change(taken, psw, rows, bags))
        ctx.shape = shape(weight)
        return weight.new_zeros(4, weight.shape[1]).index_add(0, bags, taken * psw[:, None])

    return forward


def in_place(taken, psw, rows, bags):
    rows.fill_(0)
    return taken, psw, rows, bags


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        (saved_as(lambda taken, *others: (taken.float(), *others)), "not those of the output"),
        (saved_as(lambda *four: (*four, four[0])), "5 tensors were saved"),
        (saved_as(lambda *four: four[:3]), "3 tensors were saved"),
        (saved_as(lambda *four: four, lambda weight: (4, weight.shape[1])), "perhaps ctx.shape"),
        (saved_as(lambda taken, psw, rows, bags: (taken, psw, bags, rows)), "bags are swapped"),
        (saved_as(in_place), "all four belong to the caller"),
    ],
)
def test_what_is_saved_wrongly_is_told(mine, told):
    with pytest.raises(ExerciseFailed, match=told):
        check("12.saved", mine)


def test_a_gradient_that_is_missing_is_no_missing_return():
    with pytest.raises(ExerciseFailed) as raised:
        check("12.asked", lambda ctx, g: (None, None, None, None))
    assert "of_weight: expected a torch tensor of shape (5, 2), found None" in str(raised.value)
    assert "return" not in str(raised.value)


def test_the_fault_to_be_repaired_is_hidden_by_weights_of_one():
    arguments = ch12._saved_arguments()
    plain = (arguments[0], torch.ones_like(arguments[1]).requires_grad_(), *arguments[2:])
    for given, hidden in ((plain, True), (arguments, False)):
        grads = [
            torch.autograd.grad(ch12.weighted_bag(f).apply(*given).cos().sum(), given[:2])
            for f in (ch12._as_found, ch12.repaired)
        ]
        assert torch.equal(grads[0][0], grads[1][0])
        assert torch.equal(grads[0][1], grads[1][1]) == hidden


def test_the_jvp_is_the_difference_of_moved_means():
    """Against finite differences: the exercise's right answer is right."""
    for case in ch12._jvp_cases():
        weight, psw, weight_t, psw_t, rows, bags, B = case.args
        step, ends = 1e-6, []
        for sign in (1, -1):
            w = weight if weight_t is None else weight + sign * step * weight_t
            s = psw if psw_t is None else psw + sign * step * psw_t
            sizes = torch.zeros(B, 1, dtype=s.dtype).index_add(0, bags, s[:, None])
            means = torch.zeros(B, 2, dtype=s.dtype).index_add(0, bags, s[:, None] * w[rows])
            ends.append(means / torch.where(sizes == 0, 1, sizes))
        moved = ch12.jvp(*case.args)
        assert not difference(((ends[0] - ends[1]) / (2 * step)).numpy(), moved.numpy(), atol=1e-8)


def test_the_fake_is_what_the_package_makes():
    """The table of calls: shapes, dtypes and devices of output and saved."""
    ops = pytest.importorskip("embag_edu.nn.ops")
    for weight, input, offsets, include_last_offset, mode in ch12.calls().values():
        bags = (offsets, include_last_offset, None, mode, False, False, "vectorized")
        found = ops.embedding_bag(weight, None, input, *bags)
        expected = ch12.fake(weight, input, offsets, include_last_offset, mode)
        for one, other in zip(found, expected, strict=True):
            assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
