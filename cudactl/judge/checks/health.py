"""health: NVML answers, for the locked driver, and sees every GPU on the bus."""

from __future__ import annotations

from ..context import Answer, Context, integer, text
from .provenance import answered, wrong_place
from .registry import Values, check, failed, passed

DRIVER_NOT_LOADED = 9  # nvmlReturn_t of nvml.h


@check(
    "health.nvml",
    "health",
    "NVML answers for the locked driver and sees every GPU on the bus",
    needs=("path", "loaded", "init_code"),
)
def health_nvml(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    wrong = wrong_place(context, text(values, "path"), expect)
    if wrong:
        return failed("", wanted, wrong)
    code = integer(values, "init_code")
    if code:
        found = "%s (%d)" % (values.get("init_text"), code)
        left_out = expect.get("without_gpu")
        # Only "no driver is loaded" belongs to a machine without a GPU; any other code is a fault.
        if left_out and not context.gpus and code == DRIVER_NOT_LOADED:
            return "SKIP", found, wanted, str(left_out)
        return failed(found, wanted, "NVML does not start")
    version = text(values, "driver_version")
    if version != wanted:
        return failed(version, wanted, "NVML answers for another driver; reboot?")
    refused = answered(integer(values, "count_code"), "nvmlDeviceGetCount")
    if refused:
        return refused
    count, on_bus = integer(values, "gpu_count"), len(context.gpus)
    if count < on_bus:
        reason = "a GPU is on the bus that the driver does not see"
        return failed("%d of %d GPUs" % (count, on_bus), wanted, reason)
    return passed("%s, %d GPUs" % (wanted, count), wanted, "NVML answers")
