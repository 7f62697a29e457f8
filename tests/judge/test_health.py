"""How health is judged where the red fixtures do not reach: limits, overrides, unknown GPUs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.policy import compile_policy
from cudactl.judge import judge
from cudactl.judge.checks import CHECKS
from cudactl.workflow.references import gpu_references, xid_meanings
from tests.judge.healthy import DRIVER, GPU, NOW, apt_lock, fresh, value

Document = dict[str, Any]
Pair = tuple[Document, Document]


@pytest.fixture
def gpu() -> Pair:
    return fresh("gpu")


def verdict(pair: Pair, check: str) -> tuple[str, str]:
    """Return a check's first verdict: (status, reason)."""
    certificate = judge(copy.deepcopy(pair[0]), pair[1], "h1", NOW)
    found = next(v for v in certificate["verdicts"] if v["check"] == check)
    return found["status"], found["reason"]


def expect(pair: Pair, check: str) -> Document:
    found: Document = next(e for e in pair[1]["expectations"] if e["check"] == check)
    answer: Document = found["expect"]
    return answer


def unknown(pair: Pair) -> Pair:
    """The same GPU, of which the catalogue knows nothing."""
    pair[1]["references"] = {}
    return pair


def reference(pair: Pair, **values: object) -> Pair:
    pair[1]["references"][GPU["device"]].update(values)
    return pair


def refuse(pair: Pair, check: str, code: int, *keys: str) -> Pair:
    values = value(pair[0], check)
    for key in keys:
        values[key] = None
        values["codes"][key] = code
    return pair


# --- limits: what lies just inside passes -------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "values"),
    [
        ("health.ecc", {"corrected": 20_000_000, "corrected_dram": 20_000_000}),
        ("health.ecc", {"corrected": 10_000, "corrected_sram": 10_000}),
        ("health.ecc", {"sram_uncorrected_parity_total": 2, "sram_uncorrected_secded_total": 2}),
        ("health.ecc", {"uncorrected_ever": 9, "corrected_ever": 9}),
        ("health.memory_repair", {"correctable": 500, "uncorrectable": 11}),
        ("health.temperature", {"hottest_c": 88, "margin_c": 1, "memory_temperature_c": 94}),
        ("health.pcie", {"pcie_replays": 80}),
        ("health.power", {"limit_mw": 700_000, "draw_mw": None}),
        ("health.clocks", {"sm_set_mhz": 1980, "reasons": 2}),
        ("health.nvlink", {"nvlink_crc_flit": 7, "nvlink_crc_data": 7, "nvlink_replays": 7}),
    ],
)
def test_what_is_just_within_its_limit_passes(gpu: Pair, check: str, values: Document) -> None:
    value(gpu[0], check).update(values)
    assert verdict(gpu, check)[0] == "PASS"


def test_errors_of_an_earlier_life_are_told_and_no_fault(gpu: Pair) -> None:
    value(gpu[0], "health.ecc")["uncorrected_ever"] = 3
    assert verdict(gpu, "health.ecc") == ("PASS", "no uncorrected error; 3 in its life")


@pytest.mark.parametrize(
    ("check", "key", "limit", "values"),
    [
        ("health.ecc", "uncorrected", 1, {"uncorrected": 1}),
        ("health.ecc", "corrected_dram", 30_000_000, {"corrected_dram": 25_000_000}),
        ("health.ecc", "corrected_sram", 30_000, {"corrected_sram": 25_000}),
        ("health.ecc", "sram_uncorrected_ever", 9, {"sram_uncorrected_parity_total": 8}),
        ("health.ecc", "mode", "any", {"mode": 0, "pending_mode": 0}),
        ("health.memory_repair", "rows", 600, {"correctable": 550}),
        ("health.processes", "most", 1, {"count": 1}),
        ("health.pcie", "replays", 1000, {"pcie_replays": 900}),
        ("health.modes", "mig", "on", {"mig": 1, "mig_pending": 1}),
        ("health.modes", "mig", None, {"mig": 1, "mig_pending": 1}),
        ("health.power", "limit_w", 500, {"limit_mw": 500_000}),
    ],
)
def test_a_site_may_set_another_limit(
    gpu: Pair, check: str, key: str, limit: object, values: Document
) -> None:
    value(gpu[0], check).update(values)
    assert verdict(gpu, check)[0] == "FAIL"
    expect(gpu, check)[key] = limit
    assert verdict(gpu, check)[0] == "PASS"


