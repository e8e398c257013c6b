"""arguments.py: what a kernel takes, and what is said about all else."""

import ml_dtypes
import numpy as np
import pytest

from embag_edu.cuda_on_cpu import RawModule, settings
from embag_edu.cuda_on_cpu.arguments import check_arguments
from embag_edu.cuda_on_cpu.signature import parameters

X = np.zeros((2, 4), np.float32)


class Flags:
    c_contiguous = True
    f_contiguous = False


class Device:
    """As much of a CuPy array as is asked for: its flags know nothing of `writeable`."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.flags = shape, np.dtype(dtype), Flags()
        self.ndim, self.size = len(shape), int(np.prod(shape))


def run(written, arg, **options):
    code = f"__global__ void scale(int first, {written}) {{}}"
    found = check_arguments("scale", parameters(code, "scale"), (np.int32(1), arg), **options)
    assert found[0] == 1
    return found[1]


def readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


bf16 = np.dtype(ml_dtypes.bfloat16)
TAKEN = [
    ("float* x", X),
    ("const float* x", readonly(X)),
    ("float* x", np.zeros(0, np.float32)),
    ("float* x", np.array(1, np.float32)),
    ("float* x", Device((2, 3), np.float32)),
    ("float4* x", X),
    ("half2* x", np.zeros(4, np.uint16)),
    ("void* x", np.zeros(3, np.int16)),
    ("__half* x", np.zeros(3, np.float16)),
    ("__half* x", np.zeros(3, np.uint16)),
    ("__nv_bfloat16* x", np.zeros(3, np.uint16)),
    ("__nv_bfloat16* x", np.zeros(3, bf16)),
    ("bool* x", np.zeros(3, np.uint8)),
    ("char* x", np.zeros(3, bool)),
    ("unsigned char* x", np.zeros(3, np.int8)),
    ("long long* x", np.zeros(3, np.int64)),
    ("Pair* x", np.zeros(3, np.int64)),
    ("Pair x", np.zeros(1, "f4,i4")[0]),
    ("Pair x", X),
    ("index_t n", np.int64(3)),
    ("float4 x", np.zeros(1, "f4,f4,f4,f4")[0]),
    ("int n", np.int32(3)),
    ("size_t n", np.uint64(3)),
    ("float x", np.float32(3)),
    ("double x", np.float64(3)),
    ("__half x", np.float16(3)),
    ("__nv_bfloat16 x", bf16.type(3)),
    ("__nv_bfloat16 x", np.uint16(3)),
    ("bool b", np.bool_(True)),
]


@pytest.mark.parametrize(("written", "arg"), TAKEN)
def test_taken_as_it_is(written, arg):
    assert run(written, arg) is arg


@pytest.mark.parametrize(
    ("written", "arg", "wanted"),
    [
        ("int n", 3, np.int32(3)),
        ("int n", True, np.int32(1)),
        ("long long n", 2**40, np.int64(2**40)),
        ("unsigned char n", 255, np.uint8(255)),
        ("double x", 2.5, np.float64(2.5)),
        ("bool b", True, np.bool_(True)),
        ("complex<double> z", 2j, np.complex128(2j)),
        ("cuDoubleComplex z", 2j, np.complex128(2j)),
        ("float* x", None, np.uint64(0)),
        ("float* x", 0, np.uint64(0)),  # CuPy takes it too
    ],
)
def test_python_numbers_get_the_parameters_type(written, arg, wanted):
    found = run(written, arg)
    assert type(found) is type(wanted) and found == wanted


F = np.zeros((4, 4), np.float32)
RAISED = [
    # written, argument, error, what was given, the likely fix
    ("float* x", X.astype(np.float64), TypeError, "float64, shape (2, 4)", "x.astype(np.float32)"),
    ("int* x", np.zeros(3, np.int64), TypeError, "array of int64", "x.astype(np.int32)"),
    ("int* x", np.zeros(3, np.uint32), TypeError, "array of uint32", "x.view(np.int32)"),
    ("unsigned* x", np.zeros(3, np.int32), TypeError, "array of int32", "x.view(np.uint32)"),
    ("float* x", np.zeros(3, ">f4"), TypeError, "foreign byte order", "x.astype(np.float32)"),
    ("float* x", F[:, 0], ValueError, "with strides", "np.ascontiguousarray(x)"),
    ("float* x", np.asfortranarray(F), ValueError, "with Fortran order", ".copy(order='C')"),
    ("float* x", np.asfortranarray(F), ValueError, "with Fortran order", "x.T, the same memory"),
    ("void* x", F[:, ::2], ValueError, "with strides", ".copy(order='C')"),
    ("void* x", F[:, ::2], ValueError, "with strides", "a parameter's name says `stride`"),
    ("float* x", readonly(F), ValueError, "read-only", "`const`"),
    ("float* x", np.array([None, 1]), TypeError, "object", "numbers"),
    ("Pair* x", np.array([None, 1]), TypeError, "object", "numbers"),
    ("float4* x", np.zeros(6, np.float32), ValueError, "shape (6,)", "multiple of 4"),
    ("float4* x", np.zeros(8, np.float64), TypeError, "float64", "np.float32"),
    ("float* x", 1, TypeError, "the Python int 1", "np.zeros(1, np.float32)"),
    ("float* x", 2**40, TypeError, "the Python int", "pass the array itself"),
    ("float* x", np.float32(0), TypeError, "np.float32(0.0)", "np.zeros(1, np.float32)"),
    ("int* x", [1, 2], TypeError, "a list", "np.array(x, np.int32)"),
    ("Pair* x", "text", TypeError, "a str", "NumPy"),
    ("int n", np.array(3, np.int32), TypeError, "an array of int32", "np.int32(n.item())"),
    ("int n", np.int64(3), TypeError, "np.int64(3)", "np.int32(n)"),
    ("int n", np.uint32(3), TypeError, "np.uint32(3)", "np.int32(n)"),
    ("int n", 2**31, ValueError, "2147483648", "-2147483648 to 2147483647"),
    ("unsigned n", -1, ValueError, "-1", "0 to 4294967295"),
    ("int n", 3.0, TypeError, "the Python float 3.0", "int(n)"),
    ("int n", None, TypeError, "None", "Pass a number"),
    ("int n", "3", TypeError, "a str", "np.int32(...)"),
    ("float f", 2.0, TypeError, "the Python float 2.0", "np.float32(2.0)"),
    ("float f", 2, TypeError, "the Python int 2", "np.float32(2)"),
    ("float f", np.float64(2), TypeError, "np.float64(2.0)", "np.float32(f)"),
    ("double f", 2, TypeError, "the Python int 2", "np.float64(2)"),
    ("complex<float> z", 2j, TypeError, "the Python complex 2j", "np.complex64(2j)"),
    ("complex<float> z", np.complex128(2j), TypeError, "np.complex128(2j)", "np.complex64(z)"),
    ("complex<float>* z", np.zeros(3), TypeError, "array of float64", "np.complex64"),
    ("__half h", 2.0, TypeError, "the Python float 2.0", "np.float16(2.0)"),
    ("bool b", 1, TypeError, "the Python int 1", "bool(1)"),
    ("float4 v", np.float32(1), TypeError, "np.float32(1.0)", "16 bytes"),
    ("float4 v", 1.0, TypeError, "the Python float 1.0", "np.void"),
    ("Pair p", 1, TypeError, "the Python int 1", "NumPy scalar"),
    ("Pair p", None, TypeError, "None", "number"),
]


@pytest.mark.parametrize(("written", "arg", "error", "given", "fix"), RAISED)
def test_raised(written, arg, error, given, fix):
    with pytest.raises((TypeError, ValueError)) as raised:
        run(written, arg)
    text = str(raised.value)
    assert raised.type is error, text
    assert f"kernel scale, argument 2 of 2 (`{written}`): " in text
    assert given in text and fix in text


def test_bfloat16_where_there_is_none():
    assert run("__nv_bfloat16* x", np.zeros(3, np.uint16), bf16_ok=False) is not None
    with pytest.raises(TypeError, match="np.uint16"):
        run("__nv_bfloat16* x", np.zeros(3, bf16), bf16_ok=False)
    with pytest.raises(TypeError, match="16 bits"):
        run("__nv_bfloat16 x", bf16.type(1), bf16_ok=False)


def test_number_of_arguments():
    found = parameters("__global__ void k(const float* x, int n) {}", "k")
    with pytest.raises(TypeError, match=r"1 arguments.*takes 2: \(const float\* x, int n\)"):
        check_arguments("k", found, (X,))
    with pytest.raises(TypeError, match="none"):
        check_arguments("k", [], (X,))
    assert check_arguments("k", [], ()) == []


def test_unnamed_parameter():
    found = parameters("__global__ void k(float*) {}", "k")
    with pytest.raises(TypeError, match=r"argument 1 of 1 \(`float\*`\).*argument1.astype"):
        check_arguments("k", found, (X.astype(int),))


BY_VALUE = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
struct Pair { float a, b; };
struct Wide { char tag; float4 v; int2 n; };
struct Copied { float a[3]; __device__ Copied(const Copied& o) { for (int i = 0; i < 3; i++) a[i] = 2 * o.a[i]; } };
extern "C" {
__global__ void pair(Pair p, float* o) { o[0] = p.a; o[1] = p.b; }
__global__ void wide(Wide w, float* o) { o[0] = w.tag; o[1] = w.v.w; o[2] = w.n.y; }
__global__ void copied(const __grid_constant__ Copied c, float* o) { o[0] = c.a[0] / c.a[2]; }
__global__ void halves(__half2 h, __nv_bfloat162 b, float* o) { o[0] = __high2float(h); o[1] = __high2float(b); }
__global__ void threes(float3 f, int3 i, dim3 d, float* o) { o[0] = f.z; o[1] = i.z; o[2] = d.z; }
__global__ void four(float4 f, float* o) { o[0] = f.w; }
__global__ void z(const float2* z, float* o) { o[0] = z[1].x; o[1] = z[1].y; }
}"""  # noqa: E501
PAIR = np.dtype([("a", "f4"), ("b", "f4")])
WIDE = np.dtype(
    {
        "names": ["tag", "v", "n"],
        "formats": ["i1", "4f4", "2i4"],
        "offsets": [0, 16, 32],
        "itemsize": 48,
    }
)
THREE = np.array([(1, 2, 3)], "f4,f4,f4")
VALUES = [
    ("pair", [np.array((1, 2), PAIR)], [1, 2]),  # 0-d, as CuPy takes it
    ("pair", [np.array([(1, 2)], PAIR)], [1, 2]),
    ("pair", [np.array([(1, 2)], PAIR)[0]], [1, 2]),
    ("wide", [np.array([(7, (1, 2, 3, 4), (5, 6))], WIDE)], [7, 4, 6]),
    ("copied", [THREE], [np.float32(1) / np.float32(3)]),
    (
        "halves",
        [np.array([1, 2], "f2").view("V4")[0], np.array([0, 0x4040], "u2").view("V4")],
        [2, 3],
    ),
    (
        "threes",
        [THREE, np.array([(4, 5, 6)], "i4,i4,i4")[0], np.array([(7, 8, 9)], "u4,u4,u4")],
        [3, 6, 9],
    ),
    ("four", [np.array([(1, 2, 3, 4)], "f4,f4,f4,f4")], [4]),
    ("z", [np.array([1 + 2j, 3 + 4j], np.complex64)], [3, 4]),
]


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize(("name", "args", "wanted"), VALUES)
def test_structs_by_value(name, args, wanted, mode):
    out = np.full(3, np.nan, np.float32)
    with settings(mode=mode):
        RawModule(code=BY_VALUE).get_function(name)((1,), (1,), (*args, out))
    assert out[: len(wanted)].tolist() == wanted


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("pair", np.array([(1, 2)], "f4,f8"), "12 bytes was given, but it takes 8 bytes"),
        ("pair", np.zeros((2, 4), np.float32), "of 32 bytes"),
        ("pair", np.float32(1), "of 4 bytes"),
        ("wide", np.zeros(1, [("tag", "i1"), ("v", "4f4"), ("n", "2i4")]), "align=True"),
        ("four", np.array([1, 2, 3], np.float32), "of 12 bytes"),
    ],
)
def test_structs_of_other_sizes(name, value, says):
    with pytest.raises(TypeError, match=says):
        RawModule(code=BY_VALUE).get_function(name)((1,), (1,), (value, np.zeros(3, np.float32)))


