"""The list of faults, the marks on the tests and the page in the documentation agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fault_marks
import pytest
from fault_marks import Fault

FAULTS = fault_marks.read_faults()
MARKS = fault_marks.read_marks()


def test_the_list_has_every_row_once_and_says_something_about_it():
    assert [row.number for row in FAULTS] == list(range(1, 62))
    assert all(row.fault and row.promise for row in FAULTS)


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: str(row.number))
def test_every_row_is_proved_by_a_test(row):
    assert fault_marks.tests_of(row.number, MARKS), f"no test is marked with fault {row.number}: {row.fault}"


def test_no_mark_names_a_row_that_is_not_there():
    known = {row.number for row in FAULTS}
    assert {test: numbers for test, numbers in MARKS.items() if not known.issuperset(numbers)} == {}
    assert {test: numbers for test, numbers in MARKS.items() if len(set(numbers)) != len(numbers)} == {}


def test_marks_in_the_source_are_those_that_pytest_sees(request):
    for item in request.session.items:
        seen = {number for mark in item.iter_markers("fault") for number in mark.args}
        name = f"{item.path.name}::{item.nodeid.partition('::')[2].partition('[')[0]}"
        if item.path.parent == Path(__file__).parent:
            assert set(MARKS.get(name, ())) == seen, item.nodeid


def test_the_page_lists_exactly_the_rows_and_the_marked_tests():
    expected = {row.number: (row.fault, row.promise, fault_marks.tests_of(row.number, MARKS)) for row in FAULTS}
    assert fault_marks.read_page(fault_marks.PAGE.read_text()) == expected, \
        "write it anew: make test ARGS='-m \"fault and not slow\" --write-reliability=docs/reliability.md'"


@pytest.mark.parametrize("mark", ["@pytest.mark.fault", "@pytest.mark.fault()", "@pytest.mark.fault(N)",
                                  "@pytest.mark.fault('3')"])
def test_a_mark_without_numbers_is_refused(tmp_path, mark):
    (tmp_path / "test_odd.py").write_text(f"{mark}\ndef test_x():\n    pass\n")
    with pytest.raises(ValueError, match="test_odd.py: test_x: a fault mark needs the numbers"):
        fault_marks.read_marks(tmp_path)


def test_a_page_reads_back_as_it_was_written():
    faults = [Fault(1, "cameras", "one | two", "a promise"), Fault(2, "cameras", "b", "c"), Fault(3, "time", "d", "e")]
    marks = {"test_a.py::test_x": (1, 3), "test_a.py::TestY::test_z": (1,), "test_b.py::test_w": (2,)}
    results = {"test_a.py::test_x": "passed", "test_b.py::test_w": "failed"}
    text = fault_marks.page(faults, marks, results, "a bench")
    assert fault_marks.read_page(text) == {
        1: ("one | two", "a promise", ["test_a.py::test_x", "test_a.py::TestY::test_z"]),
        2: ("b", "c", ["test_b.py::test_w"]), 3: ("d", "e", ["test_a.py::test_x"])}
    assert fault_marks.read_results(text) == results | {"test_a.py::TestY::test_z": "not run"}
    assert "1 of 3 rows passed, 1 in part, by 3 tests, on a bench" in text
    assert "`test_a.py::TestY::test_z` (not run) | passed in part |" in text and "(failed) | **failed** |" in text


CASES = """
import pytest

@pytest.mark.fault(1)
def test_good(): pass

@pytest.mark.fault(2)
@pytest.mark.parametrize("value", [1, 2])
def test_one_of_two_is_bad(value): assert value == 1

@pytest.mark.fault(3)
@pytest.mark.skipif(True, reason="needs a GPU: none is here")
def test_for_a_gpu(): pass

@pytest.mark.fault(4)
@pytest.mark.slow
def test_long(): pass

@pytest.mark.fault(5)
def test_elsewhere(): pytest.skip("no ROS here")

@pytest.fixture
def broken(): raise RuntimeError

@pytest.mark.fault(6)
def test_with_a_broken_fixture(broken): pass
"""


def test_the_page_tells_what_became_of_each_test(tmp_path):
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faults.yaml").write_text("all:\n" + "".join(f"  {n}: [f, p]\n" for n in range(1, 7)))
    for name in ("fault_marks.py", "fault_report.py"):
        (tmp_path / name).write_text((Path(__file__).parent / name).read_text())
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['fault_report']\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -m 'not slow' -p no:cacheprovider\n"
                                         "markers =\n    slow: s\n    fault: f\n")

    def run(*arguments):
        subprocess.run([sys.executable, "-m", "pytest", "-q", "--write-reliability", "page.md", *arguments],
                       cwd=tmp_path, stdout=subprocess.DEVNULL, timeout=240)

    run()
    ends = [line.split("test_cases.py::")[1] for line in (tmp_path / "page.md").read_text().splitlines()
            if "test_cases.py::" in line]
    assert ends == [
        "test_good` | passed |",
        "test_one_of_two_is_bad` (failed) | **failed** |",
        "test_for_a_gpu` (needs a GPU) | needs a GPU |",
        "test_long` (not run: slow) | not run: slow |",
        "test_elsewhere` (skipped: no ROS here) | skipped: no ROS here |",
        "test_with_a_broken_fixture` (failed) | **failed** |",
    ]
    run("-m", "", "-k", "test_long")  # what else is on the page stays
    text = (tmp_path / "page.md").read_text()
    results = fault_marks.read_results(text)
    assert results["test_cases.py::test_long"] == results["test_cases.py::test_good"] == "passed"
    assert results["test_cases.py::test_elsewhere"] == "skipped: no ROS here"
    assert "2 of 6 rows passed, 0 in part" in text
