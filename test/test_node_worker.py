"""The worker thread and the stride, without ROS."""

import threading
import time

import pytest

from sparse4d_ros.node.rate import Stride
from sparse4d_ros.node.worker import Worker


class Gate:
    """A job that reports when it has begun and ends when told to."""

    def __init__(self):
        self.begun, self.go, self.done = threading.Semaphore(0), threading.Semaphore(0), []

    def __call__(self, item):
        self.begun.release()
        assert self.go.acquire(timeout=10)
        self.done.append(item)


def wait_for_first(worker):
    while worker.finished < 1:
        time.sleep(0.001)


@pytest.mark.fault(48)
def test_newest_only_and_every_drop_counted():
    gate = Gate()
    worker = Worker(gate, on_error=lambda error: None)
    worker.put(0)
    assert gate.begun.acquire(timeout=10)
    for item in range(1, 11):  # ten arrive during the first job: the stall of a slow network
        worker.put(item)
    gate.go.release(2)
    assert gate.begun.acquire(timeout=10)
    assert worker.stop(10)
    assert gate.done == [0, 10]
    assert worker.replaced == 9 and worker.finished == 2


@pytest.mark.fault(47)
def test_what_waits_for_the_end_of_a_job_that_hangs_is_done_in_its_thread():
    gate, done = Gate(), []
    worker = Worker(gate, on_error=lambda error: None)
    worker.put(0)
    assert gate.begun.acquire(timeout=10) and not worker.stop(0.01)
    worker.at_end(lambda: done.append(threading.current_thread().name))
    assert not done
    gate.go.release()
    assert worker.stop(10)
    worker.at_end(lambda: done.append("at once"))
    assert done == ["sparse4d_worker", "at once"]


@pytest.mark.fault(46)
def test_an_exception_costs_one_job():
    errors, done = [], threading.Event()

    def job(item):
        if item == "bad":
            raise ValueError("broken")
        done.set()

    worker = Worker(job, errors.append)
    worker.put("bad")
    wait_for_first(worker)
    worker.put("good")
    assert done.wait(10) and worker.stop(10)
    assert [str(error) for error in errors] == ["broken"]


def test_an_exception_in_the_error_handler_does_not_end_the_thread(capsys):
    done = threading.Event()

    def job(item):
        if item == 1:
            raise ValueError("first")
        done.set()

    def on_error(error):
        raise RuntimeError("second")

    worker = Worker(job, on_error)
    worker.put(1)
    wait_for_first(worker)
    worker.put(2)
    assert done.wait(10) and worker.stop(10)
    assert "second" in capsys.readouterr().err


@pytest.mark.fault(47)
def test_watchdog_and_stop_of_a_hanging_job():
    now = [0.0]
    gate = Gate()
    worker = Worker(gate, on_error=lambda error: None, clock=lambda: now[0])
    assert worker.busy_s() == 0.0
    worker.put(1)
    assert gate.begun.acquire(timeout=10)
    now[0] = 7.5
    assert worker.busy_s() == 7.5
    assert worker.stop(0.05) is False  # hangs: stop says so and returns
    worker.put(2)
    gate.go.release()
    assert worker.stop(10) is True
    assert gate.done == [1] and worker.busy_s() == 0.0


def test_clear_forgets_what_waits():
    gate = Gate()
    worker = Worker(gate, on_error=lambda error: None)
    worker.put(1)
    assert gate.begun.acquire(timeout=10)
    worker.put(2)
    worker.clear()
    gate.go.release()
    assert worker.stop(10)
    assert gate.done == [1] and worker.replaced == 1


@pytest.mark.fault(55)
def test_no_thread_is_left_behind():
    before = threading.active_count()
    for _ in range(20):
        assert Worker(lambda item: None, lambda error: None).stop(10)
    assert threading.active_count() == before


@pytest.mark.parametrize(("rate_hz", "expected"), [(2, 1), (4, 2), (10, 5), (12, 6), (30, 15), (1, 1)])
def test_stride_comes_near_half_a_second(rate_hz, expected):
    stride = Stride(0.5)
    taken = [i for i in range(20 * rate_hz) if stride.take(1_000_000_000 + i * 1_000_000_000 // rate_hz)]
    assert {b - a for a, b in zip(taken[1:], taken[2:], strict=False)} == {expected}


def test_stride_starts_over_when_time_goes_back():
    stride = Stride(0.5)
    assert stride.take(10_000_000_000)
    assert not stride.take(10_100_000_000)
    assert stride.take(1_000_000_000)
    assert not stride.take(1_100_000_000)