def test_a_site_may_name_the_vbios_it_wants(gpu: Pair) -> None:
    expect(gpu, "health.firmware")["vbios"] = ["96.00.D0.00.02", "96.00.D0.00.03"]
    assert verdict(gpu, "health.firmware")[0] == "PASS"
    expect(gpu, "health.firmware")["vbios"] = ["96.00.D0.00.03"]
    assert verdict(gpu, "health.firmware")[0] == "FAIL"


def test_gpus_of_one_kind_with_several_vbios_are_a_warning(gpu: Pair) -> None:
    evidence = gpu[0]
    second = {**GPU, "id": "GPU-c0dac711-0000-4000-8000-000000000002", "address": "0000:65:00.0"}
    evidence["gpus"].append(second)
    (ours,) = [p for p in evidence["legs"] if p["leg"] == "health" and p["gpu"] == GPU["id"]]
    evidence["legs"].append(copy.deepcopy({**ours, "gpu": second["id"]}))
    assert verdict(gpu, "health.firmware")[0] == "PASS"
    measured = {m["check"]: m["values"] for m in evidence["legs"][-1]["measurements"]}
    measured["health.firmware"]["vbios"] = "96.00.01.00.01"
    status, reason = verdict(gpu, "health.firmware")
    assert status == "WARN"
    assert "96.00.01.00.01, 96.00.D0.00.02" in reason


# --- throttling by difference -------------------------------------------------------------------


def test_what_was_held_down_before_the_run_is_not_counted(gpu: Pair) -> None:
    for when in ("before", "after"):
        value(gpu[0], "health.throttle")[when]["hw_thermal_ns"] = 9_000_000
    value(gpu[0], "health.gpus")["gpus"][0]["hw_thermal_ns"] = 9_000_000
    assert verdict(gpu, "health.throttle")[0] == "PASS"


def test_another_gpus_earlier_counters_are_not_taken_for_this_ones(gpu: Pair) -> None:
    other = value(gpu[0], "health.gpus")["gpus"][0]
    other.update(uuid="GPU-other", sw_power_cap_ns=10**12)
    assert verdict(gpu, "health.throttle")[0] == "PASS"


def test_the_power_cap_is_no_fault_and_told(gpu: Pair) -> None:
    value(gpu[0], "health.throttle")["after"]["sw_power_cap_ns"] += 2_500_000
    certificate = judge(gpu[0], gpu[1], "h1", NOW)
    (found,) = [v for v in certificate["verdicts"] if v["check"] == "health.throttle"]
    assert found["status"] == "PASS"
    assert "power cap 2.5 ms" in found["measured"]


def test_counters_that_are_not_told_leave_the_mask(gpu: Pair) -> None:
    for when in ("before", "after"):
        table = value(gpu[0], "health.throttle")[when]
        for key in [key for key in table if key.endswith("_ns")]:
            table[key] = None
    assert verdict(gpu, "health.throttle")[0] == "PASS"
    value(gpu[0], "health.throttle")["after"].update(reasons=None)
    value(gpu[0], "health.throttle")["after"]["codes"]["reasons"] = 3
    assert verdict(gpu, "health.throttle")[0] == "ERROR"


@pytest.mark.parametrize("bit", [0x8, 0x20, 0x40, 0x80])
def test_every_bad_bit_of_the_mask_counts(gpu: Pair, bit: int) -> None:
    value(gpu[0], "health.throttle")["reasons_seen"] = bit | 0x1
    assert verdict(gpu, "health.throttle")[0] == "FAIL"


@pytest.mark.parametrize("bit", [0x1, 0x2, 0x4, 0x10, 0x100])
def test_idle_set_clocks_and_the_power_cap_are_no_bad_bits(gpu: Pair, bit: int) -> None:
    value(gpu[0], "health.throttle")["reasons_seen"] = bit
    assert verdict(gpu, "health.throttle")[0] == "PASS"


# --- GPUs that the table does not know, or knows to lack something ------------------------------


