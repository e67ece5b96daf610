"""The optional TensorRT plugin: its arithmetic, its library, and the graph with its node."""

from __future__ import annotations

import ctypes
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the plugin is compared with torch")

import bag_cases  # noqa: E402
from engine_cases import TINY, rig_frame, write_package  # noqa: E402
from plugin_cases import SOURCES, Shape, by_torch, missing  # noqa: E402
from tensorrt_cases import needs_gpu  # noqa: E402

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage  # noqa: E402
from sparse4d_ros.engine.agreement import compare  # noqa: E402
from sparse4d_ros.engine.package import sha256  # noqa: E402

ONE_DECODER = replace(TINY, num_decoders=1)
#: Maps of float, or of a type that turns into one as CUDA's half does: steps of an eighth.
HARNESS = """
#include "aggregation.h"
struct Eighths {
    signed char steps;
    operator float() const { return steps / 8.f; }
};
template <typename Value>
void read(sparse4d::Shape const& s, void const* const* maps, float const* points, float const* weights, float* out) {
    sparse4d::Inputs<Value> in{{}, points, weights};
    for (int level = 0; level < s.levels; ++level) in.maps[level] = static_cast<Value const*>(maps[level]);
    for (int row = 0; row < s.batch * s.anchors; ++row)
        for (int channel = 0; channel < s.channels; ++channel)
            *out++ = sparse4d::aggregate(s, in, row / s.anchors, row % s.anchors, channel);
}
extern "C" void read_maps(sparse4d::Shape const* shape, bool eighths, void const* const* maps, float const* points,
                          float const* weights, float* out) {
    (eighths ? read<Eighths> : read<float>)(*shape, maps, points, weights, out);
}
"""


