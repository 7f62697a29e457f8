"""How tests on lab hosts run cudactl, and the wishes they lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cudactl.lab.hosts import Lab, LabHost
from tests.lab.changes import changed, missing, photograph, unplanned

BIN = Path(sys.executable).parent
SPEC = """\
os: {os}
driver: {{branch: "580"}}
cuda: "13.0"
cudnn: "9"
tensorrt: "10.13"
container_toolkit: "1"
mirror: {{url: "{url}", key: "{key}"}}
"""
SMALL = """\
os: {os}
driver: {{branch: none}}
cudnn: "9"
cuda: "13.0"
mirror: {{url: "{url}", key: "{key}"}}
"""


def cudactl(*arguments: str, check: int | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(BIN / "cudactl"), *arguments], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def plan_of(host: LabHost, lab: Lab, lock: Path, check: int = 0) -> dict[str, Any]:
    done = cudactl(
        "plan",
        "host",
        host.name,
        "-i",
        str(lab.inventory),
        "--lock",
        str(lock),
        "--json",
        check=check,
    )
    (row,) = json.loads(done.stdout)
    assert isinstance(row, dict)
    return row


def attempt(host: LabHost, lab: Lab, lock: Path) -> subprocess.CompletedProcess[str]:
    """Run `provision host` on a host that cannot even be photographed."""
    return cudactl(
        *("provision", "host", host.name, "-i", str(lab.inventory), "--lock", str(lock), "--yes")
    )


def provision(
    host: LabHost, lab: Lab, lock: Path, *more: str, check: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `provision host`; whatever it does, hold what changed on the host against its plan."""
    before = photograph(host)
    arguments = ("host", host.name, "-i", str(lab.inventory), "--lock", str(lock))
    arguments += tuple(more)
    choices = [m for m in more if m not in ("--check", "--diff", "-v", "--no-certify")]
    row = json.loads(cudactl("plan", *arguments[:6], *choices, "--json").stdout)[0]
    done = cudactl("provision", *arguments, "--yes", check=check)
    real = changed(before, photograph(host))
    plan = row["plan"] or {"steps": []}
    if "--check" in more or any(f["refuses"] for f in plan.get("findings", ())):
        plan = {"steps": []}
    assert not unplanned(plan, real), f"changed, and not in the plan: {unplanned(plan, real)}"
    if done.returncode == 0:
        assert not missing(plan, real), f"planned, and not changed: {missing(plan, real)}"
    return done


def installed(host: LabHost) -> dict[str, str]:
    out = host.exec(["dpkg-query", "-W", "-f", "${Package}\t${Version}\n"])
    return dict(line.split("\t") for line in out.splitlines())