# (members, dtype, what is said: "" where it fits)
MEMBERS = [
    ("float a, b;", "f4,f4", ""),
    ("float a, b;", "2f4", ""),
    ("float a, b;", "V8", ""),
    ("float a, b;", "c8", ""),
    ("float a, b;", "f4,i4", "`b` is float32 at byte 4, the dtype's field `f1` there is int32"),
    ("float a, b;", "2i4", "`a` is float32 at byte 0, the dtype's field `[0]` there is int32"),
    ("float a, b;", "f8", "member `a` is float32 at byte 0"),
    ("float a, b;", [("b", "f4"), ("a", "f4")], "the dtype's field `a` at byte 4"),
    ("float a, b;", ">f4,>f4", "in foreign byte order"),
    ("long long n; float a;", "i8,f4,V4", ""),
    ("long long n; float a;", "i8,V4,f4", "member `a` is float32 at byte 8, where none"),
    ("char c[4]; int n[2][2];", "4i1,(2,2)i4", ""),
    ("char c[4]; int n[2][2];", "4i1,3i4,f4", "member `n[3]` is int32 at byte 16"),
    ("unsigned char c; float4 v;", "u1,15u1,4f4", ""),
    ("unsigned char c; float4 v;", "u1,15u1,4i4", "member `v.x` is float32 at byte 16"),
    ("Inner in[2]; real r;", "u2,V2,f4,u2,V2,f4,f8", ""),
    ("Inner in[2]; real r;", "u2,V2,f4,u2,V2,i4,f8", "member `in[1].f` is float32 at byte 12"),
    ("float* p; int n;", "u8,i4,V4", ""),
    ("float* p; int n;", "u8,f4,V4", "member `n` is int32 at byte 8"),
    ("float a, b; __device__ float sum() const { return a + b; }", "2i4", ""),  # not read
    ("unsigned a : 3, b : 5; float c;", "2i4", ""),
    ("Any<int> a; float b;", "2f4", ""),
]  # fmt: skip


