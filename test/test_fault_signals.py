"""SIGINT and SIGTERM at any moment of the node's process: exit code 0 in time, no traceback, nothing left behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest
from node_process import HERE, process

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def moments(count):
    """Signals and when they come, in start-up times: 0 is the first moment, from 1 on the node runs."""
    generator = random.Random(56)
    return [(generator.choice(SIGNALS), round(generator.uniform(0.0, 1.3), 3)) for _ in range(count)]


@pytest.fixture(scope="module")
def start_s():
    """How long the node takes here from its first moment until it runs."""
    with process() as node:
        assert node.hears_signals()
        began = time.monotonic()
        assert node.has_said("model fake")
        return time.monotonic() - began


@pytest.mark.fault(56)
def test_nothing_slow_is_imported_before_signals_are_heard():
    """The imports take seconds; a signal in them was a KeyboardInterrupt and its traceback."""
    code = ("import sys, sparse4d_ros.node.main; "
            "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))")
    run = subprocess.run([sys.executable, "-S", "-c", code], cwd=HERE.parent, capture_output=True, text=True,
                         timeout=300)
    assert run.stdout.split() == ["__main__", "sparse4d_ros"], run.stdout + run.stderr


def end_at(number, delay_s):
    with process() as node:
        assert node.hears_signals()
        time.sleep(delay_s)
        assert node.end(number) == 0, "".join(node.lines)
        assert node.tracebacks() == [] and not node.left_behind()


@pytest.mark.fault(56)
@pytest.mark.ros
@pytest.mark.parametrize(("number", "moment"), moments(6))
def test_a_signal_at_a_random_moment(start_s, number, moment):
    end_at(number, moment * start_s)


@pytest.mark.fault(56)
@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize(("number", "moment"), moments(200)[6:])
def test_a_signal_at_many_random_moments(start_s, number, moment):
    end_at(number, moment * start_s)


@pytest.mark.fault(56)
@pytest.mark.ros
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_first_moment_ends_the_process(number):
    end_at(number, 0.0)


@pytest.mark.fault(56)
@pytest.mark.ros
def test_an_impatient_user_presses_ctrl_c_again_and_again():
    """The second one comes while the node shuts down or the interpreter leaves."""
    with process() as node:
        assert node.has_said("model fake")
        node.child.send_signal(signal.SIGINT)
        until = time.monotonic() + 5.0
        while node.child.poll() is None and time.monotonic() < until:
            node.child.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert node.end() == 0, "".join(node.lines)
        assert node.tracebacks() == []
