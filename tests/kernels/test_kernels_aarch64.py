"""The aarch64 kernels, built by a cross compiler and run under qemu: equal to the scalar ones, bit for bit."""

from __future__ import annotations

import subprocess

import pytest
from aarch64_programs import aarch64_command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "cases", "result"),
    [
        ("conv_check", 300, "neondot: 300 cases, 0 failures\n"),
        ("floats_check", 100, "neondot: 100 cases, 0 failures\n"),
        ("letterbox_check", 1000, "neondot: neon, 1000 cases, 0 failures\n"),
    ],
)
def test_neon_equals_scalar_under_qemu(program, cases, result):
    command = [*aarch64_command(program), str(cases), "1", "neondot"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stdout) == (0, result)
