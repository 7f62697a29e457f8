"""Every check: which leg measures it, and what makes it pass or fail.

A check is a function of context and expectation to (status, measured, expected, reason). It passes
only with a measured value that equals what was expected.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from .context import Answer, Context, cuda_version, dotted

Check = Callable[[Context, Dict[str, Any]], Answer]


def stack_os(context: Context, expect: Dict[str, Any]) -> Answer:
    """The machine runs the distribution that the lock is for."""
    system = context.state["os"]
    found = "%s-%s" % (system["id"], system["version_id"])
    if found == expect["os"]:
        return "PASS", found, expect["os"], "the distribution is the lock's"
    return "FAIL", found, expect["os"], "the lock is for another distribution"


def stack_packages(context: Context, expect: Dict[str, Any]) -> Answer:
    """Every locked package is installed at exactly its version."""
    wanted: Dict[str, str] = expect["packages"]
    have = context.state["packages"]
    if not wanted:
        return "ERROR", "", "", "the lock names no packages"
    wrong = [
        "%s is %s, not %s" % (name, have.get(name) or "absent", version)
        for name, version in sorted(wanted.items())
        if have.get(name) != version
    ]
    total = "%d packages" % len(wanted)
    if wrong:
        return (
            "FAIL",
            "%d of %s differ" % (len(wrong), total),
            total,
            "; ".join(wrong[:5]) + ("; …" if len(wrong) > 5 else ""),
        )
    return "PASS", total, total, "each is installed at exactly its locked version"


def stack_wheels(context: Context, expect: Dict[str, Any]) -> Answer:
    """The wheel stack is there, complete, from exactly the locked files."""
    wanted: Dict[str, str] = expect["wheels"]
    total = "%d wheels" % len(wanted)
    stack = next((s for s in context.state["stacks"] if s["lock"] == expect["lock"]), None)
    if stack is None:
        return "FAIL", "no stack", total, "the stack %s is not there" % expect["lock"]
    if not stack["complete"]:
        return "FAIL", "incomplete", total, "the stack %s is not complete" % expect["lock"]
    if stack["wheels"] != wanted:
        differ = sorted(set(wanted.items()) ^ set(stack["wheels"].items()))
        return "FAIL", "other wheels", total, "%s differs from the lock" % differ[0][0]
    return "PASS", total, total, "complete, each wheel with its locked sha256"


def gpu_present(context: Context, expect: Dict[str, Any]) -> Answer:
    """A machine whose lock names GPUs has one."""
    count = len(context.state["gpus"])
    if count:
        return "PASS", "%d on the PCI bus" % count, ", ".join(expect["gpus"]), "a GPU is there"
    return "FAIL", "none", ", ".join(expect["gpus"]), "the lock names GPUs and none is there"


def from_right_place(
    context: Context, path: Optional[str], expect: Dict[str, Any]
) -> Optional[str]:
    """Return why a file is not the one that was installed for this lock, or None."""
    if not path:
        return "it was not found"
    if "/stubs/" in path:
        return "%s is a stub, which only links" % path
    prefixes: List[str] = expect["prefixes"]
    if not any(path.startswith(prefix) for prefix in prefixes):
        return "%s was loaded, which is not below %s" % (path, " or ".join(prefixes))
    known = context.library(path)
    if known is None:
        return "%s was not found in the process's memory map" % path
    if known.get("package") not in expect["owners"]:
        return "%s belongs to %s, not to %s" % (
            path,
            known.get("package") or "nobody",
            " or ".join(expect["owners"]),
        )
    return None


def _library(
    context: Context,
    leg: str,
    check: str,
    expect: Dict[str, Any],
    version_of: Callable[[Dict[str, Any]], Optional[str]],
) -> Answer:
    """The common part: loaded, from the right place, answering the right version."""
    measured = context.measurement(check)
    if measured is None:
        return context.unmeasured(leg, check)
    values, wanted = measured["values"], str(expect["version"])
    if measured.get("error") or not values.get("loaded"):
        return "FAIL", "not loaded", wanted, str(measured.get("error") or "it was not loaded")
    version = version_of(values)
    if version is None:
        return "ERROR", "", wanted, "it answered no version"
    if version != wanted:
        return "FAIL", version, wanted, "%s answers another version" % values["path"]
    wrong = from_right_place(context, values["path"], expect)
    if wrong:
        return "FAIL", version, wanted, wrong
    return "PASS", version, wanted, "loaded from %s" % values["path"]


def toolkit_cudart(context: Context, expect: Dict[str, Any]) -> Answer:
    """cudart loads and answers the lock's CUDA minor."""

    def version(values: Dict[str, Any]) -> Optional[str]:
        return cuda_version(values["runtime_version"]) if values["code"] == 0 else None

    return _library(context, "toolkit", "toolkit.cudart", expect, version)


