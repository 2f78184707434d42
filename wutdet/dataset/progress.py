"""A progress bar on stderr around a loop; silent where stderr is no terminal or the loop is short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

#: Loops of fewer steps are over before a bar is of use.
MIN_STEPS = 5000
_STEPS_PER_UPDATE = 256


@contextmanager
def progress_bar(
    title: str, min_steps: int = MIN_STEPS, steps_per_update: int = _STEPS_PER_UPDATE
) -> Iterator[Callable[[Iterable, int], Iterable]]:
    """Yields ``progress(items, total)``, which iterates over ``items`` and draws the bar."""
    if not sys.stderr.isatty():
        yield lambda items, total: items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def progress(items: Iterable, total: int) -> Iterator:
            task = bar.add_task(title, total=total, visible=total >= min_steps)
            for step, item in enumerate(items):
                if step % steps_per_update == 0:
                    bar.update(task, completed=step)
                yield item
            bar.update(task, completed=total)

        yield progress
