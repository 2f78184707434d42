"""How far a quantised detector's output is from the float one's: no labels, no threshold, no box matching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from wutdet.quantize.graph import head_parts
from wutdet.quantize.session import quiet_session


class OutputError:
    """Normalised squared error of the head's raw maps (boxes and score logits of every stride), over frames.

    Of each map: the sum of squared differences over the sum of squared deviations from the channels' means. A map that
    holds nothing but its channels' means has an error of 1.
    """

    def __init__(self) -> None:
        self._lost: list[np.ndarray] = []
        self._spread: list[np.ndarray] = []

    def add(self, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> None:
        """Adds a batch of frames.

        Args:
            wanted: the float network's maps, float32 [B, C, H, W] each.
            got: the same maps of the quantised network.
        """
        lost, spread = [], []
        for own, other in zip(wanted, got, strict=True):
            own, other = own.astype(np.float64), other.astype(np.float64)
            lost.append(np.square(other - own).sum())
            spread.append(np.square(own - own.mean(axis=(0, 2, 3), keepdims=True)).sum())
        self._lost.append(np.array(lost))
        self._spread.append(np.array(spread))

    @property
    def maps(self) -> np.ndarray:
        """float64 [M], the error of each map."""
        return np.sum(self._lost, axis=0) / np.maximum(np.sum(self._spread, axis=0), 1e-30)

    @property
    def mean(self) -> float:
        """Over maps."""
        return float(self.maps.mean())


def graph_error(
    model: onnx.ModelProto, quantised: Sequence[onnx.ModelProto], frames: Iterable[np.ndarray]
) -> list[OutputError]:
    """The errors of quantised graphs against their float graph, in onnxruntime.

    Args:
        model: float detector graph.
        quantised: graphs made of it, whose convolutions have kept their names.
        frames: network inputs, float32 [1, 3, H, W].
    """
    parts = head_parts(model)
    names = [*sorted(parts.box_convs), *sorted(parts.score_convs)]
    sessions = [_head_session(graph, names) for graph in (model, *quantised)]
    errors = [OutputError() for _ in quantised]
    for frame in frames:
        wanted, *others = (session.run(outputs, {session.get_inputs()[0].name: frame}) for session, outputs in sessions)
        for error, got in zip(errors, others, strict=True):
            error.add(wanted, got)
    return errors


def _head_session(model: onnx.ModelProto, names: Sequence[str]):
    outputs = {node.name: node.output[0] for node in model.graph.node}
    wanted = [outputs[name] for name in names]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in wanted)
    session = quiet_session(copy)
    return session, wanted
