"""The aarch64 kernels, built by a cross compiler and run under qemu: equal to the scalar ones, bit for bit."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
ENGINE = ("conv_chains", "conv_pack", "conv_run", "conv_scalar", "dispatch")


@pytest.mark.slow
def test_neon_equals_scalar_under_qemu(tmp_path):
    native = platform.machine() in ("aarch64", "arm64")
    compiler = shutil.which("g++" if native else "aarch64-linux-gnu-g++")
    emulator = None if native else shutil.which("qemu-aarch64")
    if compiler is None or (emulator is None and not native):
        pytest.skip("no compiler for aarch64 (g++-aarch64-linux-gnu) or no emulator (qemu-user)")
    program = tmp_path / "conv_check"
    options = ["-std=c++17", "-O1", "-ffp-contract=off", f"-I{KERNELS}"]
    kernels = tmp_path / "neon.o"
    source = KERNELS / "isa" / "conv_neondot.cpp"
    subprocess.run([compiler, *options, "-march=armv8.2-a+dotprod", "-c", source, "-o", kernels], check=True)
    sources = [KERNELS / "core" / "engine" / f"{name}.cpp" for name in ENGINE]
    main = KERNELS / "bench" / "conv_check.cpp"
    subprocess.run(
        [compiler, *options, "-DWUTDET_CONV_NEONDOT", "-static", main, *sources, kernels, "-o", program], check=True
    )
    command = [program, "300", "1", "neondot"]
    result = subprocess.run(
        command if native else [emulator, "-cpu", "max", *command], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0 and "neondot: 300 cases, 0 failures" in result.stdout, result.stdout
