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


def lines_of(*variables):
    """The words of each line that make says it would run from nothing."""
    printed = subprocess.run(["make", "-n", "-f", "config/sparse4d_small.mk", "OUT=/nowhere", *variables], cwd=ROOT,
                             check=True, capture_output=True, text=True).stdout.replace("\\\n", " ")
    return [shlex.split(line) for line in printed.splitlines()]


@pytest.fixture(scope="module")
def commands():
    """Its commands as parsed arguments."""
    pytest.importorskip("torch")
    pytest.importorskip("nuscenes")
    words = [line[line.index("sparse4d_ros.cli") + 1:] for line in lines_of() if "sparse4d_ros.cli" in line]
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


@pytest.mark.parametrize("variables, device, processes", [
    ([], "cpu", "2"), (["DEVICE=cuda"], "cuda", "1"), (["DEVICE=cuda", "PROCESSES=4"], "cuda", "4"),
])
def test_as_many_processes_train_as_the_device_is_good_for(variables, device, processes):
    runs = [line for line in lines_of(*variables) if "train" in line]
    assert [(line[line.index("--device") + 1], line[line.index("--nproc-per-node") + 1]) for line in runs] == [
        (device, processes)] * 3


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
