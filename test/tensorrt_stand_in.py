"""A driver whose device is the host (`host_driver.cpp`), and a TensorRT whose engine is a function of numpy.

They stand in for what no test machine has. What is proved by them is our side alone: which calls are made in which
order, what is where when, and what is said when something fails.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sparse4d_ros.engine import cuda_driver
from sparse4d_ros.engine.device_bank import TensorSpec

SOURCE = Path(__file__).with_name("host_driver.cpp")
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@pytest.fixture(scope="session")
def host_driver_library(tmp_path_factory) -> Path:
    """The driver, compiled."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    library = tmp_path_factory.mktemp("driver") / "libhost_driver.so"
    subprocess.run(["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", str(SOURCE), "-o",
                    str(library)], check=True)
    return library


@pytest.fixture
def host_driver(host_driver_library, monkeypatch):
    """The driver in place of the machine's; nothing that was made of it may be alive after the test."""
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(host_driver_library))
    driver = ctypes.CDLL(str(host_driver_library))
    driver.cuLaunchHostFunc.argtypes = [ctypes.c_void_p, _HOST_FUNCTION, ctypes.c_void_p]

    def fail(function: str, code: int = 1) -> None:
        driver.host_driver_fail(function.encode(), code)

    yield SimpleNamespace(fail=fail, alive=driver.host_driver_alive, launch=driver.cuLaunchHostFunc)
    fail("", 0)
    assert driver.host_driver_alive() == 0, "something was not given back"


def network(inputs: dict[str, np.ndarray], specs: dict[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Outputs of these shapes that depend on every input, and on the bank only where it has history."""
    history = inputs["has_history"][0]
    bank = {name: value * history for name, value in inputs.items() if name.startswith("bank_")}
    frame = np.float32(inputs["images"].sum() + inputs["projection"].sum() + inputs["camera_valid"].sum()
                       + inputs["dt"].sum() + inputs["now_from_previous"].sum())
    out = {
        "next_feature": bank["bank_feature"] / 2 + frame, "next_anchor": bank["bank_anchor"] / 2 - frame,
        "next_confidence": bank["bank_confidence"] / 2 + 1, "kept_rows": np.arange(specs["kept_rows"].shape[1])[None],
    }
    for name in ("anchors", "classes", "quality"):
        out[name] = np.broadcast_to(frame + sum(x.sum() for x in bank.values()), specs[name].shape)
    return {name: np.asarray(value, specs[name].dtype) for name, value in out.items()}


class Context:
    """An execution context: it reads and writes where it was told, when the stream comes to it."""

    def __init__(self, specs: dict[str, TensorSpec], launch: Any) -> None:
        self._specs, self._launch = specs, launch
        self._addresses: dict[str, int] = {}
        self._function = _HOST_FUNCTION(lambda _: self._run())

    def set_device_memory(self, address: int, size: int) -> None:
        assert address and size == 64

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._specs

    def execute_async_v3(self, stream: int) -> bool:
        return self._launch(stream, self._function, None) == 0

    def _run(self) -> None:
        def tensor(name: str) -> np.ndarray:
            spec = self._specs[name]
            size = int(np.prod(spec.shape)) * spec.dtype.itemsize
            content = (ctypes.c_byte * size).from_address(self._addresses[name])
            return np.frombuffer(content, spec.dtype).reshape(spec.shape)

        outputs = ("anchors", "classes", "quality", "next_feature", "next_anchor", "next_confidence", "kept_rows")
        found = network({name: tensor(name) for name in self._specs if name not in outputs}, self._specs)
        for name, value in found.items():
            tensor(name)[...] = value


class Engine:
    """A loaded engine."""

    device_memory_size_v2 = 64

    def __init__(self, specs: dict[str, TensorSpec], launch: Any) -> None:
        self._specs = specs
        self.num_io_tensors = len(specs)
        self._context = partial(Context, specs, launch)

    def get_tensor_name(self, index: int) -> str:
        return list(self._specs)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._specs[name].shape

    def get_tensor_dtype(self, name: str) -> np.dtype:
        return self._specs[name].dtype

    def create_execution_context(self, strategy: str) -> Context:
        assert strategy == "user managed"
        return self._context()


def null_pointer(logger: Any) -> None:
    """A builder or a runtime that TensorRT could not make, as its bindings (pybind11) say it."""
    raise TypeError("pybind11::init(): factory function returned nullptr")


def tensorrt(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> ModuleType:
    """A module `tensorrt` of release 10.3.0 with these parts, in place of the machine's."""
    module = ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    vars(module).update(
        __version__="10.3.0", Logger=type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None}),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"), nptype=lambda dtype: dtype,
        **parts)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module
