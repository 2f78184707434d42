"""wutdet data stats: counts by hand, bins against pycocotools, the README of the real frames, the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wutdet.cli import run as run_command
from wutdet.config import StatsConfig
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.stats import octaves, run, statistics
from wutdet.dataset.stats_plot import draw_stats
from wutdet.dataset.write_coco import write_coco
from wutdet.errors import DataError, WutdetError


def by_hand() -> Dataset:
    """Three frames: 4 counted boxes and an ignored one, two scenes, fog in one, no ship in the last."""
    builder = DatasetBuilder(Path("/nowhere"), name="by hand")
    builder.class_map.index("ship")
    builder.class_map.index("buoy")
    first = builder.add_image("a.jpg", (1280, 720), conditions=["fog"], labels={
        "scene": "port", "source": "cams", "sequence": "cams/1", "split": "train"})  # fmt: skip
    for side, name in ((31, "ship"), (32, "ship"), (96, "buoy")):
        builder.add_box(first, (10, 10, 10 + side, 10 + side), name)
    builder.add_box(first, (0, 0, 500, 500), "ship", ignore=True)
    second = builder.add_image("b.jpg", (640, 480), labels={"scene": "berthing", "source": "cams"})
    builder.add_box(second, (0, 0, 2, 8), "ship")
    builder.add_image("c.jpg", (640, 480))
    return builder.build()


def random_dataset(images: int, boxes: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(Path("/nowhere"), name="random")
    builder.add_image("0.jpg", (1920, 1080))
    builder.add_box(0, (0, 0, 1, 1), "ship")
    xy, side = rng.uniform(0, 900, (boxes, 2)), 2 ** rng.uniform(0, 10, (boxes, 2))
    box_image = np.sort(rng.integers(0, images, boxes)).astype(np.int32)
    one = builder.build()
    whole = one.select(np.zeros(images, dtype=np.int64))
    conditions = rng.integers(0, 16, images).astype(np.uint32)
    return replace(
        whole,
        image_id=np.arange(1, images + 1),
        conditions=conditions,
        labels={**whole.labels, "scene": LabelColumn(rng.integers(-1, 2, images).astype(np.int32), ("port", "sea"))},
        box_image=box_image,
        xyxy=np.concatenate([xy, xy + side], axis=1),
        area=side.prod(axis=1),
        category=np.zeros(boxes, np.int32),
        ignore=rng.random(boxes) < 0.1,
        crowd=np.zeros(boxes, bool),
        box_line=np.zeros(boxes, np.int32),
        box_labels={},
    )


def test_counts_by_hand():
    found = statistics(by_hand(), imgsz=640)
    assert found["schema"] == "wutdet.data.stats/1"
    assert (found["images"], found["images_without_ships"], found["boxes"], found["ignored_boxes"]) == (3, 1, 5, 1)
    assert found["categories"] == {"ship": 4, "buoy": 1}
    assert found["sequences"] == 1 and found["sources"] == {"cams": 2} and found["splits"] == {"train": 1}
    assert found["scenes"] == {"port": 1, "berthing": 1} and found["conditions"] == {"clear": 2, "fog": 1}
    assert found["boxes_per_image"]["histogram"] == {"0": 1, "1": 1, "4": 1}
    assert found["boxes_per_image"]["mean"] == pytest.approx(5 / 3) and found["boxes_per_image"]["max"] == 4
    assert found["frame_sizes"] == {"640x480": 2, "1280x720": 1}
    sizes = found["sizes"]
    assert sizes["counted"] == 4
    assert sizes["coco"] == {"small": 2, "medium": 1, "large": 1}
    assert sizes["aitod"] == {"below_2": 0, "very_tiny": 1, "tiny": 0, "small": 1, "medium": 1, "larger": 1}
    assert sizes["coco_share"]["small"] == 0.5
    # At 640 the first frame is halved, the second stays: 15.5, 16, 48 and 4 px.
    assert sizes["input"]["aitod"] == {"below_2": 0, "very_tiny": 1, "tiny": 1, "small": 1, "medium": 1, "larger": 0}
    assert sizes["input"]["sqrt_area"]["max"] == 48
    assert sizes["aspect"]["min"] == 0.25 and sizes["width"]["min"] == 2 and sizes["height"]["min"] == 8


def test_slices_by_hand():
    slices = statistics(by_hand())["slices"]
    assert {kind: {name: part["boxes"] for name, part in parts.items()} for kind, parts in slices.items()} == {
        "scene": {"port": 4, "berthing": 1, "untagged": 0},
        "condition": {"clear": 1, "fog": 4},
        "source": {"cams": 5, "untagged": 0},
        "split": {"train": 4, "untagged": 1},
    }
    assert slices["scene"]["port"]["sizes"]["coco"] == {"small": 1, "medium": 1, "large": 1}


def test_slices_are_the_figures_of_their_frames_alone():
    dataset = random_dataset(60, 400)
    found = statistics(dataset)
    for name in ("port", "sea"):
        alone = statistics(dataset.select(dataset.scene.is_(name)))
        assert found["slices"]["scene"][name] == {key: alone[key] for key in found["slices"]["scene"][name]}
    assert sum(part["boxes"] for part in found["slices"]["scene"].values()) == 400


def test_bins_and_quantiles_agree_with_pycocotools_and_numpy(tmp_path):
    from pycocotools.coco import COCO

    dataset = random_dataset(50, 3000)
    write_coco(dataset, tmp_path / "all.json")
    coco = COCO(str(tmp_path / "all.json"))
    found = statistics(dataset)["sizes"]
    ignored = {a["id"] for a in coco.dataset["annotations"] if a["ignore"]}
    for scheme, edges in (("coco", (0, 32, 96, 1e5)), ("aitod", (0, 2, 8, 16, 32, 64, 1e5))):
        counts = list(found[scheme].values())
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            assert len(set(coco.getAnnIds(areaRng=[low**2, high**2])) - ignored) == count
    kept = ~dataset.ignore
    width, height = (dataset.xyxy[kept, 2:] - dataset.xyxy[kept, :2]).T
    assert found["width"]["p95"] == pytest.approx(np.quantile(width, 0.95))
    assert found["aspect"]["p50"] == pytest.approx(np.median(width / height))
    assert found["sqrt_area"]["p25"] == pytest.approx(np.quantile(np.sqrt(width * height), 0.25))
    assert found["input"]["sqrt_area"]["p50"] == pytest.approx(np.median(np.sqrt(width * height)) / 3)


def test_octaves_hold_every_image_once():
    histogram = {"0": 5, "1": 4, "2": 3, "3": 2, "4": 1, "5": 7, "8": 1, "9": 2, "200": 1}
    bins = octaves(histogram)
    assert bins == {
        "0": 5, "1": 4, "2": 3, "3-4": 3, "5-8": 8, "9-16": 2, "17-32": 0, "33-64": 0, "65-128": 0, "129-256": 1,
    }  # fmt: skip
    assert octaves({}) == {"0": 0}


@pytest.mark.parametrize("rows", [[], [2]])
def test_no_boxes_and_no_images(rows):
    dataset = by_hand().select(np.array(rows, dtype=np.int64))
    found = statistics(dataset)
    assert found["boxes"] == 0 and found["images"] == len(rows) == found["images_without_ships"]
    assert found["sizes"]["sqrt_area"]["p50"] is None and found["sizes"]["coco_share"]["small"] is None
    json.dumps(found, allow_nan=False)
    assert draw_stats(dataset, found).shape[1] == 1600


def test_zero_area_boxes_do_not_make_nan():
    dataset = by_hand()
    flat = replace(dataset, xyxy=np.zeros_like(dataset.xyxy), area=np.zeros(dataset.box_count))
    found = statistics(flat)
    json.dumps(found, allow_nan=False)
    assert found["sizes"]["coco"]["small"] == 4 and found["sizes"]["aspect"]["p50"] is None


def test_command_prints_a_table_and_writes_json_and_a_picture(tmp_path, capsys):
    write_coco(by_hand(), tmp_path / "all.json")
    plot, figures = tmp_path / "größen.png", tmp_path / "stats.json"
    arguments = ["data", "stats", str(tmp_path / "all.json"), "--plot", str(plot), "--json", str(figures)]
    assert run_command(arguments) == 0
    text = capsys.readouterr().out
    assert "3 images (1 without ships), 5 boxes (1 ignored), 1 sequences" in text
    assert "below 32 px" in text and "very tiny" in text and "berthing" in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert json.loads(figures.read_text("utf-8"))["boxes"] == 5
    picture = cv2.imdecode(np.fromfile(plot, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1600


def test_picture_shows_the_shares():
    """The first row's bar is 50 % small, 25 % medium, 25 % large."""
    dataset = by_hand()
    picture = draw_stats(dataset, statistics(dataset))
    row = picture[660 + 44 + 6, 420:1090]
    colours, counts = np.unique(row, axis=0, return_counts=True)
    share = {tuple(c.tolist()): n / len(row) for c, n in zip(colours, counts, strict=True)}
    assert share[(0, 94, 213)] == pytest.approx(0.5, abs=0.01)
    assert share[(115, 158, 0)] == pytest.approx(0.25, abs=0.01)
    assert share[(178, 114, 0)] == pytest.approx(0.25, abs=0.01)


