"""Small float graphs that the quantiser is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def float_graph(
    nodes: Sequence[onnx.NodeProto],
    tensors: Mapping[str, np.ndarray],
    images_shape: Sequence[int],
    y_shape: Sequence[int],
) -> onnx.ModelProto:
    """A graph from ``images`` to ``y`` with float32 initialisers."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
