"""Several trainings of two recipes side by side: equal_cost.py DATA NAME=POLICY:FOLDER,FOLDER,... NAME=...

FOLDERs are those of `wutdet bench tiling --out`, one per seed, POLICY one of those measured there. Prints a row for
each NAME (means over seeds, and the range of AP below 32 px), and its difference from the first NAME: the mean over
pairs of seeds, with intervals that draw sequences, and single frames beside them (frames of one camera are alike, so
that one is too narrow for other cameras).
"""

import json
import sys
from pathlib import Path

import numpy as np

from wutdet import load_dataset
from wutdet.bench.tiling import detections_of
from wutdet.evaluation.accumulate import Ranking
from wutdet.evaluation.bootstrap import bootstrap, draw, resample
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco import match_for
from wutdet.evaluation.intervals import interval
from wutdet.evaluation.protocol import ALL, Protocol, Stat, View
from wutdet.evaluation.summary import summarise
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

BELOW = {side: View(f"<{side}", 0, side**2) for side in (32, 16, 8)}
PROTOCOL = Protocol(
    "ships",
    "COCO, with size limits of its own",
    (
        Stat("AP", "", "precision", ALL, 100),
        Stat("AP50", "", "precision", ALL, 100, 0.5),
        *(Stat(f"AP<{side}", "", "precision", view, 100) for side, view in BELOW.items()),
        Stat("AR", "", "recall", ALL, 100),
        Stat("AR<32", "", "recall", BELOW[32], 100),
    ),
)
NAMES = [stat.name for stat in PROTOCOL.stats]


def matches_of(folder: Path, policy: str, dataset, truth):
    """The matching pass and the median milliseconds of CPU time of one measured model."""
    looks = {}
    for line in filter(None, (folder / "frames.jsonl").read_text().splitlines()):
        look = json.loads(line)
        if look["policy"] == policy:
            looks[look["frame"]] = look
    assert len(looks) == len(dataset), f"{folder}: {len(looks)} frames under {policy}, {len(dataset)} in the data"
    found = align_categories(
        detections_of([looks[row] for row in range(len(dataset))], ("ship",)), dataset.category_names
    )
    return match_for([PROTOCOL], truth, FoundBoxes.of(found, truth), bins=()), np.median(
        [look["cpu_ms"] for look in looks.values()]
    )


def main(data: str, *wanted: str) -> None:
    dataset = load_dataset(data, classes="ship")
    truth = GroundTruth.of(dataset)
    by_sequence = resample(truth.sequence_codes, len(dataset))
    by_frame = draw(np.arange(len(dataset)), "frame")
    first = None
    print(f"{'':22s} {'seeds':>5} {'CPU ms':>7} " + " ".join(f"{name:>7}" for name in NAMES))
    for text in wanted:
        name, _, rest = text.partition("=")
        policy, _, folders = rest.rpartition(":")
        passes, ms = zip(*(matches_of(Path(f), policy, dataset, truth) for f in folders.split(",")), strict=True)
        rankings = [Ranking.of(m) for m in passes]
        points = [summarise(m, PROTOCOL, ranking=r) for m, r in zip(passes, rankings, strict=True)]
        mean = {stat: np.mean([p[stat] for p in points]) for stat in NAMES}
        small = [p["AP<32"] for p in points]
        print(f"{name:22s} {len(passes):5d} {np.mean(ms):7.1f} " + " ".join(f"{mean[s]:7.4f}" for s in NAMES)
              + f"   AP<32 of single seeds {min(small):.4f} to {max(small):.4f}")  # fmt: skip
        drawn = [
            {s: np.mean([bootstrap(m, PROTOCOL, how, ranking=r)[s] for m, r in zip(passes, rankings, strict=True)], 0)
             for s in NAMES}
            for how in (by_sequence, by_frame)
        ]  # fmt: skip
        if first is None:
            first = mean, drawn
            continue
        for how, a, b in zip((by_sequence, by_frame), first[1], drawn, strict=True):
            line = []
            for s in NAMES:
                low, high = interval(b[s] - a[s], how.units_in(), limits=(-1.0, 1.0))
                line.append(f"{s} {100 * (mean[s] - first[0][s]):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
            print(f"    points, {how.units_in()} {how.unit}s: " + ", ".join(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
