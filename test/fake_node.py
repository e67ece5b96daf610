"""The real node process with the fake engine, for tests of what runs around it: ``python -m fake_node``."""

import os
import sys

from sparse4d_ros.errors import UserError
from sparse4d_ros.node.main import main


def _engine(settings):
    """The environment says what goes wrong: nothing, the start, or every frame."""
    from fake_engine import FakeEngine, FakePackage  # not before `main` hears signals: this takes a while

    fault = os.environ.get("FAKE_NODE_FAULT", "")
    if fault == "start":
        raise UserError("the model package is broken on purpose")

    def before_step(number, frame):
        if fault == "frames":
            raise RuntimeError("broken on purpose")
    return FakeEngine(FakePackage(cameras=settings.cameras), before_step=before_step)


if __name__ == "__main__":
    sys.exit(main(engine_factory=_engine))
