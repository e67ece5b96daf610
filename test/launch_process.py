"""One launch file, started by the real `launch` in a process of its own: `launch_process.py FILE [NAME:=VALUE ...]`.

The same that `ros2 launch FILE` does, which is not everywhere where `launch` is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: How long a loaded machine may take for anything; no contract.
WITHIN_S = 300.0
#: Every process below a launch inherits this variable, by which it is found.
MARK = "SPARSE4D_LAUNCH_TEST"


class Launched:
    """The launch and what it and all its processes have printed."""

    def __init__(self, name: str, arguments: dict[str, object], logs: Path) -> None:
        self.mark = uuid.uuid4().hex
        environment = {**os.environ, "ROS_LOG_DIR": str(logs), "PYTHONUNBUFFERED": "1", MARK: self.mark}
        words = [f"{key}:={value}" for key, value in arguments.items()]
        self.child = subprocess.Popen(
            [sys.executable, __file__, str(ROOT / "launch" / name), *words], env=environment, cwd=logs,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.child.stdout), daemon=True)
        self.reader.start()

    @property
    def text(self) -> str:
        """Everything that was printed so far."""
        return "".join(self.lines)

    def has_said(self, words: str) -> bool:
        """Wait for these words; False if the launch ended without them."""
        return self.wait_for(lambda: words in self.text)

    def wait_for(self, condition) -> bool:
        """Wait until this holds; False if the launch ended before, or if it took too long."""
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.reader.join(5.0)
                return condition()
            time.sleep(0.05)
        return True

    def end(self, number: int | None = None) -> int:
        """Exit code, after a signal or without one."""
        if number is not None:
            self.child.send_signal(number)
        code = self.child.wait(WITHIN_S)
        self.reader.join(5.0)
        return code

    def left(self) -> dict[int, str]:
        """Command lines of the processes below this launch that still run."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or belongs to somebody else
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found


@contextmanager
def launched(name: str, logs: Path, **arguments: object) -> Iterator[Launched]:
    """A launch file, with nothing of it left at the end in any case."""
    running = Launched(name, arguments, logs)
    try:
        yield running
    finally:
        for pid in running.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.child.wait()


def main(arguments: list[str]) -> int:
    """What `launch` returns: 0, or 1 after an error."""
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import AnyLaunchDescriptionSource

    path, *words = arguments
    service = LaunchService(argv=words, noninteractive=True)
    service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
        AnyLaunchDescriptionSource(path), launch_arguments=[tuple(word.split(":=", 1)) for word in words])]))
    return service.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
