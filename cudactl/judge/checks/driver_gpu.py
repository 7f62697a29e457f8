"""driver, on each GPU: it is the card it says, its memory keeps what it is told, and it computes.

Nothing but the driver is needed for these. A measurement that could not have failed is no pass:
each comes with a wrong answer that was planted and must have been found.
"""

from __future__ import annotations

from typing import Any, List, Optional

from ..context import Answer, Context, entries, integer, number, text
from .registry import Values, check, failed, no_reference, passed, unmeasured

GIB = float(1 << 30)


def _known(context: Context, figure: str) -> Any:  # noqa: ANN401 - a figure is a number or a text
    """Return a figure of this GPU's reference, or None where it is unknown or contested."""
    reference = context.reference or {}
    return None if figure in (reference.get("contested") or []) else reference.get(figure)


def _address(written: str) -> str:
    """Return a PCI address in the kernel's spelling: CUDA and NVML differ in case and zeros."""
    domain, _, rest = written.strip().lower().partition(":")
    return "%04x:%s" % (int(domain, 16), rest)


@check(
    "driver.device",
    "driver",
    "The GPU is the card that its PCI id says: address, capability, SMs and memory",
    needs=("name", "bus_id", "cc", "sm_count", "total_bytes"),
    per_gpu=True,
)
def driver_device(context: Context, values: Values, expect: Values) -> Answer:
    gpu = context.gpu or {}
    cc, sms, total = text(values, "cc"), integer(values, "sm_count"), number(values, "total_bytes")
    memory = total / GIB
    found = "%s, CC %s, %d SMs, %.1f GiB" % (text(values, "name"), cc, sms, memory)
    at, asked = _address(text(values, "bus_id")), _address(str(gpu.get("address")))
    if at != asked:
        return failed(at, asked, "the driver computed on another GPU than the one asked for")
    if str(gpu["id"]).startswith("GPU-") and text(values, "uuid").lower() != str(gpu["id"]).lower():
        return failed(text(values, "uuid"), str(gpu["id"]), "the UUID is another GPU's")
    if context.reference is None:
        return no_reference(found, "nothing is known of a GPU with the PCI id %s" % gpu["device"])
    name = str(context.reference["name"])
    if cc != _known(context, "cc"):
        wanted = "%s, CC %s" % (name, context.reference["cc"])
        return failed(found, wanted, "the compute capability is another model's")
    known = _known(context, "sm_count")
    if known is not None and sms != known:
        reason = "it has other SMs than a %s: a part of one (MIG, vGPU), or another card" % name
        return failed(found, "%s, %d SMs" % (name, known), reason)
    nominal = _known(context, "memory_gb")
    least, most = float(expect["memory_least"]), float(expect["memory_most"])
    if nominal is not None and not least * nominal <= memory <= most * nominal:
        reason = "its memory is not that of a %s" % name
        return failed(found, "%s, about %g GiB" % (name, nominal), reason)
    if known is None and nominal is None:
        return no_reference(found, "neither SMs nor memory of a %s are known" % name)
    return passed(found, name, "it is the card that its PCI id names")


@check(
    "driver.kernels",
    "driver",
    "The driver compiles and loads kernels for this GPU",
    needs=("kernels", "compile_s"),
    per_gpu=True,
)
def driver_kernels(context: Context, values: Values, expect: Values) -> Answer:
    count = integer(values, "kernels")
    if count <= 0:
        return unmeasured("no kernel was loaded")
    found = "%d kernels in %.2f s" % (count, number(values, "compile_s"))
    return passed(found, "", "compiled from PTX by the driver")


@check(
    "driver.memory",
    "driver",
    "The memory keeps every pattern that was written to it",
    needs=("checked_bytes", "wrong_words", "planted_found", "rounds"),
    per_gpu=True,
    level="execution",
)
def driver_memory(context: Context, values: Values, expect: Values) -> Answer:
    checked, wrong = integer(values, "checked_bytes"), integer(values, "wrong_words")
    found = "%.2f GiB in %d patterns" % (checked / GIB, len(entries(values, "patterns")))
    if wrong:
        patterns = ", ".join(str(name) for name in entries(values, "wrong_in"))
        reason = "%d words were not what was written (pattern %s)" % (wrong, patterns)
        return failed("%d wrong words" % wrong, "0", reason + _first_word(values))
    if values["planted_found"] is not True:
        return failed(found, "", "a word that was made wrong on purpose was not found")
    if integer(values, "rounds") < 1 or checked <= 0:
        return unmeasured("no memory was checked")
    least = float(expect["share"]) * number(values, "free_bytes")
    if checked < least:
        wanted = "%.2f GiB" % (least / GIB)
        return failed(found, wanted, "less of the memory could be had than was asked for")
    return passed(found, "no wrong word", "every word was what was written")


