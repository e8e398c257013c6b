"""NVIDIA's compiler takes every kernel of the project, and they need what is stored."""

import pytest

from embag_edu.cuda import resources
from embag_edu.cuda.launcher import source
from embag_edu.cuda_on_cpu import nvrtc

needs_nvrtc = pytest.mark.skipif(bool(nvrtc.available()), reason=nvrtc.available())

CODE = """
template <typename T, int N> __global__ void turn(const T* x, T* y) {
    y[threadIdx.x] = x[(threadIdx.x + 1) % N];
}
extern "C" __global__ void spill(float* x) { x[1] = 2; }
__global__ void plain(float* x) { x[0] = 1; }
"""


@needs_nvrtc
def test_resources_of_a_file(tmp_path):
    path = tmp_path / "some.cu"
    path.write_text("// instances: turn<float, 4>, turn<int, 2>\n" + CODE)
    table, problems = resources.resources([path], ("sm_80",))
    assert problems == []
    assert set(table["some.cu"]) == {"turn<float, 4>", "turn<int, 2>", "spill", "plain"}
    assert set(table["some.cu"]["plain"]) == {"sm_80"}
    path.write_text(CODE)
    problems = resources.resources([path], ("sm_80",))[1]
    assert len(problems) == 1 and "some.cu: line 2: the template `turn` has no line" in problems[0]
    path.write_text("__global__ void k() { x; }")
    assert resources.resources([path], ("sm_80",))[1][0].startswith("some.cu, sm_80: line 1: ")
    path.write_text("// nothing yet")
    assert resources.resources([path]) == ({"some.cu": {}}, [])
    assert resources.resources([]) == ({}, [])


def _table(**counts):
    return {"a.cu": {"k": {"sm_80": {"registers": 30, "spill_stores": 8, **counts}}}}


def test_compare(tmp_path):
    stored = {"nvrtc": "13.0", "files": _table()}
    assert resources.compare(stored, _table(), "13.0") == ([], [])
    found, remarks = resources.compare(stored, _table(registers=31, spill_stores=0), "13.0")
    assert found == [
        "a.cu, k, sm_80: registers was 30, is 31",
        "a.cu, k, sm_80: spill_stores was 8, is 0",
    ]
    found, remarks = resources.compare(stored, _table(registers=31, spill_stores=0), "13.5")
    assert found == [] and "this is 13.5" in remarks[0]
    assert len(resources.compare(stored, _table(spill_stores=12), "13.5")[0]) == 1
    assert resources.compare(stored, {}, "13.5")[0] == ["a.cu, k, sm_80: stored, but gone"]
    assert resources.compare({}, _table(), "13.5")[0] == ["a.cu, k, sm_80: not stored"]
    path = tmp_path / "resources.json"
    assert resources.read_stored(path) == {}
    resources.write_stored(_table(), "13.0", path)
    assert resources.read_stored(path) == stored


@needs_nvrtc
@pytest.mark.parametrize(
    "architectures",
    [("sm_90",), pytest.param(nvrtc.ARCHITECTURES, marks=pytest.mark.adversary)],
    ids=["sm_90", "all"],
)
def test_every_kernel_of_the_project_needs_what_is_stored(architectures):
    """Also faults.cu: what is wrong in it is no matter of the compiler."""
    table, problems = resources.resources(architectures=architectures)
    assert problems == [] and table
    stored = resources.read_stored()
    for kernels in stored["files"].values():
        kernels.update(
            (k, {a: at[a] for a in architectures if a in at}) for k, at in kernels.items()
        )
    differences, _ = resources.compare(stored, table, nvrtc.version())
    assert differences == [], "python -m embag_edu.cuda.resources --write stores the new values"


def test_the_command_without_the_wheels(monkeypatch, capsys):
    monkeypatch.setattr(nvrtc, "available", lambda: "pip install it")
    assert resources.main([]) == 2 and "pip install it" in capsys.readouterr().out


@needs_nvrtc
@pytest.mark.parametrize(
    "file, kernel",
    [
        ("cuda/segments", "piece_packs<float, float, float, int, 4>"),
        ("cuda/segments", "piece_packs<__half, __half, float, int, 8>"),
        ("beyond/fused", "fused_pieces<SGD, 1, 4, float, float, float, int>"),
        ("beyond/fused", "fused_pieces<ADAM, 1, 4, float, float, float, int>"),
    ],
)
def test_partial_sums_are_stored_16_bytes_at_once(file, kernel):
    code = source(str(resources.PACKAGE / file))
    ptx = nvrtc.compile_check(code, [kernel], "compute_90").ptx
    assert "st.global.v4.f32" in ptx and "st.global.f32" not in ptx
