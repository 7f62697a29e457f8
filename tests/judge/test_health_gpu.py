"""Health of one GPU: what each verdict shows of a finding, and where it changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import DRIVER, GPU, add_device_leg, value
from tests.judge.verdicts import Document, said

DEVICE, RECOVERY, FIRMWARE = "health.device", "health.recovery", "health.firmware"
MODES, PROCESSES, NVLINK = "health.modes", "health.processes", "health.nvlink"
FABRIC, THROTTLE, TEMPERATURE = "health.fabric", "health.throttle", "health.temperature"
CLOCKS, POWER, PCIE = "health.clocks", "health.power", "health.pcie"
ECC, REPAIR = "health.ecc", "health.memory_repair"
SECOND = {**GPU, "id": "GPU-c0dac711-0000-4000-8000-000000000002", "address": "0000:65:00.0"}


def table(**figures: object) -> Any:
    """Change the GPU table's row of the H200."""
    return lambda policy: policy["references"][GPU["device"]].update(figures)


def untold(check: str, code: int, *keys: str) -> Any:
    """Let NVML refuse values with a code."""

    def change(evidence: Document) -> None:
        values = value(evidence, check)
        for key in keys:
            values[key] = None
            values["codes"][key] = code

    return change


# --- which GPU ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"init_code": 9}, ("NVML code 9", "", "NVML does not start")),
        ({"handle_code": 6}, ("not found", GPU["id"], "NVML does not know this GPU")),
        ({"handle_code": 7}, ("NVML code 7", GPU["id"], "NVML does not hand out this GPU")),
        ({"uuid": "GPU-x"}, ("GPU-x", GPU["id"], "NVML answers for another GPU")),
        (
            {"device": "2330"},
            ("2330", "2335", "the bus and NVML do not say the same of what GPU it is"),
        ),
    ],
)
def test_the_gpu_is_the_one_that_was_asked_for(
    values: Document, verdict: tuple[str, str, str]
) -> None:
    assert said(DEVICE, **values) == ("FAIL", *verdict)


def test_a_lost_gpu_is_told_as_lost() -> None:
    found = said(DEVICE, handle_code=15)
    assert found[1:3] == ("NVML code 15", GPU["id"])
    assert found.reason.startswith("the GPU is lost")


def test_a_gpu_is_shown_by_name_and_serial() -> None:
    agree = "NVML and the bus agree"
    assert said(DEVICE)[1:] == ("NVIDIA H200, serial 1650000000001", "2335", agree)
    assert said(DEVICE, serial=None)[1:] == ("NVIDIA H200", "2335", agree)


def test_a_name_that_is_not_told_is_an_error() -> None:
    def change(evidence: Document) -> None:
        value(evidence, DEVICE).update(name=None, codes={"name": 3})

    assert said(DEVICE, change=change).status == "ERROR"


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (1, "a reset of the GPU"),
        (2, "a restart of the node"),
        (3, "an end of peer-to-peer traffic"),
        (4, "an end of peer-to-peer traffic, then a reset of the GPU"),
        (5, "a recovery of the IMEX domain"),
        (6, "a reset of its PCIe bus"),
        (7, "a restart of the system"),
        (8, "an action that this judge does not know"),
    ],
)
def test_each_recovery_that_the_driver_asks_for_is_named(action: int, wanted: str) -> None:
    assert said(RECOVERY, recovery_action=action) == (
        "FAIL",
        f"action {action}",
        "0",
        f"the driver itself asks for {wanted}",
    )


# --- firmware -----------------------------------------------------------------------------------


def test_firmware_is_shown() -> None:
    shown = "VBIOS 96.00.D0.00.02, InfoROM G520.0283.00.03, GSP "
    assert said(FIRMWARE) == ("PASS", shown + DRIVER, DRIVER, "InfoROM valid")
    assert said(FIRMWARE, gsp_enabled=0).measured == shown + "off"
    assert said(FIRMWARE, gsp=None).measured == shown + "off"


