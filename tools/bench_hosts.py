"""How quickly hosts are reached: one beside gather-facts, and 30 of them beside ClusterShell.

The hosts are the lab's, in a lab of this bench's own that is taken down afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench_figure import BIN, Figure, absolute, paired, run

HOSTS = 30
RUNS = 9
PROBE = """\
import sys
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import target_from_name
targets = [target_from_name(name, ssh_args=("-F" + sys.argv[1],)) for name in sys.argv[2:]]
answers = run_probe(targets, ["state"], forks=len(targets))
bad = [str(a.error) for a in answers if a.document is None]
sys.exit("; ".join(bad) if bad else 0)
"""
SPEC = """\
os: debian-12
driver: {{branch: none}}
cuda: "13.0"
cudnn: "9"
mirror: {{url: '{url}', key: '{key}'}}
"""


def measure(folder: Path) -> list[Figure]:
    """Return all figures; `folder` is this bench's own."""
    os.environ["CUDACTL_LAB_DIR"] = str(folder / "lab")
    cudactl = str(BIN / "cudactl")
    print(f"starting {HOSTS} lab hosts …", file=sys.stderr, flush=True)
    names = [f"bench-{i:02d}" for i in range(HOSTS)]
    try:
        run([cudactl, "lab", "up", *(f"debian-12:{name}" for name in names)])
        status = json.loads(subprocess.check_output([cudactl, "lab", "status", "--json"]))
        spec, lock = folder / "stack.yaml", folder / "stack.lock"
        spec.write_text(SPEC.format(**status["mirror"]))
        run([cudactl, "stack", "lock", str(spec), "-o", str(lock)])
        way = ["--lock", str(lock), f"--ssh-arg=-F{status['ssh_config']}"]
        print("provisioning one of them …", file=sys.stderr, flush=True)
        run([cudactl, "provision", "host", names[0], *way, "--yes"])
        return _figures(folder, status, names, way)
    finally:
        run([cudactl, "lab", "down"], check=False)


def _figures(
    folder: Path, status: dict[str, str], names: list[str], way: list[str]
) -> list[Figure]:
    cudactl = str(BIN / "cudactl")
    play, probe = folder / "facts.yml", folder / "probe.py"
    play.write_text("- hosts: all\n  gather_facts: true\n  tasks: []\n")
    probe.write_text(PROBE)
    provision = [cudactl, "provision", "host", names[0], *way, "--yes"]
    facts = [str(BIN / "ansible-playbook"), "-i", status["inventory"], "-l", names[0], str(play)]
    ours = [str(BIN / "python"), str(probe), status["ssh_config"], *names]
    clush = [str(BIN / "clush"), "-f", str(HOSTS), "-o", f"-F {status['ssh_config']}"]
    clush += ["-w", ",".join(names), "python3 -c pass"]
    return [
        paired(
            "provision host, converged",
            lambda: run(provision),
            "ansible-playbook, gather_facts only",
            lambda: run(facts),
            0.5,
            RUNS,
        ),
        paired(
            f"{HOSTS} hosts probed",
            lambda: run(ours),
            f"clush -f {HOSTS} python3 -c pass",
            lambda: run(clush),
            1.3,
            RUNS,
        ),
        absolute(
            f"plan host of {HOSTS} hosts",
            lambda: run([cudactl, "plan", "host", *names, *way]),
            None,
            3,
        ),
    ]
