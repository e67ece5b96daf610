"""The engine as a function with explicit state, on a small untrained network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import NAMES, package_of, rig_frame, write_package

pytest.importorskip("torch", reason="the tiny network is made with torch")

from sparse4d_ros.engine import Engine, EngineOptions, FrameRejected, NumericalError  # noqa: E402
from sparse4d_ros.engine.backend import NetworkOutput  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402

ALL = EngineOptions(score_threshold=0.0)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("package") / "tiny")


@pytest.fixture(scope="module")
def engine(package):
    return Engine(package, "torch", options=ALL)


def drive(engine, stamps, state=None):
    """Detections of frames at the stamps, and the last state."""
    state = engine.initial_state() if state is None else state
    results = []
    for index, stamp in enumerate(stamps):
        detections, state = engine.step(rig_frame(engine.package, stamp, x=stamp, seed=index), state)
        results.append(detections)
    return results, state


def test_the_state_is_explicit_and_never_changed(engine):
    _, state = drive(engine, [1.0, 1.2])
    frame = rig_frame(engine.package, 1.4, seed=9)
    first, after = engine.step(frame, state)
    second, _ = engine.step(frame, state)
    assert (first.boxes == second.boxes).all() and (first.track_ids == second.track_ids).all()
    assert after.stamp_ns == 1_400_000_000 and state.stamp_ns == 1_200_000_000


def test_history_changes_the_answer(engine):
    (_, with_history), _ = drive(engine, [1.0, 1.2])
    alone, _ = engine.step(rig_frame(engine.package, 1.2, x=1.2, seed=1), engine.initial_state())
    assert with_history.time_interval_s == pytest.approx(0.2) and alone.time_interval_s == 0.0
    assert np.abs(with_history.scores - alone.scores).max() > 1e-4
    assert with_history.velocity_valid.any() and not alone.velocity_valid.any()


def test_ids_follow_instances_and_are_never_given_twice(engine):
    results, state = drive(engine, [1.0, 1.2, 1.4])
    for detections in results:
        assert len(set(detections.track_ids)) == len(detections) and (detections.track_ids > 0).all()
    common = set(results[0].track_ids) & set(results[1].track_ids)
    assert len(common) == engine.package.model.num_temporal
    row = list(results[2].track_ids).index(next(iter(common & set(results[2].track_ids))))
    assert results[2].hits[row] == 3 and results[2].age_s[row] == pytest.approx(0.4)
    before = set().union(*(set(d.track_ids) for d in results))
    again, state = drive(engine, [1.6, 1.8], engine.reset(state))
    assert again[0].epoch == 1 and again[0].time_interval_s == 0.0
    assert not before & set(np.concatenate([d.track_ids for d in again]))


@pytest.mark.fault(34)
@pytest.mark.parametrize("stamp", [1.2, 1.19, 0.0])
def test_time_that_does_not_advance_never_reaches_the_bank(engine, stamp):
    _, state = drive(engine, [1.0, 1.2])
    with pytest.raises(FrameRejected, match="not later"):
        engine.step(rig_frame(engine.package, stamp), state)
    after, _ = engine.step(rig_frame(engine.package, 1.4, x=1.4, seed=5), state)
    assert after.time_interval_s == pytest.approx(0.2)


@pytest.mark.fault(37, 40)
def test_a_gap_of_exactly_the_limit_is_history_and_a_longer_one_is_not(engine):
    _, state = drive(engine, [1.0])
    at_limit, _ = engine.step(rig_frame(engine.package, 3.0), state)
    beyond, _ = engine.step(rig_frame(engine.package, 3.001), state)
    assert at_limit.epoch == 0 and at_limit.time_interval_s == pytest.approx(2.0)
    assert beyond.epoch == 1 and beyond.time_interval_s == 0.0


@pytest.mark.fault(40)
def test_an_option_does_not_stretch_the_models_own_limit(package):
    engine = Engine(package, "torch", options=replace(ALL, max_interval_s=10.0))
    (before,), state = drive(engine, [1.0])
    after, _ = engine.step(rig_frame(package, 4.0), state)  # the network takes 3 s for no history
    assert after.epoch == 1 and not set(before.track_ids) & set(after.track_ids)


@pytest.mark.fault(45)
@pytest.mark.filterwarnings("error")
def test_a_box_whose_size_overflows_is_not_given_out(package, monkeypatch):
    engine = Engine(package, "torch", options=ALL)
    run = engine._backend.run

    def swollen(*arguments):
        output, bank = run(*arguments)
        output.anchors[3, 4] = 100.0  # finite, as the logarithm of a size
        return output, bank

    monkeypatch.setattr(engine._backend, "run", swollen)
    with pytest.raises(NumericalError, match="boxes that are not finite"):
        engine.step(rig_frame(package, 1.0), engine.initial_state())


@pytest.mark.fault(45)
def test_numbers_that_are_not_finite_are_not_given_out(package, monkeypatch):
    engine = Engine(package, "torch", options=ALL)
    _, state = drive(engine, [1.0])
    run = engine._backend.run

    def poisoned(*arguments):
        output, bank = run(*arguments)
        output.anchors[3, 0] = np.nan
        return output, bank

    monkeypatch.setattr(engine._backend, "run", poisoned)
    with pytest.raises(NumericalError, match="not finite"):
        engine.step(rig_frame(package, 1.2), state)
    monkeypatch.undo()
    assert len(engine.step(rig_frame(package, 1.2), engine.reset(state))[0])


def test_malformed_frames_are_rejected_by_name(engine):
    frame = rig_frame(engine.package, 1.0)
    state = engine.initial_state()
    bad_pose = frame.fixed_from_vehicle.copy()
    bad_pose[0, 3] = np.nan
    bad = frame.cameras[2]
    cases = [
        (replace(frame, cameras=frame.cameras[::-1]), "cameras are"),
        (replace(frame, fixed_from_vehicle=bad_pose), "ego pose"),
        (replace(frame, cameras=(*frame.cameras[:2], replace(bad, intrinsic=np.zeros((3, 3))), *frame.cameras[3:])),
         "intrinsic matrix of camera front_left"),
        (replace(frame, cameras=(*frame.cameras[:2], replace(bad, camera_from_vehicle=np.ones((4, 4))),
                                 *frame.cameras[3:])), "extrinsic of camera front_left"),
        (replace(frame, cameras=tuple(replace(c, image=None) for c in frame.cameras)), "no picture"),
        (replace(frame, cameras=(*frame.cameras[:2], replace(bad, image=bad.image[..., 0]), *frame.cameras[3:])),
         "camera front_left"),
    ]
    for broken, text in cases:
        with pytest.raises(FrameRejected, match=text):
            engine.step(broken, state)


def test_a_missing_camera_is_masked_not_seen_as_black(engine):
    frame = rig_frame(engine.package, 1.0)
    state = engine.initial_state()
    cameras = list(frame.cameras)
    cameras[3] = replace(cameras[3], image=None)
    masked, _ = engine.step(replace(frame, cameras=tuple(cameras)), state)
    cameras[3] = replace(cameras[3], image=np.zeros_like(frame.cameras[3].image))
    black, _ = engine.step(replace(frame, cameras=tuple(cameras)), state)
    assert np.isfinite(masked.boxes).all()
    assert np.abs(np.sort(masked.scores) - np.sort(black.scores)).max() > 1e-5
    assert not (masked.camera_mask & (1 << NAMES.index("back"))).any()
    # What the missing camera would have shown makes no difference.
    other = rig_frame(engine.package, 1.0, seed=0)
    again, _ = engine.step(replace(other, cameras=tuple(
        replace(c, image=None) if c.name == "back" else c for c in other.cameras)), state)
    assert (again.boxes == masked.boxes).all()


def test_depth_and_camera_mask_agree_with_geometry(engine):
    detections, _ = engine.step(rig_frame(engine.package, 1.0), engine.initial_state())
    frame = rig_frame(engine.package, 1.0)
    for row, box in enumerate(detections.boxes):
        seen = {}
        for index, camera in enumerate(frame.cameras):
            point = camera.camera_from_vehicle @ [*box[:3], 1.0]
            pixel = camera.intrinsic @ point[:3] / point[2]
            # The network's picture keeps the bottom 128 of 352 pixels: here the whole height.
            if point[2] > 0 and 0 <= pixel[0] < 352 and 0 <= pixel[1] < 128:
                seen[index] = (abs(pixel[0] / 352 - 0.5), point[2])
        assert detections.camera_mask[row] == sum(1 << index for index in seen)
        if seen:
            assert detections.depth[row] == pytest.approx(min(seen.values())[1], abs=1e-6)
        else:
            assert np.isnan(detections.depth[row])


def test_scores_and_thresholds(package):
    state_of = {}
    for mode in ("class_centerness", "class_sqrt_quality"):
        engine = Engine(package, "torch", options=EngineOptions(score_threshold=0.0, score_mode=mode))
        detections, _ = engine.step(rig_frame(package, 1.0), engine.initial_state())
        factor = detections.centerness
        if mode == "class_sqrt_quality":
            factor = np.sqrt(detections.centerness * detections.yawness)
        assert detections.scores == pytest.approx(detections.class_scores * factor, rel=1e-5)
        assert (np.diff(detections.scores) <= 0).all()
        state_of[mode] = detections
    threshold = float(np.median(state_of["class_centerness"].scores))
    engine = Engine(package, "torch", options=EngineOptions(score_threshold=threshold))
    kept, _ = engine.step(rig_frame(package, 1.0), engine.initial_state())
    assert 0 < len(kept) < len(state_of["class_centerness"]) and (kept.scores >= threshold).all()
    name = package.classes[int(kept.class_ids[0])]
    engine = Engine(package, "torch", options=EngineOptions(
        score_threshold=threshold, class_score_thresholds={name: 1.0}))
    without, _ = engine.step(rig_frame(package, 1.0), engine.initial_state())
    assert int(kept.class_ids[0]) not in without.class_ids
    few = Engine(package, "torch", options=EngineOptions(score_threshold=0.0, max_objects=4, max_range_m=25.0))
    detections, _ = few.step(rig_frame(package, 1.0), few.initial_state())
    assert len(detections) <= 4 and np.hypot(*detections.boxes[:, :2].T).max(initial=0) <= 25.0


@pytest.mark.parametrize("of_package, option, given_out", [
    (None, None, 2), (0.1, None, 1), (0.1, 1.0, 2), (None, 0.1, 1),
])
def test_duplicates_go_as_the_package_says_unless_told_otherwise(package, of_package, option, given_out):
    anchors, classes = np.zeros((2, 11)), np.full((2, 10), -10.0)
    anchors[:, 7], anchors[1, 0], classes[:, 0] = 1.0, 0.2, (2.0, 1.0)
    output = NetworkOutput(anchors, classes, np.full((2, 2), 3.0), np.arange(0))
    engine = Engine(replace(package, nms_iou=of_package), "torch",
                    options=EngineOptions(score_threshold=0.3, nms_iou=option))
    decoded, _ = engine._select(output)
    assert decoded.rows.tolist() == [0, 1][:given_out]


def test_the_bank_forgets_when_asked(package):
    def lives(options):
        engine = Engine(package, "torch", options=options)
        results, _ = drive(engine, [1.0, 1.2, 1.4, 1.6])
        return set(results[0].track_ids) & set(results[-1].track_ids)

    assert lives(ALL)
    assert not lives(EngineOptions(score_threshold=0.0, bank_min_confidence=1.0))
    engine = Engine(package, "torch", options=EngineOptions(score_threshold=1.0, bank_max_unseen=2))
    _, state = drive(engine, [1.0, 1.2, 1.4, 1.6])
    assert state.tracks.frames.max() <= 3, "an instance unseen for more than two frames must lose its past"


def test_dense_depth_is_given_in_range(package):
    engine = Engine(package, "torch", options=EngineOptions(dense_depth=True))
    detections, _ = engine.step(rig_frame(package, 1.0), engine.initial_state())
    assert detections.dense_depth.shape == (6, 16, 44)
    assert detections.dense_depth.min() >= 1.0 and detections.dense_depth.max() <= 60.0


@pytest.mark.fault(41, 50)
def test_what_cannot_be_is_refused_with_a_sentence(package, tmp_path):
    with pytest.raises(UserError, match="no onnx file"):
        Engine(package, "onnxruntime")
    with pytest.raises(UserError, match="model.backend must be one of"):
        Engine(package, "openvino")
    with pytest.raises(UserError, match="no such class"):
        Engine(package, "torch", options=EngineOptions(class_score_thresholds={"tram": 0.5}))
    with pytest.raises(UserError, match="between 0 and 1"):
        EngineOptions(score_threshold=1.5)
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device"):
            Engine(package, "torch", device="cuda")
    (package.folder / "weights.safetensors").rename(tmp_path / "away")
    try:
        with pytest.raises(UserError, match="weights.safetensors"):
            Engine(package, "torch")
    finally:
        (tmp_path / "away").rename(package.folder / "weights.safetensors")


def test_unknown_sizes_are_named():
    with pytest.raises(UserError, match="num_temporal"):
        replace(package_of().model, num_temporal=1000)
