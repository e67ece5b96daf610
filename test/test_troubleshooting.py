"""docs/troubleshooting.md has every sentence, state and counter that a running node can say.

They are collected from the code: every text of the modules in the node's process, and from the rooms below what they
log and what the node catches. What is only said of a wrong parameter or package at the start names its own remedy.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparse4d_ros.node.cameras import CameraState
from sparse4d_ros.node.frame_set import Counters

ROOT = Path(__file__).resolve().parents[1]
PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "troubleshooting.md").read_text().replace("`", "").replace("**", ""))
#: Declarations and texts of parameters (docs/parameters.md), and of the programs' command lines.
ELSEWHERE = ("settings.py", "parameters.py", "parameter_server.py", "program.py")
#: What is raised at the start with a sentence that says what to do, or is a mistake of ours.
NOT_WHILE_RUNNING = ("UserError", "ValueError")


def modules_of_the_process() -> dict[Path, ast.Module]:
    """Everything that the node's process may import, parsed."""
    found, waiting = {}, ["sparse4d_ros.node.process", "sparse4d_ros.node.main"]
    while waiting:
        place = ROOT / waiting.pop().replace(".", "/")
        path = next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
        if path is None or path in found:
            continue
        found[path] = ast.parse(path.read_text())
        for node in ast.walk(found[path]):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


MODULES = modules_of_the_process()
IN_NODE = {path: tree for path, tree in MODULES.items() if path.parent.name == "node"}


def name_of(function: ast.expr | None) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def caught_by_the_node() -> set[str]:
    """Exceptions of ours that become a camera's state, a counted drop or a line in the log."""
    handlers = [node.type for tree in IN_NODE.values() for node in ast.walk(tree)
                if isinstance(node, ast.ExceptHandler) and node.type]
    names = {name_of(item) for handler in handlers for item in getattr(handler, "elts", [handler])}
    return {name for name in names if not hasattr(builtins, name)} - set(NOT_WHILE_RUNNING)


def left_out(tree: ast.Module) -> set[int]:
    """Parts of a module that are no text of a running node: docstrings, what is raised at the start."""
    roots = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    roots += [node for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
              and name_of(node.exc.func) in NOT_WHILE_RUNNING]
    return {id(node) for root in roots for node in ast.walk(root)}


def texts(tree: ast.AST, without: set[int] = frozenset()) -> Iterator[str]:
    """The longest fixed part of each string with places to fill in, if it has two words or more."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in without | inner:
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        fixed = [piece for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
                 for piece in part.value.split("%s")]
        longest = max((re.sub(r"\s+", " ", piece).strip(" ,;:.'()\"[") for piece in fixed), key=len, default="")
        if len(re.findall(r"[A-Za-z_]{2,}", longest)) >= 2 and " " in longest:
            yield longest


def sentences() -> set[tuple[str, str]]:
    """``(file, text)``."""
    found = {(path.name, text) for path, tree in IN_NODE.items() if path.name not in ELSEWHERE
             for text in texts(tree, left_out(tree))}
    raised = caught_by_the_node()
    for path, tree in MODULES.items():
        for call in calls(tree) if path not in IN_NODE else ():
            if name_of(call.func) in {"warning", "error"} | raised:
                found |= {(path.name, text) for text in texts(call)}
    return found


def test_the_collector_finds_what_it_is_for():
    """Sentences that come about in different ways."""
    collected = {text for _, text in sentences()}
    for known in ("no camera_info yet",                                       # returned
                  "m from where it was expected",                             # with places to fill in
                  "a frame cannot be its own parent",                         # handed on by a value
                  "K in camera_info is all zero: the camera is not calibrated",   # raised below the node
                  "no CUDA device found: running on the CPU by onnxruntime",  # logged below the node
                  "the network gave numbers that are not finite (NaN or Inf"):
        assert known in collected
    assert caught_by_the_node() >= {"CameraError", "EgoMotionError", "FrameRejected", "NumericalError"}
    assert len(collected) > 80


@pytest.mark.parametrize(("file", "text"), sorted(sentences()))
def test_the_page_has_every_sentence(file, text):
    assert text in PAGE, f"docs/troubleshooting.md does not have what {file} says: {text}"


@pytest.mark.parametrize("state", [state.value for state in CameraState])
def test_the_page_has_every_state(state):
    assert re.search(rf"\b{state}\b", PAGE)


def counters() -> set[str]:
    """Keys of the diagnostics, with the reasons of drops and resets."""
    (diagnostics,) = (tree for path, tree in IN_NODE.items() if path.name == "diagnostics.py")
    found = {key.value for node in ast.walk(diagnostics) if isinstance(node, ast.Dict)
             for key in node.keys if isinstance(key, ast.Constant)}
    prefixes = {"_drop": "dropped_", "_fail": "dropped_", "_reset": "resets_", "reset": "resets_"}
    for tree in IN_NODE.values():
        found |= {prefixes[name_of(call.func)] + call.args[0].value for call in calls(tree)
                  if name_of(call.func) in prefixes and call.args and isinstance(call.args[0], ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and \
                    name_of(node.value) in ("drops", "resets"):
                found.add({"drops": "dropped_", "resets": "resets_"}[name_of(node.value)] + node.slice.value)
    found |= {item.name for item in dataclasses.fields(Counters)}
    return found | {"dropped_newer_set", "dropped_incomplete_set"}


@pytest.mark.parametrize("key", sorted(counters()))
def test_the_page_has_every_counter(key):
    assert re.search(rf"\b{key}\b", PAGE), f"docs/troubleshooting.md does not have {key}"
