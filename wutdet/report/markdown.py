"""Markdown (GitHub's) of what a report says: text that stays text, tables, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wutdet.report.markup import FORBIDDEN

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def md_text(text: object) -> str:
    """One line of text in which nothing is markup."""
    line = " ".join(FORBIDDEN.sub("\ufffd", str(text)).split())
    return _SPECIAL.sub(r"\\\1", line)


def md_table(heads: Sequence[str], numbers: Sequence[bool], rows: Iterable[Sequence[object]]) -> str:
    """A table; ``numbers`` says which columns are right-aligned; None becomes a dash."""
    lines = [
        "| " + " | ".join(md_text(head) for head in heads) + " |",
        "| " + " | ".join("---:" if number else "---" for number in numbers) + " |",
    ]
    lines += ["| " + " | ".join("–" if cell is None else md_text(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def md_list(entries: Iterable[str]) -> str:
    """A list with one line per entry."""
    return "\n".join(f"- {md_text(entry)}" for entry in entries)
