"""The driver leg on a simulated GPU: green when it is healthy, each fault named for what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.lab import gpus
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

LIBCUDA = {"cuda": "libcuda.so.1"}
SHARE = 0.0001
MIB = 1 << 20
CHECKS = (
    "driver.device",
    "driver.kernels",
    "driver.memory",
    "driver.compute",
    "driver.copy",
    "driver.bandwidth",
    "driver.ran_on_gpu",
)
Found = dict[str, tuple[str, str]]


@pytest.fixture
def measured(measure_on: Measure) -> Measure:
    """Run the driver's part on buffers that suit a processor."""

    def run(**more: Any) -> dict[str, Any]:
        request = {"timed_s": 0.02, "memory_share": SHARE, "copy_bytes": MIB}
        return measure_on("driver", LIBCUDA, **{**request, "bandwidth_bytes": MIB, **more})

    return run


def judged(result: dict[str, Any]) -> Found:
    """Return check → (status, reason) of a healthy machine whose GPU measured `result`."""
    evidence, policy = fresh("gpu")
    evidence["legs"] = [
        leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("driver", GPU["id"])
    ]
    known = {library["path"] for leg in evidence["legs"] for library in leg["libraries"]}
    assert not known & {library["path"] for library in result["libraries"]}
    evidence["legs"].append(result)
    for expectation in policy["expectations"]:
        if expectation["check"] == "driver.memory":
            expectation["expect"]["share"] = 0.95 * SHARE
    certificate = judge(evidence, policy, "h1", NOW)
    if result["libraries"]:
        assert certificate["level"] == "simulated", "never mistaken for a real GPU's"
    verdicts = [v for v in certificate["verdicts"] if v["check"] in CHECKS and v["gpu"]]
    return {v["check"]: (v["status"], v["reason"]) for v in verdicts}


def test_a_healthy_gpu_passes_every_check(measured: Measure) -> None:
    result = measured()
    assert result["outcome"] == "ran", result["detail"]
    assert {check: status for check, (status, _) in judged(result).items()} == dict.fromkeys(
        CHECKS, "PASS"
    )
    assert [library["simulated"] for library in result["libraries"]] == [True]


def test_what_was_reached_is_measured(measured: Measure) -> None:
    result = measured()
    memory, compute = values(result, "driver.memory"), values(result, "driver.compute")
    assert memory["checked_bytes"] == pytest.approx(SHARE * memory["free_bytes"], abs=16)
    assert memory["rounds"] >= 1
    assert (compute["sms_visited"], compute["sm_count"]) == (132, 132)
    assert compute["compared_elements"] == compute["blocks_launched"] * 32 * 32
    bandwidth = values(result, "driver.bandwidth")
    assert bandwidth["copy_gbs_median"] == pytest.approx(4100, rel=0.01)
    assert bandwidth["copy_repetitions"] >= 5
    assert bandwidth["copy_variation"] < 0.005


def test_longer_tiers_measure_longer(measured: Measure) -> None:
    short, long = (
        values(measured(timed_s=seconds), "driver.memory")["rounds"] for seconds in (0.02, 0.5)
    )
    assert long > short


# --- faults -------------------------------------------------------------------------------------

UNMEASURED = {
    "driver.kernels": "ERROR",
    "driver.memory": "ERROR",
    "driver.compute": "ERROR",
    "driver.copy": "ERROR",
    "driver.bandwidth": "ERROR",
}


def after(check: str) -> dict[str, str]:
    """What cannot be measured any more when a check loses the GPU."""
    return dict.fromkeys(CHECKS[CHECKS.index(check) + 1 : -1], "ERROR")