def test_an_unknown_gpu_is_judged_by_what_it_tells(gpu: Pair) -> None:
    certificate = judge(*unknown(gpu), "h1", NOW)
    health = {
        v["check"]: v["status"]
        for v in certificate["verdicts"]
        if v["leg"] == "health" and v["status"] != "PASS"
    }
    assert health == {}


@pytest.mark.parametrize(
    ("check", "keys"),
    [
        ("health.ecc", ("mode",)),
        ("health.memory_repair", ("pending", "failure")),
        ("health.power", ("limit_mw",)),
        ("health.fabric", ("state",)),
    ],
)
def test_what_an_unknown_gpu_does_not_tell_is_not_judged(
    gpu: Pair, check: str, keys: tuple[str, ...]
) -> None:
    for link in value(gpu[0], "health.nvlink")["links"]:
        link["remote"] = None
    assert verdict(unknown(refuse(gpu, check, 3, *keys)), check)[0] == "NO_REFERENCE"


def test_an_unknown_gpu_with_ecc_off_is_not_judged(gpu: Pair) -> None:
    value(gpu[0], "health.ecc")["mode"] = 0
    assert verdict(unknown(gpu), "health.ecc")[0] == "NO_REFERENCE"


def test_an_unknown_gpu_that_retires_pages_is_judged_by_them(gpu: Pair) -> None:
    values = value(gpu[0], "health.memory_repair")
    refuse(gpu, "health.memory_repair", 3, "pending", "failure", "correctable", "uncorrectable")
    values["codes"] = {"pending": 3, "failure": 3}
    values.update(retired_single=0, retired_double=0, retired_pending=1)
    status, reason = verdict(unknown(gpu), "health.memory_repair")
    assert (status, "a page" in reason) == ("FAIL", True)


def test_a_virtual_gpu_need_not_tell_what_its_host_knows(gpu: Pair) -> None:
    value(gpu[0], "health.device")["virtualization"] = 2
    assert verdict(refuse(gpu, "health.ecc", 3, "mode"), "health.ecc")[0] == "SKIP"
    assert verdict(refuse(gpu, "health.power", 3, "limit_mw"), "health.power")[0] == "NO_REFERENCE"


@pytest.mark.parametrize("code", [2, 3, 13, 25, 26])
def test_not_told_is_no_fault_where_nothing_says_it_must_be(gpu: Pair, code: int) -> None:
    pair = refuse(gpu, "health.recovery", code, "recovery_action")
    assert verdict(pair, "health.recovery")[0] == "NO_REFERENCE"


@pytest.mark.parametrize(("code", "status"), [(15, "FAIL"), (16, "FAIL"), (4, "ERROR")])
def test_a_lost_gpu_is_a_fault_and_any_other_refusal_an_error(
    gpu: Pair, code: int, status: str
) -> None:
    pair = refuse(gpu, "health.recovery", code, "recovery_action")
    assert verdict(pair, "health.recovery")[0] == status


def test_a_board_without_switches_has_no_fabric_to_be_in(gpu: Pair) -> None:
    value(gpu[0], "health.fabric")["state"] = 1
    assert verdict(gpu, "health.fabric")[0] == "FAIL"
    assert verdict(reference(gpu, nvswitch=False), "health.fabric")[0] == "SKIP"


def test_before_hopper_the_driver_registers_no_gpu(gpu: Pair) -> None:
    value(gpu[0], "health.fabric")["state"] = 0
    assert verdict(reference(gpu, cc="8.0"), "health.fabric")[0] == "SKIP"


def test_a_gpu_without_nvlink_in_the_table_is_not_asked_for_it(gpu: Pair) -> None:
    value(gpu[0], "health.nvlink")["links"][0]["active"] = False
    assert verdict(reference(gpu, nvlink_gbs=None), "health.nvlink")[0] == "SKIP"
    pair = reference(gpu, contested=["nvlink_gbs"])
    assert verdict(pair, "health.nvlink")[0] == "NO_REFERENCE"


