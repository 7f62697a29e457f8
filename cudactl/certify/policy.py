"""From a lock to a policy: what the probe shall look at, and what each check must show.

Everything expected comes from the lock, and says so; the probe is told where to look and for what
names, never which version would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cudactl.contracts.certificate import Expectation, Policy
from cudactl.contracts.lock import LockedPackage, StackLock

LOADER = "loader"
STACKS = "/opt/cudactl/stacks"
TARGET_FOLDER = {"x86_64": "x86_64-linux", "sbsa": "sbsa-linux"}
MULTIARCH = {"x86_64": "x86_64-linux-gnu", "sbsa": "aarch64-linux-gnu"}
WITHOUT_GPU = "no GPU is in this machine and the lock names none: the level stays linkage"
# Compiled for Ampere and Hopper data-centre GPUs, which every toolkit from 11.8 on knows.
ARCHITECTURES = ["80", "90"]
# The targets that TensorRT for RTX 1.7 builds FP32 engines for ahead of time.
RTX_TARGETS = ["SM80", "SM86", "SM89", "SM120"]
# cuDNN's sub-libraries by major (NVIDIA cuDNN documentation, "Overview").
CUDNN_PARTS = {
    "9": [
        "adv",
        "cnn",
        "engines_precompiled",
        "engines_runtime_compiled",
        "graph",
        "heuristic",
        "ops",
    ],
    "8": ["adv_infer", "adv_train", "cnn_infer", "cnn_train", "ops_infer", "ops_train"],
}
NEED_DRIVER = ["engines_runtime_compiled"]
DEADLINES_S = {
    "driver": 30.0,
    "health": 30.0,
    "toolkit": 60.0,
    "cudnn": 120.0,
    "tensorrt": 180.0,
    "nvcc": 240.0,
}


@dataclass(frozen=True)
class _Place:
    """Where one library of the lock lies, and to whom it belongs."""

    package: LockedPackage
    folders: list[str]
    owners: list[str]

    def expect(self, version: str, **more: object) -> dict[str, Any]:
        """Return the expectation that every library check shares."""
        prefixes = [folder + "/" for folder in self.folders]
        return {"version": version, "prefixes": prefixes, "owners": self.owners, **more}


class _Layout:
    """Finds the lock's libraries, in whichever way the lock's source lays them out."""

    def __init__(self, lock: StackLock) -> None:
        self.lock = lock
        self.apt = lock.target.packages == "apt"
        cuda = lock.resolved.get("cuda", "")
        self.minor = ".".join(cuda.split(".")[:2])
        self.major = cuda.split(".")[0]
        self.home = f"/usr/local/cuda-{self.minor}"
        self.target = f"{self.home}/targets/{TARGET_FOLDER[lock.target.arch]}"
        self.system = f"/usr/lib/{MULTIARCH[lock.target.arch]}"
        self.site = f"{STACKS}/{lock.short_hash}/site"
        self.owner = f"stack:{lock.short_hash}"

    def _first(self, *patterns: str) -> LockedPackage | None:
        for pattern in patterns:
            for package in self.lock.packages:
                if re.fullmatch(pattern, package.name):
                    return package
        return None

    def place(
        self, apt: str, wheel: str, wheel_folder: str, *, system: bool = False
    ) -> _Place | None:
        """Return where a library lies, or None when the lock does not hold it.

        Args:
            apt: Pattern of its Debian package.
            wheel: Pattern of its wheel project.
            wheel_folder: Its folder below nvidia/ in wheels of CUDA 12; from 13 on it is cu<major>.
            system: True for libraries below /usr/lib instead of the toolkit's folder.
        """
        if self.apt:
            package = self._first(apt)
            folder = self.system if system else f"{self.target}/lib"
            return _Place(package, [folder], [package.name]) if package else None
        package = self._first(wheel)
        if package is None:
            return None
        names = [f"cu{self.major}", wheel_folder] if not system else [wheel_folder]
        folders = [f"{self.site}/nvidia/{name}/lib" for name in names]
        return _Place(package, folders, [self.owner])

    def driver(self, *patterns: str) -> _Place | None:
        """Return where a driver library lies."""
        package = self._first(*patterns)
        return _Place(package, [self.system], [package.name]) if package else None


class _Policy:
    """Collects the request and the expectations while walking through the lock."""

    def __init__(self, lock: StackLock) -> None:
        self.lock = lock
        self.layout = _Layout(lock)
        self.legs: dict[str, dict[str, Any]] = {}
        self.expectations: list[Expectation] = []

    def ask(self, leg: str, **more: object) -> dict[str, Any]:
        """Return the request for a leg, made at its first mention."""
        return self.legs.setdefault(leg, {"deadline_s": DEADLINES_S[leg], "libraries": {}}) | {
            k: self.legs[leg].setdefault(k, v) for k, v in more.items()
        }

    def library(self, legs: list[str], name: str, soname: str, place: _Place) -> None:
        """Ask legs to look for a library."""
        for leg in legs:
            wanted = self.ask(leg)["libraries"]
            wanted[name] = {"soname": soname, "folders": [*place.folders, LOADER]}

    def expect(self, check: str, expect: dict[str, Any], source: str) -> None:
        """Add an expectation."""
        self.expectations.append(Expectation(check=check, expect=expect, source=source))


def compile_policy(lock: StackLock) -> Policy:
    """Return the policy for a lock."""
    policy = _Policy(lock)
    _stack(policy)
    _driver(policy)
    _toolkit(policy)
    _cudnn(policy)
    _tensorrt(policy)
    _nvcc(policy)
    _libraries(policy)
    return Policy(
        lock_hash=lock.hash,
        resolved={str(k): v for k, v in lock.resolved.items()},
        allowed=[{"code": a.code, "reason": a.reason} for a in lock.allowed],
        legs=sorted(policy.legs),
        request={"world": "system", "hash": True, "legs": policy.legs},
        expectations=policy.expectations,
    )


def _libraries(policy: _Policy) -> None:
    """Whatever the legs map must be the lock's; a driver that it does not hold is the machine's."""
    lock, layout = policy.lock, policy.layout
    if not any(leg["libraries"] or "rtx" in leg or "nvcc" in leg for leg in policy.legs.values()):
        return
    owners = [p.name for p in lock.packages] if layout.apt else [layout.owner]
    held = lock.resolved.get("driver", "none") not in ("none", "preinstalled")
    foreign = [] if held else ["libcuda.so", "libnvidia-"]
    policy.expect("stack.libraries", {"owners": owners, "foreign": foreign}, "lock packages")


def _three(version: str) -> str:
    """Return the first three parts of a version, without epoch and revision."""
    upstream = version.split(":")[-1].split("-")[0].split("+")[0]
    return ".".join(upstream.split(".")[:3])


def _stack(policy: _Policy) -> None:
    lock = policy.lock
    machine = {"x86_64": "x86_64", "sbsa": "aarch64"}[lock.target.arch]
    policy.expect("stack.os", {"os": lock.target.os, "machine": machine}, "lock target")
    if lock.target.packages == "apt":
        packages = {p.name: p.version for p in lock.packages}
        policy.expect("stack.packages", {"packages": packages}, "lock packages")
    else:
        wheels = {p.filename: p.sha256 for p in lock.packages}
        expect = {"lock": lock.short_hash, "wheels": wheels}
        policy.expect("stack.wheels", expect, "lock packages")
    if lock.spec.gpus:
        policy.expect("gpu.present", {"gpus": list(lock.spec.gpus)}, "spec gpus")


def _driver(policy: _Policy) -> None:
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("driver", "none")
    if version in ("none", "preinstalled"):
        return
    without = {} if lock.spec.gpus else {"without_gpu": WITHOUT_GPU}
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    nvml = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libnvidia-ml1")
    policy.ask("driver")
    if cuda is not None:
        policy.library(["driver"], "cuda", "libcuda.so.1", cuda)
        floor: dict[str, Any] = {}
        if layout.minor:
            # Minor-version compatibility: a driver of the same CUDA major is enough to start.
            floor = {"cuda": f"{layout.major}.0", "cuda_number": int(layout.major) * 1000}
        policy.expect("driver.libcuda", cuda.expect(version, **floor), f"lock {cuda.package.name}")
    module = {"version": version, "flavour": lock.driver_flavour, **without}
    policy.expect("driver.module", module, "lock driver")
    if nvml is not None:
        policy.library(["health"], "nvml", "libnvidia-ml.so.1", nvml)
        expect = nvml.expect(version, **without)
        policy.expect("health.nvml", expect, f"lock {nvml.package.name}")


def _toolkit(policy: _Policy) -> None:
    layout = policy.layout
    if not layout.minor:
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    suffix = rf"(-cu{layout.major})?"
    minor = layout.minor
    rows = [
        ("cudart", "libcudart", rf"cuda-cudart-{dash}", "nvidia-cuda-runtime", "cuda_runtime"),
        ("cublas", "libcublas", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("cublaslt", "libcublasLt", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("nvrtc", "libnvrtc", rf"cuda-nvrtc-{dash}", "nvidia-cuda-nvrtc", "cuda_nvrtc"),
    ]
    for name, stem, apt, wheel, folder in rows:
        place = layout.place(apt, wheel + suffix, folder)
        if place is None:
            continue
        soname = (
            f"{stem}.so.{place.package.version.split('.')[0] if 'cublas' in name else layout.major}"
        )
        policy.library(["toolkit", "cudnn"], name, soname, place)
        version = _three(place.package.version) if "cublas" in name else minor
        policy.expect(f"toolkit.{name}", place.expect(version), f"lock {place.package.name}")


def _cudnn(policy: _Policy) -> None:
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("cudnn")
    if version is None:
        return
    major = version.split(".")[0]
    place = layout.place(
        rf"libcudnn{major}(-cuda-\d+)?", r"nvidia-cudnn-cu\d+", "cudnn", system=True
    )
    if place is None:
        return
    source = f"lock {place.package.name}"
    policy.library(["cudnn"], "cudnn", f"libcudnn.so.{major}", place)
    three = _three(version)
    expect = place.expect(three, cuda_major=layout.major or place.package.name.split("-")[-1])
    policy.expect("cudnn.library", expect, source)
    # Without a driver in the lock there is no libcuda, which these link to.
    needs = NEED_DRIVER if lock.resolved.get("driver", "none") == "none" else []
    expect = place.expect(three, names=CUDNN_PARTS.get(major, []), needs_driver=needs)
    policy.expect("cudnn.sublibraries", expect, source)


def _tensorrt(policy: _Policy) -> None:
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("tensorrt")
    if version is not None:
        place = layout.place(r"libnvinfer\d+", r"tensorrt-cu\d+-libs", "tensorrt_libs", system=True)
        if place is not None:
            soname = f"libnvinfer.so.{version.split('.')[0]}"
            policy.library(["tensorrt"], "nvinfer", soname, place)
            expect = place.expect(_three(version))
            policy.expect("tensorrt.library", expect, f"lock {place.package.name}")
    rtx = lock.resolved.get("tensorrt_rtx")
    if rtx is not None and not layout.apt:
        policy.ask("tensorrt", rtx={"site": layout.site, "targets": RTX_TARGETS})
        expect = {
            "version": rtx,
            "targets": RTX_TARGETS,
            "output_shape": [1, 1000],
            "prefixes": [layout.site + "/"],
        }
        policy.expect("tensorrt_rtx.build", expect, "lock tensorrt_rtx")


def _nvcc(policy: _Policy) -> None:
    layout = policy.layout
    if not layout.minor:
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    # NVIDIA's wheels hold the nvcc driver itself from CUDA 13 on; before, only its back end.
    nvcc = layout.place(rf"cuda-nvcc-{dash}", "nvidia-cuda-nvcc", "cuda_nvcc")
    cudart = layout.place(rf"cuda-cudart-{dash}", "nvidia-cuda-runtime", "cuda_runtime")
    cublas = layout.place(rf"libcublas-{dash}", "nvidia-cublas", "cublas")
    if nvcc is None or cudart is None:
        return
    home = layout.home if layout.apt else f"{layout.site}/nvidia/cu{layout.major}"
    source = f"lock {nvcc.package.name}"
    policy.ask("nvcc", nvcc=f"{home}/bin/nvcc")
    expect: dict[str, Any] = {"version": _three(nvcc.package.version), "prefixes": [f"{home}/"]}
    policy.expect("nvcc.version", expect, source)
    version = policy.lock.resolved.get("cudnn")
    headers = not layout.apt or any(
        re.fullmatch(r"libcudnn\d+-dev.*", p.name) for p in policy.lock.packages
    )
    if version is None or cublas is None or not headers:
        policy.ask("nvcc", link=False)
        return
    cudnn = layout.place(r"libcudnn\d+(-cuda-\d+)?", r"nvidia-cudnn-cu\d+", "cudnn", system=True)
    assert cudnn is not None
    places = [cudart, cublas, cudnn]
    folders = list(dict.fromkeys(f for p in places for f in p.folders))
    includes = [folder[: -len("lib")] + "include" for folder in folders if not layout.apt]
    policy.ask("nvcc", link=True, folders=folders, includes=includes, architectures=ARCHITECTURES)
    expect = {
        "cudart": layout.minor,
        "cudnn": _three(version),
        "prefixes": [folder + "/" for folder in folders],
        "owners": list(dict.fromkeys(o for p in places for o in p.owners)),
    }
    policy.expect("nvcc.link", expect, source)