def test_firmware_of_another_driver_or_another_vbios_than_expected() -> None:
    assert said(FIRMWARE, gsp="570.1") == (
        "FAIL",
        "GSP 570.1",
        DRIVER,
        "the GSP firmware is of another driver; reboot",
    )
    assert said(FIRMWARE, gsp="570.1", gsp_enabled=0).status == "PASS"
    assert said(FIRMWARE, expect={"vbios": ["1.0", "2.0"]}) == (
        "FAIL",
        "96.00.D0.00.02",
        "1.0 or 2.0",
        "its VBIOS is not one of those that are expected",
    )

    def no_driver(evidence: Document) -> None:
        evidence["state"]["module"]["loaded"] = None

    assert said(FIRMWARE, change=no_driver)[:3:2] == ("PASS", "")


def test_a_corrupt_inforom_is_told_and_one_that_is_not_told_is_not_judged() -> None:
    corrupt = said(FIRMWARE, change=untold(FIRMWARE, 14, "inforom_valid"))
    assert corrupt == (
        "FAIL",
        "corrupt",
        "valid",
        "the InfoROM is corrupt; its counters cannot be trusted",
    )
    assert said(FIRMWARE, change=untold(FIRMWARE, 3, "inforom_valid")).status == "NO_REFERENCE"
    assert said(FIRMWARE, change=untold(FIRMWARE, 3, "vbios")).status == "ERROR"


def others(*vbios: str | None, device: str = GPU["device"]) -> Any:
    """Add tested GPUs with these VBIOS."""

    def change(evidence: Document) -> None:
        for number, one in enumerate(vbios, 2):
            gpu = {**SECOND, "id": f"GPU-{number}", "device": device}
            evidence["gpus"].append(gpu)
            if one is not None:
                firmware = {**value(evidence, FIRMWARE), "vbios": one}
                add_device_leg(evidence, "health", {FIRMWARE: firmware}, gpu=gpu)

    return change


def test_several_vbios_of_one_kind_are_a_warning() -> None:
    found = said(FIRMWARE, change=others(None, "96.2", "96.1", "96.00.D0.00.02"))
    assert (found.status, found.expected) == ("WARN", "one VBIOS")
    assert found.reason == "GPUs of one kind with several VBIOS: 96.00.D0.00.02, 96.1, 96.2"
    assert said(FIRMWARE, change=others("96.1", device="2330")).status == "PASS"
    wanted = {"vbios": ["96.00.D0.00.02", "96.1"]}
    assert said(FIRMWARE, change=others("96.1"), expect=wanted).status == "PASS"


def test_a_gpu_of_another_kind_does_not_hide_those_after_it() -> None:
    def change(evidence: Document) -> None:
        evidence["gpus"].append({**SECOND, "id": "GPU-9", "device": "2330"})
        others("96.1")(evidence)

    assert said(FIRMWARE, change=change).status == "WARN"


# --- modes and users ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, ("PASS", "MIG off, persistence on", "MIG off, persistence on", "as expected")),
        (
            {"compute_mode": 2},
            (
                "FAIL",
                "prohibited",
                "default",
                "its compute mode forbids every computation: nvidia-smi -c DEFAULT",
            ),
        ),
        (
            {"compute_mode": 1},
            (
                "WARN",
                "MIG off, persistence on",
                "default",
                "its compute mode is exclusive by thread",
            ),
        ),
        (
            {"compute_mode": 3},
            (
                "WARN",
                "MIG off, persistence on",
                "default",
                "its compute mode is exclusive by process",
            ),
        ),
        (
            {"mig": 1, "mig_pending": 1},
            ("FAIL", "MIG on", "MIG off", "MIG is on; what was tested is not the whole GPU"),
        ),
        (
            {"mig_pending": 1},
            ("FAIL", "MIG changes", "MIG off", "MIG changes at the next reset of the GPU"),
        ),
        ({"mig_pending": None}, ("PASS", "MIG off, persistence on", "MIG off, persistence on")),
        (
            {"persistence": 0},
            (
                "WARN",
                "MIG off, persistence off",
                "on",
                "persistence is off: the driver lets go of the GPU between uses, which is slow "
                "and clears counters; enable nvidia-persistenced",
            ),
        ),
    ],
)
def test_modes_and_what_they_mean(values: Document, verdict: tuple[str, ...]) -> None:
    assert said(MODES, **values)[: len(verdict)] == verdict


