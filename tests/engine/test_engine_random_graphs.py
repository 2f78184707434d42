"""The planned program against the interpreter on random networks.

By hand, for long: ``WUTDET_RANDOM_GRAPHS=10000:20000 python -m pytest tests/engine/test_engine_random_graphs.py``.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from engine_models import onnxruntime_session
from random_graphs import random_graph
from wutdet._kernels import Engine

FIRST, LAST = (int(seed) for seed in os.environ.get("WUTDET_RANDOM_GRAPHS", "0:300").split(":"))
BLOCK = 50


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())


def check(seed: int) -> set[str]:
    """Raises where an output is off by more than it may; the kinds of the planned steps."""
    case, tolerances = random_graph(seed)
    data = case.model.SerializeToString()
    interpreter, planned = Engine(data, program="generic"), Engine(data, threads=1 + seed % 2, program="fused")
    wanted, found = interpreter.run(case.feeds), planned.run(case.feeds)
    again = planned.run(case.feeds)
    for name, ours, theirs, later in zip(tolerances, found, wanted, again, strict=True):
        off = difference(ours, theirs)
        assert off <= tolerances[name], f"seed {seed}: output {name} is off by {off}, not {tolerances[name]}"
        np.testing.assert_array_equal(ours, later, err_msg=f"seed {seed}: {name} in a second run")
    return {kind for _, kind, *_ in planned.layers(case.feeds)}


@pytest.mark.parametrize("begin", range(FIRST, LAST, BLOCK))
def test_planned_is_interpreted(begin):
    seeds = range(begin, min(begin + BLOCK, LAST))
    kinds = set().union(*(check(seed) for seed in seeds))
    assert {"conv", "max pool", "upsample", "add", "table"} <= kinds, kinds


@pytest.mark.parametrize("seed", range(10))
def test_interpreted_is_onnxruntime(seed):
    """So that the numbers are right, and not only the same twice."""
    case, tolerances = random_graph(seed)
    data = case.model.SerializeToString()
    feeds = {value.name: feed for value, feed in zip(case.model.graph.input, case.feeds, strict=True)}
    wanted = onnxruntime_session(data, optimise=False).run(list(tolerances), feeds)
    for name, ours, theirs in zip(tolerances, Engine(data, program="generic").run(case.feeds), wanted, strict=True):
        assert difference(ours, theirs) <= tolerances[name], name
