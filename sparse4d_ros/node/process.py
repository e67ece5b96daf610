"""What the node's process does between start and exit: one single-threaded executor."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor

from sparse4d_ros.errors import UserError
from sparse4d_ros.node.engine_loader import load_engine
from sparse4d_ros.node.log import ForwardToRos
from sparse4d_ros.node.main import StopSignals, leave
from sparse4d_ros.node.program import init_ros
from sparse4d_ros.node.sparse4d_node import Sparse4DNode


def run(arguments: list[str] | None, engine_factory: Callable[[Any], Any] | None, stop: StopSignals) -> int:
    """Spin the node until it is told to stop or cannot go on; the exit code."""
    stop.wake_with(lambda: None)  # from here on there is a context to shut down
    keep_image_blocks()
    try:
        init_ros(arguments)
    except UserError as error:
        print(f"sparse4d_node: {error}", file=sys.stderr)
        return 2
    code = _spin(engine_factory or load_engine, stop)
    stop.wake_with(lambda: None)
    # A lifecycle node sits in a cycle of references. Only when it is collected does the middleware take back
    # what it put into shared memory; a process that left without would leave 70 MB in /dev/shm.
    gc.collect()
    rclpy.try_shutdown()
    return code


def _spin(engine_factory: Callable[[Any], Any], stop: StopSignals) -> int:
    try:
        node = Sparse4DNode(engine_factory)
    except UserError as error:
        print(f"sparse4d_node: {error}", file=sys.stderr)
        return 1
    forward = ForwardToRos(node.get_logger())
    logging.getLogger("sparse4d_ros").addHandler(forward)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop.wake_with(executor.wake)
    while not stop.told.is_set() and not node.fatal and rclpy.ok():
        executor.spin_once()
    stopped = node.close()
    if node.fatal:
        print(f"sparse4d_node: {node.fatal}", file=sys.stderr)
    code = 1 if node.fatal else 0
    if not stopped:
        leave(code)  # a thread sits in native code: an orderly interpreter exit could wait for it
    logging.getLogger("sparse4d_ros").removeHandler(forward)
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown(timeout_sec=1.0)
    return code


def keep_image_blocks() -> None:
    """Have glibc keep large blocks: otherwise each image's memory is returned and faulted in anew."""
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 128 << 20)
    except (OSError, AttributeError):
        pass  # another C library, which has its own ways
