"""The backend's side of a device: memory, copies, captured graphs, the bank's two slots, what is said of faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tensorrt_stand_in
from engine_cases import package_of

from sparse4d_ros.engine.cuda_driver import CudaError, Device, Driver, probe
from sparse4d_ros.engine.cuda_memory import CudaDevice
from sparse4d_ros.engine.device_bank import RESIDENT, tensor_specs
from sparse4d_ros.engine.engine_file import engine_header, write_engine
from sparse4d_ros.engine.preprocess import NetworkInputs
from sparse4d_ros.engine.tensorrt_backend import TensorRTBackend
from sparse4d_ros.errors import UserError

host_driver_library, host_driver = tensorrt_stand_in.host_driver_library, tensorrt_stand_in.host_driver

PACKAGE = package_of(files={"onnx_grid_fp16": ("x.onnx", "c" * 64)})
SPECS = tensor_specs(PACKAGE)
ORIN = Device("Orin, 8 multiprocessors", "8.7")


def test_a_gpu_is_known_by_name_multiprocessors_and_capability(host_driver):
    assert probe() == Driver("12.6", (ORIN,))


@pytest.mark.parametrize(("function", "says"), [
    ("cuInit", r"is there but does not work: cuInit: some error \(CUDA error 999\); .* groups video and render"),
    ("no device", "finds no GPU"),
])
def test_a_driver_that_does_not_work_says_why_and_what_to_look_at(host_driver, function, says):
    host_driver.fail(function, 999)
    with pytest.raises(UserError, match=says):
        probe()


# Memory and graphs

@pytest.fixture
def device(host_driver):
    device = CudaDevice(0)
    yield device
    device.close()


def test_new_memory_is_zero_and_copies_arrive(device):
    address, host = device.allocate(12), device.pinned((3,), np.dtype(np.float32))
    device.fetch(address, host)
    device.wait()
    assert not host.any()
    host[:] = 1, 2, 3
    device.send(host, address)
    back = np.zeros(3, np.float32)
    device.fetch(address, back)
    device.wait()
    np.testing.assert_array_equal(back, [1, 2, 3])


def test_a_captured_graph_does_its_work_when_it_is_launched_and_not_before(device):
    address, host = device.allocate(4), device.pinned((1,), np.dtype(np.float32))
    out = device.pinned((1,), np.dtype(np.float32))
    out[:] = -1
    graph = device.capture(lambda: (device.send(host, address), device.fetch(address, out)))
    assert out == -1
    for value in (5, 6):
        host[:] = value
        device.launch(graph)
        device.wait()
        assert out == value


def test_a_capture_that_fails_leaves_a_stream_that_works(device):
    def refused() -> None:
        raise RuntimeError("cannot be captured")

    with pytest.raises(RuntimeError, match="cannot be captured"):
        device.capture(refused)
    device.wait()
    device.launch(device.capture(lambda: None))


def test_closing_a_broken_device_is_no_error(host_driver):
    device = CudaDevice(0)
    device.allocate(4)
    host_driver.fail("cuStreamSynchronize", 700)
    device.close()


# The backend

def inputs(number: int) -> NetworkInputs:
    generator = np.random.default_rng(number)
    images = generator.integers(0, 9, SPECS["images"].shape).astype(np.float32)
    projection = generator.integers(0, 9, SPECS["projection"].shape).astype(np.float32)
    return NetworkInputs(images, projection, np.ones((1, 6), bool), np.zeros((6, 4, 4)))


@pytest.fixture
def engine_file(tmp_path, host_driver, monkeypatch):
    """An engine of the package for the device that the host plays, and a TensorRT that loads it."""
    engine = tensorrt_stand_in.Engine(SPECS, host_driver.launch)
    tensorrt_stand_in.tensorrt(
        monkeypatch, Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine))
    write_engine(tmp_path / "x.engine", engine_header(PACKAGE, "fp16", "10.3.0", *ORIN), b"plan")
    return tmp_path / "x.engine"


class Reference:
    """The same function without a device: what a frame gives from a bank."""

    def __init__(self) -> None:
        self.bank = {name: np.zeros(*SPECS[name]) for name in (*RESIDENT, "bank_confidence")}
        self.history = False

    def step(self, number: int) -> dict[str, np.ndarray]:
        frame = inputs(number)
        out = tensorrt_stand_in.network({
            **self.bank, "images": frame.images, "projection": frame.projection, "camera_valid": frame.camera_valid,
            "has_history": np.array([self.history]), "dt": np.array([0.1 * number], np.float32),
            "now_from_previous": np.eye(4, dtype=np.float32)[None]}, SPECS)
        self.bank = {name: out[name.replace("bank", "next")] for name in self.bank}
        self.history = True
        return out


@pytest.mark.parametrize("captured", [True, False])
def test_frame_after_frame_gives_what_the_engine_computes_from_the_frame_before(
        engine_file, host_driver, captured, caplog):
    """Both slots, a frame that is repeated, a bank over the host, and a thread other than the one that loaded."""
    if not captured:
        host_driver.fail("cuGraphInstantiateWithFlags", 900)
    backend = TensorRTBackend(PACKAGE, engine=engine_file)
    assert ("it runs without, which is slower" in caplog.text) is not captured
    bank, reference = backend.empty_bank(), Reference()
    with ThreadPoolExecutor(1) as worker:
        for number in range(5):
            expected = reference.step(number)
            for _ in range(2):
                out, after = worker.submit(backend.run, inputs(number), bank, 0.1 * number, np.eye(4)).result()
                np.testing.assert_allclose(out.anchors, expected["anchors"][0], rtol=1e-6)
                np.testing.assert_array_equal(out.kept_rows, expected["kept_rows"][0])
            bank = after
            for found, name in zip(backend.bank_to_host(bank), reference.bank, strict=False):
                np.testing.assert_allclose(found, reference.bank[name], rtol=1e-6)
            if number % 2:
                bank = backend.bank_from_host(backend.bank_to_host(bank))
    backend.close()


def test_banks_that_are_taken_over_one_after_another_lie_in_both_slots(engine_file):
    backend = TensorRTBackend(PACKAGE, engine=engine_file)
    slots = []
    for number in range(4):
        host = backend.bank_to_host(backend.run(inputs(number), backend.empty_bank(), 0.0, np.eye(4))[1])
        slots.append(backend.bank_from_host(host).slot)
    assert sorted(slots) == [0, 0, 1, 1]
    backend.close()


@pytest.mark.parametrize("function", ["cuStreamCreate", "cuMemAlloc_v2", "cuMemHostAlloc"])
def test_a_device_without_memory_is_one_sentence_and_keeps_nothing(engine_file, host_driver, function):
    host_driver.fail(function, 2)
    with pytest.raises(UserError, match=rf"cuda:0.*{function}: out of memory .* if memory is short, end what else"):
        TensorRTBackend(PACKAGE, engine=engine_file)
    host_driver.fail("", 0)


def test_a_fault_while_a_frame_runs_is_an_error_and_its_bank_can_be_used_again(engine_file, host_driver):
    backend = TensorRTBackend(PACKAGE, engine=engine_file)
    first, bank = backend.run(inputs(0), backend.empty_bank(), 0.0, np.eye(4))
    expected, _ = backend.run(inputs(1), bank, 0.1, np.eye(4))
    host_driver.fail("cuGraphLaunch", 719)
    with pytest.raises(CudaError, match="cuGraphLaunch: some error"):
        backend.run(inputs(1), bank, 0.1, np.eye(4))
    host_driver.fail("", 0)
    again, _ = backend.run(inputs(1), bank, 0.1, np.eye(4))
    np.testing.assert_array_equal(again.anchors, expected.anchors)
    assert (again.anchors != first.anchors).any()
    backend.close()


@pytest.mark.parametrize("loads", [True, False])
def test_a_plan_that_tensorrt_refuses_is_one_sentence(engine_file, monkeypatch, loads):
    """It gives nothing for a plan, or its bindings raise for a runtime that is a null pointer."""
    nothing = SimpleNamespace(deserialize_cuda_engine=lambda plan: None)
    tensorrt_stand_in.tensorrt(
        monkeypatch, Runtime=(lambda logger: nothing) if loads else tensorrt_stand_in.null_pointer)
    says = rf"TensorRT 10.3.0 cannot load {engine_file}" if loads else "TensorRT 10.3.0 cannot start on this GPU"
    with pytest.raises(UserError, match=says):
        TensorRTBackend(PACKAGE, engine=engine_file)


def test_an_engine_of_another_board_or_power_mode_is_refused(tmp_path, engine_file):
    write_engine(tmp_path / "other.engine",
                 engine_header(PACKAGE, "fp16", "10.3.0", "Orin, 16 multiprocessors", "8.7"), b"plan")
    with pytest.raises(UserError, match="GPU Orin, 16 multiprocessors; here: GPU Orin, 8 multiprocessors"):
        TensorRTBackend(PACKAGE, engine=tmp_path / "other.engine")