def test_a_site_may_want_mig_or_not_care() -> None:
    on = {"mig": 1, "mig_pending": 1}
    assert said(MODES, expect={"mig": "on"}, **on)[:3] == (
        "PASS",
        "MIG on, persistence on",
        "MIG on, persistence on",
    )
    assert said(MODES, expect={"mig": "on"})[:3] == ("FAIL", "MIG off", "MIG on")
    assert said(MODES, expect={"mig": None}, **on)[:3] == (
        "PASS",
        "MIG on, persistence on",
        "MIG either, persistence on",
    )


def test_modes_that_are_not_told() -> None:
    assert said(MODES, change=untold(MODES, 3, "compute_mode")).status == "ERROR"
    # A data-centre GPU tells its persistence; of others nothing says so.
    untold_persistence = untold(MODES, 3, "persistence")
    assert said(MODES, change=untold_persistence).status == "ERROR"
    consumer = table(data_centre=False)
    assert said(MODES, change=untold_persistence, policy=consumer).status == "NO_REFERENCE"


def test_processes_are_counted_and_the_first_five_named() -> None:
    six = [{"pid": pid} for pid in range(11, 17)]
    assert said(PROCESSES)[:3] == ("PASS", "0 processes", "0")
    assert said(PROCESSES, count=6, processes=six) == (
        "FAIL",
        "6 processes",
        "0",
        "processes 11, 12, 13, 14, 15 compute on it; speeds measured beside them mean little",
    )
    assert said(PROCESSES, count=1, processes=[]).reason.startswith("processes not listed compute")
    assert said(PROCESSES, count=2, processes=six, expect={"most": 2}).status == "PASS"
    assert said(PROCESSES, count=1, processes=six, expect={"most": None}).status == "FAIL"


# --- links --------------------------------------------------------------------------------------


def links(*down: int, **values: object) -> Any:
    def change(evidence: Document) -> None:
        for number in down:
            value(evidence, NVLINK)["links"][number]["active"] = False
        value(evidence, NVLINK).update(values)

    return change


def test_links_that_are_down_are_named() -> None:
    assert said(NVLINK, change=links(4, 5)) == (
        "FAIL",
        "16 of 18 links up",
        "all",
        "links 4, 5 are down: restart the fabric manager, reset the GPU",
    )
    found = said(NVLINK, change=links(*range(9)))
    assert found.reason.startswith("links 0, 1, 2, 3, 4, 5, 6, 7 are down")
    assert said(NVLINK, change=links(4), policy=table(nvswitch=False)) == (
        "WARN",
        "17 of 18 links up",
        "all",
        "links 4 are down; is a bridge missing?",
    )


def test_links_that_were_lost_meanwhile_are_told() -> None:
    up = "18 of 18 links up"
    assert said(NVLINK, nvlink_recovery_failed=2) == (
        "FAIL",
        up,
        "none lost",
        "2 times a link could not be recovered",
    )
    assert said(NVLINK, nvlink_recoveries=3) == (
        "WARN",
        up,
        "none recovered",
        "links had to be recovered 3 times",
    )
    errors = {"nvlink_crc_flit": 3, "nvlink_crc_data": 4, "nvlink_replays": 5}
    assert said(NVLINK, **errors).reason == "7 CRC errors, 5 replays"


def test_links_that_were_not_looked_at_are_no_pass() -> None:
    assert said(NVLINK, link_count=17) == (
        "FAIL",
        "18 of 18 links up",
        "",
        "not every link was looked at",
    )


def test_no_link_at_all() -> None:
    none = links(*range(18))
    assert said(NVLINK, change=none, policy=table(nvswitch=False)) == (
        "NO_REFERENCE",
        "0 of 18 links up",
        "",
        "no link is up; nothing says that there is a bridge",
    )
    assert said(NVLINK, change=none)[:3] == ("FAIL", "0 of 18 links up", "all")
    untold_count = untold(NVLINK, 3, "link_count")
    assert said(NVLINK, change=untold_count).status == "ERROR"
    assert said(NVLINK, change=untold_count, policy=table(nvswitch=False)).status == "NO_REFERENCE"
    assert said(NVLINK, change=links(link_count=0, links=[]), policy=table(nvswitch=False))[:2] == (
        "PASS",
        "0 of 0 links up",
    )


