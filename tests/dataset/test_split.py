"""Split by sequence: stable for a set that grows, balanced, leak-free, and written with a digest."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.config import SplitConfig
from wutdet.dataset.balance import balance, cycle_length, split_of_block
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.split import apply_split, parse_parts, run, split_dataset
from wutdet.dataset.split_file import read_split_file
from wutdet.errors import DataError, UsageError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def numbered(tmp_path, numbers, **labels):
    """A data set like WUTDet's: file names are frame numbers, no sequence ids."""
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for number in numbers:
        builder.add_image(f"JPEGImages/{number:07d}.jpg", (1920, 1080), frame_index=int(number), labels=labels)
    return builder.build()


def split_by_path(dataset) -> dict:
    return {dataset.path[row]: dataset.split[row] for row in range(len(dataset))}


EXPECTED_BLOCKS_SEED_0 = (
    "....tv.....tv.vt.....vt...t....t..v...t.v.....vt..t..v..t.....v.t..v.vv.t.........vt...t..v....tv..vt"
)

# --- the rule for block numbers ----------------------------------------------------------------------------------


def test_the_published_rule_never_changes():
    """Splits that others made with the same seed must stay valid: these values are part of the format."""
    letters = "".join(
        {"train": ".", "val": "v", "test": "t"}[split_of_block(number, SHARES, 0)] for number in range(101)
    )
    assert letters == EXPECTED_BLOCKS_SEED_0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 100), st.lists(st.floats(0.05, 1), min_size=2, max_size=4))
def test_any_two_cycles_of_blocks_have_every_split_in_nearly_its_share(start, seed, weights):
    shares = {f"part{k}": weight / sum(weights) for k, weight in enumerate(weights)}
    length = cycle_length(shares)
    assert {split_of_block(start + k, shares, seed) for k in range(2 * length)} == set(shares)
    whole = [split_of_block(k, shares, seed) for k in range(40 * length)]
    for name, share in shares.items():
        assert whole.count(name) == pytest.approx(share * len(whole), abs=3)


def test_other_seeds_give_other_splits():
    splits = {tuple(split_of_block(number, SHARES, seed) for number in range(100)) for seed in range(20)}
    assert len(splits) == 20


