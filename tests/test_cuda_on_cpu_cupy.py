"""What CuPy brings to a source: complex numbers, CArray, float16."""

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import RawModule, settings

COMPLEX = r"""
#include <cupy/complex.cuh>
template <class T> __global__ void apply(const complex<T>* x, thrust::complex<T>* y, complex<T> s) {
  const complex<T> z = x[threadIdx.x];
  complex<T>* out = y + 8 * threadIdx.x;
  out[0] = exp(z) * s + conj(z) / (z + T(2)) - T(3) / z;
  out[1] = pow(z, s);
  out[2] = complex<T>(abs(z), arg(z)) + thrust::polar(T(2), T(1));
  out[3] = complex<T>(norm(z), z.real());
  out[4] = sqrt(z) + tanh(z) + asin(z) + log10(z);
  out[5] = z == s || !(z != z) ? -z : z;
  out[6] = z < s ? z : s;
  out[7] = z; out[7] *= s; out[7].imag(1);
}
"""
CUCOMPLEX = r"""
#include <cuComplex.h>
extern "C" __global__ void apply(const cuComplex* x, cuDoubleComplex* y, cuDoubleComplex s) {
  cuDoubleComplex z = cuComplexFloatToDouble(x[threadIdx.x]);
  z = cuCfma(cuCmul(z, s), cuCdiv(cuConj(z), s), cuCsub(s, cuCadd(z, z)));
  y[threadIdx.x] = make_cuDoubleComplex(cuCreal(z), cuCabs(z) + cuCabsf(x[threadIdx.x]));
}
"""


def numbers(dtype, n=32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=n) + 1j * rng.normal(size=n)).astype(dtype)


@pytest.mark.parametrize("mode", ["checked", "fast"])
@pytest.mark.parametrize(("kind", "part"), [("float", np.float32), ("double", np.float64)])
def test_complex_numbers_as_numpys(mode, kind, part):
    dtype = np.result_type(part, 1j)
    module = RawModule(COMPLEX, name_expressions=["apply<float>", "apply<double>"])
    x, y, s = numbers(dtype), np.zeros((32, 8), dtype), dtype.type(0.5 + 0.25j)
    with settings(mode=mode):
        module.get_function(f"apply<{kind}>")((1,), (32,), (x, y, s))
    times = x * s
    wanted = [
        np.exp(x) * s + x.conj() / (x + 2) - 3 / x,
        x**s,
        abs(x) + 1j * np.angle(x) + 2 * np.exp(1j),
        abs(x) ** 2 + 1j * x.real,
        np.sqrt(x) + np.tanh(x) + np.arcsin(x) + np.log10(x),
        -x,
        np.minimum(x, s),
        times.real + 1j,
    ]
    np.testing.assert_allclose(y.T, wanted, rtol=100 * np.finfo(part).eps)


def test_a_complex_number_is_one_access():
    module = RawModule(COMPLEX, name_expressions=["apply<float>", "apply<double>"])
    x, y = numbers(np.complex64), np.zeros((32, 8), np.complex64)
    kernel = module.get_function("apply<float>")
    kernel((1,), (32,), (x, y, np.complex64(1j)))
    read = [site for site in kernel.report.lines if site.array == "x"]
    assert [(site.bytes, site.requests, site.sectors) for site in read] == [(8, 1, 8)]


@pytest.mark.parametrize("translate", [False, True])
def test_cucomplex(translate):
    kernel = RawModule(CUCOMPLEX, translate_cucomplex=translate).get_function("apply")
    x, y, s = numbers(np.complex64), np.zeros(32, np.complex128), 0.5 + 0.25j
    with settings(mode="fast"):
        kernel((1,), (32,), (x, y, s))
    z = x.astype(np.complex128)
    z = z * s * (z.conj() / s) + (s - 2 * z)
    np.testing.assert_allclose(y, z.real + 1j * (abs(z) + abs(x)), rtol=1e-6)