def test_links_without_a_bridge_are_not_judged_and_a_part_of_them_is_a_warning(gpu: Pair) -> None:
    reference(gpu, nvswitch=False)
    links = value(gpu[0], "health.nvlink")["links"]
    links[0]["active"] = False
    assert verdict(gpu, "health.nvlink")[0] == "WARN"
    for link in links:
        link["active"] = False
    assert verdict(gpu, "health.nvlink")[0] == "NO_REFERENCE"


def test_a_gpu_passed_through_alone_is_not_held_to_the_fabric(gpu: Pair) -> None:
    for link in value(gpu[0], "health.nvlink")["links"]:
        link.update(active=False, remote=None)
    value(gpu[0], "health.fabric")["state"] = 1
    value(gpu[0], "health.device")["virtualization"] = 1
    assert verdict(gpu, "health.nvlink")[0] == "NO_REFERENCE"
    assert verdict(gpu, "health.fabric")[0] == "NO_REFERENCE"
    gpu[0]["state"]["gpus"] *= 2
    assert verdict(gpu, "health.nvlink")[0] == "FAIL"
    assert verdict(gpu, "health.fabric")[0] == "FAIL"


def test_pcie_that_is_not_told_at_all_is_not_judged(gpu: Pair) -> None:
    """An integrated GPU has no PCIe link."""
    pair = refuse(gpu, "health.pcie", 3, "generation", "width")
    assert verdict(pair, "health.pcie")[0] == "NO_REFERENCE"


def test_a_slot_that_gives_less_than_the_gpu_could_is_told(gpu: Pair) -> None:
    value(gpu[0], "health.pcie").update(generation_busy=4, generation=4, generation_max=4)
    status, reason = verdict(gpu, "health.pcie")
    assert status == "PASS"
    assert "could do gen 5" in reason


# --- the kernel's log ---------------------------------------------------------------------------


def log(pair: Pair, *codes: int, **more: object) -> Pair:
    value(pair[0], "health.xids")["xids"] = [
        {"code": code, "address": "0000:17:00", "text": "", "count": 2, **more} for code in codes
    ]
    return pair


def test_an_applications_own_fault_is_noted_and_no_fault_of_the_gpu(gpu: Pair) -> None:
    status, reason = verdict(log(gpu, 13, 31, 43), "health.xids")
    assert status == "PASS"
    assert "XID 31 (ROBUST_CHANNEL_FIFO_ERROR_MMU_ERR_FLT) on 0000:17:00 2 times" in reason


def test_the_worst_is_told_first(gpu: Pair) -> None:
    status, reason = verdict(log(gpu, 31, 144, 95, 79), "health.xids")
    assert status == "FAIL"
    assert reason.startswith("XID 95")
    assert "XID 31" not in reason
    assert "XID 144" not in reason


def test_a_site_may_ignore_an_xid(gpu: Pair) -> None:
    log(gpu, 79)
    assert verdict(gpu, "health.xids")[0] == "FAIL"
    expect(gpu, "health.xids")["ignore"] = [79]
    assert verdict(gpu, "health.xids")[0] == "PASS"


@pytest.mark.parametrize(("severity", "status"), [("gpu", "FAIL"), ("attention", "WARN")])
def test_a_site_may_weigh_an_xid_otherwise(gpu: Pair, severity: str, status: str) -> None:
    log(gpu, 94)
    assert verdict(gpu, "health.xids")[0] == "PASS"
    expect(gpu, "health.xids")["severity"] = {"94": severity}
    assert verdict(gpu, "health.xids")[0] == status


def test_many_errors_are_told_in_short(gpu: Pair) -> None:
    assert "; 2 more" in verdict(log(gpu, 46, 48, 62, 64, 79, 95), "health.xids")[1]


def test_without_a_gpu_nobody_needs_to_read_the_log() -> None:
    evidence, policy = fresh("driverless")
    for check in ("health.xids", "health.driver_log"):
        value(evidence, check)["readable"] = False
        assert verdict((evidence, policy), check)[0] == "SKIP"


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["health.gpus", "health.services", "health.stale"])
def test_a_lock_that_names_gpus_is_not_excused(gpu: Pair, check: str) -> None:
    assert "without_gpu" not in expect(gpu, check)


def test_a_machine_without_switches_needs_no_fabric_manager(gpu: Pair) -> None:
    values = value(gpu[0], "health.services")
    values["nvswitches"] = 0
    values["fabric_manager"]["running"] = False
    assert verdict(gpu, "health.services")[0] == "PASS"


