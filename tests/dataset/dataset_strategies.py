"""Random data sets for property tests (hypothesis), and what two data sets must have in common."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import Dataset

NAMES = st.text("abcXYZ019_- .äßé船ф&<'\"", min_size=1, max_size=12).map(str.strip).filter(lambda s: s.strip(". "))
STEMS = st.one_of(NAMES, st.integers(0, 9999999).map(lambda n: f"{n:07d}"))
TAG_VALUES = st.one_of(st.none(), NAMES)
SPLITS = st.sampled_from([None, "train", "val", "test"])


@st.composite
def boxes(draw, width: int, height: int, whole: bool = False):
    """xyxy inside the frame, at least one pixel wide and high."""
    if whole:
        x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        return x1, y1, draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    x1, y1 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    return x1, y1, draw(st.floats(x1 + 1, width)), draw(st.floats(y1 + 1, height))


@st.composite
def datasets(draw, root: Path, suffixes=(".jpg", ".png"), max_frames: int = 6, split=SPLITS) -> Dataset:
    """A Dataset with everything in it: empty frames, sub-folders, odd names, tags, ignored and crowd boxes."""
    builder = DatasetBuilder(root, name=draw(NAMES))
    classes = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    for name in classes:
        builder.class_map.index(name)
    paths = draw(
        st.lists(
            st.tuples(st.sampled_from(["", "cam 1/", "Kamera ä/день/"]), STEMS, st.sampled_from(suffixes)),
            max_size=max_frames,
            unique_by=lambda p: "".join(p).casefold(),
        )
    )
    for number, (folder, stem, suffix) in enumerate(paths, 1):
        width, height = draw(st.sampled_from([(64, 48), (33, 57)]))
        source = draw(TAG_VALUES)
        sequence = draw(TAG_VALUES)
        row = builder.add_image(
            f"{folder}{stem}{suffix}",
            (width, height),
            image_id=number * draw(st.sampled_from([1, 1000])) if number == 1 else number,
            frame_index=draw(st.integers(-1, 500)),
            conditions=draw(st.lists(st.sampled_from(["fog", "rain", "haze"]), unique=True)),
            annotation_file="original.json",
            labels={
                "source": source,
                "sequence": f"{source}/{sequence}" if source and sequence else sequence,
                "scene": draw(st.sampled_from([None, "port", "berthing"])),
                "split": draw(split),
                "camera": draw(TAG_VALUES),
            },
        )
        for _ in range(draw(st.integers(0, 4))):
            x1, y1, x2, y2 = draw(boxes(width, height, whole=draw(st.booleans())))
            crowd = draw(st.booleans())
            builder.add_box(
                row,
                (x1, y1, x2, y2),
                draw(st.sampled_from(classes)),
                area=draw(st.one_of(st.none(), st.floats(0, 1e4))),
                ignore=crowd or draw(st.booleans()),
                crowd=crowd,
                labels={"orig_class": draw(TAG_VALUES)},
            )
    builder.info.update(info={"description": "made up", "year": 2026}, licenses=[{"id": 1, "name": "none"}])
    if draw(st.booleans()):
        builder.info["category_ids"] = [7 + 3 * i for i in range(len(classes))][::-1]
    return builder.build()


def write_images(dataset: Dataset) -> None:
    """A plain picture of the right size for every frame; its grey level tells the row (see row_of)."""
    for row in range(len(dataset)):
        file = dataset.image_file(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        width, height = dataset.size_wh[row].tolist()
        ok, data = cv2.imencode(file.suffix, np.full((height, width, 3), 10 + 20 * row, np.uint8))
        assert ok
        file.write_bytes(data.tobytes())


def row_of(dataset: Dataset, row: int) -> int:
    """Row that a frame had when write_images wrote its picture, whatever its name is now."""
    return round((dataset.read_image(row).mean() - 10) / 20)


def assert_same_frames(back: Dataset, dataset: Dataset, *, ignored: bool = True, atol: float = 0.0) -> dict[int, int]:
    """Each picture comes with the boxes and classes that it had. Returns {row in dataset: row in back}.

    ``ignored`` says whether the format keeps ignored boxes.
    """
    rows = {row_of(back, row): row for row in range(len(back))}
    assert sorted(rows) == list(range(len(dataset))) and len(back) == len(dataset)
    for row, new in rows.items():
        kept = [b for b in range(*_rows(dataset, row)) if ignored or not dataset.ignore[b]]
        found = list(range(*_rows(back, new)))
        np.testing.assert_array_equal(back.size_wh[new], dataset.size_wh[row])
        np.testing.assert_allclose(back.xyxy[found], dataset.xyxy[kept], rtol=0, atol=atol)
        expected = [dataset.category_names[i] for i in dataset.category[kept]]
        assert [back.category_names[i] for i in back.category[found]] == expected
    return rows


def _rows(dataset: Dataset, row: int) -> tuple[int, int, int]:
    return dataset.box_rows(row).indices(dataset.box_count)
