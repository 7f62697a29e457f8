"""libcuda's prototypes and numbers are those of NVIDIA's header; what fails names its call."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab import gpus
from cudactl.probe.cuda.driver_api import C_TYPES, CONSTANTS, PROTOTYPES, CudaError, Driver
from cudactl.probe.cuda.timing import Stopwatch
from cudactl.probe.cuda.walk import CHUNK_BYTES, Walk

HEADERS = ["nvidia-cuda-runtime-cu12==12.9.79", "nvidia-cuda-runtime==13.0.96"]


# --- against the header -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=HEADERS)
def header(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of NVIDIA's cuda.h."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, request.param], check=True, capture_output=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/include/cuda.h")]
        return Path(archive.extract(name, folder)).parent


def compiled(header: Path, *lines: str) -> str:
    """Compile C against cuda.h and return what the compiler says against it."""
    text = "#include <cuda.h>\n" + "\n".join(lines) + "\n"
    command = ["gcc", "-std=c11", "-Werror", "-fsyntax-only", "-I", str(header), "-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def pointer(name: str, arguments: tuple[str, ...]) -> str:
    """A pointer of our prototype, set to the header's function."""
    return f"CUresult (*our_{name})({', '.join(arguments) or 'void'}) = {name};"


@pytest.mark.wheels
def test_every_prototype_is_the_headers(header: Path) -> None:
    lines = [pointer(name, arguments) for name, arguments in PROTOTYPES.items()]
    assert compiled(header, *lines) == ""


@pytest.mark.wheels
def test_every_number_is_the_headers(header: Path) -> None:
    lines = [f'_Static_assert({name} == {value}, "");' for name, value in CONSTANTS.items()]
    assert compiled(header, *lines) == ""


@pytest.mark.wheels
def test_the_ctypes_are_as_large_as_the_headers_types(header: Path) -> None:
    lines = [
        f'_Static_assert(sizeof({kind}) == {ctypes.sizeof(C_TYPES[kind])}, "{kind}");'
        for kind in C_TYPES
    ]
    assert compiled(header, *lines) == ""


@pytest.mark.wheels
def test_a_wrong_prototype_or_number_would_be_noticed(header: Path) -> None:
    assert "incompatible" in compiled(header, pointer("cuMemAlloc_v2", ("CUdeviceptr *", "int")))
    assert compiled(header, '_Static_assert(CU_DEVICE_ATTRIBUTE_ECC_ENABLED == 33, "");')


# --- against the simulated library --------------------------------------------------------------

Simulated = Callable[..., Driver]


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    """A simulated libcuda with faults, in this process."""

    def load(**faults: float) -> Driver:
        folder = gpus.build(tmp_path / str(len(list(tmp_path.iterdir()))), ["libcuda.so.1"])
        named = {name.replace("__", "."): strength for name, strength in faults.items()}
        (folder / gpus.CONF).write_text(gpus.H200.conf(named))
        driver = Driver(ctypes.CDLL(str(folder / "libcuda.so.1")))
        driver.call("cuInit", 0)
        driver.use(0)
        return driver

    return load


def test_every_call_is_there_in_the_simulated_library(simulated: Simulated) -> None:
    library: Any = simulated()._library
    assert [name for name in PROTOTYPES if not hasattr(library, name)] == []


def test_an_error_names_call_code_and_meaning(simulated: Simulated) -> None:
    driver = simulated(code__cuMemAlloc_v2=2)
    with pytest.raises(CudaError) as caught:
        driver.allocate(16)
    assert str(caught.value) == (
        "cuMemAlloc_v2 answers CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"
    )
    assert (caught.value.code, caught.value.name) == (2, "CUDA_ERROR_OUT_OF_MEMORY")


def test_what_the_compiler_says_against_a_kernel_is_kept(simulated: Simulated) -> None:
    with pytest.raises(CudaError, match=r"cuModuleLoadDataEx .*\(222\).*; ptxas .* line 1"):
        simulated(jit__unsupported=1).load(b".version 6.0\0")


def test_a_uuid_is_written_as_nvidia_smi_does(simulated: Simulated) -> None:
    assert simulated().uuid(0) == gpus.H200.uuid


def test_memory_comes_back_as_it_was_put(simulated: Simulated) -> None:
    driver = simulated()
    free = driver.free_memory()
    at = driver.allocate(1000)
    driver.upload(at, b"x" * 1000)
    assert driver.download(at + 10, 3) == b"xxx"
    with pytest.raises(CudaError, match=r"cuMemcpyDtoH_v2 .*\(1\)"):
        driver.download(at + 998, 3)
    driver.call("cuMemFree_v2", at)
    assert driver.free_memory() == free


# --- time ---------------------------------------------------------------------------------------


def test_rates_come_from_the_gpus_clock(simulated: Simulated) -> None:
    driver = simulated()
    a, b, size = driver.allocate(1 << 16), driver.allocate(1 << 16), 1 << 16

    def copy() -> None:
        driver.call("cuMemcpyDtoDAsync_v2", a, b, size, None)

    found = Stopwatch(driver).rates(copy, 2 * size / 1e9, 0.0)
    assert found["median"] == pytest.approx(4100, rel=1e-3)
    assert found["least"] <= found["median"] <= found["most"]
    assert found["repetitions"] == 5


def test_repetitions_go_on_for_the_time_that_was_asked_for() -> None:
    class Clock:
        """A GPU on which every piece of work takes 10 ms."""

        def call(self, name: str, *arguments: Any) -> None:
            if name == "cuEventElapsedTime":
                arguments[0]._obj.value = 10.0 * self.works
                self.works = 0

        works = 0

    gpu = Clock()

    def work() -> None:
        gpu.works += 1

    found = Stopwatch(gpu).rates(work, 1.0, 0.4)  # type: ignore[arg-type]
    assert found["repetitions"] == 20
    assert found["median"] == pytest.approx(100)
    assert found["variation"] == pytest.approx(0)


# --- memory in pieces ---------------------------------------------------------------------------


class Pieces:
    """A GPU that hands out so many allocations and no more."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.driver = self

    def allocate(self, size: int) -> int:
        if not self.left:
            raise CudaError("cuMemAlloc_v2", 2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory")
        self.left -= 1
        return 1 << 40


def test_a_walk_takes_its_memory_in_chunks() -> None:
    walk = Walk(Pieces(9), 1)  # type: ignore[arg-type]
    assert walk.allocate(2 * CHUNK_BYTES + 100) == 2 * CHUNK_BYTES + 96
    assert [size for _, size in walk.chunks] == [CHUNK_BYTES, CHUNK_BYTES, 96]


def test_a_walk_is_content_with_less_than_was_free_and_says_how_much() -> None:
    walk = Walk(Pieces(3), 1)  # type: ignore[arg-type]
    assert walk.allocate(8 * CHUNK_BYTES) == 2 * CHUNK_BYTES, "the first holds the report"


def test_a_walk_without_any_memory_is_an_error() -> None:
    walk = Walk(Pieces(1), 1)  # type: ignore[arg-type]
    with pytest.raises(CudaError, match="OUT_OF_MEMORY"):
        walk.allocate(CHUNK_BYTES)


def test_no_other_error_is_taken_for_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(Pieces(9), 1)  # type: ignore[arg-type]
    walk.allocate(16)

    def broken(self: Pieces, size: int) -> int:
        raise CudaError("cuMemAlloc_v2", 700, "CUDA_ERROR_ILLEGAL_ADDRESS", "x")

    monkeypatch.setattr(Pieces, "allocate", broken)
    with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
        walk.allocate(64)
