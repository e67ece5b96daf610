"""The running node from outside: the ports it opens, the files it writes, and its part of the graph by the policy."""

import needs_ros  # noqa: F401

# isort: split
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from node_harness import ros_context, wait_until
from node_process import camera_remaps, process
from rclpy.node import Node

from sparse4d_ros.node import topics
from sparse4d_ros.node.settings import NUSCENES_CAMERAS
from sparse4d_ros.resources import share_path

pytestmark = pytest.mark.ros


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def sockets(pid: int) -> Counter[str]:
    """How many sockets of the internet a process has, by kind."""
    links = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    own = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    return Counter(kind for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
                   for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:] if line.split()[9] in own)


@contextmanager
def bare_node() -> Iterator[int]:
    """The process of a node that does nothing: what it opens is the middleware's."""
    words = "import rclpy, sys; rclpy.init(); node = rclpy.create_node('bare'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        yield child.pid
        child.stdin.close()


def written(pid: int) -> set[Path]:
    """Regular files that a process holds open for writing."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        flags = next(line for line in Path(f"/proc/{pid}/fdinfo/{path.name}").read_text().splitlines()
                     if line.startswith("flags"))
        target = Path(os.readlink(path))
        if int(flags.split()[1], 8) & os.O_ACCMODE and target.is_file():
            found.add(target)
    return found


def test_the_node_opens_ports_for_dds_only_and_writes_only_its_log(tmp_path, monkeypatch):
    for variable, name in (("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "cache"), ("ROS_LOG_DIR", "log")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model = share_path("models", "sparse4d_small")
    before = {folder: tree(folder) for folder in (tmp_path, model)}
    with process("real", ["--ros-args", "-p", f"model.package:={model}", "-p", "image_transport:=compressed"]) as node:
        assert node.has_said("model sparse4d_small")
        with bare_node() as bare:
            assert sockets(node.child.pid) == sockets(bare)
        assert set(sockets(node.child.pid)) == {"udp"}
        for path in written(node.child.pid):
            assert path.is_relative_to(tmp_path / "log") or path.is_relative_to("/dev/shm"), path
        assert node.end(15) == 0
    assert tree(model) == before[model]
    added = tree(tmp_path) - before[tmp_path]
    assert added and all(Path(name).parts[0] == "log" for name in added), added


def rights(profile: ElementTree.Element, kind: str, right: str) -> set[str]:
    """Full names that a profile of the policy allows something with."""
    return {f"/{profile.get('node')}{name.text[1:]}" if name.text.startswith("~") else name.text
            for group in profile.findall(f"{kind}s") if group.get(right) == "ALLOW" for name in group}


def test_the_policy_names_what_the_running_node_has_and_nothing_else():
    profile = ElementTree.parse(share_path("config", "sros2_policy.xml")).find("enclaves/enclave/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", topics.NODE_NAME)
    remaps = camera_remaps(NUSCENES_CAMERAS)
    words = ["--ros-args", "-p", "image_transport:=compressed", "-p", "publish_overlay:=true",
             "-p", "use_sim_time:=true", *remaps]
    expected = {kind: rights(profile, *words) for kind, words in {
        "publisher": ("topic", "publish"), "subscriber": ("topic", "subscribe"), "service": ("service", "reply"),
        "client": ("service", "request")}.items()}
    if not find_spec("type_description_interfaces"):  # came after Humble, and the service with it
        expected["service"].remove(f"/{topics.NODE_NAME}/get_type_description")

    with process("quick", words) as running:
        assert running.has_said("model fake")
        for _ in range(10):  # one who watches a node start may go on seeing what it had in its first moment
            with ros_context() as context:
                helper = Node("helper", context=context)

                def names(kind: str, helper: Node = helper) -> set[str]:
                    query = getattr(helper, f"get_{kind}_names_and_types_by_node")
                    return {name for name, _ in query(topics.NODE_NAME, "/")}

                assert wait_until(lambda helper=helper: topics.NODE_NAME in helper.get_node_names())
                found = wait_until(lambda: all(names(kind) == allowed for kind, allowed in expected.items()), 6.0)
                seen = {kind: names(kind) for kind in expected}
                helper.destroy_node()
            if found:
                break
        assert seen == expected