def test_wrong_picture_name_and_missing_data(tmp_path):
    write_coco(by_hand(), tmp_path / "all.json")
    with pytest.raises(WutdetError, match="not a picture format"):
        run(StatsConfig(str(tmp_path / "all.json"), plot=tmp_path / "plot.docx"))
    with pytest.raises(DataError, match="split 'nope' has no frames"):
        run(StatsConfig(str(tmp_path / "all.json"), split="nope"))


README = {  # images, without ship, boxes, small, below 16 px, medium, large in %, median px; from harborcams/README.md
    ("train", "all"): (706, 42, 2418, 51.4, 22.7, 26.3, 22.2, 30.8),
    ("train", "hsu_shore_livecams"): (355, 42, 1632, 65.6, 31.2, 23.6, 10.8, 23.3),
    ("train", "mcoe_boat_photos"): (290, 0, 676, 16.7, 4.4, 30.0, 53.3, 106.9),
    ("train", "uvic_sooke"): (61, 0, 110, 55.5, 8.2, 44.5, 0.0, 29.3),
    ("val", "all"): (199, 6, 512, 64.1, 42.0, 20.5, 15.4, 20.6),
    ("val", "hsu_shore_livecams"): (99, 6, 310, 71.9, 49.4, 21.3, 6.8, 16.4),
    ("val", "mcoe_boat_photos"): (40, 0, 103, 18.4, 1.0, 27.2, 54.4, 116.8),
    ("val", "uvic_sooke"): (60, 0, 99, 86.9, 61.6, 11.1, 2.0, 14.4),
}


