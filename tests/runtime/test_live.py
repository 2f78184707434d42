"""Cameras and streams: a real stream over HTTP, and a camera that gives frames when the test says so."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from wutdet.config import DetectConfig
from wutdet.errors import DataError, UsageError
from wutdet.runtime.detect import run
from wutdet.runtime.live import live_frames
from wutdet.runtime.sources import open_source


class Camera:
    """Gives ``count`` frames, whose number is their grey level; after the first ``free`` each waits for ``step``."""

    def __init__(self, count: int, free: int | None = None):
        self.count, self.free, self.given, self.released = count, count if free is None else free, 0, False
        self._steps = threading.Semaphore(0)

    def grab(self) -> bool:
        if self.given == self.count:
            return False
        if self.given >= self.free:
            self._steps.acquire()
        self.given += 1
        return True

    def retrieve(self):
        return True, np.full((2, 2, 3), self.given - 1, np.uint8)

    def step(self, frames: int) -> None:
        """Lets so many frames come, and waits until they have."""
        wanted = self.given + frames
        for _ in range(frames):
            self._steps.release()
        while self.given < wanted:
            time.sleep(0.001)

    def release(self) -> None:
        self.released = True


def never():
    raise AssertionError("opened again")


def test_the_newest_frame_is_given_and_none_twice():
    camera = Camera(9, free=1)
    frames = live_frames(camera, never)
    assert next(frames).index == 0
    camera.step(3)
    time.sleep(0.05)  # the last of them is on its way
    frame = next(frames)
    assert frame.index == 3 and int(frame.image[0, 0, 0]) == 3 and abs(frame.time_s - time.time()) < 60
    camera.step(5)
    assert [f.index for f in frames] == [8]  # and the end
    assert camera.released


def test_the_stride_is_kept_between_newest_frames():
    camera = Camera(6, free=1)
    frames = live_frames(camera, never, stride=3)
    assert next(frames).index == 0
    threading.Timer(0.05, camera.step, [5]).start()
    assert next(frames).index >= 3


def test_in_order_no_frame_is_left_out():
    camera = Camera(7)
    assert [f.index for f in live_frames(camera, never, latest=False)] == list(range(7))
    assert camera.released
    assert [f.index for f in live_frames(Camera(7), never, latest=False, stride=3)] == [0, 3, 6]


@pytest.mark.parametrize("latest", [True, False])
def test_a_stream_without_frames_is_an_error(latest):
    camera = Camera(0)
    with pytest.raises(DataError, match="ended before its first frame"):
        list(live_frames(camera, never, latest=latest))
    assert camera.released


def test_a_stream_that_breaks_off_is_opened_again(caplog):
    cameras = [Camera(0), Camera(2), Camera(3)]
    later = iter([cameras[1], DataError("no route"), cameras[2]])

    def reopen():
        camera = next(later)
        if isinstance(camera, DataError):
            raise camera
        return camera

    frames = live_frames(cameras[0], reopen, latest=False, reconnect_s=0)
    assert [next(frames).index for _ in range(5)] == [0, 1, 2, 3, 4]
    assert "ended after 2 frames; opening it again" in caplog.text and "no route; opening it again" in caplog.text
    frames.close()
    assert all(camera.released for camera in cameras)


def test_nobody_waits_for_a_thread_after_the_last_frame():
    camera = Camera(100)
    frames = live_frames(camera, never)
    next(frames)
    frames.close()
    assert camera.released


@pytest.fixture
def stream():
    """Address of a stream of JPEG pictures over HTTP: 12 frames, 64x48, 20 a second, the grey level rising."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for number in range(self.server.frames):
                    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(0.05)
            except OSError:  # the reader went away
                pass

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.frames = 12
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{server.server_port}/camera.mjpg"
    server.shutdown()
    server.server_close()


def test_a_stream_over_http_is_live(stream, artefact, capsys):
    _, address = stream
    assert open_source(address).kind == "live"
    result = run(DetectConfig(address, model=str(artefact("yolo26n", "nms", "fp32")), latest=False))
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert result.frames == len(frames) >= 11  # the first may serve to find out what the stream is
    assert [f["frame"] for f in frames] == list(range(len(frames)))
    times = [f["time_s"] for f in frames]
    assert times == sorted(times) and abs(times[-1] - time.time()) < 60


def test_a_file_on_a_server_is_no_live_source(tmp_path):
    file = tmp_path / "trip.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(5):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    source = open_source(file.as_uri())
    assert (source.kind, source.count, source.capture) == ("video", 5, None)
    frames = list(source.frames())
    assert [f.index for f in frames] == [0, 1, 2, 3, 4] and all(f.time_s is None for f in frames)


def test_a_service_that_is_told_to_end_finishes_its_files(stream, artefact, tmp_path):
    server, address = stream
    server.frames = 10_000
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "wutdet", "detect", address, "--model", str(artefact("yolo26n", "nms", "fp32")),
               "--conf", "0.01", "--threads", "1", "--coco", str(results)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["source"] == address
        os.kill(process.pid, signal.SIGTERM)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "Traceback" not in errors
    assert isinstance(json.loads(results.read_text()), list)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_an_impossible_wait_is_refused(seconds):
    with pytest.raises(UsageError, match="--reconnect-s"):
        run(DetectConfig("0", reconnect_s=seconds))
