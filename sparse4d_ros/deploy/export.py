"""`sparse4d export`: the network of a model package as one ONNX graph, for first and later frames alike.

The bank is an input and an output; ``has_history`` says whether it holds anything. Three ways to read
image features can be exported (same numbers): ``visible`` gathers only points that a camera sees,
for onnxruntime on CPUs; ``grid`` uses GridSample with static shapes, for TensorRT; ``plugin`` leaves
it to one node, for TensorRT with the plugin of this folder.

The types are in the graph, as strongly typed networks want them; inputs and outputs are float32
whatever the precision. fp16 applies to backbone and neck, nine tenths of the work, and INT8 to
convolutions of theirs: with the head's linear layers in fp16 too, half of all boxes move by more
than 5 mm (docs/deployment.md).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.deploy.mixed_precision import Mixture, Mixtures, Trial, most, reference_steps
from sparse4d_ros.deploy.plugin_graph import add_meaning, read_by_plugin
from sparse4d_ros.deploy.quantise import calibrate, pictures
from sparse4d_ros.deploy.tensorrt_operators import unsupported
from sparse4d_ros.engine.onnx_backend import DEPTH_OUTPUT, INPUT_NAMES, output_names
from sparse4d_ros.engine.package import GRID_KINDS, PLUGIN_KINDS, ModelPackage, sha256
from sparse4d_ros.engine.torch_backend import focal_lengths, load_network
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.depth import clip_depth
from sparse4d_ros.model.detector import Sparse4D, empty_inputs
from sparse4d_ros.writing import replacing

#: The first whose QuantizeLinear takes fp16; GridSample as onnxruntime and TensorRT 10 know it.
OPSET = 19
#: Frames of the calibration drive whose boxes are compared with torch's.
TRIAL_FRAMES = 12
#: (reading, precision) -> kind of file in the package, file name
_FILES = {
    ("visible", "fp32"): ("onnx", "model.onnx"),
    **{(reading, precision): (kind, f"{kind.replace('onnx', 'model')}.onnx")
       for reading, kinds in (("grid", GRID_KINDS), ("plugin", PLUGIN_KINDS)) for precision, kind in kinds.items()},
}


class FlatNetwork(nn.Module):
    """The network with the flat argument list of the graph; the picture size is a constant of it."""

    def __init__(
        self, network: Sparse4D, num_cameras: int, width: int, height: int, depth: bool, plugin: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.depth = depth
        self.plugin = plugin
        size = torch.tensor([float(width), float(height)]).repeat(1, num_cameras, 1)
        self.register_buffer("image_wh", size)

    def forward(
        self, images: Tensor, projection: Tensor, camera_valid: Tensor, bank_feature: Tensor, bank_anchor: Tensor,
        bank_confidence: Tensor, has_history: Tensor, dt: Tensor, now_from_previous: Tensor,
    ) -> tuple[Tensor, ...]:
        maps = self.network.extract(images.to(self.network.neck.lateral_convs[0].weight.dtype))
        features = [x.movedim(2, -1) if self.plugin else x.float() for x in maps]
        bank = Bank(bank_feature, bank_anchor, bank_confidence, has_history)
        out = self.network.head(features, projection, self.image_wh, camera_valid, bank, dt, now_from_previous)
        outputs = tuple(x for x in (out.anchors[-1], out.classes[-1], out.quality[-1], *out.bank[:3], out.kept_rows)
                        if x is not None)
        if self.depth:
            finest = self.network.depth_branch([maps[0].float()], focal_lengths(projection))[0]
            outputs += (clip_depth(finest),)
        return outputs


def halve_image_branch(network: Sparse4D) -> None:
    """Backbone and neck in fp16. Norms are folded into the convolutions before, so that weights are rounded once."""
    network.backbone = fuse(network.backbone).half()
    network.neck.half()


def export_onnx(
    package: ModelPackage, output: Path, reading: str = "visible", depth: bool = False, half: bool = False,
) -> None:
    """Write the graph of a package to ``output``; the file appears only when it is whole.

    ``half`` puts backbone and neck in fp16. The graph for the plugin has the meaning of its nodes with it. Raises
    ``UserError`` if the weights are absent or do not fit, or the file cannot be written.
    """
    network = load_network(package)
    network.set_reading("visible" if reading == "visible" else "grid")
    if reading == "plugin":
        read_by_plugin(network)
    if half:
        halve_image_branch(network)
    count = len(package.cameras)
    flat = FlatNetwork(network, count, package.input_width, package.input_height, depth, reading == "plugin").eval()
    images, projection, _, valid, bank, dt, motion = empty_inputs(
        package.model, count, package.input_width, package.input_height)
    # A camera that sees the scene: with nothing visible the gathering graph would be traced with no rows.
    projection[:, :, :3] = torch.tensor([[
        [0.0, -package.input_width, 0.0, 0.0], [0.0, 0.0, -package.input_width, 0.0], [1.0, 0.0, 0.0, 0.0]]])
    projection[:, :, 0] += projection[:, :, 2] * package.input_width / 2
    projection[:, :, 1] += projection[:, :, 2] * package.input_height / 2
    names = output_names(package.model) + [DEPTH_OUTPUT] * depth
    with torch.no_grad():
        model = torch.onnx.export(
            flat, (images, projection, valid, *bank, dt, motion), dynamo=True, input_names=list(INPUT_NAMES),
            output_names=names, opset_version=OPSET, verbose=False,
        ).model_proto
    strip_origin(model)
    if reading == "plugin":
        add_meaning(model)
    save_graph(model, output)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, whole or not at all; ``UserError`` as :func:`replacing`."""
    with replacing(path) as partial:
        onnx.save(model, str(partial))


