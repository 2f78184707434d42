"""Timing of the data set index: a VOC tree as large as WUTDet, read the first time and opened again.

The tree has as many annotation files (100,576) and boxes (381,378) as WUTDet. Its pictures are empty files: the index
looks at their names only, and nothing else is measured here. Each measurement runs in a process of its own, so that its
resident memory is that of the index and of what it needs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.dataset.index import FOLDER
from wutdet.errors import WutdetError
from wutdet.files import write_json

#: Size of WUTDet (arXiv 2604.07759, abstract).
FRAMES, BOXES = 100_576, 381_378
#: Bars of the project's second issue.
MAX_COLD_S, MAX_WARM_S, MAX_RESIDENT_MB = 30.0, 0.3, 300.0
_STAMP = "benchmark-tree.json"
_WARM_RUNS = 5

_HEAD = """<annotation>
	<folder>JPEGImages</folder>
	<filename>{name}.jpg</filename>
	<path>JPEGImages/{name}.jpg</path>
	<source>
		<database>Unknown</database>
	</source>
	<size>
		<width>1920</width>
		<height>1080</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
"""
_OBJECT = """	<object>
		<name>ship</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>{}</xmin>
			<ymin>{}</ymin>
			<xmax>{}</xmax>
			<ymax>{}</ymax>
		</bndbox>
	</object>
"""

# Runs in a fresh interpreter: imports first, so that the time is that of load_dataset alone.
_MEASURE = """
import json, resource, sys, time
from wutdet.dataset.load import load_dataset
import wutdet.dataset.formats, wutdet.dataset.index
started, busy = time.perf_counter(), time.process_time()
dataset = load_dataset(sys.argv[1])
total = float(dataset.xyxy[:, 0].sum()) + int(dataset.size_wh.sum())
seconds, cpu = time.perf_counter() - started, time.process_time() - busy
def resident_mb():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20
print(json.dumps({"seconds": seconds, "cpu": cpu, "resident_mb": resident_mb(), "peak_mb": peak, "frames": len(dataset),
                  "boxes": dataset.box_count, "sum": total, "mapped": not dataset.xyxy.flags.writeable}))
