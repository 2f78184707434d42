"""The planned program (fused convolutions on images of bytes) against onnxruntime and against the interpreter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from engine_models import (
    IMGSZ_HW,
    PACKED_FORMATS,
    model_bytes,
    network_input,
    onnxruntime_session,
    share_of_other_codes,
)
from onnx import numpy_helper
from wutdet._kernels import Engine

DETECTORS = [
    ("yolo26n", "nms"),
    ("yolo26n", "nms-free"),
    ("yolo11n", "auto"),
    pytest.param("yolo12n", "auto", marks=pytest.mark.slow),
]


def cut_behind_tables(data: bytes) -> tuple[bytes, bytes, list[str]]:
    """An int8 graph in two forms that show the codes between its fused convolutions.

    As ``cut_at_codes``, but codes that a sigmoid takes or gives stay inside, so that a convolution, its activation and
    a sum behind it are one step.

    Returns:
        The graph with these codes as further outputs; the graph in which they are inputs and computed anew, in outputs
        of the same order; their names.
    """
    shown = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    nodes = list(shown.graph.node)
    consumers: dict[str, list] = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    producer = {name: node for node in nodes for name in node.output}

    def inside(quantize) -> bool:
        behind = [n for dq in consumers[quantize.output[0]] for n in consumers.get(dq.output[0], [])]
        before = producer.get(quantize.input[0])  # none before the graph's input
        return (before is not None and before.op_type == "Sigmoid") or any(n.op_type == "Sigmoid" for n in behind)

    names = [n.output[0] for n in nodes if n.op_type == "QuantizeLinear" and not inside(n)]
    known = {value.name: value for value in shown.graph.value_info}
    shown.graph.output.extend(known[name] for name in names)
    cut = onnx.ModelProto()
    cut.CopyFrom(shown)
    for node in cut.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in names:
            node.output[0] += "/again"
    for output in cut.graph.output:
        if output.name in names:
            output.name += "/again"
    cut.graph.input.extend(known[name] for name in names)
    return shown.SerializeToString(), cut.SerializeToString(), names


@pytest.mark.parametrize(("arch", "head"), DETECTORS)
def test_int8_layers_within_one_code_of_onnxruntime(arch, head):
    shown, cut, names = cut_behind_tables(model_bytes(arch, head, "int8"))
    x = network_input(9)
    codes = onnxruntime_session(shown).run(None, {"images": x})[1:]
    engine = Engine(cut, threads=1, program="fused")
    assert share_of_other_codes(engine, names, x, codes) < 0.002


@pytest.mark.parametrize("number_format", ["fp32", "hif4"])
@pytest.mark.parametrize(("arch", "head"), DETECTORS)
def test_float_activations(arch, head, number_format):
    data = model_bytes(arch, head, number_format)
    x = network_input(9)
    session, plain = onnxruntime_session(data), onnxruntime_session(data, optimise=False)
    (wanted,), (other,) = session.run(None, {"images": x}), plain.run(None, {"images": x})
    (found,) = Engine(data, threads=1, program="fused").run([x])
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if head == "nms-free":  # rows of equal scores come in any order
        np.testing.assert_allclose(found[0, :, 4], wanted[0, :, 4], atol=1e-4)
        return
    assert np.abs(found - wanted).max() <= max(1e-4 * IMGSZ_HW[1], 4 * np.abs(other - wanted).max())


@pytest.mark.parametrize(("arch", "head"), DETECTORS)
def test_threads_change_no_bit(arch, head):
    data = model_bytes(arch, head, "int8")
    x = network_input(4)
    engines = [Engine(data, threads=threads, program="fused") for threads in (1, 2, 3)]
    (wanted,) = engines[0].run([x])
    for engine in engines:
        for _ in range(3):
            np.testing.assert_array_equal(engine.run([x])[0], wanted)


def test_runs_of_one_engine_may_overlap():
    engine = Engine(model_bytes("yolo26n", "nms", "int8"), threads=2, program="fused")
    inputs = [network_input(seed) for seed in range(3)]
    alone = [engine.run([x])[0] for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: engine.run([x])[0], inputs * 4))
    for found, wanted in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(found, wanted)


#: Convolutions of concatenations with an upsampled part that the engine computes in two, as int8 sums.
TWICE = 2


def test_convolutions_are_fused():
    engine = Engine(model_bytes("yolo26n", "nms", "int8"), threads=1)
    assert (engine.program, engine.isa != "") == ("fused", True)
    steps = engine.layers([network_input(0)])
    kinds = [kind for _, kind, _, _, _ in steps]
    assert kinds.count("conv") == engine.operators["Conv"] + TWICE
    # Activations, splits and concatenations of images are no steps of their own.
    assert not {"QuantizeLinear", "DequantizeLinear", "Split", "MatMul", "Softmax"} & set(kinds)
    assert len(steps) < 1.5 * engine.operators["Conv"]
    assert all(seconds >= 0 for *_, seconds in steps)


@pytest.mark.slow
@pytest.mark.parametrize(("number_format", "attentions"), [("int8", 8), ("fp32", 8)])
def test_area_attention_is_fused(number_format, attentions):
    engine = Engine(model_bytes("yolo12n", "auto", number_format), threads=1)
    kinds = [kind for _, kind, _, _, _ in engine.layers([network_input(0)])]
    assert kinds.count("attention") == attentions
    twice = TWICE if number_format == "int8" else 0
    assert kinds.count("conv") == engine.operators["Conv"] - 1 + twice  # less that of the expectation over bins
    assert not {"MatMul", "Softmax", "Split", "Transpose"} & set(kinds)


def test_residual_sums_are_part_of_convolutions():
    engine = Engine(model_bytes("yolo11n", "auto", "int8"), threads=1)
    kinds = [kind for _, kind, _, _, _ in engine.layers([network_input(0)])]
    assert kinds.count("add") <= 2  # one of attention, whose operands are both there already


def test_generic_has_no_layers():
    engine = Engine(model_bytes("yolo26n", "nms", "fp32"), program="generic")
    with pytest.raises(ValueError, match="fused"):
        engine.layers([network_input(0)])


def with_packed_weights(data: bytes, number_format: str) -> bytes:
    """An int8 graph whose int8 weights are 4-bit weights instead: 4-bit weights, 8-bit activations."""
    from wutdet.quantize.packed_onnx import pack_weights
    from wutdet.quantize.weights import pack_weight

    model = onnx.load_from_string(data)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    grouped = {n.input[1] for n in model.graph.node if n.op_type == "Conv" and onnx_attribute(n, "group") != 1}
    weights = {}
    for node in list(model.graph.node):
        codes = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is None or codes.ndim != 4 or node.output[0] in grouped:
            continue
        scale = stored[node.input[1]].reshape(-1, 1, 1, 1)
        values = codes.astype(np.float32) * scale
        weights[node.output[0]] = pack_weight(values, number_format)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        model.graph.node.remove(node)
    assert len(weights) > 50
    return pack_weights(model, weights).SerializeToString()


def onnx_attribute(node: onnx.NodeProto, name: str):
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


@pytest.mark.parametrize("number_format", PACKED_FORMATS)
def test_4_bit_weights_with_8_bit_activations(number_format):
    data = with_packed_weights(model_bytes("yolo26n", "nms", "int8"), number_format)
    shown, cut, names = cut_behind_tables(data)
    x = network_input(9)
    codes = onnxruntime_session(shown).run(None, {"images": x})[1:]
    # Here onnxruntime computes in float32 with decoded weights, so sums differ in their last bits.
    assert share_of_other_codes(Engine(cut, threads=1, program="fused"), names, x, codes) < 0.002