@pytest.fixture(scope="module")
def read_maps(tmp_path_factory):
    """The header's arithmetic as a function of arrays: channels-last maps, points, weights, border."""
    if reason := missing("g++"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("harness")
    (folder / "harness.cpp").write_text(HARNESS)
    subprocess.run(["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}", "harness.cpp",
                    "-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all",
                    "-fPIC", "-shared", "-o", "harness.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "harness.so"))

    def read(maps: list[np.ndarray], points: np.ndarray, weights: np.ndarray, border: str) -> np.ndarray:
        arrays = [np.ascontiguousarray(x) for x in (*maps, points, weights)]
        shape = Shape.of(maps, points, weights, border)
        out = shape.output()
        pointers = (ctypes.c_void_p * len(maps))(*(x.ctypes.data for x in arrays[:-2]))
        library.read_maps(ctypes.byref(shape), maps[0].dtype == np.int8, pointers,
                          *(ctypes.c_void_p(x.ctypes.data) for x in (*arrays[-2:], out)))
        return out

    return read


SIZE = st.integers(1, 7)
COORDINATE = st.one_of(
    st.floats(-0.25, 1.25, width=32), st.floats(allow_nan=False, width=32),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, np.nextafter(np.float32(1), np.float32(0))]))


@settings(deadline=None, max_examples=80)
@given(data=st.data(), border=st.sampled_from(["drop", "zeros"]), eighths=st.booleans())
def test_the_arithmetic_is_torchs(read_maps, data, border, eighths):
    """Odd sizes, several levels and groups; points inside, on and beyond the border, infinite ones among them."""
    batch, cameras, anchors, num_points, levels, groups = (data.draw(st.integers(1, 3)) for _ in range(6))
    channels = groups * data.draw(st.integers(1, 3))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    maps = [generator.integers(-128, 128, (batch, cameras, data.draw(SIZE), data.draw(SIZE), channels), np.int8)
            for _ in range(levels)]
    floats = [x.astype(np.float32) / 8 for x in maps]
    count = batch * cameras * anchors * num_points * 2
    points = np.array(data.draw(st.lists(COORDINATE, min_size=count, max_size=count)), np.float32)
    points = points.reshape(batch, cameras, anchors, num_points, 2)
    weights = generator.normal(size=(batch, anchors, cameras, levels, num_points, groups)).astype(np.float32)
    found = read_maps(maps if eighths else floats, points, weights, border)
    np.testing.assert_allclose(found, by_torch(floats, points, weights, border), rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("border", ["drop", "zeros"])
def test_a_point_that_is_not_a_number_reads_nothing(read_maps, border):
    """Torch reads it as 0, between the first cell and the zeros around the map."""
    generator = np.random.default_rng(0)
    maps = [generator.normal(size=(1, 1, 3, 4, 2)).astype(np.float32)]
    points = generator.uniform(0.2, 0.8, (1, 1, 2, 3, 2)).astype(np.float32)
    weights = generator.normal(size=(1, 2, 1, 1, 3, 1)).astype(np.float32)
    points[0, 0, 0, 1, 0] = points[0, 0, 1, 2, 1] = np.nan
    expected = by_torch(maps, np.where(np.isnan(points), np.float32(9), points), weights, border)
    np.testing.assert_allclose(read_maps(maps, points, weights, border), expected, atol=1e-5)


# The library

@pytest.mark.skipif(bool(missing("nvcc")), reason=missing("nvcc"))
@pytest.mark.parametrize("architecture", [87, 90, 110])
def test_nvcc_compiles_the_kernel(tmp_path, architecture):
    known = subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    if f"compute_{architecture}\n" not in known:
        pytest.skip(f"this nvcc does not know sm_{architecture}")
    subprocess.run(["nvcc", "-std=c++17", "-cubin", f"-arch=sm_{architecture}", "-Werror", "all-warnings",
                    str(SOURCES / "aggregation.cu"), "-o", "kernel.cubin"], cwd=tmp_path, check=True)
    content = (tmp_path / "kernel.cubin").read_bytes()
    assert content.startswith(b"\x7fELF") and content.count(b".text._Z") >= 2, "a kernel for float, one for half"


def no_headers() -> str:
    """Why the library cannot be built here, or nothing."""
    probe = ["g++", "-E", "-x", "c++", "-include", "NvInferRuntime.h", "/dev/null"]
    return missing("g++", "cmake", "nvcc") or "TensorRT's headers are not installed" * (
        "NvInferRuntime.h: No such file" in subprocess.run(probe, capture_output=True, text=True).stderr)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The library as docs/deployment.md builds it."""
    if reason := no_headers():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("plugin")
    subprocess.run(["cmake", "-S", str(SOURCES), "-B", str(folder)], check=True)
    subprocess.run(["cmake", "--build", str(folder)], check=True)
    return folder / "libsparse4d_plugin.so"


def test_the_library_has_what_tensorrt_looks_for(library):
    loaded = ctypes.CDLL(str(library))
    loaded.getCreators.restype = ctypes.POINTER(ctypes.c_void_p)
    count = ctypes.c_int32()
    assert loaded.getCreators(ctypes.byref(count))[0] and count.value == 1
    assert loaded.setLoggerFinder


# The graph

def as_file(package: ModelPackage, kind: str, path: Path) -> ModelPackage:
    """The package with this graph as a file of this kind."""
    return replace(package, files={**package.files, kind: (path.name, sha256(path))})


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A tiny package with the graph whose node has its meaning with it."""
    pytest.importorskip("onnx", reason="export needs onnx")
    from sparse4d_ros.deploy.export import export_onnx

    package = write_package(tmp_path_factory.mktemp("export") / "tiny", model=ONE_DECODER)
    path = package.folder / "with_meaning.onnx"
    export_onnx(package, path, "plugin")
    return as_file(package, "onnx_plugin", path)


def nodes_of(model) -> list:
    return [node for node in model.graph.node if node.domain == "sparse4d_ros"]


def test_the_graph_gives_torchs_objects_and_the_header_its_nodes_value(package, read_maps):
    """In onnxruntime, by the function that says what the node means; then the node's inputs to the C++ arithmetic."""
    import onnx
    import onnxruntime as ort

    from sparse4d_ros.engine.onnx_backend import OnnxBackend, network_feeds
    from sparse4d_ros.engine.preprocess import Preprocessor

    options = EngineOptions(score_threshold=0.1 / 6, nms_iou=1.0)
    backend = OnnxBackend(package, kind="onnx_plugin")
    frames = [rig_frame(package, 0.2 * index, float(index), seed=index) for index in range(3)]
    steps = compare(Engine(package, "torch", options=options), {"plugin": Engine(package, backend, options=options)},
                    frames)
    differences = np.concatenate([found["plugin"].differences(0.1) for _, found in steps])
    assert len(differences) > 50 and differences.max() < 1e-4

    model = onnx.load(str(package.path("onnx_plugin")))
    (node,) = nodes_of(model)
    names = [*node.input, *node.output]
    values = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(values[name] for name in names)
    feeds = network_feeds(Preprocessor(package)(frames[0]), backend.empty_bank(), 0.2, np.eye(4))
    points, weights, *maps, expected = ort.InferenceSession(model.SerializeToString()).run(names, feeds)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(read_maps(maps, points, weights, package.model.border), expected, atol=1e-6)


@pytest.fixture
def exported_before(package, monkeypatch):
    """Exports for the plugin are copies of the package's graph, and its objects count in spite of their scores."""
    from sparse4d_ros.deploy import export, mixed_precision

    def export_onnx(_, output, reading, depth=False, half=False):
        assert reading == "plugin"
        shutil.copy(package.path("onnx_plugin"), output)

    monkeypatch.setattr(export, "export_onnx", export_onnx)
    monkeypatch.setattr(mixed_precision, "MIN_SCORE", 0.05)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_graph_is_written_without_the_meaning_of_its_node(package, exported_before, tmp_path, precision):
    """TensorRT would read that, and not ask the plugin."""
    import onnx

    write_package(tmp_path / "tiny", model=ONE_DECODER)
    words = ["--calibrate", str(bag_cases.write(tmp_path / "bag", 2))] if precision == "int8" else []
    assert cli.main(["export", str(tmp_path / "tiny"), "--reading", "plugin", "--precision", precision, *words]) == 0
    kind = {"fp32": "onnx_plugin", "int8": "onnx_plugin_int8"}[precision]
    written = onnx.load(str(ModelPackage.load(tmp_path / "tiny").path(kind)))
    before = onnx.load(str(package.path("onnx_plugin")))
    assert not written.functions and before.functions
    assert nodes_of(written) == nodes_of(before)
    if precision == "fp32":
        assert written.graph == before.graph
    else:
        assert any(node.op_type == "QuantizeLinear" for node in written.graph.node)


# The engine

@needs_gpu
def test_an_engine_with_the_plugin_gives_torchs_objects(tmp_path, library):
    package = write_package(tmp_path / "tiny")
    for precision, bound in (("fp32", 1e-3), ("fp16", 2e-2)):
        words, output = [str(package.folder), "--precision", precision], tmp_path / f"{precision}.engine"
        assert cli.main(["export", *words, "--reading", "plugin"]) == 0
        assert cli.main(["build-engine", *words, "--plugin", str(library), "--output", str(output)]) == 0
        loaded, options = ModelPackage.load(package.folder), EngineOptions(score_threshold=0.0)
        engine = Engine(loaded, "tensorrt", precision=precision, options=options, engine_file=output)
        frames = [rig_frame(loaded, 0.2 * index, float(index), seed=index) for index in range(6)]
        for _, found in compare(Engine(loaded, "torch", "cpu", options=options), {"plugin": engine}, frames):
            assert found["plugin"].differences(0.1).max() < bound
        engine.close()


def test_pip_installs_the_sources(monkeypatch):
    setuptools, seen = pytest.importorskip("setuptools"), {}
    monkeypatch.setattr(setuptools, "setup", lambda **values: seen.update(values))
    runpy.run_path(str(SOURCES.parents[2] / "setup.py"))
    installed = {path for pattern in seen["package_data"]["sparse4d_ros"] for path in SOURCES.parents[1].glob(pattern)}
    sources = {SOURCES / name for name in ("CMakeLists.txt", "aggregation.cu", "aggregation.h", "plugin.cpp")}
    assert sources <= installed
