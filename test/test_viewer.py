"""What `sparse4d view` serves and saves, without a browser (with one: test_viewer_browser.py)."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import bag_cases
import cv2
import numpy as np
import pytest
import viewer_cases

from sparse4d_ros import boxes, cli, geometry
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import save_results
from sparse4d_ros.viewer.documents import DocumentMaker, drive_document, encode_pictures
from sparse4d_ros.viewer.page import save_page, served_page
from sparse4d_ros.viewer.server import ADDRESS, ViewServer
from sparse4d_ros.viewer.store import FrameStore

FRAMES = 4


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(path, bag_cases.frames(FRAMES), bag_cases.rig())
    return path


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tracks") / "tracks.npz"
    save_results(path, [viewer_cases.result_of(item) for item in bag_cases.frames(FRAMES)[1:]])
    return path


def embedded(page: str, identity: str) -> dict:
    """A document that lies in a page."""
    return json.loads(re.search(f'<script type="application/json" id="{identity}">(.*)</script>', page)[1])


def test_a_camera_s_matrix_takes_boxes_to_its_picture():
    item = bag_cases.frame(2)
    (document, _), = viewer_cases.frames(3)[2:]
    point = item.objects.boxes[0, :3]
    described, camera = document["cameras"][0], item.frame.cameras[0]
    pixels, depth = geometry.project(point, geometry.pad_intrinsic(camera.intrinsic) @ camera.camera_from_vehicle)
    matrix = np.array(described["image_from_vehicle"]).reshape(3, 4)
    mapped = matrix @ [*point, 1.0]
    assert mapped[2] == pytest.approx(depth, abs=1e-4)
    assert mapped[:2] / mapped[2] == pytest.approx(pixels + 0.5, abs=1e-2)  # a canvas begins at a pixel's corner
    assert (described["width"], described["height"], described["name"]) == (96, 64, "front")
    assert [camera["offset_ms"] for camera in document["cameras"]] == [0, 7, 14, 21, 28, 35]


def test_a_frame_says_what_the_page_shows():
    document, pictures = viewer_cases.frames(3)[2]
    assert document["seconds"] == 0.4 and document["stamp_ns"] == str(bag_cases.frame(2).frame.stamp_ns)
    first = document["objects"][0]
    assert (first["id"], first["class"], first["score"], first["yawness"]) == (5, "car", 0.9, None)
    assert first["age_s"] == 0.4 and document["objects"][2]["age_s"] == 0.0  # the third object is new
    assert document["truth"][1]["visibility"] == 0.5 and document["total_ms"] == 41.3
    assert sorted(sum(document["columns"], [])) == [0, 1, 2, 3, 4, 5]
    assert sorted(sum(document["columns_below_first"], [])) == [1, 2, 3, 4, 5]
    decoded = cv2.imdecode(np.frombuffer(pictures[3], np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert np.abs(decoded - bag_cases.picture(2, 3)).mean() < 6


def test_a_velocity_that_nobody_knows_is_none():
    item = bag_cases.frame(0)
    item.objects.boxes[0, boxes.VX:] = np.nan
    document = DocumentMaker().document(item.frame, viewer_cases.result_of(item), item.objects)
    for what in ("objects", "truth"):
        assert document[what][0]["box"] == [10.0, 0.0, 0.8, 4.5, 1.9, 1.6, -3.0, None, None, None]
    json.dumps(document, allow_nan=False)


def test_trails_stay_where_they_were_while_the_vehicle_drives_on():
    items = bag_cases.frames(3)
    at = boxes.transform(items[0].objects.boxes, geometry.inverse(items[2].frame.fixed_from_vehicle)
                         @ items[0].frame.fixed_from_vehicle)[0, :2]
    trail = np.array(viewer_cases.frames(3)[2][0]["objects"][0]["trail"])
    assert trail[0] == pytest.approx(at, abs=0.01)
    assert trail[-1] == pytest.approx(items[2].objects.boxes[0, :2], abs=0.01)


def test_what_is_missing_is_told_and_a_jump_back_begins_anew():
    item = bag_cases.frame(6)
    blind = dataclasses.replace(item.frame, cameras=(
        dataclasses.replace(item.frame.cameras[0], image=None), *item.frame.cameras[1:]))
    maker = DocumentMaker()
    document = maker.document(blind, None, failure="refused")
    assert document["objects"] is None and document["truth"] is None and document["failure"] == "refused"
    assert document["cameras"][0] == {"name": "front", "picture": False} and encode_pictures(blind, 96)[0] is None
    earlier = bag_cases.frame(0)
    again = maker.document(earlier.frame, viewer_cases.result_of(earlier))
    assert again["seconds"] == 0.0 and again["objects"][0]["age_s"] == 0.0
    late = bag_cases.frame(2)
    for item in (late, bag_cases.frame(1)):  # a result that comes after pictures shown alone
        document = maker.document(item.frame, viewer_cases.result_of(item))
    assert document["seconds"] == 0.2


def test_wide_pictures_are_made_smaller_and_boxes_stay():
    item = bag_cases.frame(0)
    picture = cv2.imdecode(np.frombuffer(encode_pictures(item.frame, 48)[0], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (32, 48, 3)
    assert DocumentMaker().document(item.frame, None)["cameras"][0]["width"] == 96  # what the matrix is for


@pytest.mark.parametrize("keep", [None, 2])
def test_a_store_gives_back_what_it_was_given(keep):
    store = FrameStore(total=3, keep=keep)
    for number in range(3):
        store.append({"number": number}, [b"front%d" % number, None])
    assert json.loads(store.document(2)) == {"number": 2} and store.picture(2, 0) == b"front2"
    if keep is None:
        assert store.picture(0, 0) == b"front0"
    else:
        with pytest.raises(KeyError):
            store.document(0)
    for camera in (1, 2, -1):
        with pytest.raises(KeyError):
            store.picture(2, camera)
    assert (store.status.count, store.status.total, store.status.done) == (3, 3, False)
    with pytest.raises(ValueError):
        store.append({"number": float("nan")}, [])


def test_who_waits_hears_news_and_the_end():
    store, heard = FrameStore(total=5), []
    waiting = threading.Thread(target=lambda: heard.append(store.wait_for_news(store.status, 30.0)))
    waiting.start()
    store.append({}, [])
    waiting.join(10.0)
    assert heard[0].count == 1
    store.finish("the disk is full")
    assert store.wait_for_news(heard[0], 0.0).to_json() == {
        "count": 1, "total": 1, "done": True, "problem": "the disk is full"}
    store.close()
    assert store.wait_for_news(store.status, 30.0) is None


@pytest.fixture
def server():
    store = FrameStore(total=2)
    for document, pictures in viewer_cases.frames(2):
        store.append(document, [None, *pictures[1:]])
    with ViewServer(served_page(drive_document("a <drive>", "no tracks")), store, 0) as view:
        yield view


def fetch(server, path, **headers):
    with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers), timeout=10) as answer:
        return answer.headers, answer.read()


def test_the_server_gives_page_frames_and_pictures(server):
    headers, page = fetch(server, "")
    assert headers["Content-Type"].startswith("text/html")
    assert embedded(page.decode(), "drive")["name"] == "a <drive>" and "a <drive>" not in page.decode()
    headers, document = fetch(server, "frames/1.json")
    assert json.loads(document) == viewer_cases.frames(2)[1][0] and headers["Cache-Control"] == "no-store"
    headers, picture = fetch(server, "frames/1/2.jpg")
    assert headers["Content-Type"] == "image/jpeg" and picture.startswith(b"\xff\xd8\xff")


def test_a_browser_leaves_port_80_out(server):
    assert fetch(server, "", Host=ADDRESS)[1] == fetch(server, "", Host="localhost")[1]


@pytest.mark.parametrize("path, headers, code", [
    ("frames/2.json", {}, 404), ("frames/1/0.jpg", {}, 404), ("frames/1/6.jpg", {}, 404), ("../setup.py", {}, 404),
    ("frames/-1.json", {}, 404), ("", {"Host": "elsewhere.example:80"}, 403)])
def test_the_server_refuses_everything_else(server, path, headers, code):
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(server, path, **headers)
    assert caught.value.code == code


def test_the_server_is_for_this_machine_alone_and_says_when_it_cannot_be(server):
    assert server.url.startswith(f"http://{ADDRESS}:") and ADDRESS == "127.0.0.1"
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(UserError, match=f"port {port} .* choose another with --port"):
        ViewServer("", FrameStore(), port)


def test_events_tell_the_status_and_who_watches(server):
    assert not server.watched
    with urllib.request.urlopen(server.url + "events", timeout=10) as events:
        assert json.loads(events.readline().removeprefix(b"data: "))["done"] is False
        events.readline()
        assert server.watched
        server.store.finish()
        assert json.loads(events.readline().removeprefix(b"data: "))["done"] is True


def test_the_page_needs_nothing_from_elsewhere():
    page = served_page(drive_document("drive", ""))
    assert not re.search(r"https?://|src=|@import|url\(", page)


def test_the_live_page_s_part_needs_no_extra():
    code = ("import sys; sys.modules.update(dict.fromkeys(('matplotlib', 'rosbags', 'torch', 'nuscenes')))\n"
            "from sparse4d_ros.viewer import documents, page, server\n"
            "page.served_page(documents.drive_document('', ''))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_a_saved_page_holds_every_frame_and_is_written_whole(tmp_path):
    path = tmp_path / "drive.html"
    assert save_page(path, drive_document("drive", ""), viewer_cases.frames(2)) == 2
    page = path.read_text()
    assert embedded(page, "drive")["frames"] == 2
    frame = embedded(page, "frame-1")
    assert frame["objects"][0]["id"] == 5 and len(frame["pictures"]) == 6
    assert frame["pictures"][0].startswith("data:image/jpeg;base64,")

    def broken():
        yield viewer_cases.frames(1)[0]
        raise UserError("the bag ends here")
    with pytest.raises(UserError):
        save_page(path, drive_document("drive", ""), broken())
    assert path.read_text() == page and list(tmp_path.iterdir()) == [path]


def test_the_command_saves_a_bag_with_recorded_tracks(bag, tracks, tmp_path, capsys):
    out = tmp_path / "drive.html"
    words = ["view", "--bag", str(bag), "--tracks", str(tracks), "--save", str(out)]
    assert cli.main([*words, "--picture-width", "48"]) == 0
    assert re.search(rf"{out}: {FRAMES} frames, \d+\.\d MB", capsys.readouterr().out)
    frames = [embedded(out.read_text(), f"frame-{number}") for number in range(FRAMES)]
    assert frames[0]["objects"] is None and "no result of this stamp" in frames[0]["failure"]
    assert [item["id"] for item in frames[2]["objects"]] == [5, 6, 7] and len(frames[2]["truth"]) == 3
    assert cli.main([*words, "--every", "3"]) == 0
    last = embedded(out.read_text(), "frame-1")
    assert embedded(out.read_text(), "drive")["frames"] == 2 and last["stamp_ns"] == frames[3]["stamp_ns"]


def test_the_command_runs_a_model(bag, tmp_path, monkeypatch):
    from fake_engine import FakeEngine

    from sparse4d_ros.viewer import command
    engine = FakeEngine()
    engine.close = lambda: None
    monkeypatch.setattr(command.ModelPackage, "load", lambda path: engine.package)
    monkeypatch.setattr(command, "Engine", lambda package, **how: engine)
    out = tmp_path / "drive.html"
    assert cli.main(["view", "--bag", str(bag), "--model", "mine", "--save", str(out)]) == 0
    frame = embedded(out.read_text(), "frame-3")
    assert frame["objects"] is not None and frame["total_ms"] is not None
    assert embedded(out.read_text(), "drive")["subtitle"] == "model mine"


@pytest.mark.parametrize("words, text", [
    (["--bag", "nowhere"], "nowhere does not exist"),
    (["--bag", "{bag}", "--every", "0"], "--every is 0"),
    (["--bag", "{bag}", "--picture-width", "0"], "--picture-width is 0"),
    (["--bag", "{bag}", "--model", "nowhere"], "nowhere"),
    (["--bag", "{bag}", "--tracks", "{other}", "--save", "{out}"], "they are not of the same drive"),
    (["--bag", "{bag}", "--port", "70000", "--no-browser"], "there is no port 70000; --port takes 1 to 65535"),
])
def test_bad_input_is_a_sentence(bag, tmp_path, capsys, words, text):
    other = tmp_path / "other.npz"
    result = viewer_cases.result_of(bag_cases.frame(0))
    save_results(other, [dataclasses.replace(result, stamp_ns=5)])
    assert cli.main(["view", *(word.format(bag=bag, other=other, out=tmp_path / "x.html") for word in words)]) == 2
    error = capsys.readouterr().err
    assert text in error and error.startswith("sparse4d: ") and not (tmp_path / "x.html").exists()


def test_it_serves_until_ctrl_c(bag, tracks):
    process = subprocess.Popen(
        [sys.executable, "-m", "sparse4d_ros.cli", "view", "--bag", str(bag), "--tracks", str(tracks), "--port", "0",
         "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.match(r"(http://127\.0\.0\.1:\d+/) shows ", process.stdout.readline())[1]
        with urllib.request.urlopen(url + "events", timeout=30) as events:
            while not (line := events.readline().removeprefix(b"data: ")).strip() or not json.loads(line)["done"]:
                pass
        assert json.loads(line) == {"count": FRAMES, "total": FRAMES, "done": True, "problem": ""}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0 and process.stderr.read() == ""
    finally:
        process.kill()