def test_from_inside_a_container_the_hosts_fabric_manager_is_not_seen(gpu: Pair) -> None:
    values = value(gpu[0], "health.services")
    values["fabric_manager"]["running"] = False
    values["init"] = "python3"
    assert verdict(gpu, "health.services")[0] == "NO_REFERENCE"


def test_the_chips_own_limit_is_told_and_no_fault(gpu: Pair) -> None:
    """It ends every clock's rise that nothing else ends, on healthy GPUs too."""
    value(gpu[0], "health.throttle")["after"]["reliability_ns"] += 1
    assert verdict(gpu, "health.throttle")[0] == "PASS"


def test_the_fabric_managers_package_may_have_any_of_its_names(gpu: Pair) -> None:
    packages = gpu[0]["state"]["packages"]
    packages["nvidia-fabricmanager"] = f"{packages.pop('nvidia-fabricmanager-580')}ubuntu1"
    assert verdict(gpu, "health.services")[0] == "PASS"
    packages["nvidia-fabricmanager"] = "1:570.86.10-1"
    assert verdict(gpu, "health.services")[0] == "FAIL"


def test_root_has_seen_every_process_that_there_was(gpu: Pair) -> None:
    value(gpu[0], "health.stale")["unseen"] = 3  # they ended meanwhile
    assert verdict(gpu, "health.stale")[0] == "PASS"


@pytest.mark.parametrize("code", [9, 15, 18, 999])
def test_nvml_that_does_not_start_is_a_fault_where_a_gpu_is(gpu: Pair, code: int) -> None:
    value(gpu[0], "health.nvml").update(init_code=code, init_text="x")
    status, reason = verdict(gpu, "health.nvml")
    assert status == "FAIL"
    assert ("different versions; reboot" in reason) == (code == 18)


# --- what is shown ------------------------------------------------------------------------------


def shown(pair: Pair, check: str) -> tuple[str, str, str]:
    """Return what a verdict shows: measured, expected, reason."""
    certificate = judge(copy.deepcopy(pair[0]), pair[1], "h1", NOW)
    found = next(v for v in certificate["verdicts"] if v["check"] == check)
    return found["measured"], found["expected"], found["reason"]


def test_a_healthy_machine_says_what_was_measured_and_expected(gpu: Pair) -> None:
    assert shown(gpu, "health.power") == ("700 W", "700 W", "drew 121 W")
    assert shown(gpu, "health.ecc") == ("on, 0 corrected", "on", "no uncorrected error")
    assert shown(gpu, "health.pcie") == ("gen 5 x16", "gen 5 x16", "0 replays")
    assert shown(gpu, "health.nvlink") == ("18 of 18 links up", "all", "0 CRC errors, 0 replays")
    assert shown(gpu, "health.fabric") == ("completed", "completed", "registered, and healthy")
    assert shown(gpu, "health.clocks")[:2] == ("1980 of 1980 MHz", "1980 MHz")
    assert shown(gpu, "health.repair")[:2] == ("none pending", "none")
    assert shown(gpu, "health.driver_log")[:2] == ("none", "none")
    assert shown(gpu, "health.xids")[:2] == ("0 noted", "none")
    assert shown(gpu, "health.stale")[:2] == ("none of 300", "none")
    assert shown(gpu, "health.gpus")[:2] == ("1 GPUs", "all well")
    assert shown(gpu, "health.recovery")[:2] == ("0", "0")
    assert shown(gpu, "health.memory_repair")[:2] == ("0 rows replaced", "fewer than 512")
    assert shown(gpu, "health.services")[:2] == (f"4 NVSwitches, fabric manager {DRIVER}", DRIVER)
    assert shown(gpu, "health.temperature")[2] == (
        "50 °C of room; slows down at 89 °C; memory 42 °C of 95"
    )


