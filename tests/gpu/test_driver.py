"""The driver leg on a real GPU: every check passes, and what was planted was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp
from cudactl.certify.policy import compile_policy
from cudactl.judge import judge
from cudactl.workflow.references import gpu_references
from tests.judge.healthy import apt_lock

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="no NVIDIA GPU is here"),
]
CHECKS = {"device", "kernels", "memory", "compute", "copy", "bandwidth", "ran_on_gpu"}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The driver leg's evidence from this machine, and the policy that it was asked by.

    With CUDACTL_KEEP_EVIDENCE=FILE the evidence is kept.
    """
    lock = apt_lock()
    gone = [p for p in lock.packages if p.component == "driver"]
    kept = [p for p in lock.packages if p not in gone]
    resolved = {**lock.resolved, "driver": "preinstalled"}
    lock = lock.model_copy(update={"packages": kept, "resolved": resolved})
    policy = compile_policy(lock, references=gpu_references()).model_dump(mode="json")
    request = policy["request"]
    request["legs"] = {"driver": request["legs"]["driver"]}
    pyz = tmp_path_factory.mktemp("zipapp") / "cudactl.pyz"
    zipapp.write(pyz)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "measure"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    keep = os.environ.get("CUDACTL_KEEP_EVIDENCE")
    if keep:
        Path(keep).write_text(done.stdout)
    return json.loads(done.stdout), policy


def test_every_check_passes_on_every_gpu(
    taken: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    evidence, policy = taken
    policy = {**policy, "legs": ["driver"], "device_legs": ["driver"]}
    policy["expectations"] = [
        e
        for e in policy["expectations"]
        if e["check"][7:] in CHECKS and e["check"][:7] == "driver."
    ]
    verdicts = judge(evidence, policy, "here", evidence["taken_at"])["verdicts"]
    red = [v for v in verdicts if v["status"] not in ("PASS", "NO_REFERENCE")]
    assert red == []
    assert {v["check"][7:] for v in verdicts if v["gpu"]} == CHECKS
    assert evidence["duration_s"] < 60


def test_speeds_repeat_within_half_a_percent(
    taken: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    for leg in taken[0]["legs"]:
        for measured in leg["measurements"]:
            if measured["check"] == "driver.bandwidth":
                assert measured["values"]["copy_variation"] <= 0.005
