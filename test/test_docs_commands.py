"""What README and docs tell people to type exists: commands, options, launch arguments, targets, files, links."""

from __future__ import annotations

import glob
import importlib.util
import itertools
import re
import shlex
from pathlib import Path

import docs_text
import launch_stand_ins as launch_files
import nuscenes_cases
import pytest
import yaml
from docs_text import ROOT

from sparse4d_ros import cli
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.node import parameters, topics

#: `launch` and `launch_ros` as recorders, on every machine.
stand_ins = launch_files.stand_ins

COMMANDS = docs_text.block_commands()
SPANS = docs_text.spans()
#: Pages about the node, whose `name: value` are its parameters. (Others quote training configurations.)
NODE_PAGES = ("README.md", "docs/vehicle.md", "docs/replay.md", "docs/troubleshooting.md")


def said(first: str, commands=COMMANDS) -> list:
    """Commands whose first word is this one, as pytest parameters."""
    found = [command for command in commands if command.words[0] == first and "…" not in " ".join(command.words)]
    assert found, f"no page shows a command {first!r}: the reader of pages is broken"
    return [pytest.param(command.words, id=f"{command.where} {' '.join(command.words)[:60]}") for command in found]


def span_commands(first: str) -> list:
    """Inline code that begins with this word and has more than it."""
    return said(first, [docs_text.Said(where, words) for where, text in SPANS if text.startswith(f"{first} ")
                        for words in itertools.islice(docs_text.split_commands(text), 1)])


def examples() -> list:
    """The examples that `--help` of each command shows."""
    found = []
    for command in cli.COMMANDS:
        epilog = subparser(command).epilog or ""
        found += [docs_text.Said(f"{command} --help", words) for line in epilog.splitlines()
                  for words in docs_text.split_commands(line.strip().removeprefix("Example: "))]
    return said("sparse4d", found)


def subparser(command: str):
    """The parser of one command; skips where a package that it needs is missing."""
    try:
        parser = cli.build_parser(command)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    return next(action for action in parser._actions if action.dest == "command").choices[command]


@pytest.mark.parametrize("words", said("sparse4d") + examples())
def test_a_command_is_accepted_by_the_real_parser(words):
    subparser(words[1])
    try:
        assert cli.build_parser(words[1]).parse_args(words[1:]).command == words[1]
    except SystemExit as asked:  # 2 is an error; 0 is --help and its like
        assert asked.code == 0


@pytest.mark.parametrize("words", span_commands("sparse4d"))
def test_a_command_named_in_passing_has_these_options(words):
    if words[1].startswith(("-", "<")):  # `sparse4d --help`
        return
    assert words[1] in cli.COMMANDS
    known = subparser(words[1])._option_string_actions
    assert [word for word in words if word.startswith("--") and word not in known] == []


def declared(name: str) -> set[str]:
    """Arguments that a launch file declares, itself or through files that it includes."""
    actions = launch_files.actions_of(name)
    names = {action.args[0] for action in launch_files.of_kind(actions, "DeclareLaunchArgument")}
    for include in launch_files.of_kind(actions, "IncludeLaunchDescription"):
        names |= declared(Path(include.args[0].args[0]).name)
    return names


@pytest.mark.parametrize("words", said("ros2") + span_commands("ros2"))
def test_a_ros2_command_names_what_is_there(words):
    _, verb, *rest = words
    if verb == "launch" and rest[:1] == ["sparse4d_ros"]:
        assert (ROOT / "launch" / rest[1]).is_file()
        given = {word.split(":=")[0] for word in rest[2:] if ":=" in word}
        assert given <= declared(rest[1])
    elif verb == "run" and rest[:1] == ["sparse4d_ros"]:
        assert_installed(rest[1])
    elif verb == "param" and rest[:2] == ["set", f"/{topics.NODE_NAME}"]:
        assert parameters.checked_value(rest[2], yaml.safe_load(rest[3])) is not None
        assert not parameters.read_only(rest[2])
    elif verb == "topic" and f"/{topics.NODE_NAME}/" in " ".join(rest):
        topic = next(word for word in rest if word.startswith("/"))
        known = [topics.OBJECTS, topics.DETECTIONS, topics.MARKERS, topics.MODEL_INFO]
        assert topic.replace(f"/{topics.NODE_NAME}", "~") in known
    else:  # a tool of the distribution
        assert verb in ("action", "bag", "component", "control", "daemon", "doctor", "interface", "launch", "lifecycle",
                        "multicast", "node", "param", "pkg", "run", "security", "service", "test", "topic", "trace")


def assert_installed(program: str) -> None:
    """A program of scripts/, which CMakeLists.txt installs."""
    assert (ROOT / "scripts" / program).is_file()
    assert f"scripts/{program}" in (ROOT / "CMakeLists.txt").read_text()


@pytest.mark.parametrize("words", said("sparse4d_replay"))
@pytest.mark.ros
def test_the_player_understands_its_arguments(words):
    replay = pytest.importorskip("sparse4d_ros.node.replay")
    assert_installed(words[0])
    assert replay.build_parser().parse_args(words[1:]).bag


@pytest.mark.parametrize("words", said("make") + span_commands("make"))
def test_a_make_target_exists(words):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [word for word in words[1:] if word.isidentifier() or "-" in word[1:]]
    asked = [word for word in named if "=" not in word and "/" not in word]
    assert asked and set(asked) <= set(targets)
    if asked == ["demo"]:
        given = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
        demo_source = (ROOT / "sparse4d_ros" / "node" / "demo.py").read_text()
        assert all(f'"{word}"' in demo_source for word in shlex.split(given) if word.startswith("--"))


