"""What an implementation has to be: a module that satisfies the protocol, and one entry."""

import inspect

import numpy as np
import pytest

import embag_edu
from embag_edu.api import IMPLEMENTATIONS, implementation_of
from embag_edu.check import check
from embag_edu.spec import Implementation

PROTOCOL = [name for name in vars(Implementation) if not name.startswith("_")]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_each_satisfies_the_protocol(name):
    assert PROTOCOL == ["forward", "renorm", "grad_weight", "grad_per_sample_weights"]
    for function in PROTOCOL:
        wanted = inspect.signature(getattr(Implementation, function)).parameters
        found = inspect.signature(getattr(implementation_of(name), function)).parameters
        needed = [p.name for p in found.values() if p.default is p.empty]
        assert needed == list(wanted)[1:], function


def test_a_fourth_is_a_module_and_one_entry(monkeypatch):
    """torch's own operator: where it fails a clause, it fails as torch does (see the ledger)."""
    monkeypatch.setitem(IMPLEMENTATIONS, "torch", "torch_operator")
    report = check("torch", isolate=False, raises=False)
    assert len(report.results) > 120
    results = {r.clause.name: r.status for r in report.results}
    failing = [name for name, status in results.items() if status == "FAILS"]
    assert not failing, failing


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_three_doors_to_one_backward(name, mode, padding_idx):
    """vjp and backward agree to the last bit, and max_norm is not applied a second time."""
    random = np.random.default_rng(5)
    weight = random.normal(size=(7, 3))
    input, offsets = random.integers(7, size=12), np.array([0, 4, 4, 9])
    options = dict(mode=mode, padding_idx=padding_idx, implementation=name)
    output, backward = embag_edu.embedding_bag_vjp(input, weight, offsets, max_norm=1.0, **options)
    after = weight.copy()
    again = embag_edu.embedding_bag(input, weight, offsets, **options)
    np.testing.assert_array_equal(output, again)
    for _ in range(2):
        grad_output = random.normal(size=output.shape)
        one, two = backward(grad_output), embag_edu.embedding_bag_backward(
            grad_output, input, weight, offsets, **options
        )  # fmt: skip
        np.testing.assert_array_equal(one.weight, two.weight)
        assert one.per_sample_weights is None and np.array_equal(weight, after)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        backward(grad_output[:-1])


@pytest.mark.parametrize("mode, forwards", [("sum", 0), ("mean", 0), ("max", 1)])
def test_a_backward_alone_runs_no_forward_that_it_does_not_need(mode, forwards, monkeypatch):
    from embag_edu import loops

    calls, real = [], loops.forward
    monkeypatch.setattr(loops, "forward", lambda call: calls.append(call) or real(call))
    embag_edu.embedding_bag_backward(np.ones((1, 2)), np.array([[0]]), np.ones((3, 2)), mode=mode)
    assert len(calls) == forwards


# ---- arrays as they come --------------------------------------------------------------------

FORMS = {  # each holds the same numbers as the plain array
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "a column slice": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.flip(np.flip(a, -1).copy(), -1),
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "a subclass": lambda a: a.view(np.matrix) if a.ndim == 2 else a,
    "a file": lambda a: a.view(np.memmap),
}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_form_of_array_gives_the_same_bits(name, form, mode, dtype):
    random = np.random.default_rng(7)
    weight = random.normal(size=(9, 4)).astype(dtype)
    input, offsets = random.integers(9, size=14), np.array([0, 5, 5])
    psw = random.normal(size=14).astype(dtype) if mode == "sum" else None
    grad_output = random.normal(size=(3, 4)).astype(dtype)
    as_form = lambda a: None if a is None else FORMS[form](a)  # noqa: E731
    results = []
    for change in (lambda a: a, as_form):
        call = [change(a) for a in (input, weight, offsets)]
        options = dict(mode=mode, per_sample_weights=change(psw), implementation=name)
        output, backward = embag_edu.embedding_bag_vjp(*call, **options)
        gradients = backward(change(grad_output))
        results.append([output, gradients.weight, gradients.per_sample_weights])
        assert type(output) is np.ndarray and output.dtype == np.dtype(dtype)
    for plain, other in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, other)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_table_that_cannot_be_rescaled_in_place_is_refused(name):
    call = dict(max_norm=1.0, implementation=name)
    weight = FORMS["read-only"](np.full((4, 3), 5.0))
    with pytest.raises(ValueError, match="weight is read-only"):
        embag_edu.embedding_bag(np.array([[0, 1]]), weight, **call)
    assert (weight == 5).all()
    for strided in ("a column slice", "a subclass", "big-endian"):
        weight = FORMS[strided](np.full((4, 3), 5.0))
        embag_edu.embedding_bag(np.array([[0, 1]]), weight, **call)
        assert np.allclose(np.linalg.norm(np.asarray(weight), axis=1), [1, 1, 75**0.5, 75**0.5])


@pytest.mark.parametrize("which", ["input", "weight", "offsets", "per_sample_weights"])
def test_masked_arrays_are_refused(which):
    arguments = dict(
        input=np.array([0, 1]), weight=np.ones((3, 2)), offsets=np.array([0]),
        per_sample_weights=np.ones(2), mode="sum",
    )  # fmt: skip
    arguments[which] = np.ma.masked_array(arguments[which])
    with pytest.raises(TypeError, match=f"{which} must be a NumPy array, not a MaskedArray"):
        embag_edu.embedding_bag(**arguments)


@pytest.mark.parametrize("other", ["uint16", "uint32", "uint64", "float32", "object"])
@pytest.mark.parametrize("which", ["input", "offsets"])
def test_indices_that_torch_does_not_promote_are_named(which, other):
    arguments = {"input": np.array([0, 1]), "offsets": np.array([0])}
    arguments[which] = arguments[which].astype(other)
    with pytest.raises(RuntimeError, match=f"Long, Int; but got {other} instead"):
        embag_edu.embedding_bag(weight=np.ones((3, 2)), **arguments)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p, row, norm", [
    (400.0, [3.0, 4.0], 4.0), (2000.0, [3.0, 4.0], 4.0), (1e6, [3.0], 3.0), (1e6, [0.3, 0.4], 0.4),
    (-2000.0, [3.0, 4.0], 3.0), (-2000.0, [0.3, 0.4], 0.3), (-2000.0, [0.0, 4.0], 0.0),
    (2000.0, [0.0, 0.0], 0.0), (5.0, [2.0, 2.0], 2 * 2**0.2),
])  # fmt: skip
def test_norms_do_not_overflow_where_their_powers_do(name, dtype, p, row, norm):
    """spec 6, norm-type: any float."""
    weight = np.array([row], dtype)
    options = dict(max_norm=0.1, norm_type=p, implementation=name)
    embag_edu.embedding_bag(np.array([[0]]), weight, **options)
    expected = np.array(row) * min(1.0, 0.1 / norm if norm else 1.0)
    np.testing.assert_allclose(weight[0], expected, rtol=1e-5)


def test_a_table_with_strides_is_not_copied_for_each_piece(monkeypatch):
    """np.take would make the whole table contiguous, once for each piece."""
    import tracemalloc

    from embag_edu import vectorized

    table = np.zeros((50_000, 8))[:, :4]
    monkeypatch.setattr(vectorized, "BLOCK_BYTES", 1 << 16)
    arguments = np.arange(20_000), table, np.arange(0, 20_000, 10)
    tracemalloc.start()
    try:
        output = embag_edu.embedding_bag(*arguments, implementation="vectorized")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < output.nbytes + table.nbytes / 2
