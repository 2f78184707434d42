"""4-bit artefacts of whole detectors: they run in stock onnxruntime and in Detector, and say what they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from tiny_detectors import IMGSZ, smooth_picture

from wutdet.config import ExportConfig
from wutdet.errors import ExportError
from wutdet.export.run import run
from wutdet.export.standard_form import standard_form
from wutdet.quantize.graph import packable_weights
from wutdet.quantize.packed_onnx import pack_weights, replace_values, unpack_weights
from wutdet.quantize.weights import PackedWeight, pack_weight
from wutdet.runtime.detector import Detector

FORMATS = ["hif4", "mxfp4", "nvfp4", "int4"]
CASES = [("yolo26n", "nms", f) for f in FORMATS] + [("yolo26n", "nms-free", "hif4"), ("yolo11n", "nms", "mxfp4")]


@pytest.mark.parametrize(("arch", "head", "number_format"), CASES)
def test_artefact_is_the_float_graph_with_rounded_weights(artefact, arch, head, number_format):
    file = artefact(arch, head, number_format)
    plain = onnx.load(artefact(arch, head, "fp32"))
    floats = {t.name: numpy_helper.to_array(t) for t in plain.graph.initializer}
    rounded = {n: pack_weight(floats[n], number_format).dequantize() for n in packable_weights(plain)}
    x = smooth_picture((IMGSZ, IMGSZ), 5)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    sessions = [
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (file.read_bytes(), replace_values(plain, rounded).SerializeToString())
    ]
    ours, expected = (s.run(["output0"], {"images": np.ascontiguousarray(x)})[0] for s in sessions)
    np.testing.assert_array_equal(ours, expected)
    assert len(Detector(file, conf=0.05)(smooth_picture((200, 120), 11))) > 0


def test_what_an_artefact_says(artefact):
    file = artefact("yolo26n", "nms", "hif4")
    metadata = Detector(file).metadata
    weights = unpack_weights(onnx.load(file))
    assert metadata.weight_format == "hif4"
    assert metadata.quantisation["packed_weights"] == len(weights) > 60
    assert {w.tensor.format for w in weights.values()} == {"hif4"}
    assert 4.5 < metadata.quantisation["bits_per_value"] < 4.75
    assert file.stat().st_size < 0.17 * artefact("yolo26n", "nms", "fp32").stat().st_size


def test_gate_of_a_packed_artefact(checkpoints, dataset_file, tmp_path):
    def export(**changes):
        return run(
            ExportConfig(
                model=str(checkpoints["yolo26n"]),
                format="mxfp4",
                out=tmp_path / "ship.onnx",
                imgsz=str(IMGSZ),
                gate=str(dataset_file),
                **changes,
            )
        )

    with pytest.raises(ExportError, match="acceptance gate") as error:
        export(max_drop=-2.0)
    assert "--quantize" in error.value.hint
    assert list(tmp_path.iterdir()) == []
    result = export(max_drop=1.0)
    assert result.metadata.gate["passed"] == 1
    assert result.metadata.gate["AP"] < result.metadata.gate["AP_float"]  # random weights do not bear 4 bits
    assert Detector(tmp_path / "ship.onnx").metadata.gate == result.metadata.gate


@pytest.mark.parametrize(
    "options",
    [{}, {"symmetric": False}, {"granularity": "channel"}, {"granularity": "tensor", "symmetric": False}],
)
def test_onnx_int4_in_onnxruntime(artefact, options):

    model = onnx.load(artefact("yolo11n", "nms", "fp32"))
    check_standard(model, "int4", options, run_in_onnxruntime, opset=21)


@pytest.mark.parametrize("options", [{}, {"scale_rule": "ceil"}])
def test_onnx_mxfp4_in_the_reference_evaluator(artefact, options):
    """onnxruntime 1.32 has no FLOAT4E2M1."""
    model = onnx.load(artefact("yolo11n", "nms", "fp32"))
    check_standard(model, "mxfp4", options, lambda m: ReferenceEvaluator(m).run(None, {}), opset=24)


def run_in_onnxruntime(model: onnx.ModelProto) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {})


def check_standard(model, number_format, options, evaluate, opset):
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rng = np.random.default_rng(0)
    weights = {}
    for name in packable_weights(model)[:12]:
        packed = pack_weight(floats[name], number_format, **options)
        scale = packed.channel_scale if len(weights) % 2 else rng.uniform(0.8, 1.2, packed.shape[0]).astype(np.float32)
        weights[name] = PackedWeight(packed.tensor, packed.shape, scale)
    out = standard_form(model, weights)
    onnx.checker.check_model(out, full_check=True)
    assert out.opset_import[0].version == opset
    decoding = [n for n in out.graph.node if n.output[0].startswith(tuple(weights))]
    outputs = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, w.shape) for n, w in weights.items()]
    graph = onnx.helper.make_graph(decoding, "weights", [], outputs, out.graph.initializer)
    alone = onnx.helper.make_model(graph, opset_imports=out.opset_import, ir_version=out.ir_version)
    for values, (name, weight) in zip(evaluate(alone), weights.items(), strict=True):
        assert np.array_equal(values, weight.dequantize()), name
    # The converted graph as a whole computes what the packed one does.
    if number_format == "int4":
        x = smooth_picture((IMGSZ, IMGSZ), 6)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
        results = []
        for each in (out, pack_weights(model, weights)):
            settings = onnxruntime.SessionOptions()
            # Else onnxruntime decodes at every frame, and sums in another order.
            settings.add_session_config_entry("session.disable_quant_qdq", "1")
            session = onnxruntime.InferenceSession(each.SerializeToString(), settings, ["CPUExecutionProvider"])
            results.append(session.run(None, {"images": np.ascontiguousarray(x)})[0])
        np.testing.assert_array_equal(*results)


def test_formats_without_onnx_types(artefact):
    model = onnx.load(artefact("yolo11n", "nms", "fp32"))
    name = packable_weights(model)[0]
    value = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)
    with pytest.raises(ExportError, match="no types for hif4"):
        standard_form(model, {name: pack_weight(value, "hif4")})
