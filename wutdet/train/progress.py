"""One progress bar per epoch on stderr; nothing where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping


class EpochProgress:
    """Shows batches and running losses of the epoch under way."""

    def __init__(self):
        self._bar, self._task = None, None

    def start(self, epoch: int, epochs: int, batches: int) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn(f"epoch {epoch}/{epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=batches, losses="")
        self._bar.start()

    def step(self, losses: Mapping[str, float]) -> None:
        if self._bar is not None:
            text = "  ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items())
            self._bar.update(self._task, advance=1, losses=text)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
