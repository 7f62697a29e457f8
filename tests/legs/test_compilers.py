"""What the toolkit and nvcc legs compile on a GPU is compiled here by NVIDIA's own compilers.

They need no GPU: NVRTC and nvcc come out of NVIDIA's wheels, for every architecture that they know.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from cudactl.probe.cuda import nvrtc_api
from cudactl.probe.cuda.calls import CallFailed
from cudactl.probe.legs.device.nvcc_source import SOURCE
from cudactl.probe.legs.device.toolkit import KERNEL
from cudactl.probe.loading import Loaded

pytestmark = pytest.mark.wheels
COMPILER = (
    "nvidia-cuda-nvcc",
    "nvidia-nvvm",
    "nvidia-cuda-crt",
    "nvidia-cuda-runtime",
    "nvidia-cuda-cccl",
)
# Of these, which weigh hundreds of megabytes, only the headers.
HEADERS = {"nvidia-cublas": "13.0", "nvidia-cudnn-cu13": "9.13"}


def unpacked(folder: Path, *wanted: str) -> Path:
    """Fetch wheels and unpack them into one folder, as a stack of wheels is; return CUDA's."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, *wanted], check=True, capture_output=True, timeout=900)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    return folder / "nvidia" / "cu13"


def headers(folder: Path) -> list[str]:
    """Fetch only the headers of further wheels; return where they are, as options."""
    from pypi_simple import PyPISimple
    from remotezip import RemoteZip

    from cudactl.stack.index.wheel_source import configured_index

    with PyPISimple(configured_index()) as index:
        for project, version in HEADERS.items():
            packages = index.get_project_page(project).packages
            found = [p for p in packages if f"-{version}." in p.filename and "x86" in p.filename]
            with RemoteZip(found[-1].url) as archive:
                names = [name for name in archive.namelist() if "/include/" in name]
                archive.extractall(folder, names)
    return [
        f"-I{path.parent}" for name in ("cublas_v2.h", "cudnn.h") for path in folder.rglob(name)
    ]


@pytest.fixture(scope="module")
def nvrtc(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A real libnvrtc."""
    home = unpacked(tmp_path_factory.mktemp("nvrtc"), "nvidia-cuda-nvrtc==13.0.*")
    library = Loaded("libnvrtc.so.13", [str(home / "lib")])
    assert library.error is None
    return library


@pytest.mark.parametrize("cc", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1)])
def test_nvrtc_makes_machine_code_for_every_generation(nvrtc: Loaded, cc: tuple[int, int]) -> None:
    code = nvrtc_api.compiled(nvrtc, KERNEL, cc)
    assert code[:4] == b"\x7fELF"
    assert b"cudactl_check" in code


def test_nvrtc_says_what_it_does_not_know_and_what_is_wrong(nvrtc: Loaded) -> None:
    with pytest.raises(CallFailed, match=r"answers 5 .*invalid value for --gpu-architecture"):
        nvrtc_api.compiled(nvrtc, KERNEL, (5, 0))
    with pytest.raises(CallFailed, match=r"answers 6 .*expected an expression"):
        nvrtc_api.compiled(nvrtc, KERNEL.replace("= in[i]", "= "), (9, 0))


def nvcc(folder: Path, generations: Sequence[str], *options: str) -> None:
    """Compile the program with the wheels' nvcc for these generations; fail with what it says."""
    home = unpacked(folder, *(f"{name}==13.0.*" for name in COMPILER))
    for tool in [*(home / "bin").iterdir(), *(home / "nvvm" / "bin").iterdir()]:
        tool.chmod(0o755)
    source = folder / "check.cu"
    source.write_text(SOURCE)
    command = [str(home / "bin" / "nvcc"), "-O2", "-c", str(source), "-o", "/dev/null", *options]
    command += [*headers(folder), f"-I{home / 'include'}"]
    for number in generations:
        for code in ("sm", "compute"):
            command += ["-gencode", f"arch=compute_{number},code={code}_{number}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("generation", ["75", "90"])
def test_nvcc_compiles_the_program(tmp_path: Path, generation: str) -> None:
    nvcc(tmp_path, [generation], "-DCUDACTL_LINK")


@pytest.mark.soak
@pytest.mark.parametrize("link", [[], ["-DCUDACTL_LINK"]])
def test_nvcc_compiles_the_program_for_every_generation(tmp_path: Path, link: list[str]) -> None:
    nvcc(tmp_path, ["75", "80", "86", "89", "90", "100", "120"], *link)
