"""4-bit artefacts in ONNX's own types, and with 8-bit activations beside packed weights."""

from __future__ import annotations

import functools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from tiny_detectors import IMGSZ, shared_artefact, shared_checkpoints, shared_dataset, smooth_picture

from wutdet.config import ExportConfig
from wutdet.dataset.load import load_dataset
from wutdet.errors import ExportError, ModelError, UsageError
from wutdet.export.gate import runs_here, score_artefact
from wutdet.export.lowbit import RoundedWeights, lowbit_graph
from wutdet.export.run import run
from wutdet.export.standard_form import check_standard_form
from wutdet.quantize.graph import check_boxes_and_scores_apart, packable_weights
from wutdet.quantize.packed_onnx import replace_values, unpack_weights
from wutdet.quantize.ptq import quantise_int8
from wutdet.quantize.ranges import activation_ranges
from wutdet.quantize.weights import pack_weight
from wutdet.runtime.detector import Detector
from wutdet.runtime.metadata import ArtefactMetadata


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    """``standard("mxfp4")``: an export in ONNX's types and its graph, made once per module; rounded to nearest."""
    folder = tmp_path_factory.mktemp("forms")
    checkpoint, dataset = shared_checkpoints(folder)["yolo26n"], shared_dataset(folder)

    @functools.cache
    def make(number_format: str):
        out = folder / f"{number_format}.onnx"
        settings = {"imgsz": str(IMGSZ), "gate": str(dataset), "gate_images": 2, "max_drop": 1.0}
        result = run(ExportConfig(str(checkpoint), number_format, form="standard", out=out, **settings))
        return SimpleNamespace(result=result, file=out, model=onnx.load(out), gate_frames=load_dataset(str(dataset)))

    return make


def network_input() -> np.ndarray:
    picture = smooth_picture((IMGSZ, IMGSZ), 5)[:, :, ::-1].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(picture, dtype=np.float32) / 255


def outputs(model, entries=()) -> np.ndarray:
    """Of a file or of its bytes."""
    options = onnxruntime.SessionOptions()
    for key, value in entries:
        options.add_session_config_entry(key, value)
    data = model if isinstance(model, bytes) else model.read_bytes()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(["output0"], {"images": network_input()})[0]


def test_int4_in_onnx_types_is_the_packed_file_in_another_form(standard, artefact):
    packed, made = artefact("yolo26n", "nms", "int4"), standard("int4")
    onnx.checker.check_model(made.model, full_check=True)
    assert {n.domain for n in made.model.graph.node} == {""}
    kinds = [t.data_type for t in made.model.graph.initializer]
    assert kinds.count(TensorProto.INT4) == len(unpack_weights(onnx.load(packed))) > 60
    # Folded at load, both are the same float weights; else onnxruntime decodes at each frame and sums otherwise.
    np.testing.assert_array_equal(outputs(made.file, [("session.disable_quant_qdq", "1")]), outputs(packed))
    metadata = Detector(made.file).metadata
    assert (metadata.weight_format, metadata.quantisation["form"]) == ("int4", "standard")
    assert Detector(packed).metadata.quantisation["form"] == "packed"
    assert metadata.gate == made.result.gate
    assert "scored" not in metadata.gate  # onnxruntime runs it, so the gate scored the file itself


def test_the_gate_of_a_file_that_onnxruntime_cannot_run(standard, artefact):
    packed, made = artefact("yolo26n", "nms", "mxfp4"), standard("mxfp4")
    onnx.checker.check_model(made.model, full_check=True)
    if runs_here(made.model):
        pytest.skip("this onnxruntime runs FLOAT4E2M1")
    assert {TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E8M0} <= {t.data_type for t in made.model.graph.initializer}
    with pytest.raises(ModelError) as error:
        Detector(made.file)
    assert "--form packed" in error.value.hint
    said = made.result.gate["scored"]
    assert said.startswith("packed form of the same weights")
    assert f"scored: {said}" in made.result.to_text()
    val = made.gate_frames.in_split("val")
    expected = score_artefact(packed, val.select(np.array([0, len(val) - 1])))
    for name in ("AP", "AP50", "AP75"):
        assert made.result.gate[name] == pytest.approx(expected.stats[name], abs=1e-5)


def test_wrong_onnx_types_are_noticed(standard, artefact):
    weights = unpack_weights(onnx.load(artefact("yolo26n", "nms", "mxfp4")))
    model = onnx.ModelProto()
    model.CopyFrom(standard("mxfp4").model)
    check_standard_form(model, weights)
    codes = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT4E2M1)
    data = bytearray(codes.raw_data)
    data[0] ^= 0x07
    codes.raw_data = bytes(data)
    with pytest.raises(ExportError, match=r"decode 1 of \d+ values"):
        check_standard_form(model, weights)


FRAMES = [smooth_picture((IMGSZ, IMGSZ), seed)[:, :, ::-1].transpose(2, 0, 1)[None] for seed in (1, 2)]
CALIBRATION = SimpleNamespace(
    network_inputs=lambda imgsz_hw: (np.ascontiguousarray(frame, dtype=np.float32) / 255 for frame in FRAMES)
)


def with_activations(model: onnx.ModelProto, packed, activations: str) -> onnx.ModelProto:
    config = ExportConfig("any", "hif4", activations=activations, calib_method="minmax")
    metadata = ArtefactMetadata(("ship",), (IMGSZ, IMGSZ), weight_format=config.format)
    return lowbit_graph(model, RoundedWeights(packed, {}, "nearest"), CALIBRATION, metadata, config)[0]


