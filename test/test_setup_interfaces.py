"""Interface packages: what is built, and that it is what a real distribution has."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import sparse4d_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT, ROOT / "underlay" / "vision_msgs", ROOT / "underlay" / "tf2_msgs")

#: Type hashes in published builds of vision_msgs 4.1 and geometry2 (Jazzy). Each covers all types inside it.
PUBLISHED_HASHES = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/BoundingBox2DArray": "2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "vision_msgs/msg/Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_interface_is_generated(package: Path) -> None:
    listed = re.findall(r'"((?:msg|srv|action)/\w+\.(?:msg|srv|action))"', (package / "CMakeLists.txt").read_text())
    present = [str(path.relative_to(package)) for kind in ("msg", "srv", "action")
               for path in (package / kind).glob(f"*.{kind}")]
    assert sorted(listed) == sorted(present)


@pytest.mark.ros
@pytest.mark.parametrize("name", PUBLISHED_HASHES)
def test_types_are_those_of_a_real_distribution(name: str) -> None:
    package, kind, message = name.split("/")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    files = [path for prefix in prefixes
             if (path := Path(prefix, "share", package, kind, f"{message}.json")).is_file()]
    if not files:
        pytest.skip("this distribution has no type hashes (before Iron)")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(files[0].read_text())["type_hashes"]}
    assert hashes[name] == f"RIHS01_{PUBLISHED_HASHES[name]}"


def test_one_version_everywhere() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").findtext("version")
    pip = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text()).group(1)
    assert manifest == pip == sparse4d_ros.__version__


@pytest.mark.parametrize("distribution", ["jazzy", "kilted"])
def test_pypi_or_underlay_provides_what_the_manifest_asks_for(distribution: str) -> None:
    pins = (ROOT / "underlay" / f"ros-{distribution}.txt").read_text().splitlines()
    provided = {re.fullmatch(r"ros-([\w-]+)==[\d.]+", line).group(1).replace("-", "_")
                for line in pins if line and not line.startswith("#")}
    provided |= {package.name for package in PACKAGES}
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    kinds = ("buildtool_depend", "depend", "exec_depend")
    wanted = {element.text for kind in kinds for element in manifest.iter(kind)}
    only_in_distributions = {"launch", "launch_ros"}  # for the launch files; nothing that runs here needs them
    assert {name for name in wanted - only_in_distributions if not name.startswith("python3-")} <= provided


@pytest.mark.ros
def test_an_object_has_every_field_of_the_contract() -> None:
    from sparse4d_ros.msg import CameraInput, TrackedObject3D, TrackedObject3DArray

    assert TrackedObject3D.get_fields_and_field_types() == {
        "track_id": "uint64", "hits": "uint32", "frames_since_hit": "uint32", "age_s": "float",
        "class_id": "uint16", "class_name": "string",
        "score": "float", "class_score": "float", "centerness": "float", "yawness": "float",
        "pose": "geometry_msgs/Pose", "size": "geometry_msgs/Vector3",
        "velocity": "geometry_msgs/Vector3", "velocity_valid": "boolean", "depth": "float", "camera_mask": "uint32",
    }
    flags = [TrackedObject3DArray.DEGRADED_CAMERAS, TrackedObject3DArray.NO_HISTORY,
             TrackedObject3DArray.EGO_MOTION_EXTRAPOLATED, TrackedObject3DArray.RATE_OUT_OF_RANGE]
    assert flags == [1, 2, 4, 8]
    assert [CameraInput.OK, CameraInput.MISSING, CameraInput.LATE, CameraInput.REJECTED] == [0, 1, 2, 3]
