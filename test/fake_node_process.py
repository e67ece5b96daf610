"""The node's real entry point with the fake engine, for tests that need a process.

The first argument says how the engine behaves: `quick`, `hang` (the first step never returns) or `real`.
"""

import sys
import threading

from sparse4d_ros.node.main import leave, main


def hang(number, frame):
    print("inference has begun", flush=True)
    threading.Event().wait()


def engine(settings):
    from fake_engine import FakeEngine  # not before `main` hears signals: this takes a while

    return FakeEngine(before_step=hang) if behaviour == "hang" else FakeEngine()


if __name__ == "__main__":
    behaviour, *arguments = sys.argv[1:]
    leave(main([sys.argv[0], *arguments], None if behaviour == "real" else engine))
