"""The whole engine on aarch64 (under qemu-user on other machines): the same bits as on this machine."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import onnx
import pytest
from aarch64_programs import NATIVE, aarch64_command
from engine_models import model_bytes, network_input
from operator_cases import Case
from packed_cases import packed_case, random_packed_weight
from piece_cases import area_attention, attention, head_end, picture_conv, residual_block, upsampled_join
from wutdet._kernels import Engine

pytestmark = pytest.mark.slow  # compiles the engine

ISAS = ("neondot", "scalar")
PIECES = {
    "attention": lambda rng: attention(rng, 2, 32, 64, 5, 7),
    "area attention": lambda rng: area_attention(rng, 4, 2, 32, 6, 6),
    "attention of floats": lambda rng: area_attention(rng, 4, 2, 32, 6, 6, rounds=False),
    "picture": lambda rng: picture_conv(rng, 1 / 255),
    "head": lambda rng: head_end(rng, [(8, 10), (3, 5)], 3),
    "three roundings": lambda rng: residual_block(rng, 16, (9, 17), 3),
    "one rounding": lambda rng: residual_block(rng, 48, (3, 20), 1, equalised=True),
    "upsampled": lambda rng: upsampled_join(rng, (72, 40), (5, 7), 3),
    "upsampled behind": lambda rng: upsampled_join(rng, (24, 36), (3, 9), 1, last=True),
    "hif4": lambda rng: packed_case(random_packed_weight("hif4", {}, rng), rng),
}


def outputs_on_aarch64(case: Case, isa: str, tmp_path) -> bytes:
    model, inputs, outputs = (tmp_path / name for name in ("model.onnx", "inputs", "outputs"))
    model.write_bytes(case.model.SerializeToString())
    inputs.write_bytes(b"".join(feed.tobytes() for feed in case.feeds))
    run = subprocess.run(
        [*aarch64_command("engine_run"), model, inputs, outputs],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "WUTDET_ISA": isa},
    )
    assert (run.returncode, run.stdout.split()) == (0, ["fused", isa]), run.stderr
    return outputs.read_bytes()


def check(case: Case, tmp_path) -> None:
    engine = Engine(case.model.SerializeToString(), threads=1, program="fused")
    assert NATIVE or engine.isa not in ("neondot", "")
    wanted = engine.run(case.feeds)
    assert all(np.isfinite(values).all() and np.ptp(values) > 0 for values in wanted)
    for isa in ISAS:
        assert outputs_on_aarch64(case, isa, tmp_path) == b"".join(values.tobytes() for values in wanted), isa


@pytest.mark.parametrize("piece", PIECES)
def test_pieces_of_networks(piece, rng, tmp_path):
    check(PIECES[piece](rng), tmp_path)


@pytest.mark.parametrize("number_format", ["int8", "hif4"])
def test_whole_detectors(number_format, tmp_path):
    model = onnx.load_from_string(model_bytes("yolo26n", "nms", number_format))
    check(Case(model, [network_input(3)]), tmp_path)
