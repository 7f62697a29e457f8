"""health: how the GPU runs under a load of ours: clocks held down, temperature, power, PCIe."""

from __future__ import annotations

from typing import Any, Dict, List

from ..context import Answer, Context, Unmeasured, integer
from .nvml_answers import before, count, not_told, refused
from .registry import Values, check, failed, no_reference, passed

BITS = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""nvmlClocksEventReasons… of nvml.h that no healthy GPU shows."""
SET_BY_SOMEBODY = 0x2
NAMES = {
    "sw_power_cap_ns": "power cap",
    "thermal_policy_ns": "thermal policy",
    "board_limit_ns": "board limit",
    "reliability_ns": "reliability limit",
    "sw_thermal_ns": "software thermal slowdown",
    "hw_thermal_ns": "hardware thermal slowdown",
    "hw_power_brake_ns": "power brake",
}


def _table(values: Values, key: str) -> Dict[str, Any]:
    value = values.get(key)
    if not isinstance(value, dict):
        raise Unmeasured("%s was not measured" % key)
    return value


@check(
    "health.throttle",
    "health",
    "Neither heat nor the power supply held the clocks down under our own load",
    needs=("before", "after", "load"),
    per_gpu=True,
)
def health_throttle(context: Context, values: Values, expect: Values) -> Answer:
    earlier, later = dict(_table(values, "before")), _table(values, "after")
    load = _table(values, "load")
    # Read before any leg had put a load on it, where the machine's part did so.
    earlier.update(before(context, tuple(NAMES)))
    grown: Dict[str, int] = {}
    for key in NAMES:
        if earlier.get(key) is None or later.get(key) is None:
            continue
        grown[key] = integer(later, key) - integer(earlier, key)
        if grown[key] < 0:
            return failed("counters fell", "", "the driver was loaded anew while it was tested")
    bits = count(values, "reasons_seen") | count(later, "reasons")
    seen = [name for bit, name in BITS.items() if bits & bit]
    if not grown:
        answer = refused(context, later, "reasons")
        if answer:
            return answer
    shown = (
        ", ".join("%s %.1f ms" % (NAMES[k], ns / 1e6) for k, ns in grown.items() if ns) or "none"
    )
    if load.get("kind") == "none":
        shown += " (no load)"
    for key in expect["fails"]:
        if grown.get(key, 0) > 0:
            reason = "the clocks were held down by %s" % NAMES[key]
            return failed(shown, "no time at all", "%s: %s" % (reason, REMEDIES[key]))
    if seen:
        reason = "the clocks were held down by %s" % ", ".join(seen)
        return failed(shown, "no time at all", reason)
    for key in expect["warns"]:
        if grown.get(key, 0) > 0:
            return "WARN", shown, "no time at all", "the clocks were held down by %s" % NAMES[key]
    if grown.get("sw_power_cap_ns", 0) > 0:
        return passed(shown, "no heat", "only the power cap, which a full load reaches")
    return passed(shown, "no heat, no power brake", "nothing held the clocks down")


COOLING = "look after cooling and air flow"
REMEDIES = {
    "hw_power_brake_ns": "look after power supplies and cables",
    "board_limit_ns": "the board's limit",
    "reliability_ns": "the chip's limit",
    **dict.fromkeys(("sw_thermal_ns", "hw_thermal_ns", "thermal_policy_ns"), COOLING),
    "sw_power_cap_ns": "the power limit",
}


@check(
    "health.temperature",
    "health",
    "The GPU and its memory are below the temperatures at which they slow down",
    needs=("codes",),
    per_gpu=True,
)
def health_temperature(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "gpu_c", must=True)
    if answer:
        return answer
    hottest = max(integer(values, "gpu_c"), count(values, "hottest_c"))
    shown = "%d °C" % hottest
    known: List[str] = []
    margin = values.get("margin_c")
    if margin is not None:
        known.append("%d °C of room" % integer(values, "margin_c"))
        if margin <= 0:
            return failed(shown, "below its limit", "no room is left before it slows down")
    if values.get("slowdown_c"):
        limit = integer(values, "slowdown_c")
        known.append("slows down at %d °C" % limit)
        if hottest >= limit:
            return failed(shown, "below %d °C" % limit, "it is as hot as it slows down at")
    if values.get("memory_temperature_c") and values.get("memory_max_c"):
        memory, limit = integer(values, "memory_temperature_c"), integer(values, "memory_max_c")
        known.append("memory %d °C of %d" % (memory, limit))
        if memory >= limit:
            found = "memory %d °C" % memory
            return failed(found, "below %d °C" % limit, "its memory is at its highest temperature")
    if not known:
        return no_reference(shown, "NVML tells no limit for this GPU")
    return passed(shown, known[0], "; ".join(known))


@check(
    "health.clocks",
    "health",
    "Nobody set the clocks below the GPU's own",
    needs=("codes",),
    per_gpu=True,
)
def health_clocks(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "sm_mhz", "sm_max_mhz", must=True)
    if answer:
        return answer
    shown = "%d of %d MHz" % (integer(values, "sm_mhz"), integer(values, "sm_max_mhz"))
    told = False
    for name, unit in (("sm", "multiprocessors"), ("memory", "memory")):
        key, usual = name + "_set_mhz", name + "_default_mhz"
        if values.get(key) is None or values.get(usual) is None:
            continue
        told = True
        now, wanted = integer(values, key), integer(values, usual)
        if now < wanted:
            reason = "somebody set the clock of its %s below the usual: nvidia-smi -rac" % unit
            return failed("%d MHz" % now, "%d MHz" % wanted, reason)
    if not told and count(values, "reasons") & SET_BY_SOMEBODY:
        return "WARN", shown, "free", "somebody set its clocks; to what is not told"
    return passed(shown, "%d MHz" % values["sm_max_mhz"], "nobody set them lower")


@check(
    "health.power",
    "health",
    "The power limit is the GPU's own",
    needs=("codes",),
    per_gpu=True,
)
def health_power(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "limit_mw", "default_mw")
    if answer:
        return answer
    limit = integer(values, "limit_mw")
    wanted = int(expect.get("limit_w") or 0) * 1000 or integer(values, "default_mw")
    shown = "%.0f W" % (limit / 1000)
    if limit < wanted:
        reason = "its power limit was lowered: nvidia-smi -pl %.0f" % (wanted / 1000)
        return failed(shown, "%.0f W" % (wanted / 1000), reason)
    draw = values.get("draw_mw")
    said = "drew %.0f W" % (integer(values, "draw_mw") / 1000) if draw is not None else "as built"
    return passed(shown, "%.0f W" % (wanted / 1000), said)


@check(
    "health.pcie",
    "health",
    "Under load the PCIe link has the generation and width that this machine can give it",
    needs=("codes", "load"),
    per_gpu=True,
)
def health_pcie(context: Context, values: Values, expect: Values) -> Answer:
    needed = ("generation", "generation_max", "width", "width_max")
    # A GPU that tells neither has no PCIe link; one that tells half of it is not whole.
    answer = refused(context, values, *needed, must=not not_told(values, "generation", "width"))
    if answer:
        return answer
    generation, width = integer(values, "generation_busy"), integer(values, "width_busy")
    most, widest = integer(values, "generation_max"), integer(values, "width_max")
    shown, wanted = "gen %d x%d" % (generation, width), "gen %d x%d" % (most, widest)
    loaded = _table(values, "load").get("kind") != "none"
    if width < widest:
        reason = "lanes are missing: reseat the GPU, look after riser, cable and firmware settings"
        return failed(shown, wanted, reason)
    if generation < most:
        if loaded:
            reason = "the link stays slow under load: reseat the GPU, look after riser and firmware"
            return failed(shown, wanted, reason)
        reason = "the link is slow, and there was no load that would have trained it up"
        return "WARN", shown, wanted, reason
    if count(values, "pcie_fatal"):
        reason = "%d fatal errors on the PCIe link" % values["pcie_fatal"]
        return failed(shown, wanted, reason)
    earlier = before(context, ("pcie_replays",))
    idle = earlier.get("pcie_replays", count(_table(values, "idle"), "pcie_replays"))
    replays, limit = count(values, "pcie_replays") - idle, integer(expect, "replays")
    if replays > limit:
        reason = "so many packets were sent again: look after riser, cable and signal quality"
        return failed("%d replays" % replays, "at most %d" % limit, reason)
    if count(values, "pcie_non_fatal"):
        reason = "%d errors on the PCIe link that were not fatal" % values["pcie_non_fatal"]
        return "WARN", shown, wanted, reason
    own = (context.reference or {}).get("pcie_gen")
    said = "%d replays" % replays
    if isinstance(own, int) and own > most:
        said += "; the GPU itself could do gen %d" % own
    return passed(shown, wanted, said)