@pytest.mark.parametrize("words", [
    pytest.param(text.split(), id=f"{where} {text}") for where, text in SPANS if " -m sparse4d_ros" in text])
def test_a_python_module_exists(words):
    assert importlib.util.find_spec(words[words.index("-m") + 1])


def test_files_named_in_docs_exist():
    rooms = "|".join(path.name for path in (ROOT / "sparse4d_ros").iterdir() if path.is_dir() and path.name[0] != "_")
    missing = []
    for where, text in SPANS:
        if re.fullmatch(r"(config|docs|launch|models/sparse4d_small|test|sparse4d_ros|scripts|requirements|underlay)"
                        r"/[\w./*-]+\.(py|ya?ml|md|txt|xml|rviz|jpg|onnx|safetensors)", text):
            missing += [] if glob.glob(str(ROOT / text)) else [(where, text)]
        elif re.fullmatch(rf"({rooms})/[\w*]+(\.py)?", text):
            module = ROOT / "sparse4d_ros" / f"{text.removesuffix('.py')}.py"
            missing += [] if glob.glob(str(module)) else [(where, text)]
    assert missing == []


def test_files_named_in_commands_exist():
    """Paths into what ships with the package, in the arguments of commands."""
    named = {word.split(":=")[-1] for command in COMMANDS for word in command.words[1:]
             if re.match(r"(\w+:=)?(config|models/sparse4d_small)(/|$)", word)}
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_parameters_named_in_docs_exist():
    checked = 0
    for where, text in SPANS:
        found = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*): ([^{<…]+)", text)
        if found and where.split(":")[0] in NODE_PAGES:
            assert parameters.checked_value(found[1], yaml.safe_load(found[2])) is not None, where
            checked += 1
    for page in docs_text.PAGES:
        for name in re.findall(r"\bparameters? `([a-z_.]+)`", page.read_text()):
            assert parameters.field_of(name) or name in ("use_sim_time",), f"{page.name}: {name}"
            checked += 1
    assert checked > 5


@pytest.mark.parametrize(("page", "where", "target"), [
    pytest.param(*link, id=f"{link[1]} {link[2]}") for link in docs_text.links() if "://" not in link[2]])
def test_a_link_leads_somewhere(page, where, target):
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists() and found.is_relative_to(ROOT)
    if anchor:
        assert anchor in docs_text.anchors(found)


@pytest.mark.parametrize("code", [pytest.param(content, id=where) for where, content in docs_text.blocks("python")])
def test_python_in_docs_runs(code, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(ROOT)
    whole = BagDrive.__iter__
    monkeypatch.setattr(BagDrive, "__iter__", lambda drive: itertools.islice(whole(drive), 2))
    exec(compile(code, "docs", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 2


# Quick commands, really run, on as little as they take

def run_as_shown(page: str, begins: str, *smaller: str) -> None:
    """Run the first command of a page that begins like this, globs expanded, with words that make it small."""
    words = next(command.words for command in COMMANDS
                 if command.where.startswith(page) and " ".join(command.words).startswith(begins))
    expanded = [match for word in words[1:] for match in (sorted(glob.glob(word)) if "*" in word else [word])]
    assert cli.main([*expanded, *smaller]) == 0


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A folder of its own with the shipped models and configurations in it, as in a clone."""
    for name in ("models", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_simulated_drives_are_evaluated_as_shown(workshop):
    pytest.importorskip("moderngl")
    pytest.importorskip("nuscenes")
    tiny = ("--duration", "0.4", "--size", "176x64")
    run_as_shown("docs/training.md", "sparse4d simulate --split val", "--seeds", "10000", *tiny)
    run_as_shown("docs/simulation.md", "sparse4d simulate --seeds 7", "--duration", "0.4")
    assert (workshop / "drive.json").is_file()
    (workshop / "val").symlink_to(workshop / "drives" / "val")
    run_as_shown("docs/evaluation.md", "sparse4d evaluate --model models/sparse4d_small --drives val/*")
    assert (workshop / "after.json").is_file() and (workshop / "after.html").is_file()


def test_nuscenes_becomes_bags_and_drives_as_shown(workshop):
    pytest.importorskip("nuscenes")
    nuscenes_cases.write(workshop / "nuscenes")
    run_as_shown("docs/nuscenes.md", "sparse4d nuscenes-to-bag --dataroot nuscenes --version v1.0-mini --scene")
    (workshop / "bags").mkdir()
    for number in (1, 2):  # the page's scenes are of the whole set
        (workshop / "bags" / f"scene-000{number}").symlink_to(workshop / "bags_12hz" / "scene-0061")
    run_as_shown("docs/nuscenes.md", "sparse4d bag-to-arrays", "--size", "88x32")
    assert list((workshop / "drives" / "train").iterdir())


@pytest.mark.slow
def test_the_rig_of_the_demo_drive_is_checked_as_shown(workshop, capsys):
    run_as_shown("docs/check_rig.md", "sparse4d check-rig")
    assert "2 SKIP, 0 WARN, 0 FAIL" in capsys.readouterr().out  # the overlaps of the back camera are narrow
    assert (workshop / "rig" / "check_rig.jpg").is_file()
