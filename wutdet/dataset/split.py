"""``wutdet data split``: by sequence, never by frame.

1. Every frame gets a sequence (wutdet.dataset.sequences): its own id, or a block of frame numbers, or itself.
2. Every sequence gets a split:
   - a sequence that the BASE split file lists keeps its split;
   - a block of frame numbers gets the split that its number and the seed give (``balance.split_of_block``), so that
     WUTDet's Part A and the later full set, whose frames lie between, are split alike with no file passed on;
   - all others are dealt out so that frames, scenes, conditions and box sizes are balanced (``balance.balance``), after
     sequences that show the same picture or the same objects have been joined. So are blocks where scene or
     condition tags are to be balanced, or where there are too few of them to give every split one; such a split stays
     the same for a larger set only with ``--base``.
3. A frame that is a near duplicate of a frame in a later split (train, val, test in this order) is left out. After
   joining that concerns only frames at the borders of blocks. Links never move a block: the full set has links that
   Part A cannot show (its frames 999 and 1000 are a second apart, Part A's 980 and 1000 twenty), and a block that
   changed its split would make every detector trained on Part A a leak.

So no frame of the full set is in another split than Part A's frames of the same block, and old val and test frames stay
free of twins in the new training split.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.config import SplitConfig
from wutdet.dataset.balance import balance, cycle_length, group_features, split_of_block
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.leaks import LeakRate, leak_rate
from wutdet.dataset.load import load_dataset
from wutdet.dataset.pictures import READABLE, scan_pictures
from wutdet.dataset.sequences import NO_BLOCK, block_number, linked_sequences, with_sequences
from wutdet.dataset.split_file import SplitFile, apply_split, read_split_file, write_split_file
from wutdet.dataset.write_description import description_file, write_description
from wutdet.errors import DataError, UsageError

log = logging.getLogger(__name__)

__all__ = ["SplitResult", "apply_split", "parse_parts", "run", "split_dataset"]


@dataclass(frozen=True)
class SplitResult:
    """What ``wutdet data split`` did.

    Attributes:
        splits: frames per split.
        sequences: sequences per split.
        boxes: boxes per split.
        left_out: frames left out because they repeat a frame of another split.
        leaks: the leak rate of the result.
        digest: of the split file.
        file: the split file.
        description: data description that names the data and the split file; what other commands take as DATA.
    """

    splits: Mapping[str, int]
    sequences: Mapping[str, int]
    boxes: Mapping[str, int]
    left_out: int
    leaks: LeakRate
    digest: str
    file: Path
    description: Path

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.split/1",
            "splits": dict(self.splits),
            "sequences": dict(self.sequences),
            "boxes": dict(self.boxes),
            "left_out": self.left_out,
            "leak_rate": self.leaks.rate,
            "leaks": self.leaks.to_json(),
            "digest": self.digest,
            "file": str(self.file),
            "description": str(self.description),
        }

    def to_text(self) -> str:
        total = max(sum(self.splits.values()), 1)
        lines = [f"{'split':10} {'frames':>8} {'share':>6} {'sequences':>9} {'boxes':>8}"]
        for name, frames in self.splits.items():
            share = f"{frames / total:.1%}"
            lines.append(f"{name:10} {frames:8} {share:>6} {self.sequences[name]:9} {self.boxes[name]:8}")
        if self.left_out:
            lines.append(f"{self.left_out} frames left out: they repeat a frame of another split")
        lines += [
            self.leaks.to_text(),
            f"written: {self.file} (digest {self.digest}); the data with these splits: {self.description}",
            f"next: wutdet train {shlex.quote(str(self.description))}",
        ]
        return "\n".join(lines)


def parse_parts(text: str) -> dict[str, float]:
    """Shares by split name, summing to 1, from ``"train=0.7,val=0.15,test=0.15"`` (any positive numbers).

    Raises:
        UsageError: not of this form, a name twice, a share that is not positive, or only one split.
    """
    shares: dict[str, float] = {}
    for pair in text.split(","):
        name, _, number = (word.strip() for word in pair.partition("="))
        try:
            share = float(number)
        except ValueError:
            share = float("nan")
        if not name or not 0 < share < float("inf") or name in shares:
            raise UsageError(
                f"--parts has the entry '{pair}', which is not 'name=share' with a new name and a share above 0",
                hint="for example --parts train=0.7,val=0.15,test=0.15",
            )
        shares[name] = share
    if len(shares) < 2:
        raise UsageError(f"--parts '{text}' names one split only", hint="for example --parts train=0.8,val=0.2")
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def run(config: SplitConfig) -> SplitResult:
    """Splits a data set, writes the split file, and beside it a data description that names both.

    Raises:
        DataError: the data set cannot be loaded, or has fewer sequences than splits.
        UsageError: impossible shares, a block size below 1, or the description's place is taken.
    """
    out = Path(config.out)
    description, is_new = description_file(out, config.data, config.format)
    dataset = load_dataset(config.data, format=config.format, classes=config.classes, splits=False)
    base = None if config.base is None else read_split_file(config.base)
    pictures = scan_pictures(dataset) if config.links and len(dataset) else None
    if pictures is not None and (bad := int((pictures["status"] != READABLE).sum())):
        log.warning("%d of %d pictures cannot be read and are not compared; see 'wutdet data audit'", bad, len(dataset))
    labelled, rule = split_dataset(dataset, config, base, pictures)
    leaks = leak_rate(
        labelled, against=next(iter(rule["parts"])), near_distance=config.link_distance,
        pixels=pictures is not None, pictures=pictures,
    )  # fmt: skip
    content = SplitFile.of(labelled, tuple(rule["parts"]), data=config.data, rule=rule)
    write_split_file(out, content)
    if is_new:
        name = dataset.name or Path(config.data).resolve().stem
        write_description(description, out, config.data, name, config.format, config.classes)
    codes = np.asarray(labelled.split.codes)
    boxes_per_image = labelled.boxes_per_image()
    names = labelled.split.names
    return SplitResult(
        splits={name: int((codes == code).sum()) for code, name in enumerate(names)},
        sequences={name: len(np.unique(labelled.sequence.codes[codes == code])) for code, name in enumerate(names)},
        boxes={name: int(boxes_per_image[codes == code].sum()) for code, name in enumerate(names)},
        left_out=int((codes < 0).sum()),
        leaks=leaks,
        digest=content.digest,
        file=out,
        description=description,
    )


def split_dataset(
    dataset: Dataset, config: SplitConfig, base: SplitFile | None = None, pictures: np.ndarray | None = None
) -> tuple[Dataset, dict]:
    """The data set with sequence and split labels (no split label where a frame is left out), and the rule used.

    Args:
        dataset: to split; splits that it has already are not looked at.
        config: parts, seed, block, link_distance, stratify are used.
        base: decisions to keep.
        pictures: PICTURE [M] for links; ``None`` means no links.

    Raises:
        DataError: fewer sequences than splits.
        UsageError: impossible shares, or a block size below 1.
    """
    parts = parse_parts(config.parts)
    if config.block < 1:
        raise UsageError(f"--block must be at least 1 frame number, received {config.block}")
    if not 0 <= config.link_distance < 128:
        raise UsageError(f"--link-distance must be 0 to 127 bits, received {config.link_distance}")
    blocks = block_number(dataset, config.block)
    kinds = _kinds_of_sequences(dataset, blocks)
    dataset = with_sequences(dataset, config.block)
    sequence = np.asarray(dataset.sequence.codes, dtype=np.int64)
    count = len(dataset.sequence.counts())
    if count < len(parts):
        raise _too_few(dataset, count, parts, bool((blocks != NO_BLOCK).any()), config.block)
    fixed = _fixed_by_base(dataset, parts, base)
    by_number = _numbers_decide(dataset, blocks, sequence, fixed, parts, config)
    if by_number:
        rows, first = np.unique(sequence, return_index=True)
        names = list(parts)
        for code, row in zip(rows, first, strict=True):
            if fixed[code] < 0 and blocks[row] != NO_BLOCK:
                fixed[code] = names.index(split_of_block(int(blocks[row]), parts, config.seed))
    group = np.arange(len(dataset.sequence.names), dtype=np.int64)
    if pictures is not None and (fixed[np.unique(sequence)] < 0).any():
        group = linked_sequences(dataset, pictures, config.link_distance)
    part_of_sequence = _deal_out(dataset, sequence, group, fixed, parts, config)
    split = part_of_sequence[sequence]
    if pictures is not None:
        split = _leave_out_twins(dataset, split, len(parts), pictures, config.link_distance)
    if len(missing := set(range(len(parts))) - set(split.tolist())):
        names = ", ".join(f"'{name}'" for code, name in enumerate(parts) if code in missing)
        raise DataError(
            f"no frames are left for {names}: {count} sequences in {len(np.unique(group[sequence]))} groups of linked "
            f"sequences for {len(parts)} splits",
            hint="ask for fewer splits (--parts train=0.8,val=0.2), or link less (--link-distance)",
        )
    rule = {
        "sequences": kinds,
        "blocks_by_number": by_number,
        "block": config.block,
        "parts": parts,
        "seed": config.seed,
        "stratify": config.stratify,
        "links": pictures is not None,
        "link_distance": config.link_distance,
        "base": None if base is None else base.digest,
    }
    return dataset.with_labels(split=LabelColumn(split.astype(np.int32), tuple(parts))), rule


def _too_few(dataset: Dataset, count: int, parts: Mapping, blocks: bool, block: int) -> DataError:
    what = f"sequences (blocks of {block} frame numbers)" if blocks else "sequences"
    hint = f"use smaller blocks (--block {max(block // 10, 1)})" if blocks else "ask for fewer splits"
    return DataError(
        f"{count} {what} in {len(dataset)} frames are too few for {len(parts)} splits ({', '.join(parts)}); "
        "frames of one sequence stay together",
        file=dataset.root,
        hint=f"{hint}, or name sequences in the data set (sequence_id)",
    )


def _kinds_of_sequences(dataset: Dataset, blocks: np.ndarray) -> list[str]:
    """How the sequences of a data set are found: "ids", "blocks", "single frames"."""
    given = np.asarray(dataset.sequence.codes) >= 0
    kinds = {"ids": given, "blocks": blocks != NO_BLOCK, "single frames": ~given & (blocks == NO_BLOCK)}
    return [kind for kind, rows in kinds.items() if rows.any()]


def _fixed_by_base(dataset: Dataset, parts: Mapping[str, float], base: SplitFile | None) -> np.ndarray:
    """int64 [number of sequences]: split that the base file gives each sequence, -1 where it gives none."""
    fixed = np.full(len(dataset.sequence.names), -1, dtype=np.int64)
    if base is None:
        return fixed
    names = list(parts)
    if unknown := sorted(set(base.sequences.values()) - set(names)):
        raise UsageError(
            f"the base split file has the split '{unknown[0]}', --parts has {names}",
            hint="use the same --parts as for the base file",
        )
    for code, name in enumerate(dataset.sequence.names):
        if name in base.sequences:
            fixed[code] = names.index(base.sequences[name])
    if not (fixed >= 0).any():
        raise DataError(
            "the base split file knows none of the sequences of this data set",
            hint=f"it lists for example '{next(iter(base.sequences), '')}'; this set has '{dataset.sequence.names[0]}'",
        )
    return fixed


def _numbers_decide(dataset, blocks, sequence, fixed, parts, config) -> bool:
    """Whether blocks get their split from their number alone; says so in the log where they do not."""
    derived = blocks != NO_BLOCK
    if not derived.any():
        return False
    tagged = (np.asarray(dataset.scene.codes)[derived] >= 0).any() or np.asarray(dataset.conditions)[derived].any()
    if config.stratify and tagged:
        log.info("blocks are balanced over scenes and conditions; keep the split file and pass it as --base when the "
                 "data set grows")  # fmt: skip
        return False
    got = {split_of_block(int(number), parts, config.seed) for number in np.unique(blocks[derived])}
    names = list(parts)
    got |= {names[part] for part in fixed[np.unique(sequence)] if part >= 0}
    if got != set(names) and derived.all():
        log.info(
            "%d blocks of %d frame numbers are too few to go by number alone (%d are enough); they are balanced: keep "
            "the split file and pass it as --base when the data set grows",
            len(np.unique(blocks[derived])), config.block, 2 * cycle_length(parts),
        )  # fmt: skip
        return False
    return True


def _deal_out(dataset, sequence, group, fixed, parts, config) -> np.ndarray:
    """int64 [number of sequences]: the split of each; groups of linked sequences stay together where ``fixed`` lets
    them (a group that holds sequences of two fixed splits follows the one with more frames there)."""
    frames = np.bincount(sequence, minlength=len(fixed)).astype(np.float64)
    votes = np.zeros((len(fixed), len(parts)))
    given = np.flatnonzero(fixed >= 0)
    np.add.at(votes, (group[given], fixed[given]), np.maximum(frames[given], 0.5))
    group_fixed = np.where(votes.any(axis=1), votes.argmax(axis=1), -1)
    used, row_group = np.unique(group[sequence], return_inverse=True)
    features, weights = group_features(dataset, row_group, config.stratify)
    dealt = np.full(len(fixed), -1, dtype=np.int64)
    dealt[used] = balance(features, weights, list(parts.values()), config.seed, group_fixed[used])
    return np.where(fixed >= 0, fixed, dealt[group])


def _leave_out_twins(dataset, split, part_count: int, pictures, link_distance: int) -> np.ndarray:
    """``split`` with -1 for frames that repeat a frame of a later split."""
    split = split.copy()
    for part in range(part_count - 1):
        later = np.where(split == part, 0, np.where(split > part, 1, -1)).astype(np.int32)
        labelled = dataset.with_labels(split=LabelColumn(later, ("part", "later")))
        leaks = leak_rate(labelled, against="later", splits=["part"], near_distance=link_distance, pictures=pictures)
        leaked = leaks.splits["part"]
        twin = leaked.leaked("exact") | leaked.leaked("near") | leaked.leaked("objects")
        split[leaked.rows[twin]] = -1
    return split
