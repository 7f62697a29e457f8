"""The health leg on a simulated NVML: no alarm on a healthy GPU, every fault named rightly."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.certificate import GpuReference
from cudactl.judge import judge
from cudactl.judge.checks import CHECKS
from cudactl.lab import gpus
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

NVML = {"nvml": "libnvidia-ml.so.1"}
WITH_LOAD = {**NVML, "cuda": "libcuda.so.1"}
T4 = replace(gpus.H200, name="Tesla T4", device="1eb8", cc="7.5", sm_count=40)
B200 = replace(gpus.H200, name="NVIDIA B200", device="2901", cc="10.0", sm_count=148)
Found = dict[str, tuple[str, str]]


def judged(result: dict[str, Any], reference: GpuReference | None = None) -> Found:
    """Return check → (status, reason) of a healthy machine whose GPU measured `result`."""
    evidence, policy = fresh("gpu")
    evidence["legs"] = [
        leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("health", GPU["id"])
    ]
    evidence["legs"].append(result)
    if reference is not None:
        policy["references"][str(GPU["device"])] = reference.model_dump(mode="json")
    certificate = judge(evidence, policy, "h1", NOW)
    verdicts = [v for v in certificate["verdicts"] if v["leg"] == "health" and v["gpu"]]
    return {v["check"]: (v["status"], v["reason"]) for v in verdicts}


def reds(found: Found) -> dict[str, str]:
    return {check: status for check, (status, _) in found.items() if status not in ("PASS", "SKIP")}


# --- healthy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("libraries", [NVML, WITH_LOAD], ids=["no load", "load"])
def test_a_healthy_gpu_raises_no_alarm(measure_on: Measure, libraries: dict[str, str]) -> None:
    result = measure_on("health", libraries)
    assert result["outcome"] == "ran", result["detail"]
    found = judged(result)
    assert reds(found) == {}
    assert set(found) == {c.id for c in CHECKS.values() if c.leg == "health" and c.per_gpu}
    assert {status for status, _ in found.values()} == {"PASS"}
    assert all(library["simulated"] for library in result["libraries"])


def test_the_load_is_one_that_was_run(measure_on: Measure) -> None:
    load = values(measure_on("health", WITH_LOAD), "health.pcie")["load"]
    assert load["kind"] == "copies"
    assert load["rounds"] >= 1
    none = values(measure_on("health", NVML), "health.pcie")["load"]
    assert (none["kind"], none["rounds"]) == ("none", 0)


# --- faults -------------------------------------------------------------------------------------

FAULTS: list[tuple[dict[str, object], str, str, str]] = [
    ({"nvml.lost": 1}, "health.device", "FAIL", "fell off the bus"),
    ({"nvml.reset_required": 1}, "health.device", "FAIL", "needs a reset"),
    ({"nvml.count": 0}, "health.device", "FAIL", "does not know this GPU"),
    ({"nvml.init": 18}, "health.device", "FAIL", "does not start"),
    ({"nvml.device": "2330"}, "health.device", "FAIL", "do not say the same"),
    ({"nvml.recovery": 1}, "health.recovery", "FAIL", "a reset of the GPU"),
    ({"nvml.recovery": 2}, "health.recovery", "FAIL", "a restart of the node"),
    ({"nvml.recovery": 4}, "health.recovery", "FAIL", "end of peer-to-peer traffic, then a reset"),
    ({"nvml.inforom": 1}, "health.firmware", "FAIL", "InfoROM is corrupt"),
    ({"nvml.gsp": 1}, "health.firmware", "FAIL", "GSP firmware is of another driver"),
    ({"nvml.ecc.off": 1}, "health.ecc", "FAIL", "ECC is off"),
    ({"nvml.ecc.pending_off": 1}, "health.ecc", "WARN", "changes at the next reset"),
    ({"nvml.ecc.uncorrectable": 1}, "health.ecc", "FAIL", "1 in DRAM"),
    ({"nvml.ecc.uncorrectable_sram": 3}, "health.ecc", "FAIL", "3 in SRAM"),
    ({"nvml.ecc.sram_threshold": 1}, "health.ecc", "FAIL", "NVIDIA's own threshold"),
    ({"nvml.ecc.sram_ever": 5}, "health.ecc", "FAIL", "in its life"),
    ({"nvml.ecc.corrected": 20_000_001}, "health.ecc", "FAIL", "corrected DRAM errors"),
    ({"nvml.ecc.corrected_sram": 10_001}, "health.ecc", "FAIL", "corrected SRAM errors"),
    ({"nvml.remap.pending": 1}, "health.memory_repair", "FAIL", "at the next reset"),
    ({"nvml.remap.failure": 1}, "health.memory_repair", "FAIL", "could not be replaced"),
    ({"nvml.remap.uncorrectable": 512}, "health.memory_repair", "FAIL", "more than it can"),
    ({"nvml.remap.no_spare": 2}, "health.memory_repair", "WARN", "2 memory banks"),
    ({"nvml.repair.channel": 1}, "health.repair", "FAIL", "a memory channel"),
    ({"nvml.repair.tpc": 1}, "health.repair", "FAIL", "a compute cluster"),
    ({"nvml.mig": 1}, "health.modes", "FAIL", "MIG is on"),
    ({"nvml.mig_pending": 1}, "health.modes", "FAIL", "MIG changes at the next reset"),
    ({"nvml.compute_mode": 2}, "health.modes", "FAIL", "forbids every computation"),
    ({"nvml.compute_mode": 3}, "health.modes", "WARN", "exclusive by process"),
    ({"nvml.persistence_off": 1}, "health.modes", "WARN", "persistence is off"),
    ({"nvml.process": 4242}, "health.processes", "FAIL", "processes 4242 compute on it"),
    ({"nvml.power.limit_mw": 400_000}, "health.power", "FAIL", "nvidia-smi -pl 700"),
    ({"nvml.clocks.set": 1200}, "health.clocks", "FAIL", "somebody set the clock"),
    ({"nvml.throttle.hw_thermal": 1}, "health.throttle", "FAIL", "hardware thermal slowdown"),
    ({"nvml.throttle.hw_power_brake": 1}, "health.throttle", "FAIL", "power supplies and cables"),
    ({"nvml.throttle.sw_thermal": 1}, "health.throttle", "FAIL", "cooling and air flow"),
    ({"nvml.throttle.board_limit": 1}, "health.throttle", "WARN", "board limit"),
    ({"nvml.reasons": 0x80}, "health.throttle", "FAIL", "power brake"),
    ({"nvml.temperature": 91}, "health.temperature", "FAIL", "as hot as it slows down at"),
    ({"nvml.margin": -3}, "health.temperature", "FAIL", "no room is left"),
    ({"nvml.memory_temperature": 96}, "health.temperature", "FAIL", "its memory"),
    ({"nvml.pcie.gen": 1}, "health.pcie", "FAIL", "stays slow under load"),
    ({"nvml.pcie.width": 8}, "health.pcie", "FAIL", "lanes are missing"),
    ({"nvml.pcie.replays": 50}, "health.pcie", "FAIL", "sent again"),
    ({"nvml.pcie.fatal": 1}, "health.pcie", "FAIL", "1 fatal errors"),
    ({"nvml.pcie.non_fatal": 1}, "health.pcie", "WARN", "not fatal"),
    ({"nvml.nvlink.down": 1}, "health.nvlink", "FAIL", "links 0 are down"),
    ({"nvml.nvlink.recoveries": 2}, "health.nvlink", "WARN", "had to be recovered 2 times"),
    ({"nvml.fabric.state": 1}, "health.fabric", "FAIL", "not registered with the fabric"),
    ({"nvml.fabric.state": 2}, "health.fabric", "FAIL", "not registered with the fabric"),
    ({"nvml.fabric.status": 999}, "health.fabric", "FAIL", "its registration"),
    ({"nvml.fabric.health": 425}, "health.fabric", "FAIL", "lost bandwidth"),
    ({"nvml.fabric.health": 426 - 256 + 0x400}, "health.fabric", "FAIL", "in no partition"),
    ({"nvml.fabric.summary": 2}, "health.fabric", "FAIL", "unhealthy"),
    ({"crash.nvmlDeviceGetEccMode": 1}, "health.ran_on_gpu", "FAIL", "SIGSEGV"),
    ({"exit.nvmlDeviceGetFieldValues": 1}, "health.ran_on_gpu", "FAIL", "crashed"),
]


@pytest.mark.parametrize(
    ("faults", "check", "status", "says"),
    FAULTS,
    ids=[f"{check} {next(iter(f.items()))}" for f, check, _, _ in FAULTS],
)
def test_every_fault_is_named_for_what_it_is(
    measure_on: Measure, faults: dict[str, object], check: str, status: str, says: str
) -> None:
    found = judged(measure_on("health", WITH_LOAD, faults=faults))
    assert found[check][0] == status, found[check]
    assert says in found[check][1]
    # What the same fault keeps from being measured is an error, never another finding.
    others = {name: one for name, one in reds(found).items() if name != check}
    assert set(others.values()) <= {"ERROR"}
    if check not in ("health.device", "health.ran_on_gpu"):
        assert others == {}


def test_at_least_25_faults_are_distinct() -> None:
    assert len({json.dumps(faults) for faults, _, _, _ in FAULTS}) >= 25


def test_a_hanging_driver_is_ended_and_named(measure_on: Measure) -> None:
    faults = {"hang.nvmlDeviceGetMigMode": 1}
    result = measure_on("health", NVML, faults=faults, deadline_s=2.0)
    assert result["outcome"] == "timeout"
    found = judged(result)
    assert found["health.ran_on_gpu"][0] == "FAIL"
    assert found["health.ecc"][0] == "PASS", "what was measured before is kept"
    assert found["health.modes"][0] == "ERROR"


def test_a_gpu_that_falls_off_the_bus_while_it_is_measured_is_told_as_lost(
    measure_on: Measure,
) -> None:
    found = judged(measure_on("health", NVML, faults={"nvml.dies": 12}))
    lost = {check for check, (_, reason) in found.items() if "fell off the bus" in reason}
    assert "health.power" in lost
    assert {found[check][0] for check in lost} == {"FAIL"}


def test_a_slow_link_at_rest_is_only_a_warning(measure_on: Measure) -> None:
    found = judged(measure_on("health", NVML, faults={"nvml.pcie.gen": 1}))
    assert found["health.pcie"][0] == "WARN"
    assert "no load" in found["health.pcie"][1]


def test_only_the_power_cap_is_no_fault(measure_on: Measure) -> None:
    found = judged(measure_on("health", NVML, faults={"nvml.throttle.sw_power_cap": 1}))
    assert found["health.throttle"][0] == "PASS"
    assert "power cap" in found["health.throttle"][1]


# --- what a GPU or its driver does not have -----------------------------------------------------


def refusing(*calls: str, code: int = 3) -> dict[str, object]:
    return {f"nvml.code.{call}": code for call in calls}


def test_what_a_data_centre_gpu_must_tell_and_does_not_is_an_error(measure_on: Measure) -> None:
    calls = ("nvmlDeviceGetEccMode", "nvmlDeviceGetRemappedRows", "nvmlDeviceGetEnforcedPowerLimit")
    found = judged(measure_on("health", NVML, faults=refusing(*calls)))
    assert reds(found) == dict.fromkeys(
        ("health.ecc", "health.memory_repair", "health.power"), "ERROR"
    )


def test_a_geforce_without_ecc_and_nvlink_raises_no_alarm(measure_on: Measure) -> None:
    """What a consumer's card does not have is skipped because of the GPU table, or not judged."""
    card = GpuReference(
        name="GeForce", cc="8.9", data_centre=False, nvswitch=False, source="a fixture"
    )
    calls = ("nvmlDeviceGetEccMode", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRemappedRows")
    calls += ("nvmlDeviceGetMigMode", "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetRepairStatus")
    result = measure_on(
        "health",
        NVML,
        gpu=replace(gpus.H200, more={"nvml.links": "0", "nvml.fabric": "0"}),
        faults=refusing(*calls),
    )
    found = judged(result, card)
    assert {found[c][0] for c in ("health.ecc", "health.nvlink", "health.fabric")} == {"SKIP"}
    assert set(reds(found).values()) == {"NO_REFERENCE"}
    assert set(reds(found)) == {"health.memory_repair", "health.repair"}


@pytest.mark.parametrize(
    ("faults", "status", "says"),
    [
        ({}, "PASS", "none pending"),
        ({"nvml.pages.pending": 1}, "FAIL", "a page is retired at the next reset"),
        ({"nvml.pages.single": 63}, "FAIL", "it retires no more"),
        ({"nvml.pages.double": 15}, "WARN", "double-bit errors"),
    ],
)
def test_before_ampere_pages_are_retired(
    measure_on: Measure, faults: dict[str, object], status: str, says: str
) -> None:
    turing = GpuReference(name="T4", cc="7.5", data_centre=True, nvswitch=False, source="a fixture")
    older = replace(gpus.H200, cc="7.5", more={"nvml.links": "0"})
    found = judged(measure_on("health", NVML, gpu=older, faults=faults), turing)
    assert found["health.memory_repair"][0] == status, found["health.memory_repair"]
    assert says in found["health.memory_repair"][1]


def test_an_older_driver_that_knows_fewer_calls_raises_no_alarm(measure_on: Measure) -> None:
    """Fields and layouts that came later are not told: measured, and not judged."""
    faults: dict[str, object] = {f"nvml.field.{number}": 2 for number in (230, 269, 270, 271)}
    faults |= refusing("nvmlDeviceGetRepairStatus", "nvmlDeviceGetMarginTemperature", code=13)
    older = replace(gpus.H200, more={"nvml.old_fabric": "1"})
    found = judged(measure_on("health", NVML, gpu=older, faults=faults))
    assert reds(found) == dict.fromkeys(("health.recovery", "health.repair"), "NO_REFERENCE")
    assert found["health.fabric"][0] == "PASS"


def test_a_later_nvlink_is_read_link_by_link(measure_on: Measure) -> None:
    result = measure_on("health", NVML, gpu=B200, faults={"nvml.nvlink.recovery_failed": 2})
    assert values(result, "health.nvlink")["nvlink_recovery_failed"] == 2


def test_a_gpu_passed_through_alone_has_no_fabric_to_be_held_to(measure_on: Measure) -> None:
    alone = replace(gpus.H200, more={"nvml.virtualization": "1", "nvml.remote": "255"})
    faults = {"nvml.nvlink.down": 18, "nvml.fabric.state": 1}
    found = judged(measure_on("health", NVML, gpu=alone, faults=faults))
    assert reds(found) == dict.fromkeys(("health.nvlink", "health.fabric"), "NO_REFERENCE")


# --- the machine's part -------------------------------------------------------------------------


def machine(pyz: Path, folder: Path, **request: object) -> dict[str, Any]:
    """Run the machine's part; return check → values."""
    leg = {
        "deadline_s": 10,
        "libraries": {"nvml": {"soname": "libnvidia-ml.so.1", "folders": [str(folder)]}},
        **request,
    }
    whole = {"world": "system", "hash": False, "legs": {"health": leg}}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "measure"],
        input=json.dumps(whole),
        capture_output=True,
        text=True,
        check=True,
    )
    (result,) = json.loads(done.stdout)["legs"]
    assert result["outcome"] == "ran", result["detail"]
    return {one["check"]: one["values"] for one in result["measurements"]}