# name: (faults, the check that names it, its status, part of its reason, other checks' statuses)
FAULTS: dict[str, tuple[dict[str, object], str, str, str, dict[str, str]]] = {
    "a bit of the memory flips": (
        {"memory.flip_bit": 5 * MIB},
        "driver.memory",
        "FAIL",
        "bits 0x0000010000000000 differ",
        {},
    ),
    "a bit of the memory is stuck": (
        {"memory.stuck": 5 * MIB},
        "driver.memory",
        "FAIL",
        "(pattern ones, 1010, ",
        {},
    ),
    "an address line is stuck": (
        {"memory.alias": 1 << 21},
        "driver.memory",
        "FAIL",
        "(pattern address, inverse address)",
        {},
    ),
    "nothing is written": (
        {"memory.lost_writes": 1},
        "driver.memory",
        "FAIL",
        "0xcdcdcdcdcdcdcdcd was read",
        {"driver.bandwidth": "FAIL"},
    ),
    "the walk's kernel does nothing": (
        {"memory.blind": 1},
        "driver.memory",
        "FAIL",
        "made wrong on purpose was not found",
        {},
    ),
    "no memory is to be had": (
        {"code.cuMemAlloc_v2": 2},
        "driver.memory",
        "FAIL",
        "cuMemAlloc_v2 answers CUDA_ERROR_OUT_OF_MEMORY (2): out of memory",
        {"driver.compute": "FAIL", "driver.copy": "FAIL", "driver.bandwidth": "FAIL"},
    ),
    "an uncorrectable ECC error": (
        {"code.cuCtxSynchronize": 214},
        "driver.memory",
        "FAIL",
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        after("driver.memory"),
    ),
    "one SM computes wrongly": (
        {"compute.wrong": 18},
        "driver.compute",
        "FAIL",
        "on SM 17; first in f32 on SM 17: ",
        {},
    ),
    "products are no numbers": (
        {"compute.nan": 1},
        "driver.compute",
        "FAIL",
        "nan was found",
        {},
    ),
    "products are all zero": (
        {"compute.zero": 1},
        "driver.compute",
        "FAIL",
        "0 was found",
        {},
    ),
    "wrong products are not noticed": (
        {"compute.blind": 1},
        "driver.compute",
        "FAIL",
        "not noticed in s32, f32, f64",
        {},
    ),
    "an SM is dead": (
        {"sm.lost": 100},
        "driver.compute",
        "FAIL",
        "1 SMs never ran anything",
        {},
    ),
    "blocks get lost": (
        {"blocks.lost": 3},
        "driver.compute",
        "FAIL",
        "not noticed",  # every block must notice the planted result, and three never ran
        {},
    ),
    "a byte changes on its way back": (
        {"copy.corrupt": 70000},
        "driver.copy",
        "FAIL",
        "1 of 1048576 bytes were altered on the way, first at byte 70000",
        {},
    ),
    "a copy on the GPU is cut short": (
        {"copy.short": 64},
        "driver.copy",
        "FAIL",
        "bytes were altered on the way, first at byte 1048512",
        {"driver.bandwidth": "FAIL"},
    ),
    "a copy to the GPU does nothing": (
        {"copy.nothing": 1},
        "driver.copy",
        "FAIL",
        "bytes were altered on the way, first at byte",
        {},
    ),
    "the memory is slow": (
        {"slow.memory": 2},
        "driver.bandwidth",
        "FAIL",
        "slower than this GPU's should be",
        {},
    ),
    "the driver does not know our PTX": (
        {"jit.unsupported": 1},
        "driver.kernels",
        "FAIL",
        "current version is '5.0'",
        {"driver.memory": "ERROR", "driver.compute": "ERROR", "driver.bandwidth": "ERROR"},
    ),
    "the driver has no compiler": (
        {"code.cuModuleLoadDataEx": 221},
        "driver.kernels",
        "FAIL",
        "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
        {"driver.memory": "ERROR", "driver.compute": "ERROR", "driver.bandwidth": "ERROR"},
    ),
    "the fabric is not ready": (
        {"code.cuInit": 802},
        "driver.device",
        "FAIL",
        "cuInit answers CUDA_ERROR_SYSTEM_NOT_READY (802)",
        UNMEASURED,
    ),
    "no device nodes": (
        {"code.cuInit": 999},
        "driver.device",
        "FAIL",
        "CUDA_ERROR_UNKNOWN",
        UNMEASURED,
    ),
    "somebody holds the GPU exclusively": (
        {"code.cuDevicePrimaryCtxRetain": 46},
        "driver.device",
        "FAIL",
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        UNMEASURED,
    ),
    "a code that nobody has heard of": (
        {"code.cuDeviceGetCount": 12345},
        "driver.device",
        "FAIL",
        "cuDeviceGetCount answers an unknown code (12345)",
        UNMEASURED,
    ),
    "another GPU answers": (
        {"elsewhere": 1},
        "driver.device",
        "FAIL",
        "another GPU than the one asked for",
        {},
    ),
    "a kernel leaves its memory": (
        {"code.cuLaunchKernel": 700},
        "driver.memory",
        "FAIL",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        after("driver.memory"),
    ),
    "a copy crashes the library": (
        {"crash.cuMemcpyDtoDAsync_v2": 1},
        "driver.ran_on_gpu",
        "FAIL",
        "SIGSEGV",
        {"driver.copy": "ERROR", "driver.bandwidth": "ERROR"},
    ),
    "the library ends the process as if all were well": (
        {"exit.cuModuleLoadDataEx": 1},
        "driver.ran_on_gpu",
        "FAIL",
        "crashed",
        after("driver.device"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(measured: Measure, name: str) -> None:
    faults, check, status, says, others = FAULTS[name]
    found = judged(measured(faults=faults))
    assert found[check][0] == status, found
    assert says in found[check][1], found
    red = {c: s for c, (s, _) in found.items() if s != "PASS"}
    assert red == {check: status, **others}


def test_a_kernel_that_never_ends_is_named_after_its_deadline(measured: Measure) -> None:
    found = judged(measured(faults={"hang.cuLaunchKernel": 1}, deadline_s=3))
    status, reason = found["driver.ran_on_gpu"]
    assert (status, "did not end in time" in reason) == ("FAIL", True)
    assert "libcuda.so.1" in reason, "and what it was in is said"
    assert found["driver.device"][0] == "PASS", "what was measured before is kept"
    assert found["driver.memory"][0] == "ERROR"


def test_a_slow_way_to_the_host_is_measured_and_left_to_the_leg_that_knows_the_slot(
    measured: Measure,
) -> None:
    result = measured(faults={"slow.link": 8})
    assert values(result, "driver.copy")["h2d_gbs_median"] == pytest.approx(55 / 8, rel=0.01)
    assert judged(result)["driver.copy"][0] == "PASS"


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"sm_count": 66}, "a part of one (MIG, vGPU)"),
        ({"cc": "8.0"}, "compute capability is another model's"),
        ({"memory_bytes": 85_000_000_000}, "its memory is not that of a H200 SXM"),
        ({"uuid": "GPU-00000000-1111-4000-8000-000000000001"}, "the UUID is another GPU's"),
    ],
)
def test_a_card_that_is_not_what_its_pci_id_says_is_found(
    measured: Measure, lie: dict[str, Any], says: str
) -> None:
    gpu = replace(gpus.H200, **lie)
    result = measured(gpu=gpu)
    result["gpu"] = GPU["id"]  # it was asked for under its right name
    found = judged(result)
    assert found["driver.device"][0] == "FAIL"
    assert says in found["driver.device"][1]


def test_among_several_visible_gpus_the_one_that_was_asked_for_is_taken(measured: Measure) -> None:
    result = measured(gpu=replace(gpus.H200, more={"gpu.visible": "4"}))
    assert values(result, "driver.device")["device_count"] == 4
    assert judged(result)["driver.device"][0] == "PASS"


def test_a_gpu_without_the_memory_that_it_calls_free_is_found(measured: Measure) -> None:
    status, reason = judged(measured(faults={"memory.small": 12 * MIB}))["driver.memory"]
    assert (status, "CUDA_ERROR_OUT_OF_MEMORY" in reason) == ("FAIL", True)


def test_a_missing_library_is_told_before_anything_else(measure_on: Measure) -> None:
    result = measure_on("driver", {}, beside=["libcuda.so.1"])
    assert result["measurements"] == []
    assert judged(result)["driver.device"] == ("ERROR", "the leg driver measured no driver.device")
