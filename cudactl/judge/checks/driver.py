"""driver: libcuda and the kernel module are the locked driver's, and the driver starts."""

from __future__ import annotations

from ..context import Answer, Context, cuda_version, integer, text
from .provenance import answered, wrong_place
from .registry import Values, check, failed, passed, unmeasured

# CUresult of cuda.h
NO_DEVICE = 100
DEFECTS = {
    34: "it is a stub library (CUDA_ERROR_STUB_LIBRARY)",
    803: "library and kernel module are of different drivers (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)",
    804: "forward compatibility is not possible here (CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE)",
}


@check(
    "driver.libcuda",
    "driver",
    "libcuda is the locked driver's, starts, and brings the lock's CUDA",
    needs=("path", "loaded"),
)
def driver_libcuda(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    path = text(values, "path")
    version = path.rsplit(".so.", 1)[-1]
    if version != wanted:
        return failed(version, wanted, "%s is another driver's" % path)
    wrong = wrong_place(context, path, expect)
    if wrong:
        return failed(version, wanted, wrong)
    refused = answered(integer(values, "get_version_code"), "cuDriverGetVersion")
    if refused:
        return refused
    cuda = integer(values, "cuda_version")
    found = "%s, CUDA %s" % (version, cuda_version(cuda))
    floor = int(expect.get("cuda_number") or 0)
    if cuda < floor:
        need = "CUDA %s or newer" % cuda_version(floor)
        return failed(found, need, "the driver is too old for the lock's toolkit")
    code = integer(values, "init_code")
    if code in DEFECTS:
        return failed("cuInit %d" % code, wanted, DEFECTS[code])
    if code and context.gpus:
        return failed("cuInit %d" % code, wanted, "the driver does not start, and a GPU is there")
    if code not in (0, NO_DEVICE):
        reason = "the driver does not start; no GPU is there that would tell why"
        return "WARN", "cuInit %d" % code, wanted, reason
    return passed(found, wanted, "loaded from %s" % path)


@check(
    "driver.module",
    "driver",
    "The loaded kernel module is the locked driver's, of the locked flavour",
    needs=("nouveau", "device_nodes"),
)
def driver_module(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    if values["nouveau"] is not False:
        return failed("nouveau", wanted, "nouveau is loaded; blacklist it and reboot")
    loaded = values.get("loaded")
    if loaded is None:
        left_out = expect.get("without_gpu")
        if left_out and not context.gpus:
            return "SKIP", "not loaded", wanted, str(left_out)
        return failed("not loaded", wanted, "no NVIDIA kernel module is loaded; reboot?")
    if loaded != wanted:
        return failed(str(loaded), wanted, "the loaded module is of another driver; reboot")
    flavour = values.get("flavour")
    if expect.get("flavour") and flavour != expect["flavour"]:
        return failed(str(flavour), str(expect["flavour"]), "the module is of the other flavour")
    nodes = values["device_nodes"]
    if "/dev/nvidiactl" not in nodes:
        return failed("no /dev/nvidiactl", wanted, "the module is loaded, its device nodes are not")
    if not isinstance(nodes, list):
        return unmeasured("device_nodes was not measured")
    return passed("%s %s" % (loaded, flavour), wanted, "loaded")
