"""ClassMap: a total table from the class names in a file to ours; nothing is renumbered or dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wutdet.errors import DataError, UsageError, suggest


class ClassMap:
    """Maps class names of an annotation file to category indices.

    Three ways to make one:

    - ``ClassMap.keep()``: every class keeps its name, in order of first appearance (or of the file's own list).
    - ``ClassMap.single("ship")``: every class becomes ``ship``.
    - ``ClassMap.table({"ferry": "ship", "buoy": None})``: as written; ``None`` drops the class by name; a class that is
      not in the table is an error.
    """

    def __init__(self, names: Sequence[str], table: Mapping[str, str | None] | None, single: str | None, open_: bool):
        self._names = list(names)
        self._table = None if table is None else dict(table)
        self._single, self._open = single, open_

    @classmethod
    def keep(cls, names: Sequence[str] = ()) -> ClassMap:
        """Every class keeps its name; ``names`` fixes the order of those known beforehand."""
        return cls(names, None, None, True)

    @classmethod
    def only(cls, names: Sequence[str]) -> ClassMap:
        """These classes keep their names; any other is an error."""
        return cls(names, {name: name for name in names}, None, False)

    @classmethod
    def single(cls, name: str = "ship") -> ClassMap:
        """Every class becomes ``name``."""
        return cls([name], None, name, False)

    @classmethod
    def table(cls, table: Mapping[str, str | None]) -> ClassMap:
        """As the table says; ``None`` drops."""
        names = dict.fromkeys(target for target in table.values() if target is not None)
        return cls(list(names), table, None, False)

    @classmethod
    def parse(cls, text: str) -> ClassMap:
        """From the command line: ``"ship"`` (all become ship), ``"keep"``, or ``"ferry=ship,tug=ship,buoy="``.

        Raises:
            UsageError: an empty text, or a pair without ``=``.
        """
        text = text.strip()
        if text == "keep":
            return cls.keep()
        if text and "=" not in text and "," not in text:
            return cls.single(text)
        table: dict[str, str | None] = {}
        for pair in text.split(","):
            name, equals, target = pair.partition("=")
            if not equals or not name.strip():
                raise UsageError(
                    f"class map entry '{pair}' is not 'name=target'",
                    hint="write ferry=ship,buoy= (an empty target drops the class), or one name for all, or keep",
                )
            table[name.strip()] = target.strip() or None
        return cls.table(table)

    @property
    def names(self) -> tuple[str, ...]:
        """Our category names, by index."""
        return tuple(self._names)

    def index(self, class_name: str, *, file: str | Path | None = None, line: int = 0) -> int | None:
        """Category index of a class name in a file, or ``None`` where it is dropped.

        Raises:
            DataError: the class is in no table.
        """
        if self._single is not None:
            return 0
        if self._table is not None:
            if class_name not in self._table:
                raise DataError(
                    f"unknown class '{class_name}'; the class map knows {sorted(self._table)}."
                    f"{suggest(class_name, self._table)}",
                    file=file,
                    line=line,
                    hint=f"map it (--classes '{class_name}=ship,...'), drop it ('{class_name}=,...'), "
                    "or take all as one class (--classes ship)",
                )
            target = self._table[class_name]
            return None if target is None else self._names.index(target)
        if class_name not in self._names:
            self._names.append(class_name)
        return self._names.index(class_name)
