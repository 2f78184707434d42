"""A real browser without a window: what a page says, measures and looks like in it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
          "--enable-logging=stderr")  # fmt: skip
# The narrowest window that Chromium opens; narrower pages lie in a frame of a wider one.
_LEAST_WINDOW = 500

# With its encoding: without one the browser guesses, and a dash wrongly guessed is three letters wide.
_HEAD = '<!DOCTYPE html><html><head><meta charset="utf-8"/></head>'

# Runs in a page around the report, which lies in a frame of the wanted width, untouched, with its own policy.
_MEASURE = """
var frame = document.getElementById("frame");
frame.onload = function () {
  var page = frame.contentDocument, view = frame.contentWindow, said = {};
  try { said = (function (page, view) { %s })(page, view); } catch (error) { said = {error: String(error)}; }
  document.getElementById("said").textContent = JSON.stringify(said);
};
"""


def find_browser() -> str:
    """Path of a Chromium; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    return found


def measure(page: Path, script: str, *, width: int, height: int = 900, scripts: bool = True) -> dict:
    """What ``script``, the body of a function of the page's document and window, returns in a window of that width.

    Args:
        page: file; it is not changed.
        script: JavaScript with a ``return``.
        width, height: of the window in CSS pixels.
        scripts: whether the page's own script may run.
    """
    text, sandbox = html.escape(page.read_text("utf-8")), "" if scripts else ' sandbox="allow-same-origin"'
    wrapper = (
        f'{_HEAD}<body style="margin:0">'
        f'<iframe id="frame" style="border:0;width:{width}px;height:{height}px"{sandbox} srcdoc="{text}"></iframe>'
        f'<pre id="said"></pre><script>{_MEASURE % script}</script></body></html>'
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wrapper.html"
        file.write_text(wrapper, "utf-8")
        done = _run(file, width, height, "--dump-dom")
    written = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.S)
    assert written and written[1], f"the browser says nothing:\n{done.stderr[-2000:]}"
    said = json.loads(html.unescape(written[1]))
    assert "error" not in said, said
    return said


def console(page: Path) -> list[str]:
    """What the page writes to the console: errors of scripts, and what its content security policy forbids."""
    done = _run(page, 1280, 900, "--dump-dom")
    assert "</html>" in done.stdout, done.stderr[-2000:]
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, file: Path, *, width: int, height: int, dark: bool = False) -> np.ndarray:
    """uint8 [height, width, 3] BGR of the top of the page."""
    if width < _LEAST_WINDOW:
        wrapper, text = file.with_suffix(".html"), html.escape(page.read_text("utf-8"))
        wrapper.write_text(
            f'{_HEAD}<body style="margin:0">'
            f'<iframe style="border:0;width:{width}px;height:{height}px" srcdoc="{text}"></iframe></body></html>',
            "utf-8",
        )
        page = wrapper
    # 0 is "dark" in Blink's settings.
    dark_flag = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    done = _run(page, width, height, f"--screenshot={file}", *dark_flag)
    image = cv2.imread(str(file))
    assert image is not None, done.stderr[-2000:]
    return image[:height, :width]


def _run(page: Path, width: int, height: int, *flags: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [find_browser(), *_FLAGS, f"--user-data-dir={profile}",
                   f"--window-size={max(width, _LEAST_WINDOW)},{height}", *flags, page.resolve().as_uri()]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
