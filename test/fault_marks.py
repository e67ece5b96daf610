"""The faults a vehicle node must survive, which tests prove each, and the table of both in the documentation.

Marks are read from the source, not from a collection: a test module that cannot be imported here (no ROS,
no GPU) proves its rows all the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

FOLDER = Path(__file__).parent
LIST = FOLDER / "data" / "faults.yaml"
PAGE = FOLDER.parent / "docs" / "reliability.md"

#: What became of a test; what it means is in the page's head.
PASSED, FAILED, NOT_RUN, NEEDS_GPU = "passed", "failed", "not run", "needs a GPU"
IN_PART = "passed in part"

_HEAD = """# What goes wrong on a vehicle, and what was tested

Every fault that the node must survive, what it promises then, and the tests that prove it. The list is
`test/data/faults.yaml`; a test names the rows it proves with `@pytest.mark.fault`. This page is written by

    make test ARGS='-m "fault and not slow" --write-reliability=docs/reliability.md'

(with `-m fault` the long tests run too; of one file, only its tests are written anew). The result is that of the last
run of each test: {summary}. Every test passed then unless something else stands behind it in brackets.
Counts of fuzzing: [fuzzing](fuzzing.md). To break a recording of your own: [fault injection](fault_injection.md).
"""


class Fault(NamedTuple):
    """One row of the list."""

    number: int
    group: str
    fault: str
    promise: str


def read_faults(path: Path = LIST) -> list[Fault]:
    """All rows, by number."""
    groups = yaml.safe_load(path.read_text())
    return sorted(Fault(number, group, *texts) for group, rows in groups.items() for number, texts in rows.items())


def read_marks(folder: Path = FOLDER) -> dict[str, tuple[int, ...]]:
    """Rows that each marked test proves: ``test_x.py::test_y`` -> numbers. ValueError for a mark without numbers."""
    marks = {}
    for path in sorted(folder.glob("test_*.py")):
        for name, node in _tests(ast.parse(path.read_text()), ""):
            numbers = [number for decorator in node.decorator_list for number in _numbers(decorator, f"{path}: {name}")]
            if numbers:
                marks[f"{path.name}::{name}"] = tuple(numbers)
    return marks


def _tests(tree: ast.AST, prefix: str) -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            found += _tests(node, f"{prefix}{node.name}::")
        elif isinstance(node, ast.FunctionDef):
            found.append((prefix + node.name, node))
    return found


def _numbers(decorator: ast.expr, where: str) -> list[int]:
    call = decorator if isinstance(decorator, ast.Call) else None
    if ast.unparse(call.func if call else decorator) != "pytest.mark.fault":
        return []
    values = [argument.value if isinstance(argument, ast.Constant) else None for argument in call.args] if call else []
    if not values or not all(type(value) is int for value in values):
        raise ValueError(f"{where}: a fault mark needs the numbers of the rows it proves, written out")
    return values


def tests_of(number: int, marks: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The tests that prove a row."""
    return [test for test, numbers in marks.items() if number in numbers]


def verdict(results: list[str]) -> str:
    """A row's result from its tests': failed if any did, passed if all did, in part if some did, else why none ran."""
    if FAILED in results:
        return f"**{FAILED}**"
    if PASSED in results:
        return PASSED if set(results) == {PASSED} else IN_PART
    return "; ".join(sorted(set(results)) or [NOT_RUN])


def page(faults: list[Fault], marks: Mapping[str, tuple[int, ...]], results: Mapping[str, str], where: str) -> str:
    """The page; ``results`` by test, those that are not in it did not run."""
    lines, group = [], ""
    verdicts = []
    for row in faults:
        if row.group != group:
            group = row.group
            lines += ["", f"## {group[0].upper()}{group[1:]}", "",
                      "| # | fault | promise | proved by | result |", "| --- " * 5 + "|"]
        tests = tests_of(row.number, marks)
        outcome = [results.get(test, NOT_RUN) for test in tests]
        proofs = [f"`{test}`" + ("" if result == PASSED else f" ({result})")
                  for test, result in zip(tests, outcome, strict=True)]
        verdicts.append(verdict(outcome))
        cells = (str(row.number), row.fault, row.promise, "<br>".join(proofs), verdicts[-1])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    summary = (f"{verdicts.count(PASSED)} of {len(faults)} rows passed, {verdicts.count(IN_PART)} in part, by "
               f"{len(marks)} tests, on {where}")
    return _HEAD.format(summary=summary) + "\n".join(lines) + "\n"


def read_results(text: str) -> dict[str, str]:
    """What a page says of each test."""
    found = re.findall(r"`([^`]+::[^`]+)`(?: \(([^()]*(?:\([^()]*\)[^()]*)*)\))?", text)
    return {test: result or PASSED for test, result in found}


def read_page(text: str) -> dict[int, tuple[str, str, list[str]]]:
    """The rows of a page: number -> fault, promise, tests; results aside."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].isdigit():
            rows[int(cells[0])] = (cells[1], cells[2], re.findall(r"`([^`]+::[^`]+)`", cells[3]))
    return rows