def strip_origin(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes of the source code: file names of this machine, in every node."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def export_int8(
    package: ModelPackage, output: Path, drive: Source, num_frames: int, tolerance: float | None, depth: bool = False,
    reading: str = "grid",
) -> Mixture:
    """Write the fp16 graph with INT8 in convolutions: in all, or in as many as keep the boxes within a tolerance.

    ``num_frames`` of the drive, evenly spread, give the ranges, and the boxes of up to :data:`TRIAL_FRAMES` are
    compared with torch's. Raises ``UserError`` if the drive cannot be used, shows nothing to the model, or no
    convolution can be in INT8.
    """
    images = pictures(package, drive, num_frames)  # a drive that cannot be used is named before a minute of work
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / output.name
        export_onnx(package, path, reading, depth, half=True)
        model = onnx.load(str(path))
    reaches = calibrate(model, images)
    with reference_steps(package, drive, min(num_frames, TRIAL_FRAMES)) as (reference, steps):
        mixture = Mixtures(model, reaches, Trial(package, reference, steps)).within(tolerance)
    if not mixture.layers:
        raise UserError(f"no convolution can be in int8 within {tolerance:g} (99 % of the objects; fp16 alone keeps "
                        f"{most(mixture.values):.1e}): take --precision fp16, or a tolerance that `sparse4d precision` "
                        "shows to be in reach")
    save_graph(mixture.model, output)
    return mixture


def description(mixture: Mixture) -> str:
    """What is in INT8, what is not, and how far the boxes are from torch's."""
    values = mixture.values.max(axis=1)
    return (f"{mixture.share:.0%} of the multiply-adds of backbone and neck in int8"
            + (f"; in fp16: {', '.join(mixture.left)}" if mixture.left else "")
            + f"\n{len(values)} objects beside torch's in float32: median {np.median(values):.1e}, 99 % within "
            f"{most(mixture.values):.1e}, largest {values.max():.1e} (m, rad, m/s)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("package", type=Path, help="folder of the model package (with weights)")
    parser.add_argument("--reading", choices=("visible", "grid", "plugin"),
                        help="visible: for onnxruntime on the CPU (default in fp32); grid: static shapes, for "
                             "TensorRT; plugin: for TensorRT with the plugin of deploy/plugin")
    parser.add_argument("--precision", choices=tuple(GRID_KINDS), default="fp32",
                        help="of backbone and neck; fp16 and int8 are for TensorRT (--reading grid, or plugin)")
    parser.add_argument("--calibrate", type=Path, metavar="BAG",
                        help="drive that int8 takes the ranges of its activations from: one like those to come")
    add_images_option(parser)
    parser.add_argument("--calibration-frames", type=int, default=32, help="frames of it, evenly spread (default 32)")
    parser.add_argument("--tolerance", type=float, metavar="T",
                        help="leave convolutions in fp16 until 99 %% of the drive's objects are within T (m, rad, m/s) "
                             "of float32; without it all are in int8")
    parser.add_argument("--depth", action="store_true", help="also give out dense depth maps, for debugging")
    parser.epilog = ("examples:\n  sparse4d export models/sparse4d_small\n"
                     "  sparse4d export models/sparse4d_small --precision fp16\n"
                     "  sparse4d export models/sparse4d_small --precision int8 --calibrate my_drive --tolerance 0.05")


def run(args: argparse.Namespace) -> int:
    """Export, check the graph, and enter it with its checksum in model.yaml."""
    reading = args.reading or ("visible" if args.precision == "fp32" else "grid")
    if (reading, args.precision) not in _FILES:
        raise UserError(f"--precision {args.precision} is for TensorRT, which needs --reading grid or plugin")
    if (args.precision == "int8") != (args.calibrate is not None):
        raise UserError("--precision int8 and --calibrate BAG go together: the drive gives the activations' ranges")
    if args.tolerance is not None and args.precision != "int8":
        raise UserError(f"--tolerance chooses what is in int8; --precision is {args.precision}")
    package = ModelPackage.load(args.package)
    if "weights" not in package.files:
        raise UserError(f"the model package {args.package} has no weights to export (field files.weights)")
    kind, name = _FILES[reading, args.precision]
    print(f"exporting {package.name} ({reading}, {args.precision}), this takes about a minute …", flush=True)
    path = args.package / name
    if args.precision == "int8":
        drive = Source(args.calibrate.name, args.calibrate, True, package.cameras, args.images)
        mixture = export_int8(package, path, drive, args.calibration_frames, args.tolerance, args.depth, reading)
        print(description(mixture))
    else:
        export_onnx(package, path, reading, args.depth, half=args.precision == "fp16")
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    if reading != "visible" and (refused := unsupported(model)):
        raise UserError(f"TensorRT would refuse {path}, so it is not entered in model.yaml: {'; '.join(refused[:5])}")
    if reading == "plugin":
        del model.functions[:]  # TensorRT would read these, and not ask the plugin
        save_graph(model, path)
    replace(package, files={**package.files, kind: (name, sha256(path))}).save(args.package)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB) and its checksum in model.yaml")
    return 0