def test_a_table_row_without_nvlink_says_so_or_that_its_sources_disagree() -> None:
    assert said(NVLINK, policy=table(nvlink_gbs=None, contested=[]))[:3] == ("SKIP", "", "")
    assert said(NVLINK, policy=table(nvlink_gbs=None, contested=None)).status == "SKIP"
    assert said(NVLINK, policy=table(nvlink_gbs=None, contested=["nvlink_gbs"])) == (
        "NO_REFERENCE",
        "",
        "",
        "the GPU table's sources disagree on its NVLink",
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"state": 1}, ("FAIL", "not started", "completed")),
        ({"state": 2}, ("FAIL", "in progress", "completed")),
        ({"state": 9}, ("FAIL", "state 9", "completed")),
        ({"state": 0}, ("FAIL", "none", "completed")),
        ({"status": 7}, ("FAIL", "NVML code 7", "completed")),
        ({"health_mask": 0b01}, ("FAIL", "completed", "healthy")),
        ({"health_mask": 0b10}, ("PASS", "completed", "completed")),
        ({"health_mask": 0b11}, ("PASS", "completed", "completed")),
        ({"health_mask": 0b01 << 2}, ("WARN", "completed", "healthy")),
        ({"health_mask": 0b01 << 4}, ("FAIL", "completed", "healthy")),
        ({"health_mask": 0b10 << 4}, ("PASS", "completed", "completed")),
        ({"health_mask": 0b01 << 6}, ("WARN", "completed", "healthy")),
        ({"health_mask": 0b10 << 6}, ("PASS", "completed", "completed")),
        ({"health_mask": 1 << 8}, ("PASS", "completed", "completed")),
        ({"health_mask": 2 << 8}, ("FAIL", "completed", "healthy")),
        ({"health_mask": 8 << 8}, ("FAIL", "completed", "healthy")),
        ({"health_mask": 1 << 12}, ("PASS", "completed", "completed")),
        ({"health_mask": None, "health_summary": 1}, ("PASS", "completed", "completed")),
        ({"health_mask": None, "health_summary": 2}, ("FAIL", "completed", "healthy")),
        ({"health_mask": None, "health_summary": 3}, ("WARN", "completed", "healthy")),
    ],
)
def test_what_the_fabric_says_of_itself(values: Document, verdict: tuple[str, str, str]) -> None:
    assert said(FABRIC, **{"health_summary": 1, **values})[:3] == verdict


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (2, "the system GUID is wrong"),
        (3, "the chassis serial number is wrong"),
        (4, "it is in no partition"),
        (5, "it has too few NVLinks"),
        (6, "its firmware does not fit the fabric"),
        (7, "its location is invalid"),
        (8, "its state is invalid"),
    ],
)
def test_each_wrong_configuration_of_the_fabric_has_its_name(code: int, wrong: str) -> None:
    found = said(FABRIC, health_mask=code << 8)
    assert found.reason == f"the fabric is configured wrongly: {wrong}"


def no_switch(*, untold_state: bool) -> Any:
    def change(evidence: Document) -> None:
        for link in value(evidence, NVLINK)["links"]:
            link["remote"] = 0
        if untold_state:
            untold(FABRIC, 3, "state")(evidence)
        else:
            value(evidence, FABRIC)["state"] = 0

    return change


def test_a_fabric_is_missed_only_where_links_lead_to_a_switch() -> None:
    reason = "its links lead to a switch, and it has no fabric"
    found = said(FABRIC, change=untold(FABRIC, 3, "state"))
    assert found == ("FAIL", "not told", "completed", reason)
    assert said(FABRIC, state=0) == ("FAIL", "none", "completed", reason)
    assert said(FABRIC, change=no_switch(untold_state=True)).status == "NO_REFERENCE"
    assert said(FABRIC, change=no_switch(untold_state=False)) == (
        "NO_REFERENCE",
        "none",
        "",
        "no switch is seen at the end of its links",
    )


@pytest.mark.parametrize(("cc", "status"), [("8.9", "SKIP"), ("9.0", "FAIL"), ("10.0", "FAIL")])
def test_the_fabric_is_of_hopper_and_later(cc: str, status: str) -> None:
    assert said(FABRIC, state=1, policy=table(cc=cc)).status == status


