"""Entry point of the node's process: one single-threaded executor, signals, exit codes."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from sparse4d_ros.errors import UserError
from sparse4d_ros.node.engine_loader import load_engine
from sparse4d_ros.node.log import ForwardToRos
from sparse4d_ros.node.sparse4d_node import Sparse4DNode

#: A process that was told to stop is gone after this, whatever hangs.
_EXIT_WITHIN_S = 4.5


def main(arguments: list[str] | None = None, engine_factory: Callable[[Any], Any] = load_engine) -> int:
    """Run the node until SIGINT or SIGTERM (exit 0); 1 if it cannot start, with one sentence on stderr."""
    signals = _catch_signals()
    keep_image_blocks()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Sparse4DNode(engine_factory)
    except UserError as error:
        print(f"sparse4d_node: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    logging.getLogger("sparse4d_ros").addHandler(ForwardToRos(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    told = threading.Event()
    threading.Thread(target=_watch_signals, args=(signals, told, executor.wake), name="signals", daemon=True).start()
    while not told.is_set() and not node.fatal and rclpy.ok():
        executor.spin_once()
    stopped = node.close()
    if node.fatal:
        print(f"sparse4d_node: {node.fatal}", file=sys.stderr)
    code = 1 if node.fatal else 0
    if not stopped:
        _leave(code)  # a thread sits in native code: an orderly interpreter exit could wait for it
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown(timeout_sec=1.0)
    rclpy.try_shutdown()
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


def _catch_signals() -> int:
    """File descriptor that becomes readable at SIGINT and SIGTERM.

    Python runs handlers in the main thread between two lines of Python; that thread may be inside a
    library for long. The descriptor is written at once, and a thread of its own reads it. rclpy's
    handlers are not used: they end the context before the node could deactivate in order.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(writer)
    return reader


def _watch_signals(signals: int, told: threading.Event, wake: Callable[[], None]) -> None:
    os.read(signals, 1)
    told.set()
    wake()
    threading.Event().wait(_EXIT_WITHIN_S)
    print("sparse4d_node: something hangs; leaving without it", file=sys.stderr)
    _leave(0)


def _leave(code: int) -> None:
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