def toolkit_cublas(context: Context, expect: Dict[str, Any]) -> Answer:
    """cuBLAS loads and answers the locked version."""
    return _library(context, "toolkit", "toolkit.cublas", expect, lambda v: v["version"])


def toolkit_cublaslt(context: Context, expect: Dict[str, Any]) -> Answer:
    """cuBLASLt loads and answers the locked version."""
    return _library(
        context, "toolkit", "toolkit.cublaslt", expect, lambda v: dotted(v["version_number"])
    )


def toolkit_nvrtc(context: Context, expect: Dict[str, Any]) -> Answer:
    """NVRTC loads and answers the lock's CUDA minor."""

    def version(values: Dict[str, Any]) -> Optional[str]:
        return str(values["version"]) if values["code"] == 0 else None

    return _library(context, "toolkit", "toolkit.nvrtc", expect, version)


def cudnn_library(context: Context, expect: Dict[str, Any]) -> Answer:
    """cuDNN loads, answers the locked version, and was built for the lock's CUDA major."""
    answer = _library(
        context, "cudnn", "cudnn.library", expect, lambda v: dotted(v["version_number"])
    )
    if answer[0] != "PASS":
        return answer
    measured = context.measurement("cudnn.library")
    built = cuda_version(measured["values"]["built_for_cudart"]) if measured else ""
    if built.split(".")[0] != str(expect["cuda_major"]):
        return "FAIL", built, "CUDA %s" % expect["cuda_major"], "it was built for another CUDA"
    return answer


def cudnn_sublibraries(context: Context, expect: Dict[str, Any]) -> Answer:
    """Every sub-library of cuDNN is there, loads, and is of the same version.

    One that links to libcuda cannot load where the lock holds no driver; the expectation names it.
    """
    measured = context.measurement("cudnn.sublibraries")
    if measured is None:
        return context.unmeasured("cudnn", "cudnn.sublibraries")
    files = measured["values"]["files"]
    wanted, version = list(expect["names"]), str(expect["version"])
    expected = "%d at %s" % (len(wanted), version)
    missing = sorted(set(wanted) - {f["name"] for f in files})
    if missing:
        return "FAIL", "%d" % len(files), expected, "missing: %s" % ", ".join(missing)
    waiting = []
    for part in files:
        if not part["loaded"] and part["name"] in expect.get("needs_driver", []):
            inside = any(str(part["path"]).startswith(p) for p in expect["prefixes"])
            if inside and "libcuda.so.1" in str(measured.get("error")):
                waiting.append(part["name"])
                continue
        if not part["loaded"]:
            reason = "%s does not load: %s" % (part["name"], measured.get("error"))
            return "FAIL", part["name"], expected, reason
        answered = part["version_number"]
        # Packages say the version in the file's name, wheels do not.
        named = part["file_version"] or ""
        for found in (
            dotted(answered) if answered else None,
            named if named.count(".") == 2 else None,
        ):
            if found is not None and found != version:
                return "FAIL", found, expected, "%s is of another version" % part["name"]
        wrong = from_right_place(context, part["path"], expect)
        if wrong:
            return "FAIL", part["name"], expected, wrong
    reason = "one version throughout"
    if waiting:
        reason += "; %s loads only where a driver is (it links to libcuda)" % ", ".join(waiting)
    return "PASS", "%d at %s" % (len(files) - len(waiting), version), expected, reason


def tensorrt_library(context: Context, expect: Dict[str, Any]) -> Answer:
    """libnvinfer loads and answers the locked version."""
    return _library(
        context, "tensorrt", "tensorrt.library", expect, lambda v: dotted(v["version_number"])
    )


