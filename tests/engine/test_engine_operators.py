"""The interpreter's operators one by one against onnxruntime, on random small graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from operator_cases import OPERATORS, graph_of, one
from packed_cases import PACKED, packed_case, random_packed_weight
from wutdet._kernels import Engine, ModelFault

CASES_EACH = 40


def expected(case) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], case.feeds, strict=True)))


def interpreter(model: onnx.ModelProto) -> Engine:
    return Engine(model.SerializeToString(), program="generic")


def ours(case) -> list[np.ndarray]:
    return interpreter(case.model).run(case.feeds)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_equals_onnxruntime(name, rng):
    for _ in range(CASES_EACH):
        case = OPERATORS[name](rng)
        for found, wanted in zip(ours(case), expected(case), strict=True):
            assert found.dtype == wanted.dtype
            assert found.shape == wanted.shape
            if wanted.dtype == np.float32:
                # Sums of up to 1,200 products in another order; all else is one or two roundings.
                np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-4 if name == "Conv deep" else 2e-5)
            else:
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("number_format", "options"), PACKED)
def test_packed_weight_equals_every_bit(number_format, options, rng):
    for _ in range(10):
        weight = random_packed_weight(number_format, options, rng)
        case = packed_case(weight, rng)
        # A picture with a single 1 shows the kernel itself: every product but one is with 0.
        o, i, h, w = weight.shape
        kernel = weight.dequantize()
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.graph.output[0].name = "layer.weight"
        (decoded,) = interpreter(model).run(case.feeds)
        assert decoded.shape == (o, i, h, w)
        np.testing.assert_array_equal(decoded.view(np.uint32), kernel.view(np.uint32))
        np.testing.assert_allclose(ours(case)[0], expected(case)[0], rtol=1e-5, atol=1e-3)


def test_ties_are_rounded_to_even_and_codes_saturate():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf], np.float32)
    case = one("QuantizeLinear", {"x": x}, {"s": np.float32(1), "z": np.uint8(1)}, {"y": np.uint8})
    assert ours(case)[0].tolist() == [1, 3, 3, 1, 0, 255, 0, 255, 0]


def test_cast_of_what_does_not_fit_is_defined():
    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1.9, -1.9], np.float32)
    case = one("Cast", {"x": x}, outputs={"y": np.int32}, to=onnx.TensorProto.INT32)
    assert ours(case)[0].tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 1, -1]


def test_top_k_takes_nan_as_largest():
    x = np.array([1, np.nan, 3, np.nan, 2], np.float32)
    case = one("TopK", {"x": x}, {"k": np.array([3])}, {"v": np.float32, "i": np.int64})
    assert ours(case)[1].tolist() == [1, 3, 2]
    case = one("TopK", {"x": x}, {"k": np.array([4])}, {"v": np.float32, "i": np.int64}, largest=0)
    assert ours(case)[1].tolist() == [0, 4, 2, 1]


def test_results_that_nobody_wants():
    x = np.array([1, 3, 2], np.float32)
    for outputs in (["y"], ["y", ""]):
        case = one("TopK", {"x": x}, {"k": np.array([2])})
        case.model.graph.node[0].output[:] = outputs
        for program in ("generic", "auto"):
            assert Engine(case.model.SerializeToString(), program=program).run([x])[0].tolist() == [3, 2]
    case = one("Split", {"x": x}, {"l": np.array([1, 1, 1])})
    case.model.graph.node[0].output[:] = ["", "y", ""]
    for program in ("generic", "auto"):
        assert Engine(case.model.SerializeToString(), program=program).run([x])[0].tolist() == [3]


@pytest.mark.parametrize(
    ("op", "feeds", "attributes", "message"),
    [
        ("Div", {"a": np.array([1]), "b": np.array([0])}, {}, "division by zero"),
        ("Mod", {"a": np.array([1]), "b": np.array([0])}, {}, "division by zero"),
        ("Gather", {"x": np.ones(3, np.float32), "i": np.array([3])}, {}, "index 3 of an axis of 3"),
        ("GatherElements", {"x": np.ones(3, np.float32), "i": np.array([-4])}, {}, "index -4 of an axis of 3"),
    ],
)
def test_data_that_leads_nowhere(op, feeds, attributes, message):
    kind = next(iter(feeds.values())).dtype
    engine = interpreter(one(op, feeds, outputs={"y": kind}, **attributes).model)
    with pytest.raises(ModelFault, match=message):
        engine.run(list(feeds.values()))


def test_lowest_integer_by_minus_one():
    low = np.array([-(2**63)])
    for op in ("Div", "Mod"):
        case = one(op, {"a": low, "b": np.array([-1])}, outputs={"y": np.int64})
        assert ours(case)[0].tolist() == [-(2**63) if op == "Div" else 0]


def test_unknown_operators_are_named():
    case = one("LSTM", {"x": np.ones((1, 1, 1), np.float32)})
    with pytest.raises(ModelFault, match=r"node 'node' \(LSTM\): the operator is not supported"):
        ours(case)
    node = helper.make_node("Magic", ["x"], ["y"], name="m", domain="com.example")
    with pytest.raises(ModelFault, match=r"node 'm' \(com.example.Magic\)"):
        ours(graph_of([node], {"x": np.ones(1, np.float32)}, {}, {"y": np.float32}))


def test_inputs_are_checked():
    engine = interpreter(one("Sigmoid", {"x": np.ones((2, 3), np.float32)}).model)
    assert engine.inputs == [("x", "float32", [2, 3])]
    assert engine.outputs == [("y", "float32", [2, 3])]
    assert engine.operators == {"Sigmoid": 1}
    for wrong in ([], [np.ones((3, 2), np.float32)], [np.ones((2, 3), np.int32)], [np.ones((2, 3), np.float32)] * 2):
        with pytest.raises(ModelFault, match="input"):
            engine.run(wrong)
    with pytest.raises(TypeError):
        engine.run([np.ones((2, 3), np.float64)])


def test_results_outlive_the_engine_and_do_not_alias():
    case = graph_of([helper.make_node("Sigmoid", ["x"], ["s"])], {"x": np.ones(4, np.float32)}, {}, {"x": np.float32})
    (same,) = ours(case)
    same += 1
    assert case.feeds[0].tolist() == [1, 1, 1, 1]
    engine = interpreter(one("Sigmoid", {"x": np.zeros(4, np.float32)}).model)
    first, second = engine.run([np.zeros(4, np.float32)])[0], engine.run([np.zeros(4, np.float32)])[0]
    del engine
    first += 1
    assert second.tolist() == [0.5] * 4


def test_unknown_program_is_refused(monkeypatch):
    model = one("Sigmoid", {"x": np.ones(1, np.float32)}).model.SerializeToString()
    with pytest.raises(ValueError, match="no engine program 'fast'"):
        Engine(model, program="fast")
    monkeypatch.setenv("WUTDET_ENGINE", "nonsense")
    with pytest.raises(ValueError, match="no engine program 'nonsense'"):
        Engine(model)
    monkeypatch.setenv("WUTDET_ENGINE", "generic")
    assert Engine(model).program == "generic"