# --- under load ---------------------------------------------------------------------------------


def held(**counters: int) -> Any:
    """Let the driver's counters grow by so many nanoseconds."""

    def change(evidence: Document) -> None:
        after = value(evidence, THROTTLE)["after"]
        after.update({key: (after.get(key) or 0) + ns for key, ns in counters.items()})

    return change


@pytest.mark.parametrize(
    ("key", "status", "reason"),
    [
        ("hw_thermal_ns", "FAIL", "hardware thermal slowdown: look after cooling and air flow"),
        ("sw_thermal_ns", "FAIL", "software thermal slowdown: look after cooling and air flow"),
        ("thermal_policy_ns", "FAIL", "thermal policy: look after cooling and air flow"),
        ("hw_power_brake_ns", "FAIL", "power brake: look after power supplies and cables"),
        ("board_limit_ns", "WARN", "board limit"),
    ],
)
def test_what_held_the_clocks_down_is_named_with_what_to_do(
    key: str, status: str, reason: str
) -> None:
    found = said(THROTTLE, change=held(**{key: 1}))
    assert found.status == status
    assert found.expected == "no time at all"
    assert found.reason == "the clocks were held down by " + reason
    assert said(THROTTLE, change=held(**{key: 2_500_000})).measured.endswith(" 2.5 ms")


def test_a_policy_may_fail_on_other_counters() -> None:
    for key, remedy in (
        ("board_limit_ns", "board limit: the board's limit"),
        ("reliability_ns", "reliability limit: the chip's limit"),
        ("sw_power_cap_ns", "power cap: the power limit"),
    ):
        found = said(THROTTLE, change=held(**{key: 1}), expect={"fails": [key]})
        assert found[0::3] == ("FAIL", "the clocks were held down by " + remedy)


def test_several_counters_are_shown_and_the_mask_counts_too() -> None:
    found = said(THROTTLE, change=held(sw_power_cap_ns=1_000_000, reliability_ns=2_000_000))
    assert found == (
        "PASS",
        "power cap 1.0 ms, reliability limit 2.0 ms",
        "no heat",
        "only the power cap, which a full load reaches",
    )
    assert said(THROTTLE)[1:3] == ("none", "no heat, no power brake")
    assert said(THROTTLE, reasons_seen=0x88)[1:] == (
        "none",
        "no time at all",
        "the clocks were held down by hardware slowdown, power brake",
    )


def test_counters_that_fell_were_begun_anew() -> None:
    found = said(THROTTLE, change=held(sw_power_cap_ns=-1))
    assert found[:3] == ("FAIL", "counters fell", "")


def test_a_counter_that_is_not_told_does_not_hide_those_after_it() -> None:
    def change(evidence: Document) -> None:
        for when in ("before", "after"):
            value(evidence, THROTTLE)[when]["sw_power_cap_ns"] = None
        for one in value(evidence, "health.gpus")["gpus"]:
            one["sw_power_cap_ns"] = None
        held(hw_thermal_ns=1)(evidence)

    assert said(THROTTLE, change=change).status == "FAIL"


def test_a_counter_that_nobody_tells_warns_of_nothing() -> None:
    def change(evidence: Document) -> None:
        for when in ("before", "after"):
            for key in ("board_limit_ns", "sw_power_cap_ns"):
                value(evidence, THROTTLE)[when][key] = None
        for one in value(evidence, "health.gpus")["gpus"]:
            one.update(board_limit_ns=None, sw_power_cap_ns=None)

    assert said(THROTTLE, change=change)[0::3] == ("PASS", "nothing held the clocks down")


@pytest.mark.parametrize(
    ("values", "measured", "expected"),
    [
        ({"margin_c": 0}, "41 °C", "below its limit"),
        ({"margin_c": None, "hottest_c": 89}, "89 °C", "below 89 °C"),
        ({"margin_c": None, "hottest_c": 0, "gpu_c": 95}, "95 °C", "below 89 °C"),
        ({"memory_temperature_c": 95}, "memory 95 °C", "below 95 °C"),
    ],
)
def test_a_temperature_at_its_limit_is_too_high(
    values: Document, measured: str, expected: str
) -> None:
    assert said(TEMPERATURE, **values)[:3] == ("FAIL", measured, expected)


