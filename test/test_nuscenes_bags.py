"""`sparse4d nuscenes-to-bag`: a data set in nuScenes' format becomes bags that hold the same scene."""

from __future__ import annotations

import bag_cases
import numpy as np
import nuscenes_cases as cases
import pytest

pytest.importorskip("nuscenes")

from nuscenes.nuscenes import NuScenes  # noqa: E402
from nuscenes.utils.splits import create_splits_scenes  # noqa: E402

from sparse4d_ros import boxes, cli, geometry  # noqa: E402
from sparse4d_ros.data import bag_files, nuscenes_to_bag, ros_messages  # noqa: E402
from sparse4d_ros.data.bag_reader import BagDrive  # noqa: E402
from sparse4d_ros.data.bag_writer import BagWriter  # noqa: E402
from sparse4d_ros.data.nuscenes_set import NuScenesSet  # noqa: E402

VISIBILITY = {"car": 0.9, "walker": 0.5, "bus": 0.2, "truck": 0.7}
CLASSES = {"car": "car", "walker": "pedestrian", "bus": "bus", "truck": "truck"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture(scope="module")
def bags(root, tmp_path_factory):
    """Both scenes, key frames only."""
    output = tmp_path_factory.mktemp("bags")
    assert command(root, output) == 0
    return output


def command(root, output, *options):
    return cli.main(["nuscenes-to-bag", "--dataroot", str(root), "--output", str(output), *options])


def messages(bag, topic):
    with bag_files.open_bag(bag) as reader:
        selected = [c for c in reader.connections if c.topic == topic]
        return [bag_files.deserialize(reader, connection, raw)
                for connection, _, raw in bag_files.messages(reader, selected)]


def front_us(scene, index):
    return cases.sample_us(scene, index) + cases.OFFSETS_US["CAM_FRONT"]


def expected_objects(scene, index, at_us):
    """Boxes of a key frame in the vehicle frame at the front camera's stamp, where they were at ``at_us``."""
    vehicle_from_map = geometry.inverse(cases.vehicle_pose(front_us(scene, index)))
    for name in CLASSES:
        _, (width, length, height), _, _, present, _ = cases.INSTANCES[name]
        if index not in present:
            continue
        alone = len(present) == 1  # seen once: nothing tells its velocity, and it stays where it was annotated
        pose, velocity = cases.box_in_map(scene, name, cases.sample_us(scene, index) if alone else at_us)
        velocity = np.full(3, np.nan) if alone else velocity
        pose = vehicle_from_map @ pose
        yield name, [*pose[:3, 3], length, width, height, geometry.yaw_of(pose), *(vehicle_from_map[:3, :3] @ velocity)]


def assert_objects(item, expected):
    names, boxes = zip(*expected, strict=True)
    assert item.objects.names == tuple(CLASSES[name] for name in names)
    np.testing.assert_allclose(item.objects.boxes, boxes, atol=1e-5)
    np.testing.assert_allclose(item.objects.visibility, [VISIBILITY[name] for name in names], atol=1e-6)
    return dict(zip(names, item.objects.instance_ids.tolist(), strict=True))


@pytest.mark.parametrize("scene", range(len(cases.SCENES)))
def test_a_scene_comes_back_from_its_bag(bags, scene):
    drive = BagDrive(bags / cases.SCENES[scene])
    assert drive.fixed_frame == "odom" and drive.camera_names == tuple(cases.NAMES.values())
    assert drive.skipped == {"incomplete": 0, "no transform": 0}
    ids = {}
    for index, item in enumerate(drive):
        now = cases.vehicle_pose(front_us(scene, index))
        assert item.frame.stamp_ns == front_us(scene, index) * 1000
        np.testing.assert_allclose(item.frame.fixed_from_vehicle, now, atol=1e-6)
        for camera, (channel, offset_us) in zip(item.frame.cameras, cases.OFFSETS_US.items(), strict=True):
            at_us = cases.sample_us(scene, index) + offset_us
            assert (camera.name, camera.stamp_ns) == (cases.NAMES[channel], at_us * 1000)
            np.testing.assert_array_equal(camera.intrinsic, cases.INTRINSIC)
            np.testing.assert_allclose(
                camera.camera_from_vehicle,
                geometry.inverse(cases.vehicle_pose(at_us) @ cases.mounting(channel)) @ now, atol=1e-6)
        found = assert_objects(item, list(expected_objects(scene, index, front_us(scene, index))))
        assert all(ids.setdefault(name, number) == number for name, number in found.items())
    assert index == cases.KEY_FRAMES - 1
    assert sorted(ids.values()) == [0, 1, 2, 3]


def test_boxes_have_the_corners_that_the_devkit_gives_them(root):
    """Which size is which and where the front is, by the devkit's own boxes."""
    devkit = NuScenes(cases.VERSION, str(root), verbose=False)
    labels = NuScenesSet(root, cases.VERSION).scene(cases.SCENES[0], moved_labels=False).labels
    vehicle_from_map = geometry.inverse(cases.vehicle_pose(front_us(0, 0)))
    ours = boxes.corners(labels[front_us(0, 0) * 1000].boxes)
    for name, corners in zip(("car", "walker", "truck"), ours, strict=True):
        theirs = devkit.get_box(f"{cases.SCENES[0]}/{name}/0").corners().T
        theirs = theirs @ vehicle_from_map[:3, :3].T + vehicle_from_map[:3, 3]
        assert np.linalg.norm(corners[:, None] - theirs[None], axis=-1).min(axis=1).max() < 1e-6
        np.testing.assert_allclose(corners[[0, 3, 4, 7]].mean(0), theirs[:4].mean(0), atol=1e-6)  # the front faces


def test_pictures_are_the_files_byte_by_byte(bags):
    for scene, name in enumerate(cases.SCENES):
        for channel, camera in cases.NAMES.items():
            read = messages(bags / name, f"/camera/{camera}/image/compressed")
            stamps = [cases.sample_us(scene, index) + cases.OFFSETS_US[channel] for index in range(cases.KEY_FRAMES)]
            assert [ros_messages.stamp_ns(message.header.stamp) for message in read] == [us * 1000 for us in stamps]
            assert [bytes(message.data) for message in read] == [cases.jpeg(scene, channel, us) for us in stamps]
            assert {message.format for message in read} == {"jpeg"}
        info = messages(bags / name, "/camera/back/camera_info")[0]
        assert (info.width, info.height, info.header.frame_id) == (*cases.SIZE, "back_optical_frame")


def test_transforms_are_the_mountings_and_every_pose_of_every_sensor(bags):
    (mountings,) = messages(bags / cases.SCENES[0], "/tf_static")
    assert len(mountings.transforms) == 6
    for item, channel in zip(mountings.transforms, cases.OFFSETS_US, strict=True):
        assert (item.header.frame_id, item.child_frame_id) == ("base_link", f"{cases.NAMES[channel]}_optical_frame")
        np.testing.assert_allclose(ros_messages.matrix_of(item), cases.mounting(channel), atol=1e-9)
    moving = [item for message in messages(bags / cases.SCENES[0], "/tf") for item in message.transforms]
    stamps = [ros_messages.stamp_ns(item.header.stamp) for item in moving]
    # Sweeps and the lidar have poses too, whether or not their pictures are asked for.
    taken = {cases.sample_us(0, index) + offset + later for index in range(cases.KEY_FRAMES)
             for offset in (*cases.OFFSETS_US.values(), 0)
             for later in (0, cases.INTERVAL_US // 2) if index < cases.KEY_FRAMES - 1 or not later}
    assert stamps == [us * 1000 for us in sorted(taken)]
    for item, stamp_ns in zip(moving, stamps, strict=True):
        assert (item.header.frame_id, item.child_frame_id) == ("odom", "base_link")
        np.testing.assert_allclose(ros_messages.matrix_of(item), cases.vehicle_pose(stamp_ns // 1000), atol=1e-6)


def test_log_times_rise(bags):
    with bag_files.open_bag(bags / cases.SCENES[1]) as reader:
        times = [log_ns for _, log_ns, _ in bag_files.messages(reader, reader.connections)]
        raw = [message.log_time for message in _in_file_order(bags / cases.SCENES[1])]
    assert times == sorted(times)
    assert raw == times


def _in_file_order(bag):
    from mcap.reader import make_reader

    with next(bag.glob("*.mcap")).open("rb") as file:
        return [message for _, _, message in make_reader(file).iter_messages(log_time_order=False)]


def test_sweeps_add_pictures_without_ground_truth(root, tmp_path):
    assert command(root, tmp_path, "--scene", cases.SCENES[0], "--sweeps") == 0
    items = list(BagDrive(tmp_path / cases.SCENES[0]))
    assert [item.objects is None for item in items] == [False, True, False, True, False]
    assert_objects(items[2], list(expected_objects(0, 1, front_us(0, 1))))
    read = messages(tmp_path / cases.SCENES[0], "/camera/back_left/image/compressed")
    swept_us = cases.sample_us(0, 1) + cases.OFFSETS_US["CAM_BACK_LEFT"] + cases.INTERVAL_US // 2
    assert len(read) == 5 and bytes(read[3].data) == cases.jpeg(0, "CAM_BACK_LEFT", swept_us)


def test_labels_may_stay_where_they_were_annotated(root, tmp_path):
    assert command(root, tmp_path, "--scene", cases.SCENES[1], "--labels-at", "lidar") == 0
    for index, item in enumerate(BagDrive(tmp_path / cases.SCENES[1])):
        assert_objects(item, list(expected_objects(1, index, cases.sample_us(1, index))))


def test_a_test_set_has_no_ground_truth(tmp_path):
    cases.write(tmp_path / "set", "v1.0-test", annotated=False)
    assert command(tmp_path / "set", tmp_path, "--version", "v1.0-test", "--scene", cases.SCENES[0]) == 0
    drive = BagDrive(tmp_path / cases.SCENES[0])
    assert len(drive) == cases.KEY_FRAMES and not drive.has_ground_truth


def test_bags_that_exist_are_kept_unless_told_otherwise(root, tmp_path, capsys):
    for name in cases.SCENES:
        (tmp_path / name).mkdir()
    assert command(root, tmp_path) == 0
    assert "scene-0061 exists already" in capsys.readouterr().out
    assert not any((tmp_path / name / "metadata.yaml").exists() for name in cases.SCENES)
    assert command(root, tmp_path, "--overwrite") == 0
    assert len(BagDrive(tmp_path / cases.SCENES[1])) == cases.KEY_FRAMES


def test_odom_is_preferred_to_map(tmp_path):
    """A bag with map -> odom -> base_link: the pose in the map may jump and is not used."""
    with BagWriter(tmp_path / "bag", bag_cases.rig()) as writer:
        for item in bag_cases.frames(3):
            writer.add(item)
        writer.fixed_frame, writer.vehicle_frame = "map", "odom"
        writer.put_pose(bag_cases.START_NS + 10**9, geometry.from_yaw(100.0, 0.0, 0.0, 1.0))
        writer.fixed_frame, writer.vehicle_frame = "odom", "base_link"
    drive = BagDrive(tmp_path / "bag")
    assert drive.fixed_frame == "odom" and len(drive) == 3
    first = next(iter(drive))
    np.testing.assert_allclose(first.frame.fixed_from_vehicle, bag_cases.vehicle_pose(bag_cases.START_NS), atol=1e-6)


def test_a_bag_that_has_map_alone_is_read(tmp_path):
    """As nuscenes-to-bag wrote them before, and localisation without odometry."""
    drive = BagDrive(bag_cases.write(tmp_path / "bag", 3, fixed_frame="map"))
    assert drive.fixed_frame == "map" and len(drive) == 3


def no_table(root):
    (root / cases.VERSION / "ego_pose.json").unlink()


def no_json(root):
    (root / cases.VERSION / "sample.json").write_text("[{")


def no_map(root):
    (root / "maps" / "mask.png").unlink()


def no_picture(root):
    next(root.glob("samples/CAM_BACK/scene-0061*")).unlink()


def other_size(root):
    cases.edit(root, "sample_data", lambda records: [record.update(width=1600, height=900) for record in records])


def no_jpeg(root):
    next(root.glob("samples/CAM_BACK_RIGHT/scene-0061*")).write_bytes(b"hello")


def no_camera(root):
    cases.edit(root, "sample_data", lambda records: records.remove(
        next(record for record in records if "CAM_BACK_LEFT" in record["filename"])))


def no_record(root):
    cases.edit(root, "ego_pose", lambda records: records.pop(0))


def no_unit_quaternion(root):
    cases.edit(root, "ego_pose", lambda records: records[0].update(rotation=[1.0, 1.0, 0.0, 0.0]))


def other_instance(root):
    cases.edit(root, "instance", lambda records: records.pop(0))


def new_calibration(root):
    def change(records):
        records[2]["calibrated_sensor_token"] = f"{cases.SCENES[1]}/CAM_FRONT"

    cases.edit(root, "sample_data", change)


@pytest.mark.parametrize(("change", "words"), [
    (no_table, ["ego_pose.json is missing"]), (no_json, ["sample.json is not valid JSON"]),
    (no_map, ["not complete", "mask.png"]), (no_picture, ["samples/CAM_BACK/scene-0061", "missing (1 of 18"]),
    (other_size, ["JPEG of 160x90", "1600x900"]), (no_jpeg, ["CAM_BACK_RIGHT", "not a picture"]),
    (no_camera, ["scene-0061/sample0", "no picture of CAM_BACK_LEFT"]), (no_record, ["scene-0061", "CAM_FRONT/15324"]),
    (no_unit_quaternion, ["ego_pose.json", "quaternion has length"]),
    (other_instance, ["do not belong together", "scene-0061/car"]), (new_calibration, ["CAM_FRONT changes"]),
])
def test_a_broken_data_set_is_named_and_nothing_is_left_behind(tmp_path, capsys, change, words):
    cases.write(tmp_path / "set")
    change(tmp_path / "set")
    assert command(tmp_path / "set", tmp_path / "bags") == 2
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert not list((tmp_path / "bags").glob("*"))


@pytest.mark.parametrize(("options", "words"), [
    (["--version", "v1.0-trainval"], ["no v1.0-trainval in", "it has v1.0-mini"]),
    (["--scene", "scene-0061", "scene-0062"], ["no scene 'scene-0062'", "scene-0061, scene-0103"]),
    (["--split", "val"], ["v1.0-mini", "no scene 'scene-0003'"]),
])
def test_unknown_versions_and_scenes_are_named(root, tmp_path, capsys, options, words):
    assert command(root, tmp_path / "bags", *options) == 2
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert not (tmp_path / "bags").exists()
    assert command(tmp_path, tmp_path / "bags") == 2
    assert "holds no version of nuScenes" in capsys.readouterr().err


def test_a_split_is_its_scenes(tmp_path):
    """scene-0103 is one of the two of mini_val; the other is renamed into the set."""
    assert sorted(create_splits_scenes()) == list(nuscenes_to_bag._SPLITS)
    cases.write(tmp_path / "set")
    cases.edit(tmp_path / "set", "scene", lambda records: records[0].update(name="scene-0916"))
    assert command(tmp_path / "set", tmp_path / "bags", "--split", "mini_val") == 0
    assert sorted(path.name for path in (tmp_path / "bags").iterdir()) == ["scene-0103", "scene-0916"]
