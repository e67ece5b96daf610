"""The network by TensorRT, 10.3 (JetPack 6.2) to 11, from an engine that `sparse4d build-engine` made here.

Features and anchors of the bank stay on the device (:mod:`device_bank`). A whole frame, its copies
included, is one captured CUDA graph; there are two, as the bank's slots take turns.

Not run on a GPU yet: what can be tested without one is (docs/deployment.md).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sparse4d_ros.engine.backend import HostBank, NetworkOutput
from sparse4d_ros.engine.cuda_driver import CudaError, Driver, device_index, probe
from sparse4d_ros.engine.cuda_memory import CudaDevice
from sparse4d_ros.engine.device_bank import FETCHED, RESIDENT, SENT, DeviceBank, Slots, TensorSpec, tensor_specs
from sparse4d_ros.engine.engine_file import check_engine, engine_header, engine_path, read_engine
from sparse4d_ros.engine.onnx_backend import network_feeds
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import NetworkInputs
from sparse4d_ros.errors import UserError

_LOG = logging.getLogger(__name__)
INSTALLING = ("on a Jetson it comes with JetPack (apt install python3-libnvinfer; a virtual environment sees it if it "
              "was made with --system-site-packages), elsewhere: pip install tensorrt")
_SHORT_OF_MEMORY = ("; if memory is short, end what else takes it (a Jetson's GPU has the computer's memory), or build "
                    "the engine with a lower --workspace-mib")


def load_tensorrt() -> tuple[ModuleType, Driver]:
    """The module and the driver; ``UserError`` if either is missing. The driver is asked first, see its module."""
    try:
        driver = probe()
    except UserError as error:
        raise UserError(f"'tensorrt' cannot run: {error}; use model.backend 'onnxruntime' or 'torch' here") from None
    if importlib.util.find_spec("tensorrt") is None:
        raise UserError(f"'tensorrt' cannot run: its Python package is not installed; {INSTALLING}")
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # libraries that it lacks, or of another computer
        raise UserError(f"'tensorrt' cannot run: importing its Python package failed ({error}); {INSTALLING}") from None
    check_version(trt.__version__)
    return trt, driver


def start(trt: ModuleType, what: Callable[[Any], Any], logger: Any) -> Any:
    """TensorRT's builder or runtime; ``UserError`` where there is none to be had."""
    try:
        return what(logger)
    except TypeError:  # what its bindings make of a null pointer
        raise UserError(f"TensorRT {trt.__version__} cannot start on this GPU (its reason is above): it may need a "
                        "newer driver, or memory is short") from None


def check_version(version: str) -> None:
    """``UserError`` for a TensorRT older than 10.3, whose API this is."""
    if tuple(int(part) for part in version.split(".")[:2]) < (10, 3):
        raise UserError(f"TensorRT {version} is too old; 10.3 (JetPack 6.2) or newer is needed")