def prolog(values: dict[str, Any]) -> tuple[str, str]:
    """Judge the counters of all GPUs as a prolog does."""
    evidence, policy = fresh("gpu")
    for leg in evidence["legs"]:
        for one in leg["measurements"]:
            if one["check"] == "health.gpus":
                one["values"] = values
    for one in policy["expectations"]:
        if one["check"] == "health.gpus":
            one["expect"]["counters"] = True
    found = judge(evidence, policy, "h1", NOW)["verdicts"]
    (verdict,) = [v for v in found if v["check"] == "health.gpus"]
    return verdict["status"], verdict["reason"]


FOUR = replace(gpus.H200, more={"nvml.count": "4", "nvml.faulty": "2"})


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"nvml.lost": 1}, "GPU number 2: the GPU is lost"),
        ({"nvml.ecc.uncorrectable": 2}, "2 errors that ECC could not correct"),
        ({"nvml.remap.pending": 1}, "waits for a reset"),
        ({"nvml.remap.failure": 1}, "could not be replaced"),
        ({"nvml.recovery": 1}, "the driver asks for a reset of the GPU"),
        ({"nvml.dies": 4}, "the GPU is lost"),
    ],
)
def test_a_prolog_finds_the_one_bad_gpu_of_four(
    pyz: Path, tmp_path: Path, faults: dict[str, object], says: str
) -> None:
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"], FOUR, faults)
    found = machine(pyz, folder, gpus=True)
    assert found["health.nvml"]["gpu_count"] == 4
    status, reason = prolog(found["health.gpus"])
    assert status == "FAIL"
    assert says in reason
    if "number" not in says:
        assert f"GPU {GPU['id'][:-2]}03" in reason, "the third is named"


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"nvml.driver_version": "570.86.10"}, "NVML answers for another driver"),
        ({"nvml.init": 18}, "different versions; reboot"),
        ({"nvml.init": 9}, "no driver is loaded"),
        ({"nvml.count": 0}, "a GPU is on the bus that the driver does not see"),
    ],
)
def test_a_driver_that_does_not_fit_is_named(
    pyz: Path, tmp_path: Path, faults: dict[str, object], says: str
) -> None:
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"], faults=faults)
    measured = machine(pyz, folder)["health.nvml"]
    evidence, policy = fresh("gpu")
    for leg in evidence["legs"]:
        for one in leg["measurements"]:
            if one["check"] == "health.nvml":  # as if the lab's file lay where the lock's does
                one["values"] = {**measured, "path": one["values"]["path"]}
    found = judge(evidence, policy, "h1", NOW)["verdicts"]
    (verdict,) = [v for v in found if v["check"] == "health.nvml"]
    assert verdict["status"] == "FAIL"
    assert says in verdict["reason"]


def test_a_prolog_passes_four_healthy_gpus(pyz: Path, tmp_path: Path) -> None:
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"], FOUR)
    assert prolog(machine(pyz, folder, gpus=True)["health.gpus"])[0] == "PASS"


def test_only_what_is_asked_for_is_measured(pyz: Path, tmp_path: Path) -> None:
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"])
    assert set(machine(pyz, folder)) == {"health.nvml"}
    asked = machine(pyz, folder, gpus=True, kernel_log=True, services=True, stale=True)
    assert set(asked) == {
        *("health.nvml", "health.gpus", "health.xids", "health.driver_log"),
        *("health.services", "health.stale"),
    }
