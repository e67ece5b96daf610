"""Numbered steps that are skipped when nothing they depend on has changed."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environment.failure import SetupFailure

HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class Step:
    """One piece of work. It is done when its stamp holds the hash of `depends_on`."""

    name: str
    title: str
    depends_on: str
    action: Callable[[], None]


def content_hash(paths: Iterable[Path], *words: str) -> str:
    """Hash of the content of files and of some words; equal for equal content in any folder."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    for word in words:
        digest.update(b"\0" + word.encode())
    return digest.hexdigest()


def is_done(step: Step, stamps: Path) -> bool:
    stamp = stamps / step.name
    return stamp.is_file() and stamp.read_text() == step.depends_on


def run_steps(steps: list[Step], stamps: Path) -> int:
    """Do what is not done yet; returns how many steps that was. A step that fails leaves no stamp."""
    done = 0
    for number, step in enumerate(steps, start=1):
        if is_done(step, stamps):
            continue
        say(f"[{number}/{len(steps)}] {step.title}")
        (stamps / step.name).unlink(missing_ok=True)
        started = time.monotonic()
        try:
            step.action()
        except SetupFailure as failure:
            problem = f"step {number} of {len(steps)} ({step.title}) failed: {failure}"
            raise SetupFailure(problem, failure.remedy) from failure
        stamps.mkdir(parents=True, exist_ok=True)
        (stamps / step.name).write_text(step.depends_on)
        say(f"      done in {time.monotonic() - started:.0f} s")
        done += 1
    return done


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_logged(command: list[str], log: Path, remedy: str, env: dict[str, str] | None = None) -> None:
    """Run a command, its output in `log`, its last line on the terminal as a sign of life."""
    log.parent.mkdir(parents=True, exist_ok=True)
    last_lines: deque[str] = deque(maxlen=25)
    with log.open("w") as out:
        out.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", env=env)

        def read() -> None:
            for line in process.stdout:
                out.write(line)
                out.flush()
                if line.strip():
                    last_lines.append(line.rstrip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            _show_progress(process, last_lines)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        reader.join()
    if process.returncode:
        tail = "\n".join(f"      | {line}" for line in last_lines)
        name = " ".join([Path(command[0]).name, *command[1:4]])
        problem = f"`{name[:60]} ...` ended with code {process.returncode}. Its last lines:\n{tail}\n      (all: {log})"
        raise SetupFailure(problem, _remedy_for(last_lines, remedy))


def _show_progress(process: subprocess.Popen, last_lines: deque[str]) -> None:
    """Until the process ends: a line that changes on a terminal, a line now and then in a log."""
    started = shown = time.monotonic()
    terminal = sys.stderr.isatty()
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            text = f"      {now - started:4.0f} s  {last_lines[-1].strip() if last_lines else ''}"
            if terminal:
                print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)
            elif now - shown >= HEARTBEAT_S:
                shown = now
                say(text[:160])
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _remedy_for(lines: Iterable[str], otherwise: str) -> str:
    """Causes that have nothing to do with the step itself."""
    text = "\n".join(lines)
    if "No space left on device" in text:
        return "free some disk space (about 3 GB are needed) and run the same command again; it goes on from here"
    if any(sign in text for sign in ("Temporary failure in name resolution", "NewConnectionError", "ConnectTimeout")):
        return "check the network (or the proxy and index that pip is configured with) and run the same command again"
    return otherwise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one set-up works on an environment at a time; a second one waits and then finds it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another set-up is working on {path.parent.name}; waiting for it to end.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
