"""One engine in a process of its own: ``python -m wutdet.bench.engines.worker``.

Requests come as lines of JSON on stdin and are answered on stdout; nothing else is written there. A process of its own
gives true times of loading and true peaks of memory, and keeps one engine's waiting threads away from another's turn.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from wutdet.bench.engines import engine_module


def memory_bytes(key: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (at most so far) of this process.

    ``ru_maxrss`` serves where there is no /proc; on Linux it may hold the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Answers requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is no answer
    runner, frames = None, []
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                frames = list(np.load(request["frames"]))
                before = memory_bytes("VmRSS")
                module = engine_module(request["engine"])
                _import_packages(module)
                start = time.perf_counter()
                runner = module.Runner(Path(request["file"]), request["threads"], **request["options"])
                load_ms = (time.perf_counter() - start) * 1000
                answer = {"load_ms": load_ms, "about": runner.about, "memory_before": before}
            else:
                answer = _answer(runner, frames, request)
        except Exception as error:  # engines have exception classes of their own; the parent tells what was said
            said = str(error).strip().splitlines() or [type(error).__name__]
            answer = {"error": said[0]}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def _import_packages(module) -> None:
    """Imports the engine's first package, so that loading a model is timed without it."""
    import importlib

    importlib.import_module("wutdet._kernels" if module.VERSION_OF[0] == "wutdet" else module.VERSION_OF[0])


def _answer(runner, frames: list[np.ndarray], request: dict) -> dict:
    do = request["do"]
    if do == "memory":
        return {"peak": memory_bytes("VmHWM")}
    frame = frames[request["frame"] % len(frames)]
    if do == "infer":
        for _ in range(request["untimed"]):
            runner.infer(frame)
        start = time.perf_counter()
        runner.infer(frame)
        return {"ms": (time.perf_counter() - start) * 1000}
    if do == "outputs":
        np.save(request["file"], runner.infer(frame)[0])
        return {}
    if do == "layers":
        return {"layers": runner.layers(frame)}
    raise ValueError(f"unknown request '{do}'")


if __name__ == "__main__":
    main()
