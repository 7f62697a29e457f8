"""What it means that NVML refused a value: not there on this GPU, or not to be had at all.

The probe keeps a refused value's return code under "codes". Whether a value may be missing is a
matter of the GPU table: on a data-centre GPU it must be there, on others nothing says so.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

from ..context import Answer, Context
from .registry import Values, failed, no_reference, unmeasured

# nvmlReturn_t of nvml.h. Our arguments are right, so a driver that finds one invalid, or knows
# another layout of a structure, is one that does not know what we ask.
NOT_TOLD = (2, 3, 13, 25, 26)
LOST, RESET_REQUIRED = 15, 16
GONE = {
    LOST: "the GPU is lost: it fell off the bus, or its driver gave it up; restart the machine",
    RESET_REQUIRED: "the GPU needs a reset before it can be used",
}
VGPU = 2  # nvmlGpuVirtualizationMode_t


def refused(
    context: Context, values: Values, *keys: str, must: Optional[bool] = None
) -> Optional[Answer]:
    """Return the answer for the first of the values that is missing, or None when all are there.

    Args:
        context: The evidence, as the GPU sees it.
        values: What was measured.
        keys: The values that are needed.
        must: Whether this GPU must have them; None: as the GPU table says.
    """
    for key in keys:
        if values.get(key) is not None:
            continue
        code = code_of(values, key)
        if code is None:
            return unmeasured("%s was not measured" % key)
        if code in GONE:
            return failed("NVML code %d" % code, "", GONE[code])
        if code not in NOT_TOLD:
            return unmeasured("NVML answers %d for %s" % (code, key))
        told = "not told (%d)" % code
        if must is None:
            must = bool((context.reference or {}).get("data_centre")) and not virtual(context)
        if must:
            reason = "NVML does not tell %s, which a data-centre GPU has" % key
            return unmeasured("%s (code %d)" % (reason, code))
        return no_reference(told, "NVML does not tell %s of this GPU" % key)
    return None


def code_of(values: Values, key: str) -> Optional[int]:
    """Return the code with which a value was refused."""
    codes = values.get("codes")
    code = codes.get(key) if isinstance(codes, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def not_told(values: Values, *keys: str) -> bool:
    """Return whether the driver says that it does not have these values."""
    return all(values.get(key) is None and code_of(values, key) in NOT_TOLD for key in keys)


def count(values: Values, key: str) -> int:
    """Return a counter; one that is not there counts nothing."""
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def virtual(context: Context) -> bool:
    """Return whether this is a part of a GPU that a virtual machine was given."""
    return _mode(context) == VGPU


def passed_through(context: Context) -> bool:
    """Return whether a virtual machine was given this whole GPU, and no other."""
    return _mode(context) == 1 and len(context.gpus) <= 1


def _mode(context: Context) -> Optional[int]:
    device = context.measurement("health", "health.device") or {}
    mode = (device.get("values") or {}).get("virtualization")
    return mode if isinstance(mode, int) else None


def compute_capability(context: Context) -> Optional[Tuple[int, int]]:
    """Return the GPU's compute capability by the GPU table, or None where it is not in it."""
    major, _, minor = str((context.reference or {}).get("cc") or "").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def before(context: Context, keys: Sequence[str]) -> Dict[str, int]:
    """Return the counters of this GPU as the machine's part read them, before any load."""
    uuid = None if context.gpu is None else context.gpu["id"]
    for measured in (context.legs.get("health") or {}).get("measurements") or []:
        if measured["check"] != "health.gpus":
            continue
        for gpu in measured["values"].get("gpus") or []:
            if isinstance(gpu, dict) and gpu.get("uuid") == uuid:
                return {key: gpu[key] for key in keys if _whole(gpu.get(key))}
    return {}


def _whole(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool)
