"""Simulated GPUs: libraries that compute on the processor, and do wrong on demand.

For machines without a GPU: the legs' device parts run against them for real, as processes of
their own, and a fault that is named beside the library (a flipped bit, a NaN, a hang, a lost SM)
must turn the right check red. Whatever touches them is `simulated` in every output.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cudactl.lab.simulated.build import SimulationError

SOURCES = Path(__file__).parent / "simulated" / "gpu"
CONF = "simulated-gpu.conf"
FLAGS = ("-shared", "-fPIC", "-O2", "-w", "-fvisibility=hidden", "-ffp-contract=off")
LIBRARIES: dict[str, str] = {
    "libcuda.so.1": "cuda.c",
    "libnvidia-ml.so.1": "nvml.c",
    "libcudart.so.13": "cudart.c",
    "libcublasLt.so.13": "cublaslt.c",
    "libcublas.so.13": "cublas.c",
    "libnvrtc.so.13": "nvrtc.c",
    "libcuda-launch.so.1": "launch.c",
    "libnccl.so.2": "nccl.c",
    "libcudnn.so.9": "cudnn.c",
}
"""soname → source in `simulated/gpu/`; a leg's shim is listed here by whoever writes it."""


@dataclass(frozen=True)
class SimulatedGpu:
    """What the simulated libraries say that they drive."""

    name: str = "NVIDIA H200"
    device: str = "2335"
    address: str = "0000:17:00.0"
    uuid: str = "GPU-c0dac711-0000-4000-8000-000000000001"
    cc: str = "9.0"
    sm_count: int = 132
    memory_bytes: int = 150_754_820_096
    driver: str = "580.95.05"
    cuda: int = 13000
    more: Mapping[str, str] = field(default_factory=dict)
    """Further keys that single libraries understand."""

    def conf(self, faults: Mapping[str, object]) -> str:
        """Return the conf file's text: the GPU, and what is wrong with it."""
        lines = {
            "gpu.name": self.name,
            "gpu.device": self.device,
            "gpu.address": self.address,
            "gpu.uuid": self.uuid,
            "gpu.cc": self.cc,
            "gpu.sm_count": self.sm_count,
            "gpu.memory_bytes": self.memory_bytes,
            "driver.version": self.driver,
            "driver.cuda": self.cuda,
            **self.more,
            **{f"fault.{name}": strength for name, strength in faults.items()},
        }
        return "".join(f"{key} {value}\n" for key, value in lines.items())

    @property
    def tested(self) -> dict[str, object]:
        """The GPU as a request's "gpus" names it."""
        return {"id": self.uuid, "address": self.address, "device": self.device}


H200 = SimulatedGpu()


def build(
    folder: Path,
    sonames: Sequence[str],
    gpu: SimulatedGpu = H200,
    faults: Mapping[str, object] | None = None,
) -> Path:
    """Put simulated libraries and their conf into `folder` and return it.

    Each source is compiled once and kept in the user's cache by its content.

    Args:
        folder: Where they go; made when it is not there.
        sonames: Which, keys of `LIBRARIES`.
        gpu: What they drive.
        faults: Fault → strength (1 is on).

    Raises:
        SimulationError: SIMULATED-BUILD.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for soname in sonames:
        shutil.copyfile(_compiled(soname), folder / soname)
    (folder / CONF).write_text(gpu.conf(faults or {}))
    return folder


def _compiled(soname: str) -> Path:
    source = SOURCES / LIBRARIES[soname]
    headers = sorted(SOURCES.glob("*.h"))
    digest = hashlib.sha256(soname.encode())
    for path in (source, *headers):
        digest.update(path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "cudactl"
    built = cache / "simulated-gpu" / digest.hexdigest()[:24] / soname
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    partial = built.with_name(f".{soname}.{os.getpid()}")
    command = ["gcc", *FLAGS, f"-Wl,-soname,{soname}", str(source), "-o", str(partial)]
    done = subprocess.run([*command, "-lm", "-ldl"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SimulationError(
            "SIMULATED-BUILD",
            f"{source.name} does not compile: {done.stderr.strip()[-400:]}",
            expected="gcc and the C library's headers",
            remedy="make setup",
        )
    partial.replace(built)
    return built
