"""`sparse4d <command>`: everything that needs no ROS, one module per command.

A command module offers ``configure(parser)`` and ``run(args) -> int``. It is imported only when
its command is asked for, so `sparse4d --help` is quick and needs none of the extras.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from sparse4d_ros import __version__
from sparse4d_ros.errors import UserError
from sparse4d_ros.installing import missing

# command -> (module, one line of help)
COMMANDS = {
    "convert": ("sparse4d_ros.deploy.convert", "turn an official .pth checkpoint into a model package"),
    "pack": ("sparse4d_ros.deploy.pack", "make a model package of a training run"),
    "export": ("sparse4d_ros.deploy.export", "export a model package's network to ONNX"),
    "precision": ("sparse4d_ros.deploy.precision", "say what fp16 and int8 cost a model on a drive"),
    "build-engine": ("sparse4d_ros.deploy.build_engine", "build a TensorRT engine of a model package on this machine"),
    "doctor": ("sparse4d_ros.deploy.doctor", "look at machine and model package, and say what is wrong"),
    "simulate": ("sparse4d_ros.simulation.command", "render synthetic six-camera drives, as bags or for training"),
    "train": ("sparse4d_ros.training.command", "train a model on drives"),
    "ablate": ("sparse4d_ros.training.ablation", "train variants of a configuration alike and compare their scores"),
    "evaluate": ("sparse4d_ros.evaluation.evaluate_options",
                 "score a model, or recorded tracks, on a bag with ground truth"),
    "robustness": ("sparse4d_ros.evaluation.robustness_options", "score a model without memory and without cameras"),
    "view": ("sparse4d_ros.viewer.command", "look at a drive and its tracks in a browser, or save it as one page"),
    "viewer-files": ("sparse4d_ros.node.viewer_files", "write what RViz and Foxglove open, for your cameras and node"),
    "record-demo": ("sparse4d_ros.viewer.record_demo", "make page, video and pictures of a drive, to show around"),
    "check-rig": ("sparse4d_ros.rig_check.command", "say what looks wrong with the cameras of a recorded bag"),
    "nuscenes-to-bag": ("sparse4d_ros.data.nuscenes_to_bag", "write scenes of nuScenes as bags with ground truth"),
    "bag-to-arrays": ("sparse4d_ros.data.bag_to_arrays", "make drives for training of bags with ground truth"),
    "inject": ("sparse4d_ros.data.inject", "write a bag with faults, to test any perception node with"),
    "samples-to-bag": ("sparse4d_ros.data.samples", "write a folder of pictures with sequence.json as a bag"),
    "benchmark": ("sparse4d_ros.deploy.benchmark", "time engine and backends, one table with ratios"),
}


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only the named command's module is imported for its options."""
    parser = argparse.ArgumentParser(
        prog="sparse4d", description="Sparse4D v3: six cameras in, tracked 3-D objects out.",
        epilog="`sparse4d <command> --help` explains a command and shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"sparse4d_ros {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="<command>", required=True)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            importlib.import_module(module).configure(sub)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one sentence on bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in arguments if word in COMMANDS), None)
    try:
        args = build_parser(command).parse_args(arguments)
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except UserError as error:
        print(f"sparse4d: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"sparse4d: {missing(f'the command {command!r}', str(error.name))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sparse4d: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
