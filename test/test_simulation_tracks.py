"""Recorded motion: the file format, the motion between samples, round trips, and what is rendered of it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering import renderer_of

from sparse4d_ros import boxes, cli, geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.drive_cache import DriveCache
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.catalogue import bodies
from sparse4d_ros.simulation.rig import default_rig
from sparse4d_ros.simulation.tracks import Motion
from sparse4d_ros.simulation.tracks_file import read_tracks, write_tracks
from sparse4d_ros.simulation.tracks_scene import TracksScene

SIZE = (352, 128)


def two_objects() -> dict:
    """The ego vehicle drives along x at 5 m/s; a car goes before it, a walker crosses and is there for 1.5 s only."""
    return {
        "format": "sparse4d_tracks", "version": 1,
        "ego": {"times": [10.0, 12.0], "positions": [[100.0, 50.0, 0.0], [110.0, 50.0, 0.0]], "yaws": [0.0, 0.0]},
        "objects": [
            {"id": 7, "class": "car", "size": [4.4, 1.8, 1.5], "times": [10.0, 11.0, 12.0],
             "positions": [[112.0, 50.5, 0.75], [115.0, 50.5, 0.75], [118.0, 50.5, 0.75]], "yaws": [0.0, 0.0, 0.0]},
            {"id": 4, "class": "pedestrian", "size": [0.7, 0.7, 1.8], "times": [10.0, 11.5],
             "positions": [[108.0, 47.0, 0.9], [108.0, 48.5, 0.9]], "yaws": [1.5, 1.6]},
        ],
    }


@pytest.fixture
def saved(tmp_path):
    """Writes content as a file and gives its path."""
    def save(content: dict, name: str = "drive.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path
    return save


@pytest.fixture(scope="module")
def renderer():
    yield from renderer_of(SIZE)


def test_positions_are_linear_and_yaw_turns_the_shorter_way():
    motion = Motion(np.array([0.0, 1.0, 3.0]), np.array([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [2.0, 4.0, 1.0]]),
                    np.array([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]))
    position, angles, _ = motion.at(0.25)
    np.testing.assert_allclose(position, [0.5, 0.0, 1.0])
    # From 3 to -3 the shorter way is 0.283 rad across pi.
    assert boxes.wrap_angle(angles[0]) == pytest.approx(3.0 + 0.25 * (2.0 * np.pi - 6.0))
    np.testing.assert_allclose(motion.at(2.0)[0], [2.0, 2.0, 1.0])
    assert motion.exists(0.0) and motion.exists(3.0) and not motion.exists(3.001) and not motion.exists(-0.001)


@settings(max_examples=25, deadline=None)
@given(velocity=st.tuples(*[st.floats(-30.0, 30.0)] * 3), acceleration=st.tuples(*[st.floats(-5.0, 5.0)] * 3),
       gaps=st.lists(st.floats(0.05, 2.0), min_size=3, max_size=6), share=st.floats(0.0, 1.0))
def test_velocity_follows_from_the_motion(velocity, acceleration, gaps, share):
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    velocity, acceleration = np.array(velocity), np.array(acceleration)
    positions = velocity * times[:, None] + 0.5 * acceleration * times[:, None] ** 2
    motion = Motion(times, positions, np.zeros((len(times), 3)))
    # Away from the two ends, where a difference has one side only, constant acceleration is met exactly.
    time_s = times[1] + share * (times[-2] - times[1])
    np.testing.assert_allclose(motion.at(time_s)[2], velocity + acceleration * time_s, atol=1e-6)


def test_measured_velocities_are_kept(saved):
    content = two_objects()
    content["objects"][1]["velocities"] = [[0.0, 1.0, 0.0], [0.0, 2.0, 0.5]]
    recording = read_tracks(saved(content))
    np.testing.assert_allclose(recording.objects[1].motion.at(10.75)[2], [0.0, 1.5, 0.25])


def test_a_file_reads_back_as_it_was_written(saved, tmp_path):
    recording = read_tracks(saved(two_objects()))
    write_tracks(tmp_path / "again.json", recording)
    assert json.loads((tmp_path / "again.json").read_text()) == two_objects()
    assert recording.duration_s == 2.0


def broken(change) -> dict:
    """The recording above with one thing wrong."""
    content = two_objects()
    change(content)
    return content


BROKEN = {
    "class": (lambda c: c["objects"][0].update({"class": "tank"}), r"object 7: class 'tank' is unknown"),
    "nan": (lambda c: c["objects"][1]["positions"][1].__setitem__(0, float("nan")), r"object 4: positions\[1\] .*nan"),
    "null": (lambda c: c["objects"][1]["yaws"].__setitem__(0, None), r"object 4: yaws\[0\] holds None"),
    "huge": (lambda c: c["ego"]["times"].__setitem__(1, 10**400), r"ego: times\[1\] holds 1000"),
    "text": (lambda c: c["objects"][0]["times"].__setitem__(0, "10.0"), r"object 7: times\[0\] holds '10.0'"),
    "size": (lambda c: c["objects"][0].update(size=[4.4, 0.0, 1.5]), r"object 7: size .* positive"),
    "short size": (lambda c: c["objects"][0].update(size=[4.4, 1.8]), r"object 7: size is not a list of 3"),
    "order": (lambda c: c["objects"][0].update(times=[10.0, 11.0, 11.0]), r"object 7: times\[2\] = 11.0 s is "),
    "one sample": (lambda c: c["ego"].update(times=[1.0], positions=[[0, 0, 0]], yaws=[0]), r"ego: times has 1 "),
    "empty ego": (lambda c: c.update(ego={}), "ego is empty"),
    "no ego": (lambda c: c.pop("ego"), "the file: ego is missing"),
    "rows": (lambda c: c["objects"][0]["yaws"].pop(), r"object 7: yaws has 2 rows, times has 3"),
    "missing": (lambda c: c["objects"][1].pop("size"), "object 4: size is missing"),
    "unknown field": (lambda c: c["objects"][1].update(velocity=[]), "object 4: velocity is no field"),
    "twice": (lambda c: c["objects"][1].update(id=7), "object 7: its id is taken"),
    "id": (lambda c: c["objects"][1].update(id="car-1"), r"objects\[1\]: id is 'car-1'"),
    "far": (lambda c: c["ego"]["positions"][1].__setitem__(0, 4e5), r"ego: positions\[1\] is more than 10000 m"),
    "format": (lambda c: c.update(format="other"), 'it is no recording: "format" must be "sparse4d_tracks"'),
    "version": (lambda c: c.update(version=2), "version 2 is unknown"),
    "objects": (lambda c: c.update(objects={}), "objects is not a list"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named(saved, change, message):
    path = saved(broken(change))
    with pytest.raises(UserError, match=f"{path}: {message}"):
        read_tracks(path)


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.json"):
        read_tracks(tmp_path / "nothing.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="deep.json is not JSON"):
        read_tracks(tmp_path / "deep.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(UserError, match="text.json is not JSON"):
        read_tracks(tmp_path / "text.json")


def test_a_body_suits_motion_and_size(saved):
    content = two_objects()
    content["objects"][0]["size"] = [4.9, 1.9, 2.1]
    for number, (x, name) in enumerate(((0.0, "bicycle"), (9.0, "bicycle"), (0.0, "pedestrian"))):
        content["objects"].append({"id": number, "class": name, "size": [1.7, 0.6, 1.4], "times": [10.0, 12.0],
                                   "positions": [[0.0, 0.0, 0.7], [x, 0.0, 0.7]], "yaws": [0.0, 0.0]})
    scene = TracksScene(read_tracks(saved(content)), seed=0)
    names = [bodies()[body].mesh.name for body in scene.objects(0.0).bodies]
    assert names[0] == "van" and names[1] != "standing"
    assert names[2:] == ["bicycle", "cyclist", "standing"]
    assert scene.in_traffic.tolist() == [True, True, False, True, False]


def test_surroundings_stand_in_no_line_of_sight(saved):
    scene = TracksScene(read_tracks(saved(two_objects())), seed=3)
    other = TracksScene(read_tracks(saved(two_objects())), seed=4)
    assert len(scene.scenery) > 20
    assert len(scene.scenery) != len(other.scenery) or (scene.scenery.poses != other.scenery.poses).any()
    for time_s in (0.0, 0.7, 1.4):
        ego = scene.fixed_from_vehicle(time_s)[:2, 3]
        for box in scene.boxes(time_s):
            for share in np.linspace(0.0, 1.0, 20):
                point = ego + share * (box[:2] - ego)
                reach = np.linalg.norm(scene.scenery.sizes[:, :2], axis=1) / 2.0
                assert (np.linalg.norm(scene.scenery.poses[:, :2] - point, axis=1) > 0.8 * reach).all()


def test_a_town_comes_back_from_its_recording(tmp_path):
    from sparse4d_ros.simulation.tracks_record import record_town, shot_times
    from sparse4d_ros.simulation.variety import rig_of
    from sparse4d_ros.simulation.world import World

    seed, duration_s, rate_hz, variety = 6, 0.6, 5.0, "full"
    write_tracks(tmp_path / "town.json", record_town(seed, duration_s, rate_hz, variety=variety))
    recording = read_tracks(tmp_path / "town.json")
    assert recording.duration_s == pytest.approx(duration_s, abs=1e-9)
    scene, town = TracksScene(recording, seed), World(seed, duration_s, sway=True)
    times = shot_times(rig_of(seed, variety), duration_s, rate_hz)
    assert len(times) == 3 * 6 + 1
    for time_s in times:
        np.testing.assert_allclose(scene.fixed_from_vehicle(time_s), town.fixed_from_vehicle(time_s), atol=1e-9)
        there, here = scene.boxes(time_s), town.boxes(time_s)[scene.instance_ids]
        there[:, boxes.YAW] = boxes.wrap_angle(there[:, boxes.YAW] - here[:, boxes.YAW])
        here[:, boxes.YAW] = 0.0
        np.testing.assert_allclose(there, here, atol=1e-6)
    np.testing.assert_array_equal(scene.classes, town.classes[scene.instance_ids])
    # All that is near enough to be labelled is in it.
    near = np.linalg.norm(town.boxes(0.3)[:, :2] - town.fixed_from_vehicle(0.3)[:2, 3], axis=1) < 65.0
    assert set(np.flatnonzero(near)) <= set(scene.instance_ids.tolist())
    moving = np.linalg.norm(town.boxes(0.3)[scene.instance_ids][:, boxes.VX:], axis=1) > 1.0
    assert moving.sum() > 10


def box_mask(pixels: np.ndarray) -> np.ndarray:
    """The part of a picture that corners ``[8, 2]`` span."""
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round((pixels - 0.5) * 16.0).astype(np.int32)), 1, shift=4)
    return mask.astype(bool)


@pytest.mark.parametrize("variety", ["plain", "full"])
def test_a_recording_of_two_objects_is_rendered_with_its_labels(renderer, saved, variety):
    from sparse4d_ros.simulation.drive import render

    scene = TracksScene(read_tracks(saved(two_objects())), seed=8)
    frames = list(render(scene, 8, 2.0, 2.0, SIZE, renderer=renderer, variety=variety))
    assert len(frames) == 4
    for index, frame in enumerate(frames):
        time_s = index / 2.0
        objects = frame.objects
        np.testing.assert_allclose(frame.frame.fixed_from_vehicle,
                                   geometry.from_yaw(100.0 + 5.0 * time_s, 50.0, 0.0, 0.0), atol=1e-12)
        # In the end the walker is beside the vehicle, where no camera looks at its last moment.
        assert set(zip(objects.instance_ids.tolist(), objects.names, strict=True)) == \
            ({(7, "car"), (4, "pedestrian")} if index < 3 else {(7, "car")})
        by_id = dict(zip(objects.instance_ids.tolist(), objects.boxes, strict=True))
        np.testing.assert_allclose(
            by_id[7], [12.0 - 2.0 * time_s, 0.5, 0.75, 4.4, 1.8, 1.5, 0.0, 3.0, 0.0, 0.0], atol=1e-9)
        if 4 in by_id:
            yaw = 1.5 + 0.1 * time_s / 1.5
            np.testing.assert_allclose(by_id[4], [8.0 - 5.0 * time_s, -3.0 + time_s, 0.9, 0.7, 0.7, 1.8, yaw,
                                                  0.0, 1.0, 0.0], atol=1e-9)
        # The front camera fires at the frame's stamp: the projected box is where the car is drawn.
        view = frame.frame.cameras[0]
        drawn = frame.semantics[0] == NUSCENES_CLASSES.index("car")
        hull, moved = (box_mask(geometry.project(
            boxes.corners(by_id[7][None] + shift), geometry.pad_intrinsic(view.intrinsic) @ view.camera_from_vehicle,
        )[0][0]) for shift in (0.0, np.eye(10)[boxes.Y] * 0.4))
        assert drawn.sum() > 100 and (drawn & ~hull).sum() <= 0.02 * drawn.sum()
        assert (drawn & ~moved).sum() > 0.1 * drawn.sum(), "the line above would notice a box that is off"
        assert (drawn & hull).sum() > 0.6 * hull.sum()
    visibility = dict(zip(frames[0].objects.instance_ids.tolist(), frames[0].objects.visibility, strict=True))
    assert visibility[7] > 0.9


def test_an_empty_road_has_no_labels(renderer, saved):
    from sparse4d_ros.simulation.drive import render

    content = {**two_objects(), "objects": []}
    frame, = render(TracksScene(read_tracks(saved(content)), seed=0), 0, 0.5, 2.0, SIZE, renderer=renderer)
    assert frame.objects.boxes.shape == (0, 10) and frame.objects.names == ()
    assert all((picture == 255).all() for picture in frame.semantics)


def test_the_command_renders_a_recording_in_both_formats(renderer, saved, tmp_path, capsys):
    from sparse4d_ros.data.bag_reader import BagDrive

    path = saved(two_objects())
    common = ["simulate", "--tracks", str(path), "--rate", "2", "--size", "88x32", "--output", str(tmp_path / "out")]
    assert cli.main([*common, "--format", "arrays", "--seeds", "1", "--duration", "1"]) == 0
    drive = DriveCache(tmp_path / "out" / "drive_00001")
    assert len(drive) == 2 and drive.images.shape == (2, 6, 32, 88, 3)
    assert 7 in drive.objects(1).instance_ids
    assert cli.main([*common, "--variety", "full"]) == 0
    read = list(BagDrive(tmp_path / "out" / "drive_00000"))
    assert len(read) == 4, "by default the whole recording"
    from sparse4d_ros.simulation.variety import rig_of

    first = read[0].frame
    for camera, there in zip(rig_of(0, "full").cameras, first.cameras, strict=True):
        np.testing.assert_allclose(there.intrinsic, camera.intrinsic((88, 32)), atol=1e-6)
        assert there.stamp_ns - first.stamp_ns == camera.offset_ns
    assert cli.main([*common, "--duration", "2.5"]) == 2
    assert "longer than the recording" in capsys.readouterr().err


def test_the_command_saves_tracks_without_rendering(tmp_path, capsys):
    path = tmp_path / "town.json"
    assert cli.main(["simulate", "--seeds", "6", "--duration", "0.4", "--save-tracks", str(path)]) == 0
    assert read_tracks(path).duration_s == pytest.approx(0.4)
    assert list(tmp_path.iterdir()) == [path]
    for arguments, named in ((["--seeds", "6:8", "--save-tracks", "x.json"], "names 2"),
                             (["--seeds", "6"], "--output"), (["--output", "x"], "--seeds"),
                             (["--tracks", str(path), "--save-tracks", "x.json"], "already"),
                             (["--tracks", str(path), "--seeds", "-1", "--output", "x"], "-1")):
        assert cli.main(["simulate", *arguments]) == 2
        assert named in capsys.readouterr().err


def test_an_output_that_cannot_be_made_is_a_sentence(tmp_path, capsys):
    pytest.importorskip("moderngl")
    file = tmp_path / "file"
    file.touch()
    for output in (file, file / "below"):
        assert cli.main(["simulate", "--seeds", "6", "--duration", "0.4", "--output", str(output)]) == 2
        assert f"{output} was not written: " in capsys.readouterr().err


def test_the_rig_of_a_plain_recording_is_the_usual_one():
    from sparse4d_ros.simulation.variety import rig_of

    for camera, usual in zip(rig_of(5, "plain").cameras, default_rig().cameras, strict=True):
        np.testing.assert_array_equal(camera.vehicle_from_camera, usual.vehicle_from_camera)
