"""The node's real entry point with the fake engine, for tests that need a process.

The first argument says how the engine behaves: `quick`, `hang` (the first step never returns) or `real`.
"""

import sys
import threading

from fake_engine import FakeEngine

from sparse4d_ros.node.main import main


def hang(number, frame):
    print("inference has begun", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    behaviour, *arguments = sys.argv[1:]
    arguments = [sys.argv[0], *arguments]
    if behaviour == "real":
        sys.exit(main(arguments))
    engine = FakeEngine(before_step=hang) if behaviour == "hang" else FakeEngine()
    sys.exit(main(arguments, engine_factory=lambda settings: engine))
