"""Healthy evidence of four kinds of machine, each with the policy of its lock.

`wheels` is recorded: real NVIDIA wheels, measured on Debian 12 without a GPU. The others are
written by hand after what real hosts and the lab answer. What single areas add to them (device
parts of legs, further checks of the machine) comes from the modules of `areas/`.
"""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path
from typing import Any

from cudactl.certify.policy import compile_policy
from cudactl.contracts.certificate import Tier
from cudactl.contracts.lock import LockedPackage, LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.lock.file import read_lock
from cudactl.workflow.references import gpu_references, xid_meanings
from tests.judge import areas

RECORDED = Path(__file__).parent.parent / "evidence"
NOW = 1_795_000_000.0
LIB = "/usr/local/cuda-13.0/targets/x86_64-linux/lib"
SYSTEM = "/usr/lib/x86_64-linux-gnu"
DRIVER = "580.95.05"
PACKAGES = {
    "cuda-cudart-13-0": ("13.0.96-1", "cuda"),
    "cuda-nvcc-13-0": ("13.0.88-1", "cuda"),
    "cuda-nvrtc-13-0": ("13.0.88-1", "cuda"),
    "libcublas-13-0": ("13.1.0.3-1", "cuda"),
    "libcudnn9-cuda-13": ("9.13.0.50-1", "cudnn"),
    "libcudnn9-dev-cuda-13": ("9.13.0.50-1", "cudnn"),
    "libnccl2": ("2.27.3-1+cuda13.0", "nccl"),
    "libnvidia-compute-580": (f"{DRIVER}-1ubuntu1", "driver"),
    "libnvinfer10": ("10.13.3.9-1+cuda13.0", "tensorrt"),
    "libnvinfer-bin": ("10.13.3.9-1+cuda13.0", "tensorrt"),
    "nvidia-open-580": (f"{DRIVER}-1ubuntu1", "driver"),
    "python3-libnvinfer": ("10.13.3.9-1+cuda13.0", "tensorrt"),
}
FRAMEWORKS = {
    "tensorflow": ("2.20.0", "frameworks"),
    "torch": ("2.13.0", "frameworks"),
}
PARTS = (
    "adv",
    "cnn",
    "engines_precompiled",
    "engines_runtime_compiled",
    "graph",
    "heuristic",
    "ops",
)
GPU = {
    "id": "GPU-c0dac711-0000-4000-8000-000000000001",
    "address": "0000:17:00.0",
    "device": "2335",
    "users": [],
}
"""The H200 of the kind `gpu`."""
Pair = tuple[dict[str, Any], dict[str, Any]]


def apt_lock(gpus: tuple[str, ...] = (), *, frameworks: bool = False) -> StackLock:
    """The lock of an apt host; naming GPUs makes one necessary."""
    packages = {**PACKAGES, **(FRAMEWORKS if frameworks else {})}
    return StackLock(
        spec=StackSpec(os="ubuntu-24.04", cuda="13.0", cudnn="9", gpus=list(gpus)),
        spec_hash="1" * 64,
        catalogue_hash="2" * 64,
        target=LockTarget(os="ubuntu-24.04", arch="x86_64", packages="apt"),
        resolved={
            "cuda": "13.0.2",
            "cudnn": "9.13.0.50",
            "driver": DRIVER,
            "tensorrt": "10.13.3.9",
        },
        driver_flavour="open",
        sources=[LockSource(name="nvidia", kind="apt", url="https://a.invalid/", vendor=True)],
        packages=[
            LockedPackage.model_validate(
                {
                    "name": name,
                    "version": version,
                    "arch": "amd64",
                    "sha256": "ab" * 32,
                    "size": 1,
                    "source": "nvidia",
                    "component": component,
                    "filename": f"./{name}.deb",
                    "why": "a fixture",
                }
            )
            for name, (version, component) in packages.items()
        ],
    )


