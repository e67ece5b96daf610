"""The plugin's kernel on a GPU gives torch's numbers; TensorRT has no part in it."""

from __future__ import annotations

import ctypes
import subprocess

import cuda_cases
import numpy as np
import pytest
from plugin_cases import SOURCES, Shape, by_torch, missing

from sparse4d_ros.engine.cuda_memory import CudaDevice

pytestmark = cuda_cases.gpu


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """`sparse4d_aggregate`, compiled for the GPU that is here."""
    if reason := missing("nvcc"):
        pytest.skip(reason)
    library = tmp_path_factory.mktemp("kernel") / "kernel.so"
    subprocess.run(["nvcc", "-std=c++17", "-O3", "-arch=native", "-shared", "-Xcompiler", "-fPIC",
                    str(SOURCES / "aggregation.cu"), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).sparse4d_aggregate
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool, *[ctypes.c_void_p] * 4]
    return function


@pytest.fixture
def device():
    device = CudaDevice(0)
    yield device
    device.close()


def read(kernel, device, maps, points, weights, border) -> np.ndarray:
    """The kernel's output for channels-last maps of float16 or float32."""
    shape = Shape.of(maps, points, weights, border)
    arrays, out = [np.ascontiguousarray(x) for x in (*maps, points, weights)], shape.output()
    addresses = [device.allocate(x.nbytes) for x in (*arrays, out)]
    for array, address in zip(arrays, addresses, strict=False):
        device.send(array, address)
    pointers = (ctypes.c_void_p * len(maps))(*addresses[:len(maps)])
    problem = kernel(ctypes.byref(shape), pointers, maps[0].dtype == np.float16, *addresses[-3:], device.stream)
    assert problem is None, problem
    device.fetch(addresses[-1], out)
    device.wait()
    return out


def case(seed, batch, cameras, anchors, points, groups, channels, sizes, dtype):
    """Random maps, points in and around the picture with the special ones among them, and weights."""
    random = np.random.default_rng(seed)
    maps = [random.normal(size=(batch, cameras, *size, channels)).astype(dtype) for size in sizes]
    where = random.uniform(-0.3, 1.3, (batch, cameras, anchors, points, 2)).astype(np.float32)
    one = np.float32(1)
    special = np.array([0, -0.0, 0.5, 1, np.nextafter(one, 0 * one), np.nextafter(one, 2 * one), -1e-8, np.inf, -np.inf,
                        3e38, -3e38], np.float32)
    chosen = random.random(where.shape) < 0.2
    where[chosen] = random.choice(special, chosen.sum())
    weights = random.normal(size=(batch, anchors, cameras, len(sizes), points, groups)).astype(np.float32)
    return maps, where, weights


@pytest.mark.parametrize("border", ["drop", "zeros"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("sizes", [
    (1, 1, 1, 1, 1, 1, [(1, 1)]), (2, 3, 37, 5, 3, 9, [(5, 7), (3, 4), (1, 2)]),
    (1, 2, 9, 3, 4, 300, [(6, 11), (1, 1)]), (1, 2, 5, 2, 2, 64, [(4, 4)] * 8),
    (1, 6, 900, 13, 8, 256, [(64, 176), (32, 88), (16, 44), (8, 22)])],
    ids=["one of each", "odd", "more channels than threads", "eight levels", "published"])
def test_the_kernel_gives_torchs_numbers(kernel, device, border, dtype, sizes):
    maps, points, weights = case(7, *sizes, dtype)
    expected = by_torch([x.astype(np.float32) for x in maps], points, weights, border)
    found = read(kernel, device, maps, points, weights, border)
    assert sizes[2] == 1 or np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-4)


@pytest.mark.parametrize("border", ["drop", "zeros"])
def test_a_point_that_is_not_a_number_reads_nothing(kernel, device, border):
    maps, points, weights = case(1, 1, 2, 6, 4, 2, 8, [(5, 6)], np.float32)
    points[:, 0, ::2, 1, 0] = points[:, 1, 1::2, 2, 1] = np.nan
    expected = by_torch(maps, np.where(np.isnan(points), np.float32(9), points), weights, border)
    np.testing.assert_allclose(read(kernel, device, maps, points, weights, border), expected, rtol=1e-4, atol=1e-4)


def test_what_cuda_refuses_is_said(kernel, device):
    """A grid of no blocks."""
    maps, points, weights = case(1, 1, 1, 1, 1, 1, 4, [(2, 2)], np.float32)
    with pytest.raises(AssertionError, match="invalid configuration"):
        read(kernel, device, maps, points[:, :, :0], weights[:, :0], "drop")
