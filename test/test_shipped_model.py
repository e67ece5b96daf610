"""The model that comes along, on the drive that comes along."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sparse4d_ros.boxes import VZ
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.agreement import compare, differences
from sparse4d_ros.errors import UserError
from sparse4d_ros.resources import share_path

FOLDER = share_path("models", "sparse4d_small")
OPTIONS = EngineOptions(score_threshold=0.05)


@pytest.fixture(scope="module")
def frames():
    return list(itertools.islice(BagDrive(FOLDER / "demo_drive"), 50))


def run(engine: Engine, frames) -> list:
    state, results = engine.initial_state(), []
    for item in frames:
        detections, state = engine.step(item.frame, state)
        results.append(detections)
    return results


@pytest.fixture(scope="module")
def onnx_results(frames):
    return run(Engine(ModelPackage.load(FOLDER), "onnxruntime", options=OPTIONS), frames)


def test_the_package_is_whole():
    package = ModelPackage.load(FOLDER)
    for kind in ("weights", "onnx"):
        assert package.path(kind).is_file()
    assert (FOLDER / "README.md").is_file()


def test_it_sees(frames, onnx_results):
    """Of the vehicles near the camera more than half are found within 2 m: a network of noise finds none."""
    found = total = 0
    for item, detections in zip(frames[5:], onnx_results[5:], strict=True):
        near = np.hypot(*item.objects.boxes[:, :2].T) < 15
        near &= np.array([name in ("car", "truck", "bus") for name in item.objects.names])
        near &= item.objects.visibility > 0.6
        for box in item.objects.boxes[near]:
            total += 1
            distance = np.hypot(*(detections.boxes[detections.scores > 0.2][:, :2] - box[:2]).T)
            found += bool(distance.min(initial=np.inf) < 2.0)
    assert total > 20
    assert found > 0.5 * total, f"{found} of {total}"


def test_it_tracks(frames, onnx_results):
    """An object that is found in two frames in a row keeps its number, and many keep it for two seconds."""
    kept = changed = 0
    last, lives = {}, Counter()
    for item, detections in zip(frames, onnx_results, strict=True):
        now = {}
        seen = detections.scores > 0.2
        for box, instance in zip(item.objects.boxes, item.objects.instance_ids, strict=True):
            distance = np.hypot(*(detections.boxes[seen][:, :2] - box[:2]).T)
            if distance.min(initial=np.inf) < 1.5:
                now[int(instance)] = int(detections.track_ids[seen][distance.argmin()])
        kept += sum(last.get(instance) == track for instance, track in now.items())
        changed += sum(instance in last and last[instance] != track for instance, track in now.items())
        lives.update(now.items())
        last = now
    assert kept > 300 and kept > 9 * changed, f"{kept} kept, {changed} changed"
    assert sum(frames_lived >= 10 for frames_lived in lives.values()) >= 10


def test_both_backends_agree_on_every_row_over_fifty_frames(frames):
    """Each frame from the same bank: no rounding of an earlier frame can hide or excuse a difference."""
    pytest.importorskip("torch", reason="the torch backend needs torch")
    package, options = ModelPackage.load(FOLDER), replace(OPTIONS, nms_iou=1.0)
    first, second = (Engine(package, name, options=options) for name in ("onnxruntime", "torch"))
    for _, found in compare(first, {"torch": second}, (item.frame for item in frames)):
        # Just at the threshold a row may be given out on one side only.
        assert found["torch"].differences(OPTIONS.score_threshold + 1e-3).max() < 1e-3


def test_both_backends_stay_together_over_fifty_frames(frames):
    """Each goes on from its own bank, so an error that grew from frame to frame would show.

    Which of two nearly equal, unlikely instances joins the bank is a matter of rounding. Objects beside them are moved
    by that, in later frames by up to centimetres; so from a frame with such a pair both go on from one bank. Below a
    score of 0.2 a box may exist on one side only.
    """
    pytest.importorskip("torch", reason="the torch backend needs torch")
    first, second = (Engine(ModelPackage.load(FOLDER), name, options=OPTIONS) for name in ("onnxruntime", "torch"))
    one, other = first.initial_state(), second.initial_state()
    found, pairs = [], 0
    for item in frames:
        expected, one = first.step(item.frame, one)
        seen, other = second.step(item.frame, other)
        found.append(differences(expected, seen, 0.2))
        if found[-1][:, :VZ].max() > 1e-4:  # a hundred times the rounding of a frame
            pairs += 1
            other = second.take_over(one, first)
    supervised = np.concatenate(found)[:, :VZ].max(axis=1)
    assert len(supervised) > 500 and pairs <= 1
    assert np.median(supervised) < 2e-5 and supervised.max() < 1e-3, \
        f"median {np.median(supervised):.1e}, largest {supervised.max():.1e}"
    assert np.concatenate(found).max() < 0.05


@pytest.mark.fault(41)
def test_a_truncated_graph_is_refused(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("demo_drive"))
    graph = copy / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    with pytest.raises(UserError, match="SHA-256"):
        Engine(ModelPackage.load(copy), "onnxruntime")
