"""Faults in words and in files: read as they are written, or refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import fault_marks
import pytest
from hypothesis import given
from injection_cases import RECORDING, picture_topic, specs

from sparse4d_ros.data import faults
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.faults import FAULTS
from sparse4d_ros.data.timed_messages import Recording
from sparse4d_ros.errors import UserError

PAGE = Path(__file__).parents[1] / "docs" / "fault_injection.md"


@given(specs())
def test_a_fault_reads_back_as_it_is_written(fault):
    assert faults.parse(str(fault)) == fault


def test_short_forms_have_the_declared_defaults():
    assert str(faults.parse("drop")) == "drop"
    assert str(faults.parse("tf_jump:from=3.50,metres=20")) == "tf_jump:from=3.5"
    assert faults.parse("delay:to=2,camera=front,ms=80").ms == 80.0


@pytest.mark.parametrize(("text", "words"), [
    ("", ["no fault ''", "drop", "clock_loop"]),
    ("dorp:camera=front", ["no fault 'dorp'", "drop"]),
    ("drop:cam=front", ["drop has no field 'cam'", "camera, probability, from, to"]),
    ("drop:camera", ["'camera'", "field=value"]),
    ("drop:from=1,from=2", ["'from=2'", "twice"]),
    ("drop:probability=often", ["drop: probability=often is not a number"]),
    ("drop:probability=1.5", ["drop: probability=1.5", "between 0 and 1"]),
    ("drop:probability=nan", ["probability=nan", "between"]),
    ("drop:from=3,to=2", ["drop: from=3 is not before to=2"]),
    ("corrupt:bytes=1.5", ["corrupt: bytes=1.5 is not a whole number"]),
    ("stall:from=1", ["stall needs to="]),
    ("swap:camera=front", ["swap needs with="]),
    ("swap:camera=front,with=back,what=some", ["what=some is not one of images, all"]),
    ("clock_loop:from=2", ["clock_loop needs to="]),
    ("clock_loop:from=2,to=1", ["from=2 is not before to=1"]),
])
def test_what_is_wrong_is_named(text, words):
    with pytest.raises(UserError) as error:
        faults.parse(text)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(("text", "words"), [
    ("drop:camera=side", ["camera=side", "the bag has no", picture_topic("front")]),
    ("wrong_step:camera=front", ["sensor_msgs/msg/Image", picture_topic("raw")]),
    ("swap:camera=front,with=raw", [picture_topic("front"), picture_topic("raw"), "same types"]),
    ("swap:camera=front,with=front", ["two cameras"]),
    ("swap:camera=all,with=front", ["two cameras"]),
])
def test_a_fault_that_finds_nothing_is_refused_before_anything_goes_out(text, words):
    with pytest.raises(UserError) as error:
        Injector(RECORDING, [faults.parse(text)])
    assert all(word in str(error.value) for word in words), error.value


def test_tf_faults_need_tf():
    bare = Recording("the bag", {"/a": "std_msgs/msg/String"}, frozenset(), 0, lambda start, stop: iter(()))
    with pytest.raises(UserError, match="the bag has no tf2_msgs/msg/TFMessage"):
        Injector(bare, [faults.parse("tf_drop")])


def test_two_loops_are_refused():
    with pytest.raises(UserError, match="one clock_loop; it has times="):
        Injector(RECORDING, [faults.parse("clock_loop:to=1"), faults.parse("clock_loop:to=2")])


def test_a_file_says_the_same_as_words(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("- drop: {camera: front, probability: 0.3, from: 2}\n- reorder\n"
                    "- swap: {camera: front, with: back}\n")
    words = ["drop:camera=front,probability=0.3,from=2", "reorder", "swap:camera=front,with=back"]
    assert faults.read_file(path) == [faults.parse(text) for text in words]


@pytest.mark.parametrize(("text", "words"), [
    ("- [", ["cannot be read as YAML"]),
    ("drop: {}", ["not a list"]),
    ("- drop: {}\n- 3", ["entry 2"]),
    ("- {drop: {}, delay: {}}", ["entry 1"]),
    ("- drop: front", ["entry 1"]),
    ("- drop: {camera: [front]}", ["entry 1", "not of the form"]),
    ("- drop: {}\n- drop: {probability: true}", ["entry 2", "probability=True"]),
    ("- drop: {from: 2024-13-45}", ["cannot be read as YAML"]),
    ("- dorp: {}", ["entry 1", "no fault 'dorp'"]),
    ("- !!python/object/apply:os.getcwd []", ["cannot be read as YAML"]),
])
def test_a_file_that_is_wrong_is_named_with_its_entry(tmp_path, text, words):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        faults.read_file(path)
    assert all(word in str(error.value) for word in [str(path), *words]), error.value
    with pytest.raises(UserError, match="nowhere.yaml cannot be read"):
        faults.read_file(tmp_path / "nowhere.yaml")


def test_the_list_and_the_page_tell_of_every_fault():
    known = {row.number for row in fault_marks.read_faults()}
    listing = faults.listing()
    for name, fault in FAULTS.items():
        assert known.issuperset(fault.rows), name
        assert f"\n{name}" in listing and all(f" {key}=" in listing for key in fault.options())
    assert faults.markdown_table() in PAGE.read_text(), "replace the table: python -m sparse4d_ros.data.faults"
