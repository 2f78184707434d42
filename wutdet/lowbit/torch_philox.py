"""The random bits of ``wutdet.lowbit.philox`` in torch, made on the device where they are used."""

from __future__ import annotations

import torch

from wutdet.lowbit.philox import MULTIPLIERS, ROUNDS, WEYL

_MASK = 0xFFFFFFFF
#: Counters worked on at a time on the CPU, so that the words stay in its cache.
_CHUNK = 1 << 14


def thresholds(seed: int, count: int, device: torch.device) -> torch.Tensor:
    """float32 [count]: what ``wutdet.lowbit.philox.thresholds`` gives; 24 bits are exact in float32.

    Args:
        seed: 64 bits.
        count: number of elements.
        device: of the result.
    """
    blocks = -(-count // 4)
    out = torch.empty((blocks, 4), dtype=torch.float32, device=device)
    chunk = _CHUNK if device.type == "cpu" else max(1, blocks)
    for start in range(0, blocks, chunk):
        _fill(out[start : start + chunk], start, seed)
    return out.view(-1)[:count]


def _fill(out: torch.Tensor, start: int, seed: int) -> None:
    """Thresholds of the counters from ``start`` on, [N, 4]. Products wrap modulo 2^64, whose bits are those of an
    unsigned product."""
    counter = torch.arange(start, start + len(out), dtype=torch.int64, device=out.device)
    c0, c1 = counter & _MASK, counter >> 32
    c2, c3 = torch.zeros_like(counter), torch.zeros_like(counter)
    k0, k1 = seed & _MASK, seed >> 32
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (second >> 32).bitwise_and_(_MASK).bitwise_xor_(c1).bitwise_xor_(k0)
        c2 = (first >> 32).bitwise_and_(_MASK).bitwise_xor_(c3).bitwise_xor_(k1)
        c1, c3 = second.bitwise_and_(_MASK), first.bitwise_and_(_MASK)
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    for i, words in enumerate((c0, c1, c2, c3)):
        out[:, i] = words >> 8