def test_findings_say_what_was_found_and_wanted(gpu: Pair) -> None:
    value(gpu[0], "health.ecc").update(uncorrected=1, uncorrected_dram=1)
    value(gpu[0], "health.nvlink")["links"][4]["active"] = False
    value(gpu[0], "health.services")["fabric_manager"]["running"] = False
    value(gpu[0], "health.fabric")["health_summary"] = 2
    value(gpu[0], "health.driver_log")["signs"] = {"init_failed": "NVRM: x"}
    assert shown(gpu, "health.ecc")[:2] == ("1 uncorrected", "0")
    assert shown(gpu, "health.ecc")[2].endswith("was loaded: 1 in DRAM")
    assert shown(gpu, "health.nvlink")[:2] == ("17 of 18 links up", "all")
    assert shown(gpu, "health.services")[:2] == ("4 NVSwitches, not running", "running")
    assert shown(gpu, "health.fabric")[:2] == ("completed", "healthy")
    assert shown(gpu, "health.driver_log")[:2] == ("init_failed", "none")


def test_details_are_told(gpu: Pair) -> None:
    assert shown(gpu, "health.device")[0] == "NVIDIA H200, serial 1650000000001"
    assert shown(gpu, "health.throttle")[2] == "nothing held the clocks down"
    value(gpu[0], "health.throttle")["after"]["sw_power_cap_ns"] += 1
    assert shown(gpu, "health.throttle")[2].startswith("only the power cap")
    value(gpu[0], "health.throttle")["load"] = {"kind": "none"}
    assert shown(gpu, "health.throttle")[0].endswith("(no load)")
    value(gpu[0], "health.memory_repair")["failure"] = 1
    assert shown(gpu, "health.memory_repair")[:2] == ("failure", "none")
    value(gpu[0], "health.repair")["tpc_pending"] = 1
    assert shown(gpu, "health.repair")[:2] == ("pending", "none")
    value(gpu[0], "health.gpus")["gpus"][0]["handle_code"] = 15
    assert shown(gpu, "health.gpus")[2].startswith(f"GPU {GPU['id']}: the GPU is lost")
    expect(gpu, "health.modes")["mig"] = None
    assert shown(gpu, "health.modes")[1] == "MIG either, persistence on"
    assert "times" not in shown(log(gpu, 79, count=1), "health.xids")[2]


@pytest.mark.parametrize("code", range(2, 9))
def test_every_wrong_configuration_of_the_fabric_is_named(gpu: Pair, code: int) -> None:
    value(gpu[0], "health.fabric")["health_mask"] = 426 & ~0xF00 | code << 8
    assert "is configured wrongly" in verdict(gpu, "health.fabric")[1]


def test_a_skip_names_the_gpu_whose_table_row_says_so(gpu: Pair) -> None:
    reference(gpu, nvlink_gbs=None, nvswitch=False, name="L40S")
    assert shown(gpu, "health.nvlink")[2] == "the GPU table knows no NVLink on L40S"
    assert "boards with L40S have no switch" in shown(gpu, "health.fabric")[2]


def test_clocks_that_are_not_told_and_not_set_pass(gpu: Pair) -> None:
    value(gpu[0], "health.clocks").update(sm_set_mhz=None, memory_set_mhz=None, reasons=1)
    assert verdict(gpu, "health.clocks")[0] == "PASS"


@pytest.mark.parametrize(("code", "status"), [(2, "PASS"), (3, "PASS"), (13, "PASS"), (4, "ERROR")])
def test_a_gpu_that_cannot_be_divided_has_mig_off(gpu: Pair, code: int, status: str) -> None:
    pair = refuse(gpu, "health.modes", code, "mig", "mig_pending")
    assert verdict(pair, "health.modes")[0] == status


def test_half_a_pcie_link_is_an_error(gpu: Pair) -> None:
    assert verdict(refuse(gpu, "health.pcie", 3, "width"), "health.pcie")[0] == "ERROR"


def test_another_gpu_without_firmware_measured_is_no_other_vbios(gpu: Pair) -> None:
    evidence = gpu[0]
    second = {**GPU, "id": "GPU-c0dac711-0000-4000-8000-000000000002", "address": "0000:65:00.0"}
    evidence["gpus"].append(second)
    assert verdict(gpu, "health.firmware")[0] == "PASS"


# --- policies -----------------------------------------------------------------------------------