def test_temperatures_are_held_against_what_the_gpu_tells() -> None:
    assert said(TEMPERATURE)[:3] == ("PASS", "41 °C", "50 °C of room")
    only = {"margin_c": None, "memory_max_c": None}
    assert said(TEMPERATURE, **only)[2:] == ("slows down at 89 °C", "slows down at 89 °C")
    none = {**only, "slowdown_c": None}
    assert said(TEMPERATURE, **none)[:3] == ("NO_REFERENCE", "41 °C", "")
    assert said(TEMPERATURE, **{**none, "memory_max_c": 95, "memory_temperature_c": None})[0] == (
        "NO_REFERENCE"
    )


@pytest.mark.parametrize(
    ("values", "status", "shown"),
    [
        ({"sm_set_mhz": 1500}, "FAIL", ("1500 MHz", "1980 MHz")),
        ({"memory_set_mhz": 3000}, "FAIL", ("3000 MHz", "3201 MHz")),
        ({"sm_set_mhz": None, "memory_set_mhz": 3000}, "FAIL", ("3000 MHz", "3201 MHz")),
        ({"sm_set_mhz": 2000}, "PASS", ("1980 of 1980 MHz", "1980 MHz")),
        ({"sm_mhz": 345}, "PASS", ("345 of 1980 MHz", "1980 MHz")),
        ({"sm_default_mhz": None, "reasons": 2}, "PASS", ("1980 of 1980 MHz", "1980 MHz")),
        (
            {"sm_default_mhz": None, "memory_set_mhz": None, "reasons": 2},
            "WARN",
            ("1980 of 1980 MHz", "free"),
        ),
        (
            {"sm_default_mhz": None, "memory_set_mhz": None, "reasons": 5},
            "PASS",
            ("1980 of 1980 MHz", "1980 MHz"),
        ),
    ],
)
def test_clocks_that_somebody_lowered(
    values: Document, status: str, shown: tuple[str, str]
) -> None:
    assert said(CLOCKS, **values)[:3] == (status, *shown)


def test_the_power_limit_is_the_gpus_own_or_the_sites() -> None:
    lowered = {"limit_mw": 600_000}
    assert said(POWER, **lowered) == (
        "FAIL",
        "600 W",
        "700 W",
        "its power limit was lowered: nvidia-smi -pl 700",
    )
    assert said(POWER, expect={"limit_w": 600}, **lowered)[:3] == ("PASS", "600 W", "600 W")
    assert said(POWER, expect={"limit_w": 601}, **lowered)[:3] == ("FAIL", "600 W", "601 W")
    assert said(POWER, draw_mw=None).reason == "as built"
    assert said(POWER, draw_mw=0).reason == "drew 0 W"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"width_busy": 8}, ("FAIL", "gen 5 x8", "gen 5 x16")),
        ({"generation_busy": 4}, ("FAIL", "gen 4 x16", "gen 5 x16")),
        ({"generation_busy": 4, "load": {"kind": "none"}}, ("WARN", "gen 4 x16", "gen 5 x16")),
        ({"pcie_fatal": 1}, ("FAIL", "gen 5 x16", "gen 5 x16")),
        ({"pcie_replays": 81}, ("FAIL", "81 replays", "at most 80")),
        ({"pcie_replays": 80}, ("PASS", "gen 5 x16", "gen 5 x16")),
        ({"pcie_non_fatal": 2}, ("WARN", "gen 5 x16", "gen 5 x16")),
    ],
)
def test_what_is_wrong_with_a_pcie_link(values: Document, verdict: tuple[str, str, str]) -> None:
    assert said(PCIE, **values)[:3] == verdict


