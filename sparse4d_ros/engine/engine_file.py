"""A TensorRT engine on the disk: a header that says what it was built for and of, then TensorRT's plan.

An engine runs only where and with what it was built: the GPU, the TensorRT release, the graph. It
belongs to a machine, not to a model, so it lies in a cache folder and not in the model package,
which may be read-only and is the same on all vehicles.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sparse4d_ros.engine.package import GRID_KINDS, PLUGIN_KINDS, ModelPackage, sha256
from sparse4d_ros.errors import UserError
from sparse4d_ros.writing import replacing

_MAGIC = b"sparse4d engine 1\n"
_LENGTH = struct.Struct("<I")
_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class EngineHeader:
    """What an engine was built for and of."""

    package: str
    package_version: str
    precision: str
    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: str
    plugin: str = ""         #: absolute path of the library that it cannot run without, if any
    plugin_sha256: str = ""


#: How a field is called in a sentence.
_NAMES = {
    "package": "model package", "package_version": "version of the model package", "precision": "precision",
    "onnx_sha256": "graph with SHA-256", "tensorrt": "TensorRT", "gpu": "GPU",
    "compute_capability": "compute capability", "plugin": "plugin", "plugin_sha256": "plugin with SHA-256",
}


def engine_header(
    package: ModelPackage, precision: str, tensorrt: str, gpu: str, compute_capability: str, plugin: str = "",
) -> EngineHeader:
    """The header of an engine of this package on this machine, which reads image features by a library if one is given.

    Raises ``UserError`` if the package lacks the graph, or the library is absent.
    """
    kind = (PLUGIN_KINDS if plugin else GRID_KINDS).get(precision)
    if kind is None:
        raise UserError(f"the tensorrt backend runs in {', '.join(GRID_KINDS)}, not in {precision!r}")
    if kind not in package.files:
        options = f"--reading {'plugin' if plugin else 'grid'} --precision {precision}"
        other = "" if plugin else PLUGIN_KINDS[precision]
        raise UserError(f"the model package {package.folder} has no graph for TensorRT in {precision} (field "
                        f"files.{kind}): `sparse4d export {package.folder} {options}` makes it"
                        + f"; its files.{other} needs `build-engine --plugin`" * (other in package.files))
    if plugin and not Path(plugin).is_file():
        raise UserError(f"the library of the plugin is not there: {plugin} (docs/deployment.md says how to build it)")
    return EngineHeader(package.name, package.version, precision, package.files[kind][1], tensorrt, gpu,
                        compute_capability, plugin, sha256(Path(plugin)) if plugin else "")


def engine_path(package: ModelPackage, precision: str) -> Path:
    """Where the engine of a package lies unless told otherwise: ``$XDG_CACHE_HOME/sparse4d_ros``, else ``~/.cache``."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = re.sub(r"[^\w.-]", "_", f"{package.name}-{package.version}-{precision}.engine")
    return Path(folder) / "sparse4d_ros" / name


def engine_is_at(path: Path) -> bool:
    """Whether a file is there; ``UserError`` if this user may not look."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"this user cannot read the engine {path}: {error.strerror}; let it (chmod), or name a place that "
                     "it can read (model.engine, XDG_CACHE_HOME)")


def write_engine(path: Path, header: EngineHeader, plan: bytes) -> None:
    """Write an engine file, whole or not at all; ``UserError`` if it cannot be written."""
    values = asdict(header) | {"plan_bytes": len(plan), "plan_sha256": hashlib.sha256(plan).hexdigest()}
    text = json.dumps(values, separators=(",", ":")).encode()  # no byte that could change unnoticed
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(_MAGIC + _LENGTH.pack(len(text)) + text)
        file.write(plan)


def read_engine(path: Path) -> tuple[EngineHeader, bytes]:
    """Header and plan of an engine file; ``UserError`` if absent, unreadable, no such file, cut short or altered."""
    if not engine_is_at(path):
        raise UserError(f"there is no engine {path}; `sparse4d build-engine` on this machine makes it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    start = len(_MAGIC) + _LENGTH.size
    again = "build it again with `sparse4d build-engine`"
    if not content.startswith(_MAGIC) or len(content) < start:
        raise UserError(f"{path} was not written by `sparse4d build-engine`; {again}")
    length = _LENGTH.unpack_from(content, len(_MAGIC))[0]
    try:
        values = json.loads(content[start:start + min(length, _MAX_HEADER)])
        size, digest = values.pop("plan_bytes"), values.pop("plan_sha256")
        header = EngineHeader(**values)
        if not all(isinstance(getattr(header, item.name), str) for item in fields(header)):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path} has a damaged header; {again}") from None
    plan = content[start + length:]
    if len(plan) != size or hashlib.sha256(plan).hexdigest() != digest:
        raise UserError(f"{path} is damaged: its plan has {len(plan)} bytes of {size}, or other ones; {again}")
    return header, plan


def check_engine(built: EngineHeader, here: EngineHeader, path: Path) -> None:
    """``UserError`` naming what differs, with both values."""
    differing = [item.name for item in fields(built) if getattr(built, item.name) != getattr(here, item.name)]
    if differing:
        was, now = (", ".join(f"{_NAMES[name]} {_short(getattr(header, name))}" for name in differing)
                    for header in (built, here))
        raise UserError(f"{path} was built for {was}; here: {now}; build it again with `sparse4d build-engine`")


def _short(value: str) -> str:
    return f"{value[:12]}…" if len(value) == 64 else value
