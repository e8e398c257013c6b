"""The bound of rounding: nothing that is right exceeds it, and what is wrong does."""

from fractions import Fraction

import numpy as np
import pytest

from embag_edu.check.rounding import UNITS, bound, gamma, of_rescaled, units

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in UNITS}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_those_of_the_dtype(name):
    about = ml_dtypes.finfo(DTYPES[name])
    adding, stored, smallest = units(name)
    assert stored == float(about.eps) / 2 and adding == min(stored, 2.0**-24)
    assert smallest == pytest.approx(float(about.smallest_subnormal), rel=0.1)
    assert smallest >= float(about.smallest_subnormal)


def test_units_of_a_dtype_of_numpy_or_torch_or_its_name():
    torch = pytest.importorskip("torch")
    for name, dtype in DTYPES.items():
        assert units(dtype) == units(getattr(torch, name)) == units(name) == UNITS[name]
    assert units(np.dtype(">f4")) == UNITS["float32"]


def test_the_formula_by_hand():
    u, n = 2.0**-24, 3 + 6  # 3 terms, each rounded 6 times before
    assert gamma(n, u) == n * u / (1 - n * u)
    found = bound("float32", 3, scale=10.0, exact=-4.0)
    assert found == pytest.approx(gamma(n, u) * 10 + u * 4, rel=1e-6)
    in_16_bits = bound("bfloat16", 3, scale=10.0, exact=-4.0)
    assert in_16_bits == pytest.approx(gamma(n, u) * 10 * (1 + 2**-8) + 2.0**-8 * 4, rel=1e-6)
    assert bound("float64", 3, 10.0, -4.0) == pytest.approx(
        2 * gamma(n, 2.0**-53) * 10 + 2.0**-53 * 4, rel=1e-6
    )  # the exact sum was made in float64, too
    assert of_rescaled("float32", 5) == (5 + 8) * u + 4 * u


def test_infinity_and_nan_must_come_out_as_they_are():
    exact = np.array([np.inf, np.nan, 1.0])
    assert (bound("float32", 2, np.abs(exact), exact) == 0).tolist() == [True, True, False]


def exact_sum(terms):
    return float(sum(map(Fraction, terms.tolist())))


ORDERS = {
    "as they come": lambda terms: terms,
    "backwards": lambda terms: terms[::-1],
    "small ones first": lambda terms: terms[np.argsort(np.abs(terms))],
    "large ones first": lambda terms: terms[np.argsort(-np.abs(terms))],
}
KINDS = {
    "alike": lambda random, n: random.uniform(1, 2, n),
    "of both signs": lambda random, n: random.standard_normal(n),
    "of all sizes": lambda random, n: random.standard_normal(n) * 2.0 ** random.integers(-9, 9, n),
    "that cancel": lambda random, n: (
        np.tile(random.standard_normal(n), 2)[: n * 2] * np.repeat([1, -1], n)
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNITS)
def test_a_right_sum_is_within_it_in_any_order(name, kind, order):
    random, dtype = np.random.default_rng(5), DTYPES[name]
    adds = np.float64 if name == "float64" else np.float32
    for n in (1, 2, 3, 10, 100, 3000):
        terms = ORDERS[order](KINDS[kind](random, n).astype(dtype).astype(adds))
        total = adds(0)
        for term in terms:
            total = adds(total + term)
        exact = exact_sum(terms)
        off = abs(float(np.asarray(total).astype(dtype)) - exact)
        assert off <= bound(dtype, len(terms), np.abs(terms.astype(float)).sum(), exact)


@pytest.mark.parametrize("name, most", [("float64", 3000), ("float32", 1000), ("float16", 20)])
def test_a_sum_without_one_of_its_terms_is_outside(name, most):
    random = np.random.default_rng(6)
    for n in (1, 2, 10, most):
        terms = random.uniform(1, 2, n).astype(name).astype(np.float64)
        exact = terms.sum()
        assert terms.min() > bound(name, n, exact, exact)


def test_adding_in_16_bits_is_outside():
    terms = np.random.default_rng(7).uniform(1, 2, 3000).astype(np.float16)
    total = np.float16(0)
    for term in terms:
        total = np.float16(total + term)
    exact = terms.astype(float).sum()
    assert abs(float(total) - exact) > bound("float16", 3000, exact, exact)
