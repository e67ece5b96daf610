"""Memory, one stream and captured graphs of a CUDA device."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable

import numpy as np

from sparse4d_ros.engine.cuda_driver import CudaError, call, library

# cuda.h
_STREAM_NON_BLOCKING, _CAPTURE_MODE_THREAD_LOCAL = 1, 1


class CudaDevice:
    """A stream on one device and everything that was allocated for it.

    Methods raise :class:`CudaError`. TensorRT and PyTorch in the same process use the same (primary) context.
    """

    def __init__(self, index: int) -> None:
        """``UserError`` if the driver does not work."""
        self._cuda = library()
        self._addresses: list[int] = []
        self._pinned: list[int] = []
        self._graphs: list[int] = []
        device = ctypes.c_int()
        call(self._cuda, "cuDeviceGet", ctypes.byref(device), index)
        # Never released: others in the process may still use it.
        self._context = self._made("cuDevicePrimaryCtxRetain", device.value)
        self.use()
        self.stream = self._made("cuStreamCreate", _STREAM_NON_BLOCKING)  #: address of a CUstream

    def use(self) -> None:
        """Make the device current in the calling thread: CUDA keeps that by thread."""
        call(self._cuda, "cuCtxSetCurrent", self._context)

    def allocate(self, num_bytes: int) -> int:
        """The address of new device memory, filled with zeros."""
        address = self._made("cuMemAlloc_v2", max(1, num_bytes))
        self._addresses.append(address)
        call(self._cuda, "cuMemsetD8Async", address, 0, max(1, num_bytes), self.stream)
        return address

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A host array that copies need not stage a second time; valid until :meth:`close`."""
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        address = self._made("cuMemHostAlloc", max(1, num_bytes), 0)
        self._pinned.append(address)
        return np.frombuffer((ctypes.c_byte * num_bytes).from_address(address), dtype).reshape(shape)

    def send(self, host: np.ndarray, address: int) -> None:
        """Queue a copy of an array, which stays as it is until then, to the device."""
        call(self._cuda, "cuMemcpyHtoDAsync_v2", address, host.ctypes.data, host.nbytes, self.stream)

    def fetch(self, address: int, host: np.ndarray) -> None:
        """Queue a copy from the device to an array."""
        call(self._cuda, "cuMemcpyDtoHAsync_v2", host.ctypes.data, address, host.nbytes, self.stream)

    def wait(self) -> None:
        """Until everything queued is done; an error of any of it is raised here."""
        call(self._cuda, "cuStreamSynchronize", self.stream)

    def capture(self, queue: Callable[[], None]) -> int:
        """What ``queue`` puts on the stream as a graph that can be launched; nothing runs meanwhile."""
        call(self._cuda, "cuStreamBeginCapture_v2", self.stream, _CAPTURE_MODE_THREAD_LOCAL)
        captured = ctypes.c_void_p()
        try:
            try:
                queue()
            finally:  # a stream that stays in capture mode is of no use any more
                call(self._cuda, "cuStreamEndCapture", self.stream, ctypes.byref(captured))
            self._graphs.append(self._made("cuGraphInstantiateWithFlags", captured.value, 0))
        finally:
            if captured:
                call(self._cuda, "cuGraphDestroy", captured.value)
        return self._graphs[-1]

    def launch(self, graph: int) -> None:
        """Queue a captured graph."""
        call(self._cuda, "cuGraphLaunch", graph, self.stream)

    def close(self) -> None:
        """Give everything back. What cannot be given back after a fault of the device goes with the process."""
        for function, items in (
            ("cuCtxSetCurrent", [self._context]), ("cuStreamSynchronize", [self.stream]),
            ("cuGraphExecDestroy", self._graphs), ("cuMemFree_v2", self._addresses), ("cuMemFreeHost", self._pinned),
            ("cuStreamDestroy_v2", [self.stream]),
        ):
            for item in items:
                with contextlib.suppress(CudaError):
                    call(self._cuda, function, item)
        self._graphs, self._addresses, self._pinned, self.stream = [], [], [], 0

    def _made(self, function: str, *arguments: int) -> int:
        """The address or handle that a function fills in, its first argument."""
        out = ctypes.c_void_p()
        call(self._cuda, function, ctypes.byref(out), *arguments)
        return out.value or 0
