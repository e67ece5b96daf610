"""The node's process under test: started, listened to, and ended in every case. Needs no ROS in the test itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparse4d_ros.node import topics

HERE = Path(__file__).parent
#: The contract is 5 s from the signal to the end.
END_WITHIN_S = 5.0
#: How long a loaded machine may take to start Python and to import ROS; no contract.
START_WITHIN_S = 300.0


class Process:
    """The node's process and what it has written so far."""

    def __init__(self, behaviour: str, arguments: Iterable[str]) -> None:
        environment = dict(os.environ, PYTHONUNBUFFERED="1",
                           PYTHONPATH=os.pathsep.join([str(HERE), *filter(None, sys.path)]))
        self.began_s = time.time()
        self.child = subprocess.Popen(
            [sys.executable, str(HERE / "fake_node_process.py"), behaviour, *arguments], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.child.stdout), daemon=True)
        self.reader.start()

    def has_said(self, words: str) -> bool:
        """Wait for a line with these words."""
        return self._wait(lambda: any(words in line for line in self.lines))

    def hears_signals(self) -> bool:
        """Wait until the process has a handler for SIGTERM, which Python itself does not install."""
        status = Path(f"/proc/{self.child.pid}/status")

        def caught() -> bool:
            mask = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt")).split()[1]
            return bool(int(mask, 16) & 1 << (signal.SIGTERM - 1))
        return self._wait(caught)

    def end(self, number: int | None = None) -> int:
        """Exit code: after a signal within what is promised, without one whenever it comes."""
        if number is None:
            code = self.child.wait(START_WITHIN_S)
        else:
            took_s = self._end_by(number)
            assert took_s <= END_WITHIN_S, f"the process ended {took_s:.1f} s after the signal"
            code = self.child.returncode
        self.reader.join(5.0)
        return code

    def tracebacks(self) -> list[str]:
        """Lines that speak of an exception nobody caught."""
        return [line for line in self.lines if "Traceback" in line or "KeyboardInterrupt" in line]

    def left_behind(self) -> bool:
        """Whether any process of its session is alive."""
        try:
            os.killpg(self.child.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def shared_memory(self) -> set[Path]:
        """Files of Fast DDS in /dev/shm that it made: it also opens those of others, and ports are common."""
        lines = Path(f"/proc/{self.child.pid}/maps").read_text().splitlines()
        paths = {Path(line.split()[-1]) for line in lines if "/dev/shm/fast" in line}
        return {path for path in paths if "_port" not in path.name and path.stat().st_mtime >= self.began_s}

    def _end_by(self, number: int) -> float:
        """Seconds from a signal to the end, without those in which the machine gave the process no CPU."""
        before, starved_s = self._queued_s(), 0.0
        began = time.monotonic()
        self.child.send_signal(number)
        while self.child.poll() is None:
            assert time.monotonic() < began + START_WITHIN_S, "the process does not end"
            starved_s = max([starved_s, *(queued - before.get(task, 0.0) for task, queued in self._queued_s().items())])
            time.sleep(0.01)
        return time.monotonic() - began - starved_s

    def _queued_s(self) -> dict[str, float]:
        """How long each thread has been ready to run and did not, as Linux counts it."""
        found = {}
        for path in Path(f"/proc/{self.child.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # that thread has just ended
                found[path.parent.name] = int(path.read_text().split()[1]) / 1e9
        return found

    def _wait(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + START_WITHIN_S
        while not condition():
            if time.monotonic() > deadline or self.child.poll() is not None:
                return condition() if self.child.poll() is None else False
            time.sleep(0.01)
        return True


def camera_remaps(cameras: Iterable[str]) -> list[str]:
    """Words that connect the inputs of these cameras to the topics that bags have, with compressed images."""
    return [word for name in cameras for word in (
        "-r", f"{topics.image(name, 'compressed')}:=/camera/{name}/image/compressed",
        "-r", f"{topics.camera_info(name)}:=/camera/{name}/camera_info")]


@contextmanager
def process(behaviour: str = "quick", arguments: Iterable[str] = ()) -> Iterator[Process]:
    """The process, killed at the end if it is still there."""
    running = Process(behaviour, list(arguments))
    try:
        yield running
    finally:
        if running.child.poll() is None:
            running.child.kill()
            running.child.wait()
