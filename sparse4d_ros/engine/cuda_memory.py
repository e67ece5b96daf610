"""Memory, one stream and captured graphs of a CUDA device, by NVIDIA's `cuda-bindings`. Needs a driver."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from sparse4d_ros.errors import UserError

try:
    from cuda.bindings import runtime as cudart
except ImportError:
    raise UserError("the tensorrt backend needs the Python package cuda-bindings: pip install "
                    "'sparse4d_ros[tensorrt]'") from None


class CudaError(RuntimeError):
    """A call to CUDA failed; device memory that runs out is one."""


def call(function: Callable[..., tuple], *arguments: Any) -> Any:
    """The value that a function of CUDA's runtime gives; :class:`CudaError` in its words."""
    error, *values = function(*arguments)
    _check(error, function.__name__)
    return values[0] if values else None


def _check(error: Any, name: str) -> None:
    if error != cudart.cudaError_t.cudaSuccess:
        text = cudart.cudaGetErrorString(error)[1]
        raise CudaError(f"{name}: {text.decode() if isinstance(text, bytes) else text}")


class CudaDevice:
    """A stream on one device and everything that was allocated for it."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._addresses: list[int] = []
        self._pinned: list[int] = []
        self._graphs: list[Any] = []
        self.use()
        self.stream = call(cudart.cudaStreamCreate)

    def use(self) -> None:
        """Make the device current in the calling thread: CUDA keeps that by thread."""
        call(cudart.cudaSetDevice, self._index)

    def allocate(self, num_bytes: int) -> int:
        """The address of new device memory, filled with zeros."""
        address = int(call(cudart.cudaMalloc, max(1, num_bytes)))
        self._addresses.append(address)
        call(cudart.cudaMemsetAsync, address, 0, num_bytes, self.stream)
        return address

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A host array that copies need not stage a second time; valid until :meth:`close`."""
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        address = int(call(cudart.cudaMallocHost, max(1, num_bytes)))
        self._pinned.append(address)
        return np.frombuffer((ctypes.c_byte * num_bytes).from_address(address), dtype).reshape(shape)

    def send(self, host: np.ndarray, address: int) -> None:
        """Queue a copy of a pinned array to the device."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(cudart.cudaMemcpyAsync, address, host.ctypes.data, host.nbytes, kind, self.stream)

    def fetch(self, address: int, host: np.ndarray) -> None:
        """Queue a copy from the device to an array."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(cudart.cudaMemcpyAsync, host.ctypes.data, address, host.nbytes, kind, self.stream)

    def wait(self) -> None:
        """Until everything queued is done; an error of any of it is raised here."""
        call(cudart.cudaStreamSynchronize, self.stream)

    def capture(self, queue: Callable[[], None]) -> Any:
        """What ``queue`` puts on the stream as a graph that can be launched; nothing runs meanwhile."""
        call(cudart.cudaStreamBeginCapture, self.stream, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            queue()
        finally:  # a stream that stays in capture mode is of no use any more
            ended, captured = cudart.cudaStreamEndCapture(self.stream)
        _check(ended, "cudaStreamEndCapture")
        graph = call(cudart.cudaGraphInstantiate, captured, 0)
        call(cudart.cudaGraphDestroy, captured)
        self._graphs.append(graph)
        return graph

    def launch(self, graph: Any) -> None:
        """Queue a captured graph."""
        call(cudart.cudaGraphLaunch, graph, self.stream)

    def close(self) -> None:
        """Give everything back."""
        self.use()
        self.wait()
        for graph in self._graphs:
            call(cudart.cudaGraphExecDestroy, graph)
        for address in self._addresses:
            call(cudart.cudaFree, address)
        for address in self._pinned:
            call(cudart.cudaFreeHost, address)
        call(cudart.cudaStreamDestroy, self.stream)
        self._graphs, self._addresses, self._pinned = [], [], []
