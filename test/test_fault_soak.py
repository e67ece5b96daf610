"""Frames without end, with every fault at random: memory and latency stay flat and every image is accounted for.

From the images to the messages, in one thread and in simulated time; only the network and the topics
are left out, so that a hundred thousand frames take minutes.
"""

import needs_ros  # noqa: F401

# isort: split
import gc
import os
import random
import time
from collections import Counter
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import vehicle_from_camera
from scipy.spatial.transform import Rotation
from transform_cases import messages as tf_message
from transform_cases import stamped

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.engine import NumericalError
from sparse4d_ros.node import messages, outputs
from sparse4d_ros.node.cameras import Camera, CameraError
from sparse4d_ros.node.ego_motion import EgoMotion
from sparse4d_ros.node.messages import FrameReport
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.pipeline import Pipeline, Statistics
from sparse4d_ros.node.synchronizer import Synchronizer
from sparse4d_ros.node.tf_source import BufferTransformSource

pytestmark = pytest.mark.ros
MS = 1_000_000
SECOND = 1000 * MS
WIDTH, HEIGHT = 16, 12


class Forgetful(list):
    """Remembers nothing, so that only the node's own memory can grow."""

    def append(self, item):
        pass


class Log:
    """Takes the sentences and drops them."""

    def info(self, text):
        pass

    def warning(self, key, text):
        pass

    error = warning


