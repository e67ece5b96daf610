"""The CUDA driver's own library: whether it is there, which devices it has, and its functions as cuda.h declares them.

It is asked before TensorRT, which ends the whole process, without an exception, when a runtime or builder
is made on a machine without a driver. And it is all of CUDA that is used here: a CUDA runtime out of a
Python package may be newer than a Jetson's driver, and then does not work with it.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from sparse4d_ros.errors import UserError

LIBRARY = "libcuda.so.1"
# CUdevice_attribute
_MULTIPROCESSOR_COUNT, _COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 16, 75, 76

_INT, _UINT, _SIZE, _DEVICE_ADDRESS = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_uint64
#: Pointers, among them those to what a function fills in; and handles of contexts, streams and graphs, which are some.
_POINTER = ctypes.c_void_p
#: Function, by its name in the library, which has the newest version's suffix -> its arguments. Each gives a CUresult.
FUNCTIONS = {
    "cuInit": (_UINT,), "cuGetErrorString": (_INT, _POINTER), "cuDriverGetVersion": (_POINTER,),
    "cuDeviceGetCount": (_POINTER,), "cuDeviceGet": (_POINTER, _INT), "cuDeviceGetName": (_POINTER, _INT, _INT),
    "cuDeviceGetAttribute": (_POINTER, _INT, _INT),
    "cuDevicePrimaryCtxRetain": (_POINTER, _INT), "cuCtxSetCurrent": (_POINTER,),
    "cuMemAlloc_v2": (_POINTER, _SIZE), "cuMemFree_v2": (_DEVICE_ADDRESS,),
    "cuMemHostAlloc": (_POINTER, _SIZE, _UINT), "cuMemFreeHost": (_POINTER,),
    "cuMemsetD8Async": (_DEVICE_ADDRESS, ctypes.c_ubyte, _SIZE, _POINTER),
    "cuMemcpyHtoDAsync_v2": (_DEVICE_ADDRESS, _POINTER, _SIZE, _POINTER),
    "cuMemcpyDtoHAsync_v2": (_POINTER, _DEVICE_ADDRESS, _SIZE, _POINTER),
    "cuStreamCreate": (_POINTER, _UINT), "cuStreamSynchronize": (_POINTER,), "cuStreamDestroy_v2": (_POINTER,),
    "cuStreamBeginCapture_v2": (_POINTER, _INT), "cuStreamEndCapture": (_POINTER, _POINTER),
    "cuGraphInstantiateWithFlags": (_POINTER, _POINTER, ctypes.c_ulonglong), "cuGraphDestroy": (_POINTER,),
    "cuGraphLaunch": (_POINTER, _POINTER), "cuGraphExecDestroy": (_POINTER,),
}


class CudaError(RuntimeError):
    """A call to CUDA failed; device memory that runs out is one."""


class Device(NamedTuple):
    """One GPU."""

    #: With the number of its multiprocessors, for example "Orin, 8 multiprocessors": all Jetsons of a generation
    #: have one name, and their power modes switch multiprocessors off; an engine fits one number.
    name: str
    compute_capability: str  #: for example "8.7"


class Driver(NamedTuple):
    """What the driver can do, and on what."""

    cuda_version: str  #: highest CUDA version it runs, for example "12.6"
    devices: tuple[Device, ...]


def library() -> ctypes.CDLL:
    """The driver, ready for use; ``UserError`` if it is not there or does not work."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError:
        raise UserError(f"this machine has no CUDA driver ({LIBRARY} cannot be loaded)") from None
    try:
        for name, arguments in FUNCTIONS.items():
            getattr(cuda, name).argtypes = arguments
        call(cuda, "cuInit", 0)
    except (CudaError, AttributeError) as error:  # a function that an old driver lacks
        raise UserError(f"the CUDA driver is there but does not work: {error}; may this user use the GPU (a Jetson: "
                        "groups video and render; a container: --runtime nvidia or --gpus all), and was the computer "
                        "started again after the driver was updated?") from None
    return cuda


def call(cuda: ctypes.CDLL, function: str, *arguments: object) -> None:
    """Call one of :data:`FUNCTIONS`; :class:`CudaError` in the driver's words."""
    if code := getattr(cuda, function)(*arguments):
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise CudaError(f"{function}: {(text.value or b'no text').decode()} (CUDA error {code})")


def probe() -> Driver:
    """The driver and its devices, at least one; ``UserError`` says what is missing."""
    cuda = library()
    count = _number(cuda, "cuDeviceGetCount")
    if not count:
        raise UserError("the CUDA driver finds no GPU")
    version = _number(cuda, "cuDriverGetVersion")
    return Driver(f"{version // 1000}.{version % 1000 // 10}", tuple(_device(cuda, index) for index in range(count)))


def device_index(device: str | None, driver: Driver) -> int:
    """The index that "cuda", "cuda:1" or None (the first one) means; ``UserError`` for one that is not there."""
    name, _, index = (device or "cuda").partition(":")
    if name != "cuda" or not (index.isdecimal() or device in (None, "cuda")):
        raise UserError(f"the tensorrt backend runs on 'cuda' or 'cuda:<number>', not {device!r}")
    if int(index or 0) >= len(driver.devices):
        raise UserError(f"device {device!r} was asked for, but the CUDA driver finds {len(driver.devices)} GPU(s)")
    return int(index or 0)


def _device(cuda: ctypes.CDLL, index: int) -> Device:
    device = _number(cuda, "cuDeviceGet", index)
    name = ctypes.create_string_buffer(256)
    call(cuda, "cuDeviceGetName", name, len(name), device)
    count, major, minor = (_number(cuda, "cuDeviceGetAttribute", attribute, device) for attribute in (
        _MULTIPROCESSOR_COUNT, _COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR))
    return Device(f"{name.value.decode()}, {count} multiprocessors", f"{major}.{minor}")


def _number(cuda: ctypes.CDLL, function: str, *arguments: int) -> int:
    """What a function fills in, of type int."""
    out = ctypes.c_int()
    call(cuda, function, ctypes.byref(out), *arguments)
    return out.value
