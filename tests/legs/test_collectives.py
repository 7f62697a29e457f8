"""The collectives leg over simulated GPUs: exact sums, compared copies, and each fault named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.lab import gpus
from tests.judge.healthy import NOW, fresh

LIBRARIES = {"cuda": "libcuda.so.1", "nccl": "libnccl.so.2"}
NCCL, PEERS = "collectives.nccl", "collectives.peers"
SUMS, BUS = "collectives.allreduce", "collectives.bandwidth"
RAN = "collectives.ran"
Found = dict[str, tuple[str, str]]


class Measured:
    """Runs the leg and judges what comes out on a machine with so many GPUs."""

    def __init__(self, pyz: Path, folder: Path) -> None:
        self.pyz, self.folder, self.number = pyz, folder, 0

    def run(
        self,
        faults: dict[str, object] | None = None,
        *,
        visible: int = 3,
        there: int | None = None,
        deadline_s: float = 60.0,
        least_gbs: float = 1e-6,
    ) -> tuple[dict[str, Any], Found]:
        self.number += 1
        folder = self.folder / f"gpu-{self.number}"
        gpu = replace(gpus.H200, more={"gpu.visible": str(visible)})
        gpus.build(folder, list(LIBRARIES.values()), gpu, faults)
        leg = {
            "deadline_s": deadline_s,
            "timed_s": 0.02,
            "bytes": 1 << 20,
            "libraries": {
                name: {"soname": soname, "folders": [str(folder)]}
                for name, soname in LIBRARIES.items()
            },
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(self.pyz), "measure"],
            input=json.dumps({"world": "system", "hash": False, "legs": {"collectives": leg}}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (result,) = json.loads(done.stdout)["legs"]
        return result, self.judged(result, folder, there or visible, least_gbs)

    @staticmethod
    def judged(result: dict[str, Any], folder: Path, there: int, least_gbs: float) -> Found:
        evidence, policy = fresh("nightly")
        evidence["legs"] = [leg for leg in evidence["legs"] if leg["leg"] != "collectives"]
        evidence["legs"].append(result)
        first = evidence["state"]["gpus"][0]
        evidence["state"]["gpus"] = [
            {**first, "address": f"0000:{17 + number}:00.0"} for number in range(there)
        ]
        for one in policy["expectations"]:
            if one["check"] == NCCL:
                one["expect"].update(prefixes=[f"{folder}/"], owners=[None])
            if one["check"] == BUS:
                one["expect"]["bus_gbs"] = least_gbs
        certificate = judge(evidence, policy, "h1", NOW)
        assert certificate["level"] == "simulated"
        return {
            v["check"]: (v["status"], v["reason"])
            for v in certificate["verdicts"]
            if v["leg"] == "collectives"
        }


@pytest.fixture
def measured(pyz: Path, tmp_path: Path) -> Measured:
    return Measured(pyz, tmp_path)


def values(result: dict[str, Any], check: str) -> dict[str, Any]:
    (found,) = [m for m in result["measurements"] if m["check"] == check]
    assert found["error"] is None, found
    answer: dict[str, Any] = found["values"]
    return answer


@pytest.mark.parametrize("visible", [2, 8])
def test_healthy_gpus_pass_together(measured: Measured, visible: int) -> None:
    result, found = measured.run(visible=visible)
    assert {check: status for check, (status, _) in found.items()} == dict.fromkeys(
        (NCCL, PEERS, SUMS, BUS, RAN), "PASS"
    )
    assert len(values(result, PEERS)["pairs"]) == visible * (visible - 1)
    by_type = values(result, SUMS)["by_type"]
    assert {kind: len(results) for kind, results in by_type.items()} == dict.fromkeys(
        ("int32", "fp32", "fp16", "bf16"), visible
    )
    bus = values(result, BUS)
    factor = 2 * (visible - 1) / visible
    assert bus["bus_gbs"] == pytest.approx(factor * bus["algorithm_gbs"])


def test_one_gpu_has_nothing_to_sum_over_and_says_so(measured: Measured) -> None:
    _, found = measured.run(visible=1)
    assert found[NCCL][0] == "PASS"
    for check in (PEERS, SUMS, BUS):
        assert found[check][0] == "SKIP"
        assert "one GPU is in this machine" in found[check][1]


def test_a_gpu_that_cuda_does_not_see_is_no_skip(measured: Measured) -> None:
    _, found = measured.run(visible=1, there=2)
    for check in (PEERS, SUMS, BUS):
        assert found[check] == ("FAIL", "CUDA sees other GPUs than the bus holds")


@pytest.mark.parametrize(
    ("faults", "check", "says"),
    [
        ({"nccl.wrong": 12346}, SUMS, "fp32 on GPU 2: 1 of 1048579 sums are wrong, first at 12345"),
        ({"nccl.nan": 1}, SUMS, "1 of 1048579 sums are wrong"),
        ({"nccl.zero": 1}, SUMS, "fp32 on GPU 0"),
        ({"nccl.left_out": 1}, SUMS, "sums are wrong"),
        ({"nccl.nothing": 1}, SUMS, "nothing was written"),
        ({"nccl.one_rank": 1}, SUMS, "on GPU 1: nothing was written"),
        ({"nccl.half": 1}, SUMS, "524290 of 1048579 sums are wrong, first at 524289"),
        ({"nccl.init": 2}, SUMS, "ncclCommInitAll answers 2 (unhandled system error"),
        ({"nccl.status": 1}, SUMS, "ncclGroupEnd answers 1 (unhandled cuda error"),
        ({"nccl.version": 21805}, NCCL, "answers another version"),
        ({"peer.corrupt": 4097}, PEERS, "GPU 0 to GPU 1: 1 of 4194304 bytes arrived wrong"),
        ({"peer.nothing": 1}, PEERS, "4194304 of 4194304 bytes arrived wrong"),
        ({"peer.denied": 1}, PEERS, "do not reach each other"),
        ({"code.cuMemcpyPeer": 700}, PEERS, "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ({"code.cuInit": 802}, SUMS, "CUDA_ERROR_SYSTEM_NOT_READY"),
    ],
)
def test_a_fault_turns_the_right_check_red(
    measured: Measured, faults: dict[str, object], check: str, says: str
) -> None:
    _, found = measured.run(faults)
    status, reason = found[check]
    assert status == "FAIL", found
    assert says in reason


def test_slow_links_are_held_against_what_the_policy_names(measured: Measured) -> None:
    _, found = measured.run({"nccl.slow": 0.05}, least_gbs=0.1)
    assert found[BUS] == ("FAIL", "slower than the policy demands")
    assert found[SUMS][0] == "PASS"


@pytest.mark.parametrize(
    ("fault", "says"),
    [("crash.ncclCommInitAll", "SIGSEGV"), ("hang.ncclGroupEnd", "did not end in time")],
)
def test_a_library_that_takes_the_process_with_it_is_named(
    measured: Measured, fault: str, says: str
) -> None:
    _, found = measured.run({fault: 1}, deadline_s=6)
    assert found[RAN][0] == "FAIL"
    assert says in found[RAN][1]
    assert found[PEERS][0] == "PASS", "what was measured before is kept"
    assert found[SUMS][0] == "ERROR"


def test_gpus_that_somebody_uses_are_left_alone(measured: Measured, tmp_path: Path) -> None:
    result, _ = measured.run()
    for one in result["measurements"]:
        if one["check"] in (PEERS, SUMS, BUS):
            one["values"] = {"gpus": 0, "users": [4711]}
    path = Path(values(result, NCCL)["path"])
    found = measured.judged(result, path.parent, 3, 1e-6)
    assert found[SUMS] == ("ERROR", "not measured: process 4711 computes on a GPU")
