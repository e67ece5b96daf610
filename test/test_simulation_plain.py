"""The plain world of a seed stays what it is: its numbers, its shaders, and how its pictures are put together."""

from __future__ import annotations

import hashlib
import re

import cv2
import numpy as np
import pytest

from sparse4d_ros import boxes, geometry
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation import shaders
from sparse4d_ros.simulation.drive import START_NS, simulate
from sparse4d_ros.simulation.rig import default_rig
from sparse4d_ros.simulation.world import World

SIZE = (88, 32)
#: seed -> objects; sums of all boxes' columns at 0.3 s, the yaw as its cosine; the ego vehicle's x, y, yaw at 0.3 s.
WORLDS = {
    3: (279, [7154.890707, 11441.528056, 232.829265, 662.935422, 345.9658, 465.658531,
        -12.002901, -6.980484, -2.672784, 0.0],
        [33.054836998, 20.249788228, -0.532981662]),
    10005: (322, [5628.263472, -31008.435009, 267.621769, 716.763185, 395.015255, 535.243537,
        22.778595, 17.363596, 5.577693, 0.0],
        [37.054001609, -98.23992126, -1.556767454]),
}
#: Of the eight sources without their varied parts: pixels of a seed change when this does.
PLAIN_SHADERS = "7f9071a5b83f6e1bc7f9ef354dda16641c2b7905ef45afb430b7f1eb7e014a55"


@pytest.mark.parametrize("seed", WORLDS)
def test_a_seed_gives_the_world_it_always_gave(seed):
    world = World(seed, 0.4)
    count, columns, ego = WORLDS[seed]
    table = world.boxes(0.3)
    assert len(table) == count
    table[:, boxes.YAW] = np.cos(table[:, boxes.YAW])
    np.testing.assert_allclose(table.sum(axis=0), columns, rtol=0.0, atol=1e-5)
    pose = world.fixed_from_vehicle(0.3)
    np.testing.assert_allclose([*pose[:2, 3], geometry.yaw_of(pose)], ego, rtol=0.0, atol=1e-8)
    np.testing.assert_array_equal(pose[2], [0.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(world.instance_ids, np.arange(count))


def test_the_plain_shaders_are_what_they_were():
    text = "".join(source for pair in shaders.sources(varied=False).values() for source in pair)
    plain = re.sub(r"#ifdef VARIED\n.*?#endif\n", "", text, flags=re.DOTALL)
    assert "VARIED" not in plain and "lamp_" not in plain
    assert hashlib.sha256(plain.encode()).hexdigest() == PLAIN_SHADERS


def test_plain_pictures_are_the_rendered_world_with_noise_and_nothing_else():
    """The drive against its parts put together here, as they were before there was any variety."""
    pytest.importorskip("moderngl")
    from sparse4d_ros.simulation.renderer import Renderer

    try:
        renderer = Renderer(SIZE)
    except UserError as error:
        pytest.skip(str(error))
    seed = 42
    frames = list(simulate(seed, 0.4, 5.0, SIZE, renderer=renderer))
    world = World(seed, 0.4)
    renderer.set_world(world.ground, world.look)
    noise = np.random.default_rng([seed, 99]).normal(0.0, 2.0, (SIZE[1] + 64, SIZE[0] + 64, 3)).round().astype(np.int16)
    assert [frame.frame.stamp_ns for frame in frames] == [START_NS, START_NS + 200_000_000]
    for time_ns, frame in zip((0, 200_000_000), frames, strict=True):
        pose = world.fixed_from_vehicle(time_ns * 1e-9)
        np.testing.assert_array_equal(frame.frame.fixed_from_vehicle, pose)
        table = boxes.transform(world.boxes(time_ns * 1e-9), geometry.inverse(pose))
        np.testing.assert_array_equal(frame.objects.boxes, table[frame.objects.instance_ids])
        for number, camera in enumerate(default_rig().cameras):
            shot_ns = time_ns + camera.offset_ns
            then = world.fixed_from_vehicle(shot_ns * 1e-9)
            camera_from_fixed = geometry.inverse(then @ camera.vehicle_from_camera)
            drawn = (world.objects(shot_ns * 1e-9) + world.scenery).near(then[:2, 3], 110.0)
            picture = renderer.draw(drawn, camera.intrinsic(SIZE), camera_from_fixed)
            row, column = np.random.default_rng([time_ns, number]).integers(0, 64, 2)
            expected = cv2.add(picture.image, noise[row:row + SIZE[1], column:column + SIZE[0]], dtype=cv2.CV_8U)
            seen = frame.frame.cameras[number]
            np.testing.assert_array_equal(seen.image, expected)
            np.testing.assert_array_equal(frame.depth[number], picture.depth)
            np.testing.assert_array_equal(seen.camera_from_vehicle, camera_from_fixed @ pose)
            np.testing.assert_array_equal(seen.intrinsic, camera.intrinsic(SIZE))
            assert (seen.name, seen.stamp_ns) == (camera.name, START_NS + shot_ns)
    renderer.release()