"""


@dataclass(frozen=True)
class IndexBenchmark:
    """What was measured: seconds of wall time and of CPU time (all threads) of ``load_dataset``, MB of 2^20 bytes.

    The package is imported beforehand; modules that ``load_dataset`` imports by itself count. On a machine that does
    other work at the same time the wall time says little: ``load_average`` tells, and the CPU time remains.
    """

    frames: int
    boxes: int
    cold_s: float
    cold_cpu_s: float
    cold_peak_mb: float
    warm_s: tuple[float, ...]
    warm_cpu_s: tuple[float, ...]
    warm_resident_mb: float
    index_mb: float
    cpus: int
    load_average: float

    @property
    def warm_median_s(self) -> float:
        return float(np.median(self.warm_s))

    def to_text(self) -> str:
        median, resident = self.warm_median_s, self.warm_resident_mb
        rows = (
            ("first reading", f"{self.cold_s:.2f} s", f"{MAX_COLD_S:g} s", self.cold_s <= MAX_COLD_S),
            ("opened again (median)", f"{median:.3f} s", f"{MAX_WARM_S:g} s", median <= MAX_WARM_S),
            ("resident when open", f"{resident:.0f} MB", f"{MAX_RESIDENT_MB:g} MB", resident <= MAX_RESIDENT_MB),
        )
        lines = [
            f"index of {self.frames:,} VOC files with {self.boxes:,} boxes, {self.cpus} CPUs, "
            f"load average before {self.load_average:.1f}"
        ]
        lines += [f"  {what:<22} {value:>9}  bar {bar:>7}  {'ok' if ok else 'MISSED'}" for what, value, bar, ok in rows]
        lines.append(
            f"  CPU time: first {self.cold_cpu_s:.2f} s, again {float(np.median(self.warm_cpu_s)):.3f} s (median)"
        )
        times = ", ".join(f"{seconds:.3f}" for seconds in self.warm_s)
        lines.append(
            f"  index file {self.index_mb:.1f} MB; first reading at most {self.cold_peak_mb:.0f} MB; again: {times} s"
        )
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.bench-index/1",
            "frames": self.frames,
            "boxes": self.boxes,
            "cold_s": self.cold_s,
            "cold_cpu_s": self.cold_cpu_s,
            "cold_peak_mb": self.cold_peak_mb,
            "warm_s": list(self.warm_s),
            "warm_cpu_s": list(self.warm_cpu_s),
            "warm_median_s": self.warm_median_s,
            "warm_resident_mb": self.warm_resident_mb,
            "index_mb": self.index_mb,
            "cpus": self.cpus,
            "load_average": self.load_average,
            "bars": {"cold_s": MAX_COLD_S, "warm_s": MAX_WARM_S, "warm_resident_mb": MAX_RESIDENT_MB},
        }


def run_index_benchmark(work: Path | None = None, frames: int = FRAMES, boxes: int = BOXES) -> IndexBenchmark:
    """Writes the tree, reads it once, opens it again five times.

    Args:
        work: folder for the tree, kept and used again; by default a temporary one that is removed.
        frames: annotation files.
        boxes: boxes in all of them.

    Raises:
        WutdetError: the tree cannot be written, or a measurement did not run as it should.
    """
    if work is None:
        with tempfile.TemporaryDirectory(prefix="wutdet-index-") as folder:
            return run_index_benchmark(Path(folder), frames, boxes)
    tree = Path(work) / f"voc-{frames}-{boxes}"
    stamp = tree / _STAMP
    if not stamp.is_file():
        shutil.rmtree(tree, ignore_errors=True)
        write_voc_tree(tree, frames, boxes, seed=0, images=True)
        write_json(stamp, {"frames": frames, "boxes": boxes})
        time.sleep(0.1)  # no index is made of files that are younger than a moment
    shutil.rmtree(tree / FOLDER, ignore_errors=True)
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    cold = _measure(tree)
    warm = [_measure(tree) for _ in range(_WARM_RUNS)]
    if cold["mapped"] or not all(run["mapped"] for run in warm) or any(run["sum"] != cold["sum"] for run in warm):
        raise WutdetError("the index was not used as expected", file=tree, hint="run again with WUTDET_LOG=INFO")
    return IndexBenchmark(
        frames=cold["frames"],
        boxes=cold["boxes"],
        cold_s=cold["seconds"],
        cold_cpu_s=cold["cpu"],
        cold_peak_mb=cold["peak_mb"],
        warm_s=tuple(run["seconds"] for run in warm),
        warm_cpu_s=tuple(run["cpu"] for run in warm),
        warm_resident_mb=max(run["resident_mb"] for run in warm),
        index_mb=sum(file.stat().st_size for file in (tree / FOLDER).glob("*.idx")) / 2**20,
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load_average=load_average,
    )


def _measure(tree: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(tree)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WutdetError(f"the measurement failed: {done.stderr.strip().splitlines()[-1:]}", file=tree)
    return json.loads(done.stdout)


def write_voc_tree(root: Path, frames: int, boxes: int, seed: int, images: bool) -> None:
    """A VOC tree in WUTDet's layout with random boxes; ``images`` adds an empty file per picture.

    The boxes per frame vary (multinomial); the first 70 % of the frames are in ``train.txt``, 15 % in ``val.txt``, the
    rest in ``test.txt``.
    """
    rng = np.random.default_rng(seed)
    per_frame = rng.multinomial(boxes, np.full(frames, 1 / frames)).tolist()
    low = rng.integers(0, (1800, 1000), (boxes, 2))
    corners = np.hstack([low, low + rng.integers(4, 80, (boxes, 2))]).tolist()
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    at = 0
    for number, count in enumerate(per_frame):
        name = f"{number:07d}"
        text = (
            _HEAD.format(name=name) + "".join(_OBJECT.format(*c) for c in corners[at : at + count]) + "</annotation>\n"
        )
        at += count
        with open(root / "Annotations" / f"{name}.xml", "w", encoding="ascii") as file:
            file.write(text)
        if images:
            open(root / "JPEGImages" / f"{name}.jpg", "wb").close()
    cuts = {"train": (0.0, 0.7), "val": (0.7, 0.85), "test": (0.85, 1.0)}
    for split, (start, stop) in cuts.items():
        names = (f"{number:07d}\n" for number in range(round(frames * start), round(frames * stop)))
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(names))