def tensorrt_rtx_build(context: Context, expect: Dict[str, Any]) -> Answer:
    """TensorRT for RTX builds a real engine ahead of time, for every target."""
    measured = context.measurement("tensorrt_rtx.build")
    if measured is None:
        return context.unmeasured("tensorrt", "tensorrt_rtx.build")
    values, wanted = measured["values"], str(expect["version"])
    if measured.get("error"):
        return "FAIL", "no engine", "an engine", str(measured["error"])
    if values["version"] != wanted:
        return "FAIL", values["version"], wanted, "the bindings are of another version"
    if values["output_shape"] != expect["output_shape"]:
        return "FAIL", str(values["output_shape"]), str(expect["output_shape"]), "another network"
    if values["targets"] != expect["targets"]:
        return "FAIL", ", ".join(values["targets"]), ", ".join(expect["targets"]), "other targets"
    if not values["engine_bytes"] > 0:
        return "FAIL", "0 bytes", "an engine", "the engine is empty"
    if not any(values["path"].startswith(prefix) for prefix in expect["prefixes"]):
        return "FAIL", values["path"], expect["prefixes"][0], "the bindings are another copy"
    return (
        "PASS",
        "%d bytes in %.2f s" % (values["engine_bytes"], values["build_s"]),
        "an engine for %s" % ", ".join(expect["targets"]),
        "TensorRT for RTX %s built it ahead of time, without a GPU" % wanted,
    )


def nvcc_version(context: Context, expect: Dict[str, Any]) -> Answer:
    """nvcc is the locked one."""
    measured = context.measurement("nvcc.version")
    if measured is None:
        return context.unmeasured("nvcc", "nvcc.version")
    values, wanted = measured["values"], str(expect["version"])
    if measured.get("error"):
        return "FAIL", "", wanted, str(measured["error"])
    if values["version"] != wanted:
        return "FAIL", str(values["version"]), wanted, "%s is another nvcc" % values["path"]
    return "PASS", values["version"], wanted, values["path"]


def nvcc_link(context: Context, expect: Dict[str, Any]) -> Answer:
    """A program compiles, links against cuBLAS and cuDNN, runs, and binds to the right files."""
    measured = context.measurement("nvcc.link")
    if measured is None:
        return context.unmeasured("nvcc", "nvcc.link")
    values = measured["values"]
    expected = "cudart %s, cuDNN %s" % (expect["cudart"], expect["cudnn"])
    if not values.get("compiled"):
        return "FAIL", "not compiled", expected, str(measured.get("error") or "it failed")
    if values["exit_status"] != 0:
        return "FAIL", "exit %s" % values["exit_status"], expected, str(measured.get("error"))
    found = "cudart %s, cuDNN %s" % (cuda_version(values["runtime"]), dotted(values["cudnn"]))
    if found != expected:
        return "FAIL", found, expected, "the program bound to other libraries"
    for stem in ("libcudart", "libcublas", "libcudnn"):
        bound = [p for p in values["mapped"] if p.rsplit("/", 1)[-1].startswith(stem + ".so")]
        if not bound:
            return "FAIL", found, expected, "the program did not bind to %s" % stem
        for path in bound:
            wrong = from_right_place(context, path, expect)
            if wrong:
                return "FAIL", found, expected, wrong
    reason = "compiled in %.1f s, linked and run" % values["compile_s"]
    if values.get("architectures"):
        reason += " (sm_%s)" % ", sm_".join(values["architectures"])
    return "PASS", found, expected, reason


def driver_libcuda(context: Context, expect: Dict[str, Any]) -> Answer:
    """libcuda is the locked driver's, and supports the lock's CUDA."""
    measured = context.measurement("driver.libcuda")
    if measured is None:
        return context.unmeasured("driver", "driver.libcuda")
    values, wanted = measured["values"], str(expect["version"])
    if measured.get("error") or not values.get("loaded"):
        return "FAIL", "not loaded", wanted, str(measured.get("error") or "it was not loaded")
    file_version = values["path"].rsplit(".so.", 1)[-1]
    if file_version != wanted:
        return "FAIL", file_version, wanted, "%s is another driver's" % values["path"]
    if values["get_version_code"] != 0:
        return "ERROR", "", wanted, "cuDriverGetVersion answers %s" % values["get_version_code"]
    wrong = from_right_place(context, values["path"], expect)
    if wrong:
        return "FAIL", file_version, wanted, wrong
    found = cuda_version(values["cuda_version"])
    floor = expect.get("cuda")
    if floor and values["cuda_version"] < expect["cuda_number"]:
        return "FAIL", "CUDA %s" % found, "CUDA %s or newer" % floor, "the driver is too old for it"
    return "PASS", "%s, CUDA %s" % (file_version, found), wanted, "loaded from %s" % values["path"]


