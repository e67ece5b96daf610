"""`sparse4d bag-to-arrays`: bags become drives that training reads, without maps that nobody measured."""

from __future__ import annotations

import dataclasses
import math
import weakref

import bag_cases
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import training_drives  # noqa: E402
from engine_cases import package_of  # noqa: E402

from sparse4d_ros import boxes, cli, geometry  # noqa: E402
from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.data.bag_reader import BagDrive  # noqa: E402
from sparse4d_ros.data.bag_writer import write_bag  # noqa: E402
from sparse4d_ros.data.drive_cache import DriveCache, write_drive  # noqa: E402
from sparse4d_ros.engine.preprocess import Preprocessor  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.training.config import config_from_dict  # noqa: E402
from sparse4d_ros.training.drive_folder import DriveFolder  # noqa: E402
from sparse4d_ros.training.parallel import Group  # noqa: E402
from sparse4d_ros.training.streams import Streams  # noqa: E402
from sparse4d_ros.training.trainer import Trainer  # noqa: E402
from sparse4d_ros.training.validation import validate  # noqa: E402

CPU = torch.device("cpu")
SIZE = (88, 32)
CONTENT = {
    "model": {
        "num_anchors": 12, "num_temporal": 8, "embed_dims": 16, "num_groups": 2, "num_decoders": 2,
        "num_learnable_points": 1, "strides": [4, 8], "swap_yaw_on_projection": False,
        "backbone": {"depth": 0, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]},
    },
    "training": {
        "input_width": SIZE[0], "input_height": SIZE[1], "steps": 3, "validation_frames": 2,
        "streams": {"batch_size": 2, "intervals_s": [0.1], "clip_frames": 4},
        "losses": {"depth": 0.0, "semantics": 0.0, "perspective": 0.0}, "denoising": {"groups": 1, "max_objects": 6},
        "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2},
    },
}


def configuration(**training):
    return config_from_dict({**CONTENT, "training": {**CONTENT["training"], **training}}, "tiny.yaml")


def unknown_velocities(frames):
    """The drive with one object whose velocity nobody knows, as nuScenes has them."""
    for item in frames:
        item.objects.boxes[0, boxes.VX:] = np.nan
        yield item


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Two bags of pictures of 176x64, painted as training_drives does."""
    folder = tmp_path_factory.mktemp("bags")
    rig = {name: geometry.inverse(training_drives.camera_from_vehicle(index))
           for index, name in enumerate(training_drives.CAMERAS)}
    for seed in range(2):
        frames = training_drives.frames(seed, 5, size=(176, 64))
        write_bag(folder / f"drive_{seed}", unknown_velocities(frames), rig, jpeg_quality=95)
    return folder


@pytest.fixture(scope="module")
def drives(bags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives")
    assert command(folder, bags / "drive_0", bags / "drive_1") == 0
    return folder


def command(output, *bags, size="88x32"):
    return cli.main(["bag-to-arrays", *(word for bag in bags for word in ("--bag", str(bag))), "--size", size,
                     "--output", str(output)])


@pytest.mark.parametrize("size", [(48, 24), (60, 50), (96, 64)])
def test_the_network_sees_the_same_in_drive_and_bag(tmp_path, size):
    """Wider, narrower and as large: the engine's inputs of the drive's frames are those of the bag's."""
    write_bag(tmp_path / "bag", bag_cases.frames(3), bag_cases.rig())
    assert command(tmp_path / "drives", tmp_path / "bag", size=f"{size[0]}x{size[1]}") == 0
    drive = DriveCache(tmp_path / "drives" / "bag")
    assert drive.images.shape == (3, 6, size[1], size[0], 3) and len(drive) == 3
    preprocess = Preprocessor(package_of(input_width=size[0], input_height=size[1]))
    for index, item in enumerate(BagDrive(tmp_path / "bag")):
        expected = dataclasses.replace(preprocess(item.frame), images=preprocess(item.frame).images.copy())
        given = drive.frame(index)
        found = preprocess(given)
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_allclose(found.pixels_from_vehicle, expected.pixels_from_vehicle, rtol=1e-12, atol=1e-9)
        assert given.stamp_ns == item.frame.stamp_ns
        assert [camera.stamp_ns for camera in given.cameras] == [camera.stamp_ns for camera in item.frame.cameras]
        np.testing.assert_array_equal(given.fixed_from_vehicle, item.frame.fixed_from_vehicle)
        objects = drive.objects(index)
        np.testing.assert_array_equal(objects.boxes, item.objects.boxes)
        np.testing.assert_array_equal(objects.instance_ids, item.objects.instance_ids)
        np.testing.assert_array_equal(objects.visibility, item.objects.visibility)
        assert objects.names == item.objects.names
    preprocess.close()


