"""Models by name, starting weights, and the head that starts from the boat channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from wutdet.config import TrainConfig
from wutdet.errors import ModelError
from wutdet.train import checkpoint
from wutdet.train.architecture import (
    adapt_classes,
    architecture,
    build,
    class_layers,
    coco_names,
    known_architectures,
    new_model,
    read_checkpoint,
)
from wutdet.train.run import run


def outputs(model: torch.nn.Module, picture: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    """Raw boxes and scores of both branches (one, for heads without end-to-end branch)."""
    with torch.no_grad():
        raw = model.eval()(picture)[1]
    raw = raw if "one2many" in raw else {"one2many": raw}
    return {branch: {key: value[key] for key in ("boxes", "scores")} for branch, value in raw.items()}


@pytest.mark.parametrize("name", ["yolo26n", "yolo11n", "yolov8n"])
def test_a_class_keeps_exactly_the_scores_of_the_channel_it_starts_from(name):
    torch.manual_seed(0)
    model = new_model(architecture(name), 80)
    for _, last in class_layers(model.model[-1]):  # fresh heads have equal biases: make the channels differ
        torch.nn.init.normal_(last.weight)
        torch.nn.init.normal_(last.bias)
    picture = torch.rand(1, 3, 64, 96)
    before = outputs(model, picture)
    adapt_classes(model, coco_names(), ("ship",))
    after = outputs(model, picture)
    assert before.keys() == after.keys() and coco_names()[8] == "boat"
    for branch, raw in before.items():
        # One and 80 outputs are summed in different orders: equal but for rounding.
        torch.testing.assert_close(raw["scores"][:, 8:9], after[branch]["scores"], rtol=1e-5, atol=1e-5)
        assert torch.equal(raw["boxes"], after[branch]["boxes"])
    assert model.model[-1].nc == model.nc == model.yaml["nc"] == 1 and model.names == {0: "ship"}


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["yolo26n", "yolo11n"])
def test_coco_weights_start_from_boat(shared_dir, name):
    weights = shared_dir / "weights" / f"{name}-coco.safetensors"
    model = build(name, weights, ("ship",))
    from wutdet.train.architecture import read_state

    full = new_model(architecture(name), 80)
    missing, unexpected = full.load_state_dict(read_state(weights), strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    picture = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    before, after = outputs(full, picture), outputs(model, picture)
    for branch, raw in before.items():
        # One and 80 outputs are summed in different orders: equal but for rounding.
        torch.testing.assert_close(raw["scores"][:, 8:9], after[branch]["scores"], rtol=1e-5, atol=1e-5)
        assert torch.equal(raw["boxes"], after[branch]["boxes"])


def test_names_decide_which_channel_a_class_starts_from():
    model = new_model(architecture("yolo11n"), 3)
    for _, last in class_layers(model.model[-1]):
        torch.nn.init.normal_(last.weight)
    weight = class_layers(model.model[-1])[0][1].weight.detach().clone()
    adapt_classes(model, {0: "tug", 1: "vessel", 2: "ferry"}, ("ferry", "sailboat"))
    assert torch.equal(class_layers(model.model[-1])[0][1].weight, weight[[2, 1]])
    with pytest.raises(ModelError, match="no class to start"):
        adapt_classes(new_model(architecture("yolo11n"), 2), {0: "cat", 1: "dog"}, ("ship",))


def test_all_detection_architectures_are_known_and_others_are_not():
    known = known_architectures()
    assert {"yolo26n", "yolo26x", "yolo26n-p2", "yolo11n", "yolo12s", "yolov8n", "yolov8m-p2", "yolov9t", "yolov10n",
            "yolov5n", "yolov3"} <= set(known)  # fmt: skip
    assert not [name for name in known if any(word in name for word in ("seg", "pose", "obb", "cls", "rtdetr", "sem"))]


@pytest.mark.parametrize("name", ["yolo26n-p2", "yolov10n", "yolov9t", "yolov5n", "yolov8n-ghost"])
def test_architectures_of_every_family_build(name):
    model = build(name, None, ("ship", "buoy"))
    assert model.model[-1].nc == 2 and model.names == {0: "ship", 1: "buoy"}


def test_an_unknown_architecture_gets_a_suggestion():
    with pytest.raises(ModelError, match=r"unknown architecture 'yolo26nn'\. Did you mean 'yolo26n"):
        architecture("yolo26nn")
    with pytest.raises(ModelError, match="unknown architecture 'yolo26n-seg'"):
        architecture("yolo26n-seg")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("a: 1", "'backbone' or 'head' is missing"), (None, "cannot read the model")],
)
def test_broken_model_definitions_are_named(tmp_path, text, message):
    file = tmp_path / "yolo26n-mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        architecture(str(file))
    assert caught.value.file == str(file)


def test_our_own_architectures_build(repository_dir):
    files = sorted((repository_dir / "models").glob("yolo*.yaml"))
    assert files
    for file in files:
        model = build(str(file), None, ("ship",)).eval()
        with torch.no_grad():
            assert model(torch.zeros(1, 3, 64, 64))[0].shape[1] == 5


@pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors"])
def test_a_missing_checkpoint_says_where_to_put_it(sea, tmp_path, no_network, name):
    file = tmp_path / name
    with pytest.raises(ModelError, match="nothing is downloaded") as caught:
        run(TrainConfig(data=str(sea), weights=file, out=tmp_path / "run"))
    assert str(file) in caught.value.hint and not (tmp_path / "run").exists()


def test_a_missing_checkpoint_as_model_is_not_fetched_either(sea, tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="nothing is downloaded"):
        run(TrainConfig(data=str(sea), model="yolo26n.pt", out=tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_no_checkpoint(tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"this is not a model at all" * 10)
    with pytest.raises(ModelError) as caught:
        build("yolo26n", file, ("ship",))
    assert caught.value.file == str(file)


def test_weights_of_another_architecture_are_refused_and_relatives_taken(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    source = new_model(architecture("yolo26n"), 1)
    file = tmp_path / "ours.safetensors"
    save_file({key: value.contiguous() for key, value in source.state_dict().items()}, str(file))
    relative = build("yolo26n-p2", file, ("ship",))  # same backbone, another neck and head
    first = "model.0.conv.weight"
    assert torch.equal(relative.state_dict()[first], source.state_dict()[first])
    with pytest.raises(ModelError, match="tensors fit the architecture yolov9t"):
        build("yolov9t", file, ("ship",))


def test_a_checkpoint_with_weights_beside_it_is_ambiguous(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(ModelError):
        build(str(tmp_path / "a.pt"), Path("b.safetensors"), ("ship",))


def test_checkpoints_survive_a_round_trip_and_load_in_ultralytics(tmp_path, no_network):
    from wutdet.runtime.offline import import_ultralytics
    from wutdet.train import checkpoint

    torch.manual_seed(2)
    model = build("yolo11n", None, ("ship",))
    file = tmp_path / "best.pt"
    checkpoint.save(file, model, {"epoch": 3, "train_args": {"imgsz": 96}})
    picture = torch.rand(1, 3, 64, 64)
    again = read_checkpoint(file)
    np.testing.assert_allclose(
        outputs(model, picture)["one2many"]["boxes"], outputs(again, picture)["one2many"]["boxes"], atol=2e-2
    )
    loaded = import_ultralytics().YOLO(str(file))
    assert loaded.names == {0: "ship"}
    results = loaded.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False, save=False)
    assert results[0].boxes.xyxy.shape[1] == 4


def test_relus_take_the_place_of_silus(tmp_path):
    built = build("yolo26n", None, ["ship"], "relu")
    kinds = {type(module) for module in built.modules()}
    assert torch.nn.ReLU in kinds and torch.nn.SiLU not in kinds
    plain = {type(module) for module in build("yolo26n", None, ["ship"]).modules()}
    assert torch.nn.SiLU in plain and torch.nn.ReLU not in plain, "the choice must not outlive the model"
    file = tmp_path / "silu.pt"
    checkpoint.save(file, build("yolo26n", None, ["ship"]), {"train_args": {}, "wutdet": {}})
    with pytest.raises(ModelError, match="keeps its activations"):
        build(str(file), None, ["ship"], "relu")
    assert build("yolo26n", file, ["ship"], "relu").names == {0: "ship"}
