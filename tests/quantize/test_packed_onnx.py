"""Packed weights decode to the oracle's bits in onnxruntime and onnx.reference, fold at load, and are read back."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from wutdet.errors import ExportError, ModelError
from wutdet.export.gate import check_decoding, decode_packed
from wutdet.lowbit import QuantizedTensor, quantize
from wutdet.lowbit.layout import GROUP, layout_of
from wutdet.lowbit.options import options_for
from wutdet.quantize.graph import packable_weights
from wutdet.quantize.onnx_functions import DOMAIN, FUNCTIONS
from wutdet.quantize.packed_onnx import pack_weights, replace_values, unpack_weights
from wutdet.quantize.weights import PackedWeight, pack_weight, to_rows

#: Every function and every option that changes how a format is decoded.
VARIANTS = [
    ("hif4", {}),
    ("mxfp4", {}),
    ("mxfp4", {"scale_rule": "ceil"}),
    ("nvfp4", {}),
    ("nvfp4", {"reference": "ao"}),
    ("nvfp4", {"scaling": "block", "tile": "16x16"}),
    ("int4", {}),
    ("int4", {"symmetric": False, "group_size": 10}),
    ("int4", {"granularity": "channel"}),
    ("int8", {"granularity": "tensor", "symmetric": False}),
    ("int8", {}),
    ("hif8", {}),
]
IDS = [" ".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options in VARIANTS]
NAN_FORMATS = ("hif4", "mxfp4", "nvfp4", "hif8")


def conv_model(weight: np.ndarray) -> onnx.ModelProto:
    """One convolution of a picture of the kernel's size, without a bias."""
    o, i, h, w = weight.shape
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "layer.weight"], ["y"], name="layer")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, i, h, w])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, o, 1, 1])],
        [numpy_helper.from_array(weight, "layer.weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def packed_model(weight: PackedWeight) -> onnx.ModelProto:
    model = pack_weights(conv_model(np.zeros(weight.shape, np.float32)), {"layer.weight": weight})
    onnx.checker.check_model(model, full_check=True)
    return model


def same_bits(ours: np.ndarray, expected: np.ndarray) -> bool:
    """Equal to the sign of zero; any NaN equals any NaN."""
    if ours.shape != expected.shape or ours.dtype != np.float32:
        return False
    bits = ours.view(np.uint32) == expected.view(np.uint32)
    return bool((bits | (np.isnan(ours) & np.isnan(expected))).all())


def decode_with_reference(model: onnx.ModelProto) -> np.ndarray:
    """The weight as onnx.reference computes it after the functions were inlined."""
    inlined = onnx.inliner.inline_local_functions(model)
    shape = [t.dims[0] for t in model.graph.initializer if t.name.endswith("channel_scale")]
    inlined.graph.output.append(helper.make_tensor_value_info("layer.weight", TensorProto.FLOAT, [*shape, 0, 0, 0]))
    x = np.zeros([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim], np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return ReferenceEvaluator(inlined).run(["layer.weight"], {"x": x})[0]


@st.composite
def packed_weights(draw) -> PackedWeight:
    """Weights of small kernels in any variant; groups cut short, odd rows, single rows, broken groups."""
    number_format, options = draw(st.sampled_from(VARIANTS))
    o = draw(st.sampled_from([1, 2, 3, 17]))
    i = draw(st.integers(1, 40))
    h, w = draw(st.sampled_from([(1, 1), (3, 3), (1, 3), (2, 1), (5, 5)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weight = rng.standard_normal((o, i, h, w)).astype(np.float32)
    weight *= np.float32(2.0) ** rng.integers(-12, 12, (o, 1, 1, 1)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.1] = 0
    if number_format in NAN_FORMATS and draw(st.booleans()):
        weight.ravel()[rng.integers(weight.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    scale = np.ones(o, np.float32) if draw(st.booleans()) else rng.uniform(0.7, 1.3, o).astype(np.float32)
    return PackedWeight(quantize(to_rows(weight), number_format, **options), weight.shape, scale)


@settings(deadline=None, max_examples=150)
@given(packed_weights())
def test_decodes_to_the_oracles_bits_and_is_read_back(weight):
    model = packed_model(weight)
    expected = weight.dequantize()
    assert same_bits(decode_packed(model)["layer.weight"], expected)
    again = unpack_weights(onnx.load_from_string(model.SerializeToString()))["layer.weight"]
    assert again.shape == weight.shape
    assert again.tensor.options == weight.tensor.options
    assert again.tensor.to_bytes() == weight.tensor.to_bytes()
    assert np.array_equal(again.channel_scale, weight.channel_scale)


@settings(deadline=None, max_examples=40)
@given(packed_weights())
def test_reference_evaluator_after_inlining(weight):
    assert same_bits(decode_with_reference(packed_model(weight)), weight.dequantize())


def test_every_function_is_tested():
    rows = np.ones((2, 20), np.float32)
    found = set()
    for number_format, options in VARIANTS:
        weight = PackedWeight(quantize(rows, number_format, **options), (2, 20, 1, 1), np.ones(2, np.float32))
        found |= {node.op_type for node in packed_model(weight).graph.node if node.domain == DOMAIN}
    assert found == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("number_format", "options"),
    [("hif4", {}), ("mxfp4", {}), ("nvfp4", {}), ("nvfp4", {"reference": "ao"}), ("hif8", {})],
)
def test_every_scale_code_with_every_element(number_format, options, rng):
    """Also NaN scales, and E8M0's 2^-127 and its products, which a runtime that flushes subnormals would lose."""
    chosen = options_for(number_format, options)
    group = GROUP.get(number_format, 256)
    count = 128 if number_format == "nvfp4" else 256  # scales above 0x7F are reserved
    layout = layout_of(number_format, (2, count * group), chosen)
    if number_format == "hif8":
        codes = np.resize(np.arange(256, dtype=np.uint8), layout.codes)
    else:  # all 16 elements in every group
        all_elements = np.resize(np.array([0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE], np.uint8), group // 2)
        codes = rng.permuted(np.tile(all_elements, (2, count, 1)), axis=2).reshape(layout.codes)
    scales = rng.integers(0, 256, layout.scales, dtype=np.uint8)
    if number_format != "hif8":
        scales[:, :, 0] = np.arange(count)
    tensor_scale = np.float32(0.00123) if number_format == "nvfp4" else np.float32(1)
    tensor = QuantizedTensor(number_format, (2, count * group), codes, scales, tensor_scale, chosen)
    weight = PackedWeight(tensor, (2, count * group, 1, 1), np.array([1, 1.1], np.float32))
    with np.errstate(over="ignore"):
        expected = weight.dequantize()
    assert np.isnan(expected).any()
    if number_format == "mxfp4":
        assert np.nanmin(np.abs(expected[0][expected[0] != 0])) == np.float32(2.0**-128)
    model = packed_model(weight)
    assert same_bits(decode_packed(model)["layer.weight"], expected)
    assert same_bits(decode_with_reference(model), expected)


def optimised(model: onnx.ModelProto, tmp_path, level) -> onnx.ModelProto:
    """The graph that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(tmp_path / "optimised.onnx")


@pytest.fixture
def float_graph(artefact):
    return lambda arch: onnx.load(artefact(arch, "nms", "fp32"))


def weights_of(model: onnx.ModelProto, number_format: str, **options) -> dict[str, PackedWeight]:
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {name: pack_weight(values[name], number_format, **options) for name in packable_weights(model)}


@pytest.mark.parametrize("number_format", ["hif4", "mxfp4", "nvfp4", "int4"])
def test_onnxruntime_folds_a_detector_to_plain_convolutions(float_graph, number_format, tmp_path):
    model = float_graph("yolo26n")
    weights = weights_of(model, number_format)
    packed = pack_weights(model, weights)
    onnx.checker.check_model(packed, full_check=True)
    level = onnxruntime.GraphOptimizationLevel
    folded = optimised(packed, tmp_path, level.ORT_ENABLE_BASIC)
    constants = {t.name: numpy_helper.to_array(t) for t in folded.graph.initializer}
    for name, weight in weights.items():
        assert np.array_equal(constants[name], weight.dequantize())
    # With everything on (other layouts of weights, fused activations), the graph is that of plain float weights.
    plain = replace_values(model, {name: weight.dequantize() for name, weight in weights.items()})
    kinds = [
        Counter(f"{n.domain}.{n.op_type}" for n in optimised(m, tmp_path, level.ORT_ENABLE_ALL).graph.node)
        for m in (packed, plain)
    ]
    assert kinds[0] == kinds[1]
    check_decoding(packed, weights)


@pytest.mark.parametrize(("arch", "number_format"), [("yolo26n", "hif4"), ("yolo26n", "nvfp4"), ("yolo11n", "mxfp4")])
def test_size_of_a_packed_detector(float_graph, arch, number_format):
    model = float_graph(arch)
    weights = weights_of(model, number_format)
    size = pack_weights(model, weights).ByteSize()
    values = sum(math.prod(weight.shape) for weight in weights.values())
    packed = sum(weight.nbytes for weight in weights.values())
    assert size <= 1.03 * (model.ByteSize() - 4 * values + packed)
    # Where every row is a multiple of its group: 4.5 or 4.25 bits; the rest are channel scales and short groups.
    assert (
        packed - sum(4 * w.shape[0] for w in weights.values()) < 1.02 * values * (34 if arch == "yolo11n" else 36) / 64
    )


def test_shape_inference_gives_the_kernels_shape():
    weight = pack_weight(np.ones((6, 5, 3, 3), np.float32), "hif4")
    inferred = onnx.shape_inference.infer_shapes(packed_model(weight), strict_mode=True)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    assert shapes["layer.weight"] == [6, 5, 3, 3]


def test_what_is_packed_of_a_network(float_graph, checkpoints):
    """The choice by graph equals the choice by modules of the network."""
    import torch

    from wutdet.runtime.torch_backend import load_checkpoint

    for arch in ("yolo26n", "yolo11n"):
        network = load_checkpoint(checkpoints[arch]).model
        head = f"model.{len(network.model) - 1}"
        expected = {
            f"{name}.weight"
            for name, module in network.named_modules()
            if isinstance(module, torch.nn.Conv2d)
            and module.groups == 1
            and name != "model.0.conv"
            and not (name.startswith((f"{head}.cv2.", f"{head}.cv3.")) and name.endswith(".2"))
            and not name.startswith((f"{head}.dfl", f"{head}.one2one"))
        }
        found = packable_weights(float_graph(arch))
        assert len(found) == len(set(found)) > 60
        assert set(found) == expected


def corrupt(change, number_format="hif4", **options):
    rng = np.random.default_rng(0)
    model = packed_model(pack_weight(rng.standard_normal((4, 5, 3, 3)).astype(np.float32), number_format, **options))
    call = next(node for node in model.graph.node if node.domain == DOMAIN)
    parts = {t.name.rpartition(".")[2]: t for t in model.graph.initializer}
    attributes = {a.name: a for a in call.attribute}
    change(model, call, parts, attributes)
    with pytest.raises(ModelError) as error:
        unpack_weights(model)
    return str(error.value)


def put(tensor: onnx.TensorProto, values) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def test_damaged_parts_are_refused():
    def cut(model, call, parts, attributes):
        parts["codes"].raw_data = parts["codes"].raw_data[:-1]

    def short_rows(model, call, parts, attributes):
        put(parts["codes"], np.zeros((4, 22), np.uint8))

    def few_scales(model, call, parts, attributes):
        put(parts["scales"], np.zeros((4, 1), np.uint8))

    def wrong_type(model, call, parts, attributes):
        put(parts["codes"], np.zeros((4, 23), np.int8))

    def broken_channel_scale(model, call, parts, attributes):
        put(parts["channel_scale"], np.array([1, 1, np.nan, 1], np.float32))

    def gone(model, call, parts, attributes):
        call.input[1] = "nowhere"

    def no_input(model, call, parts, attributes):
        del call.input[-1]

    def columns(model, call, parts, attributes):
        attributes["columns"].i = 44

    def no_attribute(model, call, parts, attributes):
        call.attribute.remove(attributes["ohwi"])

    def no_options(model, call, parts, attributes):
        attributes["options"].s = b"{"

    def unknown_option(model, call, parts, attributes):
        attributes["options"].s = b'{"tiles": "even"}'

    def unknown_function(model, call, parts, attributes):
        call.op_type = "DequantizeHiF5"

    for change, words in [
        (cut, "layer.weight"),
        (short_rows, r"(4, 23), received uint8 (4, 22)"),
        (few_scales, "scales must be uint8 of 3 axes"),
        (wrong_type, "codes must be uint8"),
        (broken_channel_scale, "channel_scale must be 4 finite numbers"),
        (gone, "'nowhere'"),
        (no_input, "its inputs must be codes, scales, channel_scale"),
        (columns, "44 columns do not fit"),
        (no_attribute, "no attribute 'ohwi'"),
        (no_options, "cannot be read"),
        (unknown_option, "tiles"),
        (unknown_function, "no such function"),
    ]:
        text = corrupt(change)
        assert "'layer.weight'" in text
        assert words in text, change.__name__


def test_reserved_scale_codes_are_refused():
    def negative(model, call, parts, attributes):
        values = numpy_helper.to_array(parts["scales"]).copy()
        values.ravel()[2] = 0x80
        put(parts["scales"], values)

    def zero(model, call, parts, attributes):
        put(parts["scales"], np.zeros((4, 1), np.float32))

    def zero_point(model, call, parts, attributes):
        put(parts["zero_points"], np.full((4, 1), 16, np.uint8))

    def another_group(model, call, parts, attributes):
        attributes["group"].i = 32

    def another_function(model, call, parts, attributes):
        call.op_type = "DequantizeNVFP4TorchAO"

    assert "reserved scale code" in corrupt(negative, "nvfp4")
    assert "another function" in corrupt(another_function, "nvfp4")
    assert "reserved scale code" in corrupt(zero, "int4")
    assert "reserved scale code" in corrupt(zero_point, "int4", symmetric=False)
    assert "group 32 does not fit" in corrupt(another_group, "int4")


def test_files_of_a_later_version_are_refused():
    def later(model, call, parts, attributes):
        next(o for o in model.opset_import if o.domain == DOMAIN).version = 2

    assert "version 2; this wutdet reads version 1" in corrupt(later)
    assert unpack_weights(conv_model(np.ones((1, 1, 1, 1), np.float32))) == {}


def test_what_cannot_be_packed():
    weight = pack_weight(np.ones((4, 5, 3, 3), np.float32), "mxfp4")
    model = conv_model(np.ones((4, 5, 3, 3), np.float32))
    with pytest.raises(ExportError, match="no constant 'other'"):
        pack_weights(model, {"other": weight})
    with pytest.raises(ExportError, match="4, 5, 1, 3"):
        pack_weights(conv_model(np.ones((4, 5, 1, 3), np.float32)), {"layer.weight": weight})
    with pytest.raises(ExportError, match="no constant"):
        pack_weights(pack_weights(model, {"layer.weight": weight}), {"layer.weight": weight})
    model.opset_import[0].version = 11
    with pytest.raises(ExportError, match="operator set 13"):
        pack_weights(model, {"layer.weight": weight})


def test_wrong_decoding_is_noticed():
    weight = pack_weight(np.ones((4, 5, 3, 3), np.float32), "mxfp4")
    model = packed_model(weight)
    codes = next(t for t in model.graph.initializer if t.name.endswith(".codes"))
    codes.raw_data = b"\x01" + codes.raw_data[1:]
    with pytest.raises(ExportError, match=r"decodes 2 of 180 values of 'layer\.weight'"):
        check_decoding(model, {"layer.weight": weight})