def test_replays_count_from_before_the_load() -> None:
    def before(count: int | None) -> Any:
        return lambda e: value(e, "health.gpus")["gpus"][0].update(pcie_replays=count)

    assert said(PCIE, change=before(50), pcie_replays=130)[3] == "80 replays"
    assert said(PCIE, change=before(50), pcie_replays=131).status == "FAIL"
    # Where the machine's part did not read it, the leg's own idle reading stands in.
    idle = {"idle": {"pcie_replays": 60}, "pcie_replays": 100}
    assert said(PCIE, change=before(None), **idle).reason == "40 replays"
    assert said(PCIE, pcie_fatal=3).reason == "3 fatal errors on the PCIe link"
    assert said(PCIE, pcie_non_fatal=3).reason == "3 errors on the PCIe link that were not fatal"


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"uncorrected": 1}, ("FAIL", "1 uncorrected", "0")),
        ({"sram_threshold_exceeded": 1}, ("FAIL", "threshold exceeded", "not exceeded")),
        (
            {"sram_uncorrected_parity_total": 3, "sram_uncorrected_secded_total": 2},
            ("FAIL", "5", "at most 4"),
        ),
        (
            {"corrected_dram": 20_000_001},
            ("FAIL", "20000001 corrected", "at most 20000000"),
        ),
        ({"corrected_sram": 10_001}, ("FAIL", "10001 corrected", "at most 10000")),
        ({"pending_mode": 0}, ("WARN", "changes", "stays")),
        ({"pending_mode": None}, ("PASS", "on, 0 corrected", "on")),
        ({"corrected": 12}, ("PASS", "on, 12 corrected", "on")),
        ({"mode": 0, "pending_mode": 0}, ("FAIL", "off", "on")),
    ],
)
def test_what_ecc_counted(values: Document, verdict: tuple[str, str, str]) -> None:
    assert said(ECC, **values)[:3] == verdict


def test_where_errors_were_is_told() -> None:
    both = {"uncorrected": 5, "uncorrected_dram": 2, "uncorrected_sram": 3}
    reason = "errors that ECC could not correct since the driver was loaded"
    assert said(ECC, **both).reason == reason + ": 2 in DRAM, 3 in SRAM"
    assert said(ECC, uncorrected=5).reason == reason
    found = said(ECC, corrected_sram=10_001)
    assert found.reason == "so many corrected SRAM errors mean that it is failing"


def test_a_gpu_without_ecc() -> None:
    consumer = table(data_centre=False)
    assert said(ECC, policy=consumer, change=untold(ECC, 3, "mode"))[:3] == ("SKIP", "no ECC", "on")
    assert said(ECC, policy=consumer, mode=0, pending_mode=0)[:2] == ("NO_REFERENCE", "off")
    off = {"mode": "off"}
    assert said(ECC, expect=off, mode=0, pending_mode=0)[:3] == ("PASS", "off, 0 corrected", "off")
    assert said(ECC, change=untold(ECC, 3, "mode")).status == "ERROR"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"failure": 1, "pending": 1}, ("FAIL", "failure", "none")),
        ({"pending": 1}, ("FAIL", "pending", "none")),
        ({"correctable": 500, "uncorrectable": 12}, ("FAIL", "512 rows replaced", "fewer than 5")),
        ({"banks_none": 2}, ("WARN", "0 rows replaced", "")),
    ],
)
def test_rows_that_were_replaced(values: Document, verdict: tuple[str, str, str]) -> None:
    found = said(REPAIR, **values)
    assert found[:2] == verdict[:2]
    assert found.expected.startswith(verdict[2])
    if "banks_none" in values:
        assert found.reason == "2 memory banks have no spare row left"


PAGES = {"retired_single": 3, "retired_double": 4, "retired_pending": 0}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, ("PASS", "7 pages retired", "fewer than 63")),
        ({"retired_pending": 1}, ("FAIL", "pending", "none")),
        ({"retired_single": 58}, ("PASS", "62 pages retired", "fewer than 63")),
        ({"retired_single": 59}, ("FAIL", "63 pages retired", "fewer than 63")),
        ({"retired_double": 14}, ("PASS", "17 pages retired", "fewer than 63")),
        ({"retired_double": 15}, ("WARN", "18 pages retired", "fewer than 15")),
    ],
)
def test_pages_that_were_retired_before_ampere(
    values: Document, verdict: tuple[str, str, str]
) -> None:
    assert said(REPAIR, policy=table(cc="7.0"), **{**PAGES, **values})[:3] == verdict


