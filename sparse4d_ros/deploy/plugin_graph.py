"""The reading of image features as one node of the graph, for the optional TensorRT plugin (folder ``plugin``).

TensorRT's parser hands a node that it does not know to the plugin of that name, but for a node whose
meaning the model gives (an ONNX function) it reads that instead. So a graph has the meaning while it
is checked, in onnxruntime, and is written for TensorRT without.
"""

from __future__ import annotations

from functools import partial

import onnx
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from sparse4d_ros.deploy.tensorrt_operators import PLUGIN
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.aggregation import DeformableAggregation, Features, sample_grid


def read_by_plugin(network: nn.Module) -> None:
    """Let an exported network read by one node. It computes nothing outside a graph.

    Its maps are then ``[bs, C, h, w, E]``, in half or single precision. Raises ``UserError`` if PyTorch is too old.
    """
    if not hasattr(getattr(torch.onnx, "ops", None), "symbolic"):
        raise UserError(f"--reading plugin needs torch.onnx.ops.symbolic: PyTorch {torch.__version__} is too old")
    for module in network.modules():
        if isinstance(module, DeformableAggregation):
            module.read = partial(_node, module.border)


def _node(border: str, features: Features, points: Tensor, weights: Tensor) -> Tensor:
    return torch.onnx.ops.symbolic(
        "::".join(PLUGIN), (points, weights, *features.maps), {"drop_border": int(border == "drop")},
        dtype=torch.float32, shape=(*weights.shape[:2], features.maps[0].shape[-1]), version=1)


class _Meaning(nn.Module):
    """What a node computes."""

    def __init__(self, border: str) -> None:
        super().__init__()
        self.border = border

    def forward(self, points: Tensor, weights: Tensor, maps: list[Tensor]) -> Tensor:
        return sample_grid([x.movedim(-1, 2).float() for x in maps], points, weights, self.border)


def add_meaning(model: ModelProto) -> None:
    """Give the model a function that says what its nodes compute; all have the same shapes."""
    types = {value.name: value.type.tensor_type for value in model.graph.value_info}
    node = next(node for node in model.graph.node if (node.domain, node.op_type) == PLUGIN)
    points, weights, *maps = (
        torch.zeros([size.dim_value for size in types[name].shape.dim],
                    dtype=torch.float16 if types[name].elem_type == onnx.TensorProto.FLOAT16 else torch.float32)
        for name in node.input)
    border = "drop" if helper.get_node_attr_value(node, "drop_border") else "zeros"
    opset = next(item.version for item in model.opset_import if not item.domain)
    program = torch.onnx.export(_Meaning(border).eval(), (points, weights, maps), dynamo=True, opset_version=opset,
                                verbose=False)
    graph = program.model_proto.graph
    constants = [helper.make_node("Constant", [], [item.name], value=item) for item in graph.initializer]
    model.functions.append(helper.make_function(
        *PLUGIN, [value.name for value in graph.input], [value.name for value in graph.output],
        [*constants, *graph.node], program.model_proto.opset_import, ["drop_border"]))
