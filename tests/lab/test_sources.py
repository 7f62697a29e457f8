"""What others left in apt's configuration on a real host: refused by name, or taken over.

Pain point 7 of those who provision GPU hosts: a rotated key, and two entries for one address with
different Signed-By, which stop all of apt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cudactl.lab.hosts import Lab, LabHost
from cudactl.lab.layout import MirrorState
from tests.lab.running import SMALL, plan_of, provision

pytestmark = pytest.mark.lab

LIST = "/etc/apt/sources.list.d/cuda.list"
PIN = "/etc/apt/preferences.d/cuda-repository-pin-600"
KEPT = "/var/lib/cudactl/taken-over"


def test_a_signed_by_conflict_stops_nobody_who_takes_over(
    lab: Lab,
    fresh_host: Callable[[str], LabHost],
    make_lock: Callable[[str, str], Path],
    mirror: MirrorState,
) -> None:
    host, lock = fresh_host("debian-12"), make_lock(SMALL, "debian-12")
    old = f"deb [signed-by=/usr/share/keyrings/old.gpg] {mirror.url}/debian12/x86_64/ /"
    pin = "Package: *\\nPin: release l=NVIDIA CUDA\\nPin-Priority: 600\\n"
    host.exec(["sh", "-c", f"echo '{old}' > {LIST}; printf '{pin}' > {PIN}"])

    plan = plan_of(host, lab, lock, check=3)["plan"]
    refusals = {f["code"]: f for f in plan["findings"] if f["refuses"]}
    assert set(refusals) == {"PREFLIGHT-SOURCE-CONFLICT"}
    assert LIST in refusals["PREFLIGHT-SOURCE-CONFLICT"]["found"]
    assert "--take-over" in refusals["PREFLIGHT-SOURCE-CONFLICT"]["remedy"]
    assert "PREFLIGHT-PIN-OTHER" in {f["code"] for f in plan["findings"]}

    provision(host, lab, lock, "--take-over", check=0)
    assert host.exec(["cat", KEPT + LIST]).strip() == old
    assert host.exec(["sh", "-c", f"ls {LIST} {PIN} 2>/dev/null || true"]) == ""
    assert "Conflicting" not in host.exec(["sh", "-c", "apt-get update 2>&1"])
    assert plan_of(host, lab, lock)["plan"]["steps"] == []