@pytest.mark.real_data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_frames_have_the_figures_of_their_readme(shared_dir, split):
    found = run(StatsConfig(str(shared_dir / "data/harborcams/annotations" / f"{split}.json"))).to_json()
    for (_, source), expected in ((key, row) for key, row in README.items() if key[0] == split):
        part = found if source == "all" else found["slices"]["source"][source]
        sizes = part["sizes"]
        tiny = sum(sizes["aitod_share"][name] for name in ("below_2", "very_tiny", "tiny"))
        shares = [100 * s for s in (sizes["coco_share"]["small"], tiny, *list(sizes["coco_share"].values())[1:])]
        got = (part["images"], part["images_without_ships"], part["boxes"], *shares, sizes["sqrt_area"]["p50"])
        assert got == pytest.approx(expected, abs=0.0501), source
    per_sequence = found["images_per_sequence"]
    if split == "train":
        assert per_sequence["hsu_shore_livecams/dlwkigk3"] == 79 and per_sequence["mcoe_boat_photos/photo"] == 290
        assert found["frame_sizes"]["1280x720"] == 295 and found["frame_sizes"]["1920x1080"] == 121
    else:
        assert per_sequence == {
            "hsu_shore_livecams/hyovmh0t": 62, "uvic_sooke/D1_2019-09-05": 60, "mcoe_boat_photos/photo": 40,
            "hsu_shore_livecams/vgiy5566": 37,
        }  # fmt: skip
