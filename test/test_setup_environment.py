"""The set-up program, without its slow parts: those run whenever `make test` itself does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "underlay"))

import setup_environment  # noqa: E402
from environment import layout, machine, packages, steps, workspace  # noqa: E402
from environment.failure import SetupFailure  # noqa: E402


@pytest.mark.parametrize(("variables", "distribution", "sourced"), [
    ({}, "jazzy", False),
    ({"ROS_DISTRO_PIP": "kilted"}, "kilted", False),
    ({"ROS_DISTRO": "humble"}, "humble", True),
    ({"ROS_DISTRO": "jazzy", "ROS_DISTRO_PIP": "kilted"}, "kilted", False),
])
def test_which_ros_is_used(variables: dict[str, str], distribution: str, sourced: bool) -> None:
    chosen = layout.choose(ROOT, variables)
    assert (chosen.distribution, chosen.sourced) == (distribution, sourced)


def test_each_ros_has_a_folder_of_its_own() -> None:
    choices = ({}, {"ROS_DISTRO_PIP": "kilted"}, {"ROS_DISTRO": "jazzy"})
    assert len({layout.choose(ROOT, variables).root for variables in choices}) == 3


def test_unknown_distribution_is_named() -> None:
    with pytest.raises(SetupFailure, match="ROS_DISTRO_PIP=foxy") as caught:
        layout.choose(ROOT, {"ROS_DISTRO_PIP": "foxy"})
    assert "jazzy, kilted" in caught.value.remedy


@pytest.mark.parametrize(("version", "word"), [((3, 9), "too old"), ((3, 15), "newer than")])
def test_unfit_python_is_named(version: tuple[int, int], word: str) -> None:
    with pytest.raises(SetupFailure, match=word) as caught:
        machine.check_python(version, from_wheels=True)
    assert "PYTHON=python3" in caught.value.remedy


def test_missing_programs_are_named_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None if "++" in name else f"/usr/bin/{name}")
    with pytest.raises(SetupFailure, match=r"no c\+\+ was found") as caught:
        machine.check_compiler()
    assert caught.value.remedy == "sudo apt-get install g++"
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupFailure) as caught:
        machine.check_venv_module()
    assert caught.value.remedy == "sudo apt-get install python3-venv"
    monkeypatch.setattr(machine.sysconfig, "get_path", lambda name: "/nowhere")
    with pytest.raises(SetupFailure, match="/nowhere/Python.h"):
        machine.check_python_headers()
    with pytest.raises(SetupFailure, match="Linux on aarch64"):
        machine.check_platform("Linux", "aarch64")


def test_steps_run_once_until_what_they_depend_on_changes(tmp_path: Path) -> None:
    ran: list[str] = []

    def step(name: str, depends_on: str) -> steps.Step:
        return steps.Step(name, name, depends_on, lambda: ran.append(name))

    assert steps.run_steps([step("a", "1"), step("b", "1")], tmp_path / "stamps") == 2
    assert steps.run_steps([step("a", "1"), step("b", "1")], tmp_path / "stamps") == 0
    assert steps.run_steps([step("a", "1"), step("b", "2")], tmp_path / "stamps") == 1
    assert ran == ["a", "b", "b"]


def test_a_shell_that_has_sourced_the_environment_can_set_it_up_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copytree(ROOT / "underlay", tmp_path / "underlay")
    chosen = layout.choose(tmp_path, {})
    before = setup_environment.plan(chosen, "run")[0].depends_on
    monkeypatch.setattr(sys, "prefix", str(chosen.venv))
    monkeypatch.setattr(sys, "executable", str(chosen.venv / "bin" / "python3"))
    assert setup_environment.plan(chosen, "run")[0].depends_on == before  # nothing to do
    commands = []
    monkeypatch.setattr(packages, "run_logged", lambda command, *others: commands.append(command))
    packages.make_venv(chosen)  # which removes the interpreter that runs it
    assert Path(commands[0][0]).is_file() and chosen.venv not in Path(commands[0][0]).parents


def test_failed_step_is_numbered_and_tried_again(tmp_path: Path) -> None:
    def fail() -> None:
        raise SetupFailure("it broke", "mend it")

    plan = [steps.Step("a", "First", "1", lambda: None), steps.Step("b", "Second", "1", fail)]
    for _ in range(2):
        with pytest.raises(SetupFailure, match=r"step 2 of 2 \(Second\) failed: it broke") as caught:
            steps.run_steps(plan, tmp_path)
        assert caught.value.remedy == "mend it"
    assert steps.is_done(plan[0], tmp_path) and not steps.is_done(plan[1], tmp_path)


def test_hash_follows_content_not_place(tmp_path: Path) -> None:
    for folder, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.msg").write_text(text)
    a, b, c = (steps.content_hash([tmp_path / folder / "x.msg"]) for folder in "abc")
    assert a == b != c
    assert steps.content_hash([], "x") != steps.content_hash([], "y")


def test_failed_command_shows_its_last_lines(tmp_path: Path) -> None:
    program = "print('good start'); print('E: no such thing'); raise SystemExit(3)"
    with pytest.raises(SetupFailure, match="code 3(.|\n)*E: no such thing") as caught:
        steps.run_logged([sys.executable, "-c", program], tmp_path / "log" / "x.txt", "look closer")
    assert caught.value.remedy == "look closer"
    assert "good start" in (tmp_path / "log" / "x.txt").read_text()


def test_full_disk_is_recognised(tmp_path: Path) -> None:
    program = "raise OSError(28, 'No space left on device')"
    with pytest.raises(SetupFailure) as caught:
        steps.run_logged([sys.executable, "-c", program], tmp_path / "x.txt", "look closer")
    assert "disk space" in caught.value.remedy


def test_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    """The child holds the lock, says so in a file, and lets go when that file is gone."""
    held, log = tmp_path / "held", tmp_path / "order"
    program = (
        "import pathlib, sys, time; sys.path.insert(0, sys.argv[1]); from environment.steps import locked\n"
        "held, log = map(pathlib.Path, sys.argv[3:])\n"
        "with locked(pathlib.Path(sys.argv[2])):\n"
        "    held.touch()\n"
        "    while held.exists(): time.sleep(0.01)\n"
        "    time.sleep(0.1); log.write_text('first let go')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(ROOT / "underlay"), str(tmp_path / "lock"),
                              str(held), str(log)])
    try:
        while not held.exists():
            assert child.poll() is None, "the first set-up ended early"
            time.sleep(0.01)
        held.unlink()
        with steps.locked(tmp_path / "lock"):
            assert log.read_text() == "first let go"
    finally:
        child.kill()
        child.wait()


def test_cmake_paths_of_the_build_machine_are_replaced() -> None:
    exported = ('set(_i "/opt/python/cp311-cp311/include/python3.11;/opt/python/cp311-cp311/lib/python3.11/'
                'site-packages/numpy/_core/include;${prefix}/include")')
    repaired = packages.repair_cmake_text(exported, "/usr/include/python3.11", "/venv/numpy/_core/include")
    assert repaired == 'set(_i "/usr/include/python3.11;/venv/numpy/_core/include;${prefix}/include")'
    assert packages.repair_cmake_text(repaired, "/other", "/other") == repaired


def test_only_missing_interfaces_are_built(tmp_path: Path) -> None:
    assert workspace.missing_interfaces([tmp_path]) == ("tf2_msgs", "vision_msgs")
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "tf2_msgs").touch()
    assert workspace.missing_interfaces([tmp_path / "elsewhere", tmp_path]) == ("vision_msgs",)


def test_sourced_distribution_does_not_leak_into_ros_from_pypi() -> None:
    variables = {"PATH": "/usr/bin", "ROS_DISTRO": "humble", "ROS_DISTRO_PIP": "jazzy", "PYTHONHOME": "/x",
                 "AMENT_PREFIX_PATH": "/opt/ros/humble", "PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages",
                 "LD_LIBRARY_PATH": "/opt/ros/humble/lib:/usr/local/cuda/lib64"}
    env = packages.pip_environment(variables, layout.choose(ROOT, variables))
    assert not any("/opt/ros/humble" in value for value in env.values())
    assert env["LD_LIBRARY_PATH"].endswith("/usr/local/cuda/lib64")
    sourced = {name: value for name, value in variables.items() if name != "ROS_DISTRO_PIP"}
    kept = packages.pip_environment(sourced, layout.choose(ROOT, sourced))
    assert kept["AMENT_PREFIX_PATH"] == "/opt/ros/humble"


def test_environment_file_survives_spaces_and_respects_the_users_profile(tmp_path: Path) -> None:
    place = layout.choose(tmp_path / "my car", {})
    place.install.mkdir(parents=True)
    (place.install / "local_setup.bash").write_text("export PYTHONPATH=/messages\n")
    workspace.write_environment_file(place)
    command = workspace.in_environment(place, ["printenv", "PYTHONPATH", "FASTRTPS_DEFAULT_PROFILES_FILE",
                                               "FASTDDS_DEFAULT_PROFILES_FILE"])
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/stale", "FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [f"{tmp_path}/my car:/messages",
                                          f"{tmp_path}/my car/config/fastdds_profile.xml", "/mine.xml"]


def test_every_requirement_group_exists_and_the_demo_needs_no_torch() -> None:
    place = layout.choose(ROOT, {})
    for groups in setup_environment.PURPOSES.values():
        assert all(place.requirements(group).is_file() for group in groups)
    needed = "\n".join(place.requirements(group).read_text() for group in setup_environment.PURPOSES["run"])
    assert "onnxruntime" in needed and "torch" not in needed


def test_make_without_a_target_explains_itself() -> None:
    text = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, text=True,
                          check=True).stdout
    for target in ("setup", "demo", "test", "test-all", "benchmark", "lint", "clean"):
        assert f"make {target} " in text
