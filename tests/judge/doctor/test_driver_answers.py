"""What the driver is asked, asked for real: of simulated libraries, by processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp
from cudactl.judge.doctor import diagnose
from cudactl.lab import gpus
from cudactl.probe.examination import CUDA, NVML
from tests.judge.doctor.machines import examine, healthy

PATIENCE_S = 1
"""How long one that hangs is waited for; the others have ten times as long on a busy machine."""


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "cudactl.pyz"
    zipapp.write(path)
    return path


def answers(pyz: Path, folder: Path, faults: Mapping[str, object]) -> list[dict[str, Any]]:
    """Run the legs as doctor asks them, on simulated libraries with faults."""
    gpus.build(folder, ["libcuda.so.1", "libnvidia-ml.so.1"], gpus.H200, faults)

    def there(libraries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: {**one, "folders": [str(folder)]} for name, one in libraries.items()}

    deadline = PATIENCE_S if any(name.startswith("hang.") for name in faults) else 10 * PATIENCE_S
    legs = {
        "health": {"deadline_s": deadline, "libraries": there(NVML), "gpus": True},
        "driver": {"deadline_s": deadline, "libraries": there(CUDA)},
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "measure"],
        input=json.dumps({"hash": False, "legs": legs}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads(done.stdout)["legs"])


@pytest.mark.parametrize(
    ("faults", "code", "says"),
    [
        ({}, None, ""),
        ({"nvml.lost": 1}, "DOCTOR-GPU-OFF-BUS", "does not answer"),
        ({"nvml.remap.failure": 1}, "DOCTOR-REMAP-FAILED", "row remapping failed"),
        ({"nvml.remap.pending": 1}, "DOCTOR-REMAP-PENDING", "repair of its memory"),
        ({"nvml.recovery": 2}, "DOCTOR-RECOVERY", "a reboot of the machine"),
        ({"nvml.reasons": 0x80}, "DOCTOR-THROTTLED", "power brake"),
        ({"nvml.init": 18}, "DOCTOR-VERSION-MISMATCH", "NVML answers 18"),
        ({"nvml.init": 999}, "DOCTOR-NVML", "nvmlInit answers 999"),
        ({"hang.nvmlInit_v2": 1}, "DOCTOR-DRIVER-HANGS", f"no end within {PATIENCE_S} s"),
        ({"crash.cuInit": 1}, "DOCTOR-DRIVER-CRASHES", "SIGSEGV"),
        ({"exit.cuInit": 1}, "DOCTOR-DRIVER-CRASHES", "driver"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_each_answer_of_the_driver_is_understood(
    pyz: Path, tmp_path: Path, faults: dict[str, object], code: str | None, says: str
) -> None:
    document = examine(healthy(), tmp_path / "root")
    document["legs"] = answers(pyz, tmp_path / "gpu", faults)
    findings = diagnose(document)["findings"]
    assert [one["code"] for one in findings] == ([code] if code else [])
    assert not findings or says in " ".join(findings[0]["seen"])
