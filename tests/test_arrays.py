"""The one bridge between tensors and arrays: the memory is shared, in both directions."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="tensors are torch's")
pytest.importorskip("ml_dtypes", reason="bfloat16 in NumPy comes from ml_dtypes")

from embag_edu.arrays import numpy_dtype, on_host, to_array, to_tensor  # noqa: E402
from embag_edu.spec import SparseGradient  # noqa: E402

NAMES = ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "int32", "int64", "bool"]
VIEWS = {
    "whole": lambda t: t,
    "every other row": lambda t: t[::2],
    "turned": lambda t: t.T,
    "one number": lambda t: t[0, 0],
    "nothing": lambda t: t[:0],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_both_ways_share_memory_and_keep_shape_and_strides(name, view):
    table = torch.arange(12).reshape(4, 3).to(getattr(torch, name))
    tensor = VIEWS[view](table)
    array = to_array(tensor)
    back = to_tensor(array)
    assert array.dtype.name == name and array.dtype == numpy_dtype(tensor.dtype)
    assert array.shape == tuple(tensor.shape) and back.dtype == tensor.dtype
    steps = tuple(stride // array.itemsize for stride in array.strides)
    assert view == "nothing" or steps == tensor.stride() == back.stride()
    assert view == "nothing" or back.data_ptr() == tensor.data_ptr()
    table.fill_(1)
    assert (array.astype(float) == 1).all() and (back.double() == 1).all()


def test_a_tensor_that_needs_a_gradient_gives_an_array_without_one():
    assert to_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


def test_results_on_the_host():
    sparse = torch.sparse_coo_tensor([[1, 0]], torch.tensor([[2.0], [3.0]]), (4, 1))
    result = on_host(sparse)
    assert isinstance(result, SparseGradient) and result.shape == (4, 1)
    assert result.indices.tolist() == [[1, 0]] and result.values.tolist() == [[2], [3]]
    array = np.ones(2)
    assert on_host(array) is array and on_host("text") == "text" and on_host(None) is None
    assert on_host(torch.ones(2)).tolist() == [1, 1]


def test_without_ml_dtypes_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(
        ImportError, match=r"torch.bfloat16 in NumPy needs .* pip install ml_dtypes"
    ):
        to_array(torch.ones(2, dtype=torch.bfloat16))
    assert to_array(torch.ones(2)).tolist() == [1, 1]
