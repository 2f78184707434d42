"""Writes small models as seeds for fuzz_model, of one operator, packed weight or piece of a network each.

make_corpus.py FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "engine"))

from operator_cases import OPERATORS
from packed_cases import PACKED, packed_case, random_packed_weight
from piece_cases import area_attention, attention, head_end, picture_conv, residual_block
from random_graphs import random_graph

EACH = 4


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cases = [make(rng) for make in OPERATORS.values() for _ in range(EACH)]
    for number_format, options in PACKED:
        cases += [packed_case(random_packed_weight(number_format, options, rng), rng) for _ in range(EACH)]
    cases += [attention(rng, *sizes) for sizes in ((1, 2, 16, 3, 3), (2, 4, 16, 2, 3))]
    cases += [area_attention(rng, areas, 1, 16, 2, 3, rounds=rounds) for areas in (1, 3) for rounds in (True, False)]
    cases += [picture_conv(rng, 1 / 255, channels, 4, 6) for channels in (1, 3, 5)]
    cases += [head_end(rng, [(3, 4), (2, 2)], 3, used_twice) for used_twice in (False, True)]
    cases += [residual_block(rng, channels, (3, 4), roundings) for channels in (4, 12) for roundings in (1, 3)]
    cases += [residual_block(rng, 4, (3, 4), 1, equalised=True)]
    cases += [random_graph(seed)[0] for seed in range(60)]
    for case in cases:
        del case.model.functions[:]  # the engine knows them; seeds stay small
        data = case.model.SerializeToString()
        if len(data) < 16_000:
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
