"""Finding: one thing that ``wutdet data audit`` has to say, and what ``--fix`` does about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
#: Gravest first.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

#: What ``--fix`` does, by remedy.
REMEDIES = {
    "skip": "skipped while reading",
    "drop-frame": "frame dropped",
    "drop-box": "box dropped",
    "clip-box": "box clipped to the frame",
    "drop-twins": "the frames of the other split dropped",
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        severity: ``error`` (wrong, or spoils an evaluation), ``warning`` (probably wrong) or ``info``.
        kind: what it is, in a few words joined by ``-``.
        file: the image or annotation file.
        line: 1-based line in ``file``, 0 where unknown or where the format has no lines.
        message: what was found, in one line.
        remedy: key of REMEDIES, or empty where ``--fix`` does nothing.
        frame: row of the frame, -1 where it is not about one.
        box: row of the box, -1 where it is not about one.
    """

    severity: Severity
    kind: str
    file: str
    line: int
    message: str
    remedy: str = ""
    frame: int = -1
    box: int = -1

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    def to_json(self, fixed: bool = False) -> dict:
        """The keys promised for ``data audit``; with ``fixed`` also what was done."""
        content = {key: getattr(self, key) for key in ("severity", "kind", "file", "line", "message")}
        return {**content, "fixed": REMEDIES.get(self.remedy)} if fixed else content
