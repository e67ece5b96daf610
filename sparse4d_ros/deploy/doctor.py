"""`sparse4d doctor`: looks at the machine and a model package and says what is wrong and what to do about it.

Meant to be run on the vehicle and pasted into an issue. It changes nothing, but for the engine that `--build` builds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.deploy.doctor_machine import examine_machine
from sparse4d_ros.deploy.doctor_model import examine_backends, examine_engines, examine_package
from sparse4d_ros.deploy.timing import table
from sparse4d_ros.engine.package import GRID_KINDS
from sparse4d_ros.findings import FAIL, page, to_json, worst
from sparse4d_ros.resources import share_path
from sparse4d_ros.writing import write_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    model = share_path("models", "sparse4d_small")
    parser.add_argument("--model", type=Path, default=model, help="model package (default: the shipped one)")
    parser.add_argument("--bag", type=Path, default=model / "demo_drive", help="drive (default: the shipped one)")
    add_images_option(parser)
    parser.add_argument("--frames", type=int, default=20, help="frames to compare the backends on (default 20)")
    parser.add_argument("--build", choices=tuple(GRID_KINDS), help="first build the TensorRT engine of this precision")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings here")
    parser.epilog = "example:\n  sparse4d doctor --model my_model --bag my_drive --build fp16 --json doctor.json"


def run(args: argparse.Namespace) -> int:
    """Print the page; 1 if anything on it is a FAIL."""
    sections = examine_machine()
    package, sections["Model package"] = examine_package(args.model)
    rows = []
    if package is not None:
        sections["Model package"] += examine_engines(package, args.build)
        sections["Backends"], rows = examine_backends(package, args.bag, max(1, args.frames), args.images)
    print(page(sections))
    if rows:
        print(f"\nLatency of the network per frame\n{table(rows)}")
    if args.json:
        values = to_json(sections) | {"latency_ms": {name: times for name, times, _ in rows}}
        write_text(args.json, json.dumps(values, indent=1) + "\n")
    return int(worst(finding for findings in sections.values() for finding in findings) == FAIL)
