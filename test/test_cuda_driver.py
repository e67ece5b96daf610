"""Driver, memory, stream and graphs of a GPU itself; what the host can play is in test_tensorrt_device.py."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import cuda_cases
import numpy as np
import pytest
import torch
from engine_cases import package_of

from sparse4d_ros.engine import Engine
from sparse4d_ros.engine.cuda_driver import CudaError, device_index, probe
from sparse4d_ros.engine.cuda_memory import CudaDevice
from sparse4d_ros.errors import UserError

pytestmark = cuda_cases.gpu
MIB = 1 << 20


@pytest.fixture
def device():
    device = CudaDevice(0)
    yield device
    device.close()


def test_the_driver_names_the_gpus_that_torch_finds():
    driver = probe()
    assert len(driver.devices) == torch.cuda.device_count()
    properties = torch.cuda.get_device_properties(0)
    assert driver.devices[0].name == f"{properties.name}, {properties.multi_processor_count} multiprocessors"
    assert driver.devices[0].compute_capability == f"{properties.major}.{properties.minor}"
    assert driver.cuda_version.split(".")[0] >= torch.version.cuda.split(".")[0]
    assert device_index(None, driver) == device_index("cuda:0", driver) == 0


def test_memory_is_given_back(device):
    """Twenty times over; the context stays for others."""
    CudaDevice(0).close()
    torch.cuda.synchronize()
    before, _ = torch.cuda.mem_get_info()
    for _ in range(20):
        other = CudaDevice(0)
        address, host = other.allocate(64 * MIB), other.pinned((64 * MIB,), np.dtype(np.uint8))
        graph = other.capture(lambda: other.send(host, address))  # noqa: B023
        other.launch(graph)
        other.wait()
        other.close()
    after, _ = torch.cuda.mem_get_info()
    assert before - after < 64 * MIB
    assert float(torch.ones(3, device="cuda").sum()) == 3.0


def test_torch_in_the_same_process_sees_the_same_memory(device):
    host, tensor = device.pinned((4, 5), np.dtype(np.float32)), torch.arange(20.0, device="cuda")
    assert torch.from_numpy(host).is_pinned()
    torch.cuda.synchronize()
    device.fetch(tensor.data_ptr(), host)
    device.wait()
    np.testing.assert_array_equal(host.ravel(), np.arange(20))
    host *= 2
    device.send(host, tensor.data_ptr())
    device.wait()
    assert tensor.tolist() == list(range(0, 40, 2))


def test_copies_keep_their_order_and_a_graph_takes_the_newest_numbers(device):
    """To the device and back within one graph that is launched by a thread other than the one that made it."""
    sizes = [1, 1000, 16 * MIB, 128 * MIB]
    sent = [device.pinned((size,), np.dtype(np.uint8)) for size in sizes]
    back = [device.pinned((size,), np.dtype(np.uint8)) for size in sizes]
    addresses = [device.allocate(size) for size in sizes]
    for array in back:
        array[:] = 0
    graph = device.capture(lambda: [
        copy(*pair) for one, address, other in zip(sent, addresses, back, strict=True)
        for copy, pair in ((device.send, (one, address)), (device.fetch, (address, other)))])
    assert not any(array.any() for array in back)

    def run(value: int) -> None:
        device.use()
        for array in sent:
            array[:] = value
        device.launch(graph)
        device.wait()

    with ThreadPoolExecutor(1) as worker:
        for value in range(1, 4):
            worker.submit(run, value).result()
            assert all((array == value).all() for array in back)


def test_what_cannot_be_is_an_error_in_the_drivers_words_and_the_device_goes_on(device):
    with pytest.raises(CudaError, match=r"cuMemAlloc_v2: out of memory \(CUDA error 2\)"):
        device.allocate(1 << 46)
    with pytest.raises(CudaError, match="cuGraphLaunch: invalid"):
        device.launch(0)
    with pytest.raises(CudaError, match="cuDeviceGet: invalid device ordinal"):
        CudaDevice(99)
    address, host = device.allocate(4), np.ones(1, np.float32)
    device.fetch(address, host)
    device.wait()
    assert host == 0


def test_a_capture_of_what_must_not_be_captured_fails_and_the_stream_goes_on(device):
    host = device.pinned((1,), np.dtype(np.float32))
    address = device.allocate(4)

    def waits() -> None:
        device.send(host, address)
        device.wait()

    with pytest.raises(CudaError, match="captur"):
        device.capture(waits)
    host[:] = 7
    device.launch(device.capture(lambda: device.send(host, address)))
    back = np.zeros(1, np.float32)
    device.fetch(address, back)
    device.wait()
    assert back == 7


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_a_gpu_without_tensorrt_is_one_sentence():
    with pytest.raises(UserError, match="'tensorrt' cannot run: its Python package is not installed"):
        Engine(package_of(), "tensorrt")
