"""Activations that share one int8 scale, and what that costs them.

With one scale for the inputs and the output of a concatenation, an engine joins them as plain bytes, without
requantising; with one for those of an addition, it adds codes. The price: a tensor of a small range spends its 256
levels on the range of its largest neighbour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

#: Operators that move values and do not change them.
MOVERS = ("Slice", "Split", "Reshape", "Transpose", "MaxPool", "Resize")


def tied_groups(model: onnx.ModelProto, skip: Collection[str], joins: Sequence[str]) -> list[list[str]]:
    """Groups of two and more tensors that must share one scale, in the order of the graph.

    Args:
        model: float graph.
        skip: names of nodes that stay float.
        joins: operators whose inputs and outputs are tied, ``Concat`` or ``Add``. What only moves values ties its
            input and outputs always. Constants are never tied.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in model.graph.node:
        if node.name in skip:
            continue
        if node.op_type in joins:
            tied = [name for name in (*node.input, *node.output) if name not in constants]
        elif node.op_type in MOVERS:
            tied = [node.input[0], *node.output]
        else:
            continue
        for name in tied[1:]:
            parent[find(name)] = find(tied[0])
    groups: dict[str, list[str]] = defaultdict(list)
    for name in list(parent):
        groups[find(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def tie_ranges(
    ranges: Mapping[str, tuple[float, float]], groups: Sequence[Sequence[str]]
) -> dict[str, tuple[float, float]]:
    """The ranges with one common range, that of all members, for each group. Other tensors keep theirs."""
    tied = dict(ranges)
    for group in groups:
        known = [ranges[name] for name in group if name in ranges]
        if known:
            common = (min(low for low, _ in known), max(high for _, high in known))
            tied |= dict.fromkeys(group, common)
    return tied


@dataclass(frozen=True, eq=False)
class TieCost:
    """One row per tensor that is in a group and has a range.

    Attributes:
        tensors: names, [T].
        group: int64 [T], number of the tensor's group.
        own, common: float64 [T, 2], lowest and highest value of the tensor and of its group. Zero is in both, as 8-bit
            codes need it.
    """

    tensors: tuple[str, ...]
    group: np.ndarray
    own: np.ndarray
    common: np.ndarray

    @property
    def bits_lost(self) -> np.ndarray:
        """float64 [T], log2 of common over own width; 0 for a tensor that holds nothing but zeros."""
        own, common = np.ptp(self.own, axis=1), np.ptp(self.common, axis=1)
        return np.log2(np.where(own > 0, common, 1) / np.where(own > 0, own, 1))

    @property
    def worst(self) -> float:
        """Bits, of the tensor that loses most; 0 where nothing is tied."""
        return float(self.bits_lost.max(initial=0.0))

    @property
    def mean(self) -> float:
        """Bits, over the tied tensors; 0 where nothing is tied."""
        return float(self.bits_lost.mean()) if self.tensors else 0.0

    def to_text(self, rows: int = 8) -> str:
        """A summary, and the tensors that lose most as lines."""
        groups = len(set(self.group.tolist()))
        lines = [
            f"{len(self.tensors)} tensors share {groups} scales: {self.worst:.2f} bits lost at most, {self.mean:.2f} "
            "on average"
        ]
        for row in np.argsort(-self.bits_lost, kind="stable")[:rows]:
            own, common = self.own[row], self.common[row]
            lines.append(
                f"  {self.bits_lost[row]:.2f} bits: [{own[0]:.3g}, {own[1]:.3g}] in [{common[0]:.3g}, "
                f"{common[1]:.3g}]  {self.tensors[row]}"
            )
        return "\n".join(lines)


def tie_cost(ranges: Mapping[str, tuple[float, float]], groups: Sequence[Sequence[str]]) -> TieCost:
    """How much the common ranges widen each member's own one.

    Args:
        ranges: lowest and highest value of every activation, not tied yet.
        groups: as ``tied_groups`` gives them.
    """
    tied = tie_ranges(ranges, groups)
    rows = [(name, number) for number, group in enumerate(groups) for name in group if name in ranges]

    def with_zero(table: Mapping[str, tuple[float, float]]) -> np.ndarray:
        values = np.array([table[name] for name, _ in rows], dtype=np.float64).reshape(-1, 2)
        return np.stack([np.minimum(values[:, 0], 0), np.maximum(values[:, 1], 0)], axis=1)

    numbers = np.array([number for _, number in rows], dtype=np.int64)
    return TieCost(tuple(name for name, _ in rows), numbers, with_zero(ranges), with_zero(tied))