def _without_gpu(context: Context, expect: Dict[str, Any]) -> Optional[str]:
    """Return the declared reason to leave out a check that needs a GPU, where none is there."""
    reason = expect.get("without_gpu")
    return str(reason) if reason and not context.state["gpus"] else None


def driver_module(context: Context, expect: Dict[str, Any]) -> Answer:
    """The loaded kernel module is the locked driver's, of the locked flavour, and not nouveau."""
    measured = context.measurement("driver.module")
    if measured is None:
        return context.unmeasured("driver", "driver.module")
    values, wanted = measured["values"], str(expect["version"])
    if values["nouveau"]:
        return "FAIL", "nouveau", wanted, "nouveau holds the GPU; blacklist it and reboot"
    if values["loaded"] is None:
        left_out = _without_gpu(context, expect)
        if left_out:
            return "SKIP", "not loaded", wanted, left_out
        return "FAIL", "not loaded", wanted, "no NVIDIA kernel module is loaded; reboot?"
    if values["loaded"] != wanted:
        return "FAIL", values["loaded"], wanted, "the loaded module is another version; reboot"
    if expect.get("flavour") and values["flavour"] != expect["flavour"]:
        return "FAIL", values["flavour"], expect["flavour"], "the loaded module's flavour is wrong"
    return "PASS", "%s %s" % (values["loaded"], values["flavour"]), wanted, "loaded"


def health_nvml(context: Context, expect: Dict[str, Any]) -> Answer:
    """NVML answers, with the locked driver's version."""
    measured = context.measurement("health.nvml")
    if measured is None:
        return context.unmeasured("health", "health.nvml")
    values, wanted = measured["values"], str(expect["version"])
    if measured.get("error") or not values.get("loaded"):
        return "FAIL", "not loaded", wanted, str(measured.get("error") or "it was not loaded")
    wrong = from_right_place(context, values["path"], expect)
    if wrong:
        return "FAIL", "", wanted, wrong
    if values["init_code"] != 0:
        left_out = _without_gpu(context, expect)
        found = "%s (%s)" % (values["init_text"], values["init_code"])
        if left_out:
            return "SKIP", found, wanted, left_out
        return "FAIL", found, wanted, "NVML does not start"
    if values["driver_version"] != wanted:
        return "FAIL", str(values["driver_version"]), wanted, "NVML answers for another driver"
    return "PASS", "%s, %d GPU(s)" % (wanted, values["gpu_count"]), wanted, "NVML answers"


CHECKS: Dict[str, Tuple[str, Check]] = {
    "stack.os": ("stack", stack_os),
    "stack.packages": ("stack", stack_packages),
    "stack.wheels": ("stack", stack_wheels),
    "gpu.present": ("stack", gpu_present),
    "driver.libcuda": ("driver", driver_libcuda),
    "driver.module": ("driver", driver_module),
    "health.nvml": ("health", health_nvml),
    "toolkit.cudart": ("toolkit", toolkit_cudart),
    "toolkit.cublas": ("toolkit", toolkit_cublas),
    "toolkit.cublaslt": ("toolkit", toolkit_cublaslt),
    "toolkit.nvrtc": ("toolkit", toolkit_nvrtc),
    "cudnn.library": ("cudnn", cudnn_library),
    "cudnn.sublibraries": ("cudnn", cudnn_sublibraries),
    "tensorrt.library": ("tensorrt", tensorrt_library),
    "tensorrt_rtx.build": ("tensorrt", tensorrt_rtx_build),
    "nvcc.version": ("nvcc", nvcc_version),
    "nvcc.link": ("nvcc", nvcc_link),
}
