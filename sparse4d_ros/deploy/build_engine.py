"""`sparse4d build-engine`: a TensorRT engine of a model package's graph, for the GPU of this machine.

API of TensorRT 10.3 to 11. The graph says every tensor's type (strongly typed), so there are no
precision flags. Not run on a GPU yet (docs/deployment.md).
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from sparse4d_ros.engine.cuda_driver import CudaError, device_index
from sparse4d_ros.engine.cuda_memory import CudaDevice
from sparse4d_ros.engine.engine_file import EngineHeader, engine_header, engine_path, write_engine
from sparse4d_ros.engine.package import GRID_KINDS, PLUGIN_KINDS, ModelPackage
from sparse4d_ros.engine.tensorrt_backend import load_plugin, load_tensorrt, start
from sparse4d_ros.errors import UserError
from sparse4d_ros.writing import blaming, replacing

_LOG = logging.getLogger(__name__)


def network_flags(trt: ModuleType) -> int:
    """Flags of ``create_network``: strongly typed. TensorRT 11 knows no other network and may drop the name."""
    names = trt.NetworkDefinitionCreationFlag
    return 1 << int(names.STRONGLY_TYPED) if hasattr(names, "STRONGLY_TYPED") else 0


def configure_builder(trt: ModuleType, config: Any, tf32: bool, workspace_mib: int | None) -> None:
    """What the graph's types leave open.

    TF32 is TensorRT's default for float32 and has the mantissa of fp16: with it, coordinates of 50 m
    would be good to centimetres only, so it is switched off unless asked for.
    """
    if hasattr(trt.BuilderFlag, "TF32"):
        (config.set_flag if tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib << 20)


class Progress:
    """A bar for each phase of a build that is nobody's part."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        if parent is None:
            self._bars[phase] = tqdm(total=steps, desc=phase, unit="step", mininterval=1.0)

    def step(self, phase: str, index: int) -> None:
        if phase in self._bars:
            self._bars[phase].update(index + 1 - self._bars[phase].n)

    def finish(self, phase: str) -> None:
        if phase in self._bars:
            self._bars.pop(phase).close()


def progress_monitor(trt: ModuleType) -> Any:
    """A monitor in TensorRT's own class that shows :class:`Progress`; Ctrl-C ends the build at its next step."""
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._progress = Progress()
            self.stopped = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._show(self._progress.start, phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            self._show(self._progress.finish, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._show(self._progress.step, phase_name, step)
            return not self.stopped

        def _show(self, what: Callable[..., None], *arguments: Any) -> None:
            try:
                what(*arguments)
            except KeyboardInterrupt:  # cannot pass through TensorRT
                self.stopped = True

    return Monitor()


def build_plan(
    trt: ModuleType, graph: Path, timings: bytes, tf32: bool, workspace_mib: int | None, plugin: str,
) -> tuple[bytes, bytes]:
    """The plan that TensorRT makes of an ONNX file, and its kernel timings with those of builds before.

    ``UserError`` with TensorRT's reason if it cannot, ``KeyboardInterrupt`` if it was stopped.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = start(trt, trt.Builder, logger)
    if plugin:
        load_plugin(builder, plugin)
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):  # not by its path: no file beside it may add weights
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise UserError(f"TensorRT {trt.__version__} cannot read {graph}: {reasons}")
    config = builder.create_builder_config()
    configure_builder(trt, config, tf32, workspace_mib)
    # Timings of another release or GPU, or damaged ones, TensorRT refuses; then they are begun anew.
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    monitor = config.progress_monitor = progress_monitor(trt)
    plan = builder.build_serialized_network(network, config)
    if monitor.stopped:
        raise KeyboardInterrupt
    if plan is None:
        raise UserError(f"TensorRT {trt.__version__} built no engine of {graph} (its reason is above; where memory is "
                        "short, --workspace-mib bounds what it tries)")
    return bytes(plan), bytes(config.get_timing_cache().serialize())


def kept_timings(path: Path) -> bytes:
    """Kernel timings of earlier builds; none where there are none to be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def build_engine(
    package: ModelPackage, precision: str, output: Path, device: str | None = None, tf32: bool = False,
    workspace_mib: int | None = None, plugin: Path | None = None,
) -> EngineHeader:
    """Build the engine of a package into ``output``, with a cache of kernel timings beside it.

    ``plugin`` is a library of ``deploy/plugin``; the engine then needs it where it lies. Raises ``UserError`` if the
    graph, the library, the driver or TensorRT is missing, TensorRT refuses the graph or the library, or the file cannot
    be written.
    """
    library = str(plugin.resolve()) if plugin else ""
    engine_header(package, precision, "", "", "", library)  # a graph that is missing is named before a driver that is
    trt, driver = load_tensorrt()
    index = device_index(device, driver)
    header = engine_header(package, precision, trt.__version__, *driver.devices[index], library)
    graph = package.path((PLUGIN_KINDS if plugin else GRID_KINDS)[precision])
    with blaming(output):  # before minutes of building
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    try:
        cuda = CudaDevice(index)  # current in this thread: the one that the builder takes
    except CudaError as error:
        raise UserError(f"cuda:{index} cannot be used: {error}") from error
    timing_cache = output.with_name(f"timing_{header.compute_capability}_{header.tensorrt}.cache")
    try:
        plan, timings = build_plan(trt, graph, kept_timings(timing_cache), tf32, workspace_mib, library)
    finally:
        cuda.close()
    write_engine(output, header, plan)
    try:
        with replacing(timing_cache) as partial:
            partial.write_bytes(timings)
    except UserError as error:
        _LOG.warning("%s; the engine is whole, but the next build takes as long", error)
    return header


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("package", type=Path, help="folder of the model package (with a graph of this precision)")
    parser.add_argument("--precision", choices=tuple(GRID_KINDS), default="fp16", help="default fp16")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="engine file (default: in ~/.cache/sparse4d_ros, where the node looks for it)")
    parser.add_argument("--device", default="cuda", help="GPU to build for, for example cuda:1 (default cuda)")
    parser.add_argument("--tf32", action="store_true",
                        help="let float32 parts run in TF32: faster, and as coarse as fp16")
    parser.add_argument("--workspace-mib", type=int, metavar="N", help="most scratch memory (default: all there is)")
    parser.add_argument("--plugin", type=Path, metavar="LIBRARY",
                        help="build of the graph of `sparse4d export --reading plugin`, with this plugin of "
                             "deploy/plugin; the engine needs it where it lies")
    parser.epilog = ("example:\n  sparse4d export my_model --precision fp16      # on any machine\n"
                     "  sparse4d build-engine my_model --precision fp16   # on the vehicle")


def run(args: argparse.Namespace) -> int:
    """Build and say what to do next."""
    package = ModelPackage.load(args.package)
    output = args.output or engine_path(package, args.precision)
    started = time.monotonic()
    header = build_engine(package, args.precision, output, args.device, args.tf32, args.workspace_mib, args.plugin)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB) for {header.gpu}, TensorRT {header.tensorrt}, in "
          f"{time.monotonic() - started:.0f} s")
    print(f"next: sparse4d doctor --model {args.package}; then start the node with model.backend: tensorrt, "
          f"model.precision: {args.precision}" + (f", model.engine: {output}" if args.output else ""))
    return 0
