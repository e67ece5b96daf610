"""Suites: files that fix the drives of a score."""

from __future__ import annotations

import pytest
import yaml
from rendering import renderer_of

from sparse4d_ros import cli
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.drive_cache import DriveCache
from sparse4d_ros.resources import share_path
from sparse4d_ros.simulation.splits import SPLITS
from sparse4d_ros.simulation.variety import weather_of

SUITE = {"split": "test", "variety": "full", "size": "88x32",
         "drives": [{"seeds": 11001, "rate": 10, "duration": 0.2}, {"seeds": "11016:11018", "rate": 2, "duration": 1}]}


@pytest.fixture(scope="module")
def can_render():
    """Skips where the machine cannot draw without a screen."""
    yield from renderer_of((88, 32))


@pytest.fixture
def saved(tmp_path):
    def save(**changes):
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(SUITE | changes))
        return path
    return save


@pytest.mark.parametrize("name", ["test", "sealed"])
def test_the_shipped_suites_hold_thirty_drives_at_two_rates_in_all_weathers(name):
    content = yaml.safe_load((share_path("config", f"{name}_drives.yaml")).read_text())
    seeds = [seed for entry in content["drives"] for seed in range(*map(int, entry["seeds"].split(":")))]
    assert content["split"] == name and len(set(seeds)) == len(seeds) >= 30 and set(seeds) <= set(SPLITS[name])
    assert {entry["rate"] for entry in content["drives"]} == {2, 10}
    words = {word for seed in seeds for word in weather_of(seed)["name"].split(", ")}
    assert words == {"day", "dusk", "night", "rain", "fog", "sun glare", "dirty lenses"}


def test_no_town_is_in_two_splits():
    towns = [seed for seeds in SPLITS.values() for seed in seeds]
    assert len(set(towns)) == len(towns)


def test_a_suite_renders_every_drive_as_the_file_says(can_render, saved, tmp_path):
    out = tmp_path / "drives"
    assert cli.main(["simulate", "--suite", str(saved()), "--format", "arrays", "--output", str(out)]) == 0
    drives = {path.name: DriveCache(path) for path in out.iterdir()}
    assert {name: len(drive) for name, drive in drives.items()} == {
        "drive_11001": 2, "drive_11016": 2, "drive_11017": 2}
    assert drives["drive_11001"].images.shape[3:1:-1] == (88, 32)
    assert [drives[f"drive_{seed}"].weather for seed in (11001, 11016)] == ["night, dirty lenses", "day, sun glare"]


def test_a_bag_keeps_the_weather(can_render, saved, tmp_path):
    suite = saved(drives=SUITE["drives"][:1])
    assert cli.main(["simulate", "--suite", str(suite), "--output", str(tmp_path / "bags")]) == 0
    assert BagDrive(tmp_path / "bags" / "drive_11001").weather == "night, dirty lenses"


@pytest.mark.parametrize(("changes", "named"), [
    ({"split": "some"}, "unknown split 'some'"),
    ({"split": "val"}, "seed 11001 is no val town"),
    ({"variety": "much"}, "unknown variety 'much'"),
    ({"size": "352"}, "size"),
    ({"rates": 3}, "unknown key 'rates'"),
    ({"drives": []}, "at least one entry"),
    ({"drives": [{"seeds": 11001, "rate": 2}]}, "entry 1 of drives: duration is missing"),
    ({"drives": [{"seeds": 11001, "rate": 0, "duration": 1}]}, "entry 1 of drives: rate: 0 is not a positive number"),
    ({"drives": [*SUITE["drives"], {"seeds": 11017, "rate": 2, "duration": 1}]}, "the town 11017 stands there twice"),
])
def test_a_wrong_suite_is_named_before_anything_is_rendered(saved, tmp_path, capsys, changes, named):
    path = saved(**changes)
    assert cli.main(["simulate", "--suite", str(path), "--output", str(tmp_path / "out")]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_suite_leaves_no_choice_of_towns(saved, tmp_path, capsys):
    assert cli.main(["simulate", "--suite", str(saved()), "--seeds", "3", "--output", str(tmp_path / "out")]) == 2
    assert "leave out --seeds" in capsys.readouterr().err
    assert cli.main(["simulate", "--suite", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "out")]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
