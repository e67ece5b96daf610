"""The machine as `sparse4d doctor` sees it: versions, GPU, ROS, shared memory, sockets, clocks. Changes nothing."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from sparse4d_ros import __version__, installing
from sparse4d_ros.deploy.clocks import clocks
from sparse4d_ros.deploy.timing import machine
from sparse4d_ros.engine.cuda_driver import probe
from sparse4d_ros.engine.tensorrt_backend import INSTALLING
from sparse4d_ros.errors import UserError
from sparse4d_ros.findings import FAIL, INFO, OK, WARN, Finding
from sparse4d_ros.resources import share_path

#: Modules and what lacks them; "" where a vehicle can do without.
MODULES = {
    "numpy": "nothing runs", "scipy": "nothing runs", "cv2": "nothing runs", "PIL": "no model runs",
    "onnxruntime": "the network runs by TensorRT or PyTorch alone", "rosbags": "nothing plays, records or reads a bag",
    "matplotlib": "", "nuscenes": "", "torch": "", "tensorrt": "",
}
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: Participants of a vehicle that have a segment each: six camera drivers, the node, and a reader.
_PARTICIPANTS = 8
_RMEM = 8 << 20


def versions() -> list[Finding]:
    """Operating system, processor, Python and the packages that decide how a network runs."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    found = [Finding(INFO, "machine", "machine", machine()),
             Finding(INFO, "machine", "system", f"{system}, kernel {platform.release()}, {platform.machine()}"),
             Finding(INFO, "machine", "sparse4d_ros", f"{__version__}, in {Path(__file__).parents[1]}")]
    return found + [_package(module, lack) for module, lack in MODULES.items()]


def _package(module: str, lack: str) -> Finding:
    name = installing.distribution(module)
    if importlib.util.find_spec(module) is None:
        if not lack:
            return Finding(INFO, "machine", name, "not installed; a vehicle can do without")
        return Finding(WARN, "machine", name, f"not installed: {lack}", installing.remedy(module))
    try:
        return Finding(INFO, "machine", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(INFO, "machine", name, "installed, of a version that it does not say")


def gpu() -> list[Finding]:
    """Driver, devices, and what is missing for TensorRT."""
    try:
        driver = probe()
    except UserError as error:
        return [Finding(WARN, "machine", "GPU", str(error), "without one the network runs on the CPU (model.backend: "
                        "onnxruntime); with one, install its driver, or start the container with --gpus all")]
    names = ", ".join(f"{device.name} (compute capability {device.compute_capability})" for device in driver.devices)
    found = [Finding(OK, "machine", "GPU", f"{names}, driver for CUDA {driver.cuda_version}")]
    if importlib.util.find_spec("tensorrt") is None:
        found.append(Finding(WARN, "machine", "TensorRT", "its Python package is not installed", INSTALLING))
    return found


def ros(environment: Mapping[str, str]) -> list[Finding]:
    """The distribution, the middleware, and the profile without which raw pictures do not arrive."""
    distribution = environment.get("ROS_DISTRO")
    if importlib.util.find_spec("rclpy") is None:
        return [Finding(WARN if distribution else INFO, "machine", "ROS", "rclpy cannot be imported"
                        + (f" though ROS_DISTRO is {distribution}" if distribution else ""),
                        "the node needs it: source /opt/ros/<distribution>/setup.bash; the rest works without")]
    middleware = environment.get("RMW_IMPLEMENTATION") or "the distribution's default"
    found = [Finding(OK, "machine", "ROS",
                     f"{distribution or 'a distribution without a name'}, middleware: {middleware}")]
    return found + profile(environment)


def profile(environment: Mapping[str, str]) -> list[Finding]:
    """The Fast DDS profile that the environment names."""
    set_to = {name: environment[name] for name in PROFILE_VARIABLES if environment.get(name)}
    ours = share_path("config", "fastdds_profile.xml")
    remedy = "for this node and the camera drivers: " + "; ".join(f"export {name}={ours}" for name in PROFILE_VARIABLES)
    if not set_to:
        return [Finding(WARN, "machine", "Fast DDS profile",
                        f"{' and '.join(PROFILE_VARIABLES)} are not set: raw pictures will hardly arrive",
                        remedy + " (the launch files set it for the node alone)")]
    found = []
    for name, value in set_to.items():
        try:
            size = segment_bytes(Path(value))
        except (OSError, ElementTree.ParseError, ValueError) as error:
            text = f"{name} is {value}, which cannot be read: {error}"
            found.append(Finding(FAIL, "machine", "Fast DDS profile", text, remedy))
            continue
        enough = size >= segment_bytes(ours)
        found.append(Finding(OK if enough else WARN, "machine", "Fast DDS profile",
                             f"{value}: shared memory segments of {size >> 20} MiB", "" if enough else remedy))
    return found


def segment_bytes(path: Path) -> int:
    """The largest shared memory segment that a Fast DDS profile gives a participant; 0 if it names none."""
    elements = ElementTree.parse(path).iter()
    return max((int(item.text or 0) for item in elements if item.tag.rpartition("}")[2] == "segment_size"), default=0)


def shared_memory(folder: Path = Path("/dev/shm")) -> list[Finding]:
    """Room for the segments of a vehicle, and segments that dead processes left."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return [Finding(FAIL, "machine", str(folder), f"cannot be used: {error}",
                        "mount a tmpfs there: Fast DDS needs it")]
    needed = _PARTICIPANTS * segment_bytes(share_path("config", "fastdds_profile.xml"))
    text = f"{usage.free >> 20} MiB free of {usage.total >> 20}; six camera drivers and the node take {needed >> 20}"
    remedy = "in a container: --ipc=host or --shm-size=1g; else: mount -o remount,size=1G /dev/shm"
    enough = usage.free >= needed
    found = [Finding(OK if enough else WARN, "machine", str(folder), text, "" if enough else remedy)]
    left = leftovers(folder)
    size = sum(path.stat().st_size for path in left) >> 20
    found.append(Finding(WARN, "machine", "Fast DDS leftovers", f"{len(left)} segments of dead processes, {size} MiB",
                         "fastdds shm clean, or remove " + ", ".join(str(path) for path in left[:3]))
                 if left else Finding(OK, "machine", "Fast DDS leftovers", "none"))
    return found


def leftovers(folder: Path) -> list[Path]:
    """Segments whose owner is gone: nobody holds the lock file that Fast DDS keeps beside each."""
    found = []
    for lock in sorted(folder.glob("fast*_el")):
        if "_port" in lock.name:
            continue  # a port has other locks too
        segment = lock.with_name(lock.name.removesuffix("_el"))
        try:
            with open(lock) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if segment.is_file():
                found.append(segment)
        except OSError:  # held, or another user's
            continue
    return found


def sockets(rmem_max: Path = Path("/proc/sys/net/core/rmem_max")) -> list[Finding]:
    """The largest receive buffer of a socket, for pictures from another machine."""
    try:
        value = int(rmem_max.read_text())
    except (OSError, ValueError):
        return []
    text = f"{value >> 10} KiB"
    if value >= _RMEM:
        return [Finding(OK, "machine", "net.core.rmem_max", text)]
    return [Finding(WARN, "machine", "net.core.rmem_max",
                    f"{text}: pictures that come from another machine lose fragments",
                    f"sysctl -w net.core.rmem_max={_RMEM}")]


def examine_machine() -> dict[str, list[Finding]]:
    """All of the above."""
    return {"Versions": versions(), "GPU": gpu(), "ROS": ros(os.environ),
            "Memory and network": shared_memory() + sockets() + clocks()}
