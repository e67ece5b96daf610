"""What the small programs beside the node share: arguments, Ctrl-C and SIGTERM, one sentence for a mistake."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from sparse4d_ros.errors import UserError


def run_program(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace, threading.Event], None],
                arguments: list[str] | None) -> int:
    """Do ``work`` within rclpy until it ends; it looks at the event, which SIGINT and SIGTERM set.

    ``arguments`` None takes the process's own. Returns 0, or 2 after a ``UserError`` or wrong ROS arguments, with
    one sentence on stderr.
    """
    arguments = [parser.prog, *(sys.argv[1:] if arguments is None else arguments)]
    stop = threading.Event()
    with _stopping(stop):
        try:
            args = parser.parse_args(remove_ros_args(arguments)[1:])
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            work(args, stop)
        except (UserError, rclpy_implementation.RCLInvalidROSArgsError) as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            return 2
        finally:
            rclpy.try_shutdown()
    return 0


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``, also in a shell's background job, which ignores SIGINT."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