@pytest.fixture(scope="module")
def a8(tmp_path_factory):
    """yolo26n rounded to nearest: its float graph, its weights, and its graph with float and with 8-bit activations."""
    file = shared_artefact(tmp_path_factory.mktemp("tiny"), "yolo26n", "nms", "fp32")
    model = onnx.load(file)
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    packed = {name: pack_weight(floats[name], "hif4") for name in packable_weights(model)}
    graphs = {kind: with_activations(model, packed, kind) for kind in ("float", "int8")}
    return SimpleNamespace(model=model, packed=packed, **graphs)


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def test_packed_weights_and_their_biases_stay_as_they_are(a8):
    onnx.checker.check_model(a8.int8, full_check=True)
    check_boxes_and_scores_apart(a8.int8)
    before, after = unpack_weights(a8.float), unpack_weights(a8.int8)
    assert set(before) == set(after) == set(a8.packed)
    for name, weight in before.items():
        assert weight.tensor.to_bytes() == after[name].tensor.to_bytes()
        np.testing.assert_array_equal(weight.channel_scale, after[name].channel_scale)
    producers = {n.output[0]: n for n in a8.int8.graph.node}
    constants, biases = constants_of(a8.int8), constants_of(a8.model)
    bias_of = {n.input[1]: biases[n.input[2]] for n in a8.model.graph.node if n.op_type == "Conv"}
    fed_by_8_bits, int8_weights = 0, 0
    for node in a8.int8.graph.node:
        if node.op_type != "Conv":
            continue
        if node.input[1] in after:
            assert producers[node.input[1]].domain == "wutdet.lowbit"
            np.testing.assert_array_equal(constants[node.input[2]], bias_of[node.input[1]])
            fed_by_8_bits += getattr(producers.get(node.input[0]), "op_type", "") == "DequantizeLinear"
        elif node.input[1] in producers:
            int8_weights += constants[producers[node.input[1]].input[0]].dtype == np.int8
    assert fed_by_8_bits == len(after) > 60  # those of the stem and of the box branches too
    assert int8_weights > 7  # grouped convolutions, the first one and the six last ones


def test_activations_are_quantised_where_int8_does_with_the_ranges_of_the_rounded_network(a8):
    def places(model: onnx.ModelProto) -> Counter:
        constants = constants_of(model)
        nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
        assert all(constants[n.input[2]].dtype == np.uint8 for n in nodes)
        return Counter((float(constants[n.input[1]]), int(constants[n.input[2]])) for n in nodes)

    def int8_of(model: onnx.ModelProto) -> onnx.ModelProto:
        return quantise_int8(model, activation_ranges(model, CALIBRATION.network_inputs(None), "minmax"))

    rounded = replace_values(a8.model, {name: weight.dequantize() for name, weight in a8.packed.items()})
    found = places(a8.int8)
    assert found.total() > 200
    assert found == places(int8_of(rounded))
    assert found != places(int8_of(a8.model))


def test_8_bit_activations_change_less_than_4_bit_weights(a8):
    """No more can be said of random weights, which amplify what rounding does."""
    full, a16, with_a8 = (outputs(model.SerializeToString())[0, 4] for model in (a8.model, a8.float, a8.int8))
    full, a16, with_a8 = (np.log(x / (1 - x)) for x in (full, a16, with_a8))
    assert 0 < np.abs(with_a8 - a16).mean() < 0.8 * np.abs(a16 - full).mean()


def test_an_export_with_8_bit_activations_says_so(checkpoints, dataset_file, tmp_path):
    from wutdet.quantize.aware import trainable_parameters
    from wutdet.train import checkpoint

    content = checkpoint.load(checkpoints["yolo26n"])
    facts = {"quantised": {"format": "int4", "options": {}, "layers": trainable_parameters(content["model"])}}
    trained = tmp_path / "trained.pt"  # its weights are rounded already, which saves the time
    checkpoint.save(trained, content["model"], {"train_args": {}, "wutdet": {**facts, "imgsz": IMGSZ}})
    settings = {"imgsz": str(IMGSZ), "calib": str(dataset_file), "calib_images": 2, "calib_method": "minmax"}
    out = tmp_path / "ship.onnx"
    config = ExportConfig(
        str(trained), "int4", activations="int8", form="standard", out=out, gate_images=2, max_drop=1.0, **settings
    )
    result = run(config)
    metadata = Detector(out).metadata
    assert metadata.quantisation == result.metadata.quantisation
    assert metadata.quantisation["activations"] == "uint8 per tensor"
    assert metadata.quantisation["form"] == "standard"
    assert metadata.calibration["method"] == "minmax"
    assert metadata.calibration["images"] == 2
    assert "scored" not in metadata.gate
    assert len(Detector(out, conf=0.05)(smooth_picture((IMGSZ, IMGSZ), 11))) > 0


def test_what_cannot_be_had(checkpoints, dataset_file, tmp_path):
    def refused(number_format: str, **changes) -> UsageError:
        with pytest.raises(UsageError) as error:
            run(ExportConfig(str(checkpoints["yolo26n"]), number_format, out=tmp_path / "x.onnx", **changes))
        return error.value

    for number_format in ("hif4", "nvfp4", "int8", "fp32"):
        error = refused(number_format, form="standard", calib=str(dataset_file))
        assert number_format in str(error)
        assert "int4 or mxfp4" in error.hint
    assert "--calib" in str(refused("hif4", activations="int8"))
    for number_format in ("fp32", "int8"):
        error = refused(number_format, activations="int8", calib=str(dataset_file))
        assert "4-bit weights" in str(error)
        assert "hif4" in error.hint
