"""How tests on lab hosts run cudactl, and the wishes they lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cudactl.lab.hosts import Lab, LabHost

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


def provision(
    host: LabHost, lab: Lab, lock: Path, *more: str, check: int | None = None
) -> subprocess.CompletedProcess[str]:
    return cudactl(
        "provision",
        "host",
        host.name,
        "-i",
        str(lab.inventory),
        "--lock",
        str(lock),
        "--yes",
        *more,
        check=check,
    )


def installed(host: LabHost) -> dict[str, str]:
    out = host.exec(["dpkg-query", "-W", "-f", "${Package}\t${Version}\n"])
    return dict(line.split("\t") for line in out.splitlines())
