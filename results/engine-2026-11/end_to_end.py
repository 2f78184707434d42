"""From a frame to boxes: wutdet's Detector beside ultralytics' own predictor with onnxruntime and OpenVINO.

Times what users call: ``Detector(frame)`` and ``YOLO(file).predict(frame)``, letterboxing, network and boxes; decoding
the picture is not in it. One process per contender and number of threads, in turn, frame by frame, in one run.

    python end_to_end.py --picture FRAME --int8 ship.int8.onnx --openvino FOLDER [FOLDER ...] --threads 1 2

``--ultralytics-onnx`` names files that ultralytics' predictor runs with onnxruntime (its own exports, or ours, whose
metadata it reads), ``--openvino`` folders that it has exported (``yolo export format=openvino int8=True``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def worker(kind: str, file: str, threads: int, picture: str) -> None:
    """Loads a contender, then times one frame for every line that it reads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    import cv2

    cv2.setNumThreads(threads)
    frame = cv2.imread(picture)
    if kind == "wutdet":
        from wutdet import Detector

        detector = Detector(file, backend="native", threads=threads, conf=0.25)

        def run():
            return len(detector(frame))
    else:
        import torch
        from ultralytics import YOLO

        torch.set_num_threads(threads)
        model = YOLO(file, task="detect")

        def run():
            return len(model.predict(frame, imgsz=640, conf=0.25, verbose=False, device="cpu")[0].boxes)

    for _ in range(5):
        run()
    print("ready", flush=True)
    for _ in sys.stdin:
        run()
        started = time.perf_counter()
        boxes = run()
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - started), "boxes": boxes}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp32", nargs="*", default=[])
    parser.add_argument("--int8", nargs="*", default=[])
    parser.add_argument("--ultralytics-onnx", nargs="*", default=[])
    parser.add_argument("--openvino", nargs="*", default=[])
    parser.add_argument("--picture", required=True)
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--worker", nargs=3)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, file, threads = arguments.worker
        worker(kind, file, int(threads), arguments.picture)
        return
    contenders = [("wutdet", file) for file in (*arguments.int8, *arguments.fp32)]
    contenders += [("ultralytics", file) for file in (*arguments.ultralytics_onnx, *arguments.openvino)]
    rows = []
    for threads in arguments.threads:
        running = []
        for kind, file in contenders:
            command = [sys.executable, __file__, "--picture", arguments.picture, "--worker", kind, file, str(threads)]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            while (line := process.stdout.readline()) and line.strip() != "ready":
                pass
            if not line:
                raise SystemExit(f"{kind} cannot run {file}")
            running.append((kind, file, process, []))
        for turn in range(arguments.runs):
            for index in range(len(running)):
                *_, process, times = running[(index + turn) % len(running)]
                process.stdin.write("\n")
                process.stdin.flush()
                times.append(json.loads(process.stdout.readline()))
        for kind, file, process, times in running:
            process.stdin.close()
            process.wait()
            took = [one["ms"] for one in times]
            rows.append({"what": kind, "file": Path(file).name, "threads": threads, "boxes": times[-1]["boxes"]})
            rows[-1] |= {"median_ms": statistics.median(took), "best_ms": min(took)}
    for row in rows:
        line = "{what:12} {file:40} {threads} thr  median {median_ms:7.2f}  best {best_ms:7.2f} ms  {boxes} boxes"
        print(line.format(**row))


if __name__ == "__main__":
    main()
