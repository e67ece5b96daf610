"""`make benchmark`: the offline table of `sparse4d benchmark`, and the node on real topics below it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.deploy import benchmark as offline
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import FrameTruth
from sparse4d_ros.node.demo_processes import prepare_environment
from sparse4d_ros.node.demo_session import Plan, record, truths_of

#: Speeds of replay: at the first the node keeps up on any machine, the second asks for more than two cores can do.
_EASY_RATE, _HARD_RATE = 1.0, 6.0


def node_rows(model: Path, drive: BagDrive, truths: tuple[FrameTruth, ...]) -> tuple[list[offline.Row], str]:
    """The node's own cost beside decode and network, and a sentence on how many frames a second it can do."""
    span_s = (truths[-1].stamp_ns - truths[0].stamp_ns) * 1e-9
    rows: list[offline.Row] = []
    sentence = ""
    os.environ.update(prepare_environment(dict(os.environ)))
    for rate in (_EASY_RATE, _HARD_RATE):
        with tempfile.TemporaryDirectory() as logs:
            plan = Plan(drive.path.resolve(), model.resolve(), drive.image_topics, truths, drive.fixed_frame, rate, 0.3,
                        Path(logs))
            recording = record(plan)
        results = recording.drive.results
        if rate == _EASY_RATE:
            total = [result.timing_ms["total"] for result in results]
            beside = [result.timing_ms["total"] - sum(result.timing_ms[step] for step in (
                "decode", "preprocess", "inference")) for result in results]
            rows = [("node, set complete to published", total, None),
                    ("node, beside decode, preprocess and inference", beside, "node, set complete to published")]
        else:
            sentence = (f"node at {_HARD_RATE * len(truths) / span_s:.0f} Hz of six JPEG cameras: "
                        f"{len(results) / (span_s / rate):.1f} frames a second come out "
                        f"({len(results)} of {len(truths)}, the newest each time)")
    return rows, sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 with a sentence if the node could not be timed."""
    parser = argparse.ArgumentParser(prog="python -m sparse4d_ros.node.benchmark", description=__doc__)
    offline.configure(parser)
    args = parser.parse_args(arguments)
    try:
        package, drive = offline.opened(args)
        truths = truths_of(drive)  # a bag that cannot be used is named before a minute of work
        print(offline.machine(), flush=True)
        rows = offline.offline_rows(package, drive, args.frames)
        more, sentence = node_rows(args.model, drive, truths)
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print(offline.table([*rows, *more]))
    print(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