def test_a_drive_of_a_recording_says_that_it_has_no_maps(drives):
    drive = DriveCache(drives / "drive_0")
    assert drive.depth is None and drive.semantics is None
    assert not list(drives.glob("*/depth.npy")) and not list(drives.glob("*/semantics.npy"))
    config = configuration()
    batch = next(Streams(DriveFolder(drives, NUSCENES_CLASSES), SIZE, config.training.streams, None, 0))
    assert batch.depth is None and batch.semantics is None and batch.to(CPU).depth is None


def test_maps_of_the_simulator_are_kept(tmp_path):
    frames = list(training_drives.frames(0, 2, size=(176, 64)))
    write_drive(tmp_path / "both", frames, NUSCENES_CLASSES)
    write_drive(tmp_path / "one", [dataclasses.replace(item, semantics=None) for item in frames], NUSCENES_CLASSES)
    both, one = DriveCache(tmp_path / "both"), DriveCache(tmp_path / "one")
    np.testing.assert_array_equal(both.depth[1, 2], frames[1].depth[2][2::4, 2::4].astype(np.float16))
    np.testing.assert_array_equal(both.semantics[1, 2], frames[1].semantics[2][2::4, 2::4])
    np.testing.assert_array_equal(one.depth, both.depth)
    assert one.semantics is None
    for mixed in ([frames[0], dataclasses.replace(frames[1], depth=None)],
                  [dataclasses.replace(frames[0], depth=None), frames[1]]):
        with pytest.raises(ValueError, match="some frames of the drive for .* have depth"):
            write_drive(tmp_path / "mixed", mixed, NUSCENES_CLASSES)
    assert not (tmp_path / "mixed").exists()


def test_drives_written_before_the_mark_have_both_maps(tmp_path):
    training_drives.write(tmp_path, drives=1, count=2, size=(176, 64))
    table = dict(np.load(tmp_path / "drive_000" / "frames.npz"))
    del table["maps"]
    np.savez(tmp_path / "drive_000" / "frames.npz", **table)
    drive = DriveCache(tmp_path / "drive_000")
    assert drive.depth.shape == drive.semantics.shape == (2, 6, 16, 44)


def test_three_steps_without_maps(drives):
    config = configuration()
    trainer = Trainer(config, DriveFolder(drives, NUSCENES_CLASSES), Group(CPU))
    before = trainer.network.model.head.decoders[0].refinement.layers[0].weight.clone()
    for step in range(3):
        values = trainer.train_step(next(trainer.feed), step / 3)
        assert all(math.isfinite(value) for value in values.values()) and values["gradient"] > 0
        assert {"class", "box"} <= set(values) and not {"depth", "semantics", "perspective"} & set(values)
    assert trainer.skipped == 0
    assert not torch.equal(before, trainer.network.model.head.decoders[0].refinement.layers[0].weight)
    assert math.isfinite(validate(trainer.network.model, trainer.feed.drives, config, CPU)["ap2m"])


@pytest.mark.parametrize(("loss", "needed"), [("depth", "depth"), ("semantics", "semantics"), ("perspective", "depth")])
def test_losses_that_the_drives_cannot_feed_are_refused(drives, loss, needed):
    config = configuration(losses={"depth": 0.0, "semantics": 0.0, "perspective": 0.0, loss: 0.5})
    with pytest.raises(UserError, match=rf"drive_0 has no {needed} maps.*training\.losses\.{loss} needs"):
        Trainer(config, DriveFolder(drives, NUSCENES_CLASSES), Group(CPU))


