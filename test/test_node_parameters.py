"""The parameters: each declared once, every wrong value refused by a sentence that names it."""

from pathlib import Path

import pytest
import yaml

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import parameters
from sparse4d_ros.node.parameters import FIELDS, settings_from
from sparse4d_ros.node.settings import Settings

CONFIG = Path(__file__).parents[1] / "config" / "sparse4d.yaml"


def test_defaults_are_valid_and_typed():
    settings = settings_from({})
    assert settings == Settings()
    for item in FIELDS:
        spec = item.metadata["spec"]
        if not spec.per:
            assert parameters.checked_value(spec.name, item.default) == item.default


@pytest.mark.fault(53)
@pytest.mark.parametrize(("name", "value", "says"), [
    ("score_treshold", 0.5, "Did you mean 'score_threshold'"),
    ("camera_frames", "x", "does not exist"),
    ("zzz", 1, "docs/parameters.md list them all"),
    ("score_threshold", 1.5, "between 0 and 1"),
    ("score_threshold", "high", "a finite number"),
    ("score_threshold", float("nan"), "a finite number"),
    ("score_threshold", True, "a finite number"),
    ("score_threshold", 10**400, "a finite number"),
    ("max_objects", 2.5, "an integer"),
    ("max_objects", 0, "between 1 and 10000"),
    ("input_qos", "fast", "one of sensor_data, reliable"),
    ("model.backend", "cuda", "one of auto, onnxruntime, torch, tensorrt"),
    ("cameras", "front", "a list of names"),
    ("cameras", ["front", ""], "a list of names"),
    ("cameras", [], "names 0 cameras"),
    ("cameras", ["front", "front"], "'front' twice"),
    ("cameras", ["front", "back left"], "cannot be part of a topic name"),
    ("cameras", ["left", "right"], "'reference_camera' is 'front'"),
    ("reference_camera", "top", "must be one of 'cameras'"),
    ("min_cameras", 7, "'cameras' names 6"),
    ("fixed_frame", "", "is empty"),
    ("fixed_frame", "/odom", "do not begin with a slash"),
    ("camera_frames.front", "/front_optical", "do not begin with a slash"),
    ("publish_markers", 1, "true or false"),
    ("camera_frames.top", "top_optical", "names no camera"),
    ("class_score_thresholds.car", 2.0, "between 0 and 1"),
    ("diagnostics.period_s", 0.0, "between 0.05 and 60"),
])
def test_a_wrong_value_is_named(name, value, says):
    with pytest.raises(UserError) as caught:
        settings_from({name: value})
    assert says in str(caught.value)
    assert name in str(caught.value) or "reference_camera" in str(caught.value)


def test_values_arrive_in_their_type():
    settings = settings_from({"score_threshold": 1, "cameras": ["a", "front"], "camera_frames.a": "a_link",
                              "class_score_thresholds.car": 0.1, "model.package": "/some/folder"})
    assert settings.score_threshold == 1.0 and isinstance(settings.score_threshold, float)
    assert settings.cameras == ("a", "front") and settings.required_cameras == 2
    assert settings.camera_frames == {"a": "a_link"}
    assert settings.class_score_thresholds == {"car": 0.1}
    assert settings.model_package == "/some/folder"


def test_the_shipped_file_is_the_declared_defaults():
    assert CONFIG.read_text() == parameters.parameter_file(), \
        "write it anew: python -m sparse4d_ros.node.parameters --yaml > config/sparse4d.yaml"
    tree = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    flat = {}
    for key, value in tree.items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    assert settings_from(flat) == Settings()
    assert set(flat) == {f.metadata["spec"].name for f in FIELDS if not f.metadata["spec"].per}


def test_the_table_has_a_row_for_each_parameter():
    rows = parameters.markdown_table().splitlines()
    assert len(rows) == len(FIELDS) + 2
    assert all(row.count("|") == rows[0].count("|") for row in rows)


def test_the_page_in_docs_is_the_table():
    page = CONFIG.parents[1] / "docs" / "parameters.md"
    assert page.read_text().endswith("\n\n" + parameters.markdown_table()), \
        "replace the table: python -m sparse4d_ros.node.parameters"
