"""`sparse4d samples-to-bag`: pictures with a sequence.json become a bag whose boxes lie where they lay."""

from __future__ import annotations

import json
import os
from pathlib import Path

import bag_cases
import numpy as np
import pytest

from sparse4d_ros import boxes, cli, geometry
from sparse4d_ros.data import images
from sparse4d_ros.data.bag_reader import BagDrive

SAMPLES = Path(os.environ.get("SAMPLES_DIR", Path(__file__).resolve().parents[2] / "shared" / "samples"))


@pytest.fixture
def folder(tmp_path):
    """Two frames in sequence.json's form; labels stand 30 ms after the front camera's stamp."""
    root = tmp_path / "sequence"
    root.mkdir()
    frames = []
    for index in range(2):
        item = bag_cases.frame(index).frame
        label_ns = item.stamp_ns + 30_000_000
        cameras = {}
        for camera in item.cameras:
            (root / f"{index}_{camera.name}.jpg").write_bytes(images.encode_jpeg(camera.image, 90))
            mounting = bag_cases.rig()[camera.name]
            cameras[camera.name] = {
                "image": f"{index}_{camera.name}.jpg", "stamp_ns": camera.stamp_ns, "K": camera.intrinsic.tolist(),
                "vehicle_from_camera": mounting.tolist(),
                "world_from_camera": (bag_cases.vehicle_pose(camera.stamp_ns) @ mounting).tolist()}
        frames.append({
            "stamp_ns": label_ns, "world_from_vehicle": bag_cases.vehicle_pose(label_ns).tolist(), "cameras": cameras,
            "boxes": [
                {"class": "Car", "instance": 77, "size_lwh": [4.5, 1.9, 1.6],
                 "world_from_box": geometry.from_yaw(1020.0 + 2.0 * index, 3.0, 0.8, 0.5).tolist()},
                {"class": "pedestrian", "size_lwh": [0.6, 0.7, 1.8], "velocity_world": [0.0, 10.0, 0.0],
                 "world_from_box": geometry.from_yaw(1010.0, -4.0, 0.9, 0.0).tolist()},
                {"class": "dragon", "size_lwh": [9.0, 3.0, 4.0],
                 "world_from_box": geometry.from_yaw(1000.0, 30.0, 2.0, 0.0).tolist()}]})
    (root / "sequence.json").write_text(json.dumps({"frames": frames}))
    return root


def edit(folder, change):
    path = folder / "sequence.json"
    content = json.loads(path.read_text())
    change(content["frames"])
    path.write_text(json.dumps(content))


def test_pictures_poses_and_boxes_arrive(folder, tmp_path, capsys):
    assert cli.main(["samples-to-bag", str(folder), str(tmp_path / "bag")]) == 0
    assert "dragon" in capsys.readouterr().out
    read = list(BagDrive(tmp_path / "bag"))
    assert len(read) == 2
    for index, item in enumerate(read):
        expected = bag_cases.frame(index).frame
        assert item.frame.stamp_ns == expected.stamp_ns
        np.testing.assert_allclose(item.frame.fixed_from_vehicle, expected.fixed_from_vehicle, atol=1e-6)
        for got, camera in zip(item.frame.cameras, expected.cameras, strict=True):
            assert got.stamp_ns == camera.stamp_ns
            np.testing.assert_allclose(got.camera_from_vehicle, camera.camera_from_vehicle, atol=1e-6)
        assert item.objects.names == ("car", "pedestrian")
        world = boxes.transform(item.objects.boxes, item.frame.fixed_from_vehicle)
        interval_s = bag_cases.INTERVAL_NS * 1e-9
        # The car moved 2 m between the frames; labels lie 30 ms after the picture they are shown in.
        speed = 2.0 / interval_s
        np.testing.assert_allclose(world[0, :3], [1020.0 + 2.0 * index - 0.03 * speed, 3.0, 0.8], atol=1e-6)
        np.testing.assert_allclose(world[0, boxes.VX:], [speed, 0, 0], atol=1e-6)
        np.testing.assert_allclose(world[1, :3], [1010.0, -4.0 - 0.3, 0.9], atol=1e-6)
        np.testing.assert_allclose(boxes.wrap_angle(world[:, boxes.YAW] - [0.5, 0.0]), 0, atol=1e-6)
    assert read[0].objects.instance_ids[0] == read[1].objects.instance_ids[0]
    # Without an instance number nothing says that it is the same pedestrian.
    assert read[0].objects.instance_ids[1] != read[1].objects.instance_ids[1]


def test_lidar_compensated_extrinsics_mean_the_same(folder, tmp_path):
    """nuScenes' form: the camera at its own stamp from the lidar at the label's stamp."""
    vehicle_from_lidar = geometry.from_yaw(0.9, 0.0, 1.8, -np.pi / 2)

    def to_lidar(frames):
        for item in frames:
            item["vehicle_from_lidar"] = vehicle_from_lidar.tolist()
            for camera in item["cameras"].values():
                world_from_camera = np.array(camera.pop("world_from_camera"))
                camera["camera_from_reference_lidar_compensated"] = (
                    geometry.inverse(world_from_camera) @ np.array(item["world_from_vehicle"]) @ vehicle_from_lidar
                ).tolist()

    edit(folder, to_lidar)
    assert cli.main(["samples-to-bag", str(folder), str(tmp_path / "bag")]) == 0
    for index, item in enumerate(BagDrive(tmp_path / "bag")):
        for got, camera in zip(item.frame.cameras, bag_cases.frame(index).frame.cameras, strict=True):
            np.testing.assert_allclose(got.camera_from_vehicle, camera.camera_from_vehicle, atol=1e-6)


