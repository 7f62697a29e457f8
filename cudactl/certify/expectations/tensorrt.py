"""TensorRT and TensorRT for RTX."""

from __future__ import annotations

from cudactl.certify.builder import LOADER, PolicyBuilder
from cudactl.certify.layout import three

# The targets that TensorRT for RTX 1.7 builds FP32 engines for ahead of time.
RTX_TARGETS = ["SM80", "SM86", "SM89", "SM120"]
# Where python3-libnvinfer puts its module; the leg fills in the Python that it runs in.
SITES = ["/usr/lib/python3/dist-packages", "/usr/lib/python{python}/dist-packages"]
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
ON_GPU = ("engine", "accuracy", "latency")
NEITHER = "the lock holds neither TensorRT's Python bindings nor trtexec"


def expect_tensorrt(policy: PolicyBuilder) -> None:
    """Add what the lock promises of tensorrt."""
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("tensorrt")
    if version is not None:
        place = layout.place(r"libnvinfer\d+", r"tensorrt-cu\d+-libs", "tensorrt_libs", system=True)
        if place is not None:
            soname = f"libnvinfer.so.{version.split('.')[0]}"
            policy.library(["tensorrt"], "nvinfer", soname, place)
            expect = place.expect(three(version))
            policy.expect("tensorrt.library", expect, f"lock {place.package.name}")
            _on_gpu(policy, three(version))
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


def _on_gpu(policy: PolicyBuilder, version: str) -> None:
    """Add the classifier, through the bindings or, where the lock has none, through trtexec."""
    layout = policy.layout
    if not policy.wants_device("tensorrt"):
        return
    bindings = layout.place("python3-libnvinfer", r"tensorrt-cu\d+-bindings", "", system=True)
    program = layout.first("libnvinfer-bin") if layout.apt else None
    if bindings is None and program is None:
        for what in ON_GPU:
            policy.skip(f"tensorrt.{what}", NEITHER)
        return
    request = policy.ask_device("tensorrt")
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    folders = [*(cuda.folders if cuda is not None else []), LOADER]
    request["libraries"]["cuda"] = {"soname": "libcuda.so.1", "folders": folders}
    expect: dict[str, object] = {"version": version, "via": "trtexec"}
    if bindings is not None:
        request["sites"] = SITES if layout.apt else [layout.site]
        prefixes = ["/usr/lib/python3"] if layout.apt else [layout.site + "/"]
        expect = {**bindings.expect(version), "prefixes": prefixes, "via": "bindings"}
    if program is not None:
        request["trtexec"] = TRTEXEC
    package = bindings.package if bindings is not None else program
    source = f"lock {package.name}" if package is not None else ""
    policy.expect("tensorrt.engine", expect, source)
    policy.expect("tensorrt.accuracy", {}, "the rounding of half and single precision")
    policy.expect("tensorrt.latency", {}, "measured; the policy may name limits (p99_ms)")
