"""``wutdet data merge``: several data sets as one COCO set, in which no picture is there twice.

In this order:

1. Every part is read with its own class map and then CLASSES; every frame gets a source (its own, else the part's name)
   and a sequence (its own, else a block of frame numbers or itself; see wutdet.dataset.sequences), and the part's name
   as label ``part``.
2. Frames whose picture cannot be read are left out, since they can be compared with nothing.
3. Frames with a twin in one of the WITHOUT sets are left out: exact, near, or the same boxes in the same places.
4. Of frames that repeat one another, the first one stays: parts in the order named, frames in the order of their part.

A frame that is left out takes its boxes with it. It is counted once, under the first of these reasons and the strictest
kind of twin. Frames without ships stay. What was done is kept in the ``info`` of the COCO file.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import wutdet
from wutdet.config import MergeConfig
from wutdet.dataset.audit import together
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.convert import convert, refuse_own_source
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.describe import find_description
from wutdet.dataset.load import load_dataset
from wutdet.dataset.pictures import READABLE, scan_pictures
from wutdet.dataset.sequences import with_sequences
from wutdet.dataset.several import evaluation_frames, unique_names
from wutdet.dataset.twins import TWIN_KINDS, check_near_distance, repeated_frames, seen_in_training
from wutdet.dataset.writing import Loss
from wutdet.errors import DataError, UsageError

log = logging.getLogger(__name__)

SCHEMA = "wutdet.data.merge/1"


@dataclass(frozen=True, eq=False)
class Part:
    """One of the data sets.

    Attributes:
        name: short, unique among the parts.
        given: as the user named it.
        dataset: its frames, with source, sequence and the label ``part``.
        pictures: PICTURE [M].
        digest: of pictures and boxes, see ``frames_digest``.
        origin: title, licence and home out of its description, COCO ``info`` and ``licenses``, where there are any.
    """

    name: str
    given: str
    dataset: Dataset
    pictures: np.ndarray
    digest: str
    origin: Mapping


@dataclass(frozen=True)
class MergeResult:
    """What ``wutdet data merge`` did.

    Attributes:
        out: the folder written.
        frames, boxes, empty_frames: of the result.
        parts: ``{"name", "given", "digest", "frames", "boxes", "frames_kept", "boxes_kept", "unreadable"}`` per part.
        without: ``{"name", "given", "digest", "frames"}`` per training set.
        removed: ``{"kind", "part", "twin_in", "training", "frames"}``: frames of ``part`` left out, by kind and by
            where the twin is: in a part, or (``training``) in a WITHOUT set.
        options: what decides the result besides the parts.
        digest: of the result's pictures and boxes; the same on every machine that rebuilds it from the same parts.
        losses: what COCO could not hold.
    """

    out: Path
    frames: int
    boxes: int
    empty_frames: int
    parts: Sequence[Mapping]
    without: Sequence[Mapping]
    removed: Sequence[Mapping]
    options: Mapping
    digest: str
    losses: Sequence[Loss]

    @property
    def removed_frames(self) -> int:
        """Frames left out as duplicates of anything."""
        return sum(row["frames"] for row in self.removed)

    def removed_by_kind(self) -> dict[str, int]:
        """Frames left out, by kind of twin."""
        counts = dict.fromkeys(TWIN_KINDS, 0)
        for row in self.removed:
            counts[row["kind"]] += row["frames"]
        return counts

    def to_json(self) -> dict:
        """JSON-compatible values; without ``out`` and ``losses`` it is also what the COCO file keeps."""
        return {
            "schema": SCHEMA,
            "out": str(self.out),
            **self.provenance(),
            "losses": [{"what": loss.what, "count": loss.count, "of": loss.of} for loss in self.losses],
        }

    def provenance(self) -> dict:
        """How the result was made; but for ``given``, the same wherever it is made."""
        return {
            "frames": self.frames,
            "boxes": self.boxes,
            "empty_frames": self.empty_frames,
            "digest": self.digest,
            "parts": [dict(part) for part in self.parts],
            "without": [dict(part) for part in self.without],
            "removed": [dict(row) for row in self.removed],
            "removed_frames": self.removed_frames,
            "removed_by_kind": self.removed_by_kind(),
            "options": dict(self.options),
        }

    def to_text(self) -> str:
        """What went in, what was left out and why, what came out."""
        width = max(12, *(len(row["name"]) for row in [*self.parts, *self.without]))
        lines = [f"{'part':{width}} {'frames':>8} {'boxes':>8} {'kept':>8} {'boxes':>8}  digest"]
        for part in self.parts:
            lines.append(
                f"{part['name']:{width}} {part['frames']:8} {part['boxes']:8} {part['frames_kept']:8} "
                f"{part['boxes_kept']:8}  {part['digest']}"
                + (f"  ({part['unreadable']} unreadable, left out)" if part["unreadable"] else "")
            )
        lines += [
            f"{row['name']:{width}} {row['frames']:8} frames of training data to keep clear of" for row in self.without
        ]
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.removed_by_kind().items())
        lines.append(f"{self.removed_frames} frames removed: {kinds}")
        for row in self.removed:
            if row["training"]:
                what = f"in training set {row['twin_in']}"
            else:
                what = "inside it" if row["twin_in"] == row["part"] else f"in {row['twin_in']}"
            lines.append(f"  {row['frames']:6} {row['kind']:8} of {row['part']}: twin {what}")
        lines += [f"COCO could not hold: {loss}" for loss in self.losses]
        lines.append(
            f"{self.frames} frames ({self.empty_frames} without ships), {self.boxes} boxes: {self.out} "
            f"(digest {self.digest})"
        )
        return "\n".join(lines)


def run(config: MergeConfig) -> MergeResult:
    """Runs ``wutdet data merge``.

    Raises:
        DataError: a part cannot be read, has no such split, or nothing is left.
        UsageError: no part, a part named twice, an impossible distance, or a target folder that holds something else
            or a part.
        WutdetError: the target cannot be written; what was there before is untouched.
    """
    check_near_distance(config.near_distance)
    if not config.data:
        raise UsageError("no data sets to merge", hint="wutdet data merge PART PART --out DIR")
    names = unique_names([*config.data, *config.without], config.format)
    parts = [_load_part(given, names[given], config) for given in config.data]
    training = [_load_training(given, names[given], config) for given in config.without]
    for part in [*parts, *training]:
        refuse_own_source(config.out, part.dataset, Path(part.given))
    dataset, origin = together([part.dataset for part in parts])
    pictures = np.concatenate([part.pictures for part in parts])
    removed, keep = _choose(dataset, origin, pictures, parts, training, config)
    if not keep.any():
        raise DataError(
            f"all {len(dataset)} frames are duplicates or unreadable; nothing was written",
            hint="is one of the parts among the --without sets?",
        )
    merged = dataset.select(keep)
    merged = replace(
        merged, image_id=np.arange(1, len(merged) + 1, dtype=np.int64), name="+".join(p.name for p in parts)
    )
    if config.as_split is not None:
        merged = merged.with_labels(split=LabelColumn.constant(len(merged), config.as_split))
    result = MergeResult(
        out=Path(config.out),
        frames=len(merged),
        boxes=merged.box_count,
        empty_frames=int((merged.boxes_per_image() == 0).sum()),
        parts=[_facts(part, dataset, origin == index, keep) for index, part in enumerate(parts)],
        without=[{"name": p.name, "given": p.given, "digest": p.digest, "frames": len(p.dataset)} for p in training],
        removed=removed,
        options={
            "classes": config.classes, "split": config.split, "as_split": config.as_split, "inside": config.inside,
            "near_distance": config.near_distance, "block": config.block,
        },
        digest=frames_digest(merged, pictures[keep]),
        losses=(),
    )  # fmt: skip
    info = {
        "description": f"{merged.name}, merged by wutdet data merge",
        "wutdet_version": wutdet.__version__,
        "merge": result.provenance(),
    }
    written = convert(replace(merged, info={"info": info}), config.out, "coco", config.images)
    return replace(result, losses=tuple(written.losses))


def frames_digest(dataset: Dataset, pictures: np.ndarray) -> str:
    """32 hexadecimal digits: BLAKE2b-128 of every picture's content with its boxes and their classes.

    Neither the order of the frames nor their names and places matter.
    """
    order = np.lexsort(
        (dataset.crowd, dataset.ignore, *np.asarray(dataset.xyxy).T, dataset.category, dataset.box_image)
    )
    stops = np.cumsum(dataset.boxes_per_image())
    xyxy = np.ascontiguousarray(np.asarray(dataset.xyxy)[order], dtype="<f8")
    flags = np.stack([dataset.ignore, dataset.crowd], axis=1)[order].astype(np.uint8)
    category = np.asarray(dataset.category)[order]
    frames = []
    for row, stop in enumerate(stops.tolist()):
        start = int(stops[row - 1]) if row else 0
        record = hashlib.blake2b(pictures["digest"][row].tobytes(), digest_size=16)
        record.update(xyxy[start:stop].tobytes() + flags[start:stop].tobytes())
        record.update("\0".join(dataset.category_names[code] for code in category[start:stop].tolist()).encode())
        frames.append(record.digest())
    return hashlib.blake2b(b"".join(sorted(frames)), digest_size=16).hexdigest()


def _load_part(given: str, name: str, config: MergeConfig) -> Part:
    dataset = load_dataset(given, format=config.format, classes=config.classes)
    dataset = _with_origin(evaluation_frames(dataset, config.split), name, config.block)
    pictures = scan_pictures(dataset)
    description = find_description(Path(given), config.format)
    origin = {} if description is None else {key: getattr(description, key) for key in ("title", "licence", "home")}
    for key in ("info", "licenses"):
        if dataset.info.get(key):
            origin[key] = dataset.info[key]
    if bad := int((pictures["status"] != READABLE).sum()):
        log.warning("%d of %d pictures of '%s' cannot be read and are left out; see 'wutdet data audit'",
                    bad, len(dataset), given)  # fmt: skip
    return Part(
        name, given, dataset, pictures, frames_digest(dataset, pictures), {k: v for k, v in origin.items() if v}
    )


def _load_training(given: str, name: str, config: MergeConfig) -> Part:
    dataset = load_dataset(given, classes=config.classes)
    pictures = scan_pictures(dataset)
    if bad := int((pictures["status"] != READABLE).sum()):
        log.warning(
            "%d of %d pictures of '%s' cannot be read, so nothing is compared with them", bad, len(dataset), given
        )
    return Part(name, given, dataset, pictures, frames_digest(dataset, pictures), {})


def _with_origin(dataset: Dataset, name: str, block: int) -> Dataset:
    """The data set with a source, a sequence that starts with it, and the label ``part`` for every frame."""
    sources = [source or name for source in (dataset.source[row] for row in range(len(dataset)))]
    sequences = [dataset.sequence[row] for row in range(len(dataset))]
    sequences = [
        sequence if sequence is None or sequence.startswith(f"{source}/") else f"{source}/{sequence}"
        for sequence, source in zip(sequences, sources, strict=True)
    ]
    labelled = dataset.with_labels(
        source=LabelColumn.of(sources),
        sequence=LabelColumn.of(sequences),
        part=LabelColumn.constant(len(dataset), name),
    )
    return with_sequences(labelled, block)


def _choose(
    dataset: Dataset,
    origin: np.ndarray,
    pictures: np.ndarray,
    parts: Sequence[Part],
    training: Sequence[Part],
    config: MergeConfig,
) -> tuple[list[dict], np.ndarray]:
    """Rows of ``MergeResult.removed``, and bool [M] which frames stay."""
    keep = pictures["status"] == READABLE
    counts: Counter = Counter()
    for one in training:
        seen = seen_in_training(dataset, pictures, one.dataset, one.pictures, near_distance=config.near_distance)
        for row in np.flatnonzero(seen.any & keep).tolist():
            counts[TWIN_KINDS[seen.kind[row]], parts[origin[row]].name, one.name, True] += 1
        keep &= ~seen.any
    twins = repeated_frames(pictures, origin, near_distance=config.near_distance, inside=config.inside, among=keep)
    for row in np.flatnonzero(twins.any).tolist():
        kept_in = parts[origin[twins.partner[row]]].name
        counts[TWIN_KINDS[twins.kind[row]], parts[origin[row]].name, kept_in, False] += 1
    removed = [
        {"kind": kind, "part": part, "twin_in": twin, "training": is_training, "frames": frames}
        for (kind, part, twin, is_training), frames in counts.items()
    ]
    return removed, keep & ~twins.any


def _facts(part: Part, dataset: Dataset, mine: np.ndarray, keep: np.ndarray) -> dict:
    kept = mine & keep
    return {
        "name": part.name,
        "given": part.given,
        "digest": part.digest,
        "frames": len(part.dataset),
        "boxes": part.dataset.box_count,
        "frames_kept": int(kept.sum()),
        "boxes_kept": int(dataset.boxes_per_image()[kept].sum()),
        "unreadable": int((part.pictures["status"] != READABLE).sum()),
        **part.origin,
    }