class Drive:
    """A vehicle in which everything goes wrong now and then; ``trigger`` is one moment of all cameras."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.stamp_ns, self.now_ns = 1_000 * SECOND, SECOND
        self.given, self.last_ns = dict.fromkeys(NAMES, 0), {}
        self.faults = Counter()
        self.published = self.highest_id = 0
        self.epoch, self.known_ids = -1, set()
        self.without_tf = 0
        self.cpu_ms = []
        settings = settings_from({"min_cameras": 4})
        self.cameras = {name: Camera(name) for name in NAMES}
        self.source = BufferTransformSource()
        for name in NAMES:
            pose = vehicle_from_camera(name)
            self.source.take(tf_message(stamped("base_link", f"{name}_optical", 0, pose[:3, 3],
                                                Rotation.from_matrix(pose[:3, :3]).as_quat())), static=True)
            self.cameras[name].on_camera_info(self._info(name))
        engine = FakeEngine(before_step=self._network)
        engine.frames = Forgetful()
        self.synchronizer = Synchronizer(NAMES, "front", min_cameras=4)
        self.statistics = Statistics()
        self.pipeline = Pipeline(settings, self.cameras, EgoMotion(self.source, tf_timeout_ms=0.0), engine,
                                 engine.initial_state(), self._publish, Log(), self.statistics, self._exhausted)
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[7:9, 7:9] = 255
        self._data = pixels.tobytes()

    def trigger(self):
        self._jump()
        self._transforms()
        if self._happens(0.001, "camera_info"):
            self._wrong_camera_info(self.random.choice(NAMES))
        if self._happens(0.002, "reset"):
            self.pipeline.request_reset("service")
        began = time.process_time()
        late = []
        for name in self.random.sample(NAMES, len(NAMES)):
            late += self._image(name)
        for wait_ms in (10, 70):
            self._take(self.synchronizer.poll(self.now_ns + wait_ms * MS))
        for name in late:
            self._add(name, self.stamp_ns, self._message(name), after_ms=80)
        self.cpu_ms.append((time.process_time() - began) * 1e3)
        self.stamp_ns += 100 * MS
        self.now_ns += 100 * MS

    # -- what goes wrong ------------------------------------------------------------------------

    def _happens(self, probability, fault):
        happens = self.random.random() < probability
        self.faults[fault] += happens
        return happens

    def _jump(self):
        if self._happens(0.0005, "bag_loop"):
            self.stamp_ns = max(self.stamp_ns - 20 * SECOND, SECOND)
        elif self._happens(0.0005, "seek"):
            self.stamp_ns += 30 * SECOND
        elif self._happens(0.003, "step_back"):
            self.stamp_ns -= 110 * MS

    def _transforms(self):
        if self.without_tf == 0 and self._happens(0.002, "tf_stops"):
            self.without_tf = self.random.randint(1, 4)
        if self.without_tf:
            self.without_tf -= 1
            return
        poses = [stamped("odom", "base_link", time_ns, (10.0 * time_ns / SECOND, 0.0, 0.0))
                 for time_ns in range(self.stamp_ns - 40 * MS, self.stamp_ns + 100 * MS, 20 * MS)]
        if self._happens(0.01, "nan_tf"):
            poses.append(stamped("odom", "base_link", self.stamp_ns, (float("nan"), 0.0, 0.0)))
        self.source.take(tf_message(*poses))

    def _wrong_camera_info(self, name):
        with pytest.raises(CameraError):
            self.cameras[name].on_camera_info(self._info(name, k=[0.0] * 9))
        self._add(name, self.stamp_ns - 5 * MS, self._message(name))
        self.cameras[name].on_camera_info(self._info(name))

    def _image(self, name):
        """Give the camera's image, or what became of it; its name in a list if it comes late."""
        if self._happens(0.02, "dropped"):
            return []
        if self._happens(0.01, "late"):
            return [name]
        if self._happens(0.005, "stamp_zero"):
            self._add(name, 0, None)
        if self._happens(0.005, "out_of_order"):
            self._add(name, self.stamp_ns - 150 * MS, self._message(name))
        step = 1 if self._happens(0.01, "broken") else 3 * WIDTH
        for _ in range(2 if self._happens(0.01, "duplicate") else 1):
            self._add(name, self.stamp_ns, self._message(name, step))
        return []

    def _network(self, number, frame):
        if self._happens(0.003, "nan"):
            raise NumericalError("the network gave NaN")
        if self._happens(0.005, "raises"):
            raise RuntimeError("out of memory")

    def _exhausted(self):
        raise AssertionError("ten failures in a row, of which one in a hundred is meant to fail")

    # -- the way of a frame -----------------------------------------------------------------------

    def _add(self, name, stamp_ns, message, after_ms=0):
        self.given[name] += 1
        if 0 < stamp_ns < self.last_ns.get(name, 0) - SECOND // 2:  # as the inputs do
            self.source.go_back((stamp_ns + self.last_ns[name]) // 2)
        self.last_ns[name] = stamp_ns
        self._take(self.synchronizer.add(name, stamp_ns, message, self.now_ns + after_ms * MS))

    def _take(self, frame_set):
        if frame_set is not None:
            self.pipeline.process(frame_set)

    def _publish(self, result):
        found = result.detections
        message = messages.tracked_objects(found, NUSCENES_CLASSES, "base_link", FrameReport(
            self.published, outputs.flags(result, (0.02, 1.5)), outputs.camera_reports(result), {"total": 1.0}))
        assert len(messages.detection_array(message).detections) == len(message.objects)
        if message.bank_epoch != self.epoch:
            assert message.bank_epoch > self.epoch
            self.epoch, self.known_ids = message.bank_epoch, set()
        for item in message.objects:
            assert 0 < item.track_id < 2 ** 64
            assert item.track_id in self.known_ids or item.track_id > self.highest_id  # no id twice
        self.known_ids |= {item.track_id for item in message.objects}
        self.highest_id = max([self.highest_id, *self.known_ids])
        self.published += 1
        return 1.0, 1.0

    def _message(self, name, step=3 * WIDTH):
        return SimpleNamespace(header=SimpleNamespace(frame_id=f"{name}_optical"), width=WIDTH, height=HEIGHT,
                               encoding="bgr8", is_bigendian=0, step=step, data=self._data)

    def _info(self, name, k=(10.0, 0.0, 8.0, 0.0, 10.0, 6.0, 0.0, 0.0, 1.0)):
        whole = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
        return SimpleNamespace(header=SimpleNamespace(frame_id=f"{name}_optical"), width=WIDTH, height=HEIGHT,
                               distortion_model="plumb_bob", d=[0.0] * 5, k=k, binning_x=0, binning_y=0, roi=whole)


def resident_mib():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20


@pytest.mark.fault(60)
def test_fifteen_hundred_frames_leave_nothing_behind():
    run(1500)


@pytest.mark.fault(60)
@pytest.mark.slow
def test_a_hundred_thousand_frames_leave_nothing_behind():
    run(100_000)


def run(count):
    drive = Drive(seed=60)
    for _ in range(count // 5):
        drive.trigger()
    before = resident_mib()
    per_frame = []
    for _ in range(4):
        drive.cpu_ms.clear()
        for _ in range(count // 5):
            drive.trigger()
        per_frame.append(median(drive.cpu_ms))
    drive.pipeline.close()
    assert resident_mib() < before * 1.01 + 1.0
    assert max(per_frame) < 1.5 * min(per_frame), f"the time for a frame drifts: {per_frame} ms"

    assert drive.faults.total() > count / 10 and min(drive.faults.values()) >= (1 if count > 10_000 else 0)
    for name, counters in drive.synchronizer.counters.items():
        assert counters.received == drive.given[name] == counters.accounted()
    for reason in ("used", "late", "duplicate", "out_of_order", "rejected"):
        assert sum(getattr(counters, reason) for counters in drive.synchronizer.counters.values()) > 0, reason
    drops = drive.statistics.drops
    assert drive.synchronizer.sets_closed == drive.published + drops.total()
    assert set(drops) <= {"camera_rejected", "ego_motion", "frame_rejected", "numerical_error", "inference_error"}
    assert min(drops["camera_rejected"] + drops["ego_motion"], drops["inference_error"]) > 0
    assert drive.published > 0.8 * count and drive.source.rejected == drive.faults["nan_tf"] > 0
