"""The digest of a model: of the network alone, so that what is written about it does not change it."""

from __future__ import annotations

import hashlib

import onnx
import pytest
from onnx import helper
from onnx.onnx_pb import TensorProto

from wutdet.errors import ModelError
from wutdet.runtime.model_digest import model_digest, split_metadata


def small_model(weight: float = 1.0, **metadata: str) -> onnx.ModelProto:
    """With every wire type that onnx.proto has at its outermost level, and fields behind the metadata."""
    constant = helper.make_tensor("w", TensorProto.FLOAT, [2], [weight, 2.0])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", sides[:1], sides[1:], [constant])
    function = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])],
                                    [helper.make_opsetid("", 17)])  # fmt: skip
    model = helper.make_model(graph, functions=[function], model_version=2**40, doc_string="ö" * 200)
    helper.set_model_props(model, metadata)
    return model


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def test_metadata_does_not_count_and_weights_do(tmp_path):
    files = [
        saved(tmp_path / f"{number}.onnx", model)
        for number, model in enumerate(
            (small_model(), small_model(tiling="3x2", names="['ship']" * 50), small_model(weight=1.5))
        )
    ]
    first, with_metadata, other = map(model_digest, files)
    assert first == with_metadata != other
    assert first == hashlib.sha256(small_model().SerializeToString()).hexdigest()[:16]


def test_the_parts_are_messages_of_their_own(tmp_path):
    model = small_model(a="1", b="x" * 300)
    network, metadata = split_metadata(model.SerializeToString(), tmp_path)
    assert onnx.load_model_from_string(network) == small_model()
    assert onnx.load_model_from_string(metadata) == onnx.ModelProto(metadata_props=model.metadata_props)
    assert onnx.load_model_from_string(network + metadata) == model


def test_of_a_checkpoint_every_byte_counts(tmp_path):
    file = tmp_path / "best.pt"
    file.write_bytes(small_model(a="1").SerializeToString())
    assert model_digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("content", [b"\x3a\x05abc", b"\x3a", b"\xff" * 12, b"\x0b\x01", b"\x0d\x01"])
def test_what_is_no_onnx_file(tmp_path, content):
    file = tmp_path / "a.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file"):
        model_digest(file)
    with pytest.raises(ModelError, match="cannot be read"):
        model_digest(tmp_path / "absent.onnx")
