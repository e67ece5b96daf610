"""Whether this machine has a CUDA driver and which devices, asked of the driver's own library.

Nothing else of CUDA is touched before: TensorRT ends the whole process, without an exception, when a
runtime or builder is made on a machine without a driver.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from sparse4d_ros.errors import UserError

LIBRARY = "libcuda.so.1"
# cuda.h
_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76


class Device(NamedTuple):
    """One GPU."""

    name: str
    compute_capability: str  #: for example "8.7"


class Driver(NamedTuple):
    """What the driver can do, and on what."""

    cuda_version: str  #: highest CUDA version it runs, for example "12.6"
    devices: tuple[Device, ...]


def probe() -> Driver:
    """The driver and its devices, at least one; ``UserError`` says what is missing."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise UserError(f"this machine has no CUDA driver ({LIBRARY} cannot be loaded)") from None
    _call(library, "cuInit", 0)
    version, count = ctypes.c_int(), ctypes.c_int()
    _call(library, "cuDriverGetVersion", ctypes.byref(version))
    _call(library, "cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise UserError("the CUDA driver finds no GPU")
    devices = tuple(_device(library, index) for index in range(count.value))
    return Driver(f"{version.value // 1000}.{version.value % 1000 // 10}", devices)


def device_index(device: str | None, driver: Driver) -> int:
    """The index that "cuda", "cuda:1" or None (the first one) means; ``UserError`` for one that is not there."""
    name, _, index = (device or "cuda").partition(":")
    if name != "cuda" or not (index.isdecimal() or device in (None, "cuda")):
        raise UserError(f"the tensorrt backend runs on 'cuda' or 'cuda:<number>', not {device!r}")
    if int(index or 0) >= len(driver.devices):
        raise UserError(f"device {device!r} was asked for, but the CUDA driver finds {len(driver.devices)} GPU(s)")
    return int(index or 0)


def _device(library: ctypes.CDLL, index: int) -> Device:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _call(library, "cuDeviceGet", ctypes.byref(device), index)
    _call(library, "cuDeviceGetName", name, len(name), device)
    _call(library, "cuDeviceGetAttribute", ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
    _call(library, "cuDeviceGetAttribute", ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
    return Device(name.value.decode(), f"{major.value}.{minor.value}")


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    if code := getattr(library, function)(*arguments):
        raise UserError(f"the CUDA driver is installed but does not work: {function} gave error {code}")