@pytest.mark.parametrize(("cc", "measured"), [("7.5", "7 pages retired"), ("8.0", "0 rows repl")])
def test_rows_are_remapped_from_ampere_on(cc: str, measured: str) -> None:
    assert said(REPAIR, policy=table(cc=cc), **PAGES).measured.startswith(measured)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("channel_pending", "a memory channel is repaired at the next reset"),
        ("tpc_pending", "a compute cluster is repaired at the next reset"),
    ],
)
def test_a_repair_that_waits_is_named(key: str, reason: str) -> None:
    assert said("health.repair", **{key: 1}) == ("FAIL", "pending", "none", reason)


# --- values that NVML does not tell -------------------------------------------------------------


@pytest.mark.parametrize("code", [2, 3, 13, 25, 26])
def test_a_value_that_is_not_told_is_judged_by_the_gpu_table(code: int) -> None:
    change = untold(PROCESSES, code, "count")
    assert said(PROCESSES, change=change) == (
        "ERROR",
        "",
        "",
        f"NVML does not tell count, which a data-centre GPU has (code {code})",
    )
    assert said(PROCESSES, change=change, policy=table(data_centre=False)) == (
        "NO_REFERENCE",
        f"not told ({code})",
        "",
        "NVML does not tell count of this GPU",
    )


def test_other_refusals_are_errors_and_lost_gpus_faults() -> None:
    assert said(PROCESSES, change=untold(PROCESSES, 999, "count"))[0::3] == (
        "ERROR",
        "NVML answers 999 for count",
    )
    assert said(PROCESSES, count=None).reason == "count was not measured"
    found = said(PROCESSES, change=untold(PROCESSES, 16, "count"))
    assert found == ("FAIL", "NVML code 16", "", "the GPU needs a reset before it can be used")
    assert said(PROCESSES, change=untold(PROCESSES, 15, "count"))[0:2] == ("FAIL", "NVML code 15")


@pytest.mark.parametrize(("mode", "status"), [(2, "NO_REFERENCE"), (1, "ERROR"), (0, "ERROR")])
def test_a_virtual_gpu_need_not_tell_everything(mode: int, status: str) -> None:
    def change(evidence: Document) -> None:
        untold(PROCESSES, 3, "count")(evidence)
        value(evidence, DEVICE)["virtualization"] = mode

    assert said(PROCESSES, change=change).status == status


@pytest.mark.parametrize("code", [True, "3", 3.0, None])
def test_a_code_that_is_no_code_says_nothing(code: object) -> None:
    def change(evidence: Document) -> None:
        value(evidence, PROCESSES).update(count=None, codes={"count": code})

    assert said(PROCESSES, change=change)[0::3] == ("ERROR", "count was not measured")


def test_a_value_that_is_there_is_told_whatever_code_stands_beside_it() -> None:
    def change(evidence: Document) -> None:
        value(evidence, NVLINK)["codes"]["link_count"] = 3

    assert said(NVLINK, change=change).status == "PASS"
    # A link that is missing is refused once all of it is not told, and an error where half is.
    assert said(PCIE, change=untold(PCIE, 3, "generation", "width")).status == "NO_REFERENCE"
    assert said(PCIE, change=untold(PCIE, 3, "generation")).status == "ERROR"
    assert said(PCIE, change=untold(PCIE, 999, "generation", "width")).status == "ERROR"


@pytest.mark.parametrize("counted", [True, "5", 5.0, None])
def test_a_counter_that_is_no_number_counts_nothing(counted: object) -> None:
    assert said(NVLINK, nvlink_recovery_failed=counted).status == "PASS"
    assert said(PCIE, pcie_fatal=counted).status == "PASS"


@pytest.mark.parametrize(
    ("check", "key"),
    [
        (TEMPERATURE, "gpu_c"),
        (CLOCKS, "sm_mhz"),
        (CLOCKS, "sm_max_mhz"),
        (MODES, "compute_mode"),
        (FIRMWARE, "vbios"),
        (PCIE, "width"),
    ],
)
def test_what_every_gpu_tells_must_be_told(check: str, key: str) -> None:
    """Of these no GPU is without, whatever the table counts it to."""
    change, consumer = untold(check, 3, key), table(data_centre=False)
    assert said(check, change=change, policy=consumer).status == "ERROR"