def _first_word(values: Values) -> str:
    first = values.get("first_wrong")
    if not isinstance(first, dict):
        return ""
    told = tuple(first.get(key) for key in ("address", "expected", "found", "bits"))
    return "; first at %s: %s was written, %s was read, bits %s differ" % told


@check(
    "driver.compute",
    "driver",
    "Every SM computes exact products, bit for bit",
    needs=("sm_count", "sms_visited", "blocks_launched", "blocks_counted", "wrong_elements"),
    per_gpu=True,
    level="execution",
)
def driver_compute(context: Context, values: Values, expect: Values) -> Answer:
    sms, visited = integer(values, "sm_count"), integer(values, "sms_visited")
    launched, counted = integer(values, "blocks_launched"), integer(values, "blocks_counted")
    wrong = integer(values, "wrong_elements")
    found = "%d of %d SMs, %d products" % (visited, sms, counted)
    if wrong:
        on = ", ".join(sorted(dict(values["wrong_sms"]), key=int)[:8])
        reason = "%d elements are wrong, on SM %s" % (wrong, on)
        return failed("%d wrong elements" % wrong, "0", reason + _first_element(values))
    blind = _blind(values, [str(kind) for kind in expect["kinds"]])
    if blind:
        return failed(found, "", "a result made wrong on purpose was not noticed in " + blind)
    if counted != launched:
        return failed(found, "%d products" % launched, "some of what was started never ran")
    if launched <= 0 or sms <= 0:
        return unmeasured("nothing was computed")
    if visited != sms:
        return failed(found, "%d SMs" % sms, "%d SMs never ran anything" % (sms - visited))
    return passed(found, "all exact", "bit for bit, in %s" % ", ".join(expect["kinds"]))


def _blind(values: Values, kinds: List[str]) -> Optional[str]:
    """Return the types in which the planted wrong result was not noticed."""
    noticed = dict(values["planted_found"])
    return ", ".join(kind for kind in kinds if noticed.get(kind) is not True) or None


def _first_element(values: Values) -> str:
    first = values.get("first_wrong")
    if not isinstance(first, dict):
        return ""
    told = tuple(first.get(key) for key in ("kind", "sm", "expected", "found"))
    return "; first in %s on SM %s: %s is right, %s was found" % told


@check(
    "driver.copy",
    "driver",
    "Copies to the GPU, on it and back arrive unaltered",
    needs=("copied_bytes", "wrong_bytes", "wrong_bytes_unaligned"),
    per_gpu=True,
)
def driver_copy(context: Context, values: Values, expect: Values) -> Answer:
    size = integer(values, "copied_bytes")
    speeds = [number(values, way + "_gbs_median") for way in ("h2d", "d2h", "d2d")]
    found = "to the GPU %.1f, from it %.1f, on it %.1f GB/s" % tuple(speeds)
    wrong = integer(values, "wrong_bytes")
    if wrong:
        first = values.get("first_wrong") or {}
        reason = "%d of %d bytes were altered on the way, first at byte %s"
        told = (wrong, size, first.get("offset_bytes"))
        return failed("%d wrong bytes" % wrong, "0", reason % told)
    unaligned = integer(values, "wrong_bytes_unaligned")
    if unaligned:
        reason = "%d bytes of an unaligned copy were altered on the way" % unaligned
        return failed("%d wrong bytes" % unaligned, "0", reason)
    if size <= 0:
        return unmeasured("nothing was copied")
    # What the link should reach depends on the slot, which the health leg holds against both ends.
    return passed(found, "unaltered", "%d bytes there and back" % size)


@check(
    "driver.bandwidth",
    "driver",
    "The memory is as fast as this GPU's should be",
    needs=("copy_gbs_median", "wrong_words"),
    per_gpu=True,
    level="performance",
)
def driver_bandwidth(context: Context, values: Values, expect: Values) -> Answer:
    rate = number(values, "copy_gbs_median")
    found = "%.0f GB/s" % rate
    wrong = integer(values, "wrong_words")
    if wrong:
        return failed("%d wrong words" % wrong, "0", "the copy is fast, and not what was copied")
    known = _known(context, "memory_gbs")
    if known is None:
        return no_reference(found, "the bandwidth of this GPU's memory is not known")
    share = float(expect["share"])
    floor = share * float(known)
    wanted = "%.0f GB/s (%.0f %% of %g)" % (floor, 100 * share, known)
    found += ", %.0f %% of the data sheet" % (100 * rate / float(known))
    if rate < floor:
        return failed(found, wanted, "the memory is slower than this GPU's should be")
    return passed(found, wanted, "copied within the GPU, read and written bytes together")
