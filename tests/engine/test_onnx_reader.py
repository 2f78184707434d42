"""The reader of model files, which trusts nothing: damaged and adversarial files end in ModelFault, not in a crash."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from engine_models import model_bytes
from onnx import TensorProto, helper, numpy_helper
from operator_cases import OPERATORS, graph_of, one
from packed_cases import PACKED, packed_case, random_packed_weight
from wutdet._kernels import Engine, ModelFault

FLIPS = 3_000


def sigmoid() -> onnx.ModelProto:
    return one("Sigmoid", {"x": np.ones((2, 3), np.float32)}).model


def opens(model: onnx.ModelProto | bytes) -> Engine:
    return Engine(model if isinstance(model, bytes) else model.SerializeToString())


def attempt(data: bytes) -> bool:
    """Whether a file is opened and runs, if it asks for little; anything but ModelFault fails the test."""
    try:
        engine = Engine(data, 1)
        kinds = {"float32": np.float32, "uint8": np.uint8, "int8": np.int8, "int32": np.int32, "int64": np.int64}
        inputs = [np.ones(dims, kinds.get(kind, np.bool_)) for _, kind, dims in engine.inputs]
        if sum(x.size for x in inputs) < 100_000 and sum(np.prod(dims) for _, _, dims in engine.outputs) < 100_000:
            engine.run(inputs)
    except ModelFault:
        return False
    return True


def small_models(rng) -> list[bytes]:
    cases = [OPERATORS[name](rng) for name in ("Conv QDQ", "TopK", "Slice", "Resize", "Constant")]
    cases += [packed_case(random_packed_weight(name, options, rng), rng) for name, options in PACKED[:2]]
    return [case.model.SerializeToString() for case in cases]


def test_truncated_at_every_byte(rng):
    for data in small_models(rng):
        assert attempt(data)
        # A file may end between two fields; then what is missing must not be needed.
        whole = sum(attempt(data[:end]) for end in range(len(data)))
        assert whole < 0.05 * len(data)


def test_flipped_bits(rng):
    models = small_models(rng)
    refused = 0
    for _ in range(FLIPS):
        data = bytearray(models[rng.integers(len(models))])
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        refused += not attempt(bytes(data))
    assert 0.1 * FLIPS < refused < 0.99 * FLIPS


def test_random_bytes(rng):
    for size in (0, 1, 2, 10, 100, 1000):
        for _ in range(100):
            assert not attempt(rng.bytes(size))


@pytest.mark.slow
def test_whole_detector_cut_and_flipped(rng):
    data = model_bytes("yolo11n", "auto", "hif4")
    for _ in range(60):
        assert not attempt(data[: int(rng.integers(len(data) - 400))])
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        attempt(bytes(flipped))


def changed(model: onnx.ModelProto, change) -> onnx.ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(model)
    change(out)
    return out


def _dims(*sizes):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.dims[:] = sizes

    return change


def _twice(model):
    model.graph.node.append(model.graph.node[0])


def _backwards(model):
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _external(model):
    tensor = model.graph.initializer[0]
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    tensor.data_location = TensorProto.EXTERNAL


def _subgraph(model):
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = "body", onnx.AttributeProto.GRAPH
    attribute.g.name = "inner"


def _open_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"


def _attribute_twice(model):
    model.graph.node[0].attribute.extend([helper.make_attribute("axis", 1), helper.make_attribute("axis", 2)])


def chain() -> onnx.ModelProto:
    """Two nodes and a constant."""
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"], name="first"), helper.make_node("Add", ["s", "c"], ["y"])]
    constants = {"c": np.arange(3, dtype=np.float32)}
    return graph_of(nodes, {"x": np.ones((2, 3), np.float32)}, constants, {"y": np.float32}).model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.ClearField("graph"), "it has no graph"),
        (lambda m: m.graph.ClearField("node"), "output 'y' is never computed"),
        (lambda m: m.graph.ClearField("output"), "the graph has no output"),
        (lambda m: m.graph.ClearField("input"), "needs 'x', which nothing before it computes"),
        (lambda m: m.ClearField("opset_import"), "operator set 0; supported are 13 to"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "operator set 99"),
        (lambda m: m.opset_import.append(helper.make_opsetid("wutdet.lowbit", 7)), "packed weights of version 7"),
        (lambda m: m.opset_import.append(m.opset_import[0]), "an operator set twice"),
        (_twice, "'s' is defined twice"),
        (_backwards, "needs 's', which nothing before it computes"),
        (_external, "constant 'c': its values lie in another file"),
        (_subgraph, r"node 'first' \(Sigmoid\): attribute 'body' is a subgraph"),
        (_open_size, "input 'x': axis 0 has no fixed size"),
        (_attribute_twice, "attribute 'axis' is given twice"),
        (_dims(4), "12 bytes where float32 4 needs 16"),
        (_dims(-1), "constant 'c': negative size -1"),
        (_dims(2**62, 2**62), "constant 'c': a float32 tensor of .* is beyond the limit"),
        (_dims(0, 2**63 - 1, 2**63 - 1), "is beyond the limit"),
        (_dims(*[1] * 9), "9 axes; at most 8"),
        (_dims(*[1] * 500), "too many axes"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING), "data type 8"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Softplus"), r"node 'first' \(Softplus\)"),
        (lambda m: setattr(m.graph.node[0], "op_type", ""), "has no operator"),
        (lambda m: setattr(m.graph.node[0], "name", "\n\x1b[31m'" * 90), r"node '(\?\?\[31m\?)+\?*\.\.\.'|operator"),
        (lambda m: m.graph.node[0].ClearField("output"), "has no outputs"),
        (lambda m: m.graph.node[1].input.extend(["c"] * 2000), "has 2002 operands"),
        (lambda m: m.graph.sparse_initializer.add(), "sparse"),
    ],
)
def test_adversarial_models(change, message):
    assert attempt(chain().SerializeToString())
    broken = changed(chain(), change)
    if "operator" in message and "31m" in message:
        broken.graph.node[0].op_type = "Nothing"
    with pytest.raises(ModelFault, match=message):
        opens(broken)


def field(number: int, content: bytes) -> bytes:
    out, size = bytes([number << 3 | 2]), len(content)
    while size >= 0x80:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size]) + content


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"\x0b", "wire type 3"),
        (b"\x06", "field number 0"),
        (b"\x08" + b"\xff" * 10, "more than 64 bits"),
        (b"\x08\xff", "a number is cut off"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "of 18446744073709551615 bytes where 0 are left"),
        (b"\x71" + b"\0" * 8, "field 14 has wire type 1"),
        (field(7, b"") * 2, "two graphs"),
        (field(14, field(1, b"k") + field(2, b"\xc3\x28")), "metadata 'k' is not UTF-8"),
        (field(8, field(1, b"x" * 5000)), "a name of 5000 bytes"),
    ],
)
def test_bad_wire_format(tail, message):
    with pytest.raises(ModelFault, match=message):
        opens(sigmoid().SerializeToString() + tail)


def test_names_are_text():
    data = sigmoid().SerializeToString()
    with pytest.raises(ModelFault, match="value without a name in UTF-8"):
        opens(data.replace(b"\x01y", b"\x01\xff"))


def test_unknown_fields_are_skipped():
    unknown = field(13, b"later") + b"\xa8\x0c\x05" + b"\xb1\x0c" + b"\0" * 8 + b"\xb5\x0c" + b"\0" * 4
    assert attempt(sigmoid().SerializeToString() + unknown)


def test_values_in_fields_of_numbers():
    """What other writers do instead of raw bytes."""
    for kind, values in (
        (TensorProto.FLOAT, [1.5, -2]),
        (TensorProto.INT64, [-3, 2**40]),
        (TensorProto.INT32, [7, -8]),
    ):
        tensor = helper.make_tensor("c", kind, [2], values)
        assert not tensor.raw_data
        model = one("Cast", {"x": np.ones(2, np.bool_)}, to=kind, outputs={"z": np.float32}).model
        model.graph.node.append(helper.make_node("Add", ["z", "c"], ["y"]))
        model.graph.initializer.append(tensor)
        model.graph.output[0].name = "y"
        assert opens(model).run([np.zeros(2, np.bool_)])[0].tolist() == values
    bad = helper.make_tensor("c", TensorProto.INT32, [2], [1, 2])
    bad.data_type = TensorProto.UINT8
    bad.int32_data[1] = 256
    model.graph.initializer[0].CopyFrom(bad)
    with pytest.raises(ModelFault, match="constant 'c': 256 is no uint8"):
        opens(model)
    bad.dims[0] = 3
    model.graph.initializer[0].CopyFrom(bad)
    with pytest.raises(ModelFault, match="2 values where 3 are needed"):
        opens(model)


def test_what_a_model_may_ask_for():
    huge = {"shape": np.array([2**20, 2**20], np.int64)}
    with pytest.raises(ModelFault, match="beyond the limit"):
        opens(one("Expand", {"x": np.ones(1, np.float32)}, huge).model)
    with pytest.raises(ModelFault, match="beyond the limit"):
        opens(one("Tile", {"x": np.ones((1, 1), np.float32)}, {"r": np.array([2**31 - 1, 2**31 - 1])}).model)
    with pytest.raises(ModelFault, match="repeats"):
        opens(one("Tile", {"x": np.ones((1, 1), np.float32)}, {"r": np.array([2**62, 4])}).model)
    large = {"shape": np.array([3 * 2**26], np.int64)}  # 768 MB: a run may have it, a constant may not
    constant = one("Expand", {"x": np.ones(1, np.float32)}, {"c": np.ones(1, np.float32), **large}).model
    constant.graph.node[0].input[:] = ["c", "shape"]
    with pytest.raises(ModelFault, match="computed at load take too much memory"):
        opens(constant)
    names = [f"y{i}" for i in range(6)]
    nodes = [helper.make_node("Expand", ["x", "shape"], [name]) for name in names]
    with pytest.raises(ModelFault, match=r"a run takes more than 4294967296 bytes|needs more memory than the limit"):
        opens(graph_of(nodes, {"x": np.ones(1, np.float32)}, large, dict.fromkeys(names, np.float32)).model)
    nodes = [helper.make_node("MatMul", ["c", "c"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])]
    constants = {"c": np.zeros((3000, 3000), np.float32)}
    with pytest.raises(ModelFault, match="computed at load take too long"):
        opens(graph_of(nodes, {"x": np.ones(1, np.float32)}, constants, {"y": np.float32}).model)


def test_packed_weights_that_do_not_fit(rng):
    case = packed_case(random_packed_weight("nvfp4", {}, rng), rng)
    assert attempt(case.model.SerializeToString())
    parts = {tensor.name.rsplit(".", 1)[1]: index for index, tensor in enumerate(case.model.graph.initializer)}

    def with_part(name, change) -> onnx.ModelProto:
        def apply(model):
            tensor = model.graph.initializer[parts[name]]
            values = numpy_helper.to_array(tensor).copy()
            tensor.CopyFrom(numpy_helper.from_array(change(values), tensor.name))

        return changed(case.model, apply)

    for name in ("codes", "scales", "channel_scale"):
        with pytest.raises(ModelFault, match=r"wutdet.lowbit.DequantizeNVFP4\): the .* are .*, expected"):
            opens(with_part(name, lambda values: np.concatenate([values, values])))
    with pytest.raises(ModelFault, match="reserved scale code"):
        opens(with_part("scales", lambda values: values | 0x80))
    with pytest.raises(ModelFault, match="a channel scale is not finite"):
        opens(with_part("channel_scale", lambda values: values * np.inf))
    for attribute, value, message in (
        ("columns", 5, "columns do not fit"),
        ("ohwi", [1, 2, 3], "four sizes"),
        ("ohwi", [2**40, 2**40, 1, 1], "beyond the limit"),
        ("ohwi", [0, 1, 1, 1], "a size of 0"),
    ):

        def apply(model, attribute=attribute, value=value):
            node = model.graph.node[0]
            kept = [a for a in node.attribute if a.name != attribute]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(attribute, value)])

        with pytest.raises(ModelFault, match=message):
            opens(changed(case.model, apply))
    with pytest.raises(ModelFault, match=r"wutdet.lowbit.DequantizeInt3\): the operator is not supported"):
        opens(changed(case.model, lambda model: setattr(model.graph.node[0], "op_type", "DequantizeInt3")))
