"""What TensorRT 10.3 (JetPack 6.2) reads of ONNX: an export that it would refuse is known at once.

From the support table of onnx-tensorrt, release 10.1 (docs/operators.md); later releases only add to
it. Operators whose shapes depend on data (NonZero and the like) are left out: such a graph could not
be captured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper, shape_inference

OPSETS = range(9, 21)
OPERATORS = frozenset("""
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike
    Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
    DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu
    Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
    HardSwish Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin
    Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK
    Transpose Trilu Unsqueeze Where Xor""".split())
#: Domain and name of the node that the optional plugin computes.
PLUGIN = ("sparse4d_ros", "DeformableAggregation")
_MAX_K = 3840


def unsupported(model: onnx.ModelProto) -> list[str]:
    """What in a graph TensorRT 10.3 would refuse, in words, by the table and its restrictions; empty if nothing."""
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    constants = {item.name: item for item in model.graph.initializer}
    found = [f"opset {item.version}" for item in model.opset_import
             if item.domain in ("", "ai.onnx") and item.version not in OPSETS]
    for node in model.graph.node:
        found += (f"{node.op_type} ({node.name}): {reason}" for reason in _refused(node, constants))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if any(not size.HasField("dim_value") for size in value.type.tensor_type.shape.dim):
            found.append(f"the size of {value.name} depends on data")
    return found


def _refused(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> Iterator[str]:
    if (node.domain, node.op_type) == PLUGIN:
        return
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        yield "not known to TensorRT, or of a size that depends on data"
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "GridSample":
        # Opset 20 calls them linear and cubic; the parser knows neither, says nothing, and takes the nearest value.
        if (mode := attributes.get("mode", b"bilinear").decode()) not in ("bilinear", "nearest", "bicubic"):
            yield f"mode {mode} would be read as nearest"
    if node.op_type == "TopK":
        if not attributes.get("sorted", 1):
            yield "sorted must be 1"
        if node.input[1] not in constants or int(numpy_helper.to_array(constants[node.input[1]]).item()) >= _MAX_K:
            yield f"k must be a constant below {_MAX_K}"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
        if node.input[2] not in constants or np.any(numpy_helper.to_array(constants[node.input[2]])):
            yield "the zero point must be 0"
    if node.op_type == "ScatterND" and attributes.get("reduction", b"none") != b"none":
        yield "a reduction is not supported"
    if node.op_type in ("Slice", "Squeeze", "Unsqueeze", "Pad"):
        axes = node.input[3 if node.op_type in ("Slice", "Pad") else 1:][:1]
        if axes and axes[0] and axes[0] not in constants:
            yield "axes must be constants"
