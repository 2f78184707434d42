"""The metadata of an artefact: one dataclass, written to and read from ONNX ``metadata_props``.

The rule (checked by loading in ultralytics, supervision and others): every value is both valid JSON and a valid Python
literal that mean the same, or a plain text that is neither; flags are 0 or 1, and a false flag inside ``args`` is left
out, because readers test ``args["dynamic"] is False``. ``imgsz`` is a list; ``imgsz_h`` and ``imgsz_w`` are integers
for readers that refuse the list.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wutdet.errors import ModelError, suggest

SCHEMA_VERSION = 1


class _Unparsed:
    """Marks a text that a parser refuses."""


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _Unparsed


def _as_python(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: {[1]: 2}
        return _Unparsed


def encode(value: Any) -> str:
    """One metadata value as text that JSON and Python read alike.

    Raises:
        ValueError: the value holds something that the two languages write differently (True, None, NaN).
    """
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, str):
        parsed = _as_json(value)
        plain = value and value == value.strip() and "\n" not in value
        if plain and parsed is _Unparsed and _as_python(value) is _Unparsed:
            return value
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if _as_python(text) != json.loads(text):
        raise ValueError(f"metadata value {value!r} means different things in JSON and Python")
    return text


def decode(text: str) -> Any:
    """A metadata value from text: JSON, else a Python literal (as other exporters write), else the text itself."""
    value = _as_json(text)
    if value is _Unparsed:
        value = _as_python(text)
    return text if value is _Unparsed else value


@dataclass(frozen=True)
class ArtefactMetadata:
    """What an artefact says of itself.

    Attributes:
        names: category names by index.
        imgsz_hw: height and width of the network input in pixels (of a dynamic file: the one it was made for).
        stride: coarsest stride of the network in pixels.
        end2end: the output is (1, N, 6), no NMS needed; else (1, 4 + categories, anchors).
        args: settings that other readers look at: ``batch``, and ``dynamic`` only where true.
        weight_format: ``fp32``, ``int8``, or the format of packed weights: ``int4``, ``mxfp4``, ``nvfp4``, ``hif4``.
        normalise: range of the input values.
        threshold: the score threshold that this very artefact works best with (maximum F1), where measured.
        max_scale: frames smaller than the input are enlarged at most so many times (wutdet's own letterbox; other
            readers enlarge them to the full input).
        accuracy: measured COCO statistics with their protocol, where measured.
        calibration: split, number of frames, seed, method and digest of the calibration list (int8).
        gate: result of the acceptance gate.
        tiling: the tile policy measured to be best and its overlap, see ``wutdet.runtime.saved_policy``.
        parity: largest differences between the checkpoint and the float graph on a picture.
        extra: keys that wutdet does not know, as read.
    """

    names: tuple[str, ...]
    imgsz_hw: tuple[int, int]
    stride: int = 32
    end2end: bool = False
    task: str = "detect"
    batch: int = 1
    channels: int = 3
    args: Mapping[str, Any] = field(default_factory=lambda: {"batch": 1})
    description: str = ""
    author: str = ""
    version: str = ""
    date: str = ""
    license: str = "unknown"
    docs: str = ""
    schema_version: int = SCHEMA_VERSION
    weight_format: str = "fp32"
    normalise: str = "0-1"
    architecture: str = ""
    source_commit: str = ""
    source_digest: str = ""
    train_data: str = ""
    threshold: float | None = None
    max_scale: float | None = None
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    tiling: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_props(self) -> dict[str, str]:
        """Keys and values of ``metadata_props``; what is unknown is left out."""
        values: dict[str, Any] = {}
        for f in fields(self):
            if f.name not in ("names", "imgsz_hw", "extra"):
                values[f.name] = getattr(self, f.name)
        height, width = self.imgsz_hw
        values |= {
            "names": {str(index): name for index, name in enumerate(self.names)},
            "imgsz": [height, width],
            "imgsz_h": height,
            "imgsz_w": width,
            **self.extra,
        }
        return {key: encode(value) for key, value in values.items() if value not in (None, "", {})}

    @classmethod
    def from_props(cls, props: Mapping[str, str], *, file: str = "") -> ArtefactMetadata:
        """From ``metadata_props``, as written by wutdet or by ultralytics.

        Raises:
            ModelError: ``names`` or the image size is missing or unreadable.
        """
        values = {key: decode(text) for key, text in props.items()}
        hint = "export it again with 'wutdet export' (or ultralytics); the metadata says the classes and the input size"
        names = values.pop("names", None)
        if isinstance(names, Mapping):
            try:
                names = [names[key] for key in sorted(names, key=int)]
            except (TypeError, ValueError) as error:
                raise ModelError(
                    f"the metadata's 'names' must have category numbers as keys, found {list(names)[:5]}",
                    file=file or None,
                    hint=hint,
                ) from error
        if not isinstance(names, (list, tuple)) or not names:
            raise ModelError("the metadata has no 'names': not a detector artefact", file=file or None, hint=hint)
        imgsz = values.pop("imgsz", None)
        height, width = values.pop("imgsz_h", None), values.pop("imgsz_w", None)
        if isinstance(imgsz, int):
            imgsz = [imgsz, imgsz]
        if isinstance(imgsz, (list, tuple)) and len(imgsz) == 2:
            height, width = imgsz
        if not isinstance(height, int) or not isinstance(width, int):
            raise ModelError(f"the metadata has no usable 'imgsz' (found {imgsz!r})", file=file or None, hint=hint)
        known, extra = {}, {}
        types = {f.name: f.type for f in fields(cls)}
        for key, value in values.items():
            if key in types and key not in ("extra", "imgsz_hw"):
                known[key] = props[key] if types[key] == "str" and not isinstance(value, str) else value
            else:
                extra[key] = value
        known["end2end"] = bool(known.get("end2end", False))
        return cls(names=tuple(map(str, names)), imgsz_hw=(height, width), extra=extra, **known)


def category_index(names: Sequence[str], category: str, file: Path) -> int:
    """Index of a category.

    Raises:
        ModelError: the model has no such category.
    """
    if category in names:
        return list(names).index(category)
    raise ModelError(
        f"the model has no category '{category}'.{suggest(category, names)}",
        file=file,
        hint=f"its categories: {', '.join(names[:90])}",
    )