def _state(*, gpu: bool) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "probe_version": "0.1.0",
        "taken_at": NOW - 30,
        "duration_s": 0.05,
        "euid": 0,
        "hostname": "h1",
        "machine_id": "a" * 32,
        "boot_id": "boot-1",
        "os": {
            "id": "ubuntu",
            "version_id": "24.04",
            "codename": "noble",
            "pretty": "Ubuntu 24.04.3 LTS",
            "look_alike": not gpu,
        },
        "machine": "x86_64",
        "dpkg_arch": "amd64",
        "virtualization": None,
        "kernel": {
            "running": "6.8.0-31-generic",
            "newest_installed": None,
            "headers": [],
            "secure_boot": None,
        },
        "python": {"version": "3.12.3", "executable": "/usr/bin/python3", "tag": "cp312"},
        "packages": {"libc6": "2.39", **{name: version for name, (version, _) in PACKAGES.items()}},
        "holds": [],
        "broken": [],
        "dpkg_locked": False,
        "apt_sources": [],
        "files": [],
        "stacks": [],
        "active_stack": None,
        "module": {
            "loaded": DRIVER if gpu else None,
            "flavour": "open" if gpu else None,
            "on_disk": {},
            "nouveau": False,
        },
        "gpus": [{"address": GPU["address"], "device": GPU["device"], "driver": "nvidia"}] * gpu,
        "device_nodes": ["/dev/nvidia0", "/dev/nvidiactl"] if gpu else [],
        "gpu_processes": [],
        "disks": [],
        "container_engines": [],
        "owners": [],
        "reboot_required": False,
        "unattended_upgrades": False,
        "host_lock": None,
        "certificate": None,
    }


def library(path: str, package: str, *, simulated: bool = False) -> dict[str, Any]:
    """What is known of a loaded file; every leg that has it loaded must say the same."""
    return {
        "soname": path.rsplit("/", 1)[1],
        "path": path,
        "size": 1000,
        "sha256": "cd" * 32,
        "package": package,
        "intact": True,
        "simulated": simulated,
    }


def _leg(
    leg: str,
    measurements: dict[str, dict[str, Any]],
    libraries: list[dict[str, Any]],
    gpu: str | None = None,
) -> dict[str, Any]:
    return {
        "leg": leg,
        "gpu": gpu,
        "outcome": "ran",
        "detail": "",
        "duration_s": 0.5,
        "measurements": [
            {"check": check, "values": values, "error": None, "duration_s": 0.1}
            for check, values in measurements.items()
        ],
        "libraries": libraries,
    }