def check_tensors(found: dict[str, TensorSpec], expected: dict[str, TensorSpec], path: Path) -> None:
    """``UserError`` naming the first input or output of an engine that is not the package's."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise UserError(f"{path}: input or output {name} is {_describe(found.get(name))}, but model.yaml means "
                            f"{_describe(expected.get(name))}; export and build it again")


def _describe(spec: TensorSpec | None) -> str:
    return "absent" if spec is None else f"{spec.dtype} {list(spec.shape)}"


def load_plugin(owner: Any, library: str) -> None:
    """Let a builder or a runtime know the plugin of a library; ``UserError`` if TensorRT does not take it."""
    if owner.get_plugin_registry().load_library(library) is None:
        raise UserError(f"TensorRT cannot load the plugin {library} (its reason is above)")


class TensorRTBackend:
    """One engine, two execution contexts that share their scratch memory, one stream."""

    name = "tensorrt"

    def __init__(
        self, package: ModelPackage, device: str | None = None, precision: str = "fp16", engine: Path | None = None,
    ) -> None:
        """``engine`` is the engine's file; None takes the one of `sparse4d build-engine`.

        Raises ``UserError`` without a driver, TensorRT or an engine of this machine and package, or if the
        device's memory does not suffice.
        """
        trt, driver = load_tensorrt()
        index = device_index(device, driver)
        path = engine or engine_path(package, precision)
        built, plan = read_engine(path)
        here = engine_header(package, precision, trt.__version__, *driver.devices[index], built.plugin)
        check_engine(built, here, path)
        self.device = f"cuda:{index}"
        self._specs = tensor_specs(package)
        self._fetched = tuple(name for name in FETCHED if name in self._specs)
        self._slots = Slots()
        self._taken_over_to = 0
        self._contexts: list[Any] = []
        self._graphs: list[Any] = [None, None]
        self._runtime = self._engine = None
        try:
            self._cuda = CudaDevice(index)
        except RuntimeError as error:
            raise UserError(f"{self.device} cannot be used: {error}{_SHORT_OF_MEMORY}") from error
        try:
            self._load(trt, built.plugin, plan, path)
        except RuntimeError as error:  # of CUDA, or TensorRT's refusals
            self.close()
            raise UserError(f"{path} cannot run on {self.device}: {error}{_SHORT_OF_MEMORY}") from error
        except BaseException:
            self.close()
            raise

    def _load(self, trt: ModuleType, plugin: str, plan: bytes, path: Path) -> None:
        self._runtime = start(trt, trt.Runtime, trt.Logger(trt.Logger.WARNING))
        if plugin:
            load_plugin(self._runtime, plugin)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise UserError(f"TensorRT {trt.__version__} cannot load {path} (its reason is above){_SHORT_OF_MEMORY}")
        check_tensors(_tensors(trt, self._engine), self._specs, path)
        self._allocate()
        self._contexts = [self._context(trt, slot) for slot in range(2)]
        self._prepare()

    def _allocate(self) -> None:
        specs = self._specs
        self._host = {name: self._cuda.pinned(*specs[name]) for name in SENT + self._fetched}
        self._addresses = {name: self._cuda.allocate(array.nbytes) for name, array in self._host.items()}
        self._resident = [
            {name: self._cuda.allocate(int(np.prod(specs[name].shape)) * specs[name].dtype.itemsize)
             for name in RESIDENT} for _ in range(2)]
        self._scratch = self._cuda.allocate(self._engine.device_memory_size_v2)

    def _context(self, trt: ModuleType, read: int) -> Any:
        """A context that reads the bank of one slot and writes the other's, as captured graphs keep addresses."""
        context = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise RuntimeError("TensorRT gave no execution context (its reason is above)")
        context.set_device_memory(self._scratch, self._engine.device_memory_size_v2)
        addresses = dict(self._addresses)
        for source, target in RESIDENT.items():
            addresses[source], addresses[target] = self._resident[read][source], self._resident[1 - read][source]
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise RuntimeError(f"TensorRT refused the address of {name}")
        return context

    def _queue(self, read: int) -> None:
        for name in SENT:
            self._cuda.send(self._host[name], self._addresses[name])
        if not self._contexts[read].execute_async_v3(self._cuda.stream):
            raise RuntimeError("TensorRT could not queue the network (its reason is above)")
        for name in self._fetched:
            self._cuda.fetch(self._addresses[name], self._host[name])

    def _prepare(self) -> None:
        """Run each context once, as TensorRT wants before a capture, then capture it."""
        for array in self._host.values():
            array[...] = 0
        self._host["now_from_previous"][...] = np.eye(4)
        self._host["camera_valid"][...] = True
        for read in range(2):
            self._queue(read)
            self._cuda.wait()
            try:
                self._graphs[read] = self._cuda.capture(lambda read=read: self._queue(read))
            except RuntimeError as error:
                _LOG.warning("the engine cannot be captured as a CUDA graph (%s); it runs without, which is slower",
                             error)
                return

    def empty_bank(self) -> DeviceBank:
        return DeviceBank(0, 0, np.zeros(self._specs["bank_confidence"].shape[1], np.float32))

    def run(
        self, inputs: NetworkInputs, bank: DeviceBank, dt_s: float, now_from_previous: np.ndarray,
    ) -> tuple[NetworkOutput, DeviceBank]:
        self._cuda.use()
        read, write = self._slots.begin(bank)
        sent = HostBank(None, None, bank.confidence[None], np.array([bank.has_history]))
        feeds = network_feeds(inputs, sent, dt_s, now_from_previous)
        for name in SENT:
            np.copyto(self._host[name], feeds[name])
        if self._graphs[read] is not None:
            self._cuda.launch(self._graphs[read])
        else:
            self._queue(read)
        self._cuda.wait()
        out = {name: self._host[name][0].copy() for name in self._fetched}
        output = NetworkOutput(out["anchors"], out["classes"], out.get("quality"), out["kept_rows"])
        return output, self._slots.finish(write, out["next_confidence"])

    def features(self, bank: DeviceBank) -> np.ndarray:
        return self.bank_to_host(bank)[0][0]

    def confidence(self, bank: DeviceBank) -> np.ndarray:
        return bank.confidence

    def forget(self, bank: DeviceBank, slots: np.ndarray) -> DeviceBank:
        return bank._replace(confidence=np.where(slots, np.float32(0), bank.confidence))

    def bank_to_host(self, bank: DeviceBank) -> HostBank:
        self._slots.check(bank)
        values = [np.zeros(*self._specs[name]) for name in RESIDENT]
        if bank.has_history:
            self._cuda.use()
            for name, host in zip(RESIDENT, values, strict=True):
                self._cuda.fetch(self._resident[bank.slot][name], host)
            self._cuda.wait()
        return HostBank(*values, bank.confidence[None], np.array([bank.has_history]))

    def bank_from_host(self, bank: HostBank) -> DeviceBank:
        if not bank.has_history[0]:
            return self.empty_bank()
        # In turns, so that who takes over every frame, as the doctor does, tries both contexts.
        self._taken_over_to = 1 - self._taken_over_to
        _, write = self._slots.begin(self.empty_bank()._replace(slot=1 - self._taken_over_to))
        self._cuda.use()
        for name, host in zip(RESIDENT, bank[:2], strict=True):
            self._cuda.send(np.ascontiguousarray(host, np.float32), self._resident[write][name])
        self._cuda.wait()
        return self._slots.finish(write, bank.confidence[0])

    def close(self) -> None:
        with contextlib.suppress(CudaError):
            self._cuda.use()
        self._contexts.clear()
        self._engine = self._runtime = None
        self._host = {}  # their memory goes with the device's
        self._cuda.close()


def _tensors(trt: ModuleType, engine: Any) -> dict[str, TensorSpec]:
    """Inputs and outputs of a loaded engine."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return {name: TensorSpec(tuple(engine.get_tensor_shape(name)), np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
            for name in names}
