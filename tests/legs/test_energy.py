"""The energy leg on a simulated GPU: what known work costs, and each fault named."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge import judge
from tests.judge.healthy import NOW, fresh
from tests.legs.conftest import Measure, values

LIBRARIES = {"cuda": "libcuda.so.1", "nvml": "libnvidia-ml.so.1"}
DRAW, RAN = "energy.draw", "energy.ran_on_gpu"
Found = dict[str, tuple[str, str, str]]


def judged(result: dict[str, Any]) -> Found:
    """Return check → (status, reason, measured)."""
    evidence, policy = fresh("nightly")
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["leg"] != "energy"]
    evidence["legs"].append(result)
    certificate = judge(evidence, policy, "h1", NOW)
    return {
        v["check"]: (v["status"], v["reason"], v["measured"])
        for v in certificate["verdicts"]
        if v["leg"] == "energy"
    }


def test_a_healthy_gpu_draws_what_it_may_and_its_rate_per_watt_is_shown(
    measure_on: Measure,
) -> None:
    result = measure_on("energy", LIBRARIES)
    status, reason, measured = judged(result)[DRAW]
    assert status == "PASS", reason
    draw = values(result, DRAW)
    assert draw["by"] == "counter"
    assert draw["idle_w"] == 121.0
    assert 121 < draw["average_w"] < 700
    assert draw["joules"] == pytest.approx(draw["average_w"] * draw["seconds"])
    assert draw["wrong_threads"] == 0
    assert draw["threads"] == 132 * 8 * 256
    assert "by NVML's counter; the data sheet's 0.096 (67 Tflop/s at 700 W)" in reason
    assert "W at rest" in measured


def test_without_a_counter_the_power_is_sampled_and_the_verdict_says_so(
    measure_on: Measure,
) -> None:
    result = measure_on("energy", LIBRARIES, faults={"energy.unsupported": 1})
    draw = values(result, DRAW)
    assert (draw["by"], draw["average_w"]) == ("samples", pytest.approx(560.0))
    status, reason, _ = judged(result)[DRAW]
    assert status == "PASS"
    assert "by samples of the power" in reason


@pytest.mark.parametrize(
    ("faults", "status", "says"),
    [
        ({"energy.stuck": 1}, "FAIL", "stands still"),
        ({"energy.backwards": 1}, "FAIL", "runs backwards"),
        ({"energy.factor": 5}, "FAIL", "more than the enforced limit of 700 W"),
        ({"energy.factor": 0.1}, "FAIL", "no more than at rest"),
        ({"burn.wrong": 777}, "FAIL", "the load itself computed something wrong"),
        ({"burn.nothing": 1}, "FAIL", "the load itself computed something wrong"),
        ({"code.cuLaunchKernel": 719}, "FAIL", "CUDA_ERROR_LAUNCH_FAILED"),
        ({"jit.unsupported": 1}, "FAIL", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
        ({"nvml.init": 18}, "FAIL", "Driver/library version mismatch"),
        ({"nvml.lost": 1}, "FAIL", "GPU is lost"),
        ({"nvml.code.nvmlDeviceGetEnforcedPowerLimit": 3}, "ERROR", "limit_w was not measured"),
    ],
)
def test_a_fault_is_named(
    measure_on: Measure, faults: dict[str, object], status: str, says: str
) -> None:
    found = judged(measure_on("energy", LIBRARIES, faults=faults))
    assert found[DRAW][0] == status, found
    assert says in found[DRAW][1]


def test_a_crash_is_named(measure_on: Measure) -> None:
    found = judged(measure_on("energy", LIBRARIES, faults={"crash.cuLaunchKernel": 1}))
    assert found[RAN][0] == "FAIL"
    assert "SIGSEGV" in found[RAN][1]
    assert found[DRAW][0] == "ERROR"
