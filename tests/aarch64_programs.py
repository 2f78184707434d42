"""Stand-alone programs of kernels/bench, built for aarch64 and run there: under qemu-user on other machines."""

from __future__ import annotations

import atexit
import functools
import os
import platform
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1] / "kernels"
NATIVE = platform.machine() in ("aarch64", "arm64")
OPTIONS = ("-std=c++17", "-O1", "-ffp-contract=off", f"-I{KERNELS}")
#: File, definition and flags of the kernels for aarch64.
ISA_FILES = re.findall(r'add_isa\((\w*neon\w*\.cpp)\s+(\S+)\s+"([^"]+)"', (KERNELS / "CMakeLists.txt").read_text())


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} ({package}): the aarch64 kernels cannot be {'built' if 'g++' in name else 'run'} here")
    return found


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wutdet-aarch64-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _compile(compiler: str, source: Path, flags: list[str]) -> Path:
    target = _folder() / f"{source.stem}.o"
    subprocess.run([compiler, *OPTIONS, *flags, "-c", source, "-o", target], check=True)
    return target


@functools.cache
def _engine_library(compiler: str) -> Path:
    """The whole engine as an archive, so that a program takes what it calls."""
    definitions = [f"-D{definition}" for _, definition, _ in ISA_FILES]
    sources = [*(KERNELS / "core" / "engine").glob("*.cpp"), *(KERNELS / "core").glob("lowbit*.cpp")]
    jobs = [(source, definitions) for source in sources]
    jobs += [(KERNELS / "isa" / file, flags.split(";")) for file, _, flags in ISA_FILES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: _compile(compiler, *job), jobs))
    archive = _folder() / "libengine.a"
    subprocess.run([compiler.replace("g++", "gcc-ar"), "rc", archive, *objects], check=True)
    return archive


@functools.cache
def aarch64_command(name: str) -> tuple[str, ...]:
    """What starts ``kernels/bench/<name>.cpp`` on aarch64; built once, skips the test where a tool is missing."""
    compiler = _tool("g++", "g++") if NATIVE else _tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    emulator = () if NATIVE else (_tool("qemu-aarch64", "qemu-user"), "-cpu", "max")
    main = KERNELS / "bench" / f"{name}.cpp"
    program = _folder() / name
    library = _engine_library(compiler)
    subprocess.run([compiler, *OPTIONS, "-static", main, library, "-pthread", "-o", program], check=True)
    return (*emulator, str(program))
