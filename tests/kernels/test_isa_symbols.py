"""Files with instructions beyond the baseline must not define anything that the linker could use elsewhere."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
CALLS = re.findall(r'add_isa\((\S+)\s+(\S+)\s+"([^"]+)"', (KERNELS / "CMakeLists.txt").read_text())
ARM = ("neon",)


def compiler_of(file: str) -> str:
    """The C++ compiler for a file's processor; skips the test where there is none."""
    arm_here = platform.machine() in ("aarch64", "arm64")
    for_arm = any(name in file for name in ARM)
    name = "g++" if for_arm == arm_here else "aarch64-linux-gnu-g++" if for_arm else "x86_64-linux-gnu-g++"
    if shutil.which(name) is None or shutil.which("nm") is None:
        pytest.skip(f"no {name} or no nm")
    return name


def test_every_file_is_checked():
    assert {call[0] for call in CALLS} == {path.name for path in (KERNELS / "isa").glob("*.cpp")}


@pytest.mark.parametrize(("file", "flags"), [(file, flags) for file, _, flags in CALLS])
def test_only_the_table_is_visible(tmp_path, file, flags):
    # Without optimisation nothing is inlined away: a function that could be shared shows.
    options = ["-std=c++17", "-O0", "-w", "-ffp-contract=off", f"-I{KERNELS}", *flags.split(";")]
    source, target = str(KERNELS / "isa" / file), str(tmp_path / "isa.o")
    subprocess.run([compiler_of(file), *options, "-c", source, "-o", target], check=True)
    lines = subprocess.run(
        ["nm", "--defined-only", "--extern-only", "--demangle", target],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # A pointer to the library's handler of exceptions, the same in every file.
    kinds = [line.split(maxsplit=2)[1:] for line in lines if "DW.ref.__gxx_personality_v0" not in line]
    assert len(kinds) == 1 and kinds[0][0] == "T" and kinds[0][1].startswith("wutdet::"), kinds
