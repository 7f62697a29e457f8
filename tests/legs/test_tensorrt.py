"""The tensorrt leg on a simulated GPU: 8.6, 10 and 11 alike, each fault named for what it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.lab import simulated_tensorrt
from cudactl.probe.tensorrt import classifier
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

ENGINE, ACCURACY, LATENCY = "tensorrt.engine", "tensorrt.accuracy", "tensorrt.latency"
RAN = "tensorrt.ran_on_gpu"
CHECKS = (ENGINE, ACCURACY, LATENCY, RAN)
Found = dict[str, tuple[str, str]]


class Measured:
    """Runs the leg with a simulated TensorRT and judges what comes out."""

    def __init__(self, measure_on: Measure, folder: Path) -> None:
        self.measure_on, self.folder, self.number = measure_on, folder, 0

    def run(
        self,
        version: str = "10.13.3.9",
        faults: dict[str, object] | None = None,
        *,
        via: str = "bindings",
        gpu_faults: dict[str, object] | None = None,
        deadline_s: float = 60.0,
        limit_ms: float = 2000.0,
    ) -> tuple[dict[str, Any], Found]:
        self.number += 1
        site = self.folder / f"site-{self.number}"
        tool = simulated_tensorrt.write(site, version, faults)
        ways: dict[str, Any] = {"bindings": {"sites": [str(site)]}, "both": {}, "trtexec": {}}[via]
        if via == "both":
            ways = {"sites": [str(site)], "trtexec": str(tool)}
        if via == "trtexec":
            ways = {"trtexec": str(tool)}
        result = self.measure_on(
            "tensorrt",
            {"cuda": "libcuda.so.1"},
            faults=gpu_faults,
            deadline_s=deadline_s,
            timed_s=0.02,
            **ways,
        )
        return result, self.judged(result, version, site, via, limit_ms)

    @staticmethod
    def judged(
        result: dict[str, Any], version: str, site: Path, via: str, limit_ms: float = 2000.0
    ) -> Found:
        evidence, policy = fresh("gpu")
        evidence["legs"] = [
            leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("tensorrt", GPU["id"])
        ]
        evidence["legs"].append(result)
        for one in policy["expectations"]:
            if one["check"] == ENGINE:
                one["expect"] = {
                    "version": ".".join(version.split(".")[:3]),
                    "via": "trtexec" if via == "trtexec" else "bindings",
                    "prefixes": [f"{site}/"],
                    "owners": [None],
                }
            if one["check"] == LATENCY:
                one["expect"] = {"p99_ms": {"fp32": limit_ms, "fp16": limit_ms}}
        certificate = judge(evidence, policy, "h1", NOW)
        if result["libraries"]:
            assert certificate["level"] == "simulated", "never mistaken for a real TensorRT"
        verdicts = [v for v in certificate["verdicts"] if v["check"] in CHECKS and v["gpu"]]
        return {v["check"]: (v["status"], v["reason"]) for v in verdicts}


@pytest.fixture
def measured(measure_on: Measure, tmp_path: Path) -> Measured:
    return Measured(measure_on, tmp_path)


@pytest.mark.parametrize("version", simulated_tensorrt.VERSIONS)
def test_every_version_builds_runs_and_is_exact_in_every_precision(
    measured: Measured, version: str
) -> None:
    result, found = measured.run(version)
    assert {check: status for check, (status, _) in found.items()} == dict.fromkeys(CHECKS, "PASS")
    precisions = values(result, ENGINE)["precisions"]
    assert set(precisions) == {"fp32", "fp16", "int8"} | ({"fp8"} if version[0] == "1" else set())
    assert all(one["wrong"] == 0 and one["checked"] == 1000 for one in precisions.values())
    drift = values(result, ACCURACY)
    assert 0 < drift["fp16_max_abs"] < 0.01 < drift["largest_output"], "FP16 really is FP16"
    assert drift["fp32_max_abs"] < 1e-5
    assert drift["top1_agree"] == drift["images"] >= 4
    for precision in ("fp32", "fp16"):
        timed = values(result, LATENCY)[precision]
        assert 0 < timed["median_ms"] <= timed["p99_ms"]
        assert timed["samples"] >= 100


def test_a_precision_that_this_gpu_lacks_is_told_and_harms_nothing(measured: Measured) -> None:
    _, found = measured.run(faults={"tensorrt.no_fp8": 1})
    status, reason = found[ENGINE]
    assert status == "PASS"
    assert "exact in fp32, fp16, int8; not built: fp8" in reason
    assert "FP8 is not supported" in reason


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        ("build_none", ENGINE, "the builder returned no engine; [optimizer.cpp] Error Code 10"),
        ("empty_plan", ENGINE, "the engine is empty"),
        ("deserialise_none", ENGINE, "not deserialised; [runtime.cpp] Error Code 1"),
        ("context_none", ENGINE, "gives no context"),
        ("execute_false", ENGINE, "the engine does not run"),
        ("flip_bit", ENGINE, "1 of 1000 numbers are wrong"),
        ("nan", ENGINE, "1 of 1000 outputs are no numbers"),
        ("zeros", ENGINE, "nothing but zeros"),
        ("swapped", ENGINE, "2 of 1000 numbers are wrong"),
        ("nothing_written", ENGINE, "nothing was written"),
        ("nondeterministic", ENGINE, "repetitions gave other numbers"),
        ("fp16_drift", ACCURACY, "FP16 drifts further"),
        ("fp32_drift", ACCURACY, "FP32 is not what double precision gives"),
        ("fp16_argmax", ACCURACY, "FP16"),
        ("slow.execute", LATENCY, "is too slow"),
        ("spike", LATENCY, "is too slow"),
    ],
)
def test_a_fault_turns_the_right_check_red(
    measured: Measured, fault: str, check: str, says: str
) -> None:
    strengths = {"fp16_drift": 0.2, "fp32_drift": 0.01, "slow.execute": 0.03, "spike": 0.03}
    faults: dict[str, object] = {f"tensorrt.{fault}": strengths.get(fault, 1)}
    _, found = measured.run(faults=faults, limit_ms=25.0)
    status, reason = found[check]
    assert status == "FAIL", found
    assert says in reason


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("crash.build", "FAIL", "SIGSEGV"),
        ("crash.execute", "FAIL", "SIGSEGV"),
        ("exit.deserialise", "ERROR", "said nothing"),
        ("hang.build", "FAIL", "did not end in time"),
    ],
)
def test_a_library_that_takes_the_process_with_it_is_named(
    measured: Measured, fault: str, status: str, says: str
) -> None:
    _, found = measured.run(faults={f"tensorrt.{fault}": 1}, deadline_s=6)
    assert found[RAN][0] == status
    assert says in found[RAN][1]
    assert found[ENGINE][0] == "ERROR"


def test_bindings_for_another_python_are_named(measured: Measured) -> None:
    _, found = measured.run(faults={"tensorrt.other_python": 1})
    status, reason = found[ENGINE]
    assert status == "FAIL"
    assert "No module named 'tensorrt.tensorrt'" in reason


def test_trtexec_stands_in_for_promised_bindings_but_does_not_excuse_them(
    measured: Measured,
) -> None:
    # The program imports the same module, so it gets one that works.
    result, _ = measured.run(via="trtexec")
    broken = dict(result)
    engine = next(m for m in broken["measurements"] if m["check"] == ENGINE)
    engine["values"]["bindings_error"] = "ImportError: Python 3.13: No module named 'tensorrt'"
    found = measured.judged(broken, "10.13.3.9", Path("/nowhere"), "bindings")
    assert found[ENGINE][0] == "FAIL"
    assert "the bindings do not import: ImportError: Python 3.13" in found[ENGINE][1]


def test_another_version_than_the_locks_is_named(measured: Measured) -> None:
    result, _ = measured.run("11.4.0.106")
    site = Path(values(result, ENGINE)["path"]).parent.parent
    found = measured.judged(result, "10.13.3.9", site, "bindings")
    assert found[ENGINE] == ("FAIL", "it is of another version")


def test_another_copy_than_the_locks_is_named(measured: Measured, tmp_path: Path) -> None:
    result, _ = measured.run()
    found = measured.judged(result, "10.13.3.9", tmp_path / "elsewhere", "bindings")
    assert found[ENGINE][0] == "FAIL"
    assert "which is not below" in found[ENGINE][1]


def test_a_gpu_without_memory_for_it_is_named(measured: Measured) -> None:
    _, found = measured.run(gpu_faults={"memory.small": 100000})
    assert found[ENGINE][0] == "FAIL"
    assert "CUDA_ERROR_OUT_OF_MEMORY" in found[ENGINE][1]


# --- trtexec ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", simulated_tensorrt.VERSIONS)
def test_trtexec_is_weaker_evidence_and_says_so(measured: Measured, version: str) -> None:
    result, found = measured.run(version, via="trtexec")
    assert {check: status for check, (status, _) in found.items()} == dict.fromkeys(CHECKS, "PASS")
    assert "weaker evidence than the Python bindings" in found[ENGINE][1]
    assert "weaker evidence" in found[ACCURACY][1]
    engine = values(result, ENGINE)
    assert set(engine["precisions"]) == {"fp32", "fp16"}
    assert values(result, ACCURACY)["fp16_max_abs"] > 0
    assert values(result, LATENCY)["fp32"]["p99_ms"] == 0.08


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        ("build", ENGINE, "Engine could not be created from network"),
        ("run", ENGINE, "illegal memory access"),
        ("wrong", ENGINE, "1 of 1000 numbers are wrong"),
        ("no_output", ENGINE, "wrote no output"),
        ("no_latency", LATENCY, "trtexec told no latency"),
    ],
)
def test_a_fault_behind_trtexec_is_named(
    measured: Measured, fault: str, check: str, says: str
) -> None:
    _, found = measured.run(faults={f"trtexec.{fault}": 1}, via="trtexec")
    assert found[check][0] == "FAIL"
    assert says in found[check][1]


# --- the classifier -----------------------------------------------------------------------------


def test_the_whole_numbers_fit_every_precision() -> None:
    network = classifier.exact()
    answer = classifier.answer(network, classifier.exact_image())
    assert all(v == int(v) and abs(v) <= 360 for v in answer)
    assert len(set(answer)) > 50, "a shifted or constant answer is no right one"
    entries = [v for v in network.filters if v]
    assert len(entries) == classifier.FILTERS * classifier.FILTER_ENTRIES
    assert {abs(v) for v in entries} == {1.0}


def test_the_classes_lead_by_more_than_half_precision_can_take() -> None:
    network = classifier.real()
    for number in classifier.IMAGES:
        answer = classifier.answer(network, classifier.real_image(number))
        first, second = sorted(answer, reverse=True)[:2]
        assert first - second > max(map(abs, answer)) / 20


def test_the_answer_is_what_convolving_by_hand_gives() -> None:
    network, image = classifier.exact(), classifier.exact_image()

    def pixel(channel: int, y: int, x: int) -> float:
        inside = 0 <= y < 224 and 0 <= x < 224
        return image[(channel * 224 + y) * 224 + x] if inside else 0.0

    def convolved(k: int, row: int, column: int) -> float:
        return sum(
            network.filters[((k * 3 + c) * 3 + dy) * 3 + dx]
            * pixel(c, row * 8 + dy - 1, column * 8 + dx - 1)
            for c in range(3)
            for dy in range(3)
            for dx in range(3)
        )

    inner = [
        max(0.0, *(convolved(k, 4 * y + dy, 4 * x + dx) for dy in range(4) for dx in range(4)))
        for k in range(8)
        for y in range(7)
        for x in range(7)
    ]
    answer = classifier.answer(network, image)
    for column in (0, 1, 499, 999):
        wanted = math.fsum(v * network.matrix[i * 1000 + column] for i, v in enumerate(inner))
        assert answer[column] == wanted
