"""`make benchmark`: what it runs the node on, and what it makes of the node's results."""

from __future__ import annotations

import needs_ros  # noqa: F401

# isort: split
import bag_cases
import numpy as np
import pytest

from sparse4d_ros.data.image_topics import CAMERA_ORDER
from sparse4d_ros.evaluation.records import Drive, FrameResult
from sparse4d_ros.node import benchmark
from sparse4d_ros.node.demo_report import Recording

pytestmark = pytest.mark.ros

TIMING_MS = {"total": 20.0, "decode": 4.0, "preprocess": 1.0, "inference": 12.0}


def test_the_node_is_timed_at_two_speeds_on_a_bag_with_topics_of_its_own(tmp_path, monkeypatch, capsys):
    bag = bag_cases.rewrite(bag_cases.write(tmp_path / "usual", 6, fixed_frame="map"), tmp_path / "bag",
                            rename=lambda topic: topic.replace("/camera/", "/sensors/cam_"))
    plans = []

    def record(plan):
        plans.append(plan)
        results = [FrameResult(truth.stamp_ns, np.zeros((0, 10)), (), *np.zeros((3, 0)), TIMING_MS)
                   for truth in plan.truths[::1 if plan.rate == 1.0 else 2]]
        return Recording(Drive("bag", plan.truths, tuple(results)), plan.rate, 0, 0, {}, [], 6)

    monkeypatch.setattr(benchmark, "record", record)
    monkeypatch.setattr(benchmark, "prepare_environment", lambda environment: environment)  # other tests' domain stays
    monkeypatch.setattr(benchmark.offline, "offline_rows", lambda package, drive, count: [])
    words = ["--bag", str(bag), "--images", "/sensors/cam_{name}/image/compressed"]
    assert benchmark.main(words) == 0
    out = capsys.readouterr().out
    assert "node, set complete to published" in out and "node at 36 Hz of six JPEG cameras: 18.0 frames a second" in out
    assert [(plan.rate, plan.fixed_frame) for plan in plans] == [(1.0, "map"), (6.0, "map")]
    assert plans[0].image_topics == {name: f"/sensors/cam_{name}/image/compressed" for name in CAMERA_ORDER}
    assert benchmark.main(words[:2]) == 1
    assert "its images are on /sensors/cam_back/image/compressed" in capsys.readouterr().err
