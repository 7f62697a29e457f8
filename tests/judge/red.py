"""Red fixtures: for every check, faults that turn it red, and nothing else but what is named.

Those of single areas are in `areas/`; `every_red()` returns all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.judge import areas
from tests.judge.healthy import SYSTEM, device_leg, every_library, leg, measurement, value

Evidence = dict[str, Any]
Change = Callable[[Evidence], object]


@dataclass(frozen=True)
class Red:
    """One injected fault."""

    check: str
    name: str
    kind: str
    """Healthy evidence that it is injected into."""
    change: Change
    says: str
    """Part of the reason, so that it is red for the right reason."""
    status: str = "FAIL"
    also: tuple[str, ...] = ()
    """Other checks that the same fault rightly turns red."""

    def __str__(self) -> str:
        return f"{self.check}: {self.name}"


def put(check: str, **values: object) -> Change:
    """Measure other values."""
    return lambda e: value(e, check).update(values)


def drop(check: str, key: str) -> Change:
    """Leave one value out."""
    return lambda e: value(e, check).pop(key)


def error(check: str, text: str, **values: object) -> Change:
    """Report an error."""

    def change(evidence: Evidence) -> None:
        measurement(evidence, check)["error"] = text
        value(evidence, check).update(values)

    return change


def unmeasured(check: str) -> Change:
    """Leave a measurement out."""

    def change(evidence: Evidence) -> None:
        for one in evidence["legs"]:
            one["measurements"] = [m for m in one["measurements"] if m["check"] != check]

    return change


def move(old: str, new: str, package: str | None) -> Change:
    """Move a file, everywhere it is named, to where somebody else put it."""

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(item) for key, item in node.items()}
        if isinstance(node, list):
            return [walk(item) for item in node]
        return new if node == old else node

    def change(evidence: Evidence) -> None:
        evidence["legs"] = walk(evidence["legs"])
        for known in every_library(evidence, new):
            known["package"] = package

    return change


def library_is(part: str, **values: object) -> Change:
    """Say other things of a loaded file."""

    def change(evidence: Evidence) -> None:
        found = every_library(evidence, part)
        assert found
        for known in found:
            known.update(values)

    return change


def outcome(name: str, outcome: str, detail: str) -> Change:
    """End the machine part of a leg in another way."""
    return lambda e: leg(e, name).update(outcome=outcome, detail=detail)


def on_gpu_outcome(name: str, outcome: str, detail: str) -> Change:
    """End the device part of a leg in another way."""
    return lambda e: device_leg(e, name).update(outcome=outcome, detail=detail)


def _part(name: str, **values: object) -> Change:
    def change(evidence: Evidence) -> None:
        files = value(evidence, "cudnn.sublibraries")["files"]
        next(f for f in files if f["name"] == name).update(values)

    return change


def _without_part(name: str) -> Change:
    def change(evidence: Evidence) -> None:
        values = value(evidence, "cudnn.sublibraries")
        values["files"] = [f for f in values["files"] if f["name"] != name]

    return change


def state_is(path: str, new: object) -> Change:
    """Change one value of the state; `path` is joined by "/"."""

    def change(evidence: Evidence) -> None:
        node = evidence["state"]
        *parents, last = path.split("/")
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        node[last] = new

    return change


LT = "/usr/local/cuda-13.0/targets/x86_64-linux/lib/libcublasLt.so.13.1.0.3"
CUDNN = f"{SYSTEM}/libcudnn.so.9.13.0"
CUDA = f"{SYSTEM}/libcuda.so.580.95.05"
OWN_WHEEL = "/home/u/.local/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.13"
ANYWHERE = ("stack.libraries",)

RED: list[Red] = [
    # stack
    Red("stack.os", "another release", "lab", state_is("os/version_id", "22.04"), "another system"),
    Red("stack.os", "another machine", "gpu", state_is("machine", "aarch64"), "another system"),
    Red(
        "stack.packages",
        "upgraded behind our back",
        "lab",
        state_is("packages/libcublas-13-0", "13.1.1.3-1"),
        "libcublas-13-0 is 13.1.1.3-1, not 13.1.0.3-1",
    ),
    Red(
        "stack.packages",
        "removed",
        "gpu",
        lambda e: e["state"]["packages"].pop("libnvinfer10"),
        "libnvinfer10 is absent",
    ),
    Red(
        "stack.packages",
        "half configured",
        "lab",
        state_is(
            "broken",
            [{"name": "cuda-nvcc-13-0", "status": "install reinstreq installed"}],
        ),
        "cuda-nvcc-13-0 is 'install reinstreq installed'",
    ),
    Red("stack.wheels", "no stack", "wheels", state_is("stacks", []), "is not there"),
    Red(
        "stack.wheels", "incomplete", "wheels", state_is("stacks/0/complete", False), "not complete"
    ),
    Red(
        "stack.wheels",
        "another wheel",
        "wheels",
        lambda e: e["state"]["stacks"][0]["wheels"].update({"evil-1-py3-none-any.whl": "0" * 64}),
        "evil-1-py3-none-any.whl differs",
    ),
    Red(
        "stack.libraries",
        "altered on disk",
        "lab",
        library_is("libcublasLt", intact=False),
        "is not the file that its package brought",
    ),
    Red(
        "stack.libraries",
        "altered wheel file",
        "wheels",
        library_is("libcublasLt", intact=False),
        "is not the file that its package brought",
    ),
    Red(
        "stack.libraries",
        "a user's wheel was picked up by a dependency",
        "gpu",
        lambda e: leg(e, "nvcc")["libraries"].append(
            dict(every_library(e, "libcublasLt")[0], path=OWN_WHEEL, package=None)
        ),
        "belongs to nobody",
    ),
    Red(
        "stack.libraries",
        "a stub was mapped",
        "lab",
        lambda e: leg(e, "nvcc")["libraries"].append(
            dict(every_library(e, "libcuda.so")[0], path="/usr/local/cuda-13.0/stubs/libcuda.so")
        ),
        "is a stub",
    ),
    Red("gpu.present", "fell off the bus", "gpu", state_is("gpus", []), "none is there"),
    # driver
    Red(
        "driver.libcuda",
        "too old for the toolkit",
        "lab",
        put("driver.libcuda", cuda_version=12080),
        "too old",
    ),
    Red(
        "driver.libcuda",
        "does not start on a GPU",
        "gpu",
        put("driver.libcuda", init_code=999),
        "does not start, and a GPU is there",
    ),
    Red(
        "driver.libcuda",
        "a stub library answers",
        "lab",
        put("driver.libcuda", init_code=34),
        "STUB_LIBRARY",
    ),
    Red(
        "driver.libcuda",
        "library newer than the module",
        "driverless",
        put("driver.libcuda", init_code=803),
        "SYSTEM_DRIVER_MISMATCH",
    ),
    Red(
        "driver.libcuda",
        "strange code without a GPU",
        "lab",
        put("driver.libcuda", init_code=999),
        "does not start",
        status="WARN",
    ),
    Red(
        "driver.libcuda",
        "not found",
        "lab",
        error("driver.libcuda", "libcuda.so.1 was not found in loader", loaded=False, path=None),
        "was not found",
    ),
    Red(
        "driver.libcuda",
        "another driver's library",
        "gpu",
        move(CUDA, f"{SYSTEM}/libcuda.so.580.82.07", "libnvidia-compute-580"),
        "another driver's",
    ),
    Red(
        "driver.libcuda",
        "a copy outside of the packages",
        "gpu",
        move(CUDA, "/usr/local/lib/libcuda.so.580.95.05", None),
        "which is not below",
        also=ANYWHERE,
    ),
    Red(
        "driver.libcuda",
        "version call fails",
        "lab",
        put("driver.libcuda", get_version_code=1),
        "cuDriverGetVersion answers 1",
        status="ERROR",
    ),
    Red(
        "driver.libcuda",
        "no answer to cuInit",
        "gpu",
        drop("driver.libcuda", "init_code"),
        "init_code was not measured",
        status="ERROR",
    ),
    Red("driver.module", "not loaded", "gpu", put("driver.module", loaded=None), "no NVIDIA"),
    Red(
        "driver.module",
        "old module still loaded",
        "gpu",
        put("driver.module", loaded="580.82.07"),
        "of another driver; reboot",
    ),
    Red(
        "driver.module",
        "the other flavour",
        "gpu",
        put("driver.module", flavour="proprietary"),
        "other flavour",
    ),
    Red("driver.module", "nouveau", "lab", put("driver.module", nouveau=True), "nouveau"),
    Red(
        "driver.module",
        "no device nodes",
        "gpu",
        put("driver.module", device_nodes=[]),
        "device nodes",
    ),
    # health
    Red(
        "health.nvml",
        "library and module differ",
        "driverless",
        put("health.nvml", init_code=18, init_text="Driver/library version mismatch"),
        "NVML does not start",
    ),
    Red(
        "health.nvml",
        "driver not loaded on a GPU host",
        "gpu",
        put("health.nvml", init_code=9, init_text="Driver Not Loaded"),
        "NVML does not start",
    ),
    Red(
        "health.nvml",
        "answers for another driver",
        "gpu",
        put("health.nvml", driver_version="580.82.07"),
        "another driver",
    ),
    Red(
        "health.nvml",
        "a GPU is missing",
        "gpu",
        put("health.nvml", gpu_count=0),
        "on the bus that the driver does not see",
    ),
    Red(
        "health.nvml",
        "cannot count",
        "gpu",
        put("health.nvml", count_code=999),
        "nvmlDeviceGetCount answers 999",
        status="ERROR",
    ),
    Red(
        "health.nvml",
        "another's library",
        "lab",
        library_is("libnvidia-ml", package="libnvidia-compute-570"),
        "belongs to libnvidia-compute-570",
        also=ANYWHERE,
    ),
    # toolkit
    Red(
        "toolkit.cudart",
        "another minor",
        "wheels",
        put("toolkit.cudart", runtime_version=12090),
        "answers another version",
    ),
    Red(
        "toolkit.cudart",
        "version call fails",
        "lab",
        put("toolkit.cudart", code=999),
        "cudaRuntimeGetVersion answers 999",
        status="ERROR",
    ),
    Red(
        "toolkit.cudart",
        "a truth value instead of a number",
        "lab",
        put("toolkit.cudart", runtime_version=True),
        "runtime_version was not measured",
        status="ERROR",
    ),
    Red(
        "toolkit.cudart",
        "no number at all",
        "wheels",
        put("toolkit.cudart", runtime_version=float("nan")),
        "runtime_version was not measured",
        status="ERROR",
    ),
    Red(
        "toolkit.cublas",
        "another version",
        "gpu",
        put("toolkit.cublas", version="13.1.1"),
        "answers another version",
    ),
    Red(
        "toolkit.cublas",
        "a symbol is missing",
        "wheels",
        error("toolkit.cublas", "undefined symbol: cublasGetProperty"),
        "undefined symbol",
    ),
    Red(
        "toolkit.cublas",
        "not measured",
        "lab",
        unmeasured("toolkit.cublas"),
        "no toolkit",
        "ERROR",
    ),
    Red(
        "toolkit.cublaslt",
        "another version",
        "lab",
        put("toolkit.cublaslt", version_number=130101),
        "answers another version",
    ),
    Red(
        "toolkit.cublaslt",
        "a user's wheel",
        "gpu",
        move(LT, OWN_WHEEL, None),
        "which is not below",
        also=ANYWHERE,
    ),
    Red(
        "toolkit.nvrtc",
        "another minor",
        "wheels",
        put("toolkit.nvrtc", version="13.1"),
        "answers another version",
    ),
    Red(
        "toolkit.nvrtc",
        "was not loaded, and nobody says why",
        "lab",
        put("toolkit.nvrtc", loaded=False),
        "not loaded",
    ),
    # cudnn
    Red(
        "cudnn.library",
        "another version",
        "gpu",
        put("cudnn.library", version_number=91301),
        "answers another version",
    ),
    Red(
        "cudnn.library",
        "built for another CUDA",
        "lab",
        put("cudnn.library", built_for_cudart=12090),
        "built for another CUDA",
    ),
    Red(
        "cudnn.library",
        "a stub",
        "lab",
        move(CUDNN, f"{SYSTEM}/stubs/libcudnn.so.9.13.0", "libcudnn9-cuda-13"),
        "is a stub",
        also=("stack.libraries", "nvcc.link"),
    ),
    Red("cudnn.sublibraries", "one is missing", "wheels", _without_part("ops"), "missing: ops"),
    Red(
        "cudnn.sublibraries",
        "one is older by its file's name",
        "lab",
        _part("heuristic", file_version="9.12.0"),
        "heuristic is of another version",
    ),
    Red(
        "cudnn.sublibraries",
        "one answers an older version",
        "gpu",
        _part("graph", version_number=91200),
        "graph is of another version",
    ),
    Red(
        "cudnn.sublibraries",
        "one finds the others are not its own",
        "wheels",
        _part("cnn", check_code=1004),
        "not its own (status 1004)",
    ),
    Red(
        "cudnn.sublibraries",
        "one does not load",
        "gpu",
        _part("adv", loaded=False),
        "adv does not load",
    ),
    Red(
        "cudnn.sublibraries",
        "a declared one does not load for another reason",
        "wheels",
        error("cudnn.sublibraries", "libcudnn_graph.so.9: cannot open shared object file"),
        "does not load",
    ),
    Red(
        "cudnn.sublibraries",
        "nothing tells a wheel file's version",
        "wheels",
        library_is("libcudnn_heuristic", intact=None),
        "nothing tells of which version heuristic is",
        status="ERROR",
    ),
    # tensorrt
    Red(
        "tensorrt.library",
        "another version",
        "lab",
        put("tensorrt.library", version_number=101401),
        "answers another version",
    ),
    Red(
        "tensorrt.library",
        "not measured",
        "gpu",
        unmeasured("tensorrt.library"),
        "measured no tensorrt.library",
        status="ERROR",
    ),
    Red(
        "tensorrt_rtx.build",
        "no engine",
        "wheels",
        error("tensorrt_rtx.build", "RuntimeError: the builder returned no engine"),
        "returned no engine",
    ),
    Red(
        "tensorrt_rtx.build",
        "an empty engine",
        "wheels",
        put("tensorrt_rtx.build", engine_bytes=12),
        "cannot hold its weights",
    ),
    Red(
        "tensorrt_rtx.build",
        "another network",
        "wheels",
        put("tensorrt_rtx.build", output_shape=[1, 10]),
        "another network",
    ),
    Red(
        "tensorrt_rtx.build",
        "a target was left out",
        "wheels",
        put("tensorrt_rtx.build", targets=["SM80"]),
        "other targets",
    ),
    Red(
        "tensorrt_rtx.build",
        "a user's copy",
        "wheels",
        put("tensorrt_rtx.build", path="/root/.local/lib/tensorrt_rtx_bindings/__init__.py"),
        "another copy",
    ),
    Red(
        "tensorrt_rtx.build",
        "another version",
        "wheels",
        put("tensorrt_rtx.build", version="1.6.0.1"),
        "of another version",
    ),
    # nvcc
    Red(
        "nvcc.version",
        "another nvcc",
        "lab",
        put("nvcc.version", version="12.9.86"),
        "another nvcc",
    ),
    Red(
        "nvcc.version",
        "another copy",
        "gpu",
        put("nvcc.version", path="/usr/bin/nvcc"),
        "another copy",
    ),
    Red(
        "nvcc.version",
        "not there",
        "wheels",
        error("nvcc.version", "nvcc is not there", path=None),
        "not there",
    ),
    Red(
        "nvcc.link",
        "does not compile",
        "wheels",
        error("nvcc.link", "nv/target: No such file", compiled=False),
        "nv/target",
    ),
    Red("nvcc.link", "fails", "lab", put("nvcc.link", exit_status=127), "run to its end"),
    Red(
        "nvcc.link",
        "bound to another cuDNN",
        "gpu",
        put("nvcc.link", cudnn=90800),
        "bound to other libraries",
    ),
    Red(
        "nvcc.link",
        "did not bind to cuBLAS",
        "lab",
        lambda e: value(e, "nvcc.link").update(
            mapped=[p for p in value(e, "nvcc.link")["mapped"] if "libcublas.so" not in p]
        ),
        "did not bind to libcublas",
    ),
    Red(
        "nvcc.link",
        "sees no GPU where one is",
        "gpu",
        put("nvcc.link", count_code=100),
        "the program sees none",
    ),
    Red(
        "nvcc.link",
        "a mapped file that nobody described",
        "lab",
        lambda e: value(e, "nvcc.link")["mapped"].append(f"{SYSTEM}/libcudnn.so.9.1.0"),
        "was not found in the process's memory map",
    ),
    # every leg's end
    Red(
        "driver.ran",
        "crashed after its last measurement",
        "lab",
        outcome("driver", "crashed", "SIGSEGV"),
        "SIGSEGV",
    ),
    Red(
        "health.ran",
        "stuck in the kernel",
        "gpu",
        outcome("health", "stuck", "cannot be killed"),
        "hangs in the kernel",
    ),
    Red(
        "toolkit.ran",
        "timed out after its last measurement",
        "wheels",
        outcome("toolkit", "timeout", "no end within 60 s"),
        "did not end in time",
    ),
    Red("cudnn.ran", "crashed", "wheels", outcome("cudnn", "crashed", "SIGABRT"), "SIGABRT"),
    Red(
        "tensorrt.ran",
        "did not run",
        "lab",
        lambda e: e["legs"].remove(leg(e, "tensorrt")),
        "did not run",
        status="ERROR",
        also=("tensorrt.library",),
    ),
    Red(
        "tensorrt.ran",
        "crashed at its end",
        "lab",
        outcome("tensorrt", "crashed", "SIGSEGV"),
        "SIGSEGV",
    ),
    Red(
        "nvcc.ran",
        "said nothing",
        "wheels",
        lambda e: leg(e, "nvcc").update(outcome="no_output", measurements=[]),
        "said nothing",
        status="ERROR",
        also=("nvcc.version", "nvcc.link"),
    ),
    Red("nvcc.ran", "crashed at its end", "lab", outcome("nvcc", "crashed", "SIGILL"), "SIGILL"),
]


def every_red() -> list[Red]:
    """Return all red fixtures, the areas' too."""
    return RED + [red for area in areas.modules() for red in getattr(area, "RED", [])]
