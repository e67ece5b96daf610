"""Damaged input, a little of it for every run of the tests; `make fuzz` goes on for as long as it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz import ACCEPTED, TARGETS, make_target, reason
from fuzz.campaign import Result, campaign, run_case

from sparse4d_ros.errors import UserError

#: Cases in the quick run, by what one takes.
CASES = {"bags": 25, "safetensors": 30, "model_yaml": 60, "bag_messages": 100, "tracks": 200, "transforms": 100,
         "synchronizer": 100}
#: What a target needs beside the base requirements.
NEEDS = {"bags": "rosbags", "bag_messages": "rosbags", "safetensors": "torch", "model_yaml": "torch",
         "model_tree": "torch", "tracks": "torch"}


def needed(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"the target {name} needs {NEEDS[name]}")


@pytest.mark.fault(61)
@pytest.mark.parametrize("name", TARGETS)
def test_a_few_hundred_inputs_are_taken_or_refused_with_a_reason(name, tmp_path):
    needed(name)
    target, result = make_target(name, tmp_path), Result(name)
    for index in range(CASES.get(name, 400)):
        run_case(target, name, 0, index, result)
    assert result.findings == []
    assert result.outcomes[ACCEPTED] and len(result.outcomes) > 4, result.outcomes


@pytest.mark.slow
@pytest.mark.fault(61)
@pytest.mark.parametrize("name", TARGETS)
def test_half_a_minute_of_inputs(name):
    needed(name)
    result = campaign(name, 2, 30.0)
    assert result.findings == [] and result.cases > CASES.get(name, 400)


class Faulty:
    """Does in its third case what its name says."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def case(self, random):
        self.count += 1
        return random.random()

    def run(self, case):
        if self.count == 3 and self.name == "raises":
            raise KeyError(case)
        if self.count == 3 and self.name == "dies":
            os.abort()
        if self.count == 3 and self.name == "hangs":
            while True:
                pass
        if self.count == 3 and self.name == "eats":
            b"x" * (600 << 20)
        yield ACCEPTED


def faulty(name: str, folder: Path) -> Faulty:
    return Faulty(name)


@pytest.mark.parametrize(("name", "says", "accepted"), [
    ("raises", "KeyError", 4), ("dies", "exit code -6", 2), ("hangs", "than 0.5 s", 2), ("eats", "memory grew", 5)])
def test_what_a_case_must_not_do_is_found_with_its_number_and_the_rest_goes_on(name, says, accepted):
    result = campaign(name, 7, 60.0, last=5, make=faulty, hang_s=0.5 if name == "hangs" else 60.0)
    # What a child had not told when it died is lost; the next one goes on behind the case, and counts anew.
    assert [(finding.seed, finding.index) for finding in result.findings] == [(7, 2)]
    assert says in result.findings[0].what and result.outcomes[ACCEPTED] == accepted


def test_the_same_numbers_make_the_same_case(tmp_path):
    cases = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        target = make_target("raw_images", folder)
        result = Result("raw_images")
        for index in (3, 4):
            run_case(target, "raw_images", 5, index, result)
        cases.append(result.outcomes)
    assert cases[0] == cases[1]


def test_a_reason_is_the_sentence_without_what_differs():
    error = UserError("/tmp/x1/model.yaml: field model.embed_dims (17) must be a multiple of 8, not 'cam 3'")
    assert reason(error) == "PATH: field model.embed_dims (N) must be a multiple of N, not …"