def test_the_full_set_is_split_like_part_a(tmp_path):
    """Part A is every 20th frame; the full set has the frames between, and more at the end."""
    part_a, _ = split_dataset(numbered(tmp_path, range(0, 60_000, 20)), SplitConfig("x"))
    full, _ = split_dataset(numbered(tmp_path, range(0, 75_500, 10)), SplitConfig("x"))
    split_a, split_full = split_by_path(part_a), split_by_path(full)
    assert set(split_a) < set(split_full)
    assert all(split_full[path] == split for path, split in split_a.items())
    block_split = {int(path[-11:-4]) // 1000: split for path, split in split_a.items()}
    assert all(
        split == block_split[int(path[-11:-4]) // 1000]
        for path, split in split_full.items()
        if int(path[-11:-4]) // 1000 in block_split
    )
    shares = part_a.split.counts()
    assert shares["train"] / len(part_a) == pytest.approx(0.7, abs=0.03)
    assert shares["val"] / len(part_a) == pytest.approx(0.15, abs=0.03)


def test_holes_in_the_numbers_move_no_block(tmp_path):
    rng = np.random.default_rng(0)
    numbers = np.sort(rng.choice(100_000, 3000, replace=False))
    whole, _ = split_dataset(numbered(tmp_path, numbers), SplitConfig("x"))
    some, _ = split_dataset(numbered(tmp_path, numbers[rng.random(3000) < 0.5]), SplitConfig("x"))
    known = split_by_path(whole)
    assert all(known[path] == split for path, split in split_by_path(some).items())


# --- with pictures: links at the borders of blocks ------------------------------------------------------------


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(20, 235, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (160, 96), interpolation=cv2.INTER_CUBIC)


def write_voc(folder, numbers, scene_of):
    """A VOC tree in Part A's layout, one small ship per frame; scene_of gives the scene shown at a frame number."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in numbers:
        pixels = scene(scene_of(number))
        x = 20 + number % 90
        pixels[60:66, x : x + 12] = 30
        cv2.imwrite(str(folder / f"JPEGImages/{number:07d}.jpg"), pixels)
        (folder / f"Annotations/{number:07d}.xml").write_text(
            f"<annotation><filename>{number:07d}.jpg</filename><size><width>160</width><height>96</height>"
            f"<depth>3</depth></size><object><name>ship</name><bndbox><xmin>{x + 1}</xmin><ymin>61</ymin>"
            f"<xmax>{x + 12}</xmax><ymax>66</ymax></bndbox></object></annotation>\n"
        )
    return folder


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    """Part A (every 5th frame) and the full set, 16 blocks of 20 frames. A scene lasts 5 frames, around each frame of
    Part A, so the frames at the borders of blocks have twins across them that Part A cannot show."""
    root = tmp_path_factory.mktemp("growing")

    def scene_of(number):
        return (number + 2) // 5

    return (
        write_voc(root / "part a", range(0, 320, 5), scene_of),
        write_voc(root / "full", range(0, 320), scene_of),
    )


def config_for(folder, out, **settings):
    return SplitConfig(str(folder), out=out, block=20, **settings)


@pytest.mark.parametrize("with_base", [False, True])
def test_part_a_then_full_set_with_links(growing, tmp_path, with_base):
    part_a, full = growing
    result_a = run(config_for(part_a, tmp_path / "a.json"))
    base = tmp_path / "a.json" if with_base else None
    result_full = run(config_for(full, tmp_path / "full.json", base=base))
    assert result_a.leaks.rate == 0 and result_full.leaks.rate == 0
    a, f = read_split_file(tmp_path / "a.json"), read_split_file(tmp_path / "full.json")
    split_of = {path: name for name, paths in f.splits.items() for path in paths}
    block_split = {path: name for name, paths in a.splits.items() for path in paths}
    by_block = {int(path[-11:-4]) // 20: name for path, name in block_split.items()}
    assert len(by_block) == 16
    for path, name in split_of.items():
        assert name == by_block[int(path[-11:-4]) // 20], "a full-set frame is in another split than Part A's block"
    # The border twins are left out, and nothing else.
    assert not a.left_out and 0 < len(f.left_out) < 45
    assert len(f.left_out) + len(split_of) == 320
    order = list(f.splits)
    for path in f.left_out:
        block, place = divmod(int(path[-11:-4]), 20)
        assert place < 3 or place >= 18
        neighbour = block - 1 if place < 3 else block + 1
        assert order.index(by_block[block]) < order.index(by_block[neighbour]), "only the earlier split loses frames"
    if with_base:
        assert f.rule["base"] == a.digest


def test_result_and_file(growing, tmp_path):
    result = run(config_for(growing[0], tmp_path / "sub folder/a.json"))
    content = json.loads((tmp_path / "sub folder/a.json").read_text())
    assert content["schema"] == "wutdet.splits/1"
    assert content["splits"].keys() == SHARES.keys()
    assert {name: len(paths) for name, paths in content["splits"].items()} == dict(result.splits)
    assert content["splits"]["train"][0].startswith("JPEGImages/")
    assert set(content["sequences"].values()) == set(SHARES)
    as_json = result.to_json()
    assert as_json["digest"] == content["digest"] and as_json["leak_rate"] == 0
    assert json.loads(json.dumps(as_json, allow_nan=False)) == as_json
    assert content["digest"] in result.to_text() and "leak rate: 0.0%" in result.to_text()


def test_same_seed_same_digest_and_other_seed_other_split(growing, tmp_path):
    first = run(config_for(growing[0], tmp_path / "1.json"))
    assert run(config_for(growing[0], tmp_path / "2.json")).digest == first.digest
    assert run(config_for(growing[0], tmp_path / "3.json", seed=1)).digest != first.digest
    assert run(config_for(growing[0], tmp_path / "4.json", links=False)).leaks.pixels is False


# --- sequences with ids: balance ----------------------------------------------------------------------------------


def tagged(tmp_path, sequence_count, seed=0, scenes=("port", "anchorage", "navigation", "berthing")):
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for number in range(sequence_count):
        for frame in range(int(rng.integers(5, 40))):
            row = builder.add_image(
                f"{number}/{frame}.jpg", (1000, 1000), frame_index=frame,
                conditions=["fog"] if number % 5 == 0 else [],
                labels={"sequence": f"s{number}", "scene": scenes[number % len(scenes)]},
            )  # fmt: skip
            side = (8, 20, 60, 200)[number % 4]
            builder.add_box(row, (0, 0, side, side), "ship")
    return builder.build()


def test_frames_scenes_conditions_and_sizes_are_balanced(tmp_path):
    dataset, rule = split_dataset(tagged(tmp_path, 60), SplitConfig("x"))
    assert rule["sequences"] == ["ids"] and rule["blocks_by_number"] is False
    sequences = {}
    for row in range(len(dataset)):
        assert sequences.setdefault(dataset.sequence[row], dataset.split[row]) == dataset.split[row]
    for name, share in SHARES.items():
        part = dataset.in_split(name)
        assert len(part) / len(dataset) == pytest.approx(share, abs=0.02)
        for scene_name in dataset.scene.names:
            whole = dataset.scene.is_(scene_name).sum()
            assert part.scene.is_(scene_name).sum() / whole == pytest.approx(share, abs=0.08)
        assert part.has_condition("fog").sum() / dataset.has_condition("fog").sum() == pytest.approx(share, abs=0.08)


def test_without_stratify_only_frames_count(tmp_path):
    dataset, _ = split_dataset(tagged(tmp_path, 60), SplitConfig("x", stratify=False))
    assert len(dataset.in_split("val")) / len(dataset) == pytest.approx(0.15, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_balance_is_near_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    count, share = int(rng.integers(3, 8)), np.array([0.6, 0.2, 0.2])
    features, weights = rng.uniform(1, 10, (count, 2)), np.array([4.0, 1.0])

    def deviation(parts):
        amounts = np.stack([features[np.array(parts) == k].sum(axis=0) for k in range(3)]) / features.sum(axis=0)
        return (weights * (share[:, None] - amounts) ** 2).sum()

    chosen = balance(features, weights, share, seed)
    assert set(chosen.tolist()) == {0, 1, 2}
    possible = [p for p in itertools.product(range(3), repeat=count) if len(set(p)) == 3]
    best, typical = min(map(deviation, possible)), np.median([deviation(p) for p in possible])
    # Moves and swaps are a local search: allow a tenth of what a random assignment would miss by.
    assert deviation(chosen) <= best + 0.1 * (typical - best) + 1e-9


def test_balance_keeps_what_is_fixed():
    fixed = np.array([2, -1, -1, 0, -1, -1])
    chosen = balance(np.ones((6, 1)), np.ones(1), [0.5, 0.25, 0.25], 0, fixed)
    assert chosen[0] == 2 and chosen[3] == 0 and set(chosen.tolist()) == {0, 1, 2}


def test_sequences_with_twins_stay_together(tmp_path):
    """Ten sequences, in pairs of one scene: only five groups are really there."""
    builder = []
    (tmp_path / "images").mkdir()
    for number in range(10):
        for frame in range(3):
            name = f"{number}-{frame}.jpg"
            pixels = scene(number // 2)
            pixels[50:54, 10 * frame : 10 * frame + 8] = number  # never the same bytes
            cv2.imwrite(str(tmp_path / "images" / name), pixels)
            builder.append({"id": len(builder) + 1, "file_name": name, "width": 160, "height": 96,
                            "sequence_id": f"s{number}"})  # fmt: skip
    coco = {"images": builder, "annotations": [], "categories": [{"id": 1, "name": "ship"}]}
    (tmp_path / "all.json").write_text(json.dumps(coco))
    for seed in range(3):
        run(SplitConfig(str(tmp_path / "all.json"), out=tmp_path / "s.json", seed=seed))
        sequences = read_split_file(tmp_path / "s.json").sequences
        assert all(sequences[f"s{2 * k}"] == sequences[f"s{2 * k + 1}"] for k in range(5))
    with pytest.raises(DataError, match=r"5 groups of linked\s+sequences"):
        run(SplitConfig(str(tmp_path / "all.json"), out=tmp_path / "t.json", parts="a=1,b=1,c=1,d=1,e=1,f=1"))
    assert not (tmp_path / "t.json").exists()


def test_base_keeps_old_sequences_and_deals_out_new_ones(tmp_path):
    old, rule = split_dataset(tagged(tmp_path, 20), SplitConfig("x"))
    from wutdet.dataset.split_file import SplitFile

    base = SplitFile.of(old, tuple(SHARES), "x", rule)
    new, new_rule = split_dataset(tagged(tmp_path, 40), SplitConfig("x", seed=5), base)
    kept = {new.sequence[row]: new.split[row] for row in range(len(new))}
    assert all(kept[name] == split for name, split in base.sequences.items())
    assert len(kept) == 40 and new_rule["base"] == base.digest
    assert len(new.in_split("test")) / len(new) == pytest.approx(0.15, abs=0.04)
    with pytest.raises(UsageError, match="--parts has"):
        split_dataset(tagged(tmp_path, 40), SplitConfig("x", parts="train=1,holdout=1"), base)
    with pytest.raises(DataError, match="knows none of the sequences"):
        split_dataset(numbered(tmp_path, range(0, 9000, 100)), SplitConfig("x"), base)


# --- what can be wrong --------------------------------------------------------------------------------------------


def test_too_few_sequences_say_how_many_and_what_to_do(tmp_path):
    with pytest.raises(
        DataError, match=r"2 sequences \(blocks of 1000 frame numbers\) in 100 frames.*3 splits"
    ) as error:
        split_dataset(numbered(tmp_path, range(0, 2000, 20)), SplitConfig("x"))
    assert "--block 100" in error.value.hint
    with pytest.raises(DataError, match="2 sequences in"):
        split_dataset(tagged(tmp_path, 2), SplitConfig("x"))


def test_few_blocks_are_balanced_so_that_no_split_is_empty(tmp_path):
    dataset, rule = split_dataset(numbered(tmp_path, range(0, 4000, 20)), SplitConfig("x"))
    assert dataset.split.counts().keys() == SHARES.keys()
    assert len(dataset.split.counts()) == 3 and rule["sequences"] == ["blocks"]


@pytest.mark.parametrize(
    "text", ["train", "train=0.7,val", "train=0.7,val=x", "train=1,val=0", "train=1,val=-1", "train=1,train=1",
             "train=1", "", "=1,val=1", "train=nan,val=1", "train=inf,val=1"],
)  # fmt: skip
def test_wrong_parts(text):
    with pytest.raises(UsageError):
        parse_parts(text)


def test_parts_are_normalised():
    assert parse_parts("a=8, b=2") == {"a": 0.8, "b": 0.2}


@pytest.mark.parametrize("settings", [{"block": 0}, {"link_distance": -1}, {"link_distance": 200}])
def test_wrong_numbers(tmp_path, settings):
    with pytest.raises(UsageError):
        split_dataset(tagged(tmp_path, 10), SplitConfig("x", **settings))


def test_apply_split(growing, tmp_path):
    from wutdet.dataset.load import load_dataset

    run(config_for(growing[1], tmp_path / "full.json"))
    content = read_split_file(tmp_path / "full.json")
    dataset = apply_split(load_dataset(growing[1]), tmp_path / "full.json")
    for name, paths in content.splits.items():
        assert sorted(dataset.in_split(name).path) == paths
    assert int((dataset.split.codes < 0).sum()) == len(content.left_out) > 0
    assert dataset.sequence[25] == "block-000001"
    assert len(apply_split(load_dataset(growing[0]), tmp_path / "full.json")) == 64
    run(config_for(growing[0], tmp_path / "a.json"))
    with pytest.raises(DataError, match=r"256 of 320 frames .* are not in the split file") as error:
        apply_split(load_dataset(growing[1]), tmp_path / "a.json")
    assert "--base" in error.value.hint


def test_split_files_that_cannot_be_used(growing, tmp_path):
    file = tmp_path / "a.json"
    run(config_for(growing[0], file))
    content = json.loads(file.read_text())
    content["splits"]["train"].append(content["splits"]["val"].pop())
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a.json: the digest is"):
        read_split_file(file)
    for text, message in {
        "{": "not valid JSON",
        '{"schema": "wutdet.splits/9"}': "not a split file",
        "[]": "not a split file",
        '{"schema": "wutdet.splits/1", "splits": 3}': "lacks or garbles",
    }.items():
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_split_file(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_split_file(file)
    with pytest.raises(DataError, match="cannot read the split file"):
        read_split_file(tmp_path / "none.json")
