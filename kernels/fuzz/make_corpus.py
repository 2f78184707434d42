"""Writes small models, one operator or one packed weight each, as seeds for fuzz_model: ``make_corpus.py FOLDER``."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "engine"))

from operator_cases import OPERATORS
from packed_cases import PACKED, packed_case, random_packed_weight

EACH = 4


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cases = [make(rng) for make in OPERATORS.values() for _ in range(EACH)]
    for number_format, options in PACKED:
        cases += [packed_case(random_packed_weight(number_format, options, rng), rng) for _ in range(EACH)]
    for case in cases:
        del case.model.functions[:]  # the engine knows them; seeds stay small
        data = case.model.SerializeToString()
        if len(data) < 16_000:
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
