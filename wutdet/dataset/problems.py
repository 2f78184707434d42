"""What a reader does when it meets something wrong: raise at once, or note it and go on (``wutdet data audit``)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wutdet.errors import DataError


class Problem(NamedTuple):
    """One thing wrong in the annotations.

    Attributes:
        kind: one of ``KINDS``.
        file: the file at fault.
        line: 1-based, 0 where unknown or where the format has no lines.
        message: what was wrong and what was found, in one line.
    """

    kind: str
    file: str
    line: int
    message: str


#: Every kind a reader reports, and what the reader does about it when it goes on.
KINDS = {
    "unreadable-annotation": "the file is skipped",
    "missing-field": "the frame or box is skipped",
    "bad-value": "the frame or box is skipped",
    "missing-image": "the frame is skipped",
    "unreadable-image": "the frame is skipped",
    "missing-annotation": "the image is skipped",
    "duplicate-image": "the second entry is skipped",
    "duplicate-id": "the second entry is skipped",
    "dangling-id": "the box or list entry is skipped",
    "unknown-class": "the box is skipped",
    "non-finite-box": "the box is skipped",
    "inverted-box": "the box is skipped",
    "not-a-box": "the shape is skipped",
}


class ProblemSink:
    """Where readers report problems.

    Args:
        problems: list that takes Problem tuples; ``None`` makes every report raise.
    """

    def __init__(self, problems: list | None = None):
        self.problems = problems

    @property
    def lenient(self) -> bool:
        return self.problems is not None

    def report(self, kind: str, message: str, *, file: str | Path, line: int = 0, hint: str = "") -> None:
        """Notes a problem, so that the reader skips what is at fault.

        Raises:
            DataError: this sink has no list.
        """
        assert kind in KINDS, kind
        if self.problems is None:
            raise DataError(message, file=file, line=line, hint=hint or "'wutdet data audit' lists all such places")
        self.problems.append(Problem(kind, str(file), line, message))
