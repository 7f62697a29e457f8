"""What we know of NCCL is what its header says; exact sums stay exact in every type."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from cudactl.probe.cuda import nccl
from cudactl.probe.cuda.calls import prototypes

# nccl.h includes CUDA's headers only for these types.
CUDA = """\
#include <stddef.h>
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
"""
HALF = "typedef struct { unsigned short x; } __half;\n"


@pytest.fixture(scope="module", params=["nvidia-nccl-cu12", "nvidia-nccl-cu13"])
def header(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with nccl.h of the newest wheel, and stand-ins for what it includes."""
    from pypi_simple import PyPISimple
    from remotezip import RemoteZip

    from cudactl.stack.index.wheel_source import configured_index

    root = tmp_path_factory.mktemp("nccl")
    with PyPISimple(configured_index()) as index:
        packages = index.get_project_page(request.param).packages
        found = [one for one in packages if "x86_64" in one.filename]
    with RemoteZip(found[-1].url) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("/include/nccl.h")]
        (root / "nccl.h").write_bytes(archive.read(name))
    (root / "cuda_runtime.h").write_text(CUDA)
    (root / "cuda_fp16.h").write_text(HALF)
    return root


def complaints(header: Path, *lines: str) -> str:
    text = "#include <nccl.h>\n" + "\n".join(lines) + "\n"
    command = ["gcc", "-std=c11", "-Werror", "-fsyntax-only", f"-I{header}", "-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.wheels
def test_every_prototype_and_number_is_the_headers(header: Path) -> None:
    lines = [
        f"{result} (*our_{name})({', '.join(arguments)}) = {name};"
        for name, (result, *arguments) in prototypes(nccl.PROTOTYPES).items()
    ]
    lines += [f'_Static_assert({name} == {number}, "");' for name, number in nccl.ENUMS.items()]
    assert complaints(header, *lines) == ""
    assert "incompatible" in complaints(header, "ncclResult_t (*f)(float *) = ncclGetVersion;")
    assert complaints(header, '_Static_assert(ncclFloat32 == 8, "");')


@pytest.mark.parametrize("gpus", [2, 3, 8, nccl.MOST_GPUS])
def test_every_partial_sum_is_exact_in_every_type(gpus: int) -> None:
    parts = [nccl.contribution(rank) for rank in range(gpus)]
    assert nccl.total(gpus) == [sum(column) for column in zip(*parts, strict=True)]
    assert max(sum(abs(v) for v in column) for column in zip(*parts, strict=True)) <= 255
    assert len({tuple(part) for part in parts}) == gpus, "no GPU stands for another"


def test_a_missing_part_shows_and_numbers_are_what_they_say() -> None:
    assert nccl.total(3) != nccl.total(2)
    block = nccl.encoded("bf16", [-15, 0, 7], 5)
    halves = struct.unpack("<5H", block)
    whole = [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
    assert whole == [-15.0, 0.0, 7.0, -15.0, 0.0]
    assert struct.unpack("<4e", nccl.encoded("fp16", [3, -4], 4)) == (3.0, -4.0, 3.0, -4.0)


def test_what_differs_is_counted_and_the_first_is_told() -> None:
    wanted = nccl.encoded("fp32", [1, 2, 3], 6)
    found = bytearray(wanted)
    found[9] ^= 1
    told = nccl.compared("fp32", bytes(found), wanted)
    assert (told["checked"], told["wrong"], told["first"]["at"]) == (6, 1, 2)
    assert nccl.compared("fp32", wanted, wanted)["wrong"] == 0
