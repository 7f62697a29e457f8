"""The load whose energy is measured: every thread ends where it began, whatever the rounds."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from cudactl.probe.cuda import burn
from tests.probe.ptx_machine import Kernel, Memory, bits
from tests.probe.test_ptx import ptxas  # noqa: F401 - a fixture

TEXT = burn.ptx()[:-1].decode()
MINUS = bits(-1.0, "f32")


def run(rounds: int, factor: int = MINUS, blocks: int = 2, threads: int = 3) -> list[float]:
    memory = Memory()
    out = memory.allocate(b"\xff" * 4 * blocks * threads)
    Kernel(TEXT, "cudactl_burn").launch(memory, blocks, threads, [out, rounds, factor], [0])
    return [struct.unpack("<f", memory.read(out + 4 * i, 4))[0] for i in range(blocks * threads)]


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_every_thread_ends_where_it_began(rounds: int) -> None:
    assert run(rounds) == [2.0 * (burn.FIRST + burn.SPACING * i) for i in range(6)]


def test_what_is_added_up_stays_exact_for_every_starting_number() -> None:
    largest = burn.FIRST + burn.SPACING * (burn.PERIOD - 1)
    assert burn.CHAINS * largest < 1 << 24
    assert burn.STEPS % 2 == 0


def test_it_really_multiplies_and_adds() -> None:
    """With another factor the numbers run away: the steps are not left out."""
    assert run(1, factor=bits(1.0, "f32")) != run(1)
    assert TEXT.count("fma.rn.f32") * 2 == burn.FLOPS_PER_ROUND


@pytest.mark.wheels
def test_it_assembles_for_every_gpu_and_keeps_its_work(
    ptxas: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    said = subprocess.run([ptxas, "--help"], capture_output=True, text=True, check=True).stdout
    targets = sorted(set(re.findall(r"'(sm_\d+[af]?)'", said)))
    assert {"sm_75", "sm_80", "sm_90", "sm_100", "sm_120"} <= set(targets)
    source = tmp_path / "burn.ptx"
    source.write_text(TEXT)
    for target in targets:
        out = tmp_path / f"{target}.cubin"
        command = [ptxas, "-arch", target, "-v", "-o", out, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (target, done.stderr)
        assert "warning" not in done.stderr, (target, done.stderr)
        # 64 instructions of 16 bytes at the least: the loop's body was not folded away.
        assert len(out.read_bytes()) > 64 * 16