def policy(tier: Any, **lock: object) -> Document:
    whole = compile_policy(
        apt_lock(("H200 SXM",)).model_copy(update=lock),
        tier=tier,
        references=gpu_references(),
        xids=xid_meanings(),
    )
    document: Document = whole.model_dump(mode="json")
    return document


def test_a_prolog_reads_counters_and_makes_no_context() -> None:
    prolog = policy("prolog")
    expected = {e["check"]: e["expect"] for e in prolog["expectations"]}
    assert expected["health.gpus"]["counters"] is True
    assert not [check for check in expected if check in ("health.ecc", "health.stale")]
    assert "device" not in prolog["request"]["legs"]["health"]
    assert prolog["request"]["hash"] is False
    assert prolog["device_legs"] == []


def test_every_other_tier_looks_at_each_gpu_by_itself() -> None:
    for tier in ("smoke", "nightly", "burn-in"):
        whole = policy(tier)
        expected = {e["check"]: e["expect"] for e in whole["expectations"]}
        assert expected["health.gpus"]["counters"] is False
        assert "health.ecc" in expected
        device = whole["request"]["legs"]["health"]["device"]
        assert set(device["libraries"]) == {"nvml", "cuda"}
        assert whole["request"]["legs"]["health"]["stale"] is True


def test_a_driver_that_was_there_before_is_found_by_the_loader() -> None:
    packages = [p for p in apt_lock().packages if p.name != "libnvidia-compute-580"]
    resolved = {**apt_lock().resolved, "driver": "preinstalled"}
    request = policy("smoke", packages=packages, resolved=resolved)["request"]["legs"]["health"]
    assert request["libraries"]["nvml"]["folders"] == ["loader"]
    assert request["device"]["libraries"]["cuda"]["folders"] == ["loader"]


def test_a_lock_without_a_driver_says_nothing_of_health() -> None:
    whole = policy("smoke", resolved={**apt_lock().resolved, "driver": "none"})
    assert "health" not in whole["request"]["legs"]
    assert not [e for e in whole["expectations"] if e["check"].startswith("health.")]


def test_every_limit_says_where_it_is_from() -> None:
    for one in policy("smoke")["expectations"]:
        if one["check"].startswith("health."):
            assert one["source"].strip()
            numbers = [v for v in one["expect"].values() if isinstance(v, int) and v > 1]
            assert not numbers or "DCGM" in one["source"] or "Azure" in one["source"]


def test_the_policy_brings_the_catalogues_xids() -> None:
    expected = next(e for e in policy("smoke")["expectations"] if e["check"] == "health.xids")
    assert expected["expect"]["xids"]["79"] == [
        "gpu",
        "RESTART_BM",
        "ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS",
    ]
    assert len(expected["expect"]["xids"]) == 172


def test_a_prolog_is_content_with_what_the_kernels_buffer_still_holds(gpu: Pair) -> None:
    value(gpu[0], "health.xids")["complete"] = False
    assert verdict(gpu, "health.xids")[0] == "WARN"
    expect(gpu, "health.xids")["whole"] = False
    assert verdict(gpu, "health.xids")[0] == "PASS"
    assert policy("prolog")["request"]["legs"]["health"]["kernel_log"] == "buffer"
    assert policy("nightly")["request"]["legs"]["health"]["kernel_log"] == "whole"


def test_a_certificate_of_a_prolog_passes_on_a_healthy_machine(gpu: Pair) -> None:
    prolog = policy("prolog")
    wanted = set(prolog["legs"])
    gpu[0]["legs"] = [p for p in gpu[0]["legs"] if p["leg"] in wanted and p["gpu"] is None]
    certificate = judge(gpu[0], prolog, "h1", NOW)
    health = {v["check"]: v["status"] for v in certificate["verdicts"] if v["leg"] == "health"}
    assert set(health.values()) == {"PASS"}
    assert health["health.gpus"] == "PASS"
    assert certificate["driver"] == DRIVER


def test_the_documentation_names_every_check_of_health() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "health.md").read_text()
    ours = {check for check in CHECKS if check.startswith("health.") and ".ran" not in check}
    assert {check for check in ours if f"`{check}`" not in text} == set()
    for number in ("20,000,000", "10,000", "512 rows", "63 pages", "15 pages", "80 replays"):
        assert number in text