def _apt_evidence(*, gpu: bool) -> dict[str, Any]:
    paths = {
        "cuda": (f"{SYSTEM}/libcuda.so.{DRIVER}", "libnvidia-compute-580"),
        "nvml": (f"{SYSTEM}/libnvidia-ml.so.{DRIVER}", "libnvidia-compute-580"),
        "cudart": (f"{LIB}/libcudart.so.13.0.96", "cuda-cudart-13-0"),
        "cublas": (f"{LIB}/libcublas.so.13.1.0.3", "libcublas-13-0"),
        "cublaslt": (f"{LIB}/libcublasLt.so.13.1.0.3", "libcublas-13-0"),
        "nvrtc": (f"{LIB}/libnvrtc.so.13.0.88", "cuda-nvrtc-13-0"),
        "cudnn": (f"{SYSTEM}/libcudnn.so.9.13.0", "libcudnn9-cuda-13"),
        "nvinfer": (f"{SYSTEM}/libnvinfer.so.10.13.3", "libnvinfer10"),
    }
    for part in PARTS:
        paths[part] = (f"{SYSTEM}/libcudnn_{part}.so.9.13.0", "libcudnn9-cuda-13")

    def libraries(*names: str) -> list[dict[str, Any]]:
        return [library(*paths[name], simulated=not gpu) for name in names]

    def loaded(name: str, **values: object) -> dict[str, Any]:
        return {"soname": name, "path": paths[name][0], "loaded": True, **values}

    module = {
        "loaded": DRIVER if gpu else None,
        "flavour": "open" if gpu else None,
        "on_disk": {},
        "nouveau": False,
        "device_nodes": ["/dev/nvidia0", "/dev/nvidiactl"] if gpu else [],
    }
    nvml = {
        "init_code": 0,
        "init_text": "The operation was successful",
        "driver_version": DRIVER,
        "nvml_version": f"13.{DRIVER}",
        "count_code": 0,
        "gpu_count": int(gpu),
    }
    files = [
        {
            "name": part,
            "loaded": True,
            "path": paths[part][0],
            "file_version": "9.13.0",
            "version_number": 91300 if part == "graph" else None,
            "check_code": 0 if part in ("graph", "ops", "cnn", "adv") else None,
        }
        for part in PARTS
    ]
    link = {
        "compiled": True,
        "compile_s": 4.5,
        "architectures": ["80", "90"],
        "exit_status": 0,
        "count_code": 0 if gpu else 100,
        "count": int(gpu),
        "runtime": 13000,
        "driver": 13000,
        "cudnn": 91300,
        "blas_code": 0 if gpu else 1,
        "dnn_code": 0 if gpu else 1001,
        "mapped": sorted(paths[n][0] for n in ("cudart", "cublas", "cublaslt", "cudnn", "graph")),
    }
    nvcc = {
        "path": "/usr/local/cuda-13.0/bin/nvcc",
        "release": "13.0",
        "version": "13.0.88",
    }
    init = 0 if gpu else 100
    cuda = loaded("cuda", get_version_code=0, cuda_version=13000, init_code=init)
    toolkit = {
        "toolkit.cudart": loaded(
            "cudart", code=0, runtime_version=13000, device_count_code=35, device_count=0
        ),
        "toolkit.cublaslt": loaded("cublaslt", version_number=130100, built_for_cudart=13000),
        "toolkit.cublas": loaded("cublas", version="13.1.0"),
        "toolkit.nvrtc": loaded("nvrtc", code=0, version="13.0"),
    }
    cudnn = {
        "cudnn.library": loaded(
            "cudnn", version_number=91300, built_for_cudart=13000, version="9.13.0"
        ),
        "cudnn.sublibraries": {"files": files},
    }
    nvinfer = {"tensorrt.library": loaded("nvinfer", version_number=101303)}
    four = ("cudart", "cublas", "cublaslt", "nvrtc")
    evidence = {
        "schema_version": 1,
        "probe_version": "0.1.0",
        "probe_sha256": None,
        "taken_at": NOW - 30,
        "duration_s": 6.0,
        "world": "system",
        "state": _state(gpu=gpu),
        "gpus": [dict(GPU)] * gpu,
        "legs": [
            _leg("driver", {"driver.libcuda": cuda, "driver.module": module}, libraries("cuda")),
            _leg("health", {"health.nvml": loaded("nvml", **nvml)}, libraries("nvml")),
            _leg("toolkit", toolkit, libraries(*four)),
            _leg("cudnn", cudnn, libraries(*four, "cudnn", *PARTS)),
            _leg("tensorrt", nvinfer, libraries("nvinfer")),
            _leg(
                "nvcc",
                {"nvcc.version": nvcc, "nvcc.link": link},
                libraries("cudart", "cublas", "cublaslt", "cudnn", "graph"),
            ),
        ],
    }
    for area in areas.modules():
        if hasattr(area, "machine"):
            area.machine(evidence, gpu=gpu)
        if gpu and hasattr(area, "healthy"):
            area.healthy(evidence)
    return evidence


def add_device_leg(
    evidence: dict[str, Any],
    name: str,
    measurements: dict[str, dict[str, Any]],
    libraries: list[dict[str, Any]] | None = None,
    gpu: dict[str, Any] = GPU,
) -> dict[str, Any]:
    """Add the part of a leg that ran on a GPU: check → measured values; return it."""
    added = _leg(name, measurements, libraries or [], gpu["id"])
    evidence["legs"].append(added)
    return added


