"""A diagnosis as it is read, and what the driver's own answers are explained by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cudactl.judge.doctor import diagnose, explain
from cudactl.judge.doctor.show import diagnosis_text, explanation_text
from tests.judge.doctor.machines import DRIVER, KERNEL, examine, healthy
from tests.judge.doctor.reds import answers, put, reading

FINDING = {
    "code": "DOCTOR-X",
    "severity": "broken",
    "cause": "it is broken",
    "confidence": "certain",
    "seen": ["first " + "long " * 20 + "end", "second\x1b[2J"],
    "where": ["state.gpus", "legs"],
    "remedy": ["sudo one " + "x" * 120, "two"],
    "considered": ["something else"],
    "explains": [{"code": "DOCTOR-Y", "cause": "it does not start", "seen": []}],
}
UNREAD = {"what": "kernel log", "why": "/dev/kmsg may not be read", "needs": "root"}


def shown(verdict: str, *findings: dict[str, Any], unread: bool = False) -> list[str]:
    diagnosis = {
        "verdict": verdict,
        "looked_at": "1 GPU",
        "findings": list(findings),
        "unread": [UNREAD] * unread,
    }
    return diagnosis_text("h1", diagnosis).split("\n")


def test_a_finding_is_told_from_cause_to_consequence() -> None:
    text = shown("broken", FINDING)
    assert text == [
        "h1: something does not work:",
        "  1 GPU",
        "",
        "1. it is broken",
        "   DOCTOR-X, broken, certain",
        "   seen        first " + "long " * 15 + "long",
        "                 long long long long end",
        "               second [2J",
        "   where       state.gpus, legs",
        "   what to do  sudo one " + "x" * 120,
        "               two",
        "   or it is    something else",
        "   from it     it does not start (DOCTOR-Y)",
    ]
    assert all(len(line) <= 100 for line in text if "xxx" not in line)


def test_what_is_less_than_certain_and_what_was_not_read_is_told_at_the_end() -> None:
    likely = {**FINDING, "confidence": "likely", "considered": [], "explains": []}
    text = shown("risk", FINDING, likely, unread=True)
    assert text[0] == "h1: it works; what may become a problem:"
    assert [line for line in text if line[:1].isdigit()] == ["1. it is broken", "2. it is broken"]
    assert text[-5:] == [
        "",
        "Not looked at:",
        "  kernel log (/dev/kmsg may not be read): needs root",
        "",
        "More about a finding: cudactl doctor --explain CODE",
    ]
    assert shown("ok") == ["h1: nothing was found to be wrong", "  1 GPU"]


def test_an_explanation_says_what_follows_from_it() -> None:
    told = {
        "code": "DOCTOR-X",
        "severity": "risk",
        "cause": "it is",
        "explanation": "because " * 20,
        "needs": "root",
        "explains": ["DOCTOR-Y", "DOCTOR-Z"],
    }
    text = explanation_text(told).split("\n")
    assert text[:2] == ["DOCTOR-X (risk): it is", ""]
    assert text[2:4] == [("because " * 12).strip(), ("because " * 8).strip()]
    assert text[4:] == ["", "needs: root", "explains: DOCTOR-Y, DOCTOR-Z"]
    assert explanation_text({**told, "explains": []}).endswith("needs: root")
    known = explain("DOCTOR-NVML")
    assert known is not None
    assert known["explains"] == ["DOCTOR-CUDA-INIT"]
    assert (known["severity"], known["needs"]) == ("broken", "nothing")


def test_a_diagnosis_says_which_machine_and_what_was_looked_at(tmp_path: Path) -> None:
    document = examine(healthy(), tmp_path)
    document["state"]["hostname"] = "gpu-01"
    found = diagnose(document)
    assert (found["schema_version"], found["hostname"]) == (1, "gpu-01")
    assert found["taken_at"] == document["taken_at"]
    assert found["looked_at"] == (
        f"1 NVIDIA GPU on the PCI bus, driver {DRIVER} loaded, kernel {KERNEL}"
    )


# --- the driver's own answers -------------------------------------------------------------------


def first(change: Any, folder: Path) -> dict[str, Any]:
    tree = healthy()
    change(tree)
    found: dict[str, Any] = diagnose(examine(tree, folder))["findings"][0]
    return found


@pytest.mark.parametrize(
    ("code", "name", "advice"),
    [
        (12, "LIBRARY_NOT_FOUND", "libnvidia-ml.so.1 is not installed"),
        (15, "GPU_IS_LOST", "the GPU has fallen off the bus: switch the machine off and on"),
        (16, "RESET_REQUIRED", "sudo nvidia-smi --gpu-reset, with nothing on the GPU"),
        (999, "UNKNOWN", "look at the kernel log: sudo dmesg | grep -i nvrm"),
        (7, "code 7", None),
    ],
)
def test_what_nvml_answers_is_named(
    code: int, name: str, advice: str | None, tmp_path: Path
) -> None:
    found = first(answers(nvml=code), tmp_path)
    assert found["code"] == "DOCTOR-NVML"
    assert found["seen"] == [f"nvmlInit answers {code} ({name})"]
    assert found["remedy"] == [advice or "sudo dmesg | grep -i nvrm"]
    assert found["confidence"] == ("likely" if advice else "possible")


@pytest.mark.parametrize(
    ("code", "name", "advice"),
    [
        (2, "CUDA_ERROR_OUT_OF_MEMORY", "the GPU's or the machine's memory is full"),
        (100, "CUDA_ERROR_NO_DEVICE", "CUDA_VISIBLE_DEVICES, MIG mode without instances, or"),
        (101, "CUDA_ERROR_INVALID_DEVICE", None),
        (304, "CUDA_ERROR_OPERATING_SYSTEM", "limits (ulimit -v), or a sandbox that denies"),
        (999, "CUDA_ERROR_UNKNOWN", "mostly /dev/nvidia-uvm: sudo rmmod nvidia_uvm; "),
        (1, "code 1", None),
    ],
)
def test_what_cuda_answers_is_named(
    code: int, name: str, advice: str | None, tmp_path: Path
) -> None:
    found = first(answers(init=code), tmp_path)
    assert found["code"] == "DOCTOR-CUDA-INIT"
    assert found["seen"] == [f"cuInit answers {code} ({name})"]
    assert found["remedy"][0].startswith(advice or "sudo dmesg | grep -i nvrm")
    assert found["confidence"] == ("likely" if advice else "possible")


def test_a_leg_that_hangs_or_dies_is_named_with_its_detail(tmp_path: Path) -> None:
    def ended(outcome: str, detail: str) -> Any:
        def change(tree: Any) -> None:
            import json

            document = json.loads(tree["/legs.json"])
            document["legs"][1].update(outcome=outcome, detail=detail, measurements=[])
            put("/legs.json", json.dumps(document))(tree)

        return change

    for number, outcome in enumerate(("timeout", "stuck", "crashed", "no_output")):
        found = first(ended(outcome, "as it was"), tmp_path / str(number))
        code = "HANGS" if outcome in ("timeout", "stuck") else "CRASHES"
        assert found["code"] == f"DOCTOR-DRIVER-{code}"
        assert found["seen"] == ["the leg driver: as it was"]
    assert first(ended("crashed", ""), tmp_path / "silent")["seen"] == ["the leg driver: crashed"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"recovery_action": 1}, "DOCTOR-RECOVERY"),
        ({"remap_failure": 1}, "DOCTOR-REMAP-FAILED"),
        ({"remap_pending": 1}, "DOCTOR-REMAP-PENDING"),
        ({"retired_pending": 1}, "DOCTOR-REMAP-PENDING"),
        ({"handle_code": 15}, "DOCTOR-GPU-OFF-BUS"),
        ({"reasons": 0x40}, "DOCTOR-THROTTLED"),
    ],
)
def test_a_gpu_without_a_uuid_is_named_by_its_number(
    values: dict[str, Any], code: str, tmp_path: Path
) -> None:
    found = first(reading(uuid=None, index=3, **values), tmp_path)
    assert found["code"] == code
    assert "GPU 3" in " ".join(found["seen"])
