"""The aarch64 kernels, built by a cross compiler and run under qemu: equal to the scalar ones, bit for bit."""

from __future__ import annotations

import subprocess

import pytest
from aarch64_programs import aarch64_command


@pytest.mark.slow
def test_neon_equals_scalar_under_qemu():
    command = [*aarch64_command("conv_check"), "300", "1", "neondot"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and "neondot: 300 cases, 0 failures" in result.stdout, result.stdout
