"""What a result depends on beside its settings: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "wutdet",
    "torch",
    "torchvision",
    "ultralytics",
    "albumentations",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
)


def environment(seed: int, command: list[str] | None = None) -> dict:
    """Versions, processor, git commit, seed and command of this run.

    Torch's threads and the GPU are told where torch is loaded; it is not loaded for this.
    """
    torch = sys.modules.get("torch")
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "schema": "wutdet.environment/1",
        "command": command if command is not None else sys.argv,
        "python": platform.python_version(),
        "versions": versions,
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "gpu": torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else None,
        "git_commit": _git_commit(),
        "seed": seed,
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform module knows something less precise
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, with ``+`` where files were changed; None elsewhere."""
    folder = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "-C", folder, "status", "--porcelain", "-uno"], capture_output=True, text=True,
                               timeout=10)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+" if dirty.stdout.strip() else "")
