"""Many hosts at once: a converged fleet beside a bare fan-out, and one slow host among twenty.

The hosts are the lab's, all on this machine: what 20 hosts compute, they compute on its cores too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench_figure import BIN, Figure, paired, run
from bench_hosts import SPEC

HOSTS = 20
RUNS = 7
DELAY_S = 1
SLOW = f"""\
slowly=/usr/local/sbin/slowly
printf '#!/bin/sh\\nsleep {DELAY_S}\\nexec sh -c "$SSH_ORIGINAL_COMMAND"\\n' > $slowly
chmod 755 $slowly
echo "ForceCommand $slowly" > /etc/ssh/sshd_config.d/slowly.conf
systemctl reload ssh
"""
"""Makes every command over SSH begin a second later, as Ansible sends one for each task."""


def measure(folder: Path) -> list[Figure]:
    """Return all figures; `folder` is this bench's own."""
    os.environ["CUDACTL_LAB_DIR"] = str(folder / "lab")
    cudactl = str(BIN / "cudactl")
    names = [f"fleet-{i:02d}" for i in range(HOSTS)]
    slow = ["slow-00", "slow-01"]
    print(f"starting {HOSTS + 1} lab hosts …", file=sys.stderr, flush=True)
    try:
        run([cudactl, "lab", "up", *(f"debian-12:{name}" for name in [*names[1:], *slow])])
        status = json.loads(subprocess.check_output([cudactl, "lab", "status", "--json"]))
        spec, lock = folder / "stack.yaml", folder / "stack.lock"
        spec.write_text(SPEC.format(**status["mirror"]))
        run([cudactl, "stack", "lock", str(spec), "-o", str(lock)])
        for name in slow:
            ssh = ["ssh", "-F", status["ssh_config"], name, "sudo", "sh", "-s"]
            subprocess.run(ssh, input=SLOW, text=True, check=True, capture_output=True)
        way = ["-i", status["inventory"], "--lock", str(lock), "--yes", "--no-certify"]
        alone = run([cudactl, "provision", "host", slow[0], *way])
        together = run([cudactl, "provision", "host", *names[1:], slow[1], *way])
        one_slow = Figure(
            f"{HOSTS} hosts changed, one of them slow",
            together,
            "the slow one alone",
            alone,
            together / alone,
            1.5,
        )
        return [one_slow, _converged(status, names[1:], way)]
    finally:
        run([cudactl, "lab", "down"], check=False)


def _converged(status: dict[str, str], names: list[str], way: list[str]) -> Figure:
    provision = [str(BIN / "cudactl"), "provision", "host", *names, *way]
    clush = [str(BIN / "clush"), "-f", str(HOSTS), "-o", f"-F {status['ssh_config']}"]
    clush += ["-w", ",".join(names), "python3 -c pass"]
    return paired(
        f"provision host, {len(names)} converged",
        lambda: run(provision),
        f"clush -f {HOSTS} python3 -c pass",
        lambda: run(clush),
        1.5,
        RUNS,
    )
