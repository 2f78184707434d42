"""How fast the low-bit formats encode and decode: native kernels, their NumPy definitions, and copying, in one run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np

from wutdet import _kernels
from wutdet.lowbit import backends
from wutdet.lowbit.layout import channels_of
from wutdet.lowbit.options import options_for
from wutdet.lowbit.tensor import QuantizedTensor

log = logging.getLogger(__name__)

#: Format and its options.
CASES: tuple[tuple[str, dict], ...] = (
    ("hif4", {}),
    ("mxfp4", {"scale_rule": "floor"}),
    ("mxfp4", {"scale_rule": "ceil"}),
    ("nvfp4", {"scaling": "two-level"}),
    ("nvfp4", {"scaling": "block"}),
    ("nvfp4", {"tile": "16x16"}),
    ("hif8", {}),
    ("int8", {}),
    ("int4", {}),
)
#: 64 MiB of float32, beyond the caches; and 4 MiB, within those of the last level.
LARGE, SMALL = (4096, 4096), (256, 4096)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(shape: tuple[int, int], rounds: int = 9, oracle_rounds: int = 3, cases=CASES, seed: int = 0) -> list[dict]:
    """One row per format and thread count; the oracles have one thread.

    All take turns, so that a busy machine slows all of them alike. Copying is ``np.copyto`` between two float32 arrays
    of the same shape, split among as many threads. Native decoding is measured into an array that is there, like
    copying, and into a new one, whose memory the system has to give first, as ``dequantize`` does; beside it,
    copying into a new array.

    Args:
        shape: of the float32 array.
        rounds: turns of the native kernels.
        oracle_rounds: turns of the oracles, among the first of these.
        cases: format and options.
        seed: of the values, normally distributed with sigma 0.32.

    Returns:
        Rows: format, options, mib, threads, runs; ``*_s``: median seconds; ``*_gb_s``: GB (10^9 bytes) of float32 per
        second; ``encode_ratio`` and ``decode_ratio``: the oracle's median over the native one, both as
        ``wutdet.lowbit.backends`` runs them (new arrays); ``decode_of_copy``: copying's median over that of decoding,
        into arrays that are there; ``decode_new_of_copy_new``: the same for new arrays.
    """
    log.info("formats: speed, %d x %d values, %d turns", *shape, rounds)
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(0.32)
    room = np.zeros_like(x)
    work: dict[tuple, Callable[[], object]] = {}
    oracles: dict[tuple, Callable[[], object]] = {}
    counts = sorted({1, cores()})
    pool = ThreadPoolExecutor(max(counts))
    for threads in counts:
        work["copy", threads] = lambda threads=threads: _copy(room, x, pool, threads)
        work["copy new", threads] = lambda threads=threads: _copy(np.empty_like(x), x, pool, threads)
    for index, (format, chosen) in enumerate(cases):
        options = options_for(format, chosen)
        blocks = backends.encode(x, format, options, x.shape, None, "native")
        tensor = QuantizedTensor(format, x.shape, blocks.codes, blocks.scales, blocks.tensor_scale, options)
        for threads in counts:
            work["encode", index, threads] = _encoder(x, format, options, threads)
            work["new", index, threads] = _decoder(tensor, threads, None)
            work["decode", index, threads] = _decoder(tensor, threads, room)
        oracles["encode", index] = lambda f=format, o=options: backends.encode(x, f, o, x.shape, None, "numpy")
        oracles["decode", index] = lambda t=tensor: backends.decode(t, "numpy")
    seconds = _take_turns(work, oracles, rounds, oracle_rounds)
    pool.shutdown()
    rows = []
    for index, (format, chosen) in enumerate(cases):
        for threads in counts:
            row = {
                "encode_s": seconds["encode", index, threads],
                "decode_s": seconds["decode", index, threads],
                "decode_new_s": seconds["new", index, threads],
                "copy_s": seconds["copy", threads],
                "copy_new_s": seconds["copy new", threads],
                "oracle_encode_s": seconds["oracle", "encode", index],
                "oracle_decode_s": seconds["oracle", "decode", index],
            }
            rows.append(
                {
                    "format": format,
                    "options": chosen,
                    "mib": x.nbytes / 2**20,
                    "threads": threads,
                    "runs": rounds,
                    "oracle_runs": oracle_rounds,
                    **{name: round(value, 6) for name, value in row.items()},
                    **{f"{name[:-2]}_gb_s": round(x.nbytes / value / 1e9, 3) for name, value in row.items()},
                    "encode_ratio": round(row["oracle_encode_s"] / row["encode_s"], 1),
                    "decode_ratio": round(row["oracle_decode_s"] / row["decode_new_s"], 1),
                    "decode_of_copy": round(row["copy_s"] / row["decode_s"], 3),
                    "decode_new_of_copy_new": round(row["copy_new_s"] / row["decode_new_s"], 3),
                }
            )
    return rows


def _take_turns(work: Mapping, oracles: Mapping, rounds: int, oracle_rounds: int) -> dict:
    """Median seconds by key; oracles' keys behind "oracle"."""
    taken: dict[tuple, list[float]] = {}
    for turn in range(-1, rounds):  # the first one is not counted
        for key, call in work.items():
            _add(taken, key, call, counts=turn >= 0)
        if 0 <= turn < oracle_rounds:
            for key, call in oracles.items():
                _add(taken, ("oracle", *key), call, counts=True)
    return {key: float(np.median(values)) for key, values in taken.items()}


def _add(taken: dict, key: tuple, call: Callable[[], object], counts: bool) -> None:
    start = time.perf_counter()
    result = call()
    end = time.perf_counter()
    del result  # giving the memory back is not timed
    if counts:
        taken.setdefault(key, []).append(end - start)


def _encoder(x: np.ndarray, format: str, options, threads: int) -> Callable[[], object]:
    fields, channels = asdict(options), channels_of(x.shape)
    return lambda: _kernels.lowbit_encode(format, x, fields, channels, None, "auto", threads)


def _decoder(tensor: QuantizedTensor, threads: int, out: np.ndarray | None) -> Callable[[], object]:
    parts = (tensor.codes, tensor.scales, tensor.tensor_scale, tensor.layout.columns, asdict(tensor.options))
    return lambda: _kernels.lowbit_decode(tensor.format, *parts, "auto", threads, out)


def _copy(target: np.ndarray, source: np.ndarray, pool: ThreadPoolExecutor, threads: int) -> None:
    if threads == 1:
        np.copyto(target, source)
        return
    pieces = zip(np.array_split(target, threads), np.array_split(source, threads), strict=True)
    list(pool.map(lambda piece: np.copyto(*piece), pieces))