def test_boxes_whose_instance_is_null_are_objects_of_their_own(folder, tmp_path):
    def forget(frames):
        for box in (box for item in frames for box in item["boxes"]):
            box["instance"] = None

    edit(folder, forget)
    assert cli.main(["samples-to-bag", str(folder), str(tmp_path / "bag")]) == 0
    ids = [number for item in BagDrive(tmp_path / "bag") for number in item.objects.instance_ids]
    assert len(ids) == len(set(ids)) == 4


def no_front(frames):
    del frames[0]["cameras"]["front"]


def lost_camera(frames):
    del frames[1]["cameras"]["back"]


def sheared(frames):
    frames[0]["world_from_vehicle"][0][1] = 5.0


def no_mounting(frames):
    del frames[0]["cameras"]["back"]["vehicle_from_camera"]


def lost_picture(frames):
    frames[1]["cameras"]["back"]["image"] = "gone.jpg"


def one_stamp_twice(frames):
    frames[1]["stamp_ns"] = frames[0]["stamp_ns"]


def pictures_twice(frames):
    for name, camera in frames[1]["cameras"].items():
        camera["stamp_ns"] = frames[0]["cameras"][name]["stamp_ns"]


def holding(path, value):
    """A change of one field, such as "boxes.0.class", of the first frame."""
    def change(frames):
        *way, last = (int(word) if word.isdigit() else word for word in path.split("."))
        holder = frames[0]
        for word in way:
            holder = holder[word]
        holder[last] = value
    return change


@pytest.mark.parametrize(("change", "words"), [
    (one_stamp_twice, ["two frames have the stamp_ns"]), (pictures_twice, ["is not later than the one before it"]),
    (holding("stamp_ns", "noon"), ["frames[0].stamp_ns is 'noon', not a whole number"]),
    (holding("cameras", []), ["frames[0].cameras is [], not an object"]),
    (holding("cameras.back.K", [1, 2, 3]), ["frames[0].cameras.back.K is [1, 2, 3], not 3x3 numbers"]),
    (holding("boxes.0.class", 3), ["frames[0].boxes[0].class is 3, not text"]),
    (holding("boxes.0.size_lwh", [1, 2]), ["frames[0].boxes[0].size_lwh is [1, 2], not 3 numbers"]),
    (holding("boxes.0.world_from_box", [1]), ["frames[0].boxes[0].world_from_box is [1], not 4x4 numbers"]),
    (holding("boxes.0.velocity_world", "fast"), ["frames[0].boxes[0].velocity_world is 'fast', not 3 numbers"]),
    (holding("boxes.0.instance", [7]), ["frames[0].boxes[0].instance is [7], not a whole number or text"]),
    (no_front, ["'front'"]), (lost_camera, ["frames[1]"]), (sheared, ["frames[0].world_from_vehicle", "orthonormal"]),
    (no_mounting, ["frames[0].cameras.back", "vehicle_from_camera"]), (lost_picture, ["gone.jpg"]),
    (list.clear, ["no frames"]),
])
def test_bad_sequences_are_named_and_nothing_is_written(folder, tmp_path, capsys, change, words):
    edit(folder, change)
    assert cli.main(["samples-to-bag", str(folder), str(tmp_path / "bag")]) == 2
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert not (tmp_path / "bag").exists()


def test_a_folder_without_sequence_is_named(tmp_path, capsys):
    assert cli.main(["samples-to-bag", str(tmp_path), str(tmp_path / "bag")]) == 2
    assert "no sequence.json" in capsys.readouterr().err
    (tmp_path / "sequence.json").write_text("{")
    assert cli.main(["samples-to-bag", str(tmp_path), str(tmp_path / "bag")]) == 2
    assert "not JSON" in capsys.readouterr().err


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the real pictures are not at {SAMPLES} (set SAMPLES_DIR)")
@pytest.mark.parametrize(("name", "frames", "objects"), [("six_cameras_nuscenes", 1, 68), ("six_cameras_dgp", 3, 13)])
def test_real_pictures(tmp_path, name, frames, objects):
    assert cli.main(["samples-to-bag", str(SAMPLES / name), str(tmp_path / "bag")]) == 0
    content = json.loads((SAMPLES / name / "sequence.json").read_text())
    read = list(BagDrive(tmp_path / "bag"))
    assert len(read) == frames
    for item, source in zip(read, content["frames"], strict=True):
        assert len(item.objects.boxes) == objects
        for camera in item.frame.cameras:
            given = source["cameras"][camera.name]
            assert camera.stamp_ns == given["stamp_ns"]
            # The same projection as the file's own matrices give for boxes that stand still.
            if "world_from_camera" in given:
                camera_from_world = geometry.inverse(np.array(given["world_from_camera"]))
            else:
                camera_from_world = np.array(given["camera_from_reference_lidar_compensated"]) @ geometry.inverse(
                    np.array(source["world_from_vehicle"]) @ np.array(source["vehicle_from_lidar"]))
            points = np.array(source["boxes"][0]["world_from_box"])[:3, 3] + np.eye(3) * 5
            expected = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
            in_vehicle = geometry.inverse(item.frame.fixed_from_vehicle)
            matrix = camera.camera_from_vehicle @ in_vehicle
            got = points @ matrix[:3, :3].T + matrix[:3, 3]
            # Same-stamp cameras of the DGP scene disagree on the pose by 9 mm and 0.02 degrees.
            np.testing.assert_allclose(got, expected, atol=0.05)
