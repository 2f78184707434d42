"""Importing ultralytics and albumentations so that they stay off the network, off stdout and out of HOME."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from types import ModuleType

from wutdet.errors import require


def import_ultralytics() -> ModuleType:
    """The ultralytics package, imported with everything off that reports home, downloads or installs.

    The first call in a process decides: its settings folder is a private temporary one, so a user's own settings (and
    the experiment trackers switched on there) play no part. Where a program has imported ultralytics before, that
    import stands; the trainer then still runs without integration callbacks and without plots.

    Raises:
        MissingExtraError: the extra ``train`` is not installed.
    """
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder, owner = tempfile.mkdtemp(prefix="wutdet-ultralytics-"), os.getpid()
        # Worker processes inherit the exit handler, but the folder is not theirs.
        atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
        os.environ["YOLO_CONFIG_DIR"] = folder
        os.environ.setdefault("MPLCONFIGDIR", folder)
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_VERBOSE", "false")  # its log goes to stdout, which is for results
    require("torch", "train")
    return require("ultralytics", "train")


def import_albumentations() -> ModuleType:
    """The albumentations package, without its version check over the network.

    Raises:
        MissingExtraError: the extra ``train`` is not installed.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    return require("albumentations", "train")
