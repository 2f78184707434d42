"""Tiny training data: bright hulls on a noisy, sea-coloured ground."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest


def write_sea(folder: Path, frames: int = 12, size_wh: tuple[int, int] = (160, 128), seed: int = 0) -> Path:
    """Writes images/ and annotations/all.json (COCO, with splits) and returns the annotation file."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    width, height = size_wh
    images, annotations = [], []
    for number in range(frames):
        sea = rng.normal((110, 90, 60), 12, (height, width, 3)).clip(0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(1, 4)) if number % 5 else 0):
            w, h = int(rng.integers(20, 50)), int(rng.integers(10, 24))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            cv2.rectangle(sea, (x, y), (x + w - 1, y + h - 1), (40, 60, 230), -1)
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1,
                                "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})  # fmt: skip
        name = f"frame {number}.png"
        cv2.imwrite(str(folder / "images" / name), sea)
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height,
                       "split": "train" if number < frames * 2 // 3 else "val"})  # fmt: skip
    file = folder / "annotations" / "all.json"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "tug"}]}
    file.write_text(json.dumps(content))
    return file


@pytest.fixture(scope="session")
def sea(tmp_path_factory) -> Path:
    """Annotation file of twelve tiny frames, eight to train on and four to validate on."""
    return write_sea(tmp_path_factory.mktemp("sea"))


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to open a connection fails the test."""
    import socket

    def refuse(self, address):
        raise AssertionError(f"tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
