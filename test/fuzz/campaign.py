"""Runs cases: in this process for tests, and in a child process that may crash, hang or eat memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from reprlib import Repr
from typing import Any

from fuzz import Target, make_target

#: A case that takes more CPU than this, or so many times as long without, hangs.
HANG_S = 10.0
_IDLE_TIMES = 12
#: A case that needs more memory than any before it and this much more than the process had, eats memory.
MEMORY_KIB = 512 << 10
#: Address space that a child may take beyond what it has after its start: a mistake must not take the machine down.
_SPACE_BYTES = 4 << 30
_REPORT_S = 1.0
_MOST_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """A case that ended as it must not."""

    target: str
    seed: int
    index: int
    what: str
    #: The input, written out, and the traceback, if there is one.
    details: str = ""


@dataclass
class Result:
    """What became of the inputs of one target."""

    target: str
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    #: By the clock, and of CPU in finished cases.
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def generator(seed: int, index: int) -> Random:
    """The random numbers of one case."""
    return Random(seed << 40 | index)


def run_case(target: Target, name: str, seed: int, index: int, result: Result) -> None:
    """Run one case and note what became of it."""
    case: Any = "it could not be made"
    result.cases += 1
    before = _peak_kib()
    try:
        case = target.case(generator(seed, index))
        result.outcomes.update(target.run(case))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of Rust libraries are no Exceptions
        what = f"{type(error).__name__}: {error}"[:300]
        result.findings.append(Finding(name, seed, index, what, _details(case, traceback.format_exc())))
    grown = _peak_kib() - before
    if grown > MEMORY_KIB:
        result.findings.append(Finding(name, seed, index, f"memory grew by {grown >> 10} MiB", _details(case, "")))


def _peak_kib() -> int:
    """The most memory that this process ever had. (A child's ``ru_maxrss`` begins with its parent's.)"""
    with open("/proc/self/status", "rb") as file:
        return int(file.read().partition(b"VmHWM:")[2].split(None, 1)[0])


def _details(case: Any, trace: str) -> str:
    short = Repr()  # a case may be far larger written out than it is
    short.maxlevel, short.maxdict, short.maxlist, short.maxtuple, short.maxother = 5, 30, 30, 30, 100_000
    short.maxstring = short.maxlong = 2000
    return f"{trace[-4000:]}\n{short.repr(case)}"


def _work(make: Callable[[str, Path], Target], name: str, seed: int, first: int, last: int, folder: str,
          progress: Any, pipe: Connection) -> None:
    """A child's life: cases one after the other, with a report now and then."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # libjpeg and libpng say there what they think of each picture
    target = make(name, Path(folder))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _SPACE_BYTES,) * 2)
    result, told, spent = Result(name), time.monotonic(), time.process_time()
    for index in range(first, last):
        progress.value = index
        run_case(target, name, seed, index, result)
        if result.findings or index == last - 1 or time.monotonic() - told > _REPORT_S:
            result.cpu_seconds = time.process_time() - spent
            pipe.send(result)
            result, told, spent = Result(name), time.monotonic(), time.process_time()


def campaign(name: str, seed: int, seconds: float, first: int = 0, last: int = 1 << 40,
             make: Callable[[str, Path], Target] = make_target, hang_s: float = HANG_S) -> Result:
    """Run cases of a target in child processes for a time; after a crash or a hang the next child goes on behind it.

    The time that children take to start does not count.
    """
    whole, context = Result(name), multiprocessing.get_context("spawn")
    while first < last and whole.seconds < seconds and len(whole.findings) < _MOST_FINDINGS:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = context.Pipe(duplex=False)
            progress = context.RawValue("q", -1)
            child = context.Process(target=_work, args=(make, name, seed, first, last, folder, progress, theirs))
            child.start()
            theirs.close()
            problem = _watch(child, ours, progress, whole, seconds, hang_s)
            child.kill()
            child.join()
        first = progress.value + 1
        if problem:
            whole.findings.append(Finding(name, seed, max(progress.value, 0), problem))
            if progress.value < 0:
                break  # not even begun
    return whole


def _watch(child: Any, pipe: Connection, progress: Any, whole: Result, seconds: float, hang_s: float) -> str:
    """Collect reports until the time is over or the child is; what was wrong with it, or ""."""
    seen, since, cpu_since, turn = -1, 0.0, 0.0, time.monotonic()
    while whole.seconds < seconds and len(whole.findings) < _MOST_FINDINGS:
        if pipe.poll(0.2):
            try:
                report = pipe.recv()
            except EOFError:
                child.join()
                return "" if child.exitcode == 0 else f"the process died with exit code {child.exitcode}"
            whole.cases += report.cases
            whole.outcomes.update(report.outcomes)
            whole.findings += report.findings
            whole.cpu_seconds += report.cpu_seconds
        now = time.monotonic()
        if seen >= 0:
            whole.seconds += now - turn
        turn = now
        if progress.value != seen:
            seen, since, cpu_since = progress.value, now, _cpu_s(child.pid)
        elif seen >= 0 and (_cpu_s(child.pid) - cpu_since > hang_s or now - since > hang_s * _IDLE_TIMES):
            return f"it hangs: more than {hang_s:g} s"
    return ""


def _cpu_s(process: int) -> float:
    """CPU time that a process has used."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
