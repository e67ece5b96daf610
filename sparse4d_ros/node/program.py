"""What the small programs beside the node share: arguments, Ctrl-C and SIGTERM, one sentence for a mistake."""

from __future__ import annotations

import argparse
import contextlib
import re
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

    ``arguments`` None takes the process's own. Returns 0, or 2 after a ``UserError``, with one sentence on stderr.
    """
    arguments = [parser.prog, *(sys.argv[1:] if arguments is None else arguments)]
    stop = threading.Event()
    with _stopping(stop):
        try:
            init_ros(arguments)
            work(parser.parse_args(remove_ros_args(arguments)[1:]), stop)
        except UserError as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            return 2
        finally:
            rclpy.try_shutdown()
    return 0


def init_ros(arguments: list[str] | None) -> None:
    """``rclpy.init`` without its signal handlers; ``UserError`` for wrong ROS arguments and parameter files.

    ``arguments`` begin with the program's name; None takes the process's own.
    """
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except rclpy_implementation.UnknownROSArgsError as error:
        raise UserError(f"ROS does not know the arguments {error}") from error
    except rclpy_implementation.RCLError as error:
        text = re.sub(r",?\s+at \S+:\d+", "", str(error).removeprefix("failed to initialize rcl: "))  # lines of rcl
        raise UserError(f"ROS cannot start: {' '.join(text.split())}") from error


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``, also in a shell's background job, which ignores SIGINT."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