def add_leg(
    evidence: dict[str, Any],
    name: str,
    measurements: dict[str, dict[str, Any]],
    libraries: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Add the machine part of a leg, or further measurements to the one that is there."""
    added = _leg(name, measurements, libraries or [])
    for one in evidence["legs"]:
        if one["leg"] == name and one["gpu"] is None:
            one["measurements"] += added["measurements"]
            one["libraries"] += [x for x in added["libraries"] if x not in one["libraries"]]
            return dict(one)
    evidence["legs"].append(added)
    return added


def _policy(lock: StackLock, tier: Tier = "smoke") -> dict[str, Any]:
    policy = compile_policy(lock, tier=tier, references=gpu_references(), xids=xid_meanings())
    document: dict[str, Any] = policy.model_dump(mode="json")
    for area in areas.modules():
        if hasattr(area, "policy"):
            area.policy(document)
    return document


def lab() -> Pair:
    """A lab host: simulated libraries from the mirror, no GPU, and a lock that names none."""
    return _apt_evidence(gpu=False), _policy(apt_lock())


def gpu() -> Pair:
    """A host with an H200, a lock that names it, and real packages."""
    return _apt_evidence(gpu=True), _policy(apt_lock(("H200 SXM",)))


def nightly() -> Pair:
    """The same host at night, with frameworks and a second H200 that was not chosen for tests."""
    evidence = _apt_evidence(gpu=True)
    state = evidence["state"]
    state["packages"].update({name: version for name, (version, _) in FRAMEWORKS.items()})
    state["gpus"].append({**state["gpus"][0], "address": "0000:65:00.0"})
    value(evidence, "health.nvml")["gpu_count"] = 2
    value(evidence, "driver.memory")["checked_bytes"] = 120_000_000_000
    nodes = value(evidence, "driver.nodes")
    first = next(one for one in nodes["files"] if one["path"] == "/dev/nvidia0")
    nodes["files"].append({**first, "path": "/dev/nvidia1", "minor": 1})
    nodes["gpu_minors"].append("1")
    for area in areas.modules():
        if hasattr(area, "nightly"):
            area.nightly(evidence)
    lock = apt_lock(("H200 SXM",), frameworks=True)
    return evidence, _policy(lock, "nightly")


def driverless() -> Pair:
    """A host with real packages, driver and all, but without a GPU: nothing was loaded by it."""
    evidence = _apt_evidence(gpu=False)
    nvml = value(evidence, "health.nvml")
    nvml.update(init_code=9, init_text="Driver Not Loaded")
    for key in ("driver_version", "nvml_version", "count_code", "gpu_count"):
        del nvml[key]
    for leg in evidence["legs"]:
        for known in leg["libraries"]:
            known["simulated"] = False
    evidence["state"]["os"]["look_alike"] = False
    return evidence, _policy(apt_lock())


def wheels() -> Pair:
    """Recorded: NVIDIA's wheels for CUDA 13.0, cuDNN 9.28 and TensorRT for RTX, without a GPU."""
    evidence = json.loads((RECORDED / "wheels-cuda-13.0-no-gpu.json").read_text())
    return evidence, _policy(read_lock(RECORDED / "wheels-cuda-13.0.lock"))


KINDS = {
    "lab": lab,
    "gpu": gpu,
    "nightly": nightly,
    "driverless": driverless,
    "wheels": wheels,
}


@functools.cache
def _kept(kind: str) -> bytes:
    # Read back in a tenth of the time that a deep copy takes; there are hundreds of them.
    return pickle.dumps(KINDS[kind]())


def fresh(kind: str) -> Pair:
    """Return a copy that a test may change."""
    copied: Pair = pickle.loads(_kept(kind))
    return copied


def value(evidence: dict[str, Any], check: str) -> dict[str, Any]:
    """Return a check's measured values."""
    found: dict[str, Any] = measurement(evidence, check)["values"]
    return found


def measurement(evidence: dict[str, Any], check: str) -> dict[str, Any]:
    """Return a check's measurement, the machine's or the first GPU's."""
    return next(m for leg in evidence["legs"] for m in leg["measurements"] if m["check"] == check)


def leg(evidence: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the machine part of a leg."""
    return _part(evidence, name, None)


def device_leg(evidence: dict[str, Any], name: str, gpu: str = str(GPU["id"])) -> dict[str, Any]:
    """Return the part of a leg that ran on a GPU."""
    return _part(evidence, name, gpu)


def _part(evidence: dict[str, Any], name: str, gpu: str | None) -> dict[str, Any]:
    found: dict[str, Any] = next(
        x for x in evidence["legs"] if x["leg"] == name and x.get("gpu") == gpu
    )
    return found


def every_library(evidence: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """Return what is said of a file, wherever it is said."""
    return [x for lg in evidence["legs"] for x in lg["libraries"] if part in x["path"]]
