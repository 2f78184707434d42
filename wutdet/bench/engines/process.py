"""The other end of worker.py: an engine in its own process, which runs only when it is asked to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from wutdet.errors import WutdetError


class EngineError(WutdetError):
    """An engine refused a file or its process ended."""


class EngineProcess:
    """One file on one engine with one number of threads; ``options`` are those of its Runner.

    The process is stopped between its turns where the system can do that, so that threads waiting for work in a loop
    (onnxruntime's do, some time after every run) take nothing from the others.

    Attributes:
        load_ms: time from file to ready.
        about: what the engine says of itself.

    Raises:
        EngineError: the engine cannot load the file.
    """

    def __init__(self, engine: str, file: Path, threads: int, frames: Path, options: Mapping = MappingProxyType({})):
        self.engine, self._stops = engine, hasattr(signal, "SIGSTOP")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wutdet.bench.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._stopped = False
        request = {"engine": engine, "file": str(file), "threads": threads, "frames": str(frames)}
        try:
            loaded = self._ask(do="load", options=dict(options), **request)
        except BaseException:  # Ctrl-C too must leave no process behind
            self.close()
            raise
        self.load_ms, self.about, self._memory_before = loaded["load_ms"], loaded["about"], loaded["memory_before"]

    def infer_ms(self, frame: int, untimed: int = 0) -> float:
        """Milliseconds of one frame, after so many runs of it that are not timed."""
        return self._ask(do="infer", frame=frame, untimed=untimed)["ms"]

    def save_outputs(self, frame: int, file: Path) -> None:
        """Writes the first output of one frame (.npy)."""
        self._ask(do="outputs", frame=frame, file=str(file))

    def layers(self, frame: int) -> list[list]:
        """Name, kind, shape, multiply-adds and seconds of every step of one run; empty where the engine tells none."""
        return self._ask(do="layers", frame=frame)["layers"]

    def memory_bytes(self) -> tuple[int, int]:
        """Peak of the process, and what of it came after Python, NumPy and the frames were there."""
        peak = self._ask(do="memory")["peak"]
        return peak, peak - self._memory_before

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.kill()  # also where it is stopped
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _ask(self, **request) -> dict:
        try:
            if self._stopped:
                self._process.send_signal(signal.SIGCONT)
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EngineError(f"{self.engine} ended with exit code {self._process.wait()}")
        if self._stops:
            self._process.send_signal(signal.SIGSTOP)
            self._stopped = True
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self.engine}: {answer['error']}")
        return answer
