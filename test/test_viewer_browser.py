"""The page of `sparse4d view` in headless Chromium: what it draws, and that it does what it is told.

Needs `pip install '.[browser]'` and Chromium (`apt-get install chromium`, or `playwright install chromium`).
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import bag_cases
import numpy as np
import pytest
import viewer_cases

from sparse4d_ros import boxes
from sparse4d_ros.evaluation.camera_view import project_box
from sparse4d_ros.viewer.documents import drive_document
from sparse4d_ros.viewer.drive_report import report_document
from sparse4d_ros.viewer.page import save_page, served_page
from sparse4d_ros.viewer.server import ViewServer
from sparse4d_ros.viewer.store import FrameStore

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'")

FRAMES = 6
SIZE = {"width": 1400, "height": 800}
#: The pixels of a canvas as text, which changes when a pixel does.
PIXELS = "canvas => canvas.toDataURL()"
#: Number of different colours of a canvas.
COLOURS = """canvas => new Set(new Uint32Array(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium here: apt-get install chromium, or playwright install chromium")
        # Chromium's sandbox does not work for root, who runs tests in containers.
        launched = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()


@contextmanager
def opened(browser):
    """A page that must not complain, nor ask anybody but its own server."""
    page, complaints, asked = browser.new_page(viewport=SIZE), [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert complaints == []
    assert not [url for url in asked if not url.startswith(("http://127.0.0.1:", "file:///", "data:"))]
    page.close()


@pytest.fixture
def page(browser):
    with opened(browser) as page:
        yield page


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "drive.html"
    save_page(path, drive_document("small drive", "recorded tracks"), viewer_cases.frames(FRAMES))
    return path


@pytest.fixture(scope="module")
def shared_page(browser):
    with opened(browser) as page:
        yield page


@pytest.fixture
def still(shared_page, saved):
    """The saved page, loaded anew and paused at its frame 2."""
    shared_page.set_viewport_size(SIZE)
    shared_page.goto(saved.as_uri())
    wait(shared_page, "frame !== null")
    shared_page.evaluate("play(false).then(() => seek(2))")
    wait(shared_page, "frame.number === 2")
    return shared_page


def wait(page, condition: str, timeout_s: float = 30.0) -> None:
    """Until a JavaScript expression is true. (Playwright's own waiting needs `eval`, which the page forbids.)"""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"{condition} did not come true"
        page.wait_for_timeout(20)


def bird(page) -> str:
    return page.locator("#bird canvas").evaluate(PIXELS)


def front(page) -> str:
    return page.locator(".camera canvas").first.evaluate(PIXELS)


def test_a_saved_file_opens_from_the_disk_and_plays_to_its_end(page, saved):
    page.goto(saved.as_uri())
    wait(page, f"frame?.number === {FRAMES - 1} && !playing")
    assert page.title() == "small drive" and page.locator(".camera").count() == 6
    assert "frame 6 of 6" in page.locator("#clock").inner_text()


def test_every_canvas_is_drawn(still):
    for index in range(6):
        assert still.locator(".camera canvas").nth(index).evaluate(COLOURS) > 200  # a picture
    assert still.locator("#bird canvas").evaluate(COLOURS) > 20
    places = [still.locator(".camera").nth(index).bounding_box() for index in range(6)]
    assert all(place["width"] > 100 and 0 <= place["x"] <= SIZE["width"] - place["width"] for place in places)
    assert all(place["y"] + place["height"] <= SIZE["height"] for place in places)


def test_the_page_projects_as_the_painted_pictures_do(still):
    item = bag_cases.frame(2)
    seen = 0
    for number, camera in enumerate(item.frame.cameras):
        intrinsic = camera.intrinsic.copy()
        intrinsic[:2, 2] += 0.5  # a canvas begins at a pixel's corner
        for box in [*item.objects.boxes, np.array([1.5, 0.0, 0.8, 4.5, 1.9, 1.6, 0.2, 0, 0, 0])]:
            expected = project_box(box, camera.camera_from_vehicle, intrinsic, (96, 64))
            found = still.evaluate("([number, box]) => project(frame.cameras[number], box)", [number, box.tolist()])
            assert (found is None) == (expected is None)
            if found is not None:
                lines = np.array([part["line"] for part in found["lines"]]).reshape(-1, 2, 2)
                assert np.allclose(lines, expected[0], rtol=1e-3, atol=0.05)
                assert found["depth"] == pytest.approx(expected[2], abs=1e-3)
                faces = [set(boxes.EDGES[edge]) <= {0, 3, 4, 7} for edge in expected[1]]
                assert [part["front"] for part in found["lines"]] == faces
                seen += 1
    assert seen >= 4


def test_seeking_shows_another_frame(still):
    before = bird(still), front(still)
    still.keyboard.press("ArrowRight")
    wait(still, "frame.number === 3")
    assert bird(still) != before[0] and front(still) != before[1]
    still.keyboard.press("ArrowLeft")
    wait(still, "frame.number === 2")
    assert (bird(still), front(still)) == before
    line = still.locator("#timeline").bounding_box()
    still.mouse.click(line["x"] + line["width"] - 1, line["y"] + line["height"] / 2)
    wait(still, f"frame.number === {FRAMES - 1}")


def test_toggles_change_pixels_and_give_them_back(still):
    for name, where in (("boxes", front), ("ids", front), ("velocity", front), ("ground", front),
                        ("trails", bird), ("boxes", bird), ("ids", bird)):
        before = where(still)
        still.locator(f"#toggle-{name}").click()
        changed = where(still)
        still.keyboard.press(name[0])
        assert changed != before and where(still) == before, name


def test_the_score_slider_and_the_list_of_classes_hide_objects(still):
    count = still.locator("#count")
    assert count.inner_text() == "2"  # the third scores 0.2, below the slider's 0.3
    still.locator("#score").fill("0")
    assert count.inner_text() == "3"
    still.locator("#score").fill("0.8")
    assert count.inner_text() == "1"
    still.locator("#classes button", has_text="car").click()
    assert count.inner_text() == "0"


def test_a_clicked_object_tells_about_itself_until_it_is_let_go(still):
    assert still.locator("#card").is_hidden()
    still.evaluate("document.querySelector('#bird canvas').scrollIntoView()")
    where = still.locator("#bird canvas").bounding_box()
    x, y = still.evaluate("birdHits.find(hit => hit.id === 5).at")
    still.mouse.click(where["x"] + x, where["y"] + y)
    card = still.locator("#card")
    for words in ("car 5", "0.90", "3.0 m/s", "10.0 m", "–", "0.4 s", "4.5 × 1.9 × 1.6 m"):
        assert words in card.inner_text()
    still.keyboard.press("Escape")
    assert card.is_hidden()
    a, b, c, d = still.evaluate("views[0].hits.find(hit => hit.id === 5).box")
    cell = still.locator(".camera").first.bounding_box()
    still.mouse.click(cell["x"] + (a + c) / 2, cell["y"] + (b + d) / 2)
    assert "car 5" in card.inner_text()


def test_one_camera_alone_and_windows_of_other_sizes(still):
    cells = still.locator(".camera:visible")
    still.locator(".camera").nth(3).dblclick()
    assert cells.count() == 1
    still.keyboard.press("Escape")
    assert cells.count() == 6
    for size in ({"width": 700, "height": 900}, {"width": 2400, "height": 700}):
        still.set_viewport_size(size)
        assert still.locator(".camera canvas").first.evaluate(COLOURS) > 200
        assert still.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_keys_are_shown(still):
    still.keyboard.press("?")
    assert still.locator("#keys").is_visible() and "play or pause" in still.locator("#keys").inner_text()
    still.keyboard.press("Escape")
    assert still.locator("#keys").is_hidden()


def test_a_report_is_told_of_and_opens(page, tmp_path):
    numbers = {"length_s": 1.0, "distance_m": 12.3, "rate_hz": 5.0, "frames": 6, "draw_score": 0.3, "latency_ms": {},
               "classes": {"traffic_cone": {"tracks": 2, "objects_a_frame": 1.5, "median_life_s": 0.4,
                                            "longest_life_s": 0.8}},
               "cameras": {"front": {"pictures": 5, "missing": 1}}}
    report = report_document(numbers, ["camera <front>: no picture in 1 of 6 frames"])
    save_page(tmp_path / "drive.html", drive_document("drive", "recorded") | {"report": report},
              viewer_cases.frames(1))
    page.goto((tmp_path / "drive.html").as_uri())
    wait(page, "frame !== null")
    assert page.locator("#problem").inner_text() == "1 thing went wrong: see the report"
    shown = page.locator("#report")
    assert shown.is_hidden()
    page.keyboard.press("r")
    for words in ("12 m", "camera <front>: no picture in 1 of 6 frames", "traffic cone", "median life s", "missing"):
        assert words in shown.inner_text()
    assert "Milliseconds" not in shown.inner_text()  # nothing was measured
    page.keyboard.press("Escape")
    page.locator("#show-report").click()
    assert shown.is_visible()


def test_a_page_without_a_report_offers_none(still):
    assert still.locator("#show-report").is_hidden() and still.locator("#problem").inner_text() == ""
    still.keyboard.press("r")
    assert still.locator("#report").is_hidden()


@pytest.fixture
def serve():
    """A function that serves a store; all is closed at the end."""
    servers = []

    def start(drive: dict, store: FrameStore) -> ViewServer:
        servers.append(ViewServer(served_page(drive), store, 0).__enter__())
        return servers[-1]
    yield start
    for server in servers:
        server.__exit__()


def test_a_served_drive_is_watched_while_it_is_computed(page, serve):
    store, frames = FrameStore(total=FRAMES), viewer_cases.frames(FRAMES)
    page.goto(serve(drive_document("drive", "model mine"), store).url)
    assert page.locator("#clock").inner_text() == "waiting for the first frame"
    store.append(*frames[0])
    wait(page, "frame?.number === 0")
    assert page.locator("#making").inner_text() == "preparing 1 / 6"
    for frame in frames[1:]:
        store.append(*frame)
    wait(page, f"frame.number === {FRAMES - 1}")
    store.finish("the bag ends early")
    wait(page, "!playing")
    assert page.locator("#problem").inner_text() == "the bag ends early" and page.locator("#making").inner_text() == ""
    page.evaluate("seek(0)")
    wait(page, "frame.number === 0")


def test_a_live_page_shows_the_newest_frame_and_pauses(page, serve):
    store, frames = FrameStore(keep=2), viewer_cases.frames(FRAMES)
    blind = {**frames[0][0], "columns": [[0, 1, 2], [3, 4, 5]]}  # as long as mountings are unknown
    store.append(blind, frames[0][1])
    page.goto(serve(drive_document("vehicle", "live", live=True), store).url)
    wait(page, "frame?.number === 0")
    filler = threading.Thread(target=lambda: [store.append(*frame) for frame in frames[1:4]])
    filler.start()
    wait(page, "frame.number === 3")
    filler.join()
    left = page.locator(".camera").nth(2).bounding_box(), page.locator(".camera").nth(1).bounding_box()
    assert left[0]["x"] < left[1]["x"]  # front_left, front_right
    assert page.locator("#timeline").is_hidden()
    page.keyboard.press("Space")
    store.append(*frames[4])
    wait(page, "status.count === 5")
    assert page.evaluate("frame.number") == 3 and "paused" in page.locator("#clock").inner_text()
    page.keyboard.press("Space")
    wait(page, "frame.number === 4")
