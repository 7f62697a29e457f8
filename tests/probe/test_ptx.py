"""Our kernels: executed as the PTX ISA says, and assembled by NVIDIA's assembler for every GPU."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cudactl.probe.cuda import ptx
from cudactl.probe.cuda.walk import PATTERNS
from tests.probe.ptx_machine import Kernel, Memory, bits, number

TEXT = ptx.module()[:-1].decode()
THREADS = 32
PLACES = pytest.mark.parametrize("pairs", [1, 31, 64, 65, 600])


def word(memory: Memory, at: int) -> int:
    return int.from_bytes(memory.read(at, 8), "little")


def report(memory: Memory, at: int) -> tuple[int, ...]:
    return struct.unpack("<8Q", b"".join(memory.read(at + 8 * n, 8) for n in range(8)))


def fill(memory: Memory, at: int, pairs: int, select: int, mask: int) -> None:
    Kernel(TEXT, "cudactl_fill").launch(memory, 2, THREADS, [at, pairs, select, mask], [0])


def verify(memory: Memory, at: int, pairs: int, select: int, mask: int) -> tuple[int, ...]:
    told = memory.allocate(bytes(64))
    arguments = [at, pairs, select, mask, told]
    Kernel(TEXT, "cudactl_verify").launch(memory, 2, THREADS, arguments, [0])
    return report(memory, told)


# --- memory -------------------------------------------------------------------------------------


@PLACES
@pytest.mark.parametrize(("name", "select", "mask"), PATTERNS)
def test_every_word_gets_its_pattern_and_nothing_beyond_is_touched(
    name: str, select: int, mask: int, pairs: int
) -> None:
    memory = Memory()
    before, at, behind = (memory.allocate(b"\xcd" * n) for n in (16, 16 * pairs, 16))
    fill(memory, at, pairs, select, mask)
    for place in range(at, at + 16 * pairs, 8):
        assert word(memory, place) == (place & select) ^ mask
    for place in (before, behind):
        assert memory.read(place, 8) == b"\xcd" * 8
    assert verify(memory, at, pairs, select, mask) == (0,) * 8


def test_patterns_differ_and_every_bit_is_both_in_some() -> None:
    for place in (1 << 33, (1 << 33) + 8):
        words = [(place & select) ^ mask for _, select, mask in PATTERNS]
        assert len(set(words)) == len(words)
        ones = zeros = 0
        for one in words:
            ones |= one
            zeros |= ~one & (1 << 64) - 1
        assert ones == zeros == (1 << 64) - 1


@PLACES
def test_a_wrong_word_is_found_wherever_it_is(pairs: int) -> None:
    select, mask = PATTERNS[4][1:]
    for place in {0, 8, 16 * (pairs // 2), 16 * pairs - 16, 16 * pairs - 8}:
        memory = Memory()
        at = memory.allocate(bytes(16 * pairs))
        fill(memory, at, pairs, select, mask)
        wrong = word(memory, at + place) ^ (1 << 51)
        memory.write(at + place, wrong.to_bytes(8, "little"))
        told = verify(memory, at, pairs, select, mask)
        assert told == (1, at + place, at + place, wrong, 1 << 51, 0, 0, 0)


def test_many_wrong_words_are_counted_and_one_is_described() -> None:
    memory = Memory()
    at = memory.allocate(bytes(16 * 100))
    fill(memory, at, 100, 0, 0)
    for place, flipped in ((40, 1), (48, 2), (1592, 4)):
        memory.write(at + place, flipped.to_bytes(8, "little"))
    count, first, expected, found, together, *_ = verify(memory, at, 100, 0, 0)
    assert (count, together) == (3, 7)
    assert (expected, found) == (0, word(memory, first))


# --- products -----------------------------------------------------------------------------------


def packed(numbers: list[int], kind: str) -> bytes:
    size = 8 if kind == "f64" else 4
    return b"".join(bits(n, kind).to_bytes(size, "little") for n in numbers)


def product(
    kind: str, alter: dict[int, int] | None = None, blocks: int = 2, sms: tuple[int, ...] = (7, 131)
) -> tuple[dict[int, int], dict[int, int], tuple[int, ...]]:
    """Run a product with altered expectations; return visits and wrong elements by SM, report."""
    a, b, expected = ptx.inputs(1)
    for element, more in (alter or {}).items():
        expected[element] += more
    memory = Memory()
    places = [memory.allocate(packed(a + b, kind)), memory.allocate(packed(expected, kind))]
    places += [memory.allocate(bytes(4 * ptx.SM_SLOTS)) for _ in range(2)]
    places.append(memory.allocate(bytes(64)))
    kernel = Kernel(TEXT, f"cudactl_matmul_{kind}")
    kernel.launch(memory, blocks, ptx.THREADS, places, list(sms))
    tables = []
    for place in places[2:4]:
        found = (int.from_bytes(memory.read(place + 4 * n, 4), "little") for n in range(4096))
        tables.append({sm: count for sm, count in enumerate(found) if count})
    return tables[0], tables[1], report(memory, places[4])


@pytest.mark.parametrize("kind", ptx.KINDS)
def test_every_block_computes_the_product_and_counts_itself_on_its_sm(kind: str) -> None:
    visited, wrong, told = product(kind)
    assert visited == {7: 1, 131: 1}
    assert (wrong, told) == ({}, (0,) * 8)


@pytest.mark.parametrize("kind", ptx.KINDS)
@pytest.mark.parametrize("element", [0, 517, 1023])
def test_a_wrong_element_is_found_by_every_block_with_its_place(kind: str, element: int) -> None:
    _, wrong, told = product(kind, {element: 3})
    assert wrong == {7: 1, 131: 1}
    right = ptx.inputs(1)[2][element]
    count, sm, expected, found, _, index, *_ = told
    assert (count, sm - 1, index) == (2, 7, element)
    assert (number(expected, kind), number(found, kind)) == (right + 3, right)


def test_an_sm_whose_number_is_beyond_the_table_harms_nothing() -> None:
    visited, wrong, told = product("s32", {5: 1}, blocks=1, sms=(5000,))
    assert (visited, wrong) == ({}, {})
    assert (told[0], told[1]) == (1, 5001), "and its wrong element is counted all the same"


def test_the_products_are_exact_in_every_type_and_not_trivial() -> None:
    a, b, expected = ptx.inputs(1)
    most = max(abs(x) for x in a) * max(abs(x) for x in b) * ptx.DEPTH
    assert most < 1 << 24
    assert len(set(a)) == 17
    assert len(set(expected)) > 400
    assert ptx.inputs(1) == (a, b, expected)
    assert ptx.inputs(2) != (a, b, expected)


def test_not_a_number_is_a_wrong_number() -> None:
    """Compared as bits: NaN differs from everything, and −0 from 0."""
    compared = re.findall(r"setp\.\w+\.(\w+) %p1, %w", TEXT)
    assert set(compared) == {"b32", "b64"}


# --- NVIDIA's assembler -------------------------------------------------------------------------

ASSEMBLERS = ["nvidia-cuda-nvcc-cu12==12.9.86", "nvidia-cuda-nvcc==13.0.88"]


@pytest.fixture(scope="module", params=ASSEMBLERS)
def ptxas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's assembler from its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, request.param], check=True, capture_output=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/bin/ptxas")]
        program = Path(archive.extract(name, folder))
    program.chmod(0o755)
    return program


@pytest.mark.wheels
def test_the_kernels_assemble_for_every_gpu_that_the_assembler_knows(
    ptxas: Path, tmp_path: Path
) -> None:
    text = subprocess.run([ptxas, "--help"], capture_output=True, text=True, check=True).stdout
    targets = sorted(set(re.findall(r"'(sm_\d+[af]?)'", text)))
    assert {"sm_75", "sm_80", "sm_90", "sm_100", "sm_120"} <= set(targets)
    source = tmp_path / "kernels.ptx"
    source.write_text(TEXT)
    for target in targets:
        out = tmp_path / f"{target}.cubin"
        command = [ptxas, "-arch", target, "-v", "-o", out, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (target, done.stderr)
        assert "warning" not in done.stderr, (target, done.stderr)
        assert "spill stores" not in done.stderr.replace("0 bytes spill stores", ""), target
        for name in ptx.kernels():
            assert name.encode() in out.read_bytes(), (target, name)
