"""The split file: which frame is in which split, by which rule, with a digest that notices edits.

    {"schema": "wutdet.splits/1", "digest": "...", "data": "...", "rule": {...},
     "splits": {"train": ["JPEGImages/0000000.jpg", ...], "val": [...], "test": [...]},
     "sequences": {"block-000000": "train", ...}, "left_out": [...]}

Paths are relative to the data set's root. The digest is BLAKE2b-128 of ``rule``, ``splits``, ``sequences`` and
``left_out`` as JSON with sorted keys, so it does not depend on where the data lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError
from wutdet.files import write_json

SCHEMA = "wutdet.splits/1"
_DIGESTED = ("rule", "splits", "sequences", "left_out")


@dataclass(frozen=True)
class SplitFile:
    """Content of a split file.

    Attributes:
        splits: image paths by split.
        sequences: split by sequence.
        left_out: image paths that are in no split, because they repeat a frame of another split.
        rule: how the split was made.
        data: what was split, as it was named.
    """

    splits: Mapping[str, list[str]]
    sequences: Mapping[str, str]
    left_out: list[str]
    rule: Mapping
    data: str

    @classmethod
    def of(cls, dataset: Dataset, parts: tuple[str, ...], data: str, rule: Mapping) -> SplitFile:
        """From a data set with sequence and split labels."""
        codes = np.asarray(dataset.split.codes)
        paths = list(dataset.path)
        by_part = {
            name: sorted(paths[row] for row in np.flatnonzero(dataset.split.is_(name)).tolist()) for name in parts
        }
        first = np.unique(np.asarray(dataset.sequence.codes)[codes >= 0], return_index=True)
        rows = np.flatnonzero(codes >= 0)[first[1]]
        sequences = {dataset.sequence[row]: dataset.split[row] for row in rows.tolist()}
        left_out = sorted(paths[row] for row in np.flatnonzero(codes < 0).tolist())
        return cls(by_part, dict(sorted(sequences.items())), left_out, rule, data)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits."""
        text = json.dumps({key: getattr(self, key) for key in _DIGESTED}, sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def write_split_file(file: str | Path, content: SplitFile) -> None:
    """Writes atomically."""
    write_json(
        file,
        {
            "schema": SCHEMA,
            "digest": content.digest,
            "data": content.data,
            "rule": dict(content.rule),
            "splits": dict(content.splits),
            "sequences": dict(content.sequences),
            "left_out": content.left_out,
        },
    )


def is_split_file(file: Path) -> bool:
    """Whether a file begins as split files do: readers of JSON layouts pass over it. False where it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return SCHEMA.encode() in opened.read(64)
    except OSError:
        return False


def read_split_file(file: str | Path) -> SplitFile:
    """Reads and checks a split file.

    Raises:
        DataError: missing, not JSON, not a split file, or changed by hand (the digest does not fit).
    """
    file = Path(file)
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the split file ({error.strerror})", file=file) from error
    except UnicodeDecodeError as error:
        raise DataError("not a split file (not UTF-8 text)", file=file) from error
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"not a split file: 'schema' is {schema!r}, not '{SCHEMA}'", file=file, hint="make one: wutdet data split"
        )
    try:
        split_file = SplitFile(
            {name: [str(path) for path in paths] for name, paths in content["splits"].items()},
            dict(content["sequences"]), list(content.get("left_out", [])), dict(content["rule"]), str(content["data"]),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"the split file lacks or garbles a field ({error})", file=file) from error
    if split_file.digest != content.get("digest"):
        raise DataError(
            f"the digest is {content.get('digest')}, its content gives {split_file.digest}: edited or damaged",
            file=file,
            hint="make it again with 'wutdet data split', or take the original file",
        )
    return split_file


def apply_split(dataset: Dataset, file: str | Path) -> Dataset:
    """The data set with the split labels of a split file, and with the sequences that the split was made by.

    Frames that were left out of the split get no label. The file may list more frames than the data set has (a part of
    what was split).

    Raises:
        DataError: the file cannot be used (see read_split_file), or does not list every frame of the data set.
    """
    from wutdet.dataset.sequences import with_sequences

    content = read_split_file(file)
    part_of = dict.fromkeys(content.left_out)
    for name, paths in content.splits.items():
        part_of.update(dict.fromkeys(paths, name))
    unknown = [path for path in dataset.path if path not in part_of]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(dataset)} frames of '{dataset.name or dataset.root}' are not in the split file, "
            f"first: '{unknown[0]}'",
            file=file,
            hint=f"if the set has grown: wutdet data split DATA --base {file} --out NEW.json",
        )
    names = tuple(content.splits)
    codes = [-1 if part_of[path] is None else names.index(part_of[path]) for path in dataset.path]
    labelled = dataset.with_labels(split=LabelColumn(np.array(codes, dtype=np.int32), names))
    return with_sequences(labelled, max(int(content.rule.get("block", 1)), 1))
