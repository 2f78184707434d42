"""Every error that wutdet raises on purpose, and the exit code each one ends the command line with.

    WutdetError            1   anything that has no better place below
    ├── UsageError         2   a wrong option or argument
    ├── DataError          3   annotations, images, data descriptions
    ├── ModelError         4   checkpoints, weights, artefacts that cannot be read
    ├── ExportError        5   an artefact that could not be made, or that failed its acceptance gate
    └── MissingExtraError  6   an optional dependency that is not installed

A message says what was wrong, what was received and where; ``hint`` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class WutdetError(Exception):
    """Base of all errors a user can cause.

    Args:
        message: what was wrong and what was received, in one line.
        hint: the next step, in one line; printed on a line of its own.
        file: the file at fault.
        line: 1-based line in ``file``; 0 where the format has no lines.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", file: str | Path | None = None, line: int = 0):
        self.message = message
        self.hint = hint
        self.file = None if file is None else str(file)
        self.line = line
        super().__init__(str(self))

    @property
    def where(self) -> str:
        """``file:line``, ``file`` or the empty string."""
        if self.file is None:
            return ""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class UsageError(WutdetError):
    """A wrong option or argument."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """The process was asked to end, as a service is; handled as Ctrl-C is, so that what was finished is kept."""


class DataError(WutdetError):
    """Annotations, images or a data description that cannot be used as they are."""

    exit_code = 3


class ModelError(WutdetError):
    """A checkpoint, state dict or artefact that is missing, broken or of another kind."""

    exit_code = 4


class ExportError(WutdetError):
    """An artefact could not be made, or lost more accuracy than its gate allows."""

    exit_code = 5


class MissingExtraError(WutdetError):
    """The command needs an optional dependency that is not installed."""

    exit_code = 6


@contextmanager
def finished(result) -> Iterator[None]:
    """What fails inside (writing files, at the end of a long command) fails with ``result`` on it.

    The command line prints the result of such an error's ``finished_result`` before the error, so that it is not lost.
    """
    try:
        yield
    except Exception as error:
        error.finished_result = result
        raise


def require(module: str, extra: str):
    """Imports and returns ``module``, or raises MissingExtraError that names the extra to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the package '{module}', which cannot be imported here ({error})",
            hint=f"install the extra: pip install 'wutdet[{extra}]'",
        ) from error


def suggest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the closest of ``known``, or the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
