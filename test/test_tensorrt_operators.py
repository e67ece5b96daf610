"""What TensorRT's parser reads otherwise than it is meant, without a word."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx", reason="graphs are onnx")

from sparse4d_ros.deploy.tensorrt_operators import unsupported  # noqa: E402


@pytest.mark.parametrize(("opset", "mode", "refused"), [
    (19, "bilinear", []), (20, "linear", ["GridSample (read): mode linear would be read as nearest"])])
def test_a_mode_of_gridsample_that_is_taken_for_another_is_refused(opset, mode, refused):
    """NVIDIA/TensorRT issue 4646."""
    shapes = {"picture": [1, 2, 3, 4], "points": [1, 5, 6, 2], "values": [1, 2, 5, 6]}
    values = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
              for name, shape in shapes.items()}
    node = onnx.helper.make_node("GridSample", ["picture", "points"], ["values"], "read", mode=mode)
    graph = onnx.helper.make_graph([node], "g", [values["picture"], values["points"]], [values["values"]])
    opsets = [onnx.helper.make_opsetid("", opset)]
    assert unsupported(onnx.helper.make_model(graph, opset_imports=opsets)) == refused