def test_the_command_refuses_before_it_writes(drives, tmp_path, capsys):
    import yaml

    content = {**CONTENT, "training": {**CONTENT["training"], "losses": {}}}  # the reference's depth loss
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    assert cli.main(["train", "--config", str(tmp_path / "tiny.yaml"), "--drives", str(drives), "--output",
                     str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "training.losses.depth needs them: set it to 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_drive_without_maps_that_appears_later_is_refused(bags, tmp_path):
    training_drives.write(tmp_path, drives=1, count=3, size=SIZE)
    folder = DriveFolder(tmp_path, NUSCENES_CLASSES)
    folder.require(configuration(losses={"depth": 0.2}).training.losses.maps)
    assert command(tmp_path, bags / "drive_1") == 0
    assert folder["drive_000"].depth is not None
    with pytest.raises(UserError, match=r"drive_1 has no depth maps"):
        folder["drive_1"]


def test_recorded_and_simulated_drives_train_together(bags, tmp_path):
    training_drives.write(tmp_path, drives=1, count=4, size=SIZE)
    assert command(tmp_path, bags / "drive_1") == 0
    trainer = Trainer(configuration(), DriveFolder(tmp_path, NUSCENES_CLASSES), Group(CPU))
    batch = next(trainer.feed)
    rows = trainer.feed.state_dict()["streams"][0]["rows"]
    assert {row.drive for row in rows} == {"drive_000", "drive_1"} and batch.depth is None
    assert math.isfinite(trainer.train_step(batch, 0.0)["total"])


def test_steps_of_the_image_branch_need_a_loss_for_it():
    with pytest.raises(UserError, match=r"training\.image_steps train by losses\.depth, semantics or perspective"):
        configuration(image_steps=5)
    assert configuration(image_steps=5, losses={"perspective": 1.0}).training.image_steps == 5


def test_frames_without_ground_truth_are_left_out(tmp_path, capsys):
    frames = bag_cases.frames(4)
    frames[1] = dataclasses.replace(frames[1], objects=None)
    write_bag(tmp_path / "bag", frames, bag_cases.rig())
    assert command(tmp_path / "drives", tmp_path / "bag") == 0
    assert "3 frames of 6 cameras, 1 left out (without ground truth)" in capsys.readouterr().out
    assert DriveCache(tmp_path / "drives" / "bag").table["stamp_ns"].tolist() == [
        frames[index].frame.stamp_ns for index in (0, 2, 3)]
    assert command(tmp_path / "drives", tmp_path / "bag") == 0
    assert "exists already" in capsys.readouterr().out


def test_a_class_that_nobody_trains_is_named(tmp_path):
    item = bag_cases.frame(0)
    dragon = dataclasses.replace(item, objects=dataclasses.replace(item.objects, names=("dragon",)))
    with pytest.raises(UserError, match="objects of the class 'dragon'; the classes are car, truck"):
        write_drive(tmp_path / "drive", [dragon], NUSCENES_CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_no_picture_of_frames_before(tmp_path):
    gone = []

    def frames():
        for index in range(3):
            item = bag_cases.frame(index)
            gone.append(weakref.ref(item.frame.cameras[0].image))
            yield item
            del item
            assert all(image() is None for image in gone[:index])

    assert write_drive(tmp_path / "drive", frames(), NUSCENES_CLASSES) == 3
    np.testing.assert_array_equal(DriveCache(tmp_path / "drive").images[2, 5], bag_cases.picture(2, 5))


def test_pictures_of_one_drive_have_one_size(tmp_path):
    first, second = bag_cases.frames(2)
    cameras = tuple(dataclasses.replace(camera, image=camera.image[:32]) for camera in second.frame.cameras)
    with pytest.raises(ValueError, match=r"\(6, 32, 96, 3\), before \(6, 64, 96, 3\)"):
        write_drive(tmp_path / "drive", [first, dataclasses.replace(
            second, frame=dataclasses.replace(second.frame, cameras=cameras))], NUSCENES_CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_bags_that_cannot_be_learned_from_are_named(tmp_path, capsys):
    frames = [dataclasses.replace(item, objects=None) for item in bag_cases.frames(2)]
    write_bag(tmp_path / "plain", frames, bag_cases.rig())
    assert command(tmp_path / "drives", tmp_path / "plain") == 2
    assert "plain has no ground truth" in capsys.readouterr().err
    assert command(tmp_path / "drives", tmp_path / "a" / "drive", tmp_path / "b" / "drive") == 2
    assert "would both become" in capsys.readouterr().err
    assert not (tmp_path / "drives").exists()
    for size in ("352", "0x128"):
        with pytest.raises(SystemExit):
            command(tmp_path / "drives", tmp_path / "plain", size=size)
        assert f"'{size}' is" in capsys.readouterr().err
