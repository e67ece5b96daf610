"""The recipe of the small model: what `make model` would run is what the commands accept, in an order that works."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from sparse4d_ros import cli
from sparse4d_ros.arguments import picture_size
from sparse4d_ros.simulation.splits import check_seed
from sparse4d_ros.simulation.suite import read_suite

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def commands():
    """What make says it would run from nothing, as parsed arguments."""
    pytest.importorskip("torch")
    pytest.importorskip("nuscenes")
    printed = subprocess.run(["make", "-n", "-f", "config/sparse4d_small.mk", "OUT=/nowhere"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout.replace("\\\n", " ")
    lines = [shlex.split(line) for line in printed.splitlines()]
    words = [line[line.index("sparse4d_ros.cli") + 1:] for line in lines if "sparse4d_ros.cli" in line]
    return [cli.build_parser(line[0]).parse_args(line) for line in words]


def test_the_stages_follow_each_other(commands):
    rendered, trained, packed = set(), set(), set()
    for args in commands:
        if args.command == "simulate":
            rendered.add(args.output)
        elif args.command == "train":
            assert args.resume and args.config.exists() and set(args.drives) <= rendered
            assert args.begin_from is None or args.begin_from in packed
            trained.add(args.output)
        elif args.command == "pack":
            assert args.run in trained
            packed.add(args.output)
        elif args.command == "export":
            assert args.package in packed
        else:
            assert args.model in packed and args.groups == 3
            assert args.drives[0].parent in rendered
    assert [args.config.stem for args in commands if args.command == "train"] == [
        "train_small", "train_small_joint", "train_small_varied"]
    assert commands[-1].command == "evaluate"


def test_towns_of_training_and_test_are_apart(commands):
    parsers = {"split": str, "variety": str, "size": picture_size, "rate": float, "duration": float,
               "seeds": lambda text: range(*map(int, text.split(":")))}
    suites = [args.suite for args in commands if args.command == "simulate"]
    assert sorted(suite.stem for suite in suites) == ["plain_drives", "test_drives", "varied_drives"]
    for suite in suites:
        for part in read_suite(ROOT / suite, parsers):
            assert part["split"] == ("test" if suite.stem == "test_drives" else "train")
            for town in part["seeds"]:
                check_seed(town, part["split"])
            if part["split"] == "train":  # drives of 40 frames each, whatever their rate
                assert part["rate"] * part["duration"] == 40