def test_the_members_of_a_struct_are_compared_with_the_dtype():
    code = "typedef double real; struct Inner { unsigned short u; float f; };\n"
    code += "template <class T> struct Any { T t; };\n"
    for i, (members, _, _) in enumerate(MEMBERS):
        head = f"typedef struct {{ {members} }} P{i};" if i % 2 else f"struct P{i} {{ {members} }};"
        code += head + f'\nextern "C" __global__ void k{i}(P{i} p, const P{i}* q, float* o) {{}}\n'
    module = RawModule(code=code)
    for i, (members, dtype, says) in enumerate(MEMBERS):
        kernel, value = module.get_function(f"k{i}"), np.zeros(1, dtype)
        by_value, by_pointer = (value, np.zeros(8)), (value.view(np.uint8), np.zeros(3, dtype))
        for p, q in (by_value, by_pointer) if value.dtype.fields else (by_value,):
            told = ""
            with settings(mode="fast"):
                try:
                    kernel((1,), (1,), (p, q, np.zeros(1, np.float32)))
                except TypeError as error:
                    told = str(error)
            assert bool(told) == bool(says) and says in told, (members, dtype, told)


@pytest.mark.parametrize(
    ("written", "array", "fix"),
    [
        ("float* x", np.zeros(3, np.complex64), "x.view(np.float32): its real and imaginary"),
        ("float4* x", np.zeros(4, np.complex64), "x.view(np.float32)"),
        ("double2* x", np.zeros(4, np.complex64), "x.astype(np.complex128).view(np.float64)"),
        ("int* x", np.zeros(3, np.complex64), "x.real or x.imag"),
        ("int* x", np.zeros(3, np.float32), "Perhaps pass x.astype(np.int32), which cuts off"),
    ],
)
def test_advice_loses_nothing_unsaid(written, array, fix):
    with pytest.raises(TypeError) as raised:
        run(written, array)
    assert fix in str(raised.value)
