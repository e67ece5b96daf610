"""Child processes of the demo: one environment for all, output to a file, and an end in every case."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sparse4d_ros.errors import UserError
from sparse4d_ros.resources import share_path
from sparse4d_ros.writing import blaming

#: How long a child may take to leave after SIGINT before it is killed.
LEAVE_WITHIN_S = 8.0
# Domains above 101 can meet the ports that Linux hands out to anybody.
_DOMAINS = range(2, 101)
#: How many participants' ports are looked at: those of a domain that is in use may have left in any order.
_PARTICIPANTS = 8


def prepare_environment(environment: dict[str, str]) -> dict[str, str]:
    """Variables for this process and its children: a ROS domain of their own, and images that arrive.

    The domain keeps the replay's clock and transforms away from a vehicle in the same network, and
    other nodes away from the measurement. Without the Fast DDS profile, images at best effort do
    not fit the transport (config/fastdds_profile.xml says why).
    """
    profile = str(share_path("config", "fastdds_profile.xml"))
    return {
        **environment,
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # Fast DDS 2
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,  # Fast DDS 3
        "PYTHONUNBUFFERED": "1",
    }


def free_domain() -> int:
    """A ROS domain in which nobody on this machine listens; ``UserError`` if all are taken.

    The first participants of a DDS domain listen on UDP ports that follow from its number (RTPS
    specification, 9.6.1.1), so a bound port tells that the domain is in use.
    """
    start = os.getpid() % len(_DOMAINS)
    for domain in (*_DOMAINS[start:], *_DOMAINS[:start]):
        if all(_is_free(7410 + 250 * domain + 2 * participant) for participant in range(_PARTICIPANTS)):
            return domain
    raise UserError(f"every ROS domain from {_DOMAINS[0]} to {_DOMAINS[-1]} is in use on this machine; "
                    "stop some ROS processes")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


class Child:
    """A process whose output goes to ``log``; use as a context manager, which ends it."""

    def __init__(self, name: str, words: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        self._words = [sys.executable, *words]

    def __enter__(self) -> Child:
        with blaming(self.log):
            sink = self.log.open("wb")
        with sink:
            # A session of its own: Ctrl-C in the terminal reaches the demo alone, which then ends its children.
            self._process = subprocess.Popen(self._words, stdin=subprocess.DEVNULL, stdout=sink,
                                             stderr=subprocess.STDOUT, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check_alive(self) -> None:
        """``UserError`` with the end of its output if it has left."""
        if self.exit_code is not None:
            raise self.error(f"the {self.name} ended with exit code {self.exit_code}")

    def error(self, text: str) -> UserError:
        """A ``UserError`` of this text, followed by the end of the child's output."""
        return UserError(f"{text}. The end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of its output."""
        kept = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    {line}" for line in kept) or "    (nothing was printed)"

    def stop(self) -> None:
        """Ask it to leave, and kill its whole session if it does not."""
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                deadline = time.monotonic() + LEAVE_WITHIN_S
                while self._process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
        finally:  # also when a signal ends the waiting
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # nothing of it is left
            self._process.wait()
