"""Tile policies: as typed, what they cover, and how many passes they take."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.errors import DataError, ModelError, UsageError
from wutdet.runtime.horizon import Horizon
from wutdet.runtime.metadata import ArtefactMetadata
from wutdet.runtime.saved_policy import SCHEMA, Choice, choice_for, model_facts, policy_file, read_choice
from wutdet.runtime.tile_policy import AUTO_SCALE, InputView, TilePolicy

SQUARE, WIDE, ANY = InputView(640, 640), InputView(960, 544), InputView(640, 640, fixed=False)
HD = (1920, 1080)


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("none", "none", (0, 0)),
        (0, "none", (0, 0)),
        ("640", "pixels", (640, 640)),
        (640, "pixels", (640, 640)),
        ("960x544", "pixels", (960, 544)),
        ("3x2", "grid", (3, 2)),
        (" 1X31 ", "grid", (1, 31)),
        ("horizon", "horizon", (0, 1)),
        ("horizon:4", "horizon", (4, 1)),
        ("horizon@1+1.5", "horizon", (0, 1)),
        ("horizon:3@2", "horizon", (3, 1)),
        ("auto", "auto", (0, 0)),
    ],
)
def test_policies_are_read_and_written(text, kind, size):
    policy = TilePolicy.parse(text, overlap=0.3)
    assert (policy.kind, policy.size, policy.overlap) == (kind, size, 0.3)
    assert TilePolicy.parse(str(policy), overlap=0.3) == policy


@pytest.mark.parametrize("text", ["", "x", "3x", "3x2x1", "horizontal", "horizon:", "640.5", "ship.json", "3 2",
                                  "horizon@", "horizon@1+", "horizon@x", "3x2@2"])  # fmt: skip
def test_what_is_no_policy(text):
    with pytest.raises(UsageError, match="no way to cut frames"):
        TilePolicy.parse(text)


@pytest.mark.parametrize("text", ["0x2", "3x0"])
def test_grids_need_columns_and_rows(text):
    with pytest.raises(UsageError, match="at least one column"):
        TilePolicy.parse(text)


@pytest.mark.parametrize("text", ["31", "-640", "640x16"])
def test_tiles_must_not_be_tiny(text):
    with pytest.raises(UsageError, match="at least 32 pixels"):
        TilePolicy.parse(text)


sides = st.integers(1, 3000)
views = st.sampled_from([SQUARE, WIDE, ANY, InputView(96, 64)])


@given(st.tuples(sides, sides), st.integers(1, 6), st.integers(1, 6), st.floats(0, 0.9), views)
@settings(max_examples=300, deadline=None)
def test_a_grid_covers_the_frame_with_no_more_tiles_than_asked_for(frame_wh, columns, rows, overlap, view):
    policy = TilePolicy("grid", (columns, rows), overlap)
    tiles = policy.tiles(frame_wh, view)
    if len(tiles) == 0:
        assert view.scale(frame_wh) >= 1
        return
    assert len(tiles) <= columns * rows
    size = policy.tile_wh(frame_wh, view)
    assert ((tiles[:, 2:] - tiles[:, :2]) == size).all()
    assert (tiles[:, :2] >= 0).all() and (tiles[:, 2:] <= frame_wh).all()
    for low, high, side in ((0, 2, frame_wh[0]), (1, 3, frame_wh[1])):
        starts, ends = np.unique(tiles[:, low]), np.unique(tiles[:, high])
        assert starts[0] == 0 and ends[-1] == side
        assert (ends[:-1] - starts[1:] >= size[low] * overlap - 1).all()
    # As large as the input's proportions allow, and never shown larger than it is.
    assert view.scale(size) <= 1 or size[0] == frame_wh[0] or size[1] == frame_wh[1]


def test_the_passes_over_a_1080p_frame():
    def size_and_count(text, view):
        policy = TilePolicy.parse(text)
        return policy.tile_wh(HD, view), len(policy.tiles(HD, view))

    assert size_and_count("3x2", SQUARE) == ((739, 739), 6)  # 600 high would leave grey
    assert size_and_count("3x2", WIDE) == ((1058, 600), 6)  # 739 wide would leave grey
    assert size_and_count("3x2", ANY) == ((739, 640), 6)
    two, line = TilePolicy.parse("horizon:2"), Horizon(500, 500, 1)
    assert two.tiles(HD, SQUARE, line).tolist() == [[0, 13, 1067, 1080], [853, 13, 1920, 1080]]
    assert two.tiles(HD, WIDE, line).tolist() == [[0, 258, 1067, 863], [853, 258, 1920, 863]]
    assert size_and_count("960x544", WIDE) == ((960, 544), 9)
    free = TilePolicy.parse("horizon")
    assert free.tiles(HD, WIDE, line).tolist() == two.tiles(HD, WIDE, line).tolist()  # scale .9; one would be .5
    assert len(free.tiles(HD, WIDE)) == 4  # no horizon: the whole frame
    assert free.tiles(HD, SQUARE, line).tolist() == [[x, 204, x + 739, 943] for x in (0, 590, 1181)]
    assert len(free.tiles((1280, 720), SQUARE, line)) == 2 and len(free.tiles((2560, 1440), SQUARE, line)) == 4


@pytest.mark.parametrize("text", ["horizon@0", "horizon@1+9", "horizon@0.0"])
def test_zooms_have_bounds(text):
    with pytest.raises(UsageError, match="up to 8 times"):
        TilePolicy.parse(text)


def test_rows_of_several_zooms():
    policy, line = TilePolicy.parse("horizon@2+1+2"), Horizon(500, 500, 1)
    assert str(policy) == "horizon@1+2"
    rows = [TilePolicy.parse(text).tiles(HD, WIDE, line).tolist() for text in ("horizon", "horizon@2")]
    assert policy.tiles(HD, WIDE, line).tolist() == rows[0] + rows[1]
    assert [x1 for x1, *_ in rows[1]] == [0, 452, 903, 1355] and rows[1][0] == [0, 372, 565, 692]
    assert policy.tile_wh(HD, WIDE) == (565, 320) and policy.scale(HD, WIDE) == pytest.approx(1.70, abs=0.005)
    # Shown whole at its full size: only the row that enlarges is left. The whole frame is no tile.
    assert str(policy.for_frame((960, 540), WIDE)) == "horizon@2"
    assert TilePolicy.parse("horizon@1+1.05").tiles((640, 500), InputView(640, 480), line).tolist() == [
        [0, 20, 640, 500]
    ]  # both rows
    assert len(policy.tiles((300, 200), InputView(960, 544, max_scale=1.0), line)) == 0
    assert policy.for_frame((300, 200), WIDE).kind == "none"


def test_tiles_may_be_enlarged_though_whole_frames_are_not():
    policy, view = TilePolicy.parse("horizon@2"), InputView(960, 544, max_scale=1.0)
    assert policy.scale((900, 500), view) == pytest.approx(1.92)
    assert TilePolicy.parse("none").scale((700, 400), view) == 1.0
    assert TilePolicy.parse("horizon").scale((700, 400), view) == 1.0


@pytest.mark.parametrize("text", ["3x2", "horizon", "auto"])
def test_frames_that_the_network_sees_whole_are_not_cut(text):
    policy = TilePolicy.parse(text)
    assert policy.for_frame((640, 480), SQUARE).kind == "none"
    assert len(policy.tiles((640, 480), SQUARE)) == 0
    assert policy.tile_wh((640, 480), SQUARE) == (640, 480)


@given(st.floats(-2000, 3000), st.floats(-2000, 3000), views)
@settings(max_examples=100, deadline=None)
def test_a_row_follows_the_horizon_and_stays_in_the_frame(left, right, view):
    policy, line = TilePolicy.parse("horizon"), Horizon(left, right, 1.0)
    tiles = policy.tiles(HD, view, line)
    assert tiles[:, 0].min() == 0 and tiles[:, 2].max() == HD[0]
    assert tiles[:, 1].min() >= 0 and tiles[:, 3].max() <= HD[1]
    assert len(np.unique(tiles[:, 0])) == len(tiles)
    for x1, y1, x2, y2 in tiles.tolist():
        row = left + (right - left) * (x1 + x2) / 2 / HD[0]
        assert y1 <= row <= y2 or row < y2 == y2 - y1 or row > y1 == HD[1] - (y2 - y1)


@pytest.mark.parametrize("frame_wh", [HD, (2560, 1440), (900, 700), (640, 640), (300, 1000)])
@pytest.mark.parametrize("view", [SQUARE, WIDE, ANY])
def test_auto_without_a_saved_policy_goes_by_the_frame(frame_wh, view):
    chosen = TilePolicy.parse("auto").for_frame(frame_wh, view)
    assert chosen.kind == ("none" if view.scale(frame_wh) >= AUTO_SCALE else "horizon")


# --- saved with the model --------------------------------------------------------------------------------------


def detector_at(path, tiling=None, content=b"weights", imgsz=640, **metadata):
    """What policies need of a detector; its file is a checkpoint, or an ONNX file of one unknown field (15)."""
    path.write_bytes(b"\x7a" + bytes([len(content)]) + content if path.suffix == ".onnx" else content)
    known = ArtefactMetadata(names=("ship",), imgsz_hw=(imgsz, imgsz), tiling=tiling or {}, **metadata)
    return SimpleNamespace(path=path, metadata=known, imgsz=imgsz)


def policy_for(*arguments) -> TilePolicy:
    return choice_for(*arguments).policy


def save(file, policy="3x2", overlap=0.25, protocol=None):
    chosen = {"policy": policy, "overlap": overlap}
    content = {"schema": SCHEMA, "chosen": chosen, "rows": [], "protocol": protocol or {}}
    file.write_text(json.dumps(content))
    return file


def test_auto_takes_the_file_beside_the_model_then_the_metadata_then_the_rule(tmp_path, caplog):
    caplog.set_level("INFO")
    model = tmp_path / "ship.int8.onnx"
    assert policy_file(model) == tmp_path / "ship.int8.tiling.json"
    assert policy_for("auto", 0.1, detector_at(model)) == TilePolicy("auto", overlap=0.1)
    assert "no measured policy" in caplog.text
    with_metadata = detector_at(model, {"policy": "horizon", "overlap": 0.3})
    assert policy_for("auto", 0.1, with_metadata) == TilePolicy("horizon", (0, 1), 0.3)
    save(policy_file(model), protocol=model_facts(with_metadata))
    assert policy_for("auto", 0.1, with_metadata) == TilePolicy("grid", (3, 2), 0.25)
    assert policy_for("640", 0.1, with_metadata) == TilePolicy("pixels", (640, 640), 0.1)
    assert policy_for("saved", 0.1, with_metadata) == TilePolicy("grid", (3, 2), 0.25)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    policy_file(model).unlink()
    assert policy_for("saved", 0.1, with_metadata) == TilePolicy("horizon", (0, 1), 0.3)
    assert policy_for("saved", 0.1, detector_at(model)) == TilePolicy("none", overlap=0.1)
    assert policy_for("none", 0.1, with_metadata) == TilePolicy("none", overlap=0.1)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    "change",
    [{"content": b"trained again"}, {"imgsz": 320}],
    ids=["the same name after another training", "another input size"],
)
def test_a_file_that_was_measured_with_another_model_is_not_used(tmp_path, caplog, change):
    model = tmp_path / "best.pt"
    save(policy_file(model), protocol=model_facts(detector_at(model)))
    assert policy_for("saved", 0.1, detector_at(model)) == TilePolicy("grid", (3, 2), 0.25)
    assert not warnings_of(caplog)
    other = detector_at(model, {"policy": "horizon", "overlap": 0.3}, **change)
    for _ in range(2):
        assert policy_for("saved", 0.1, other) == TilePolicy("horizon", (0, 1), 0.3)
    bare = detector_at(model, **change)
    assert [policy_for(text, 0.1, bare).kind for text in ("saved", "auto")] == ["none", "auto"]
    (warning,) = warnings_of(caplog)
    assert "another model" in warning and "best.tiling.json" in warning and "wutdet bench tiling" in warning
    # Named by the user, it counts.
    assert policy_for(str(policy_file(model)), 0.1, other) == TilePolicy("grid", (3, 2), 0.25)


def test_a_checkpoint_and_its_export_share_a_name_but_not_a_policy(tmp_path, caplog):
    checkpoint, artefact = (detector_at(tmp_path / name) for name in ("best.pt", "best.onnx"))
    assert policy_file(checkpoint.path) == policy_file(artefact.path)
    save(policy_file(artefact.path), protocol=model_facts(checkpoint))
    assert policy_for("saved", 0.1, artefact).kind == "none"
    assert policy_for("saved", 0.1, checkpoint).kind == "grid"
    assert len(warnings_of(caplog)) == 1


def test_a_file_older_than_digests_goes_by_what_it_says(tmp_path, caplog):
    facts = {"made": "2026-11-02", "format": "int8", "input": "640x640"}
    saved = {"date": "2026-11-02", "weight_format": "int8"}
    model = tmp_path / "best.onnx"
    save(policy_file(model), protocol=facts)
    for _ in range(2):
        assert policy_for("saved", 0.1, detector_at(model, **saved)).kind == "grid"
    (warning,) = warnings_of(caplog)
    assert "too old to say for which model" in warning and "wutdet bench tiling" in warning
    for change in ({"date": "2026-11-03"}, {"weight_format": "fp32"}, {"imgsz": 320}):
        assert policy_for("saved", 0.1, detector_at(model, **{**saved, **change})).kind == "none"
    assert sum("another model" in text for text in warnings_of(caplog)) == 3


NO_CHOICES = [
    {"policy": "3x2", "overlap": None},
    {"policy": "3x2", "overlap": "0.2"},
    {"policy": "3x2", "overlap": [0.2]},
    {"policy": "3x2", "overlap": True},
    {"policy": "3x2", "overlap": 7},
    {"policy": "3x2", "overlap": 10**400},
    {"policy": "3x2", "overlap": float("nan")},
    {"policy": None, "overlap": 0.2},
    {"policy": "9" * 5000, "overlap": 0.2},
    {"policy": "wide", "overlap": 0.2},
    {"policy": "3x2"},
    "3x2",
    ["3x2", 0.2],
]


@pytest.mark.parametrize("chosen", NO_CHOICES, ids=lambda chosen: str(chosen)[:40])
def test_a_choice_that_is_none_is_an_error_with_a_place(tmp_path, chosen):
    model = tmp_path / "a.onnx"
    with pytest.raises(ModelError, match="not a tile policy") as error:
        policy_for("saved", 0.1, detector_at(model, chosen))
    assert error.value.file == str(model) and "--tile none" in error.value.hint
    policy_file(model).write_text(json.dumps({"schema": SCHEMA, "chosen": chosen}))
    for text in ("auto", str(policy_file(model))):
        with pytest.raises(DataError, match="not a tile policy") as error:
            policy_for(text, 0.1, detector_at(model))
        assert error.value.file == str(policy_file(model))


def test_a_policy_file_may_be_named(tmp_path):
    file = save(tmp_path / "boat.json", "horizon:2", 0.4)
    assert policy_for(str(file), 0.1, detector_at(tmp_path / "m.onnx")) == TilePolicy("horizon", (2, 1), 0.4)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 200_000,
                                  '{"schema": "other", "chosen": {"policy": "3x2", "overlap": 0.2}}',
                                  json.dumps({"schema": SCHEMA, "chosen": {"policy": "3x2"}})])  # fmt: skip
def test_other_files_are_no_policies(tmp_path, text):
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(DataError, match="not a tile policy"):
        read_choice(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_choice(tmp_path / "absent.json")


def test_the_choice_survives_the_metadata_of_an_artefact():
    metadata = ArtefactMetadata(("ship",), (640, 640), tiling={"policy": "3x2", "overlap": 0.2})
    assert ArtefactMetadata.from_props(metadata.to_props()).tiling == metadata.tiling


def test_the_threshold_goes_with_the_measured_policy(tmp_path):
    model = tmp_path / "ship.onnx"
    detector = detector_at(model, {"policy": "horizon", "overlap": 0.3})
    assert choice_for("saved", 0.1, detector) == Choice(TilePolicy("horizon", (0, 1), 0.3))
    chosen = {"policy": "3x2", "overlap": 0.25, "threshold": 0.21}
    content = {"schema": SCHEMA, "chosen": chosen, "protocol": model_facts(detector)}
    file = policy_file(model)
    file.write_text(json.dumps(content))
    for text in ("saved", "auto", str(file)):
        assert choice_for(text, 0.1, detector) == Choice(TilePolicy("grid", (3, 2), 0.25), 0.21)
    assert choice_for("3x2", 0.1, detector).threshold is None  # a policy as written says nothing of scores
    for wrong in (1.5, "high", True):
        file.write_text(json.dumps({**content, "chosen": {**chosen, "threshold": wrong}}))
        with pytest.raises(DataError, match="threshold"):
            choice_for("saved", 0.1, detector)
