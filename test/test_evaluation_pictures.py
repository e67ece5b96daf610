"""Pictures: boxes land where geometry says, the near plane cuts, layouts hold, videos play."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparse4d_ros import boxes as box_columns
from sparse4d_ros import geometry
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.birds_eye import BirdsEye, Trails
from sparse4d_ros.evaluation.camera_view import NEAR, draw_camera, project_box
from sparse4d_ros.evaluation.pictures import SIZE, FramePainter, arrange, paint_drive
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.evaluation.video import count_frames, write_video
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects

YAWS = {"front": 0.0, "front_right": -0.96, "front_left": 0.96, "back": np.pi, "back_left": 1.92, "back_right": -1.92}
OPTICAL = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def camera(name: str = "front", width: int = 400, height: int = 200, image: bool = True) -> CameraFrame:
    pose = geometry.from_yaw(0.0, 0.0, 1.5, YAWS[name])
    return CameraFrame(name, np.full((height, width, 3), 60, np.uint8) if image else None,
                       np.array([[200.0, 0, (width - 1) / 2], [0, 200.0, (height - 1) / 2], [0, 0, 1]]),
                       OPTICAL @ geometry.inverse(pose), 0)


def result(rows, names=None, stamp_ns: int = 0, scores=None) -> FrameResult:
    rows = np.array(rows, dtype=np.float64).reshape(-1, box_columns.BOX_COLUMNS)
    scores = np.full(len(rows), 0.9) if scores is None else np.array(scores)
    return FrameResult(stamp_ns, rows, tuple(names or ["car"] * len(rows)), scores, scores,
                       np.arange(len(rows)) + 1, {"total": 40.0})


AHEAD = [12.0, 1.0, 1.0, 4.0, 2.0, 1.6, 0.3, 0.0, 0.0, 0.0]


def near_colour(image: np.ndarray, pixel, colour, reach: int = 2, tolerance: int = 60) -> bool:
    """Whether some pixel within ``reach`` of ``pixel`` has about this colour."""
    x, y = round(pixel[0]), round(pixel[1])
    patch = image[max(y - reach, 0):y + reach + 1, max(x - reach, 0):x + reach + 1].reshape(-1, 3).astype(int)
    return bool((np.abs(patch - np.array(colour)).max(axis=1) < tolerance).any())


@pytest.mark.parametrize("size", [(400, 200), (800, 400), (300, 150)])
def test_edges_are_drawn_where_the_corners_project(size):
    view = camera()
    drawn = draw_camera(view, result([AHEAD]), size)
    pixels, depth = geometry.project(box_columns.corners(np.array([AHEAD]))[0],
                                     geometry.pad_intrinsic(view.intrinsic) @ view.camera_from_vehicle)
    assert (depth > 1).all()
    scale = np.array(size) / [400, 200]
    pixels = (pixels + 0.5) * scale - 0.5
    # Bottom corners and the middle of bottom edges: the label covers some of the upper ones.
    for first, second in box_columns.EDGES[:4]:
        for share in (0.0, 0.5):
            spot = pixels[first] * (1 - share) + pixels[second] * share
            assert near_colour(drawn, spot, canvas.class_colour("car")), (first, second, share)
    assert (drawn[5, 5] == 60).all()  # far from the box nothing changed


def test_an_object_behind_the_camera_is_not_drawn():
    behind = [-12.0, *AHEAD[1:]]
    assert (draw_camera(camera(), result([behind]), (400, 200)) == 60).all()


def test_edges_that_cross_the_near_plane_are_cut_at_it():
    # 10 m long, from 4 m behind the camera to 6 m before it.
    long_box = np.array([1.0, 3.0, 1.0, 10.0, 2.0, 1.6, 0.0, 0, 0, 0])
    matrix = camera().camera_from_vehicle
    corners = box_columns.corners(long_box[None])[0] @ matrix[:3, :3].T + matrix[:3, 3]
    segments, index = box_columns.clip_edges(corners, NEAR)
    assert len(index) == 8  # the rear face is gone
    assert segments[..., 2].min() == pytest.approx(NEAR)
    assert segments[..., 2].max() == pytest.approx(6.0)
    # A cut edge still lies on its line: the four long edges keep their x and y in the camera.
    for segment, edge in zip(segments, index, strict=True):
        if np.ptp(segment[:, 2]) > 1:
            np.testing.assert_allclose(segment[:, :2], np.tile(corners[box_columns.EDGES[edge][0], :2], (2, 1)),
                                       atol=1e-9)


def test_a_box_outside_the_picture_projects_to_nothing():
    view = camera()
    assert project_box(np.array([5.0, 40.0, *AHEAD[2:]]), view.camera_from_vehicle, view.intrinsic, (400, 200)) is None
    assert project_box(np.array(AHEAD), view.camera_from_vehicle, view.intrinsic, (400, 200)) is not None


def test_birds_eye_has_forward_up_and_left_to_the_left():
    view = BirdsEye((600, 800))
    assert view.pixels(np.array([0.0, 0.0])).tolist() == [300, 400]
    ahead, left = view.pixels(np.array([10.0, 0.0])), view.pixels(np.array([0.0, 10.0]))
    assert ahead[0] == 300 and ahead[1] < 400
    assert left[0] < 300 and left[1] == 400
    assert 400 - ahead[1] == pytest.approx(300 - left[0])


def test_birds_eye_draws_tracks_filled_and_truth_as_outline():
    view = BirdsEye((600, 800))
    truth = Objects(np.array([[-20.0, -10, 1, 6, 3, 2, 0, 0, 0, 0], [-20.0, 10, 1, 6, 3, 2, 0, 0, 0, 0]]),
                    ("car", "car"), np.arange(2), np.array([1.0, 0.0]))
    drawn = view.draw(result([AHEAD]), truth, Trails(), np.eye(4))
    colour = canvas.mix(canvas.PANEL, canvas.class_colour("car"), 0.45)
    assert near_colour(drawn, view.pixels(np.array(AHEAD[:2])), colour, reach=0)
    seen, unseen = view.pixels(truth.boxes[:, :2])
    edge = [seen[0], seen[1] - 3 * view.pixels_per_metre]
    assert near_colour(drawn, edge, canvas.TRUTH, reach=1, tolerance=90)
    assert near_colour(drawn, seen, canvas.PANEL, reach=0, tolerance=12)
    unseen_edge = [unseen[0], unseen[1] - 3 * view.pixels_per_metre]
    assert not near_colour(drawn, unseen_edge, canvas.TRUTH, reach=2, tolerance=90)


def test_trails_stay_in_the_world_while_the_vehicle_moves():
    trails = Trails(window_s=1.0)
    world = np.array([20.0, 5.0, 1.0])
    for step in range(20):
        pose = geometry.from_yaw(step * 1.0, 0.0, 0.0, 0.02 * step)
        row = box_columns.transform(np.array([[*world, 4, 2, 1.5, 0, 0, 0, 0]]), geometry.inverse(pose))
        trails.update(result(row, stamp_ns=step * 100_000_000), pose)
    points, ages = trails.of(1, 19 * 100_000_000)
    assert len(points) == 11  # one second at ten a second, both ends
    np.testing.assert_allclose(points, np.tile(world, (11, 1)), atol=1e-9)
    assert (ages[0], ages[-1]) == (1.0, 0.0)
    trails.update(result([], stamp_ns=30 * 100_000_000), np.eye(4))
    assert len(trails.of(1, 30 * 100_000_000)[0]) == 0


@pytest.mark.parametrize("names, size", [
    (list(YAWS), (352, 128)), (list(YAWS), (1600, 900)), (list(YAWS), (640, 640)),
    (["front"], (1600, 900)), (["front", "back", "front_left"], (704, 256)), (["front_left", "back_left"], (800, 600)),
])
def test_cells_lie_apart_and_inside(names, size):
    cameras = [camera(name, *size) for name in names]
    area = (12, 56, 920, 832)
    cells, legend = arrange(cameras, area)
    taken = np.zeros((900, 1600), dtype=int)
    for x, y, width, height in [*cells, legend]:
        assert x >= 12 and y >= 56 and x + width <= 932 and y + height <= 888
        assert width > 100 and height > 40
        taken[y:y + height, x:x + width] += 1
    assert taken.max() == 1
    for _, _, width, height in cells:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.03)


def test_left_cameras_stand_left():
    names = list(YAWS)
    cells, _ = arrange([camera(name, 352, 128) for name in names], (12, 56, 920, 832))
    place = dict(zip(names, cells, strict=True))
    assert place["front"][2] > 1.9 * place["back"][2]  # wide pictures: the reference camera has its own row
    assert place["front_left"][0] < place["front_right"][0] and place["back_left"][0] < place["back_right"][0]
    assert place["front"][1] < place["front_left"][1] < place["back_left"][1] < place["back"][1]


def frame(stamp_ns: int = 0, missing: str = "") -> Frame:
    return Frame(stamp_ns, tuple(camera(name, 352, 128, image=name != missing) for name in YAWS), np.eye(4))


def test_a_picture_shows_objects_above_the_score_only():
    truth = Objects(np.array([AHEAD]), ("car",), np.array([1]))
    with_low = FramePainter("drive").paint(frame(), result([AHEAD], scores=[0.29]), truth)
    without = FramePainter("drive").paint(frame(), result([]), truth)
    with_high = FramePainter("drive").paint(frame(), result([AHEAD], scores=[0.31]), truth)
    assert with_low.shape == (SIZE[1], SIZE[0], 3)
    np.testing.assert_array_equal(with_low, without)
    assert (with_high != without).any(axis=2).sum() > 500


def test_a_missing_camera_and_a_missing_result_are_said():
    painter = FramePainter("drive")
    whole = painter.paint(frame(), None, None)
    broken = FramePainter("drive").paint(frame(missing="back_left"), None, None)
    assert (whole != broken).any()
    # The header's words are red where no result came.
    header = whole[:56].reshape(-1, 3)
    assert (np.abs(header.astype(int) - canvas.ALERT).max(axis=1) < 8).any()


def test_text_is_cut_at_the_border():
    image = np.zeros((20, 40, 3), np.uint8)
    width = canvas.text(image, "far too long for this", 10, -4, 16)
    assert width > 40
    assert image.any() and not image[:, :8].any()


def test_a_video_plays_with_all_its_frames(tmp_path):
    items = [LabelledFrame(frame(step * 100_000_000), Objects(np.array([AHEAD]), ("car",), np.array([1])))
             for step in range(3)]
    results = [result([AHEAD], stamp_ns=item.frame.stamp_ns) for item in items[:2]]
    painted = list(paint_drive(FramePainter("drive"), items, results))
    assert [stamp_ns for stamp_ns, _ in painted] == [0, 100_000_000, 200_000_000]
    assert write_video(tmp_path / "video.mp4", (picture for _, picture in painted), 10.0) == 3
    assert count_frames(tmp_path / "video.mp4") == 3
    reader = cv2.VideoCapture(str(tmp_path / "video.mp4"))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    good, first = reader.read()
    assert good and first.shape == (SIZE[1], SIZE[0], 3)
    expected = FramePainter("drive").paint(items[0].frame, results[0], items[0].objects)
    assert np.abs(first.astype(int) - expected.astype(int)).mean() < 6.0
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_a_video_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no picture for it"):
        write_video(tmp_path / "video.mp4", [], 10.0)
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_video(tmp_path / "nowhere" / "video.mp4", [np.zeros((64, 64, 3), np.uint8)], 10.0)
